//! Compressed messages: the WebSocket extension `permessage-deflate` (RFC 7692).
//!
//! It is only ever agreed on without context takeover on both sides: no message refers to an earlier one. So a session can move to
//! another process (design D4), one compressor serves all clients of a worker, and a message is compressed once for all its
//! recipients.
//!
//! | file | holds |
//! | --- | --- |
//! | `offer` | what clients offer in their handshakes, and what is answered |
//! | `inflater` | messages from clients |
//! | `deflater` | messages to clients |

mod deflater;
mod inflater;
mod offer;

pub use deflater::Deflater;
pub use inflater::{InflateError, Inflater};
pub use offer::{Agreement, BadOffer, Window};

/// What the flush of each message ends with, and is not sent.
const TAIL: &[u8] = &[0, 0, 0xff, 0xff];
