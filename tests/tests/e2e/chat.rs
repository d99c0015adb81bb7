//! The built-in application with the official client, over each transport and each bus.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use roomd_tests::{Cluster, Node, RedisServer};
use serde_json::{Value, json};

/// Connects clients until there is one on each of two workers; their names.
fn on_two_workers(node: &mut Node, cluster: &Cluster, transports: &Value) -> [String; 2] {
    let mut first: Option<(String, u16)> = None;
    for number in 0..20 {
        let name = format!("client{number}");
        node.connect(&name, &cluster.url(), json!({"transports": transports}));
        let slot = slot(node, &name);
        match &first {
            None => first = Some((name, slot)),
            Some((other, of_other)) if *of_other != slot => return [other.clone(), name],
            Some(_) => {}
        }
    }
    panic!("twenty clients came to one worker");
}

/// The slot that a client's session lives in, by its sid.
fn slot(node: &mut Node, client: &str) -> u16 {
    let state = node.ask(json!({"do": "state", "name": client}));
    let bytes = URL_SAFE_NO_PAD.decode(state["sid"].as_str().unwrap()).unwrap();
    u16::from_be_bytes([bytes[3], bytes[4]])
}

fn texts(node: &mut Node, client: &str, user: &str) -> Vec<String> {
    let messages = node.events(client, "message").into_iter().map(|args| args[0].clone());
    messages
        .filter(|message| message["user"] == user)
        .map(|message| message["text"].as_str().unwrap().to_owned())
        .collect()
}

fn id(node: &mut Node, client: &str) -> String {
    node.ask(json!({"do": "state", "name": client}))["id"].as_str().unwrap().to_owned()
}

/// Every row of the contract's table, between two clients on two workers.
fn chat(cluster: &Cluster, transports: Value) {
    let mut node = Node::start("clients.mjs", &[]);
    let [a, b] = on_two_workers(&mut node, cluster, &transports);
    let (id_a, id_b) = (id(&mut node, &a), id(&mut node, &b));
    node.emit(&a, "chatMessage", json!(["hello, everybody"]));
    for client in [&a, &b] {
        let got = roomd_tests::eventually("the message to general", || texts(&mut node, client, &id_a).pop());
        assert_eq!(got, "hello, everybody");
    }
    let message = node
        .events(&b, "message")
        .into_iter()
        .map(|args| args[0].clone())
        .find(|m| m["user"] == id_a.as_str())
        .unwrap();
    assert!(message["timestamp"].as_u64().unwrap() > 1_600_000_000_000, "milliseconds: {message}");

    node.emit(&b, "joinRoom", json!(["blue"]));
    let joined = format!("Client {id_b} joined blue");
    roomd_tests::eventually("b is told that it joined", || {
        texts(&mut node, &b, "System").contains(&joined).then_some(())
    });
    node.emit(&a, "roomMessage", json!(["blue", "only for blue"]));
    let got = roomd_tests::eventually("the message to blue", || {
        texts(&mut node, &b, &id_a).into_iter().find(|t| t == "only for blue")
    });
    assert_eq!(got, "only for blue");
    // b left general with its join, and a never was in blue.
    node.emit(&b, "chatMessage", json!(["to general from outside"]));
    roomd_tests::eventually("a gets it", || {
        texts(&mut node, &a, &id_b).into_iter().find(|t| t == "to general from outside")
    });
    assert!(!texts(&mut node, &b, &id_b).contains(&"to general from outside".to_owned()));
    assert!(!texts(&mut node, &a, &id_a).contains(&"only for blue".to_owned()));

    let wrong = node.ask(json!({"do": "ask", "name": a, "event": "chatMessage", "args": [{"not": "a text"}]}));
    assert!(wrong["error"].as_str().unwrap().contains("wrong shape"), "{wrong}");

    node.ask(json!({"do": "disconnect", "name": b}));
    let gone = format!("Client {id_b} disconnected");
    roomd_tests::eventually("a is told that b left", || texts(&mut node, &a, "System").contains(&gone).then_some(()));
}

#[test]
fn websocket_over_the_embedded_bus() {
    chat(&Cluster::start(2), json!(["websocket"]));
}

#[test]
fn polling_over_the_embedded_bus() {
    chat(&Cluster::start(2), json!(["polling"]));
}

#[test]
fn upgrade_over_the_embedded_bus() {
    chat(&Cluster::start(2), json!(["polling", "websocket"]));
}

#[test]
fn websocket_over_redis() {
    let redis = RedisServer::start(&[]);
    chat(&Cluster::build(2).redis(&redis.url()).start(), json!(["websocket"]));
}

#[test]
fn polling_over_redis() {
    let redis = RedisServer::start(&[]);
    chat(&Cluster::build(2).redis(&redis.url()).start(), json!(["polling"]));
}

#[test]
fn upgrade_over_redis() {
    let redis = RedisServer::start(&[]);
    chat(&Cluster::build(2).redis(&redis.url()).start(), json!(["polling", "websocket"]));
}
