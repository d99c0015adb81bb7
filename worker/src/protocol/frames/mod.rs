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
mod tests;
