//! Packets of clients with the official MessagePack parser (socket.io-msgpack-parser 3.0, notepack 2.2).
//!
//! A packet is one binary message: a map with `type`, `nsp`, and, where there is some, `data` and `id`. Bytes stand in it as
//! they are. What comes is checked as the official decoder does. Where we differ, on purpose: an event with a reserved name,
//! with which a client could call a Node server's own listeners, is heard by nobody; an ack id is not negative; values nest
//! as deep as with the default parser, and there are at most [`MAX_BYTE_STRINGS`](crate::protocol::MAX_BYTE_STRINGS). An
//! object that claims to be a placeholder is refused beside bytes.

use bytes::Bytes;

use super::{
    Reader, Token, Writer,
    from_json::{write_data, write_json},
    to_json,
};
use crate::protocol::{
    Data, Encoded, PacketType,
    assembly::{Complete, Violation},
    encoded::FRAME_HEAD_BYTES,
    leading_name,
};

/// Reads a binary message. The attachments share its memory.
///
/// # Errors
/// Where the official decoder throws, which ends the session with `forced close`.
pub fn decode(message: &Bytes) -> Result<Complete, Violation> {
    let mut reader = Reader::new(message);
    let Token::Map(count) = reader.token()? else { return Err(Violation::Field("type")) };
    let mut fields = Fields::default();
    for _ in 0..count {
        let key = reader.key()?;
        fields.read(&key, &mut reader, message)?;
    }
    reader.end()?;
    fields.packet()
}

/// What `data` is.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Array,
    Map,
    Text,
}

#[derive(Default)]
struct Fields {
    kind: Option<PacketType>,
    nsp: Option<String>,
    id: Option<u64>,
    data: Option<(Shape, Data)>,
}

impl Fields {
    fn read(&mut self, key: &str, reader: &mut Reader<'_>, message: &Bytes) -> Result<(), Violation> {
        if key == "data" {
            let shape = match reader.clone().token()? {
                Token::Array(_) | Token::Extension(..) => Shape::Array,
                Token::Map(_) => Shape::Map,
                Token::Text(_) => Shape::Text,
                Token::Undefined => {
                    self.data = None;
                    return Ok(reader.skip()?);
                }
                _ => return Err(Violation::Field("data")),
            };
            self.data = Some((shape, to_json::read_data(reader, message)?));
            return Ok(());
        }
        let token = reader.clone().token()?;
        reader.skip()?;
        match key {
            "type" => {
                let kind = token.index().filter(|number| *number <= 4).and_then(PacketType::from_number);
                self.kind = Some(kind.ok_or(Violation::Field("type"))?);
            }
            "nsp" => {
                let Token::Text(nsp) = token else { return Err(Violation::Field("nsp")) };
                self.nsp = Some(nsp.into_owned());
            }
            "id" if token == Token::Undefined => self.id = None,
            "id" => self.id = Some(token.index().ok_or(Violation::Field("id"))?),
            _ => {}
        }
        Ok(())
    }

    fn packet(self) -> Result<Complete, Violation> {
        let kind = self.kind.ok_or(Violation::Field("type"))?;
        let nsp = self.nsp.ok_or(Violation::Field("nsp"))?;
        let (shape, data) = self.data.unzip();
        let fits = match kind {
            PacketType::Connect => matches!(shape, None | Some(Shape::Map)),
            PacketType::Disconnect => shape.is_none(),
            PacketType::ConnectError => matches!(shape, Some(Shape::Text | Shape::Map)),
            PacketType::Event | PacketType::Ack => shape == Some(Shape::Array),
        };
        if !fits {
            return Err(Violation::Field("data"));
        }
        let event = data
            .as_ref()
            .filter(|_| kind == PacketType::Event)
            .and_then(|data| leading_name(data.json()).ok().map(|name| name.as_str().to_owned()));
        Ok(Complete { kind, nsp, id: self.id, event, data })
    }
}

/// A packet from its pieces.
pub fn encode(kind: PacketType, nsp: &str, id: Option<u64>, data: Option<&Data>) -> Encoded {
    let size = data.map_or(0, Data::bytes);
    written(
        kind,
        nsp,
        id,
        size,
        data.map(|data| {
            |writer: &mut Writer| {
                let written = write_data(writer, data, usize::MAX);
                debug_assert_eq!(written, Ok(()), "there is no limit");
            }
        }),
    )
}

