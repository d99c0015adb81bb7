//! Rooms across processes: the official Redis adapter's messages, whichever bus carries them (design D6).

pub mod codec;
pub mod envelope;
