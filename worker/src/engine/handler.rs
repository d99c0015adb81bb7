//! What the engine and the layer above it say to each other: the engine owns sessions, the layer above their meaning.

use std::rc::Rc;

use bytes::Bytes;
use roomd_wire::{PeerAddress, Sid};

use crate::protocol::session::CloseReason;

/// Names a session inside one worker; a key of an ended session never names a later one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SessionKey {
    /// Place in the engine's slab.
    pub index: u32,
    /// Which use of that place.
    pub epoch: u32,
}

/// The request a session began with, kept in one packed block (design D8).
pub struct Handshake {
    /// The session's id.
    pub sid: Sid,
    /// The client's address, from `X-Forwarded-For` where the peer is a trusted proxy.
    pub peer: PeerAddress,
    /// When it came, in milliseconds since 1970.
    pub issued_ms: u64,
    /// The request target as sent.
    pub url: Box<str>,
    /// `name: value` lines as sent, names in lower case, each ended by a line feed.
    pub headers: Box<str>,
}

/// The layer above the engine. The engine calls it without holding any borrow of its own: every method may call the engine.
/// It is never called from inside a call of the engine: the end of a session is told later in the same turn of the loop.
pub trait SessionHandler {
    /// A session began.
    fn opened(&self, session: SessionKey, handshake: Rc<Handshake>);
    /// A text message came (what follows the `4`).
    fn text(&self, session: SessionKey, data: &str);
    /// A binary message came.
    fn binary(&self, session: SessionKey, data: Bytes);
    /// A session ended; nothing more comes from it, and what is sent to it is dropped.
    fn closed(&self, session: SessionKey, reason: CloseReason);
}

impl Handshake {
    /// The value of a header by its lower-case name; the first if it came more than once.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// All headers in the order they came, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.lines().filter_map(|line| line.split_once(": "))
    }

    /// The query part of the request target, without its question mark.
    pub fn query(&self) -> &str {
        self.url.split_once('?').map_or("", |(_, query)| query)
    }
}
