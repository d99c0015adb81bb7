//! Socket.IO packets as they go out.

use std::io::Write;

use bytes::Bytes;
use thiserror::Error;

use super::{Data, PacketType, Parser, json_write};

/// First byte of a whole, unmasked frame of text.
const TEXT_FRAME: u8 = 0x81;
/// First byte of a whole, unmasked frame of bytes.
const BINARY_FRAME: u8 = 0x82;
/// In the first byte of a frame: its message is compressed.
const COMPRESSED: u8 = 0x40;

/// The longest header of an unmasked frame.
pub(super) const FRAME_HEAD_BYTES: usize = 10;

/// A packet encoded once for all its recipients (design D8).
///
/// It holds the complete WebSocket frames, ready to be written: a text frame, and a binary frame for each attachment;
/// with the MessagePack parser one binary frame.
/// A server's frames carry no mask, so one buffer serves everybody. A clone shares it. HTTP polling derives its payload
/// from [`Encoded::parts`], which those that were compressed for a WebSocket do not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    wire: Bytes,
    compress: bool,
}

/// One Engine.IO packet of an [`Encoded`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// An attachment or MessagePack; else a text packet.
    pub binary: bool,
    /// What the frame carries: a text packet with its Engine.IO digit, or the bytes.
    pub payload: &'a [u8],
}

/// Why bytes of another process are no [`Encoded`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("read ready-made WebSocket frames")]
pub struct NotFrames;

impl Encoded {
    /// A packet from its pieces: `json` with placeholders for `attachments`, which only events and acks may have.
    pub fn packet(kind: PacketType, nsp: &str, id: Option<u64>, json: Option<&str>, attachments: &[Bytes]) -> Self {
        debug_assert!(attachments.is_empty() || matches!(kind, PacketType::Event | PacketType::Ack));
        let json = json.unwrap_or_default();
        let nsp_len = if nsp == "/" { 0 } else { nsp.len() + 1 };
        let count_len = if attachments.is_empty() { 0 } else { digits(attachments.len() as u64) + 1 };
        let len = 2 + count_len + nsp_len + id.map_or(0, digits) + json.len();
        let total = frame_len(len) + attachments.iter().map(|bytes| frame_len(bytes.len())).sum::<usize>();

        // The exact capacity is what lets Bytes take the buffer over without another allocation.
        let mut wire = Vec::with_capacity(total);
        push_header(&mut wire, TEXT_FRAME, len);
        wire.push(b'4');
        if attachments.is_empty() {
            wire.push(b'0' + kind.number());
        } else {
            wire.push(b'0' + kind.number() + 3);
            push_integer(&mut wire, attachments.len() as u64);
            wire.push(b'-');
        }
        if nsp != "/" {
            wire.extend_from_slice(nsp.as_bytes());
            wire.push(b',');
        }
        if let Some(id) = id {
            push_integer(&mut wire, id);
        }
        wire.extend_from_slice(json.as_bytes());
        for bytes in attachments {
            push_header(&mut wire, BINARY_FRAME, bytes.len());
            wire.extend_from_slice(bytes);
        }
        debug_assert_eq!(wire.len(), total);
        Self::of(Bytes::from(wire))
    }

    /// An event; with an id if an answer is wanted. `data` is the array of its name and arguments.
    pub fn event(nsp: &str, id: Option<u64>, data: &Data) -> Self {
        Self::packet(PacketType::Event, nsp, id, Some(data.json()), data.attachments())
    }

    /// The answer to a client's event. `data` is the array of its arguments.
    pub fn ack(nsp: &str, id: u64, data: &Data) -> Self {
        Self::packet(PacketType::Ack, nsp, Some(id), Some(data.json()), data.attachments())
    }

    /// Tells a client that it has joined the namespace, and its socket's id there.
    pub fn connect(nsp: &str, sid: &str) -> Self {
        let mut json = String::with_capacity(sid.len() + 12);
        json.push_str("{\"sid\":");
        json_write::push_string(&mut json, sid);
        json.push('}');
        Self::packet(PacketType::Connect, nsp, None, Some(&json), &[])
    }

    /// Tells a client that it may not join the namespace. `data` is JSON with details for it.
    pub fn connect_error(nsp: &str, message: &str, data: Option<&str>) -> Self {
        let mut json = String::from("{\"message\":");
        json_write::push_string(&mut json, message);
        if let Some(data) = data {
            json.push_str(",\"data\":");
            json.push_str(data);
        }
        json.push('}');
        Self::packet(PacketType::ConnectError, nsp, None, Some(&json), &[])
    }

