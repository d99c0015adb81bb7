//! WebSocket frames from a client, read where they lie: whole messages are handed on straight from the buffer they were
//! received into, and only a connection with an incomplete one owns memory (design D8).

use std::{io::Cursor, ops::ControlFlow};

use thiserror::Error;
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

use super::deflate::{InflateError, Inflater};

/// The longest head of a frame.
const MAX_HEAD: usize = 14;
/// The largest payload of a control frame.
const MAX_CONTROL: u64 = 125;

/// A close frame without a code, ready to be written.
pub const EMPTY_CLOSE: &[u8] = &[0x88, 0];

/// What a client sent.
#[derive(PartialEq, Eq, Debug)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping, to be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong that nobody asked for.
    Pong,
    /// A close frame, with its code if it has one.
    Close(Option<u16>),
}

/// How a client broke the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FrameError {
    /// A frame that no client may send at this point.
    #[error("read an invalid WebSocket frame")]
    Invalid,
    /// A text message that is no UTF-8.
    #[error("read a text message that is not UTF-8")]
    NotText,
    /// A message larger than the limit.
    #[error("accept a message larger than the limit")]
    TooLarge,
    /// A compressed message that does not decompress.
    #[error("decompress a message")]
    Corrupt,
}

/// What a message costs of [`Rules::left`] besides its bytes, those of a decompressed one included. Much more than it takes to read
/// one: it may open a namespace.
pub const MESSAGE_COST: usize = 4096;

/// By what rules a client's frames are read.
#[derive(Debug)]
pub struct Rules<'a> {
    /// The largest message in bytes.
    pub max: usize,
    /// How much may still be handed on in this turn: what is used up is taken off, and nothing more is read at none. A few bytes
    /// can be many messages, or large ones when decompressed, and others wait meanwhile.
    pub left: usize,
    /// Decompresses messages, if that was agreed on with the client.
    pub inflater: Option<&'a mut Inflater>,
}

/// Reads one client's frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    /// A frame that has not yet come whole; while reading pauses, everything that is not yet read.
    partial: Vec<u8>,
    /// [`Rules::left`] was used up before all was read.
    paused: bool,
    /// A message that has not yet come whole.
    fragments: Option<Box<Fragments>>,
}

#[derive(Debug)]
struct Fragments {
    text: bool,
    compressed: bool,
    data: Vec<u8>,
}

/// A frame's head, checked.
struct Head {
    opcode: OpCode,
    is_final: bool,
    compressed: bool,
    mask: [u8; 4],
    head: usize,
    payload: usize,
}

