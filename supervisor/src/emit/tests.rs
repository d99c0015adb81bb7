//! Orders in, messages or refusals out.

use bytes::Bytes;
use roomd_worker::adapter::codec::Broadcast;
use serde_json::{Value, json};

use super::*;

fn emitted(order: &Value) -> (String, Broadcast) {
    let Publication { channel, payload } = read(Kind::Emit, &order.to_string()).unwrap();
    (channel, Broadcast::decode(&Bytes::from(payload)).unwrap())
}

fn requested(kind: Kind, order: &Value) -> (String, Value) {
    let Publication { channel, payload } = read(kind, &order.to_string()).unwrap();
    (channel, serde_json::from_slice(&payload).unwrap())
}

fn refusal(kind: Kind, text: &str) -> String {
    read(kind, text).unwrap_err().to_string()
}

#[test]
fn an_event_goes_to_the_channel_that_fits_its_rooms() {
    for (order, channel) in [
        (json!({"event": "x"}), "socket.io#/#"),
        (json!({"event": "x", "to": ["a"]}), "socket.io#/#a#"),
        (json!({"event": "x", "to": ["a", "b"]}), "socket.io#/#"),
        (json!({"event": "x", "except": ["a"]}), "socket.io#/#"),
        (json!({"event": "x", "namespace": "/chat", "to": ["a"]}), "socket.io#/chat#a#"),
    ] {
        assert_eq!(emitted(&order).0, channel, "{order}");
    }
}

