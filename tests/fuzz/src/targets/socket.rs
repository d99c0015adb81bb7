//! Socket.IO: packets, their attachments, and JSON.

use bytes::Bytes;
use roomd_worker::protocol::{
    Data, DataError, Encoded, MAX_ATTACHMENTS, PacketType, Parser, SocketPacket,
    assembly::{Assembly, Complete, Text},
    msgpack,
};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::seeds;

/// A packet that was read reads the same when it is written again, as a server would.
pub fn packet(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(packet) = SocketPacket::parse(text) else { return };
    assert!(packet.attachments <= MAX_ATTACHMENTS);
    if let Some(json) = packet.json {
        assert!(Data::from_json(json.to_owned()).is_ok(), "its JSON is sound");
    }
    assert_eq!(packet.kind == PacketType::Event && packet.json.is_some(), packet.event.is_some());
    let attachments = vec![Bytes::from_static(b"attached"); packet.attachments];
    let encoded = Encoded::packet(packet.kind, packet.nsp, packet.id, packet.json, &attachments);
    let mut parts = encoded.parts();
    let again = std::str::from_utf8(&parts.next().unwrap().payload[1..]).unwrap();
    assert_eq!(SocketPacket::parse(again).as_ref(), Ok(&packet), "{again:?}");
    assert!(parts.all(|part| part.binary && part.payload == b"attached"));
}

/// Captured packets, with Engine.IO's digit and without.
pub fn packet_seeds() -> Vec<Vec<u8>> {
    let texts = seeds::texts();
    let packets = texts.iter().filter(|text| text[0].is_ascii_digit());
    packets.flat_map(|text| [text.clone(), text[1..].to_vec()]).collect()
}

/// Messages put together: those that are separated by the byte 0xff, text unless they begin with 0xfe.
pub fn assembly(bytes: &[u8]) {
    let mut assembly = Assembly::default();
    for message in bytes.split(|byte| *byte == 0xff) {
        match message.strip_prefix(&[0xfe]) {
            Some(binary) => match assembly.binary(Bytes::copy_from_slice(binary)) {
                Ok(Some(complete)) => whole(&complete),
                Ok(None) => {}
                Err(_) => return,
            },
            None => {
                let Ok(text) = std::str::from_utf8(message) else { return };
                match assembly.text(text) {
                    Ok(Text::Whole(packet)) => assert_eq!(packet.attachments, 0),
                    Ok(Text::Begun) => {}
                    Err(_) => return,
                }
            }
        }
    }
}

/// A packet with its attachments is the same when it is written and read again.
fn whole(complete: &Complete) {
    let data = complete.data.as_ref().unwrap();
    assert!((1..=MAX_ATTACHMENTS).contains(&data.attachments().len()));
    let encoded = Encoded::packet(complete.kind, &complete.nsp, complete.id, Some(data.json()), data.attachments());
    let mut assembly = Assembly::default();
    let mut again = None;
    for part in encoded.parts() {
        again = match part.binary {
            true => assembly.binary(Bytes::copy_from_slice(part.payload)).unwrap(),
            false => {
                assert!(matches!(assembly.text(std::str::from_utf8(&part.payload[1..]).unwrap()), Ok(Text::Begun)));
                None
            }
        };
    }
    assert_eq!(again.as_ref(), Some(complete));
    // No matter what is in it, whoever asks gets an answer.
    let _ = (data.plain_json(), data.first(), data.without_name(), data.decode::<serde_json::Value>().is_ok());
}

/// Packets with attachments.
pub fn assembly_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = vec![
        b"51-[\"b\",{\"_placeholder\":true,\"num\":0}]\xff\xfeabc".to_vec(),
        b"52-/n,7[\"b\",{\"_placeholder\":true,\"num\":1},{\"num\":0,\"_placeholder\":true}]\xff\xfe\xff\xfe\x01"
            .to_vec(),
        b"61-5[{\"_placeholder\":true,\"num\":0}]\xff\xfeabc\xff2[\"after\"]".to_vec(),
        b"51-[\"b\",{\"a\":[{\"_placeholder\":true,\"num\":0,\"x\":[]}]}]\xff\xfe".to_vec(),
    ];
    seeds.extend(packet_seeds());
    seeds
}