    /// Tells a client that its socket has left the namespace.
    pub fn disconnect(nsp: &str) -> Self {
        Self::packet(PacketType::Disconnect, nsp, None, None, &[])
    }

    /// One binary message, which stands in `wire` behind [`FRAME_HEAD_BYTES`] that are left free.
    pub(super) fn binary(mut wire: Vec<u8>) -> Self {
        let len = wire.len() - FRAME_HEAD_BYTES;
        let start = FRAME_HEAD_BYTES + len - frame_len(len);
        wire[start] = BINARY_FRAME;
        match len {
            0..126 => wire[start + 1] = len as u8,
            126..0x1_0000 => {
                wire[start + 1] = 126;
                wire[start + 2..FRAME_HEAD_BYTES].copy_from_slice(&(len as u16).to_be_bytes());
            }
            _ => {
                wire[start + 1] = 127;
                wire[start + 2..FRAME_HEAD_BYTES].copy_from_slice(&(len as u64).to_be_bytes());
            }
        }
        Self::of(Bytes::from(wire).slice(start..))
    }

    /// Any text packet of Engine.IO, its digit included.
    pub fn engine(packet: &str) -> Self {
        let mut wire = Vec::with_capacity(frame_len(packet.len()));
        push_header(&mut wire, TEXT_FRAME, packet.len());
        wire.extend_from_slice(packet.as_bytes());
        Self::of(Bytes::from(wire))
    }

    /// A message of bytes.
    pub fn bytes(message: &[u8]) -> Self {
        let mut wire = Vec::with_capacity(frame_len(message.len()));
        push_header(&mut wire, BINARY_FRAME, message.len());
        wire.extend_from_slice(message);
        Self::of(Bytes::from(wire))
    }

    /// The server's heartbeat, without an allocation.
    pub const fn ping() -> Self {
        Self::of(Bytes::from_static(b"\x81\x012"))
    }

    /// The frames of several packets, one after another.
    pub(super) fn joined(wire: Vec<u8>, compress: bool) -> Self {
        Self { wire: Bytes::from(wire), compress }
    }

    /// Appends a frame with a compressed payload to those before it.
    pub(super) fn push_compressed(wire: &mut Vec<u8>, binary: bool, payload: &[u8]) {
        let first = if binary { BINARY_FRAME } else { TEXT_FRAME };
        push_header(wire, first | COMPRESSED, payload.len());
        wire.extend_from_slice(payload);
    }

    const fn of(wire: Bytes) -> Self {
        Self { wire, compress: true }
    }

    /// The same, which may be compressed on its way, or not. As in the official server it may if nothing is said.
    #[must_use]
    pub fn compress(self, compress: bool) -> Self {
        Self { compress, ..self }
    }

    /// Whether it may be compressed on its way.
    pub fn may_compress(&self) -> bool {
        self.compress
    }

    /// Takes ready-made frames that another worker has encoded for the same parser.
    ///
    /// # Errors
    /// Where the bytes are not a text frame of a message followed by binary frames; with the MessagePack parser, not one
    /// binary frame.
    pub fn from_wire(wire: Bytes, parser: Parser) -> Result<Self, NotFrames> {
        let mut rest = &wire[..];
        if parser == Parser::Msgpack {
            let whole = split_frame(rest).is_some_and(|(part, after)| part.binary && after.is_empty());
            return if whole { Ok(Self::of(wire)) } else { Err(NotFrames) };
        }
        let mut first = true;
        while first || !rest.is_empty() {
            let (part, after) = split_frame(rest).ok_or(NotFrames)?;
            if part.binary == first || (first && part.payload.first() != Some(&b'4')) {
                return Err(NotFrames);
            }
            rest = after;
            first = false;
        }
        Ok(Self::of(wire))
    }

    /// The frames, to be written to a WebSocket as they are.
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    /// The bytes of the frames, taken without a count.
    pub fn into_wire(self) -> Bytes {
        self.wire
    }

    /// The Engine.IO packets in the frames, in order.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let mut rest = &self.wire[..];
        std::iter::from_fn(move || {
            let (part, after) = split_frame(rest)?;
            rest = after;
            Some(part)
        })
    }

    /// How many bytes the frames have.
    #[allow(clippy::len_without_is_empty)] // it never is
    pub fn len(&self) -> usize {
        self.wire.len()
    }
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

fn push_integer(wire: &mut Vec<u8>, number: u64) {
    // Writing into a Vec does not fail.
    let _ = write!(wire, "{number}");
}

