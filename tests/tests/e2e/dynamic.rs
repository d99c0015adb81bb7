//! Namespaces that clients make: over the workers of a cluster, and together with an official server that has the same pattern.

use roomd_tests::{Cluster, Node, RedisServer};
use serde_json::{Value, json};

/// Connects a client; what it is told if it is refused.
fn connect(clients: &mut Node, name: &str, url: &str, auth: Value) -> Value {
    let options = json!({"transports": ["websocket"], "auth": auth, "expectError": true, "reconnection": false});
    clients.ask(json!({"do": "connect", "name": name, "url": url, "options": options}))["error"].clone()
}

/// A call of the whole cluster by a client's worker.
fn call(clients: &mut Node, client: &str, call: &str, target: Value, args: Value) -> Value {
    clients.ask(json!({"do": "ask", "name": client, "event": "cluster", "args": [call, target, args]}))
}

/// Waits until those clients have got the event once, with these arguments; asserts that the others have not.
fn assert_got(clients: &mut Node, all: &[&str], who: &[&str], event: &str, args: &Value) {
    for client in who {
        clients.eventually(
            &format!("{client} gets {event} {args}"),
            &json!({"do": "events", "name": client, "event": event}),
            |events| events == &json!([args]),
        );
    }
    for client in all {
        assert_eq!(clients.events(client, event).len(), usize::from(who.contains(client)), "{client}: {event}");
        clients.ask(json!({"do": "forget", "name": client}));
    }
}

fn sockets(status: &Value) -> Vec<u64> {
    status["workers"].as_array().unwrap().iter().map(|worker| worker["sockets"].as_u64().unwrap()).collect()
}

/// Clients of `/dyn-7` until each worker has one; their names.
fn spread(cluster: &Cluster, clients: &mut Node) -> Vec<String> {
    let mut names = Vec::new();
    while cluster.eventually("all are counted", |status| {
        let counts = sockets(status);
        (counts.iter().sum::<u64>() == names.len() as u64).then(|| counts.contains(&0))
    }) {
        assert!(names.len() < 32, "all clients are on one worker");
        let name = format!("c{}", names.len());
        assert_eq!(connect(clients, &name, &format!("{}/dyn-7", cluster.url()), json!({})), Value::Null);
        names.push(name);
    }
    names
}

#[test]
fn a_child_spans_the_workers_and_clients_are_let_in_by_pattern_function_and_middleware() {
    let cluster = Cluster::build(2).program("test_app").start();
    let mut clients = Node::start("clients.mjs", &[]);
    let names = spread(&cluster, &mut clients);
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    let of_seven = all.clone();
    for (name, of, auth, error) in [
        ("other", "/dyn-8", json!({}), Value::Null),
        ("function", "/fn-7", json!({"token": "open sesame"}), Value::Null),
        ("no token", "/fn-8", json!({"token": "please"}), json!("Invalid namespace")),
        ("no match", "/dyn-7a", json!({}), json!("Invalid namespace")),
        ("refused", "/dyn-9", json!({"no": true}), json!("as the client wants")),
    ] {
        let url = format!("{}{of}", cluster.url());
        assert_eq!(connect(&mut clients, name, &url, auth), error, "{name}");
        if error.is_null() {
            all.push(name);
            clients.eventually(name, &json!({"do": "events", "name": name, "event": "welcome"}), |events| {
                events == &json!([[of]])
            });
        }
    }
    all.iter().for_each(|client| drop(clients.ask(json!({"do": "forget", "name": client}))));

    // From inside, from other children, and from the command line.
    for (from, target) in [("c0", json!({})), ("other", json!({"of": "/dyn-7"})), ("function", json!({"of": "/dyn-7"}))]
    {
        assert_eq!(call(&mut clients, from, "emit", target.clone(), json!(["word", from])), true);
        assert_got(&mut clients, &all, &of_seven, "word", &json!([from]));
        let found = call(&mut clients, from, "fetch", target.clone(), json!([]));
        assert_eq!(found["answers"].as_array().unwrap().len(), of_seven.len(), "{found}");
        let answered = call(&mut clients, from, "emit with ack", target, json!(["question", 1]));
        assert_eq!(answered["answers"].as_array().unwrap().len(), of_seven.len(), "{answered}");
        assert_got(&mut clients, &all, &of_seven, "question", &json!([1]));
    }
    cluster.run(&["emit", "word", "\"from outside\"", "--namespace", "/dyn-7"]);
    assert_got(&mut clients, &all, &of_seven, "word", &json!(["from outside"]));

    // The last one leaves, and the next one finds it as it was.
    for name in &names {
        clients.ask(json!({"do": "disconnect", "name": name}));
    }
    cluster.eventually("they have left", |status| (sockets(status).iter().sum::<u64>() == 2).then_some(()));
    let found = call(&mut clients, "other", "fetch", json!({"of": "/dyn-7"}), json!([]));
    assert_eq!(found, json!({"answers": []}));
    assert_eq!(connect(&mut clients, "again", &format!("{}/dyn-7", cluster.url()), json!({})), Value::Null);
    call(&mut clients, "other", "emit", json!({"of": "/dyn-7"}), json!(["word", "again"]));
    assert_got(&mut clients, &["again", "other", "function"], &["again"], "word", &json!(["again"]));
    assert!(!cluster.log().contains("panicked"));
}

