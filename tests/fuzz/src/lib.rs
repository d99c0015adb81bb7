//! Odd bytes for all that reads a peer's bytes: nothing may panic or grow without bound, and what is read must mean the same
//! however it is read.
//!
//! Each target is a function of bytes that panics where something does not hold ([`TARGETS`]). They are run
//!
//! - by `cargo test`, for a second each, with the same bytes each time;
//! - by `cargo run --release -p roomd-fuzz -- --seconds 60`, with bytes that are mutated from the captured ones ([`Mutator`]);
//! - by `cargo fuzz`, which is guided by coverage, on a nightly toolchain: `cargo-fuzz/` has the same targets.
//!
//! | file | holds |
//! | --- | --- |
//! | `targets/engine` | polling payloads, WebSocket frames, compression and its offer |
//! | `targets/socket` | Socket.IO packets, their attachments, JSON |
//! | `targets/adapter` | the official Redis adapter's messages, our own envelope |
//! | `targets/streams` | Redis's answers, the hub's frames, messages on control sockets |
//! | `targets/http` | heads of requests and their queries |
//! | `seeds` | captured bytes to begin with |
//! | `mutate` | makes odd bytes of them |
#![allow(clippy::unwrap_used)]

mod mutate;
mod seeds;
mod targets;

pub use mutate::Mutator;
pub use targets::{TARGETS, Target, target};
