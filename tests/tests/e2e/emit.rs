//! Orders to clients from the command line and over HTTP.

use roomd_tests::{
    Cluster, Node, RedisServer, eventually,
    http::{Answer, Connection},
};
use serde_json::{Value, json};

const NAMESPACE: &str = "/test";

/// A cluster of two workers, and clients of it in `/test`: at least one on each worker.
struct Served {
    cluster: Cluster,
    clients: Node,
    names: Vec<String>,
    /// The official server beside it, with its client `node`.
    node: Option<Node>,
    redis: Option<RedisServer>,
}

impl Served {
    fn embedded() -> Served {
        Served::of(Cluster::build(2).program("test_app").start(), None, None)
    }

    fn with_node() -> Served {
        let redis = RedisServer::start(&[]);
        let node = Node::start("server.mjs", &[&redis.url()]);
        let cluster = Cluster::build(2).program("test_app").redis(&redis.url()).start();
        Served::of(cluster, Some(node), Some(redis))
    }

    fn of(cluster: Cluster, mut node: Option<Node>, redis: Option<RedisServer>) -> Served {
        let mut clients = Node::start("clients.mjs", &[]);
        let mut names = Vec::new();
        while names.len() < 2 || !each_worker_has_a_client(&cluster) {
            assert!(names.len() < 32, "all clients are on one worker");
            let name = format!("c{}", names.len());
            clients.connect(&name, &format!("{}{NAMESPACE}", cluster.url()), json!({"transports": ["websocket"]}));
            names.push(name);
            let all = names.len() as u64;
            cluster.eventually("all are counted", |status| (sockets(status).iter().sum::<u64>() == all).then_some(()));
        }
        if let Some(node) = &mut node {
            let url = format!("http://127.0.0.1:{}{NAMESPACE}", node.line()["port"]);
            clients.connect("node", &url, json!({"transports": ["websocket"]}));
            names.push("node".into());
        }
        Served { cluster, clients, names, node, redis }
    }

    fn join(&mut self, client: &str, room: &str) {
        let joined = self.clients.ask(json!({"do": "ask", "name": client, "event": "join", "args": [room]}));
        assert_eq!(joined, true);
    }

    fn rooms(&mut self, client: &str) -> String {
        self.clients.ask(json!({"do": "ask", "name": client, "event": "rooms", "args": []})).to_string()
    }

