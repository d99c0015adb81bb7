//! The control socket: how `roomd status` and the other commands talk to the running supervisor.
//!
//! A Unix stream socket, mode 0600, on which JSON goes line by line: a request, its answer, and so on. Who connects must be of the
//! supervisor's user, or root.
//!
//! ```text
//! {"v":1,"command":"kill","slot":0,"signal":"KILL"}        {"v":1,"ok":{"pid":4711}}
//! {"v":1,"command":"scale","workers":0}                    {"v":1,"error":{"code":"bad_request","message":"…"}}
//! ```
//!
//! After the answer to `stop` the connection stays open until the supervisor has ended: its end of file says so.

mod client;
mod protocol;
mod server;
mod socket;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use client::{Client, ClientError};
pub use protocol::Ask;
pub use server::{answer, serve};
pub use socket::ControlSocket;
