//! A packet for many sockets: `[uid, packet{type,data,nsp}, opts{rooms,except,flags}]` in MessagePack.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    Flags, MAX_MESSAGE_BYTES, ReadError, Selector, WriteError,
    error::reader,
    target::{read_options, write_options},
};
use crate::protocol::{
    Data, Encoded, PacketType, Parser, leading_name,
    msgpack::{Reader, Token, Writer, from_json, to_json},
};

/// A broadcast from another server, or from the emitter (uid `emitter`).
#[derive(Debug, Clone, PartialEq)]
pub struct Broadcast {
    /// Who sent it; empty where it is no text. A server ignores its own.
    pub uid: String,
    /// What to send.
    pub packet: Packet,
    /// To whom.
    pub target: Selector,
    /// How.
    pub flags: Flags,
}

/// A packet to hand to clients. Its kind is what the sender said, but clients can read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    /// Mostly an event.
    pub kind: PacketType,
    /// The namespace. A receiver of another one ignores the message.
    pub nsp: String,
    /// Ack id that the sender chose; normally there is none.
    pub id: Option<u64>,
    /// The payload.
    pub data: Option<Data>,
}

impl Broadcast {
    /// Reads a message of a broadcast channel.
    ///
    /// # Errors
    /// Where Node would end over it, and where clients would close the connection over the packet.
    pub fn decode(message: &Bytes) -> Result<Self, ReadError> {
        let mut reader = reader(message)?;
        let count = reader.array_head()?;
        if count < 3 {
            return Err(ReadError::Field("opts"));
        }
        let uid = read_text(&mut reader)?.unwrap_or_default();
        let packet = Packet::read(&mut reader, message)?;
        let (target, flags) = read_options(&mut reader)?;
        for _ in 3..count {
            reader.skip()?;
        }
        reader.end()?;
        Ok(Self { uid, packet, target, flags })
    }
}

/// Who sent a broadcast, found without reading the rest: own messages come back, and are dropped at no cost.
pub fn sender(message: &[u8]) -> Option<Cow<'_, str>> {
    let mut reader = reader(message).ok()?;
    reader.array_head().ok()?;
    match reader.token().ok()? {
        Token::Text(uid) => Some(uid),
        _ => None,
    }
}

/// A message for a broadcast channel: an event for the namespace `nsp`.
///
/// # Errors
/// Where `data` is no event, or the message too long.
pub fn encode_broadcast(
    uid: &str,
    nsp: &str,
    data: &Data,
    target: &Selector,
    flags: Flags,
) -> Result<Vec<u8>, WriteError> {
    let mut writer = Writer::with_capacity(data.json().len() + 96);
    writer.array(3);
    writer.text(uid);
    write_event(&mut writer, nsp, data)?;
    write_options(&mut writer, target, flags);
    if writer.bytes.len() > MAX_MESSAGE_BYTES {
        return Err(WriteError::TooLong(writer.bytes.len()));
    }
    #[cfg(debug_assertions)]
    super::poison::assert_harmless_broadcast(&writer.bytes);
    Ok(writer.bytes)
}

/// Writes the packet of an event.
pub(super) fn write_event(writer: &mut Writer, nsp: &str, data: &Data) -> Result<(), WriteError> {
    leading_name(data.json()).map_err(|_| WriteError::NotAnEvent)?;
    writer.map(3);
    writer.text("type");
    writer.unsigned(u64::from(PacketType::Event.number()));
    writer.text("data");
    from_json::write_data(writer, data, MAX_MESSAGE_BYTES)?;
    writer.text("nsp");
    writer.text(nsp);
    Ok(())
}

/// A text, or `None` for any other value.
fn read_text(reader: &mut Reader<'_>) -> Result<Option<String>, ReadError> {
    let token = reader.clone().token()?;
    reader.skip()?;
    Ok(match token {
        Token::Text(text) => Some(text.into_owned()),
        _ => None,
    })
}

impl Packet {
    fn read(reader: &mut Reader<'_>, message: &Bytes) -> Result<Self, ReadError> {
        let Token::Map(count) = reader.token()? else {
            return Err(ReadError::Field("packet"));
        };
        let mut kind = None;
        let mut nsp = None;
        let mut id = None;
        let mut data = None;
        for _ in 0..count {
            let key = reader.key()?;
            let token = reader.clone().token()?;
            match &*key {
                "data" if token != Token::Undefined => {
                    data = Some(to_json::read_data(reader, message)?);
                    continue;
                }
                "type" => kind = token.index(),
                "id" => id = token.index(),
                "nsp" => {
                    nsp = match token {
                        Token::Text(text) => Some(text.into_owned()),
                        Token::Undefined => None,
                        _ => return Err(ReadError::Field("nsp")),
                    };
                }
                _ => {}
            }
            reader.skip()?;
        }
        Self::new(kind, nsp, id, data)
    }

    /// A packet of the fields of a message, if clients can read it. (The official adapter passes on whatever comes.)
    pub(super) fn new(
        kind: Option<u64>,
        nsp: Option<String>,
        id: Option<u64>,
        data: Option<Data>,
    ) -> Result<Self, ReadError> {
        let kind = kind.and_then(PacketType::from_number).ok_or(ReadError::Field("type"))?;
        // In a packet of its own JSON's null is no payload, as in the official encoder.
        let data = data.filter(|data| data.json() != "null");
        let first = data.as_ref().and_then(|data| data.json().bytes().next());
        let readable = match kind {
            PacketType::Event => data.as_ref().is_some_and(|data| leading_name(data.json()).is_ok()),
            PacketType::Ack => id.is_some() && first == Some(b'['),
            PacketType::Connect => matches!(first, None | Some(b'{')),
            PacketType::ConnectError => matches!(first, Some(b'{' | b'"')),
            PacketType::Disconnect => first.is_none(),
        };
        let carries_bytes = data.as_ref().is_some_and(|data| !data.attachments().is_empty());
        if !readable || (carries_bytes && !matches!(kind, PacketType::Event | PacketType::Ack)) {
            return Err(ReadError::Harmful);
        }
        Ok(Self { kind, nsp: nsp.unwrap_or_else(|| "/".to_owned()), id, data })
    }

    /// The event that it is, without an ack id of its own. `None` for every other kind, which the official server passes on:
    /// a client would take it for its own server's word and believe that it is connected anew, refused or disconnected. Nor for
    /// one with more bytes than clients with this parser take: they would close the connection.
    pub fn into_event(self, parser: Parser) -> Option<Self> {
        let byte_strings = self.data.as_ref().map_or(0, |data| data.attachments().len());
        let fits = self.kind == PacketType::Event && byte_strings <= parser.max_attachments();
        fits.then_some(Self { id: None, ..self })
    }

    /// The packet as clients with this parser get it, with this ack id if answers are wanted.
    pub fn encode(&self, parser: Parser, id: Option<u64>) -> Encoded {
        parser.packet(self.kind, &self.nsp, id.or(self.id), self.data.as_ref())
    }
}
