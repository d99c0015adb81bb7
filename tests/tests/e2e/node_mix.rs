//! In the same rooms as Node servers that use the official Redis adapter, and the official emitter.

use roomd_tests::{Cluster, Node, RedisServer, eventually};
use roomd_worker::adapter::codec::{Response, ResponseBody};
use serde_json::{Value, json};

/// A roomd with two workers and an official server on one Redis, and two clients of each: `r1`, `r2`, `n1`, `n2`.
struct Mixed {
    redis: RedisServer,
    cluster: Cluster,
    server: Node,
    clients: Node,
}

const ALL: [&str; 4] = ["r1", "r2", "n1", "n2"];

impl Mixed {
    /// With the clients in this namespace; roomd is the built-in chat or the test application.
    fn start(program: &str, namespace: &str) -> Mixed {
        Mixed::with_parser("json", program, namespace)
    }

    /// The same, where all use this parser.
    fn with_parser(parser: &str, program: &str, namespace: &str) -> Mixed {
        let redis = RedisServer::start(&[]);
        let mut server = Node::start("server.mjs", &[&redis.url(), &json!({"parser": parser}).to_string()]);
        let port = server.line()["port"].clone();
        let config = format!("[socketio]\nparser = \"{parser}\"\n");
        let cluster = Cluster::build(2).program(program).config(&config).redis(&redis.url()).start();
        let mut clients = Node::start("clients.mjs", &[]);
        for name in ALL {
            let base = if name.starts_with('r') { cluster.url() } else { format!("http://127.0.0.1:{port}") };
            let options = json!({"transports": ["websocket"], "query": {"name": "a ü"}, "parser": parser});
            clients.connect(name, &format!("{base}{namespace}"), options);
        }
        Mixed { redis, cluster, server, clients }
    }

    fn id(&mut self, client: &str) -> String {
        self.clients.ask(json!({"do": "state", "name": client}))["id"].as_str().unwrap().to_owned()
    }

    /// What a client of roomd is answered.
    fn ask(&mut self, client: &str, event: &str, args: Value) -> Value {
        self.clients.ask(json!({"do": "ask", "name": client, "event": event, "args": args}))
    }

    /// A call of the whole cluster, from roomd (through a client) or from the Node server.
    fn call(&mut self, from: &str, call: &str, target: Value, args: Value) -> Value {
        match from {
            "node" => self.server.ask(json!({"do": "cluster", "call": call, "target": target, "args": args})),
            client => self.ask(client, "cluster", json!([call, target, args])),
        }
    }

    fn join(&mut self, client: &str, room: &str) {
        assert_eq!(self.ask(client, "join", json!([room])), true);
    }

    /// Waits until the clients that are named have got the event, and no other one has; then forgets.
    fn assert_got(&mut self, event: &str, who: &[&str], args: &Value) {
        for client in who {
            self.clients.eventually(
                &format!("{client} gets {event} {args}"),
                &json!({"do": "events", "name": client, "event": event}),
                |events| events == &json!([args]),
            );
        }
        for client in ALL {
            let events = self.clients.events(client, event);
            assert_eq!(events.len(), usize::from(who.contains(&client)), "{client} {event}: {events:?}");
            self.clients.ask(json!({"do": "forget", "name": client}));
        }
    }
}

impl Drop for Mixed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(
            self.server.ask(json!({"do": "faults"})),
            json!([]),
            "nothing we published has harmed the Node server"
        );
        assert!(!self.cluster.log().contains("panicked"));
    }
}

