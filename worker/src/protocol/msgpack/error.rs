//! Why bytes are not read, or data not written.

use thiserror::Error;

/// Why bytes are not the MessagePack we accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// They are no MessagePack, or something is left over.
    #[error("read MessagePack")]
    Malformed,
    /// Too deep, or too many byte strings.
    #[error("read MessagePack with too much {0}")]
    TooMuch(&'static str),
    /// An object that claims to be the placeholder of an attachment stands beside bytes.
    #[error("read MessagePack in which an object passes for bytes")]
    FakePlaceholder,
}

/// Data that would make a longer message than its caller allows: how many bytes or more it would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("write a message of {0} bytes or more")]
pub struct TooLong(pub usize);
