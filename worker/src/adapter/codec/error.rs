//! Why a message is not read or not sent, and how long one may be.

use bytes::Bytes;
use thiserror::Error;

use crate::protocol::{
    Data,
    msgpack::{Reader, TooLong, Unreadable, to_json},
};

/// Longest message that is read or written. Clients send 1 MB at most unless told otherwise; this is what keeps a
/// hostile message (text grows sixfold when escaped) from filling memory. The official adapter has no limit, but Redis has:
/// as it comes, it disconnects each subscriber for whom 32 MB wait, so that one longer answer would cut off all servers. With
/// its channel's name it fits into a frame of the embedded bus, too.
///
/// What it means in practice: a server with about 15,000 clients, whose handshakes take a kilobyte each, cannot answer a
/// `fetchSockets` for all of them. It then says so: see [`super::ResponseBody::TooLong`].
pub const MAX_MESSAGE_BYTES: usize = (16 << 20) - (64 << 10);

/// Why a message from another server is not used. The sender is not known to be wrong: Node ignores the same ones, or
/// ends because of them.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Neither the JSON nor the MessagePack that it should be.
    #[error("read the message as {0}")]
    Malformed(&'static str),
    /// Longer than [`MAX_MESSAGE_BYTES`], too deep, or with too many rooms or byte strings.
    #[error("read the message, which has too much {0}")]
    TooMuch(&'static str),
    /// A field is missing or of the wrong type.
    #[error("find a usable {0:?} in the message")]
    Field(&'static str),
    /// A request of a type that this version does not know; Node ignores it too.
    #[error("understand a request of type {0}")]
    UnknownType(u64),
    /// A packet that clients would close the connection for.
    #[error("hand the packet on, clients would refuse it")]
    Harmful,
}

/// Why a message is not sent.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{Io, WriteError};
///
/// fn enter(io: &Io, rooms: &[String]) {
///     match io.to("lobby").sockets_join(rooms) {
///         Ok(()) => {}
///         Err(WriteError::TooLong(bytes)) => println!("{bytes} bytes of names are too many at once"),
///         Err(error) => println!("{error}"),
///     }
/// }
/// ```
#[derive(Debug, Error)]
pub enum WriteError {
    /// Longer than [`MAX_MESSAGE_BYTES`].
    #[error("publish a message of {0} bytes or more: {MAX_MESSAGE_BYTES} are the most")]
    TooLong(usize),
    /// Not an array that begins with a name clients accept.
    #[error("publish arguments that do not begin with the name of an event")]
    NotAnEvent,
    /// A name that the other servers use themselves, or that would end a Node server without a listener for it.
    #[error("emit to servers an event with the reserved name {0:?}")]
    ReservedServerEvent(String),
}

impl From<Unreadable> for ReadError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Malformed => ReadError::Malformed("MessagePack"),
            Unreadable::TooMuch(what) => ReadError::TooMuch(what),
            Unreadable::FakePlaceholder => ReadError::Harmful,
        }
    }
}

impl From<TooLong> for WriteError {
    fn from(TooLong(bytes): TooLong) -> Self {
        WriteError::TooLong(bytes)
    }
}

/// Reads a message that is not longer than one may be.
pub(super) fn reader(message: &[u8]) -> Result<Reader<'_>, ReadError> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(ReadError::TooMuch("bytes"));
    }
    Ok(Reader::new(message))
}

/// Reads a message that is one value, likewise.
pub(super) fn read_message(message: &Bytes) -> Result<Data, ReadError> {
    reader(message)?;
    Ok(to_json::read_message(message)?)
}
