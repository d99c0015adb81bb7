//! One frame: its bytes, its bounds.

use crate::{Generation, Slot, WorkerId};

/// Bytes before channel and payload.
pub const HUB_HEAD_BYTES: usize = 9;

/// The largest channel and payload together. Clients choose room names, which are part of channels: so the channel has
/// no smaller bound of its own.
pub const MAX_HUB_BODY_BYTES: usize = 16 * 1024 * 1024;

/// What a frame asks for or carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HubOp {
    /// Worker to hub: messages of this channel are wanted. No payload.
    Subscribe,
    /// Worker to hub: no longer. No payload.
    Unsubscribe,
    /// Worker to hub: messages of all channels that begin so are wanted. No payload.
    SubscribePrefix,
    /// Worker to hub: no longer. No payload.
    UnsubscribePrefix,
    /// A message. Worker to hub: for all subscribers but the sender. Hub to worker: here it is.
    Publish,
    /// A message. Worker to hub: back to the sender alone, by the way that all messages take (this is how health is
    /// checked). Hub to worker: here it is.
    Echo,
    /// Worker to hub: how many workers are subscribed to exactly this channel? The payload is a number of the asker's own.
    Count,
    /// Hub to worker: the answer. No channel; the payload is that number, the count, and which workers they are, see
    /// [`encode_count`].
    Counted,
}

/// A frame in a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HubFrame<'a> {
    /// What it asks for or carries.
    pub op: HubOp,
    /// The channel, or the prefix of channels.
    pub channel: &'a [u8],
    /// The message, opaque.
    pub payload: &'a [u8],
}

/// Why bytes are no frame; the stream cannot be used further.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HubFrameError {
    /// The frame, or the one that was to be written, is over the bound.
    #[error("use a hub frame of {0} bytes: {MAX_HUB_BODY_BYTES} is the most")]
    TooLarge(usize),
    /// The channel would be longer than the frame.
    #[error("understand a hub frame whose channel ends behind the frame")]
    Channel,
    /// The op has no meaning here.
    #[error("understand a hub frame with op {0} (is the other side of another version?)")]
    Op(u8),
}

impl HubOp {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => HubOp::Subscribe,
            2 => HubOp::Unsubscribe,
            3 => HubOp::SubscribePrefix,
            4 => HubOp::UnsubscribePrefix,
            5 => HubOp::Publish,
            6 => HubOp::Echo,
            7 => HubOp::Count,
            8 => HubOp::Counted,
            _ => return None,
        })
    }

    fn byte(self) -> u8 {
        match self {
            HubOp::Subscribe => 1,
            HubOp::Unsubscribe => 2,
            HubOp::SubscribePrefix => 3,
            HubOp::UnsubscribePrefix => 4,
            HubOp::Publish => 5,
            HubOp::Echo => 6,
            HubOp::Count => 7,
            HubOp::Counted => 8,
        }
    }
}

impl<'a> HubFrame<'a> {
    /// The frame at the start of `bytes`; `None` while it is not complete. Its whole length is [`HubFrame::len`].
    pub fn decode(bytes: &'a [u8]) -> Result<Option<HubFrame<'a>>, HubFrameError> {
        let Some(len) = frame_len(bytes)? else { return Ok(None) };
        let channel_len = read_u32(bytes, 4);
        let op = HubOp::from_byte(bytes[8]).ok_or(HubFrameError::Op(bytes[8]))?;
        if channel_len > len - HUB_HEAD_BYTES {
            return Err(HubFrameError::Channel);
        }
        let Some(body) = bytes.get(HUB_HEAD_BYTES..len) else { return Ok(None) };
        let (channel, payload) = body.split_at(channel_len);
        Ok(Some(HubFrame { op, channel, payload }))
    }

    /// Appends the frame to a buffer; refuses one over the bound.
    pub fn encode(&self, into: &mut Vec<u8>) -> Result<(), HubFrameError> {
        let body = self.channel.len() + self.payload.len();
        if body > MAX_HUB_BODY_BYTES {
            return Err(HubFrameError::TooLarge(body));
        }
        into.reserve(HUB_HEAD_BYTES + body);
        // Both fit: the bound is far below.
        into.extend_from_slice(&(body as u32).to_le_bytes());
        into.extend_from_slice(&(self.channel.len() as u32).to_le_bytes());
        into.push(self.op.byte());
        into.extend_from_slice(self.channel);
        into.extend_from_slice(self.payload);
        Ok(())
    }

    /// Bytes of the whole frame.
    #[allow(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub fn len(&self) -> usize {
        HUB_HEAD_BYTES + self.channel.len() + self.payload.len()
    }
}

/// Bytes of the whole frame at the start of `bytes`, as soon as its head is there: what to make room for, checked against the
/// bound.
pub fn frame_len(bytes: &[u8]) -> Result<Option<usize>, HubFrameError> {
    if bytes.len() < HUB_HEAD_BYTES {
        return Ok(None);
    }
    let body = read_u32(bytes, 0);
    if body > MAX_HUB_BODY_BYTES {
        return Err(HubFrameError::TooLarge(body));
    }
    Ok(Some(HUB_HEAD_BYTES + body))
}

