//! What an application can do with the official client, over each transport.

use std::{io::Read, time::Duration};

use roomd_tests::{
    Cluster, Node, eventually,
    http::{Connection, HANDSHAKE, polling, sid},
};
use serde_json::{Value, json};

const TRANSPORTS: [&[&str]; 3] = [&["websocket"], &["polling"], &["polling", "websocket"]];

fn with_each_transport(act: impl Fn(&Cluster, &mut Node, &Value)) {
    let cluster = Cluster::build(2).program("test_app").start();
    for transports in TRANSPORTS {
        let mut node = Node::start("clients.mjs", &[]);
        act(&cluster, &mut node, &json!({"transports": transports}));
    }
    assert!(!cluster.log().contains("panicked"));
}

/// Connects with more options than the transports.
fn connect(node: &mut Node, name: &str, url: &str, options: &Value, more: Value) -> Value {
    let mut options = options.clone();
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    node.ask(json!({"do": "connect", "name": name, "url": url, "options": options}))
}

fn ask(node: &mut Node, event: &str, args: Value) -> Value {
    node.ask(json!({"do": "ask", "name": "a", "event": event, "args": args}))
}

#[test]
fn acks_go_in_both_directions() {
    with_each_transport(|cluster, node, options| {
        connect(node, "a", &cluster.url(), options, json!({}));
        assert_eq!(ask(node, "echo", json!(["first", {"second": [1, 2.5, null]}])), "first");
        assert_eq!(ask(node, "echo", json!([{"deep": {"er": "ü\u{1f49c}"}}])), json!({"deep": {"er": "ü\u{1f49c}"}}));
        node.ask(json!({"do": "answers", "name": "a", "args": [["an", "answer"]]}));
        assert_eq!(ask(node, "ask me", json!(["what?"])), json!(["an", "answer"]));
        assert_eq!(node.events("a", "question"), [json!([["what?"]])]);
        // Many at once come back each to its own.
        for number in 0..50 {
            assert_eq!(ask(node, "echo", json!([number])), number);
        }
    });
}

#[test]
fn bytes_go_in_both_directions() {
    with_each_transport(|cluster, node, options| {
        connect(node, "a", &cluster.url(), options, json!({}));
        let bytes = |text: &str| json!({"$bytes": text});
        for args in [
            json!([bytes("AAEC/w==")]),
            json!([{"a": bytes(""), "b": [bytes("/w=="), 1, {"c": bytes("AQID")}]}]),
            json!([bytes(&"AAAA".repeat(50_000))]),
        ] {
            assert_eq!(ask(node, "bytes", args.clone()), args[0]);
            node.emit("a", "back", args.clone());
            node.eventually("they come back", &json!({"do": "events", "name": "a", "event": "back"}), |events| {
                events == &json!([args])
            });
            node.ask(json!({"do": "forget", "name": "a"}));
        }
    });
}

#[test]
fn events_keep_their_order() {
    with_each_transport(|cluster, node, options| {
        connect(node, "a", &cluster.url(), options, json!({}));
        let expected: Vec<Value> = (0..200).map(|number| json!([number])).collect();
        for number in 0..200 {
            node.emit("a", "number", json!([number]));
        }
        let got = node.eventually("all are back", &json!({"do": "events", "name": "a", "event": "number"}), |events| {
            events.as_array().unwrap().len() == 200
        });
        assert_eq!(got, json!(expected));
    });
}

#[test]
fn a_namespace_lets_in_whom_its_middleware_lets_in() {
    with_each_transport(|cluster, node, options| {
        let url = format!("{}/guarded", cluster.url());
        let refused = connect(node, "no", &url, options, json!({"auth": {"token": "wrong"}, "expectError": true}));
        assert_eq!(refused, json!({"error": "not authorized", "data": {"hint": "say the words"}}));
        connect(node, "a", &url, options, json!({"auth": {"token": "open sesame"}}));
        node.eventually("it is told its auth", &json!({"do": "events", "name": "a", "event": "auth"}), |events| {
            events == &json!([[{"token": "open sesame"}]])
        });
        assert_eq!(ask(node, "echo", json!([1])), 1);
        let unknown = format!("{}/unknown", cluster.url());
        let refused = connect(node, "unknown", &unknown, options, json!({"expectError": true}));
        assert_eq!(refused, json!({"error": "Invalid namespace"}));
    });
}