impl FrameReader {
    /// Takes the bytes that came, and tells `on` of each message that is now whole, until it says break, or it has had enough for
    /// one turn: then it is to be called again, with what came since or nothing (see [`FrameReader::is_paused`]).
    ///
    /// # Errors
    /// Where the client broke the protocol; nothing more can be read then.
    pub fn read(
        &mut self,
        mut input: &mut [u8],
        rules: &mut Rules<'_>,
        on: &mut dyn FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<(), FrameError> {
        if std::mem::take(&mut self.paused) {
            let mut kept = std::mem::take(&mut self.partial);
            kept.extend_from_slice(input);
            return self.read(&mut kept, rules, on);
        }
        while !self.partial.is_empty() && !input.is_empty() {
            let missing = match self.parse(&self.partial, rules)? {
                Some(head) => head.head + head.payload - self.partial.len(),
                None => head_missing(&self.partial),
            };
            let (taken, rest) = input.split_at_mut(missing.min(input.len()));
            self.partial.extend_from_slice(taken);
            input = rest;
            let Some(head) = self.parse(&self.partial, rules)? else { continue };
            if self.partial.len() == head.head + head.payload {
                let mut frame = std::mem::take(&mut self.partial);
                if self.frame(&head, &mut frame[head.head..], rules, on)?.is_break() {
                    return Ok(());
                }
            }
        }
        while !input.is_empty() {
            if rules.left == 0 {
                self.partial.extend_from_slice(input);
                self.paused = true;
                return Ok(());
            }
            let head = match self.parse(input, rules)? {
                Some(head) if head.head + head.payload <= input.len() => head,
                _ => {
                    self.partial.extend_from_slice(input);
                    return Ok(());
                }
            };
            let (frame, rest) = input.split_at_mut(head.head + head.payload);
            input = rest;
            if self.frame(&head, &mut frame[head.head..], rules, on)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether there is more to read of what it was given.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Bytes of memory that it owns.
    pub fn owned_bytes(&self) -> usize {
        self.partial.capacity() + self.fragments.as_ref().map_or(0, |fragments| fragments.data.capacity())
    }

    /// Reads the head at the front of `bytes`; `None` if it is not whole. What makes the frame illegal is found here, before
    /// memory is spent on it.
    fn parse(&self, bytes: &[u8], rules: &Rules<'_>) -> Result<Option<Head>, FrameError> {
        let mut cursor = Cursor::new(bytes);
        let Some((header, payload)) = FrameHeader::parse(&mut cursor).map_err(|_| FrameError::Invalid)? else {
            return Ok(None);
        };
        // Of a message the first frame says it.
        let may_be_compressed =
            rules.inflater.is_some() && matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
        let reserved = (header.rsv1 && !may_be_compressed) || header.rsv2 || header.rsv3;
        let mask = header.mask.filter(|_| !reserved).ok_or(FrameError::Invalid)?;
        let sound = match header.opcode {
            OpCode::Control(_) => header.is_final && payload <= MAX_CONTROL,
            OpCode::Data(Data::Continue) => self.fragments.is_some(),
            OpCode::Data(_) => self.fragments.is_none(),
        };
        if !sound {
            return Err(FrameError::Invalid);
        }
        let gathered = match (&self.fragments, header.opcode) {
            (Some(fragments), OpCode::Data(_)) => fragments.data.len(),
            _ => 0,
        };
        let room = rules.max.saturating_sub(gathered) as u64;
        if payload > room && !matches!(header.opcode, OpCode::Control(_)) {
            return Err(FrameError::TooLarge);
        }
        Ok(Some(Head {
            opcode: header.opcode,
            is_final: header.is_final,
            compressed: header.rsv1,
            mask,
            head: cursor.position() as usize,
            payload: payload as usize,
        }))
    }

    fn frame(
        &mut self,
        head: &Head,
        payload: &mut [u8],
        rules: &mut Rules<'_>,
        on: &mut dyn FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, FrameError> {
        unmask(payload, head.mask);
        rules.left = rules.left.saturating_sub(MESSAGE_COST);
        match head.opcode {
            OpCode::Control(Control::Ping) => Ok(on(Incoming::Ping(payload))),
            OpCode::Control(Control::Pong) => Ok(on(Incoming::Pong)),
            OpCode::Control(Control::Close) => {
                let code = close_code(payload)?;
                Ok(on(Incoming::Close(code)))
            }
            OpCode::Data(Data::Continue) => self.continued(head.is_final, payload, rules, on),
            OpCode::Data(kind) => {
                let (text, compressed) = (kind == Data::Text, head.compressed);
                if head.is_final {
                    return message(text, compressed, payload, rules, on);
                }
                self.fragments = Some(Box::new(Fragments { text, compressed, data: payload.to_vec() }));
                Ok(ControlFlow::Continue(()))
            }
            OpCode::Control(Control::Reserved(_)) => Err(FrameError::Invalid),
        }
    }

    fn continued(
        &mut self,
        is_final: bool,
        payload: &[u8],
        rules: &mut Rules<'_>,
        on: &mut dyn FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, FrameError> {
        let mut fragments = self.fragments.take().ok_or(FrameError::Invalid)?;
        fragments.data.extend_from_slice(payload);
        if is_final {
            return message(fragments.text, fragments.compressed, &fragments.data, rules, on);
        }
        self.fragments = Some(fragments);
        Ok(ControlFlow::Continue(()))
    }
}

fn message(
    text: bool,
    compressed: bool,
    payload: &[u8],
    rules: &mut Rules<'_>,
    on: &mut dyn FnMut(Incoming<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, FrameError> {
    let payload = match &mut rules.inflater {
        Some(inflater) if compressed => inflater.inflate(payload, rules.max)?,
        _ => payload,
    };
    rules.left = rules.left.saturating_sub(payload.len());
    if text {
        let text = std::str::from_utf8(payload).map_err(|_| FrameError::NotText)?;
        return Ok(on(Incoming::Text(text)));
    }
    Ok(on(Incoming::Binary(payload)))
}

/// How many bytes an incomplete head needs before there is more to say: its first two bytes tell its length.
fn head_missing(partial: &[u8]) -> usize {
    let [_, second, ..] = partial else { return 2 - partial.len() };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    debug_assert!(2 + length + mask <= MAX_HEAD);
    (2 + length + mask).saturating_sub(partial.len()).max(1)
}

/// A close frame holds nothing, or a code that may be sent and a text.
fn close_code(payload: &[u8]) -> Result<Option<u16>, FrameError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(FrameError::Invalid) };
    };
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Err(FrameError::Invalid);
    }
    std::str::from_utf8(reason).map(|_| Some(code)).map_err(|_| FrameError::NotText)
}

/// Takes the mask off, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

impl From<InflateError> for FrameError {
    fn from(error: InflateError) -> FrameError {
        match error {
            InflateError::Corrupt => FrameError::Corrupt,
            InflateError::TooLarge => FrameError::TooLarge,
        }
    }
}

impl FrameError {
    /// The code of the close frame that tells the client.
    pub fn close_code(self) -> u16 {
        match self {
            FrameError::Invalid => 1002,
            FrameError::NotText | FrameError::Corrupt => 1007,
            FrameError::TooLarge => 1009,
        }
    }
}

/// A close frame with a code and a reason of at most 123 bytes.
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    control_frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// The answer to a ping.
pub fn pong_frame(payload: &[u8]) -> Vec<u8> {
    control_frame(0x8a, payload)
}

fn control_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(MAX_CONTROL as usize)];
    [&[first, payload.len() as u8], payload].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first];
        match payload.len() {
            0..126 => frame.push(0x80 | payload.len() as u8),
            126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend((payload.len() as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn read(reader: &mut FrameReader, bytes: &[u8], seen: &mut Vec<String>) -> Result<(), FrameError> {
        reader.read(&mut bytes.to_vec(), &mut Rules { max: MAX, left: usize::MAX, inflater: None }, &mut |incoming| {
            seen.push(format!("{incoming:?}"));
            ControlFlow::Continue(())
        })
    }

    /// Everything a client may send, in one row.
    fn stream() -> (Vec<u8>, Vec<String>) {
        let long = "é".repeat(400);
        let bytes = [
            frame(0x81, b"hello"),
            frame(0x82, &[0, 255, 1]),
            frame(0x81, b""),
            frame(0x89, b"ping"),
            frame(0x01, "h\u{e9}".as_bytes().split_at(2).0),
            frame(0x8a, b""),
            frame(0x00, "h\u{e9}".as_bytes().split_at(2).1),
            frame(0x89, b""),
            frame(0x80, b"!"),
            frame(0x81, long.as_bytes()),
            frame(0x88, &[3, 232, b'x']),
        ]
        .concat();
        let expected = [
            "Text(\"hello\")".to_owned(),
            "Binary([0, 255, 1])".to_owned(),
            "Text(\"\")".to_owned(),
            format!("Ping({:?})", b"ping"),
            "Pong".to_owned(),
            "Ping([])".to_owned(),
            "Text(\"hé!\")".to_owned(),
            format!("Text({long:?})"),
            "Close(Some(1000))".to_owned(),
        ];
        (bytes, expected.into())
    }

    #[test]
    fn messages_are_the_same_wherever_the_bytes_are_split() {
        let (bytes, expected) = stream();
        for at in 0..=bytes.len() {
            let (mut reader, mut seen) = (FrameReader::default(), Vec::new());
            read(&mut reader, &bytes[..at], &mut seen).unwrap();
            read(&mut reader, &bytes[at..], &mut seen).unwrap();
            assert_eq!(seen, expected, "split at {at}");
            assert_eq!(reader.owned_bytes(), 0);
        }
        let (mut reader, mut seen) = (FrameReader::default(), Vec::new());
        for byte in &bytes {
            read(&mut reader, &[*byte], &mut seen).unwrap();
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn hostile_frames_are_refused() {
        let invalid = FrameError::Invalid;
        let mut unmasked = frame(0x81, b"");
        unmasked[1] = 0;
        for (bytes, error) in [
            (frame(0xc1, b"compressed"), invalid),
            (frame(0xa1, b"rsv2"), invalid),
            (frame(0x91, b"rsv3"), invalid),
            (frame(0x83, b"reserved"), invalid),
            (frame(0x8b, b"reserved"), invalid),
            (unmasked, invalid),
            (frame(0x80, b"continues nothing"), invalid),
            ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), invalid),
            (frame(0x09, b"fragmented ping"), invalid),
            (frame(0x89, &[0; 126]), invalid),
            (frame(0x88, &[3]), invalid),
            (frame(0x88, &[3, 237]), invalid),
            (frame(0x88, &[0, 1]), invalid),
            (frame(0x88, &[3, 232, 0xff]), FrameError::NotText),
            (frame(0x81, &[0xff]), FrameError::NotText),
            ([frame(0x01, &[0xc3]), frame(0x80, b"x")].concat(), FrameError::NotText),
            (frame(0x82, &[0; MAX + 1]), FrameError::TooLarge),
            (vec![0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], FrameError::TooLarge),
            ([frame(0x02, &[0; MAX]), frame(0x80, &[0])].concat(), FrameError::TooLarge),
        ] {
            let whole = read(&mut FrameReader::default(), &bytes, &mut Vec::new());
            assert_eq!(whole, Err(error), "{bytes:x?}");
            let mut reader = FrameReader::default();
            let bytewise = bytes.iter().try_for_each(|byte| read(&mut reader, &[*byte], &mut Vec::new()));
            assert_eq!(bytewise, Err(error), "{bytes:x?} byte by byte");
        }
    }

    #[test]
    fn exactly_the_limit_passes_also_in_fragments() {
        let (mut reader, mut seen) = (FrameReader::default(), Vec::new());
        let bytes = [frame(0x82, &[7; MAX]), frame(0x02, &[7; MAX - 1]), frame(0x80, &[7])].concat();
        read(&mut reader, &bytes, &mut seen).unwrap();
        assert_eq!(seen, [format!("Binary({:?})", [7u8; MAX]), format!("Binary({:?})", [7u8; MAX])]);
    }

    #[test]
    fn an_announced_length_costs_no_memory() {
        let mut reader = FrameReader::default();
        let head = &frame(0x82, &[0; MAX])[..9];
        read(&mut reader, head, &mut Vec::new()).unwrap();
        assert!(reader.owned_bytes() < 64);
    }

    #[test]
    fn random_bytes_never_panic() {
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut reader = FrameReader::default();
            for _ in 0..50 {
                let mut bytes: Vec<u8> = (0..rng.usize(1..40)).map(|_| rng.u8(..)).collect();
                if rng.bool() {
                    bytes = frame(*rng.choice(&[0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89]).unwrap(), &bytes);
                }
                if read(&mut reader, &bytes, &mut Vec::new()).is_err() {
                    break;
                }
                assert!(reader.owned_bytes() <= 4 * MAX, "seed {seed}");
            }
        }
    }

    /// Deflated, and without the flush's tail.
    fn deflated(message: &[u8]) -> Vec<u8> {
        let mut output = Vec::with_capacity(message.len() + 100);
        let mut stream = flate2::Compress::new(flate2::Compression::fast(), false);
        stream.compress_vec(message, &mut output, flate2::FlushCompress::Sync).unwrap();
        output.truncate(output.len() - 4);
        output
    }

    fn read_deflated(reader: &mut FrameReader, bytes: &[u8], seen: &mut Vec<String>) -> Result<(), FrameError> {
        let mut inflater = Inflater::default();
        let mut rules = Rules { max: MAX, left: usize::MAX, inflater: Some(&mut inflater) };
        reader.read(&mut bytes.to_vec(), &mut rules, &mut |incoming| {
            seen.push(format!("{incoming:?}"));
            ControlFlow::Continue(())
        })
    }

    #[test]
    fn compressed_messages_and_others_come_mixed_and_in_any_pieces() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for _ in 0..5 {
                let (text, compressed) = (rng.bool(), if rng.bool() { 0x40 } else { 0 });
                let message: Vec<u8> = (0..rng.usize(..=MAX)).map(|_| rng.u8(b'a'..b'e')).collect();
                expected.push(match text {
                    true => format!("{:?}", Incoming::Text(std::str::from_utf8(&message).unwrap())),
                    false => format!("{:?}", Incoming::Binary(&message)),
                });
                let payload = if compressed != 0 { deflated(&message) } else { message };
                let mut first = compressed | if text { 1 } else { 2 };
                let mut rest = &payload[..];
                while rng.bool() {
                    let (piece, after) = rest.split_at(rng.usize(..=rest.len()));
                    bytes.extend(frame(first, piece));
                    bytes.extend(frame(0x8a, b"pong"));
                    expected.insert(expected.len() - 1, "Pong".to_owned());
                    (first, rest) = (0, after);
                }
                bytes.extend(frame(0x80 | first, rest));
            }
            let (mut reader, mut seen) = (FrameReader::default(), Vec::new());
            while !bytes.is_empty() {
                let rest = bytes.split_off(rng.usize(1..=bytes.len()));
                read_deflated(&mut reader, &bytes, &mut seen).unwrap();
                bytes = rest;
            }
            assert_eq!(seen, expected, "seed {seed}");
            assert_eq!(reader.owned_bytes(), 0);
        }
    }

