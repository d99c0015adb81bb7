//! Calls of the whole cluster over each bus, from any worker, and what strangers send on Redis.

use base64::{Engine, engine::general_purpose::STANDARD};
use roomd_tests::{Cluster, Node, RedisServer, eventually};
use serde_json::{Value, json};

const CLIENTS: [&str; 3] = ["a", "b", "c"];

/// Three workers with one client each.
fn spread(cluster: &Cluster, namespace: &str) -> Node {
    let mut node = Node::start("clients.mjs", &[]);
    for name in CLIENTS {
        node.connect(name, &format!("{}{namespace}", cluster.url()), json!({"transports": ["websocket"]}));
    }
    cluster.eventually("each worker has one of the clients", |status| {
        let workers = status["workers"].as_array().unwrap();
        (workers.len() == 3 && workers.iter().all(|worker| worker["sockets"] == 1)).then_some(())
    });
    node
}

fn ask(node: &mut Node, client: &str, event: &str, args: Value) -> Value {
    node.ask(json!({"do": "ask", "name": client, "event": event, "args": args}))
}

/// A call of the whole cluster by the worker of a client.
fn call(node: &mut Node, from: &str, call: &str, target: Value, args: Value) -> Value {
    ask(node, from, "cluster", json!([call, target, args]))
}

fn id(node: &mut Node, client: &str) -> String {
    node.ask(json!({"do": "state", "name": client}))["id"].as_str().unwrap().to_owned()
}

/// The answers, in an order of their own; a call that timed out has failed.
fn answers(answered: &Value) -> Vec<String> {
    assert_eq!(answered["timeout"], Value::Null, "{answered}");
    let list = answered["answers"].as_array().unwrap_or_else(|| panic!("{answered}"));
    let mut texts: Vec<_> = list.iter().map(Value::to_string).collect();
    texts.sort();
    texts
}

