//! Seeded property tests of the codec. A failure prints its seed; `ROOMD_SEED` replays it.

use bytes::Bytes;
use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::{error::read_message, *};
use crate::{
    protocol::{
        Data, Encoded, MAX_ATTACHMENTS, MAX_BYTE_STRINGS, PacketType, Parser, SocketPacket, engine_packet,
        msgpack::{Writer, from_json},
    },
    seeds,
};

fn text(rng: &mut Rng) -> String {
    let len = if rng.u8(..10) == 0 { rng.usize(..400) } else { rng.usize(..12) };
    (0..len)
        .map(|_| match rng.u8(..8) {
            0 => char::from(rng.u8(..0x20)),
            1 => *rng.choice(&['"', '\\', '/', '\u{7f}', '\u{2028}']).unwrap(),
            2 => rng.char('\u{80}'..'\u{ffff}'),
            3 => rng.char('\u{10000}'..),
            _ => rng.alphanumeric(),
        })
        .collect()
}

fn number(rng: &mut Rng) -> Value {
    match rng.u8(..5) {
        0 => json!(rng.u64(..) >> rng.u8(..64)),
        1 => json!(-((rng.u64(..) >> rng.u8(1..64)) as i64)),
        2 => json!(rng.i32(-200..200)),
        // A fraction: whole floats come back as integers, as in JavaScript.
        _ => json!(f64::from(rng.i32(..)) + 0.5),
    }
}

/// A value, and the byte strings that its placeholders stand for.
fn value(rng: &mut Rng, depth: u8, attachments: &mut Vec<Bytes>) -> Value {
    let kinds = if depth == 0 { 5 } else { 8 };
    match rng.u8(..kinds) {
        0 => Value::Null,
        1 => json!(rng.bool()),
        2 => number(rng),
        3 => json!(text(rng)),
        4 if attachments.len() < 10 => {
            let len = if rng.u8(..10) == 0 { rng.usize(..70_000) } else { rng.usize(..20) };
            attachments.push((0..len).map(|_| rng.u8(..)).collect());
            json!({"_placeholder": true, "num": attachments.len() - 1})
        }
        4 => Value::Null,
        5 => {
            let count = if rng.u8(..20) == 0 { rng.usize(..300) } else { rng.usize(..5) };
            (0..count).map(|_| value(rng, depth / 2, attachments)).collect()
        }
        _ => {
            let count = if rng.u8(..20) == 0 { rng.usize(..40) } else { rng.usize(..5) };
            let pairs: Map<String, Value> =
                (0..count).map(|index| (format!("{}{index}", text(rng)), value(rng, depth / 2, attachments))).collect();
            Value::Object(pairs)
        }
    }
}

fn event(rng: &mut Rng) -> Data {
    let mut attachments = Vec::new();
    let mut elements = vec![json!(format!("e{}", text(rng)))];
    for _ in 0..rng.usize(..4) {
        elements.push(value(rng, 6, &mut attachments));
    }
    Data::new(Value::Array(elements).to_string(), attachments).unwrap()
}

fn room(rng: &mut Rng) -> Room {
    if rng.u8(..4) == 0 { Room::number(f64::from(rng.i32(..))) } else { text(rng).into() }
}

fn rooms(rng: &mut Rng) -> Vec<Room> {
    let count = if rng.u8(..30) == 0 { rng.usize(..70) } else { rng.usize(..4) };
    (0..count).map(|_| room(rng)).collect()
}

fn selector(rng: &mut Rng) -> Selector {
    Selector { rooms: rooms(rng), except: rooms(rng) }
}

fn flags(rng: &mut Rng) -> Flags {
    Flags {
        volatile: rng.bool(),
        compress: *rng.choice(&[None, Some(true), Some(false)]).unwrap(),
        timeout_ms: rng.bool().then(|| rng.u64(..1 << 40)),
        expect_single_response: rng.bool(),
    }
}

fn packet(rng: &mut Rng) -> Packet {
    let nsp = if rng.bool() { "/".to_owned() } else { format!("/{}", rng.alphanumeric()) };
    Packet { kind: PacketType::Event, nsp, id: None, data: Some(event(rng)) }
}

fn plain(data: &Data) -> Data {
    Data::from_json(data.plain_json().into_owned()).unwrap()
}