    #[test]
    fn only_the_first_frame_of_a_message_says_that_it_is_compressed() {
        for (bytes, error) in [
            (frame(0xc9, b""), FrameError::Invalid),
            (frame(0xc8, b""), FrameError::Invalid),
            ([frame(0x41, b""), frame(0xc0, b"")].concat(), FrameError::Invalid),
            (frame(0xe1, b""), FrameError::Invalid),
            (frame(0xc1, b"hello"), FrameError::Corrupt),
            (frame(0xc1, &deflated(&[0xff])), FrameError::NotText),
            (frame(0xc2, &deflated(&[0; MAX + 1])), FrameError::TooLarge),
            (frame(0xc2, &[0; MAX + 1]), FrameError::TooLarge),
        ] {
            let read = read_deflated(&mut FrameReader::default(), &bytes, &mut Vec::new());
            assert_eq!(read, Err(error), "{bytes:x?}");
        }
    }

    #[test]
    fn what_a_turn_has_no_time_for_comes_in_the_next_ones_and_in_order() {
        let (bytes, expected) = stream();
        let bomb = frame(0xc2, &deflated(&[7; MAX]));
        let mut inflater = Inflater::default();
        for size in [1, 7, 64, bytes.len()] {
            let (mut reader, mut seen, mut turns) = (FrameReader::default(), Vec::new(), 0);
            let mut turn = |reader: &mut FrameReader, seen: &mut Vec<String>, input: &[u8]| {
                turns += 1;
                let mut rules = Rules { max: MAX, left: 1, inflater: Some(&mut inflater) };
                let mut messages = 0;
                let read = reader.read(&mut input.to_vec(), &mut rules, &mut |incoming| {
                    messages += 1;
                    seen.push(format!("{incoming:?}"));
                    ControlFlow::Continue(())
                });
                assert_eq!(read, Ok(()));
                assert!(messages <= 1, "one message is a turn's share");
            };
            let row = [&bomb[..], &bomb, &bytes].concat();
            for piece in row.chunks(size) {
                turn(&mut reader, &mut seen, piece);
            }
            while reader.is_paused() {
                turn(&mut reader, &mut seen, &[]);
            }
            assert_eq!(seen[2..], expected, "{size}");
            assert_eq!(reader.owned_bytes(), 0);
            assert!(turns >= seen.len());
        }
    }

    #[test]
    fn reading_stops_where_it_is_told_to() {
        let (mut reader, mut count) = (FrameReader::default(), 0);
        let mut bytes = [frame(0x81, b"a"), frame(0x81, b"b")].concat();
        reader
            .read(&mut bytes, &mut Rules { max: MAX, left: usize::MAX, inflater: None }, &mut |_| {
                count += 1;
                ControlFlow::Break(())
            })
            .unwrap();
        assert_eq!(count, 1);
    }
}