/// A packet in MessagePack reads the same when it is written again.
pub fn msgpack(bytes: &[u8]) {
    let Ok(packet) = msgpack::packet::decode(&Bytes::copy_from_slice(bytes)) else { return };
    let encoded = Parser::Msgpack.packet(packet.kind, &packet.nsp, packet.id, packet.data.as_ref());
    let part = encoded.parts().next().unwrap();
    assert!(part.binary);
    let again = msgpack::packet::decode(&Bytes::copy_from_slice(part.payload)).unwrap();
    let written = Parser::Msgpack.packet(again.kind, &again.nsp, again.id, again.data.as_ref());
    assert_eq!((again.kind, &again.nsp, again.id, &again.event), (packet.kind, &packet.nsp, packet.id, &packet.event));
    assert_eq!(written, encoded);
}

/// Packets in MessagePack.
pub fn msgpack_seeds() -> Vec<Vec<u8>> {
    let attached = "[\"b\",{\"_placeholder\":true,\"num\":0},null,-1.5,1e300,[true,{\"k\":\"\u{e9}\"}]]";
    let data = Data::new(attached.into(), vec![Bytes::from_static(b"abc")]).unwrap();
    let plain = Data::from_json("[\"e\",123456789,\"2024-01-01\",{}]".into()).unwrap();
    let auth = Data::from_json("{\"token\":\"x\"}".into()).unwrap();
    [
        (PacketType::Event, "/n", Some(7), Some(&data)),
        (PacketType::Event, "/", None, Some(&plain)),
        (PacketType::Ack, "/", Some(u64::MAX), Some(&data)),
        (PacketType::Connect, "/", None, Some(&auth)),
        (PacketType::Connect, "/n", None, None),
        (PacketType::Disconnect, "/", None, None),
    ]
    .map(|(kind, nsp, id, data)| Parser::Msgpack.packet(kind, nsp, id, data).parts().next().unwrap().payload.to_vec())
    .into()
}

/// Our reader of JSON takes what serde_json does, and sees the same elements.
pub fn json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let ours = Data::from_json(text.to_owned());
    // The last levels are where the two draw the line differently.
    if depth(text) > 100 {
        return;
    }
    let theirs = serde_json::from_str::<IgnoredAny>(text);
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{text:?}: {theirs:?}");
    let Ok(data) = ours else { return };
    let elements: Vec<&str> = data.elements().collect();
    if let Ok(expected) = serde_json::from_str::<Vec<Box<RawValue>>>(text) {
        assert_eq!(elements, expected.iter().map(|element| element.get()).collect::<Vec<_>>());
    }
    // Read as values it is the same, too, where there are values for it.
    if let Ok(expected) = serde_json::from_str::<serde_json::Value>(text) {
        assert_eq!(data.decode::<serde_json::Value>().unwrap(), expected, "{text:?}");
    }
    // With attachments: what is refused is refused for a placeholder.
    match Data::new(text.to_owned(), vec![Bytes::from_static(b"\xff")]) {
        Ok(data) => drop(data.plain_json()),
        Err(error) => assert_eq!(error, DataError::Placeholder),
    }
}

/// At least as deep as it nests.
fn depth(text: &str) -> usize {
    text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count()
}

/// JSON of packets, and odd JSON.
pub fn json_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for text in seeds::texts() {
        seeds.extend(text.iter().position(|byte| matches!(byte, b'[' | b'{')).map(|at| text[at..].to_vec()));
    }
    let odd = [
        "[1,-0.5e+3,1E9,0,\"\\u00e9\\ud83d\\ude00\\n\",null,true,false,{},[]]",
        "{\"a\":{\"a\":[{}]},\"a\":\"\"}",
        " \t\r\n1 ",
        "\"\\ud800\"",
        "{\"_placeholder\":true,\"num\":0}",
        "[\"\u{2028}\u{7f}\"]",
        "123456789012345678901234567890.5e-10",
    ];
    seeds.extend(odd.map(|text| text.as_bytes().to_vec()));
    seeds
}