#[test]
fn the_chat_spans_both() {
    let mut mixed = Mixed::start("roomd", "");
    let has = |clients: &mut Node, client: &str, user: &str, text: &str| {
        clients.eventually(
            &format!("{client} hears {text}"),
            &json!({"do": "events", "name": client, "event": "message"}),
            |events| {
                let mut messages = events.as_array().unwrap().iter().map(|args| &args[0]);
                messages.any(|message| message["user"] == user && message["text"] == text)
            },
        );
    };
    for from in ALL {
        let id = mixed.id(from);
        mixed.clients.emit(from, "chatMessage", json!([format!("hello from {from}")]));
        for to in ALL {
            has(&mut mixed.clients, to, &id, &format!("hello from {from}"));
        }
    }
    for client in ["r1", "n1"] {
        mixed.clients.emit(client, "joinRoom", json!(["blue"]));
        let id = mixed.id(client);
        has(&mut mixed.clients, client, "System", &format!("Client {id} joined blue"));
    }
    for (from, to) in [("r2", "n1"), ("n2", "r1"), ("r1", "n1"), ("n1", "r1")] {
        let id = mixed.id(from);
        mixed.clients.emit(from, "roomMessage", json!(["blue", format!("for blue from {from}")]));
        has(&mut mixed.clients, to, &id, &format!("for blue from {from}"));
    }
    for outside in ["r2", "n2"] {
        let heard = json!(mixed.clients.events(outside, "message")).to_string();
        assert!(!heard.contains("for blue"), "{outside}: {heard}");
    }
    let id = mixed.id("r2");
    mixed.clients.ask(json!({"do": "disconnect", "name": "r2"}));
    has(&mut mixed.clients, "n2", "System", &format!("Client {id} disconnected"));
}

#[test]
fn broadcasts_reach_rooms_on_both_and_spare_the_excepted() {
    let mut mixed = Mixed::start("test_app", "/test");
    for (client, room) in [("r1", "red"), ("n1", "red"), ("n2", "green"), ("r1", "shy"), ("n1", "shy")] {
        mixed.join(client, room);
    }
    for from in ["r1", "node"] {
        let word = json!([format!("from {from}")]);
        for (target, who) in [
            (json!({}), &ALL[..]),
            (json!({"to": ["red"]}), &["r1", "n1"]),
            (json!({"to": ["red", "green"]}), &["r1", "n1", "n2"]),
            (json!({"except": ["red"]}), &["r2", "n2"]),
            (json!({"to": ["red", "green"], "except": ["shy"]}), &["n2"]),
            (json!({"to": ["nobody"]}), &[]),
        ] {
            mixed.call(from, "emit", target, json!(["word", word[0]]));
            // Another one behind it tells that whoever has not got it by then will not get it.
            mixed.call(from, "emit", json!({}), json!(["end", 1]));
            for client in ALL {
                mixed.clients.eventually(
                    "the end",
                    &json!({"do": "events", "name": client, "event": "end"}),
                    |events| events.as_array().unwrap().len() == 1,
                );
            }
            mixed.assert_got("word", who, &word);
        }
        let id = mixed.id("n2");
        mixed.call(from, "emit", json!({"to": [id]}), json!(["word", word[0]]));
        mixed.assert_got("word", &["n2"], &word);
    }
}

#[test]
fn bytes_travel_in_both_directions() {
    let mut mixed = Mixed::start("test_app", "/test");
    for client in ["r2", "n1"] {
        mixed.join(client, "bytes");
    }
    let bytes = json!({"$bytes": "AAEC/w=="});
    assert_eq!(mixed.ask("r1", "bytes", json!(["bytes", bytes])), true);
    mixed.assert_got("bytes", &["r2", "n1"], &json!([{"before": 1}, bytes]));
    mixed.call("node", "emit", json!({"to": ["bytes"]}), json!(["bytes", {"deep": [bytes]}]));
    mixed.assert_got("bytes", &["r2", "n1"], &json!([{"deep": [bytes]}]));
}