/// The payload of [`HubOp::Counted`]: what the asker sent along, the count (u64 LE), then each worker among the counted as
/// slot (u16 LE) and generation (u32 LE).
pub fn encode_count(asked: &[u8], count: u64, workers: impl Iterator<Item = WorkerId>) -> Vec<u8> {
    let mut payload = asked.to_vec();
    payload.extend_from_slice(&count.to_le_bytes());
    for worker in workers {
        payload.extend_from_slice(&worker.slot.0.to_le_bytes());
        payload.extend_from_slice(&worker.generation.0.to_le_bytes());
    }
    payload
}

/// The asker's own number, the count and the workers, out of a payload of [`HubOp::Counted`]; `None` if that is not what it
/// holds.
pub fn decode_count(payload: &[u8]) -> Option<(u64, u64, Vec<WorkerId>)> {
    let (asked, rest) = payload.split_first_chunk()?;
    let (count, workers) = rest.split_first_chunk()?;
    let (workers, []) = workers.as_chunks() else { return None };
    let worker = |&[s0, s1, g0, g1, g2, g3]: &[u8; 6]| WorkerId {
        slot: Slot(u16::from_le_bytes([s0, s1])),
        generation: Generation(u32::from_le_bytes([g0, g1, g2, g3])),
    };
    Some((u64::from_le_bytes(*asked), u64::from_le_bytes(*count), workers.iter().map(worker).collect()))
}

fn read_u32(bytes: &[u8], at: usize) -> usize {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word) as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OPS: [HubOp; 8] = [
        HubOp::Subscribe,
        HubOp::Unsubscribe,
        HubOp::SubscribePrefix,
        HubOp::UnsubscribePrefix,
        HubOp::Publish,
        HubOp::Echo,
        HubOp::Count,
        HubOp::Counted,
    ];

    fn encoded(op: HubOp, channel: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        HubFrame { op, channel, payload }.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_frame_has_these_bytes() {
        assert_eq!(encoded(HubOp::Publish, b"ab", b"\0xyz"), b"\x06\0\0\0\x02\0\0\0\x05ab\0xyz");
        assert_eq!(encoded(HubOp::Subscribe, b"r", b""), b"\x01\0\0\0\x01\0\0\0\x01r");
    }

    #[test]
    fn every_frame_comes_back_whole_and_only_whole_wherever_it_is_cut() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        for round in 0..200 {
            let channel: Vec<u8> = (0..rng.usize(..40)).map(|_| rng.u8(..)).collect();
            let payload: Vec<u8> = (0..rng.usize(..80)).map(|_| rng.u8(..)).collect();
            let op = OPS[rng.usize(..OPS.len())];
            let mut bytes = encoded(op, &channel, &payload);
            let len = bytes.len();
            bytes.extend_from_slice(b"more");
            for cut in 0..bytes.len() {
                let frame = HubFrame::decode(&bytes[..cut]).unwrap();
                assert_eq!(frame.is_some(), cut >= len, "seed {seed} round {round} cut {cut}");
                if let Some(frame) = frame {
                    assert_eq!(frame, HubFrame { op, channel: &channel, payload: &payload });
                    assert_eq!(frame.len(), len);
                }
            }
        }
    }

    #[test]
    fn random_bytes_never_panic_and_never_claim_more_than_the_bound() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            // Small numbers in the head, else nearly all would be refused for their length.
            let bytes: Vec<u8> =
                (0..rng.usize(..64)).map(|_| if rng.bool() { rng.u8(..10) } else { rng.u8(..) }).collect();
            if let Ok(Some(len)) = frame_len(&bytes) {
                assert!(len <= HUB_HEAD_BYTES + MAX_HUB_BODY_BYTES, "seed {seed}");
            }
            if let Ok(Some(frame)) = HubFrame::decode(&bytes) {
                assert!(frame.len() <= bytes.len(), "seed {seed}");
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_before_its_body_is_there() {
        let cases: [(&[u8], HubFrameError); 3] = [
            (b"\xff\xff\xff\xff\0\0\0\0\x05", HubFrameError::TooLarge(0xffff_ffff)),
            (b"\x04\0\0\0\x05\0\0\0\x05", HubFrameError::Channel),
            (b"\x04\0\0\0\x01\0\0\0\x09", HubFrameError::Op(9)),
        ];
        for (bytes, error) in cases {
            assert_eq!(HubFrame::decode(bytes), Err(error), "{bytes:?}");
        }
        let large = vec![0; MAX_HUB_BODY_BYTES + 1];
        let frame = HubFrame { op: HubOp::Publish, channel: b"", payload: &large };
        assert_eq!(frame.encode(&mut Vec::new()), Err(HubFrameError::TooLarge(large.len())));
    }

    #[test]
    fn a_count_comes_back_with_the_askers_number() {
        let workers = vec![
            WorkerId { slot: Slot(1), generation: Generation(70_000) },
            WorkerId { slot: Slot(300), generation: Generation(2) },
        ];
        let payload = encode_count(&7u64.to_le_bytes(), 3, workers.iter().copied());
        assert_eq!(decode_count(&payload), Some((7, 3, workers)));
        assert_eq!(decode_count(&[0; 16]), Some((0, 0, Vec::new())));
        assert_eq!(decode_count(b"short"), None);
        assert_eq!(decode_count(&[0; 17]), None);
    }
}
