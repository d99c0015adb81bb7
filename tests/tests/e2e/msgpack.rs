//! Clients with the official MessagePack parser; and our form of packets beside the official one, value by value.

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use fastrand::Rng;
use roomd_tests::{
    Cluster, Node, eventually,
    http::{Connection, HANDSHAKE, polling, sid},
};
use roomd_worker::protocol::{Data, PacketType, Parser, assembly::Complete, msgpack::packet};
use serde_json::{Map, Value, json};

use super::clients::{EXPECTATIONS, VERSIONS};

#[test]
fn clients_with_the_messagepack_parser_get_what_all_clients_expect() {
    let config = "[socketio]\nping_interval = \"5s\"\nparser = \"msgpack\"\n";
    let cluster = Cluster::build(2).program("test_app").config(config).start();
    for version in VERSIONS {
        let mut client = Node::start("expectations.mjs", &[version, "msgpack"]);
        let reports = client.ask(json!({"do": "expect", "url": cluster.url(), "apart": true}));
        for transport in ["polling", "websocket", "upgrade"] {
            let report = &reports[transport];
            assert_eq!(report["failed"], Value::Null, "{version} over {transport}, after {}", report["held"]);
            assert_eq!(report["held"], json!(EXPECTATIONS), "{version} over {transport}");
        }
    }
    assert!(!cluster.log().contains("panicked"));
}

/// What a server answers a client that joins the main namespace and one that is not there, with a sid of one letter.
fn said_by(server: SocketAddr) -> Vec<Vec<u8>> {
    let mut client = Connection::open(server);
    let target = polling(&sid(&client.get(HANDSHAKE)));
    for nsp in ["/", "/nowhere"] {
        let join = Parser::Msgpack.packet(PacketType::Connect, nsp, None, None);
        let join = STANDARD.encode(join.parts().next().unwrap().payload);
        assert_eq!(client.post(&target, &format!("b{join}")).status, 200);
    }
    let mut said: Vec<Vec<u8>> = Vec::new();
    eventually("two packets", || {
        let answer = client.get(&target).body;
        said.extend(answer.split('\x1e').filter_map(|packet| STANDARD.decode(packet.strip_prefix('b')?).ok()));
        // Not what the application emits.
        said.retain(|packet| packet::decode(&packet.clone().into()).unwrap().kind != PacketType::Event);
        (said.len() == 2).then_some(())
    });
    let joined = packet::decode(&said[0].clone().into()).unwrap();
    let data: Value = joined.data.unwrap().decode().unwrap();
    let sid = data["sid"].as_str().unwrap().as_bytes();
    let at = said[0].windows(sid.len()).position(|window| window == sid).unwrap();
    said[0].splice(at - 1..at + sid.len(), *b"\xa1s");
    said
}

#[test]
fn who_joins_or_cannot_is_told_what_the_official_server_says() {
    let cluster = Cluster::build(1).program("test_app").config("[socketio]\nparser = \"msgpack\"\n").start();
    let mut server = Node::start("server.mjs", &["", &json!({"parser": "msgpack"}).to_string()]);
    let port = server.line()["port"].as_u64().unwrap() as u16;
    let official = said_by(([127, 0, 0, 1], port).into());
    let ours = said_by(cluster.address());
    assert_eq!(ours[0], official[0], "byte for byte");
    // Of an unknown namespace the official server names the namespace before the message, of all else behind it.
    let read = |said: &Vec<u8>| packet::decode(&said.clone().into()).unwrap();
    let (ours, theirs) = (read(&ours[1]), read(&official[1]));
    assert_eq!(ours, theirs);
}