/// Tells a client that it has joined the namespace, and its socket's id there. As the official server without connection
/// state recovery writes it, whose `pid` is `undefined`.
pub(in crate::protocol) fn connect(nsp: &str, sid: &str) -> Encoded {
    written(
        PacketType::Connect,
        nsp,
        None,
        sid.len(),
        Some(|writer: &mut Writer| {
            writer.map(2);
            writer.text("sid");
            writer.text(sid);
            writer.text("pid");
            writer.undefined();
        }),
    )
}

/// Tells a client that it may not join the namespace. `details` is JSON for it.
pub(in crate::protocol) fn connect_error(nsp: &str, message: &str, details: Option<&str>) -> Encoded {
    let size = message.len() + details.map_or(0, str::len);
    written(
        PacketType::ConnectError,
        nsp,
        None,
        size,
        Some(|writer: &mut Writer| {
            writer.map(if details.is_some() { 2 } else { 1 });
            writer.text("message");
            writer.text(message);
            if let Some(details) = details {
                writer.text("data");
                let written = write_json(writer, details, &[], usize::MAX);
                debug_assert_eq!(written, Ok(()), "there is no limit");
            }
        }),
    )
}

/// A frame with a packet, whose data, of about `size` bytes, is written by `data`. The keys come in the official order.
fn written(
    kind: PacketType,
    nsp: &str,
    id: Option<u64>,
    size: usize,
    data: Option<impl FnOnce(&mut Writer)>,
) -> Encoded {
    /// What the keys, the type, an id and the heads take.
    const AROUND: usize = 48;
    let mut writer = Writer::with_capacity(FRAME_HEAD_BYTES + AROUND + nsp.len() + size);
    writer.bytes.resize(FRAME_HEAD_BYTES, 0);
    writer.map(2 + usize::from(data.is_some()) + usize::from(id.is_some()));
    writer.text("type");
    writer.unsigned(u64::from(kind.number()));
    if let Some(data) = data {
        writer.text("data");
        data(&mut writer);
    }
    if let Some(id) = id {
        writer.text("id");
        writer.unsigned(id);
    }
    writer.text("nsp");
    writer.text(nsp);
    Encoded::binary(writer.bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::protocol::{MAX_BYTE_STRINGS, Parser};

    /// The message in an encoded packet.
    fn message(encoded: &Encoded) -> Bytes {
        let mut parts = encoded.parts();
        let part = parts.next().unwrap();
        assert!(part.binary && parts.next().is_none());
        Bytes::copy_from_slice(part.payload)
    }

    #[test]
    fn packets_come_back_as_they_went() {
        let data = |json: &str, attachments| Some(Data::new(json.to_owned(), attachments).unwrap());
        let bytes = || vec![Bytes::from_static(&[1, 255])];
        for (kind, nsp, id, data) in [
            (PacketType::Event, "/", None, data(r#"["a",1,-1,1.5,null,true,"\u00e9\n"]"#, vec![])),
            (PacketType::Event, "/chat", Some(7), data(r#"["a",{"b":[{"_placeholder":true,"num":0}]}]"#, bytes())),
            (PacketType::Event, "/", None, data(r#"["a",{"_placeholder":true,"num":0}]"#, vec![])),
            (PacketType::Ack, "/", Some(u64::MAX), data("[]", vec![])),
            (PacketType::Disconnect, "/x", None, None),
            (PacketType::Connect, "/", None, data(r#"{"sid":"x"}"#, vec![])),
        ] {
            let encoded = encode(kind, nsp, id, data.as_ref());
            assert_eq!(Encoded::from_wire(encoded.wire().clone(), Parser::Msgpack).as_ref(), Ok(&encoded));
            assert!(Encoded::from_wire(encoded.wire().clone(), Parser::Json).is_err());
            let packet = decode(&message(&encoded)).unwrap();
            let json = |data: &Data| serde_json::from_str::<serde_json::Value>(data.json()).unwrap();
            assert_eq!((packet.kind, packet.nsp.as_str(), packet.id), (kind, nsp, id));
            assert_eq!(packet.data.as_ref().map(json), data.as_ref().map(json));
            assert_eq!(packet.data.as_ref().map(Data::attachments), data.as_ref().map(Data::attachments));
            assert_eq!(packet.event.as_deref(), (kind == PacketType::Event).then_some("a"));
        }
    }

    #[test]
    fn frame_headers_have_their_shortest_form() {
        for (len, head) in [(10, 2), (102, 2), (103, 4), (65_511, 4), (65_512, 10)] {
            let data = Data::event("e", &"x".repeat(len)).unwrap();
            let encoded = encode(PacketType::Event, "/", None, Some(&data));
            assert_eq!(encoded.len() - message(&encoded).len(), head, "{len}");
            assert_eq!(decode(&message(&encoded)).unwrap().data.unwrap(), data);
        }
    }

    #[test]
    fn what_the_official_server_says_is_said_byte_for_byte() {
        // As the end-to-end test of those who join has it from a running server.
        let connect = b"\x83\xa4type\x00\xa4data\x82\xa3sid\xa1s\xa3pid\xd4\0\0\xa3nsp\xa1/";
        assert_eq!(message(&super::connect("/", "s")), &connect[..]);
        let error = b"\x83\xa4type\x04\xa4data\x82\xa7message\xa2no\xa4data\x81\xa1c\x01\xa3nsp\xa2/x";
        assert_eq!(message(&connect_error("/x", "no", Some(r#"{"c":1}"#))), &error[..]);
        let disconnect = b"\x82\xa4type\x01\xa3nsp\xa1/";
        assert_eq!(message(&Parser::Msgpack.disconnect("/")), &disconnect[..]);
    }

    #[test]
    fn what_the_official_decoder_refuses_is_refused() {
        let good: &[&[u8]] = &[
            b"\x82\xa4type\x00\xa3nsp\xa1/",
            b"\x82\xa3nsp\xa1/\xa4type\x01",
            b"\x82\xa4type\xcb\0\0\0\0\0\0\0\0\xa3nsp\xa0",
            b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\xd4\0\0",
            b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xaadisconnect",
            b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x90",
            b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1e\xa2id\xd4\0\0",
            b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1e\xa5other\x91\xc0",
            b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\xa1x",
        ];
        for message in good {
            let packet = decode(&Bytes::from_static(message)).unwrap();
            assert!(packet.event.is_none_or(|event| event == "e"), "a reserved name is heard by nobody");
        }
        let bad: &[&[u8]] = &[
            b"",
            b"\xc1",
            b"\x05",
            b"\xc0",
            b"\x80",
            b"\x90",
            b"\x82\xa4type\x05\xa3nsp\xa1/",
            b"\x82\xa4type\xff\xa3nsp\xa1/",
            b"\x82\xa4type\xa10\xa3nsp\xa1/",
            b"\x81\xa4type\x00",
            b"\x82\xa4type\x00\xa3nsp\x01",
            b"\x82\xa4type\x00\xa3nsp\xa1/\x00",
            b"\x82\xa4type\x00\xa3nsp\xa2/",
            b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\xc0",
            b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x90",
            b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\xc4\x01\0",
            b"\x83\xa4type\x01\xa3nsp\xa1/\xa4data\x80",
            b"\x82\xa4type\x02\xa3nsp\xa1/",
            b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x80",
            b"\x82\xa4type\x03\xa3nsp\xa1/",
            b"\x82\xa4type\x04\xa3nsp\xa1/",
            b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1e\xa2id\xc0",
            b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1e\xa2id\xa11",
            b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1e\xa2id\xcb\x3f\xf8\0\0\0\0\0\0",
        ];
        for message in bad {
            assert!(decode(&Bytes::from_static(message)).is_err(), "{message:?}");
        }
    }

    #[test]
    fn hostile_messages_are_bounded() {
        let event = |data: &[u8]| Bytes::from([b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data", data].concat());
        assert!(decode(&event(&[&[0x91; 200][..], &[0xc0]].concat())).is_err());
        assert!(decode(&event(b"\xdd\xff\xff\xff\xff")).is_err());
        assert!(decode(&event(b"\x92\xa1e\xc6\xff\xff\xff\xff")).is_err());
        let fake = b"\x93\xa1e\x82\xac_placeholder\xc3\xa3num\x00\xc4\x00";
        assert!(decode(&event(fake)).is_err());
        for (count, fits) in [(MAX_BYTE_STRINGS, true), (MAX_BYTE_STRINGS + 1, false)] {
            let head = [&b"\xdc"[..], &(count as u16 + 1).to_be_bytes(), b"\xa1e"].concat();
            let many = [head, b"\xc4\x00".repeat(count)].concat();
            assert_eq!(decode(&event(&many)).is_ok(), fits, "{count}");
        }
    }
}
