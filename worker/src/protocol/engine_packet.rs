//! Engine.IO, protocol revision 4: packets, and the payloads of HTTP polling.
//!
//! A text packet is a digit and its data. A WebSocket message is one packet; a binary one carries bytes without a
//! digit. A polling payload joins packets with the byte 0x1e; bytes are `b` and base64 there, which a text message
//! on WebSocket may use too.

use std::{borrow::Cow, time::Duration};

use base64::{
    Engine as _,
    alphabet::STANDARD as ALPHABET,
    engine::{
        DecodePaddingMode::Indifferent,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
    },
};
use serde::Serialize;
use thiserror::Error;

use super::Encoded;

/// Stands between the packets of a payload.
pub const SEPARATOR: u8 = 0x1e;

/// The packet that closes a polling session.
pub const CLOSE: &str = "1";
/// The server's heartbeat.
pub const PING: &str = "2";
/// The answer to the client's [`PROBE`].
pub const PROBE_ANSWER: &str = "3probe";
/// What a client's ping carries when it probes a WebSocket to upgrade to.
pub const PROBE: &str = "probe";
/// The packet that only ends a pending poll.
pub const NOOP: &str = "6";

/// How the official server reads base64: padding or not, bits left over or not.
const LAX: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(Indifferent).with_decode_allow_trailing_bits(true),
);

/// One packet from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Begins a session; only a server sends it.
    Open,
    /// Ends the session (polling only).
    Close,
    /// A client pings only to probe an upgrade, with [`PROBE`] as data.
    Ping(&'a str),
    /// The answer to our heartbeat.
    Pong,
    /// A text message.
    Message(&'a str),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
    /// Completes an upgrade.
    Upgrade,
    /// Nothing.
    Noop,
}

/// Why a text is no packet. The session ends with the reason `parse error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PacketError {
    /// An empty packet, as between two separators or in an empty payload.
    #[error("read an empty Engine.IO packet")]
    Empty,
    /// The first character is no packet type.
    #[error("read an Engine.IO packet of the unknown type {0:?}")]
    UnknownType(char),
}

impl<'a> Packet<'a> {
    /// Reads one text packet: a WebSocket text message, or one piece of a polling payload.
    ///
    /// # Errors
    /// See [`PacketError`].
    pub fn from_text(text: &'a str) -> Result<Self, PacketError> {
        let kind = text.chars().next().ok_or(PacketError::Empty)?;
        let data = &text[kind.len_utf8()..];
        Ok(match kind {
            '0' => Packet::Open,
            '1' => Packet::Close,
            '2' => Packet::Ping(data),
            '3' => Packet::Pong,
            '4' => Packet::Message(data),
            '5' => Packet::Upgrade,
            '6' => Packet::Noop,
            'b' => Packet::Binary(Cow::Owned(decode_base64(data))),
            other => return Err(PacketError::UnknownType(other)),
        })
    }

    /// Reads a WebSocket binary message.
    pub fn from_binary(bytes: &'a [u8]) -> Self {
        Packet::Binary(Cow::Borrowed(bytes))
    }
}

/// The text of a POST body: bytes that are not UTF-8 become replacement characters, as in the official server.
pub fn payload_text(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body)
}

/// The packets of a polling payload. Ends after the first error; the packets before it count.
pub fn packets(payload: &str) -> impl Iterator<Item = Result<Packet<'_>, PacketError>> {
    let mut failed = false;
    payload.split(char::from(SEPARATOR)).map_while(move |piece| {
        if failed {
            return None;
        }
        let packet = Packet::from_text(piece);
        failed = packet.is_err();
        Some(packet)
    })
}

/// As Node's `Buffer.from(text, "base64")`: both alphabets, other characters skipped, ends at the first `=`.
fn decode_base64(text: &str) -> Vec<u8> {
    if let Ok(bytes) = STANDARD.decode(text) {
        return bytes;
    }
    let characters: Vec<u8> = text
        .bytes()
        .take_while(|byte| *byte != b'=')
        .filter_map(|byte| match byte {
            b'-' => Some(b'+'),
            b'_' => Some(b'/'),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => Some(byte),
            _ => None,
        })
        .collect();
    // A single character left over holds no whole byte.
    let whole = characters.len() - usize::from(characters.len() % 4 == 1);
    LAX.decode(&characters[..whole]).unwrap_or_default()
}

/// The first packet of a session, from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPacket<'a> {
    /// The session's id.
    pub sid: &'a str,
    /// Transports the client may upgrade to: `websocket`, or none on WebSocket itself.
    pub upgrades: &'a [&'a str],
    /// Time between a pong and the next ping.
    pub ping_interval: Duration,
    /// How long a pong may take.
    pub ping_timeout: Duration,
    /// Most bytes of a POST body or a WebSocket message from the client.
    pub max_payload: usize,
}

impl OpenPacket<'_> {
    /// The packet's text. Key order as in the official server.
    pub fn encode(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Json<'a> {
            sid: &'a str,
            upgrades: &'a [&'a str],
            ping_interval: u128,
            ping_timeout: u128,
            max_payload: usize,
        }
        let json = serde_json::to_string(&Json {
            sid: self.sid,
            upgrades: self.upgrades,
            ping_interval: self.ping_interval.as_millis(),
            ping_timeout: self.ping_timeout.as_millis(),
            max_payload: self.max_payload,
        })
        .expect("texts and numbers always serialize");
        format!("0{json}")
    }
}

