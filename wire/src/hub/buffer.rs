//! The receiving side of a stream of frames: bytes in, whole frames out.

use super::frame::{HubFrame, HubFrameError, frame_len};

/// How much is asked for in one read.
const READ_BYTES: usize = 64 * 1024;

/// What was read from a stream and is not done with. The owner reads into [`HubBuffer::make_room`], goes through the new
/// frames with [`HubBuffer::scan`], and lets go of them, now or later, with [`HubBuffer::consume`].
#[derive(Default, Debug)]
pub struct HubBuffer {
    bytes: Vec<u8>,
    /// Bytes at the front that are done with.
    done: usize,
    /// Bytes of whole frames behind them that have been scanned.
    scanned: usize,
}

impl HubBuffer {
    /// The buffer with room behind its end for the next read: at least `READ_BYTES`, or what a large frame still lacks, so
    /// that its memory is made once and in its final size.
    pub fn make_room(&mut self) -> Result<&mut Vec<u8>, HubFrameError> {
        if self.done > 0 {
            self.bytes.drain(..self.done);
            self.done = 0;
        }
        if self.bytes.is_empty() && self.bytes.capacity() > 4 * READ_BYTES {
            self.bytes = Vec::new();
        }
        let lacking = match frame_len(&self.bytes[self.scanned..])? {
            Some(len) => (self.scanned + len).saturating_sub(self.bytes.len()),
            None => 0,
        };
        if lacking > READ_BYTES {
            self.bytes.reserve_exact(lacking);
        } else {
            self.bytes.reserve(READ_BYTES);
        }
        Ok(&mut self.bytes)
    }

    /// The next frame that was not scanned; `None` while it is not complete.
    pub fn scan(&mut self) -> Result<Option<HubFrame<'_>>, HubFrameError> {
        let frame = HubFrame::decode(&self.bytes[self.done + self.scanned..])?;
        self.scanned += frame.map_or(0, |frame| frame.len());
        Ok(frame)
    }

    /// How many bytes of frames are scanned and not consumed.
    pub fn scanned(&self) -> usize {
        self.scanned
    }

    /// The first so many of those bytes.
    pub fn frames(&self, len: usize) -> &[u8] {
        &self.bytes[self.done..self.done + len.min(self.scanned)]
    }

    /// What came and is no whole frame yet: all that is left when what was scanned is consumed.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.done + self.scanned..]
    }

    /// Lets go of the first so many of those bytes.
    pub fn consume(&mut self, len: usize) {
        let len = len.min(self.scanned);
        self.done += len;
        self.scanned -= len;
        if self.done == self.bytes.len() {
            self.bytes.clear();
            self.done = 0;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::frame::HubOp, *};

    #[test]
    fn frames_come_out_in_order_however_they_are_read_and_consumed() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut stream = Vec::new();
        let sizes: Vec<usize> =
            (0..300).map(|_| if rng.u8(..30) == 0 { rng.usize(..200_000) } else { rng.usize(..200) }).collect();
        for (index, size) in sizes.iter().enumerate() {
            let payload = vec![index as u8; *size];
            HubFrame { op: HubOp::Publish, channel: b"c", payload: &payload }.encode(&mut stream).unwrap();
        }
        let (mut buffer, mut rest, mut scanned, mut consumed) = (HubBuffer::default(), &stream[..], 0, Vec::new());
        while scanned < sizes.len() || buffer.scanned() > 0 {
            let room = buffer.make_room().unwrap();
            let free = room.capacity() - room.len();
            assert!(free > 0, "seed {seed}");
            let (read, later) = rest.split_at(rng.usize(..=free).min(rest.len()));
            room.extend_from_slice(read);
            rest = later;
            while let Some(frame) = buffer.scan().unwrap() {
                assert_eq!((frame.payload.len(), frame.channel), (sizes[scanned], &b"c"[..]), "seed {seed}");
                scanned += 1;
            }
            // Some of the scanned bytes stay for a later round, as the hub's do.
            let take = rng.usize(..=buffer.scanned());
            consumed.extend_from_slice(buffer.frames(take));
            buffer.consume(take);
        }
        assert!(consumed == stream, "seed {seed}");
    }

    #[test]
    fn what_is_no_frame_makes_no_room() {
        let mut buffer = HubBuffer::default();
        buffer.make_room().unwrap().extend_from_slice(&[0xff; 12]);
        assert!(buffer.make_room().is_err());
        assert!(buffer.scan().is_err());
    }
}
