//! The official classic Redis adapter's messages, byte for byte (@socket.io/redis-adapter 8.3, notepack.io 3.0).
//!
//! | file | holds |
//! | --- | --- |
//! | `channel` | names of channels, and what a message's channel says |
//! | `target` | rooms, whom an operation is for, flags |
//! | `broadcast` | a packet for many: `[uid, packet, opts]` |
//! | `request` | questions and orders to all servers |
//! | `response` | what servers answer |
//! | `error` | why a message is not read or not sent, and how long one may be |
//! | `poison` | which messages end a Node server: a check on all that we send, in debug builds |
//!
//! MessagePack itself is in [`crate::protocol::msgpack`].
//!
//! Reading is tolerant where Node is, and hostile bytes yield an error. Node is not: some payloads end every Node
//! server that is subscribed. What is sent is therefore typed so that they cannot be expressed.

mod broadcast;
mod channel;
mod error;
#[cfg(any(test, debug_assertions))]
mod poison;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod properties;
mod request;
mod response;
mod target;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod vectors;

pub use broadcast::{Broadcast, Packet, encode_broadcast, sender};
pub use channel::{Channels, Incoming, namespace_of, random_id};
pub use error::{MAX_MESSAGE_BYTES, ReadError, WriteError};
pub use request::{Request, RequestBody};
pub use response::{RemoteHandshake, RemoteSocket, Response, ResponseBody};
pub use target::{Flags, MAX_ROOMS, Room, Selector};
