//! The Engine.IO server: takes connections, owns sessions, moves their packets.

mod handler;

pub use handler::{CloseReason, Handshake, SessionHandler, SessionKey, Transport};
