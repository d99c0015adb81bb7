//! The Engine.IO server: takes connections, owns sessions, moves their packets.
//!
//! ```text
//!  a connection ─► connection (one task) ─► http (hyper) ─► polling ─────┐
//!                        │                      │  └─► relay ─► another worker
//!                        │ a WebSocket is asked for                      ▼
//!                        └─► handshake ─► websocket (reads) ──────► server ─► SessionHandler
//!                                             ▲                          │
//!                                             └── socket (writes) ◄── flush ◄── send, send_many
//! ```
//!
//! The protocol's rules are in `protocol::session`, which does no I/O; here are the tasks, the slab of sessions and the
//! bytes. One turn of the loop ends with `flush`: ends of sessions are told to the layer above, the bus writes, then
//! every session with something to send is written to, once. `deadlines` is one sleep for all sessions.

mod body;
mod client_files;
mod compression;
mod connection;
mod cookie;
mod cors;
mod counters;
mod deadlines;
mod deflate;
mod drain;
mod flush;
mod handler;
mod handshake;
mod hooks;
mod http;
mod http_io;
mod pace;
mod polling;
mod proxies;
mod relay;
mod server;
mod service;
mod sessions;
mod socket;
mod stream;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod testing;
mod websocket;

pub use client_files::{ClientFiles, NotClientFiles};
pub use connection::Incoming;
pub use cors::NotCors;
pub use handler::{Handshake, SessionHandler, SessionKey};
pub use hooks::{AllowRequest, ConnectionErrorInfo, HeaderHook, Hooks, RequestInfo};
pub use server::{Engine, EngineError};
pub use service::{BoxError, HttpService, ServiceBody};

pub use crate::protocol::session::{CloseReason, Transport};