/// Appends a text packet (with its digit) to a polling payload.
pub fn push_text(payload: &mut Vec<u8>, packet: &[u8]) {
    separate(payload);
    payload.extend_from_slice(packet);
}

/// Appends a binary message to a polling payload.
pub fn push_binary(payload: &mut Vec<u8>, message: &[u8]) {
    separate(payload);
    payload.push(b'b');
    let start = payload.len();
    payload.resize(start + base64_len(message.len()), 0);
    let written = STANDARD.encode_slice(message, &mut payload[start..]);
    debug_assert_eq!(written, Ok(base64_len(message.len())));
}

/// Appends all packets of an encoded Socket.IO packet to a polling payload.
pub fn push_encoded(payload: &mut Vec<u8>, encoded: &Encoded) {
    for part in encoded.parts() {
        if part.binary {
            push_binary(payload, part.payload);
        } else {
            push_text(payload, part.payload);
        }
    }
}

/// How many bytes an encoded packet adds to a polling payload, its separators included.
pub fn payload_len(encoded: &Encoded) -> usize {
    encoded
        .parts()
        .map(|part| {
            let len = part.payload.len();
            1 + if part.binary { 1 + base64_len(len) } else { len }
        })
        .sum()
}

fn separate(payload: &mut Vec<u8>) {
    if !payload.is_empty() {
        payload.push(SEPARATOR);
    }
}

fn base64_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_packet_is_read() {
        for (text, packet) in [
            ("0", Packet::Open),
            ("1", Packet::Close),
            ("2", Packet::Ping("")),
            ("2probe", Packet::Ping("probe")),
            ("3", Packet::Pong),
            ("3probe", Packet::Pong),
            ("4", Packet::Message("")),
            ("42[\"a\"]", Packet::Message("2[\"a\"]")),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
            ("b", Packet::Binary(Cow::Borrowed(b""))),
            ("bAQL/", Packet::Binary(Cow::Borrowed(&[1, 2, 255]))),
        ] {
            assert_eq!(Packet::from_text(text), Ok(packet), "{text}");
        }
        assert_eq!(Packet::from_text(""), Err(PacketError::Empty));
        assert_eq!(Packet::from_text("7"), Err(PacketError::UnknownType('7')));
        assert_eq!(Packet::from_text("é"), Err(PacketError::UnknownType('é')));
    }

    #[test]
    fn base64_is_read_as_leniently_as_node_does() {
        // Left: input; right: what Buffer.from(input, "base64") gave in Node 20.
        for (text, bytes) in [
            ("AQI=", &[1, 2][..]),
            ("AQI", &[1, 2]),
            ("AQ I=\n", &[1, 2]),
            ("-_-_", &[0xfb, 0xff, 0xbf]),
            ("A", &[]),
            ("AQJ", &[1, 2]),
            ("!AQ*I", &[1, 2]),
            ("====", &[]),
            ("AQIDé", &[1, 2, 3]),
        ] {
            assert_eq!(decode_base64(text), bytes, "{text}");
        }
    }

    #[test]
    fn a_payload_ends_at_its_first_bad_packet() {
        let read = |text| packets(text).collect::<Vec<_>>();
        assert_eq!(
            read("42[\"a\",1]\u{1e}bAQL/\u{1e}3"),
            [Ok(Packet::Message("2[\"a\",1]")), Ok(Packet::Binary(Cow::Borrowed(&[1, 2, 255]))), Ok(Packet::Pong)]
        );
        assert_eq!(read(""), [Err(PacketError::Empty)]);
        assert_eq!(read("3\u{1e}"), [Ok(Packet::Pong), Err(PacketError::Empty)]);
        assert_eq!(read("x\u{1e}3"), [Err(PacketError::UnknownType('x'))]);
    }

    #[test]
    fn bad_utf8_in_a_body_becomes_replacement_characters() {
        assert_eq!(payload_text(b"4a\xff\xc3b"), "4a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn the_open_packet_has_the_official_key_order() {
        let open = OpenPacket {
            sid: "lv_VI97HAXpY6yYWAAAC",
            upgrades: &["websocket"],
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 1_000_000,
        };
        assert_eq!(
            open.encode(),
            "0{\"sid\":\"lv_VI97HAXpY6yYWAAAC\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\
             \"pingTimeout\":20000,\"maxPayload\":1000000}"
        );
    }

    #[test]
    fn a_payload_is_written_as_the_official_server_does() {
        let mut payload = Vec::new();
        push_text(&mut payload, b"42[\"a\",1]");
        push_text(&mut payload, b"451-[\"b\",{\"_placeholder\":true,\"num\":0}]");
        push_binary(&mut payload, &[1, 2, 255]);
        assert_eq!(payload, b"42[\"a\",1]\x1e451-[\"b\",{\"_placeholder\":true,\"num\":0}]\x1ebAQL/");
    }
}
