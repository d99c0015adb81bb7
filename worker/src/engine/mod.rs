//! The Engine.IO server: takes connections, owns sessions, moves their packets.

mod handler;

pub use handler::{Handshake, SessionHandler, SessionKey};

pub use crate::protocol::session::{CloseReason, Transport};