fn request(rng: &mut Rng) -> Request {
    let body = match rng.u8(..11) {
        0 => RequestBody::Sockets { rooms: rooms(rng) },
        1 => RequestBody::AllRooms,
        2 => RequestBody::Join { target: selector(rng), rooms: rooms(rng) },
        3 => RequestBody::JoinOne { sid: text(rng), room: room(rng) },
        4 => RequestBody::Leave { target: selector(rng), rooms: rooms(rng) },
        5 => RequestBody::LeaveOne { sid: text(rng), room: room(rng) },
        6 => RequestBody::Disconnect { target: selector(rng), close: rng.bool() },
        7 => RequestBody::DisconnectOne { sid: text(rng), close: rng.bool() },
        8 => RequestBody::Fetch { target: selector(rng) },
        9 => RequestBody::ServerSideEmit { data: plain(&event(rng)) },
        _ => RequestBody::Broadcast { packet: packet(rng), target: selector(rng), flags: flags(rng) },
    };
    Request { uid: rng.bool().then(|| random_id(rng)), request_id: rng.bool().then(|| random_id(rng)), body }
}

fn response(rng: &mut Rng) -> Response {
    let argument = |rng: &mut Rng| {
        let mut attachments = Vec::new();
        let value = value(rng, 4, &mut attachments);
        // JSON's null cannot be told from no answer; both are `undefined` or null to a listener.
        Data::new(if value.is_null() { json!(0) } else { value }.to_string(), attachments).unwrap()
    };
    let body = match rng.u8(..8) {
        0 => ResponseBody::Done,
        1 => ResponseBody::SocketIds((0..rng.usize(1..5)).map(|_| text(rng)).collect()),
        2 => {
            let socket = |rng: &mut Rng| RemoteSocket {
                id: text(rng),
                handshake: RemoteHandshake {
                    url: text(rng),
                    issued: rng.u64(..1 << 50),
                    query: Map::from_iter([(text(rng), json!(text(rng)))]),
                    ..RemoteHandshake::default()
                },
                rooms: rooms(rng),
                data: plain(&argument(rng)),
            };
            ResponseBody::Sockets((0..rng.usize(..4)).map(|_| socket(rng)).collect())
        }
        3 => ResponseBody::Rooms(rooms(rng)),
        4 => ResponseBody::ServerSideEmit(rng.bool().then(|| plain(&argument(rng)))),
        5 => ResponseBody::ClientCount(rng.u64(..1000)),
        6 => ResponseBody::TooLong { bytes: rng.u64(..) },
        _ => ResponseBody::Ack(rng.bool().then(|| argument(rng))),
    };
    Response { request_id: random_id(rng), from: rng.bool().then(|| random_id(rng)), body }
}

fn encoded_broadcast(rng: &mut Rng) -> Bytes {
    let packet = packet(rng);
    let data = packet.data.as_ref().unwrap();
    encode_broadcast(&random_id(rng), &packet.nsp, data, &selector(rng), flags(rng)).unwrap().into()
}

#[test]
fn what_is_written_reads_back_the_same() {
    seeds::each(800, |rng| {
        let (packet, target, flags) = (packet(rng), selector(rng), flags(rng));
        let uid = random_id(rng);
        let data = packet.data.as_ref().unwrap();
        let bytes: Bytes = encode_broadcast(&uid, &packet.nsp, data, &target, flags).unwrap().into();
        assert!(!poison::broadcast_harms(&bytes));
        assert_eq!(Broadcast::decode(&bytes).unwrap(), Broadcast { uid, packet, target, flags });

        let request = request(rng);
        let bytes: Bytes = request.encode().unwrap().into();
        assert!(!poison::request_harms(&bytes));
        assert_eq!(Request::decode(&bytes).unwrap(), request);

        let response = response(rng);
        let bytes: Bytes = response.encode().unwrap().into();
        assert!(!poison::response_harms(&bytes));
        assert_eq!(Response::decode(&bytes).unwrap(), response);
    });
}

#[test]
fn events_survive_the_way_to_a_client_and_back() {
    seeds::each(500, |rng| {
        let data = event(rng);
        let id = rng.bool().then(|| rng.u64(..));
        let nsp = if rng.bool() { "/" } else { "/chat" };
        let encoded = Encoded::event(nsp, id, &data);
        assert_eq!(Encoded::from_wire(encoded.wire().clone(), Parser::Json).as_ref(), Ok(&encoded));

        let mut payload = Vec::new();
        engine_packet::push_encoded(&mut payload, &encoded);
        assert_eq!(payload.len(), engine_packet::payload_len(&encoded) - 1);

        let mut parts = encoded.parts();
        let text = std::str::from_utf8(parts.next().unwrap().payload).unwrap();
        let packet = SocketPacket::parse(&text[1..]).unwrap();
        let attachments: Vec<_> = parts.map(|part| Bytes::copy_from_slice(part.payload)).collect();
        assert_eq!((packet.nsp, packet.id, packet.attachments), (nsp, id, attachments.len()));
        assert_eq!(Data::new(packet.json.unwrap().to_owned(), attachments).unwrap(), data);
    });
}

