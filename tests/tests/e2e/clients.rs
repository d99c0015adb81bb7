//! Other clients than the newest official one: the oldest that speak its protocol, another implementation, and one of the past.
//!
//! What they may expect is checked in `node/expectations.mjs` and `python/expectations.py`, which report what held.

use std::{net::SocketAddr, thread};

use roomd_tests::{Cluster, ClusterBuilder, Node, Python, RedisServer, http::Connection};
use serde_json::{Value, json};

/// The official client's versions, as npm packages.
pub const VERSIONS: [&str; 3] = ["socket.io-client-3", "socket.io-client-4", "socket.io-client"];

/// All that is to hold, whichever client tries it.
pub const EXPECTATIONS: [&str; 12] = [
    "it connects over the transport it wants",
    "events come back",
    "events keep their order",
    "bytes come back",
    "the server answers",
    "the client answers",
    "answers carry bytes",
    "a room spans the workers",
    "a namespace lets in who has the words",
    "a refused client is told why",
    "a client is told that the server disconnects it",
    "a client disconnects",
];

/// A program that tries clients.
struct Tried {
    name: &'static str,
    ask: Box<dyn FnMut(Value) -> Value + Send>,
}

/// All of them, each version in a process of its own.
fn programs() -> Vec<Tried> {
    let mut programs: Vec<_> = VERSIONS
        .into_iter()
        .map(|name| {
            let mut node = Node::start("expectations.mjs", &[name]);
            Tried { name, ask: Box::new(move |request| node.ask(request)) }
        })
        .collect();
    let mut python = Python::start("expectations.py");
    programs.push(Tried { name: "python-socketio", ask: Box::new(move |request| python.ask(request)) });
    programs
}

/// Asks all at once, and looks at what each reports of each transport.
fn ask_all(programs: &mut [Tried], request: &Value, check: impl Fn(&str, &Value) + Sync) {
    thread::scope(|scope| {
        for Tried { name, ask } in programs {
            let check = &check;
            scope.spawn(move || {
                let reports = ask(request.clone());
                for transport in ["polling", "websocket", "upgrade"] {
                    let report = &reports[transport];
                    let which = format!("{name} over {transport}");
                    assert_eq!(report["failed"], Value::Null, "{which}, after {}", report["held"]);
                    check(&which, &report["held"]);
                }
            });
        }
    });
}

/// Two workers. A client that was lost on a busy machine holds its poll, and the test, up to the next ping: not for 25 s.
fn cluster() -> ClusterBuilder {
    Cluster::build(2).program("test_app").config("[socketio]\nping_interval = \"5s\"\n")
}

#[test]
fn every_client_gets_what_it_expects_and_comes_back() {
    expect_all(&cluster().start());
}

#[test]
fn every_client_gets_the_same_over_redis() {
    let redis = RedisServer::start(&[]);
    expect_all(&cluster().redis(&redis.url()).start());
}

/// All that is to hold, and that the clients of a killed worker come back.
fn expect_all(cluster: &Cluster) {
    let mut programs = programs();
    ask_all(&mut programs, &json!({"do": "expect", "url": cluster.url(), "apart": true}), |which, held| {
        assert_eq!(*held, json!(EXPECTATIONS), "{which}");
    });
    cluster.run(&["kill", "0"]);
    ask_all(&mut programs, &json!({"do": "back", "killed": 0}), |which, held| {
        let mut held: Vec<_> = held.as_array().unwrap().iter().collect();
        held.sort_by_key(|held| held.to_string());
        assert_eq!(held, ["it comes back", "it stays"], "{which}");
    });
    cluster.eventually("nobody is left", |status| {
        let mut workers = status["workers"].as_array().unwrap().iter();
        workers.all(|worker| worker["sessions"] == 0 && worker["sockets"] == 0).then_some(())
    });
    assert!(!cluster.log().contains("panicked"));
}

#[test]
fn every_client_gets_what_it_expects_where_all_messages_are_compressed() {
    let config = "[socketio]\nping_interval = \"5s\"\nper_message_deflate = { threshold = \"0B\" }\n";
    let cluster = Cluster::build(2).program("test_app").config(config).start();
    ask_all(&mut programs(), &json!({"do": "expect", "url": cluster.url(), "apart": true}), |which, held| {
        assert_eq!(*held, json!(EXPECTATIONS), "{which}");
    });
    assert!(!cluster.log().contains("panicked"));
}

/// The official server with the test application, and its address.
fn official() -> (Node, SocketAddr) {
    let mut server = Node::start("echo.mjs", &[r#"{"pingInterval": 5000}"#]);
    let port = server.line()["port"].as_u64().unwrap();
    (server, SocketAddr::from(([127, 0, 0, 1], port as u16)))
}

#[test]
fn the_official_server_meets_the_same_expectations() {
    let (_server, address) = official();
    let url = format!("http://{address}");
    ask_all(&mut programs(), &json!({"do": "expect", "url": url, "apart": false}), |which, held| {
        assert_eq!(*held, json!(EXPECTATIONS), "{which}");
    });
}

#[test]
fn a_client_of_the_revision_before_is_refused_as_the_official_server_refuses_it() {
    let (_server, official) = official();
    let ours = Cluster::build(2).program("test_app").start();
    let servers = [official, ours.address()];
    let mut client = Node::start("past.mjs", &[]);
    for (transports, refusal) in [
        (json!(["polling"]), json!({"type": "TransportError", "message": "xhr poll error", "status": 400})),
        (json!(["websocket"]), json!({"type": "TransportError", "message": "websocket error", "status": null})),
        (
            json!(["polling", "websocket"]),
            json!({"type": "TransportError", "message": "xhr poll error", "status": 400}),
        ),
    ] {
        let refusals = servers.map(|server| {
            client.ask(json!({"do": "connect", "url": format!("http://{server}"), "transports": transports}))
        });
        assert_eq!(refusals, [refusal.clone(), refusal], "{transports}");
    }
    let [polled, ours_polled] = servers.map(|server| {
        let answer = Connection::open(server).get("/socket.io/?EIO=3&transport=polling&t=PNq0Yx2&b64=1");
        (answer.status, answer.header("content-type").map(str::to_owned), answer.body)
    });
    assert_eq!(ours_polled, polled);
    assert_eq!((polled.0, &*polled.2), (400, r#"{"code":5,"message":"Unsupported protocol version"}"#));
    let [upgraded, ours_upgraded] = servers.map(|server| {
        let mut connection = Connection::open(server);
        connection.send(
            "GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        String::from_utf8(connection.rest()).unwrap()
    });
    // The official server says it inside of the WebSocket that it has opened, where no client can read it.
    let (switched, refused) = upgraded.split_once("\r\n\r\n").unwrap();
    assert!(switched.starts_with("HTTP/1.1 101 "), "{upgraded}");
    assert_eq!(ours_upgraded, refused);
    assert!(refused.starts_with("HTTP/1.1 400 ") && refused.ends_with("Unsupported protocol version"), "{refused}");
}