/// Length of an unmasked frame with a payload of this length.
fn frame_len(payload: usize) -> usize {
    payload
        + match payload {
            0..126 => 2,
            126..0x1_0000 => 4,
            _ => 10,
        }
}

fn push_header(wire: &mut Vec<u8>, first: u8, len: usize) {
    wire.push(first);
    match len {
        0..126 => wire.push(len as u8),
        126..0x1_0000 => {
            wire.push(126);
            wire.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            wire.push(127);
            wire.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

fn split_frame(wire: &[u8]) -> Option<(Part<'_>, &[u8])> {
    let (&[first, short], rest) = wire.split_first_chunk::<2>()?;
    let binary = match first {
        TEXT_FRAME => false,
        BINARY_FRAME => true,
        _ => return None,
    };
    let (len, rest) = match short {
        0..126 => (u64::from(short), rest),
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u64::from(u16::from_be_bytes(*len)), rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*len), rest)
        }
        _ => return None,
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    Some((Part { binary, payload }, rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn texts(encoded: &Encoded) -> Vec<String> {
        encoded.parts().map(|part| String::from_utf8_lossy(part.payload).into_owned()).collect()
    }

    #[test]
    fn packets_have_the_official_form() {
        let data = Data::from_json("[\"a\",1]".to_owned()).unwrap();
        for (encoded, text) in [
            (Encoded::event("/", None, &data), "42[\"a\",1]"),
            (Encoded::event("/chat", Some(10), &data), "42/chat,10[\"a\",1]"),
            (Encoded::ack("/", 0, &data), "430[\"a\",1]"),
            (Encoded::ack("/chat", 99, &data), "43/chat,99[\"a\",1]"),
            (Encoded::connect("/", "abc"), "40{\"sid\":\"abc\"}"),
            (Encoded::connect("/x", "abc"), "40/x,{\"sid\":\"abc\"}"),
            (Encoded::connect_error("/", "a\"b", None), "44{\"message\":\"a\\\"b\"}"),
            (Encoded::connect_error("/x", "no", Some("{\"c\":1}")), "44/x,{\"message\":\"no\",\"data\":{\"c\":1}}"),
            (Encoded::disconnect("/"), "41"),
            (Encoded::disconnect("/x"), "41/x,"),
            (Encoded::ping(), "2"),
            (Encoded::engine("3probe"), "3probe"),
        ] {
            assert_eq!(texts(&encoded), [text]);
        }
    }

    #[test]
    fn attachments_follow_as_binary_frames() {
        let json = "[\"b\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
        let attachments = vec![Bytes::from_static(&[1, 2]), Bytes::new()];
        let data = Data::new(json.to_owned(), attachments).unwrap();
        let encoded = Encoded::event("/n", Some(3), &data);
        let text = format!("452-/n,3{json}");
        let parts: Vec<_> = encoded.parts().collect();
        assert_eq!(
            parts,
            [
                Part { binary: false, payload: text.as_bytes() },
                Part { binary: true, payload: &[1, 2] },
                Part { binary: true, payload: &[] },
            ]
        );
        assert!(encoded.wire().ends_with(&[0x82, 2, 1, 2, 0x82, 0]));
        assert_eq!(Encoded::from_wire(encoded.wire().clone(), Parser::Json).as_ref(), Ok(&encoded));
    }

    #[test]
    fn frame_headers_have_their_shortest_form() {
        for (len, header) in [
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65535, vec![0x81, 126, 0xff, 0xff]),
            (65536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let encoded = Encoded::engine(&"x".repeat(len));
            assert_eq!(encoded.wire()[..header.len()], header);
            assert_eq!(encoded.len(), header.len() + len);
            assert_eq!(encoded.parts().next().unwrap().payload.len(), len);
            let bytes = Encoded::bytes(&vec![0; len]);
            assert_eq!(bytes.wire()[..header.len()], [&[0x82], &header[1..]].concat());
        }
    }

    #[test]
    fn what_is_not_frames_is_refused() {
        for wire in [
            &b""[..],
            b"\x81",
            b"\x81\x02",
            b"\x81\x012",
            b"\x82\x00",
            b"\x81\x024",
            b"\x81\x014\x81\x014",
            b"\x81\x814",
            b"\x01\x014",
            b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff4",
            b"\x81\x014\x82",
        ] {
            assert_eq!(Encoded::from_wire(Bytes::from_static(wire), Parser::Json), Err(NotFrames), "{wire:?}");
        }
    }
}
