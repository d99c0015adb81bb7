//! Measures roomd side by side with programs that do the least that could be done, in one run on one machine.
//!
//! - [`load`]: many WebSocket clients in one thread; bounded in count and time, and only ever to this machine.
//! - [`server`]: starts what is measured, as separate processes, and ends it.
//! - [`process`]: CPU time and memory of processes, as the kernel accounts them.
//! - [`scenario`]: what is measured: fan-out, memory, new connections.
//! - `bin/floor.rs`: the floor programs.

pub mod frame;
pub mod load;
pub mod process;
pub mod scenario;
pub mod server;
