//! The codec against what the official programs really sent (`tests/vectors/`).

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{error::read_message, *};
use crate::protocol::{
    Data, Parser,
    msgpack::{Writer, from_json},
};

fn vectors(name: &str) -> Value {
    let path = format!("{}/../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// Every published message of a file: case, channel, bytes, and the JSON view of MessagePack.
fn published(name: &str) -> Vec<(String, String, Bytes, Value)> {
    let file = vectors(name);
    let mut found = Vec::new();
    for (case, recording) in file["cases"].as_object().unwrap() {
        for command in recording["commands"].as_array().into_iter().flatten() {
            if command["cmd"] != "PUBLISH" {
                continue;
            }
            let bytes = match (&command["msgpack_b64"], &command["json"]) {
                (Value::String(base64), _) => STANDARD.decode(base64).unwrap(),
                (_, Value::String(json)) => json.clone().into_bytes(),
                _ => panic!("{case}: no payload"),
            };
            let channel = command["channel"].as_str().unwrap().to_owned();
            found.push((case.clone(), channel, bytes.into(), command["decoded"].clone()));
        }
    }
    assert!(!found.is_empty());
    found
}

fn channels_of(channel: &str) -> Channels {
    let prefix = if channel.starts_with("myapp") { "myapp" } else { "socket.io" };
    let nsp = if channel.contains("#/chat#") { "/chat" } else { "/" };
    Channels::new(prefix, nsp, "other")
}

/// The view of the vectors: bytes as objects with base64.
fn view(data: &Data) -> Value {
    fn resolve(value: &mut Value, attachments: &[Bytes]) {
        if value["_placeholder"] == true {
            let index = value["num"].as_u64().unwrap() as usize;
            *value = json!({"__bytes_b64": STANDARD.encode(&attachments[index])});
            return;
        }
        match value {
            Value::Array(elements) => elements.iter_mut().for_each(|element| resolve(element, attachments)),
            Value::Object(members) => members.values_mut().for_each(|member| resolve(member, attachments)),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(data.json()).unwrap();
    if !data.attachments().is_empty() {
        resolve(&mut value, data.attachments());
    }
    value
}

/// What an optional part of `opts` says, as JSON.
fn rooms_view(rooms: &[Room]) -> Value {
    serde_json::to_value(rooms).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn broadcasts_of_node_are_read_and_written_to_the_byte() {
    let mut count = 0;
    for (case, channel, bytes, decoded) in published("redis_classic.json") {
        let Some(Incoming::Broadcast { room }) = channels_of(&channel).classify(&channel) else { continue };
        let broadcast = Broadcast::decode(&bytes).unwrap_or_else(|error| panic!("{case}: {error}"));
        let Broadcast { uid, packet, target, flags } = &broadcast;
        let data = packet.data.as_ref().unwrap();
        assert_eq!(view(data), decoded[1]["data"], "{case}");
        assert_eq!(decoded[0], *uid, "{case}");
        assert_eq!(sender(&bytes).as_deref(), Some(&**uid), "{case}");
        assert_eq!(decoded[1]["nsp"], packet.nsp, "{case}");
        assert_eq!(decoded[2]["rooms"], rooms_view(&target.rooms), "{case}");
        assert_eq!(decoded[2]["except"], rooms_view(&target.except), "{case}");
        let named = match &target.rooms[..] {
            [room] => room.name().map(str::to_owned),
            _ => None,
        };
        assert_eq!(room, named.as_deref(), "{case}");
        let ours = named.map_or(channels_of(&channel).broadcast().to_owned(), |name| channels_of(&channel).room(&name));
        assert_eq!(ours, channel, "{case}");
        let written = encode_broadcast(uid, &packet.nsp, data, target, *flags).unwrap();
        // Dates, undefined and NaN have no JSON: that case is read only.
        if case != "broadcast_types" {
            assert_eq!(written, bytes, "{case}");
        }
        count += 1;
    }
    assert!(count > 10, "only {count}");
}

#[test]
fn the_emitters_messages_are_read() {
    for (case, channel, bytes, decoded) in published("redis_emitter.json") {
        match channels_of(&channel).classify(&channel).unwrap() {
            Incoming::Broadcast { .. } => {
                let broadcast = Broadcast::decode(&bytes).unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(broadcast.uid, "emitter");
                assert_eq!(view(broadcast.packet.data.as_ref().unwrap()), decoded[1]["data"], "{case}");
                assert_eq!(decoded[2]["rooms"], rooms_view(&broadcast.target.rooms), "{case}");
                assert_eq!(decoded[2]["except"], rooms_view(&broadcast.target.except), "{case}");
                assert_eq!(broadcast.flags.volatile, case == "emitter_volatile");
            }
            Incoming::Request => {
                let request = Request::decode(&bytes).unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(request.encode().unwrap(), bytes, "{case}");
            }
            Incoming::Response => panic!("{case}: the emitter answers nothing"),
        }
    }
}

#[test]
fn requests_and_responses_of_node_are_read_and_written_to_the_byte() {
    let mut counts = (0, 0);
    for (case, channel, bytes, _) in published("redis_classic.json") {
        match channels_of(&channel).classify(&channel).unwrap() {
            Incoming::Broadcast { .. } => {}
            Incoming::Request => {
                let request = Request::decode(&bytes).unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(request.encode().unwrap(), bytes, "{case}");
                counts.0 += 1;
            }
            Incoming::Response => {
                let response = Response::decode(&bytes).unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(response.encode().unwrap(), bytes, "{case}");
                counts.1 += 1;
            }
        }
    }
    assert!(counts.0 > 8 && counts.1 > 10, "only {counts:?}");
}

#[test]
fn hostile_messages_are_refused_and_odd_ones_understood() {
    for case in vectors("redis_hostile.json")["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let Some(channel) = case["channel"].as_str().filter(|_| case["command"] == "PUBLISH") else { continue };
        let bytes = Bytes::from(STANDARD.decode(case["payload_b64"].as_str().unwrap()).unwrap());
        let ends_node = case["effect_on_node"].as_str().unwrap().contains("ends");
        match channels_of(channel).classify(channel).unwrap() {
            Incoming::Broadcast { .. } => {
                assert_eq!(poison::broadcast_harms(&bytes), ends_node, "{name}");
                assert_eq!(Broadcast::decode(&bytes).is_err(), ends_node, "{name}");
            }
            Incoming::Request => {
                assert_eq!(poison::request_harms(&bytes), ends_node, "{name}");
                assert!(Request::decode(&bytes).is_err(), "{name}");
            }
            Incoming::Response => {
                assert_eq!(poison::response_harms(&bytes), ends_node, "{name}");
                assert!(Response::decode(&bytes).is_err(), "{name}");
            }
        }
    }
    let all = |bytes: &str| Broadcast::decode(&STANDARD.decode(bytes).unwrap().into()).unwrap();
    let odd = all("k6F4gqR0eXBlAqRkYXRhkqFlAoKlcm9vbXOgpmV4Y2VwdKA=");
    assert_eq!((&*odd.packet.nsp, &odd.target), ("/", &Selector::default()));
    let error = all("k6F4g6R0eXBlBKRkYXRhgadtZXNzYWdlo2Jvb6Nuc3ChL4Olcm9vbXOQpmV4Y2VwdJClZmxhZ3OA");
    assert_eq!(error.packet.encode(Parser::Json, None).parts().next().unwrap().payload, b"44{\"message\":\"boo\"}");
}

#[test]
fn scalars_are_written_as_notepack_writes_them() {
    let vectors = vectors("msgpack_scalars.json");
    let of =
        |case: &str| vectors["encode"][case]["notepack.io 3.0.1 (redis adapter, sharded adapter, emitter)"].clone();
    let x31 = format!("\"{}\"", "x".repeat(31));
    let x32 = format!("\"{}\"", "x".repeat(32));
    let array = |count| format!("[{}]", vec!["0"; count].join(","));
    for (case, text) in [
        ("null", "null"),
        ("undefined_in_array", "[null]"),
        ("undefined_in_map", "{\"b\":1}"),
        ("true", "true"),
        ("int 0", "0"),
        ("int 0", "-0"),
        ("int 0", "-0.0"),
        ("int 127", "127"),
        ("int 128", "128"),
        ("int 256", "256"),
        ("int 65536", "65536"),
        ("int 4294967296", "4294967296"),
        ("int 4294967296", "4294967296.0"),
        ("int -1", "-1"),
        ("int -32", "-32"),
        ("int -33", "-33"),
        ("int -129", "-129"),
        ("int -32769", "-32769"),
        ("int -2147483649", "-2147483649"),
        ("int -2147483649", "-2147483649e0"),
        ("float 1.0 (is an integer in JS)", "1.0"),
        ("float 0.5", "0.5"),
        ("empty string", "\"\""),
        ("string 31 bytes", &x31),
        ("string 32 bytes", &x32),
        ("array 15", &array(15)),
        ("array 16", &array(16)),
        ("map", "{\"z\":1,\"a\":[2]}"),
    ] {
        let mut writer = Writer::default();
        from_json::write_data(&mut writer, &Data::from_json(text.to_owned()).unwrap(), MAX_MESSAGE_BYTES).unwrap();
        assert_eq!(writer.bytes, hex(of(case).as_str().unwrap()), "{case}: {text}");
    }
    let mut writer = Writer::default();
    writer.number(f64::NAN);
    assert_eq!(writer.bytes, hex(of("NaN").as_str().unwrap()));
    for (case, bytes) in [("bytes 3", vec![1, 2, 3]), ("bytes 0", vec![])] {
        let mut writer = Writer::default();
        let data = Data::new("{\"_placeholder\":true,\"num\":0}".to_owned(), vec![bytes.into()]).unwrap();
        from_json::write_data(&mut writer, &data, MAX_MESSAGE_BYTES).unwrap();
        assert_eq!(writer.bytes, hex(of(case).as_str().unwrap()), "{case}");
    }
}

#[test]
fn everything_that_notepack_reads_is_read() {
    let read = |bytes: &str| read_message(&hex(bytes).into());
    let vectors = vectors("msgpack_scalars.json");
    for (bytes, seen) in vectors["decode"].as_object().unwrap() {
        let seen = seen["notepack3"].as_str().unwrap();
        match seen.split_once(' ') {
            Some(("ERR", _)) => assert!(read(bytes).is_err(), "{bytes}"),
            Some(("Date", iso)) => assert_eq!(read(bytes).unwrap().json(), format!("\"{iso}\""), "{bytes}"),
            _ if seen == "undefined" => assert_eq!(read(bytes).unwrap().json(), "null", "{bytes}"),
            _ => assert_eq!(read(bytes).unwrap().plain_json(), seen, "{bytes}"),
        }
    }
    for (bytes, json) in [
        // Beyond the vectors: dates as notepack 3 writes them, `undefined` left out of a map, ArrayBuffer, odd keys.
        ("d6ff00000000", "\"1970-01-01T00:00:00.000Z\""),
        ("c70cff3b8b87c0ffffffffffffffff", "\"1969-12-31T23:59:59.999Z\""),
        ("82a161d40000a16201", "{\"b\":1}"),
        ("92d40000c0", "[null,null]"),
        ("c702000102", "{\"type\":\"Buffer\",\"data\":[1,2]}"),
        ("84010102c0c003c304", "{\"1\":1,\"2\":null,\"null\":3,\"true\":4}"),
        ("81ca3fc0000001", "{\"1.5\":1}"),
        ("cb7ff8000000000000", "null"),
        ("cfffffffffffffffff", "18446744073709551615"),
        ("d3ffffffffffffffff", "-1"),
        ("a2c328", "\"\u{fffd}(\""),
        ("d7ffffffffffffffffff", "\"2514-05-30T01:53:04.073Z\""),
    ] {
        assert_eq!(read(bytes).map(|data| data.plain_json().into_owned()).unwrap(), json, "{bytes}");
    }
    for bytes in [
        "",
        "c1",
        "c4",
        "c402ff",
        "a5",
        "d9",
        "dcffff",
        "ddffffffff",
        "dfffffffff",
        "dbffffffff00",
        "c6ffffffff",
        "9201",
        "0101",
        "81",
        "8101",
        "c70bff00",
        "81900090",
        "c900ffffff",
    ] {
        assert!(read(bytes).is_err(), "{bytes}");
    }
    assert!(read_message(&vec![0; MAX_MESSAGE_BYTES + 1].into()).is_err());
}