/// Reads `bytes` in every way, and checks what came of it.
fn read_all_ways(bytes: &Bytes) {
    if let Ok(broadcast) = Broadcast::decode(bytes) {
        // Everything that is read can be handed to clients, and they can read it.
        let encoded = broadcast.packet.encode(Parser::Json, None);
        let part = encoded.parts().next().unwrap();
        let text = std::str::from_utf8(part.payload).unwrap();
        if !broadcast.packet.nsp.contains(',') && broadcast.packet.nsp.starts_with('/') {
            SocketPacket::parse(&text[1..]).unwrap();
        }
        assert!(broadcast.target.rooms.len() <= MAX_ROOMS);
    }
    if let Ok(request) = Request::decode(bytes) {
        let _ = request.encode();
    }
    if let Ok(response) = Response::decode(bytes) {
        let _ = response.encode();
    }
    if let Ok(data) = read_message(bytes) {
        assert!(data.json().len() <= 30 * bytes.len() + 16, "{} from {}", data.json().len(), bytes.len());
        let mut writer = Writer::default();
        from_json::write_data(&mut writer, &data, MAX_MESSAGE_BYTES).unwrap();
    }
    let _ = sender(bytes);
}

#[test]
fn random_bytes_yield_errors_and_nothing_worse() {
    seeds::each(20_000, |rng| {
        let len = rng.usize(..200);
        let mut bytes: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
        match rng.u8(..4) {
            0 => bytes.insert(0, 0x93),
            1 => bytes.insert(0, b'{'),
            2 => bytes.iter_mut().for_each(|byte| *byte |= 0x80),
            _ => {}
        }
        read_all_ways(&bytes.into());
    });
}

#[test]
fn damaged_messages_yield_errors_and_nothing_worse() {
    seeds::each(2500, |rng| {
        let mut bytes = match rng.u8(..3) {
            0 => encoded_broadcast(rng).to_vec(),
            1 => request(rng).encode().unwrap(),
            _ => response(rng).encode().unwrap(),
        };
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match rng.u8(..5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, rng.u8(..)),
                2 if !bytes.is_empty() => {
                    bytes.remove(at);
                }
                3 if !bytes.is_empty() => bytes[at] ^= 1 << rng.u8(..8),
                _ if !bytes.is_empty() => bytes[at] = rng.u8(..),
                _ => {}
            }
        }
        read_all_ways(&bytes.into());
    });
}

#[test]
fn depth_and_counts_are_bounded() {
    let deep: Bytes = vec![0x91; 1 << 20].into();
    read_all_ways(&deep);
    assert!(matches!(read_message(&deep), Err(ReadError::TooMuch("depth"))));
    let mut maps = [0x81, 0x01].repeat(1 << 19);
    maps.push(0);
    assert!(matches!(read_message(&maps.into()), Err(ReadError::TooMuch("depth"))));
    // Seven levels of arrays with fewer elements than they claim.
    read_all_ways(&[0xdd, 0xff, 0xff, 0xff, 0xff].repeat(7).into());
    let mut many = vec![0xdd, 0, 1, 0, 1];
    many.resize(5 + MAX_ROOMS + 1, 0);
    let mut message = vec![0x93, 0xa1, b'u'];
    message.extend_from_slice(b"\x82\xa4type\x02\xa4data\x91\xa1e\x81\xa5rooms");
    message.extend_from_slice(&many);
    assert!(matches!(Broadcast::decode(&message.into()), Err(ReadError::TooMuch("rooms"))));
    let count = MAX_BYTE_STRINGS + 1;
    let bins = [&[0xdc][..], &(count as u16).to_be_bytes(), &[0xc4, 0].repeat(count)].concat();
    assert!(matches!(read_message(&bins.into()), Err(ReadError::TooMuch("byte strings"))));
}

#[test]
fn clients_with_the_default_parser_get_no_more_bytes_than_they_take() {
    for (count, fits) in [(MAX_ATTACHMENTS, true), (MAX_ATTACHMENTS + 1, false)] {
        let head = [b"\x93\xa1u\x82\xa4type\x02\xa4data", &[0x91 + count as u8][..], b"\xa1e"].concat();
        let message = [head, b"\xc4\x01x".repeat(count), b"\x80".to_vec()].concat();
        let packet = Broadcast::decode(&message.into()).unwrap().packet;
        assert_eq!(packet.clone().into_event(Parser::Json).is_some(), fits, "{count}");
        assert!(packet.into_event(Parser::Msgpack).is_some());
    }
}

