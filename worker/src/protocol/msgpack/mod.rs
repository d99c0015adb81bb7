//! MessagePack, as notepack writes and reads it: shared by clients' packets and by the Redis adapter's messages.
//!
//! | file | holds |
//! | --- | --- |
//! | `packet` | Socket.IO packets of clients with the official MessagePack parser |
//! | `from_json`, `to_json` | arguments to MessagePack and back |
//! | `pieces` | single values, and the heads of arrays and maps |
//! | `error` | why bytes are not read, or data not written |

mod error;
pub(crate) mod from_json;
pub mod packet;
mod pieces;
pub(crate) mod to_json;

pub use error::{TooLong, Unreadable};
pub(crate) use pieces::{Reader, Token, Writer};