#[test]
fn a_client_knows_why_it_was_disconnected() {
    with_each_transport(|cluster, node, options| {
        for event in ["kick me", "close me"] {
            connect(node, "a", &cluster.url(), options, json!({"reconnection": false}));
            node.emit("a", event, json!([]));
            let state = node.eventually("it is disconnected", &json!({"do": "state", "name": "a"}), |state| {
                state["log"].to_string().contains("disconnect\"")
            });
            let log = state["log"].as_array().unwrap();
            assert!(log.contains(&json!({"disconnect": "io server disconnect"})), "{event}: {log:?}");
            node.ask(json!({"do": "disconnect", "name": "a"}));
        }
        // The client's own goodbye, and a line that breaks: the server forgets both.
        for how in ["disconnect", "break"] {
            connect(node, how, &cluster.url(), options, json!({"reconnection": false}));
            node.ask(json!({"do": how, "name": how}));
        }
        cluster.eventually("nobody is left", |status| {
            let workers = status["workers"].as_array().unwrap();
            workers.iter().all(|worker| worker["sockets"] == 0 && worker["sessions"] == 0).then_some(())
        });
    });
}

#[test]
fn rooms_are_left_with_the_session() {
    with_each_transport(|cluster, node, options| {
        let url = format!("{}/test", cluster.url());
        connect(node, "a", &url, options, json!({}));
        connect(node, "b", &url, options, json!({}));
        let id = node.ask(json!({"do": "state", "name": "a"}))["id"].clone();
        assert_eq!(ask(node, "rooms", json!([])), json!([id]));
        for room in ["one", "two", "two"] {
            ask(node, "join", json!([room]));
        }
        assert_eq!(ask(node, "rooms", json!([])), json!([id, "one", "two"]));
        ask(node, "leave", json!(["one"]));
        assert_eq!(ask(node, "rooms", json!([])), json!([id, "two"]));
        node.ask(json!({"do": "break", "name": "a"}));
        eventually("the room is empty, seen from another worker", || {
            let args = json!(["fetch", {"to": ["two"]}, []]);
            let found = node.ask(json!({"do": "ask", "name": "b", "event": "cluster", "args": args}));
            (found["answers"] == json!([])).then_some(())
        });
        node.ask(json!({"do": "disconnect", "name": "a"}));
        node.ask(json!({"do": "disconnect", "name": "b"}));
    });
}

#[test]
fn rooms_that_middleware_joins_hold_if_it_lets_the_client_in() {
    with_each_transport(|cluster, node, options| {
        let url = format!("{}/test", cluster.url());
        let rooms = |more: Value| json!({"auth": {"rooms": ["early", "bird"], "no": more}});
        let mut refused = rooms(json!(true));
        refused["expectError"] = json!(true);
        let answer = connect(node, "no", &url, options, refused);
        assert_eq!(answer, json!({"error": "as the client wants"}));
        connect(node, "a", &url, options, rooms(Value::Null));
        connect(node, "b", &url, options, json!({}));
        let id = node.ask(json!({"do": "state", "name": "a"}))["id"].clone();
        assert_eq!(ask(node, "rooms", json!([])), json!([id, "early", "bird"]));
        // Seen from another worker, too: the one that was refused is in no room.
        let from_b = |node: &mut Node, args: Value| {
            node.ask(json!({"do": "ask", "name": "b", "event": "cluster", "args": args}))
        };
        let found = from_b(node, json!(["fetch", {"to": ["early"]}, []]));
        assert_eq!((&found["answers"][0]["id"], found["answers"].as_array().unwrap().len()), (&id, 1), "{found}");
        from_b(node, json!(["emit", {"to": ["bird"]}, ["worm", 1]]));
        node.eventually("it reaches the room", &json!({"do": "events", "name": "a", "event": "worm"}), |events| {
            events == &json!([[1]])
        });
        node.ask(json!({"do": "disconnect", "name": "a"}));
        node.ask(json!({"do": "disconnect", "name": "b"}));
    });
}