#[test]
fn a_child_spans_official_servers_with_the_same_pattern() {
    let redis = RedisServer::start(&[]);
    let mut server = Node::start("server.mjs", &[&redis.url()]);
    let port = server.line()["port"].clone();
    let cluster = Cluster::build(2).program("test_app").redis(&redis.url()).start();
    let mut clients = Node::start("clients.mjs", &[]);
    let names = spread(&cluster, &mut clients);
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    for (name, of) in [("n1", "/dyn-7"), ("n2", "/dyn-8")] {
        assert_eq!(connect(&mut clients, name, &format!("http://127.0.0.1:{port}{of}"), json!({})), Value::Null);
    }
    all.push("n1");
    let of_seven = all.clone();
    all.push("n2");
    assert_eq!(connect(&mut clients, "r", &format!("{}/dyn-9", cluster.url()), json!({})), Value::Null);
    all.push("r");
    let of = json!({"of": "/dyn-7"});
    // Subscriptions are confirmed in their own time: whoever is found has made its.
    let found = |clients: &mut Node| call(clients, "r", "fetch", json!({"of": "/dyn-7"}), json!([]));
    assert_eq!(found(&mut clients)["answers"].as_array().unwrap().len(), of_seven.len());
    let asked = json!({"do": "cluster", "of": "/dyn-7", "call": "fetch"});
    let servers = server.ask(asked);
    assert_eq!(servers.as_array().unwrap().len(), of_seven.len());
    all.iter().for_each(|client| drop(clients.ask(json!({"do": "forget", "name": client}))));

    for (from, target) in [("c0", json!({})), ("r", of.clone())] {
        assert_eq!(call(&mut clients, from, "emit", target.clone(), json!(["word", from])), true);
        assert_got(&mut clients, &all, &of_seven, "word", &json!([from]));
        let answered = call(&mut clients, from, "emit with ack", target.clone(), json!(["question", 1]));
        assert_eq!(answered["answers"].as_array().unwrap().len(), of_seven.len(), "{answered}");
        assert_got(&mut clients, &all, &of_seven, "question", &json!([1]));
        let heard = call(&mut clients, from, "server emit with ack", target, json!(["hello", 1]));
        assert!(heard["answers"].as_array().unwrap().contains(&json!("node heard it")), "{heard}");
    }
    server.ask(json!({"do": "cluster", "of": "/dyn-7", "call": "emit", "args": ["word", "from node"]}));
    assert_got(&mut clients, &all, &of_seven, "word", &json!(["from node"]));
    let heard = server.ask(json!({"do": "serverEmitWithAck", "of": "/dyn-7", "event": "hello", "args": [1]}));
    assert_eq!(heard, json!(["roomd heard it", "roomd heard it"]));
    let mut emitter = Node::start("emitter.mjs", &[&redis.url()]);
    emitter.ask(json!({"do": "emit", "of": "/dyn-7", "event": "word", "args": ["from the emitter"]}));
    assert_got(&mut clients, &all, &of_seven, "word", &json!(["from the emitter"]));
    cluster.run(&["emit", "word", "\"from outside\"", "--namespace", "/dyn-7"]);
    assert_got(&mut clients, &all, &of_seven, "word", &json!(["from outside"]));

    for name in &names {
        clients.ask(json!({"do": "disconnect", "name": name}));
    }
    cluster.eventually("they have left", |status| (sockets(status).iter().sum::<u64>() == 1).then_some(()));
    assert_eq!(found(&mut clients)["answers"].as_array().unwrap().len(), 1, "the official server's");
    assert_eq!(server.ask(json!({"do": "faults"})), json!([]), "nothing we published has harmed the official server");
    assert!(!cluster.log().contains("panicked"));
}