fn every_call_from_every_worker(cluster: &Cluster) {
    let mut node = spread(cluster, "/test");
    for name in CLIENTS {
        node.ask(json!({"do": "answers", "name": name, "args": [name]}));
        assert_eq!(ask(&mut node, name, "set data", json!([{"name": name}])), true);
    }
    for name in ["b", "c"] {
        assert_eq!(ask(&mut node, name, "join", json!(["room"])), true);
    }
    for from in CLIENTS {
        let members = |node: &mut Node, room: &str| {
            let found = call(node, from, "fetch", json!({"to": [room]}), json!([]));
            let names = found["answers"].as_array().unwrap_or_else(|| panic!("{found}")).iter();
            let mut names: Vec<_> = names.map(|one| one["data"]["name"].as_str().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        // What was joined before on another worker is known there; whoever asks knows it at once.
        assert_eq!(members(&mut node, "room"), ["b", "c"], "from {from}");
        assert!(members(&mut node, "nobody's").is_empty());
        let rooms = call(&mut node, from, "all rooms", json!({}), json!([]));
        assert!(answers(&rooms).contains(&"\"room\"".to_owned()), "from {from}: {rooms}");

        call(&mut node, from, "join", json!({"to": ["room"]}), json!(["second"]));
        eventually("both are in the second room", || (members(&mut node, "second") == ["b", "c"]).then_some(()));
        call(&mut node, from, "leave", json!({"to": ["room"]}), json!(["second"]));
        eventually("both are out of it", || members(&mut node, "second").is_empty().then_some(()));

        let gathered = call(&mut node, from, "emit with ack", json!({"to": ["room"]}), json!(["question", 1]));
        assert_eq!(answers(&gathered), ["\"b\"", "\"c\""], "from {from}");
        let gathered = call(&mut node, from, "emit with ack", json!({"except": ["room"]}), json!(["question", 1]));
        assert_eq!(answers(&gathered), ["\"a\""], "from {from}");
        let gathered = call(&mut node, from, "emit with ack", json!({"to": ["nobody's"]}), json!(["question", 1]));
        assert!(answers(&gathered).is_empty(), "from {from}");

        let word = json!(format!("from {from}"));
        let gathered = call(&mut node, from, "server emit with ack", json!({}), json!(["hello", word]));
        assert_eq!(answers(&gathered), ["\"roomd heard it\"", "\"roomd heard it\""], "the two other workers");
        for name in CLIENTS {
            let heard = ask(&mut node, name, "heard", json!([]));
            let times = heard.as_array().unwrap().iter().filter(|said| **said == word).count();
            assert_eq!(times, usize::from(name != from), "{name} hears {word} of the others: {heard}");
        }
    }
    let gone = id(&mut node, "c");
    call(&mut node, "a", "disconnect", json!({"to": [gone]}), json!([false]));
    let state =
        node.eventually("c is sent away", &json!({"do": "state", "name": "c"}), |state| state["connected"] == false);
    assert!(state["log"].to_string().contains("io server disconnect"), "{state}");
    let left = call(&mut node, "b", "fetch", json!({}), json!([]));
    assert_eq!(left["answers"].as_array().unwrap().len(), 2, "{left}");
    assert!(!cluster.log().contains("panicked"));
}

#[test]
fn every_call_over_the_embedded_bus() {
    every_call_from_every_worker(&Cluster::build(3).program("test_app").start());
}

#[test]
fn every_call_over_redis() {
    let redis = RedisServer::start(&[]);
    every_call_from_every_worker(&Cluster::build(3).program("test_app").redis(&redis.url()).start());
}

/// Requests count who is there: the dead are not waited for, the new ones are asked.
#[test]
fn requests_are_whole_again_after_each_workers_death() {
    let cluster = Cluster::build(3).program("test_app").start();
    let mut node = spread(&cluster, "/test");
    for slot in 0..3 {
        cluster.run(&["kill", &slot.to_string()]);
        cluster.await_ready();
        for name in CLIENTS {
            node.eventually("all clients are back", &json!({"do": "state", "name": name}), |state| {
                state["connected"] == true
            });
        }
        eventually("a whole answer", || {
            let found = call(&mut node, "a", "fetch", json!({}), json!([]));
            (found["answers"].as_array()?.len() == 3 && found["timeout"].is_null()).then_some(())
        });
    }
}

/// What ends Node servers with the official adapter, and odd forms that they take: all of it on a real Redis.
#[test]
fn what_strangers_publish_on_redis_harms_nobody() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/redis_hostile.json");
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let redis = RedisServer::start(&[]);
    let cluster = Cluster::build(3).redis(&redis.url()).start();
    let mut node = spread(&cluster, "");
    let (pids, ids) = (cluster.worker_pids(), CLIENTS.map(|name| id(&mut node, name)));
    let mut sent = 0;
    for case in vectors["cases"].as_array().unwrap() {
        let (Some(channel), Some(payload)) = (case["channel"].as_str(), case["payload_b64"].as_str()) else {
            continue;
        };
        assert!(
            redis.publish(channel, &STANDARD.decode(payload).unwrap()) >= 3,
            "the workers listen: {}",
            case["name"]
        );
        sent += 1;
        let text = format!("after {}", case["name"]);
        node.emit("a", "chatMessage", json!([text]));
        for name in CLIENTS {
            node.eventually(&text, &json!({"do": "events", "name": name, "event": "message"}), |events| {
                events.as_array().unwrap().iter().any(|args| args[0]["text"] == text.as_str())
            });
        }
    }
    assert!(sent >= 12, "{sent}");
    // The two forms of an event that Node delivers to all are delivered here; nothing else came of it.
    for name in CLIENTS {
        assert_eq!(node.events(name, "e"), [json!([1]), json!([2])], "{name}");
    }
    assert_eq!(CLIENTS.map(|name| id(&mut node, name)), ids, "nobody was disconnected");
    assert_eq!(cluster.worker_pids(), pids, "no worker died");
    assert!(!cluster.log().contains("panicked"));
}