#[test]
fn a_client_that_connects_twice_in_one_breath_has_one_socket() {
    let cluster = Cluster::build(1).program("test_app").start();
    for transports in TRANSPORTS {
        let (mut node, options) = (Node::start("clients.mjs", &[]), json!({"transports": transports}));
        connect(&mut node, "a", &cluster.url(), &options, json!({}));
        connect(&mut node, "b", &format!("{}/test", cluster.url()), &options, json!({}));
        let auth = json!({"wait": true});
        node.ask(json!({"do": "connectTwice", "name": "c", "on": "a", "namespace": "/test", "auth": auth}));
        // On the same connection, so behind both.
        assert_eq!(ask(&mut node, "echo", json!([1])), 1);
        let from_b = |node: &mut Node, event: &str, args: Value| {
            node.ask(json!({"do": "ask", "name": "b", "event": event, "args": args}))
        };
        from_b(&mut node, "open the door", json!([]));
        let state =
            node.eventually("it is in", &json!({"do": "state", "name": "c"}), |state| state["connected"] == true);
        let there = |node: &mut Node| {
            let found = from_b(node, "cluster", json!(["fetch", {}, []]));
            let ids: Vec<_> = found["answers"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
            ids
        };
        let ids = there(&mut node);
        assert!(ids.len() == 2 && ids.contains(&state["id"]), "{ids:?}");
        node.ask(json!({"do": "disconnect", "name": "c"}));
        eventually("nothing is left of it", || (there(&mut node).len() == 1).then_some(()));
        assert_eq!(node.ask(json!({"do": "state", "name": "c"}))["log"], json!([{"connect": state["id"]}]));
        let state = node.ask(json!({"do": "state", "name": "a"}));
        assert_eq!(state["log"].as_array().unwrap().len(), 1, "the connection stayed: {state}");
    }
}

/// One client that does not read, among those that do: it is closed, they hear everything, and the process does not grow.
#[test]
fn a_client_that_does_not_read_is_closed_and_slows_nobody() {
    let config = "[socketio]\nmax_queue = \"1MB\"\n";
    let cluster = Cluster::build(1).program("test_app").config(config).start();
    let mut slow = Connection::open(cluster.address());
    let headers = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13";
    slow.send(format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\n{headers}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    assert_eq!(slow.answer().unwrap().status, 101);
    slow.send(b"\x81\x88\x00\x00\x00\x0040/test,");
    let mut node = Node::start("clients.mjs", &[]);
    node.connect("a", &format!("{}/test", cluster.url()), json!({"transports": ["websocket"]}));
    let sockets = |cluster: &Cluster| cluster.worker(0)["sockets"].as_u64().unwrap();
    eventually("both are in", || (sockets(&cluster) == 2).then_some(()));
    let text = "x".repeat(100_000);
    // The kernel's buffers on both sides take some megabytes.
    for number in 0..150 {
        let args = json!(["emit", {}, ["flood", {"number": number, "text": text}]]);
        assert_eq!(ask(&mut node, "cluster", args), true);
    }
    eventually("the slow one is closed", || (sockets(&cluster) == 1).then_some(()));
    node.eventually("the other one has all", &json!({"do": "state", "name": "a"}), |state| state["connected"] == true);
    eventually("the other one has all", || (node.events("a", "flood").len() == 150).then_some(()));
    let rss = cluster.eventually("memory is counted", |status| status["workers"][0]["rss_bytes"].as_u64());
    assert!(rss < 60_000_000, "{rss} bytes");
    // It finds the end behind what it could still have read.
    slow.stream().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut buffer = vec![0; 1 << 20];
    while let Ok(1..) = slow.stream().read(&mut buffer) {}
    cluster.run(&["wait", "--timeout", "1s"]);
}

/// Sessions by polling whose client never comes back end by themselves, and leave nothing behind.
#[test]
fn clients_that_vanish_are_forgotten() {
    let config = "[socketio]\nping_interval = \"200ms\"\nping_timeout = \"200ms\"\n";
    let cluster = Cluster::build(2).program("test_app").config(config).start();
    for number in 0..50 {
        let mut connection = Connection::open(cluster.address());
        let target = polling(&sid(&connection.get(HANDSHAKE)));
        if number < 25 {
            assert_eq!(connection.post(&target, "40").status, 200);
        }
    }
    cluster.eventually("all are forgotten", |status| {
        let workers = status["workers"].as_array().unwrap();
        let none = workers.iter().all(|worker| worker["sessions"] == 0 && worker["connections"] == 0);
        (none && status["balancer"]["open"] == 0).then_some(())
    });
}