fn ids(found: &Value) -> Vec<String> {
    let list = found.get("answers").unwrap_or(found).as_array().unwrap_or_else(|| panic!("{found}"));
    let mut ids: Vec<_> = list.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn sockets_are_found_moved_and_disconnected_across_both() {
    let mut mixed = Mixed::start("test_app", "/test");
    for (number, from) in ["r1", "node"].into_iter().enumerate() {
        let room = format!("room {number}");
        for client in ["r2", "n2"] {
            assert_eq!(mixed.ask(client, "set data", json!([{"name": client}])), true);
            mixed.join(client, &room);
        }
        let mut expected = [mixed.id("r2"), mixed.id("n2")];
        expected.sort();
        let found = mixed.call(from, "fetch", json!({"to": [room]}), json!([]));
        assert_eq!(ids(&found), expected, "{from}");
        for one in found.get("answers").unwrap_or(&found).as_array().unwrap() {
            let own = if one["id"] == mixed.id("r2") { "r2" } else { "n2" };
            assert_eq!(one["data"], json!({"name": own}), "{from}");
            assert!(one["rooms"].as_array().unwrap().contains(&json!(room)), "{from}: {one}");
            let handshake = &one["handshake"];
            assert_eq!(
                (&handshake["query"]["EIO"], &handshake["query"]["name"]),
                (&json!("4"), &json!("a ü")),
                "{from}"
            );
            assert_eq!((&handshake["xdomain"], &handshake["secure"]), (&json!(false), &json!(false)), "{from}: {one}");
            assert!(handshake["headers"]["host"].is_string() && handshake["url"].is_string(), "{from}: {one}");
            assert!(handshake["time"].as_str().unwrap().contains(" GMT+"), "{from}: {one}");
            assert!(one["handshake"]["issued"].is_u64() && one["handshake"]["address"].is_string(), "{one}");
        }
        assert_eq!(ids(&mixed.call(from, "fetch", json!({}), json!([]))).len(), 4);
        assert_eq!(ids(&mixed.call(from, "fetch", json!({"to": ["empty"]}), json!([]))).len(), 0);

        let new = format!("new {number}");
        mixed.call(from, "join", json!({"to": [room]}), json!([new]));
        eventually("they are in the new room", || {
            (ids(&mixed.call(from, "fetch", json!({"to": [new]}), json!([]))) == expected).then_some(())
        });
        mixed.call(from, "leave", json!({"to": [new]}), json!([new]));
        eventually("and out of it", || {
            ids(&mixed.call(from, "fetch", json!({"to": [new]}), json!([]))).is_empty().then_some(())
        });
    }
    let rooms = mixed.server.ask(json!({"do": "allRooms"}));
    let asked = mixed.call("r1", "all rooms", json!({}), json!([]));
    for room in ["room 0", "room 1"] {
        assert!(rooms.as_array().unwrap().contains(&json!(room)), "{rooms}");
        assert!(asked["answers"].as_array().unwrap().contains(&json!(room)), "{asked}");
    }
    // roomd's two workers count as a server each.
    assert_eq!(mixed.server.ask(json!({"do": "servers"})), 3);

    // Each side sends one of the other's away.
    for (from, client) in [("r1", "n2"), ("node", "r2")] {
        let id = mixed.id(client);
        mixed.call(from, "disconnect", json!({"to": [id]}), json!([false]));
        let state = mixed
            .clients
            .eventually("it is gone", &json!({"do": "state", "name": client}), |state| state["connected"] == false);
        assert!(state["log"].to_string().contains("io server disconnect"), "{state}");
    }
}

#[test]
fn what_was_found_is_reached_wherever_it_is() {
    let mut mixed = Mixed::start("test_app", "/test");
    for client in ["r2", "n2"] {
        mixed.join(client, "room");
        mixed.clients.ask(json!({"do": "answers", "name": client, "args": [{"from": client}, "second"]}));
    }
    let target = json!({"to": ["room"]});
    assert_eq!(mixed.call("r1", "each", target.clone(), json!(["emit", {"to": "each"}])), json!([true, true]));
    mixed.assert_got("word", &["r2", "n2"], &json!([{"to": "each"}]));
    let answers = mixed.call("r1", "each", target.clone(), json!(["emit with ack", 1]));
    let mut answers: Vec<_> = answers.as_array().unwrap().iter().map(Value::to_string).collect();
    answers.sort();
    assert_eq!(answers, [r#"{"from":"n2"}"#, r#"{"from":"r2"}"#]);
    let rooms_of = |mixed: &mut Mixed, client: &str| mixed.ask(client, "rooms", json!([])).as_array().unwrap().len();
    for (call, rooms) in [("join", 4), ("leave", 3)] {
        assert_eq!(mixed.call("r1", "each", target.clone(), json!([call, "first"])), json!([true, true]));
        for client in ["r2", "n2"] {
            eventually("its rooms have changed", || (rooms_of(&mut mixed, client) == rooms).then_some(()));
        }
    }
    assert_eq!(mixed.call("r1", "each", target, json!(["disconnect", false])), json!([true, true]));
    for client in ["r2", "n2"] {
        mixed
            .clients
            .eventually("it is gone", &json!({"do": "state", "name": client}), |state| state["connected"] == false);
    }
}

#[test]
fn broadcasts_with_acks_gather_the_answers_of_both() {
    let mut mixed = Mixed::start("test_app", "/test");
    for client in ALL {
        mixed.clients.ask(json!({"do": "answers", "name": client, "args": [{"from": client}]}));
    }
    for client in ["r2", "n1", "n2"] {
        mixed.join(client, "asked");
    }
    for from in ["r1", "node"] {
        let answers = mixed.call(from, "emit with ack", json!({"to": ["asked"]}), json!(["question", 1]));
        let list = answers.get("answers").unwrap_or(&answers);
        let mut who: Vec<_> = list.as_array().unwrap().iter().map(|one| one["from"].as_str().unwrap()).collect();
        who.sort_unstable();
        assert_eq!(who, ["n1", "n2", "r2"], "{from}: {answers}");
        let nobody = mixed.call(from, "emit with ack", json!({"to": ["nobody"]}), json!(["question", 1]));
        assert_eq!(nobody.get("answers").unwrap_or(&nobody), &json!([]), "{from}");
    }
    // Bytes in an answer.
    mixed.clients.ask(json!({"do": "answers", "name": "r2", "args": [{"$bytes": "AQID"}]}));
    let id = mixed.id("r2");
    let answers = mixed.call("node", "emit with ack", json!({"to": [id]}), json!(["question", 2]));
    assert_eq!(answers, json!([{"$bytes": "AQID"}]));
}

#[test]
fn servers_talk_to_each_other() {
    let mut mixed = Mixed::start("test_app", "/test");
    mixed.server.ask(json!({"do": "serverEmit", "event": "hello", "args": ["from node"]}));
    mixed.call("r1", "server emit", json!({}), json!(["hello", "from roomd"]));
    mixed.server.eventually("node hears roomd", &json!({"do": "heard"}), |heard| heard == &json!(["from roomd"]));
    // Both of roomd's workers hear Node; the one that spoke does not hear itself.
    for client in ["r1", "r2"] {
        eventually("roomd hears node", || {
            mixed.ask(client, "heard", json!([])).as_array().unwrap().contains(&json!("from node")).then_some(())
        });
    }
    // What roomd's servers tell each other of an answer that is too long, Node passes over.
    let too_long =
        Response { request_id: "abcdef".to_owned(), from: None, body: ResponseBody::TooLong { bytes: 20_000_000 } };
    assert!(mixed.redis.publish("socket.io-response#/test#", &too_long.encode().unwrap()) >= 3);
    let answers = mixed.server.ask(json!({"do": "serverEmitWithAck", "event": "hello", "args": ["again"]}));
    assert_eq!(answers, json!(["roomd heard it", "roomd heard it"]));
    let answers = mixed.call("r1", "server emit with ack", json!({}), json!(["hello", "again"]));
    let mut answers: Vec<_> = answers["answers"].as_array().unwrap().iter().map(Value::to_string).collect();
    answers.sort();
    assert_eq!(answers, ["\"node heard it\"", "\"roomd heard it\""]);
}

#[test]
fn the_official_emitter_reaches_both() {
    let mut mixed = Mixed::start("test_app", "/test");
    let mut emitter = Node::start("emitter.mjs", &[&mixed.redis.url()]);
    let of = "/test";
    for client in ["r1", "n1"] {
        mixed.join(client, "room");
    }
    emitter.ask(json!({"do": "emit", "of": of, "event": "word", "args": ["to all", {"$bytes": "AAH/"}]}));
    mixed.assert_got("word", &ALL, &json!(["to all", {"$bytes": "AAH/"}]));
    emitter.ask(json!({"do": "emit", "of": of, "target": {"to": ["room"]}, "event": "word", "args": [1]}));
    mixed.assert_got("word", &["r1", "n1"], &json!([1]));
    emitter.ask(json!({"do": "emit", "of": of, "target": {"except": ["room"]}, "event": "word", "args": [2]}));
    mixed.assert_got("word", &["r2", "n2"], &json!([2]));
    emitter.ask(json!({"do": "join", "of": of, "target": {"to": ["room"]}, "room": "second"}));
    eventually("they joined", || {
        let found = mixed.call("r1", "fetch", json!({"to": ["second"]}), json!([]));
        (ids(&found).len() == 2).then_some(())
    });
    emitter.ask(json!({"do": "leave", "of": of, "target": {"to": ["room"]}, "room": "second"}));
    eventually("they left", || {
        let found = mixed.call("r1", "fetch", json!({"to": ["second"]}), json!([]));
        ids(&found).is_empty().then_some(())
    });
    emitter.ask(json!({"do": "serverEmit", "of": of, "event": "hello", "args": ["from the emitter"]}));
    eventually("roomd hears it", || {
        let heard = mixed.ask("r1", "heard", json!([]));
        heard.as_array().unwrap().contains(&json!("from the emitter")).then_some(())
    });
    emitter.ask(json!({"do": "disconnect", "of": of, "target": {"to": ["room"]}, "close": true}));
    for client in ["r1", "n1"] {
        mixed.clients.eventually("it was sent away", &json!({"do": "state", "name": client}), |state| {
            state["log"].as_array().unwrap().iter().any(|entry| entry.get("disconnect").is_some())
        });
    }
}

#[test]
fn with_the_messagepack_parser_everything_spans_both_too() {
    let mut mixed = Mixed::with_parser("msgpack", "test_app", "/test");
    for client in ALL {
        mixed.join(client, "room");
    }
    let bytes = json!({"$bytes": "AQL/"});
    let deep = json!([{"text": "ü\u{1f49c}", "in": [bytes, 1.5, null, -7, 9_007_199_254_740_991_i64]}, bytes]);
    let mut args = vec![json!("news")];
    args.extend(deep.as_array().unwrap().iter().cloned());
    mixed.call("node", "emit", json!({"to": ["room"]}), json!(args));
    mixed.assert_got("news", &ALL, &deep);
    assert_eq!(mixed.ask("r1", "bytes", json!(["room", bytes])), true);
    mixed.assert_got("bytes", &ALL, &json!([{"before": 1}, bytes]));
    for (from, with) in [("node", &bytes), ("r2", &Value::Null)] {
        for (at, client) in ALL.iter().enumerate() {
            mixed.clients.ask(json!({"do": "answers", "name": client, "args": [{"at": at, "with": with}]}));
        }
        let answers = mixed.call(from, "emit with ack", json!({"to": ["room"]}), json!(["question", with]));
        let answers = answers.get("answers").unwrap_or(&answers);
        let mut answers = answers.as_array().unwrap().clone();
        answers.sort_by_key(|answer| answer["at"].as_u64());
        let expected: Vec<_> = (0..ALL.len()).map(|at| json!({"at": at, "with": with})).collect();
        assert_eq!(answers, expected, "asked by {from}");
    }
}
