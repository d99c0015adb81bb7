//! The protocols without I/O: bytes and times go in, values and actions come out (design D5).
//!
//! | file | holds |
//! | --- | --- |
//! | `engine_packet` | Engine.IO 4: packets and polling payloads |
//! | `admission` | which HTTP requests are let in, and the refusals |
//! | `session` | one Engine.IO session: transports, polling rules, upgrade, close |
//! | `heartbeat` | when a session's ping is due |
//! | `queue` | what waits for one client, bounded |
//! | `batch` | packets to the same clients one after another, joined once for all of them |
//! | `frames` | WebSocket frames from a client |
//! | `deflate` | compressed messages: permessage-deflate |
//! | `deadlines` | the deadlines of all sessions |
//! | `socket_packet` | Socket.IO 5: the text packet as a client sends it |
//! | `assembly` | puts a packet and its attachments together |
//! | `membership` | one client's sockets: how it joins namespaces and leaves them |
//! | `encoded` | Socket.IO packets as they go out, encoded once for all recipients |
//! | `parser` | which form packets have for clients |
//! | `msgpack` | the form of the official MessagePack parser, and MessagePack itself |
//! | `data` | the canonical form of arguments: JSON text with placeholders, and its attachments |
//! | `args` | from Rust values to arguments and back |
//! | `binary` | bytes inside arguments |
//! | `date` | JavaScript's dates as text |
//! | `json`, `json_write` | the JSON reader and writer that the above share |

pub mod admission;
mod args;
pub mod assembly;
pub mod batch;
mod binary;
mod data;
pub mod date;
pub mod deadlines;
pub mod deflate;
pub mod drain_order;
mod encoded;
pub mod engine_packet;
pub mod frames;
pub mod heartbeat;
pub(crate) mod json;
pub(crate) mod json_write;
pub mod membership;
pub mod msgpack;
mod parser;
pub mod queue;
pub mod session;
mod socket_packet;

pub use args::{DecodeError, EncodeError};
pub use binary::Binary;
pub use data::{Data, DataError, MAX_ATTACHMENTS, MAX_BYTE_STRINGS};
pub use encoded::{Encoded, Part};
pub use json::{JsonError, MAX_DEPTH};
pub use parser::Parser;
pub(crate) use socket_packet::leading_name;
pub use socket_packet::{EventName, PacketError, PacketType, SocketPacket, is_reserved_event};