/// A JSON text as a value in which numbers are texts that show each digit of a float: that is what JavaScript has, and
/// serde_json rounds.
fn value_of(json: &str) -> Value {
    let mut with_texts = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find(|next: char| next == '"' || next == '-' || next.is_ascii_digit()) {
        with_texts.push_str(&rest[..at]);
        rest = &rest[at..];
        let len = if let Some(string) = rest.strip_prefix('"') {
            let mut escaped = false;
            let end = string.find(|next| {
                let ends = next == '"' && !escaped;
                escaped = next == '\\' && !escaped;
                ends
            });
            end.unwrap() + 2
        } else {
            rest.find(|next: char| !(next.is_ascii_digit() || "+-.eE".contains(next))).unwrap_or(rest.len())
        };
        let token = &rest[..len];
        if token.starts_with('"') {
            with_texts.push_str(token);
        } else {
            // There is no -0 in JSON.stringify.
            with_texts.push_str(&format!("\"number {:e}\"", token.parse::<f64>().unwrap() + 0.0));
        }
        rest = &rest[len..];
    }
    with_texts.push_str(rest);
    serde_json::from_str(&with_texts).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn bytes_of(base64: &Value) -> Bytes {
    STANDARD.decode(base64.as_str().unwrap()).unwrap().into()
}

/// Checks that a packet that we have read is what the official default parser would have made of it: `parts` are its messages.
fn assert_same(packet: &Complete, parts: &Value, what: &str) {
    let parts = parts.as_array().unwrap();
    let attachments = packet.data.as_ref().map_or(&[][..], Data::attachments);
    let theirs: Vec<Bytes> = parts[1..].iter().map(|part| bytes_of(&part["$bytes"])).collect();
    assert_eq!(attachments, theirs, "{what}");
    let count = if theirs.is_empty() { String::new() } else { format!("{}-", theirs.len()) };
    let number = packet.kind.number() + if theirs.is_empty() { 0 } else { 3 };
    let nsp = if ["", "/"].contains(&&*packet.nsp) { String::new() } else { format!("{},", packet.nsp) };
    let id = packet.id.map_or(String::new(), |id| id.to_string());
    let text = parts[0].as_str().unwrap();
    let json = text.strip_prefix(&format!("{number}{count}{nsp}{id}"));
    let json = json.unwrap_or_else(|| panic!("{what}: {packet:?} is not {text}"));
    let ours = packet.data.as_ref().map(|data| value_of(data.json()));
    let theirs = Some(json).filter(|json| !json.is_empty()).map(value_of);
    assert_eq!(ours, theirs, "{what}");
}

#[test]
fn what_the_official_encoder_writes_is_read_as_the_default_parser_would_have_sent_it() {
    let mut node = Node::start("parser.mjs", &[]);
    let mut check = |request: Value| {
        for both in node.ask(request.clone()).as_array().unwrap() {
            let what = format!("{request}: {}", &both["packed"].to_string());
            let packet = packet::decode(&bytes_of(&both["packed"])).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_same(&packet, &both["text"], &what);
        }
    };
    check(json!({"do": "table"}));
    for seed in 1..=4 {
        check(json!({"do": "random", "seed": seed, "count": 300}));
    }
}

/// A value as JSON text can say it, with placeholders for bytes that are appended to `bytes`.
fn random_value(rng: &mut Rng, depth: usize, bytes: &mut Vec<Bytes>) -> Value {
    match rng.u8(..if depth == 0 { 7 } else { 9 }) {
        0 => rng.choice([json!(null), json!(true), json!(false)]).unwrap(),
        1 => json!(rng.i64(-(1 << 53)..1 << 53) >> rng.u8(..54)),
        2 => json!(rng.u64(..1 << 53) >> rng.u8(..54)),
        // The official encoder garbles what is whole beyond 64 bits.
        3 => json!((rng.f64() - 0.5) * 10_f64.powi(rng.i32(-300..18))),
        4 => json!((0..rng.usize(..40)).map(|_| rng.char(..)).collect::<String>()),
        5 => json!("x".repeat(1 << rng.u8(..18))),
        6 if bytes.len() < 10 => {
            bytes.push(vec![7; 1 << rng.u8(..18)].into());
            json!({"_placeholder": true, "num": bytes.len() - 1})
        }
        6 => json!(-0.0),
        7 => (0..rng.usize(..20)).map(|_| random_value(rng, depth - 1, bytes)).collect(),
        _ => {
            // Keys in a fixed order: JavaScript would sort those that look like numbers.
            let members: Map<_, _> =
                (0..rng.usize(..20)).map(|key| (format!("k{key}"), random_value(rng, depth - 1, bytes))).collect();
            Value::Object(members)
        }
    }
}

#[test]
fn the_official_decoder_reads_what_is_written_and_would_write_the_same() {
    let mut node = Node::start("parser.mjs", &[]);
    for seed in 1..=4 {
        let mut rng = Rng::with_seed(seed);
        let packets: Vec<(Complete, Bytes)> = (0..60)
            .map(|at| {
                let mut attachments = Vec::new();
                let mut args = vec![json!("e")];
                args.extend((0..rng.usize(..4)).map(|_| random_value(&mut rng, 3, &mut attachments)));
                let data = Data::new(json!(args).to_string(), attachments).unwrap();
                let (kind, id) =
                    if at % 2 == 0 { (PacketType::Event, None) } else { (PacketType::Ack, Some(rng.u64(..1 << 53))) };
                let encoded = Parser::Msgpack.packet(kind, "/n", id, Some(&data));
                let message = Bytes::copy_from_slice(encoded.parts().next().unwrap().payload);
                (Complete { kind, nsp: "/n".to_owned(), id, event: None, data: Some(data) }, message)
            })
            .collect();
        let messages: Vec<_> = packets.iter().map(|(_, message)| STANDARD.encode(message)).collect();
        let read = node.ask(json!({"do": "read", "messages": messages}));
        for (at, (packet, message)) in packets.iter().enumerate() {
            let what = format!("seed {seed}, packet {at}");
            assert_same(packet, &read[at]["text"], &what);
            assert!(bytes_of(&read[at]["packed"]) == message, "{what}: the bytes differ");
        }
    }
}

#[test]
fn extensions_are_read_as_the_official_decoder_reads_them() {
    let mut node = Node::start("parser.mjs", &[]);
    let payload: Vec<u8> = (1..=17).collect();
    let mut messages: Vec<Bytes> = Vec::new();
    // Not -1, which is a case of its own.
    for kind in [0, 1, 5, 127, 128, 254] {
        let mut add = |head: &[u8], len: usize| {
            let packet = [b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e", head, &[kind], &payload[..len]];
            messages.push(packet.concat().into());
        };
        for (tag, len) in [(0xd4, 1), (0xd5, 2), (0xd6, 4), (0xd7, 8), (0xd8, 16)] {
            add(&[tag], len);
        }
        for len in [0, 1, 4, 8, 12, 16] {
            add(&[0xc7, len as u8], len);
            add(&[0xc8, 0, len as u8], len);
            add(&[0xc9, 0, 0, 0, len as u8], len);
        }
    }
    let asked: Vec<_> = messages.iter().map(|message| STANDARD.encode(message)).collect();
    let read = node.ask(json!({"do": "read", "messages": asked}));
    for (message, theirs) in messages.iter().zip(read.as_array().unwrap()) {
        match packet::decode(message) {
            Ok(packet) => assert_same(&packet, &theirs["text"], &format!("{message:?}")),
            Err(error) => assert_eq!(*theirs, Value::Null, "{message:?}: {error}"),
        }
    }
}

#[test]
fn timestamps_of_other_libraries_are_dates_which_the_official_decoder_does_not_know() {
    let timestamp = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e\xd6\xff\x65\x53\xf1\x00";
    let packet = packet::decode(&Bytes::from_static(timestamp)).unwrap();
    assert_eq!(packet.data.unwrap().json(), r#"["e","2023-11-14T22:13:20.000Z"]"#);
    let mut node = Node::start("parser.mjs", &[]);
    let read = node.ask(json!({"do": "read", "messages": [STANDARD.encode(timestamp)]}));
    let theirs = r#"51-["e",[-1,{"_placeholder":true,"num":0}]]"#;
    assert_eq!(read[0]["text"][0], theirs, "see the differences in docs/from-node.md");
}

#[test]
fn nothing_is_accepted_that_the_official_decoder_refuses() {
    let mut node = Node::start("parser.mjs", &[]);
    let mut originals: Vec<Bytes> = Vec::new();
    for request in [json!({"do": "table"}), json!({"do": "random", "seed": 5, "count": 200})] {
        let both = node.ask(request);
        originals.extend(both.as_array().unwrap().iter().map(|both| bytes_of(&both["packed"])));
    }
    originals.retain(|message| message.len() < 2000);
    for seed in 1..=4 {
        let mut rng = Rng::with_seed(seed);
        let damaged: Vec<Bytes> = (0..1500)
            .map(|_| {
                let mut message = rng.choice(&originals).unwrap().to_vec();
                match rng.u8(..8) {
                    0 => message.truncate(rng.usize(..message.len())),
                    1 => message.push(rng.u8(..)),
                    // Most of what is checked stands at the head.
                    2..5 => message[rng.usize(..10)] = rng.u8(..),
                    _ => {
                        let at = rng.usize(..message.len());
                        message[at] = rng.u8(..);
                    }
                }
                message.into()
            })
            .collect();
        let messages: Vec<_> = damaged.iter().map(|message| STANDARD.encode(message)).collect();
        let read = node.ask(json!({"do": "read", "messages": messages}));
        let (mut accepted, mut stricter) = (0, 0);
        for (message, theirs) in damaged.iter().zip(read.as_array().unwrap()) {
            let what = format!("seed {seed}: {}", STANDARD.encode(message));
            match (packet::decode(message), theirs) {
                (Ok(_), Value::Null) => panic!("{what} is refused by the official decoder"),
                (Ok(packet), theirs) => {
                    accepted += 1;
                    // JavaScript writes larger ones rounded.
                    if packet.id.is_none_or(|id| id < 1 << 53) {
                        assert_same(&packet, &theirs["text"], &what);
                    }
                }
                (Err(_), Value::Null) => {}
                (Err(_), _) => stricter += 1,
            }
        }
        // Both happen, and what only we refuse (see the module `packet`) is rare.
        assert!(accepted > 100 && stricter < accepted / 5, "seed {seed}: {accepted} accepted, {stricter} stricter");
    }
}
