//! What a client may send and what comes back, against what the official server did (`tests/vectors/socketio_packets.json`).

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Client, Cluster, SOON, run};
use crate::{
    bus::Routing,
    protocol::{Binary, Data},
    socketio::{Ack, App, Args, Auth, ConnectError, Reason, Socket},
};

/// Cases that are not as in the official server, and why.
const DIFFERENT: [(&str, &str); 5] = [
    ("binary_event_two", "handed on as it came, the placeholders keep the sender's order, which is free"),
    ("server_undefined", "a value of JavaScript's alone"),
    ("binary_1e0_attachments", "JavaScript's way to read a number, which no client writes"),
    ("event_space_in_id", "JavaScript's way to read a number, which no client writes"),
    ("event_huge_id", "an id that no client counts up to: it comes back rounded there"),
];

/// What the handlers of the main namespace were told, as the vectors have it.
type Log = Rc<RefCell<Vec<Value>>>;

/// The application that the vectors were recorded with.
fn app(log: &Log) -> App {
    let (ending, ended) = (log.clone(), log.clone());
    App::new()
        .namespace("/", |namespace| {
            namespace
                .on_any(async |socket: Socket, event: Data, ack: Ack| {
                    let name = event.decode::<Vec<Value>>().unwrap()[0].clone();
                    if name == "echo" && ack.is_wanted() {
                        ack.send_data(&event.without_name());
                    } else if name == "echo" {
                        socket.nsp().sockets().to(socket.id()).local().emit_data(&event);
                    }
                })
                .on("ask", async |socket: Socket| {
                    let answer = socket.emit_with_ack("question", 1, SOON * 100).await.unwrap();
                    socket.emit("answered", [answer.decode::<Value>().unwrap()]).unwrap();
                })
                .on("bin", async |socket: Socket| {
                    let bytes = |bytes: &'static [u8]| Binary(bytes.into());
                    let nested = std::collections::BTreeMap::from([("a", bytes(&[4]))]);
                    socket.emit("bin", (bytes(&[1, 2, 3]), nested, bytes(&[5]))).unwrap();
                })
                .on("bye", async |socket: Socket| socket.disconnect(false))
                .on("byeall", async |socket: Socket| socket.disconnect(true))
                .on_disconnecting(move |socket: Socket, Reason(reason): Reason| {
                    ending.borrow_mut().push(json!(["disconnecting", reason, socket.rooms().len()]));
                    std::future::ready(())
                })
                .on_disconnect(move |socket: Socket, Reason(reason): Reason| {
                    assert!(socket.rooms().is_empty() && !socket.is_connected());
                    ended.borrow_mut().push(json!(["disconnect", reason, null]));
                    std::future::ready(())
                })
        })
        .namespace("/chat", |namespace| {
            namespace
                .use_middleware(async |Auth(auth): Auth<Value>| match auth["token"] == "ok" {
                    true => Ok(()),
                    false => Err(ConnectError {
                        message: "not authorized".into(),
                        data: Some(json!({"code": "E1", "n": 1})),
                    }),
                })
                .on("hi", async |Args(_): Args<Value>, ack: Ack| ack.send("hey").unwrap())
        })
        .namespace_matching("^/dyn-[0-9]+$", |namespace| {
            namespace.on_connect(async |socket: Socket| socket.emit("welcome", socket.namespace()))
        })
        .namespace("/plainerr", |namespace| namespace.use_middleware(async || Err(ConnectError::new("nope"))))
}

/// The namespaces that a case begins in: the recording does not show how the client got there.
fn begin(case: &str, client: &Client) {
    if !case.starts_with("connect_") && case != "event_before_connect"
        || case == "connect_twice"
        || case == "connect_error_from_client"
    {
        client.connect("/");
    }
    if case == "event_with_ack_ns" || case == "disconnect_ns" {
        assert!(client.send("0/chat,{\"token\":\"ok\"}"));
    }
    client.received();
}

/// Socket ids are random.
fn masked(text: &str) -> String {
    match text.split_once("\"sid\":\"") {
        Some((before, after)) => format!("{before}\"sid\":\"*{}", &after[20..]),
        None => text.to_owned(),
    }
}

#[test]
fn clients_are_answered_as_by_the_official_server() {
    run(|| async {
        let path = format!("{}/../tests/vectors/socketio_packets.json", env!("CARGO_MANIFEST_DIR"));
        let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let different: BTreeSet<_> = DIFFERENT.iter().map(|(case, _)| *case).collect();
        let log = Log::default();
        let cluster = Cluster::new(Routing::Exact, 1, || app(&log));
        for (case, recording) in vectors["cases"].as_object().unwrap() {
            if different.contains(case.as_str()) {
                continue;
            }
            let client = cluster.workers[0].session();
            begin(case, &client);
            log.borrow_mut().clear();
            let mut received = Vec::new();
            for sent in recording["sent"].as_array().unwrap() {
                match sent.as_str() {
                    Some(text) => client.send(&text[1..]),
                    None => client.send_binary(&STANDARD.decode(sent["bin_b64"].as_str().unwrap()).unwrap()),
                };
                cluster.settle().await;
                received.extend(client.received());
            }
            let expected = recording["received"].as_array().unwrap();
            let is_close = |message: &&Value| message.get("close").is_some();
            let messages: Vec<_> = expected
                .iter()
                .filter(|message| !is_close(message))
                .map(|message| match message.as_str() {
                    Some(text) => masked(&text[1..]),
                    None => STANDARD
                        .decode(message["bin_b64"].as_str().unwrap())
                        .unwrap()
                        .iter()
                        .fold("b".to_owned(), |text, byte| format!("{text}{byte:02x}")),
                })
                .collect();
            let received: Vec<_> = received.iter().map(|text| masked(text)).collect();
            assert_eq!(received, messages, "{case}");
            assert_eq!(client.is_open(), !expected.iter().any(|message| is_close(&message)), "{case}");
            let of_ends = |events: &[Value]| {
                let is_end = |event: &&Value| event[0] == "disconnecting" || event[0] == "disconnect";
                events.iter().filter(is_end).cloned().collect::<Vec<_>>()
            };
            assert_eq!(of_ends(&log.borrow()), of_ends(recording["server_events"].as_array().unwrap()), "{case}");
            client.end();
            cluster.settle().await;
        }
        assert_eq!(cluster.workers[0].stats().sockets, 0);
    });
}
