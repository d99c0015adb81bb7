//! Puts a client's packets together: text messages, and the binary messages that complete them.

use bytes::Bytes;

use super::{Data, DataError, PacketError, PacketType, SocketPacket, msgpack::Unreadable};

/// The packet of a session that waits for its attachments, if any.
#[derive(Debug, Default)]
pub struct Assembly(Option<Box<Partial>>);

#[derive(Debug)]
struct Partial {
    packet: Complete,
    json: String,
    wanted: usize,
    attachments: Vec<Bytes>,
}

/// A packet with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// What it is for.
    pub kind: PacketType,
    /// Its namespace.
    pub nsp: String,
    /// The id to answer with, or what it answers.
    pub id: Option<u64>,
    /// The event's name.
    pub event: Option<String>,
    /// The JSON with its attachments; `None` for a packet without.
    pub data: Option<Data>,
}

/// Why a message breaks the protocol. The official server ends the session with `forced close`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The text is no packet.
    #[error("read a packet: {0}")]
    Packet(#[from] PacketError),
    /// The attachments do not fit the text.
    #[error("complete a packet: {0}")]
    Attachments(#[from] DataError),
    /// A text came while attachments were due.
    #[error("complete a packet: a text message came instead of an attachment")]
    TextInstead,
    /// Bytes came while none were due.
    #[error("take bytes that belong to no packet")]
    BytesWithoutPacket,
    /// The bytes are no MessagePack.
    #[error("read a packet: {0}")]
    Msgpack(#[from] Unreadable),
    /// A field of a packet in MessagePack is missing or of the wrong type.
    #[error("accept a packet with this {0:?}")]
    Field(&'static str),
    /// A text came where all packets are MessagePack.
    #[error("take a text message: packets are MessagePack here")]
    TextNotMsgpack,
}

/// What a text message turned out to be.
#[derive(Debug)]
pub enum Text<'a> {
    /// A whole packet. It still borrows the message: most packets need no copy.
    Whole(SocketPacket<'a>),
    /// The beginning of one.
    Begun,
}

impl Assembly {
    /// A text message came.
    pub fn text<'a>(&mut self, message: &'a str) -> Result<Text<'a>, Violation> {
        if self.0.is_some() {
            return Err(Violation::TextInstead);
        }
        let packet = SocketPacket::parse(message)?;
        if packet.attachments == 0 {
            return Ok(Text::Whole(packet));
        }
        let json = packet.json.unwrap_or_default().to_owned();
        let wanted = packet.attachments;
        self.0 = Some(Box::new(Partial { packet: Complete::of(&packet), json, wanted, attachments: Vec::new() }));
        Ok(Text::Begun)
    }

    /// A binary message came; the packet, if it was the last of it. The bytes are kept, so they must not be a part of something
    /// larger.
    pub fn binary(&mut self, message: Bytes) -> Result<Option<Complete>, Violation> {
        let mut partial = self.0.take().ok_or(Violation::BytesWithoutPacket)?;
        partial.attachments.push(message);
        if partial.attachments.len() < partial.wanted {
            self.0 = Some(partial);
            return Ok(None);
        }
        let Partial { packet, json, attachments, .. } = *partial;
        Ok(Some(Complete { data: Some(Data::new(json, attachments)?), ..packet }))
    }
}

impl Complete {
    /// A copy of a packet without its JSON.
    fn of(packet: &SocketPacket<'_>) -> Self {
        Complete {
            kind: packet.kind,
            nsp: packet.nsp.to_owned(),
            id: packet.id,
            event: packet.event.as_ref().map(|name| name.as_str().to_owned()),
            data: None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TWO: &str = "52-/n,7[\"b\",{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}]";

    #[test]
    fn a_packet_is_complete_with_its_last_attachment() {
        let mut assembly = Assembly::default();
        assert!(matches!(assembly.text(TWO), Ok(Text::Begun)));
        assert_eq!(assembly.binary(Bytes::from_static(b"first")), Ok(None));
        let packet = assembly.binary(Bytes::from_static(b"second")).unwrap().unwrap();
        assert_eq!((packet.kind, packet.nsp.as_str(), packet.id), (PacketType::Event, "/n", Some(7)));
        assert_eq!(packet.event.as_deref(), Some("b"));
        assert_eq!(packet.data.unwrap().attachments(), [&b"first"[..], b"second"]);
        assert!(matches!(assembly.text("2[\"a\"]"), Ok(Text::Whole(_))));
    }

    #[test]
    fn what_comes_out_of_turn_is_a_violation() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.binary(Bytes::new()), Err(Violation::BytesWithoutPacket));
        assembly.text(TWO).unwrap();
        assert!(matches!(assembly.text("2[\"a\"]"), Err(Violation::TextInstead)));
        let mut assembly = Assembly::default();
        assembly.text("51-[\"b\",{\"_placeholder\":true,\"num\":3}]").unwrap();
        assert_eq!(assembly.binary(Bytes::new()), Err(Violation::Attachments(DataError::Placeholder)));
    }
}