#[test]
fn one_attachment_named_often_makes_no_huge_message() {
    let elements = vec!["{\"_placeholder\":true,\"num\":0}"; 1000].join(",");
    let data = Data::new(format!("[\"e\",{elements}]"), vec![vec![0; 1 << 20].into()]).unwrap();
    let written = encode_broadcast("u", "/", &data, &Selector::default(), Flags::default());
    assert!(matches!(written, Err(WriteError::TooLong(_))));
}

#[test]
fn what_would_harm_is_neither_written_nor_handed_on() {
    let data = |json: &str| Data::from_json(json.to_owned()).unwrap();
    for json in ["[]", "{}", "[null]", "[\"disconnect\"]", "null", "\"e\""] {
        let written = encode_broadcast("u", "/", &data(json), &Selector::default(), Flags::default());
        assert!(matches!(written, Err(WriteError::NotAnEvent)), "{json}");
    }
    let emit = |json: &str| {
        let body = RequestBody::ServerSideEmit { data: data(json) };
        Request { uid: Some("u".into()), request_id: None, body }.encode()
    };
    for json in ["[\"error\",1]", "[\"\\u0065rror\"]", "[\"connection\"]", "[\"new_namespace\"]"] {
        assert!(matches!(emit(json), Err(WriteError::ReservedServerEvent(_))), "{json}");
    }
    assert!(matches!(emit("[]"), Err(WriteError::NotAnEvent)));
    assert!(emit("[\"disconnect\"]").is_ok());

    let decode = |packet: &str| {
        let message = json!({"uid": "u", "type": 7, "requestId": "r", "opts": {}, "packet": Value::Null}).to_string();
        Request::decode(&message.replace("\"packet\":null", &format!("\"packet\":{packet}")).into())
    };
    assert!(decode(r#"{"type":2,"data":["e"]}"#).is_ok());
    assert!(decode(r#"{"type":5,"data":["e"],"nsp":"/"}"#).is_ok(), "an old server says 5 of an event with bytes");
    for packet in [
        r#"{"type":2,"data":["connect"]}"#,
        r#"{"type":2,"data":{}}"#,
        r#"{"type":2}"#,
        r#"{"type":7}"#,
        r#"{"data":["e"]}"#,
        r#"{"type":3,"data":[1]}"#,
        r#"{"type":4}"#,
        r#"{"type":1,"data":{}}"#,
        r#"{"type":0,"data":[]}"#,
        "null",
        "1",
    ] {
        assert!(decode(packet).is_err(), "{packet}");
    }
    // A map that passes for a placeholder beside real bytes.
    let fake = b"\x92\xc4\x01\x01\x82\xacplaceholder_\x01\xacthe";
    assert!(read_message(&Bytes::from_static(fake)).is_err());
    let fake = b"\x92\xc4\x01\x01\x82\xac_placeholder\xc3\xa3num\x07";
    assert!(matches!(read_message(&Bytes::from_static(fake)), Err(ReadError::Harmful)));
    let alone = b"\x91\x82\xac_placeholder\xc3\xa3num\x07";
    assert!(read_message(&Bytes::from_static(alone)).is_ok());
}

#[test]
fn foreign_requests_are_understood() {
    let read = |json: &str| Request::decode(&Bytes::copy_from_slice(json.as_bytes())).map(|request| request.body);
    let target = Selector::default;
    assert_eq!(
        read(r#"{"requestId":"abf","type":2,"sid":"s","room":"r"}"#).unwrap(),
        RequestBody::JoinOne { sid: "s".into(), room: "r".into() }
    );
    assert_eq!(
        read(r#"{"type":2,"opts":{},"rooms":"r1","more":[{}]}"#).unwrap(),
        RequestBody::Join { target: target(), rooms: vec!["r1".into()] }
    );
    assert_eq!(
        read(r#"{"type":4,"opts":{"rooms":"","except":null}}"#).unwrap(),
        RequestBody::Disconnect { target: target(), close: false }
    );
    assert_eq!(
        read(r#"{"type":3,"opts":{"rooms":[42,{"a":1},null]},"rooms":["x"]}"#).unwrap(),
        RequestBody::Leave {
            target: Selector { rooms: vec![Room::number(42.0), Room::Other, Room::Other], except: vec![] },
            rooms: vec!["x".into()]
        }
    );
    assert_eq!(read(r#"{"requestId":"abc","type":0}"#).unwrap(), RequestBody::Sockets { rooms: vec![] });
    assert!(matches!(read(r#"{"type":99}"#), Err(ReadError::UnknownType(99))));
    for bad in ["{}", "{bad", r#"{"type":"2"}"#, r#"{"type":5,"opts":{"rooms":1}}"#, r#"{"type":2}"#, ""] {
        assert!(read(bad).is_err(), "{bad}");
    }
}
