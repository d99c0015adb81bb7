//! Frames of the stream between a worker and the embedded bus's hub.
//!
//! ```text
//! body length  u32 LE    bytes of channel and payload together
//! channel      u32 LE    bytes of the channel
//! op           u8        [`HubOp`]
//! channel, payload
//! ```
//!
//! The stream stays within one host and one release of the program, but for a reload, where an old hub talks to a new
//! worker: an op keeps its number and meaning for ever, and either side ends the stream at an op it does not know.
//!
//! A message is delivered as the very bytes in which it was published: the hub forwards frames, it does not write them.

mod buffer;
mod frame;

pub use buffer::HubBuffer;
pub use frame::{
    HUB_HEAD_BYTES, HubFrame, HubFrameError, HubOp, MAX_HUB_BODY_BYTES, decode_count, encode_count, frame_len,
};
