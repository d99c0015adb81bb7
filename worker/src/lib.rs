//! The Socket.IO server that runs on one core: one process, one event loop on one thread.
//!
//! ```text
//! control socket ─► run ─► engine (sessions, HTTP, WebSocket) ◄─► socketio (namespaces, sockets, rooms, application)
//!                                                                    ▲
//!                                                                    ▼
//!                                                 adapter (the official wire format) ◄─► bus (embedded, Redis)
//! ```
//!
//! `protocol` holds the cores of all this, which do no I/O.

pub mod adapter;
mod assemble;
pub mod bus;
pub mod chat;
pub mod control;
pub mod engine;
pub mod lag;
pub mod log;
mod memory;
pub mod page;
mod parent;
pub mod protocol;
pub mod run;
mod running;
#[cfg(test)]
mod seeds;
pub mod socketio;

pub use assemble::{assemble, run};
