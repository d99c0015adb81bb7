//! The protocols without I/O: bytes and times go in, values and actions come out (design D5).
//!
//! | file | holds |
//! | --- | --- |
//! | `engine_packet` | Engine.IO 4: packets and polling payloads |
//! | `socket_packet` | Socket.IO 5: the text packet as a client sends it |
//! | `encoded` | Socket.IO packets as they go out, encoded once for all recipients |
//! | `data` | the canonical form of arguments: JSON text with placeholders, and its attachments |
//! | `args` | from Rust values to arguments and back |
//! | `binary` | bytes inside arguments |
//! | `json`, `json_write` | the JSON reader and writer that the above share |

mod args;
mod binary;
mod data;
mod encoded;
pub mod engine_packet;
pub(crate) mod json;
pub(crate) mod json_write;
mod socket_packet;

pub use args::{DecodeError, EncodeError};
pub use binary::Binary;
pub use data::{Data, DataError, MAX_ATTACHMENTS};
pub use encoded::{Encoded, Part};
pub use json::{JsonError, MAX_DEPTH};
pub(crate) use socket_packet::leading_name;
pub use socket_packet::{EventName, PacketError, PacketType, SocketPacket, is_reserved_event};
