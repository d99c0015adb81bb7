//! What the official adapter sent, byte for byte, on a real Redis to a whole worker: in the place of server B of the recording,
//! which hears what A sent, and in the place of A, which asks and hears what B answered.

use std::{fs, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use roomd_worker::{
    adapter::codec::{Flags, Request, Response, Selector, encode_broadcast},
    bus::{HealthTiming, RedisBus},
    protocol::Data,
    socketio::{Ack, App, Args, Io, ServerAck, Socket},
};
use serde_json::{Value, json};

use super::{
    RedisServer,
    member::{Member, PATIENCE},
    run,
    worker::{Client, Worker},
};

/// As in the recording.
const ROOMS: [&str; 3] = ["r1", "r2", "42"];

/// How long a broadcast of this server waits for answers, which is told on the wire; the recording's is too short for a busy
/// machine. Both are written in as many bytes.
const WITHIN: (u16, u16) = (1_000, 20_000);

/// The namespace of the recording's server, with what its listeners did.
fn app() -> App {
    App::new()
        .namespace("/", |namespace| {
            namespace
                .on_connect(async |socket: Socket| {
                    ROOMS.iter().for_each(|room| assert!(socket.join(room)));
                    socket.set_data(json!({"user": "u2"})).unwrap();
                })
                .on_server_side("ev", async |io: Io, Args(heard): Args<(i64, Value)>| {
                    io.of("/").unwrap().sockets().local().emit("servers heard", heard).unwrap();
                })
                .on_server_side("sse", async |Args(number): Args<i64>, ack: ServerAck| {
                    ack.send(json!({"ok": number})).unwrap();
                })
                .on("ask", async |socket: Socket, Args(call): Args<String>, ack: Ack| {
                    ack.send((ask(&socket, &call).await,)).unwrap()
                })
        })
        .namespace("/chat", |namespace| namespace)
}

/// What the recording's server A asked.
async fn ask(socket: &Socket, call: &str) -> Value {
    let namespace = socket.io().of("/").unwrap();
    let sockets = namespace.sockets().timeout(Duration::from_millis(WITHIN.1.into()));
    match call {
        "fetchSockets" => {
            let found = sockets.to("r1").fetch_sockets().await.unwrap().answers;
            found.iter().map(|found| json!({"id": found.id(), "rooms": found.rooms().collect::<Vec<_>>(), "user": found.data::<Value>().to_string()})).collect()
        }
        "specific_fetch" => json!(sockets.fetch_sockets().await.unwrap().answers.len()),
        "allRooms" => json!(namespace.all_rooms().await.unwrap().answers),
        "serverSideEmit_ack" => {
            let answers = namespace.server_side_emit_with_ack("sse", 5).await.unwrap().answers;
            answers.into_iter().map(|answer| answer.unwrap().decode::<Value>().unwrap()).collect()
        }
        "broadcast_with_ack" => {
            let answers = sockets.emit_with_ack("q", 1).await.unwrap().answers;
            answers.into_iter().map(|answer| answer.unwrap().decode::<Value>().unwrap()).collect()
        }
        other => panic!("{other}"),
    }
}

/// A message of the recording.
struct Published {
    by: String,
    channel: String,
    payload: Vec<u8>,
}

/// The cases of a recording, in its order.
fn recorded(file: &str) -> Vec<(String, Value)> {
    let path = format!("{}/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let mut file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    std::mem::take(file["cases"].as_object_mut().unwrap()).into_iter().collect()
}

/// What was published in a case, with the ids of sockets and servers replaced by others of their length.
fn published(case: &Value, replaced: &[(&str, &str)]) -> Vec<Published> {
    let commands = case["commands"].as_array().into_iter().flatten().filter(|command| command["cmd"] == "PUBLISH");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    commands
        .map(|command| {
            let payload = match command.get("msgpack_b64") {
                Some(bytes) => STANDARD.decode(text(bytes)).unwrap(),
                None => text(&command["json"]).into_bytes(),
            };
            let (mut channel, mut payload) = (text(&command["channel"]).into_bytes(), payload);
            for (old, new) in replaced {
                (channel, payload) = (
                    replace(channel, old.as_bytes(), new.as_bytes()),
                    replace(payload, old.as_bytes(), new.as_bytes()),
                );
            }
            Published { by: text(&command["from"]), channel: String::from_utf8(channel).unwrap(), payload }
        })
        .collect()
}

fn replace(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    while let Some(at) = bytes.windows(old.len()).position(|part| part == old).filter(|_| old != new) {
        bytes[at..at + old.len()].copy_from_slice(new);
    }
    bytes
}

/// A member of the bus that has subscribed to one channel.
async fn listener(server: &RedisServer, channel: &str) -> Member {
    let timing = HealthTiming { interval: Duration::from_secs(1), deadline: PATIENCE };
    let member = Member::new(|inbox| RedisBus::new(&server.url(), timing, inbox).unwrap());
    member.up().await;
    member.bus.subscribe(channel);
    member.settle(&member).await;
    member
}

/// A worker with one client, who is in both namespaces; the id of the client's socket in the main one.
async fn worker(server: &RedisServer) -> (Worker, Client, String) {
    let worker = Worker::start(server.url(), PATIENCE, app).await;
    worker.ready().await;
    let mut client = worker.client().await;
    client.send("40");
    let id = client.next().split('"').nth(3).unwrap().to_owned();
    client.send("40/chat,");
    assert!(client.next().starts_with("40/chat,"));
    (worker, client, id)
}

/// What a client got up to now: whatever was published before has come, since the last message of all has. Questions are
/// answered as in the recording.
fn received(server: &RedisServer, client: &mut Client) -> Vec<(&'static str, Value)> {
    let last = Data::event("the last", &()).unwrap();
    let message = encode_broadcast("uid", "/", &last, &Selector::default(), Flags::default()).unwrap();
    server.publish("socket.io#/#", &message);
    let mut found = Vec::new();
    loop {
        let message = client.next();
        if message == "42[\"the last\"]" {
            return found;
        }
        let (namespace, rest) = match message.split_once("/chat,") {
            Some((kind, rest)) => ("/chat", format!("{kind}{rest}")),
            None => ("/", message),
        };
        let (head, args) = rest.split_at(rest.find('[').unwrap_or_else(|| panic!("{rest}")));
        let mut args: Value = serde_json::from_str(args).unwrap();
        if let Some(count) = head.strip_prefix("45").and_then(|rest| rest.strip_suffix('-')) {
            let attachments: Vec<String> = (0..count.parse().unwrap()).map(|_| client.next()).collect();
            resolve(&mut args, &attachments);
        } else if let Some(number) = head.strip_prefix("42").filter(|number| !number.is_empty()) {
            client.send(&format!("43{number}[\"from-b\"]"));
            args.as_array_mut().unwrap().push(json!("[ack]"));
        }
        found.push((namespace, args));
    }
}

/// Bytes as `b` and their digits, whichever way they are written.
fn resolve(value: &mut Value, attachments: &[String]) {
    if value["_placeholder"] == true {
        *value = json!(attachments[value["num"].as_u64().unwrap() as usize]);
    } else if let Some(digits) = value["buf"].as_str() {
        *value = json!(format!("b{digits}"));
    } else if value["type"] == "Buffer" {
        let bytes = value["data"].as_array().unwrap().iter();
        *value = json!(bytes.fold("b".to_owned(), |text, byte| format!("{text}{:02x}", byte.as_u64().unwrap())));
    } else if let Some(elements) = value.as_array_mut() {
        elements.iter_mut().for_each(|element| resolve(element, attachments));
    } else if let Some(members) = value.as_object_mut() {
        members.values_mut().for_each(|member| resolve(member, attachments));
    }
}

/// An answer as it is to be compared: rooms have no order, and each client begins with its own request.
/// An answer of ours without what no Node server says: who answers.
fn without_name(payload: Bytes) -> Vec<u8> {
    let mut answer = Response::decode(&payload).unwrap();
    assert!(answer.from.take().is_some(), "{payload:?}");
    answer.encode().unwrap()
}

fn comparable(payload: &[u8]) -> Value {
    let Ok(mut answer) = serde_json::from_slice::<Value>(payload) else { return json!(STANDARD.encode(payload)) };
    let sort = |rooms: &mut Value| rooms.as_array_mut().unwrap().sort_by_key(Value::to_string);
    if let Some(rooms) = answer.get_mut("rooms") {
        sort(rooms);
    }
    for socket in answer.get_mut("sockets").and_then(Value::as_array_mut).into_iter().flatten() {
        sort(&mut socket["rooms"]);
        let fields = socket["handshake"].as_object().unwrap().iter();
        socket["handshake"] = fields.map(|(name, value)| json!([name, kind(value)])).collect();
    }
    answer
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "truth",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

/// What the recording's client got, with what further comes here to namespaces and servers that told that client nothing.
fn expected(case: &Value, further: Option<(&'static str, Value)>) -> Vec<(&'static str, Value)> {
    let got = case["client_on_B_received"].as_array().unwrap().iter().cloned().map(|mut args| {
        resolve(&mut args, &[]);
        ("/", args)
    });
    got.chain(further).collect()
}

#[test]
fn all_that_a_node_server_sends_is_received_and_answered_as_a_node_server_does() {
    run(async {
        let server = RedisServer::start(&[]);
        let answers = listener(&server, "socket.io-response#/#").await;
        let (_worker, mut client, id) = worker(&server).await;
        let cases = recorded("redis_classic.json");
        let b1 = cases.iter().find(|(name, _)| name == "client_ids").unwrap().1["b1"].as_str().unwrap().to_owned();
        let mut counts = (0, 0);
        for (name, case) in &cases {
            let messages = published(case, &[(&b1, &id)]);
            let (from_a, from_b): (Vec<_>, Vec<_>) = messages.iter().partition(|message| message.by == "A");
            // Other cases show another server's answers to hand-made requests, or servers with other channels.
            if from_a.is_empty() || name.starts_with("hand_") || name == "disconnectSockets" {
                continue;
            }
            for message in from_a {
                assert!(server.publish(&message.channel, &message.payload) > 0, "{name}");
                counts.0 += 1;
            }
            let got = received(&server, &mut client);
            let further = match name.as_str() {
                // A room that is a number is the room of its text here.
                "broadcast_numeric_room" => Some(("/", json!(["hello", 1]))),
                "broadcast_nsp_chat" => Some(("/chat", json!(["hello", 1]))),
                "serverSideEmit" => Some(("/", json!(["servers heard", 1, {"a": "x"}]))),
                _ => None,
            };
            assert_eq!(got, expected(case, further), "{name}");
            for answer in from_b {
                let (channel, payload) = answers.next().await;
                assert_eq!(channel, answer.channel, "{name}");
                assert_eq!(comparable(&without_name(payload)), comparable(&answer.payload), "{name}");
                counts.1 += 1;
            }
            assert_eq!(answers.unread(), 0, "{name}");
        }
        assert!(counts.0 >= 22 && counts.1 >= 7, "only {counts:?}");
        // It ends the connection, so it comes last.
        let (_, case) = cases.iter().find(|(name, _)| name == "disconnectSockets").unwrap();
        let orders = published(case, &[]);
        server.publish(&orders[0].channel, &orders[0].payload);
        while client.next() != "closed" {}
    });
}

#[test]
fn all_that_the_official_emitter_sends_is_received() {
    run(async {
        let server = RedisServer::start(&[]);
        let (_worker, mut client, _) = worker(&server).await;
        let cases = recorded("redis_emitter.json");
        assert!(cases.len() >= 10);
        for (name, case) in cases {
            for message in published(&case, &[]) {
                assert!(server.publish(&message.channel, &message.payload) > 0, "{name}");
            }
            let got = received(&server, &mut client);
            let further = match name.as_str() {
                "emitter_nsp" => Some(("/chat", json!(["hello", 1]))),
                "emitter_sse" => Some(("/", json!(["servers heard", 1, null]))),
                _ => None,
            };
            assert_eq!(got, expected(&case, further), "{name}");
        }
    });
}

#[test]
fn a_node_server_is_asked_as_by_a_node_server_and_its_answers_are_understood() {
    run(async {
        let server = RedisServer::start(&[]);
        let requests = listener(&server, "socket.io-request#/#").await;
        let (_worker, mut client, id) = worker(&server).await;
        let cases = recorded("redis_classic.json");
        let b1 = cases.iter().find(|(name, _)| name == "client_ids").unwrap().1["b1"].as_str().unwrap();
        let rooms = |id: &str| json!([id, "r1", "r2", "42"]);
        let user = r#"{"user":"u2"}"#;
        let mut all_rooms = [b1, &id, "r1", "r2", "42", "j2"];
        all_rooms.sort_unstable();
        for (name, expected) in [
            (
                "fetchSockets",
                json!([{"id": id, "rooms": rooms(&id), "user": user}, {"id": b1, "rooms": rooms(b1), "user": user}]),
            ),
            ("allRooms", json!(all_rooms)),
            ("serverSideEmit_ack", json!([{"ok": 5}])),
            ("broadcast_with_ack", json!(["from-b", "from-b"])),
            // Its answer comes on the asker's own channel.
            ("specific_fetch", json!(1)),
        ] {
            client.send(&format!("427[\"ask\",\"{name}\"]"));
            let (_, asked) = requests.next().await;
            let ours = Request::decode(&asked).unwrap();
            let case = &cases.iter().find(|(of, _)| of == name).unwrap().1;
            let theirs = Request::decode(&published(case, &[])[0].payload.clone().into()).unwrap();
            let replaced = [(theirs.uid, ours.uid), (theirs.request_id, ours.request_id)];
            let replaced = replaced.map(|(theirs, ours)| (theirs.unwrap(), ours.unwrap()));
            let mut messages =
                published(case, &replaced.each_ref().map(|(theirs, ours)| (&**theirs, &**ours))).into_iter();
            let request = replace(messages.next().unwrap().payload, &timeout_flag(WITHIN.0), &timeout_flag(WITHIN.1));
            assert_eq!(asked, request, "{name}");
            for answer in messages {
                server.publish(&answer.channel.replace("myapp", "socket.io"), &answer.payload);
            }
            let answer = loop {
                let message = client.next();
                match message.strip_prefix("437") {
                    Some(answer) => break serde_json::from_str::<Value>(answer).unwrap(),
                    None => client.send(&format!("43{}[\"from-b\"]", &message[2..message.find('[').unwrap()])),
                }
            };
            assert_eq!(answer[0], expected, "{name}");
        }
    });
}

/// The flag as MessagePack.
fn timeout_flag(milliseconds: u16) -> Vec<u8> {
    [b"timeout\xcd", &milliseconds.to_be_bytes()[..]].concat()
}
