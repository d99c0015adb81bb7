//! The public id of a socket: 20 characters, as the official server's.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Names a socket to everybody. It is no secret: what gives access to a session is its sid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId([u8; SocketId::LEN]);

impl SocketId {
    /// Length in bytes; all are ASCII.
    pub const LEN: usize = 20;

    /// A new id from random bytes.
    pub fn new(random: [u8; 15]) -> Self {
        let mut text = [0; Self::LEN];
        URL_SAFE_NO_PAD.encode_slice(random, &mut text).expect("15 bytes make 20 characters");
        SocketId(text)
    }

    /// Takes a text for an id if it has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; Self::LEN] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')).then_some(SocketId(bytes))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked when it was made")
    }

    /// The text form's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