    fn post(&self, path: &str, order: &Value) {
        let answer = post(&self.cluster, path, "", &order.to_string());
        assert_eq!((answer.status, answer.body.as_str()), (202, r#"{"published":true}"#), "{order}");
    }

    /// Waits until these clients have got the event, and asserts that no other one has.
    fn assert_got(&mut self, event: &str, who: &[&str], args: &Value) {
        // Whoever has this one, and not the one before it, will not get it.
        self.cluster.run(&["emit", "end", "--namespace", NAMESPACE]);
        for name in self.names.clone() {
            self.clients.eventually("the end", &json!({"do": "events", "name": name, "event": "end"}), |ends| {
                ends.as_array().unwrap().len() == 1
            });
            let expected = if who.contains(&name.as_str()) { json!([args]) } else { json!([]) };
            assert_eq!(json!(self.clients.events(&name, event)), expected, "{name} {event}");
            self.clients.ask(json!({"do": "forget", "name": name}));
        }
    }

    /// All orders, from the command line and over HTTP.
    fn obey(mut self) {
        let all: Vec<String> = self.names.clone();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let (first, last) = (all[0], all[all.len() - 1]);
        for member in [first, last] {
            self.join(member, "red");
        }
        self.join(first, "shy");

        self.cluster.run(&["emit", "news", "5", "five", r#"{"a":[null]}"#, "--namespace", NAMESPACE]);
        self.assert_got("news", &all, &json!([5, "five", {"a": [null]}]));
        self.post("/emit", &json!({"namespace": NAMESPACE, "event": "news", "args": [{"é": 1.5}], "to": ["red"]}));
        self.assert_got("news", &[first, last], &json!([{"é": 1.5}]));
        self.cluster.run(&["emit", "news", "--namespace", NAMESPACE, "--to", "red", "--except", "shy"]);
        self.assert_got("news", &[last], &json!([]));
        self.post("/emit", &json!({"namespace": NAMESPACE, "event": "news", "to": ["red", "shy"], "volatile": true}));
        self.assert_got("news", &[first, last], &json!([]));
        // To another namespace: nobody here.
        self.post("/emit", &json!({"event": "news"}));
        self.cluster.run(&["emit", "news", "--namespace", NAMESPACE, "--to", "nobody"]);
        self.assert_got("news", &[], &json!([]));

        self.cluster.run(&["sockets", "join", "blue", "green", "--in", "red", "--namespace", NAMESPACE]);
        self.post("/sockets/join", &json!({"namespace": NAMESPACE, "rooms": ["every"], "all": true}));
        for client in &all {
            eventually("it is in the room of all", || self.rooms(client).contains("every").then_some(()));
            let is_red = *client == first || *client == last;
            assert_eq!(self.rooms(client).contains("blue"), is_red);
            assert_eq!(self.rooms(client).contains("green"), is_red);
        }
        self.post("/sockets/leave", &json!({"namespace": NAMESPACE, "rooms": ["blue"], "in": ["red"]}));
        self.cluster.run(&["sockets", "leave", "green", "--in", "red", "--namespace", NAMESPACE]);
        for client in [first, last] {
            eventually("it has left", || {
                let rooms = self.rooms(client);
                (!rooms.contains("blue") && !rooms.contains("green") && rooms.contains("red")).then_some(())
            });
        }

        self.post("/sockets/disconnect", &json!({"namespace": NAMESPACE, "in": ["shy"]}));
        self.assert_gone(first);
        for client in &all[1..] {
            assert_eq!(self.state(client)["connected"], true, "{client}");
        }
        self.cluster.run(&["sockets", "disconnect", "--all", "--close", "--namespace", NAMESPACE]);
        for client in &all[1..] {
            // After a close of the connection a client comes back by itself.
            eventually("it was closed", || self.state(client)["log"].to_string().contains("disconnect").then_some(()));
        }
        if let Some(node) = &mut self.node {
            assert_eq!(node.ask(json!({"do": "faults"})), json!([]), "nothing has harmed the Node server");
        }
        assert!(!self.cluster.log().contains("panicked"));
    }

    fn state(&mut self, client: &str) -> Value {
        self.clients.ask(json!({"do": "state", "name": client}))
    }

    fn assert_gone(&mut self, client: &str) {
        let state = self
            .clients
            .eventually("it is gone", &json!({"do": "state", "name": client}), |state| state["connected"] == false);
        assert!(state["log"].to_string().contains("io server disconnect"), "{state}");
    }
}

fn sockets(status: &Value) -> Vec<u64> {
    let workers = status["workers"].as_array().unwrap().iter();
    workers.map(|worker| worker["sockets"].as_u64().unwrap_or_default()).collect()
}

fn each_worker_has_a_client(cluster: &Cluster) -> bool {
    sockets(&cluster.status()).iter().all(|sockets| *sockets > 0)
}

fn post(cluster: &Cluster, path: &str, headers: &str, body: &str) -> Answer {
    let mut connection = Connection::open(cluster.admin());
    let length = body.len();
    connection.send(format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    ));
    connection.answer().expect("an answer")
}

#[test]
fn clients_of_all_workers_obey_over_the_embedded_bus() {
    Served::embedded().obey();
}

#[test]
fn clients_of_all_workers_and_of_a_node_server_obey_over_redis() {
    Served::with_node().obey();
}

#[test]
fn without_a_bus_an_order_is_refused_with_the_reason() {
    let mut served = Served::with_node();
    served.node = None;
    served.redis = None;
    served.cluster.eventually("the bus is down", |status| (status["bus"]["state"] == "down").then_some(()));
    let answer = post(&served.cluster, "/emit", "", r#"{"event":"x"}"#);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains("failed to publish: the bus is down ("), "{answer:?}");
    let output = served.cluster.command(&["emit", "x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("roomd: failed to publish: the bus is down ("));
}

#[test]
fn only_who_shows_the_token_orders_and_the_token_is_shown_nowhere() {
    const TOKEN: &str = "5ecret-5ecret-5ecret";
    let cluster = Cluster::build(1).environment("ROOMD_ADMIN_TOKEN", TOKEN).start();
    let order = r#"{"event":"x"}"#;
    for (header, status) in [
        (String::new(), 401),
        ("Authorization: Bearer 5ecret-5ecret-5ecreT\r\n".to_owned(), 401),
        (format!("Authorization: Basic {TOKEN}\r\n"), 401),
        (format!("Authorization: Bearer {TOKEN}\r\n"), 202),
        (format!("Authorization: Bearer {TOKEN}\r\nOrigin: https://dashboard.example\r\n"), 202),
    ] {
        assert_eq!(post(&cluster, "/emit", &header, order).status, status, "{header}");
    }
    // The control socket's own rights are enough.
    cluster.run(&["emit", "x"]);
    assert_eq!(Connection::open(cluster.admin()).get("/healthz").status, 200);
    let told = Connection::open(cluster.admin()).get("/status").body;
    assert!(!told.contains("5ecret") && !cluster.log().contains("5ecret"), "{told}");
    for pid in cluster.worker_pids() {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains("5ecret"), "a worker has it");
    }
}

#[test]
fn pages_and_strangers_are_refused() {
    let local = Cluster::build(1).start();
    let order = r#"{"event":"x"}"#;
    assert_eq!(post(&local, "/emit", "", order).status, 202);
    assert_eq!(post(&local, "/emit", "Origin: null\r\n", order).status, 403);
    // What a form of a page can send.
    assert_eq!(Connection::open(local.admin()).post("/emit", order).status, 415);
    assert_eq!(Connection::open(local.admin()).get("/emit").status, 405);
    assert_eq!(
        post(&local, "/emit", "", "{\"event\":\"x\",\"too\":[]}").body,
        r#"{"error":"unknown key `too`: did you mean `to`?"}"#
    );

    let open = Cluster::build(1).admin("0.0.0.0:0").start();
    let refused = post(&open, "/emit", "", order);
    assert!(refused.status == 403 && refused.body.contains("is not on loopback: set `token`"), "{refused:?}");
    let guarded = Cluster::build(1).admin("0.0.0.0:0").config("[admin]\ntoken = \"5ecret-5ecret-5ecret\"\n").start();
    assert_eq!(post(&guarded, "/emit", "Authorization: Bearer 5ecret-5ecret-5ecret\r\n", order).status, 202);
}

#[test]
fn mistakes_of_the_command_line_are_told_before_anything_is_published() {
    let cluster = Cluster::start(1);
    for (words, code, told) in [
        (&["sockets", "disconnect"][..], 2, "--in <ROOM>"),
        (&["sockets", "disconnect", "--in", ""], 2, "a name in `in` is empty"),
        (&["emit"], 2, "<EVENT>"),
        (&["emit", "disconnect"], 2, "Socket.IO uses this name itself"),
        (&["emit", "x", "--rom", "a"], 2, "'--rom'"),
    ] {
        let output = cluster.command(words);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {error}");
        assert!(error.starts_with("roomd: ") && error.contains(told) && error.lines().count() == 1, "{error}");
    }
    drop(cluster);
    let nowhere = std::process::Command::new(roomd_tests::program("roomd"))
        .args(["emit", "x", "--control", "/nowhere/control.sock"])
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("no cluster runs with the control socket"));
}