#[test]
fn a_broadcast_says_what_was_ordered() {
    let (_, broadcast) = emitted(&json!({
        "namespace": "/chat", "event": "news", "args": [1, "two", {"three": [null]}], "to": ["a", "b"], "except": ["c"],
        "volatile": true
    }));
    assert_eq!(broadcast.uid, "roomd-emit");
    assert_eq!(broadcast.packet.nsp, "/chat");
    assert_eq!(broadcast.packet.data.unwrap().json(), r#"["news",1,"two",{"three":[null]}]"#);
    assert_eq!(broadcast.target.rooms, ["a", "b"].map(Into::into));
    assert_eq!(broadcast.target.except, ["c"].map(Into::into));
    assert!(broadcast.flags.volatile);
    let (_, plain) = emitted(&json!({"event": "a \"b\""}));
    assert_eq!(plain.packet.data.unwrap().json(), r#"["a \"b\""]"#);
    assert!(!plain.flags.volatile);
}

#[test]
fn numbers_keep_their_digits() {
    let Publication { payload, .. } = read(Kind::Emit, r#"{"event":"x","args":[18446744073709551615]}"#).unwrap();
    let broadcast = Broadcast::decode(&Bytes::from(payload)).unwrap();
    assert_eq!(broadcast.packet.data.unwrap().json(), r#"["x",18446744073709551615]"#);
}

#[test]
fn orders_about_sockets_are_the_adapters_requests() {
    let opts = json!({"rooms": ["a"], "except": []});
    for (kind, order, request) in [
        (
            Kind::Join,
            json!({"rooms": ["n"], "in": ["a"]}),
            json!({"uid": "roomd-emit", "type": 2, "opts": opts, "rooms": ["n"]}),
        ),
        (
            Kind::Leave,
            json!({"rooms": ["n", "m"], "in": ["a"]}),
            json!({"uid": "roomd-emit", "type": 3, "opts": opts, "rooms": ["n", "m"]}),
        ),
        (
            Kind::Disconnect,
            json!({"in": ["a"], "close": true}),
            json!({"uid": "roomd-emit", "type": 4, "opts": opts, "close": true}),
        ),
        (
            Kind::Disconnect,
            json!({"all": true}),
            json!({"uid": "roomd-emit", "type": 4, "opts": {"rooms": [], "except": []}, "close": false}),
        ),
    ] {
        assert_eq!(requested(kind, &order), ("socket.io-request#/#".to_owned(), request), "{order}");
    }
    let (channel, _) = requested(Kind::Disconnect, &json!({"namespace": "/chat", "all": true}));
    assert_eq!(channel, "socket.io-request#/chat#");
}

#[test]
fn mistakes_are_told_with_the_key() {
    let long = "x".repeat(1025);
    let many = json!({"event": "x", "to": vec!["r"; 65537]}).to_string();
    let deep = format!(r#"{{"event":"x","args":[{}1{}]}}"#, "[".repeat(2000), "]".repeat(2000));
    for (kind, text, words) in [
        (Kind::Emit, "", "the order is no JSON object: EOF"),
        (Kind::Emit, "[]", "the order is no JSON object"),
        (Kind::Emit, "{\"event\":\"x\"} x", "trailing characters"),
        (Kind::Emit, "{}", "`event` is missing"),
        (Kind::Emit, r#"{"event":7}"#, "`event` cannot be this: give the event's name"),
        (Kind::Emit, r#"{"event":""}"#, "a name in `event` is empty"),
        (Kind::Emit, r#"{"event":"disconnect"}"#, "`event` cannot be \"disconnect\""),
        (Kind::Emit, r#"{"event":"x","args":{"a":1}}"#, "`args` cannot be this: give a list of values"),
        (Kind::Emit, r#"{"event":"x","to":"r"}"#, "`to` cannot be this: give a list of names"),
        (Kind::Emit, r#"{"event":"x","to":[1]}"#, "`to` cannot be this"),
        (Kind::Emit, r#"{"event":"x","to":[""]}"#, "a name in `to` is empty"),
        (Kind::Emit, r#"{"event":"x","volatile":1}"#, "`volatile` cannot be this: give true or false"),
        (Kind::Emit, r#"{"event":"x","namespace":"chat"}"#, "begins with a slash"),
        (Kind::Emit, r#"{"event":"x","rooms":["r"]}"#, "unknown key `rooms`: known here: namespace, event"),
        (Kind::Emit, r#"{"event":"x","exept":["r"]}"#, "unknown key `exept`: did you mean `except`?"),
        (Kind::Emit, &format!(r#"{{"event":"x","to":["{long}"]}}"#), "more than 1024 bytes"),
        (Kind::Emit, &many, "`to` names more than 65536 rooms"),
        (Kind::Emit, &deep, "`args` cannot be sent: JSON nested deeper than"),
        (Kind::Join, r#"{"in":["r"]}"#, "`rooms` names no room"),
        (Kind::Join, r#"{"rooms":["n"]}"#, "neither does `in` name a room nor is `all` set"),
        (Kind::Leave, r#"{"rooms":["n"],"in":["r"],"all":true}"#, "say one of the two"),
        (Kind::Disconnect, "{}", "neither does `in` name a room nor is `all` set"),
        (Kind::Disconnect, r#"{"in":[]}"#, "neither does `in` name a room nor is `all` set"),
        (Kind::Disconnect, r#"{"in":[""]}"#, "a name in `in` is empty"),
        (Kind::Disconnect, r#"{"all":true,"rooms":["a"]}"#, "unknown key `rooms`"),
    ] {
        let told = refusal(kind, text);
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(read(Kind::Emit, &" ".repeat(MAX_ORDER_BYTES + 1)), Err(OrderError::TooLong));
}

/// Every refusal and every message for bytes at random: nothing panics, and what is made can be read.
#[test]
fn mutated_orders_are_refused_or_make_messages_that_servers_read() {
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let good =
        r#"{"namespace":"/","event":"x","args":[1.5e3,"a",{"b":[true,null]}],"to":["r"],"except":[],"volatile":false}"#;
    for _ in 0..20_000 {
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..bytes.len());
            bytes[at] = *rng.choice(b"{}[]\",:0-9e\\utrx. /").unwrap();
        }
        let text = String::from_utf8(bytes).unwrap();
        if let Ok(Publication { payload, .. }) = read(Kind::Emit, &text) {
            assert!(Broadcast::decode(&Bytes::from(payload)).is_ok(), "seed {seed}: {text}");
        }
    }
}
