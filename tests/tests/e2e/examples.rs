//! The programs in `examples/` do what they say.

use roomd_tests::{Cluster, Node, http::Connection};
use serde_json::json;

#[test]
fn the_dashboard_hears_every_worker() {
    let cluster = Cluster::build(2).program("examples/dashboard").config("[app]\ninterval_ms = 50\n").start();
    assert!(Connection::open(cluster.address()).get("/").body.contains("<h1>Workers</h1>"));
    let mut node = Node::start("clients.mjs", &[]);
    node.connect("page", &cluster.url(), json!({"transports": ["websocket"]}));
    node.eventually("figures of both", &json!({"do": "events", "name": "page", "event": "load"}), |events| {
        let events = events.to_string();
        events.contains("\"worker\":\"0.1\"") && events.contains("\"worker\":\"1.1\"")
    });
}

#[test]
fn notifications_reach_all_pages_of_whom_they_are_for() {
    let cluster = Cluster::build(2).program("examples/notifications").start();
    let mut node = Node::start("clients.mjs", &[]);
    for (name, token) in [("ada 1", "ada"), ("ada 2", "ada"), ("bob", "bob")] {
        let auth = json!({"token": format!("token-of-{token}")});
        node.connect(name, &cluster.url(), json!({"transports": ["websocket"], "auth": auth}));
    }
    let mut connection = Connection::open(cluster.address());
    for (name, body) in [("ada", "{\"title\":\"Lunch\"}"), ("bob", "{\"title\":\"Dinner\"}")] {
        let length = body.len();
        connection.send(format!(
            "POST /notify/{name} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(connection.answer().unwrap().status, 202);
    }
    for (name, title) in [("ada 1", "Lunch"), ("ada 2", "Lunch"), ("bob", "Dinner")] {
        let request = json!({"do": "events", "name": name, "event": "notification"});
        let events = node.eventually("the notification", &request, |events| !events.as_array().unwrap().is_empty());
        assert_eq!(events, json!([[{"title": title, "text": ""}]]));
    }
    for total in [2, 4] {
        assert_eq!(node.ask(json!({"do": "ask", "name": "bob", "event": "read", "args": [2]})), json!(total));
    }
}
