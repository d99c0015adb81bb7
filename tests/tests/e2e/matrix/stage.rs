//! Two servers, four clients, and the record of what happens to them.

use std::collections::HashMap;

use roomd_tests::{Cluster, Node, RedisServer};
use serde_json::{Value, json};

/// The clients: the first two are the asked server's, the others the other one's.
pub const CLIENTS: [&str; 4] = ["a1", "a2", "b1", "b2"];

/// Who is in which room when a row begins.
const ROOMS: [(&str, &[&str]); 3] = [("red", &["a1", "b1"]), ("green", &["b2"]), ("shy", &["a2", "b1"])];

/// The rooms that rows make.
pub const NEW_ROOMS: [&str; 4] = ["new", "newer", "42", "1.5"];

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ours,
    Node,
}

enum Server {
    Ours(Cluster),
    Node { program: Node, url: String },
}

impl Server {
    fn start(kind: Kind, redis: &RedisServer) -> Server {
        if kind == Kind::Ours {
            return Server::Ours(Cluster::build(1).program("matrix_app").redis(&redis.url()).start());
        }
        let mut program = Node::start("matrix.mjs", &[&redis.url()]);
        let url = format!("http://127.0.0.1:{}", program.line()["port"]);
        Server::Node { program, url }
    }

    fn url(&self) -> String {
        match self {
            Server::Ours(cluster) => cluster.url(),
            Server::Node { url, .. } => url.clone(),
        }
    }
}

/// Where rows are played.
pub struct Stage {
    /// One where both A and B are workers of it.
    servers: Vec<Server>,
    /// The official emitter; none without Redis.
    emitter: Option<Node>,
    clients: Node,
    /// The names under which the programs know the clients that tell A and B what to do.
    control: [String; 2],
    /// The same for each of the row's clients.
    known: HashMap<&'static str, String>,
    ids: HashMap<String, &'static str>,
    namespace: &'static str,
    lines: Vec<String>,
    connected: usize,
    fences: usize,
    /// There are rooms or clients to be put right behind the row.
    changed: bool,
    /// The emitter has acted since the last fence.
    emitted: bool,
    _redis: Option<RedisServer>,
}

impl Stage {
    /// Two servers over Redis; the first one is A.
    pub fn start(a: Kind, b: Kind) -> Stage {
        let redis = RedisServer::start(&[]);
        let servers = [a, b].map(|kind| Server::start(kind, &redis)).into();
        let emitter = Node::start("emitter.mjs", &[&redis.url()]);
        Stage::with(servers, Some(redis), Some(emitter))
    }

    /// Two workers over the embedded bus.
    pub fn embedded() -> Stage {
        Stage::with(vec![Server::Ours(Cluster::build(2).program("matrix_app").start())], None, None)
    }

    fn with(servers: Vec<Server>, redis: Option<RedisServer>, emitter: Option<Node>) -> Stage {
        let clients = Node::start("clients.mjs", &[]);
        let mut stage = Stage {
            servers,
            emitter,
            clients,
            control: Default::default(),
            known: HashMap::new(),
            ids: HashMap::new(),
            namespace: "/control",
            lines: Vec::new(),
            connected: 0,
            fences: 0,
            changed: false,
            emitted: false,
            _redis: redis,
        };
        let (a, _) = stage.connect(0, "A");
        stage.control[0] = a;
        let (b, _) = stage.connect_until("B", |stage, id| !stage.is_of_a(id));
        stage.control[1] = b;
        stage
    }

    /// Whether this stage has what a row needs.
    pub fn can_play(&self, row: &str) -> bool {
        self.emitter.is_some() || !row.starts_with("emitter")
    }

    /// Connects the clients to a namespace.
    pub fn enter(&mut self, namespace: &'static str) {
        self.namespace = namespace;
        self.known.clear();
        for client in CLIENTS {
            self.place(client);
        }
        self.changed = true;
        self.clean();
    }

    /// Connects a client to the server that its name tells.
    fn place(&mut self, client: &'static str) {
        let wants_a = client.starts_with('a');
        let (known, id) = self.connect_until(client, |stage, id| stage.is_of_a(id) == wants_a);
        self.known.insert(client, known);
        self.ids.retain(|_, name| *name != client);
        self.ids.insert(id, client);
    }

    /// Connects clients until one is where it shall be. Workers of one roomd share an address, and clients spread over them.
    fn connect_until(&mut self, name: &str, suits: impl Fn(&mut Self, &str) -> bool) -> (String, String) {
        let server = usize::from(!name.starts_with(['a', 'A'])).min(self.servers.len() - 1);
        let mut elsewhere = Vec::new();
        let found = loop {
            let (known, id) = self.connect(server, name);
            if suits(self, &id) {
                break (known, id);
            }
            elsewhere.push(known);
            assert!(elsewhere.len() < 20, "clients spread over the workers");
        };
        for known in elsewhere {
            self.clients.ask(json!({"do": "disconnect", "name": known}));
        }
        found
    }

    fn connect(&mut self, server: usize, name: &str) -> (String, String) {
        self.connected += 1;
        let known = format!("{name} {}", self.connected);
        let options = json!({
            "transports": ["websocket"], "reconnection": false, "auth": {"name": name}, "query": {"word": "a ü"},
            "extraHeaders": {"x-test": "a, b"},
        });
        let url = self.servers[server].url();
        self.clients.connect(&known, &format!("{url}{}", self.namespace), options);
        let state = self.clients.ask(json!({"do": "state", "name": known}));
        (known, state["id"].as_str().unwrap().to_owned())
    }

    fn is_of_a(&mut self, id: &str) -> bool {
        let found = self.ask(0, "fetch", json!({"local": true}), json!([]));
        found["answers"].as_array().unwrap().iter().any(|socket| socket["id"] == id)
    }

    /// Makes A (0) or B (1) call, and gives its answer as it is.
    fn ask(&mut self, server: usize, call: &str, mut target: Value, args: Value) -> Value {
        target["of"] = json!(self.namespace);
        let request = json!([call, self.with_ids(target), args]);
        let control = &self.control[server];
        self.clients.ask(json!({"do": "order", "name": control, "event": "cluster", "args": request}))
    }

    /// Makes A call; its answer is recorded, if it gives one.
    pub fn call(&mut self, call: &str, target: Value, args: Value) {
        let answer = self.ask(0, call, target, args);
        if answer != Value::Null {
            self.record_answer(call, answer);
        }
    }

    /// Makes the official emitter act.
    pub fn emitter(&mut self, request: Value) {
        self.emitted = true;
        self.emit_by_emitter(request);
    }

    fn emit_by_emitter(&mut self, mut request: Value) {
        request["of"] = json!(self.namespace);
        let request = self.with_ids(request);
        self.emitter.as_mut().unwrap().ask(request);
    }

    /// Makes a client answer so from now on; `null` makes it silent.
    pub fn client_answers(&mut self, client: &str, args: &Value) {
        let name = &self.known[client];
        self.clients.ask(json!({"do": "mute", "name": name, "mute": args.is_null()}));
        if !args.is_null() {
            self.clients.ask(json!({"do": "answers", "name": name, "args": args}));
        }
    }

    /// What happened to rooms or clients is undone behind this row.
    pub fn change(&mut self) {
        self.changed = true;
    }

    /// Records who is in which rooms, as each server knows it of its own clients.
    pub fn record_rooms(&mut self) {
        self.fence();
        for server in [0, 1] {
            let found = self.ask(server, "fetch", json!({"local": true}), json!([]));
            let mut sockets = found["answers"].clone();
            self.plain(&mut sockets);
            sort(&mut sockets);
            for socket in sockets.as_array_mut().unwrap() {
                sort(&mut socket["rooms"]);
                self.lines.push(format!("{} is in {}", socket["id"], socket["rooms"]));
            }
        }
    }

    /// Records what B heard of other servers, and A.
    pub fn record_heard(&mut self) {
        self.fence();
        for (server, name) in [(0, "A"), (1, "B")] {
            let heard = self.ask(server, "heard", json!({}), json!([]));
            self.lines.push(format!("{name} heard {}", heard));
        }
    }

    /// Ends a row: what the clients got is recorded, and all is as before.
    pub fn end_row(&mut self) -> Vec<String> {
        self.fence();
        let known: Vec<_> = CLIENTS.map(|client| &self.known[client]).into();
        let taken = self.clients.ask(json!({"do": "take", "names": known}));
        let mut gone = Vec::new();
        for (client, taken) in CLIENTS.into_iter().zip(taken.as_array().unwrap()) {
            let is_fence = |event: &&Value| event["event"].as_str().unwrap().starts_with("fence ");
            for got in taken["events"].as_array().unwrap().iter().filter(|event| !is_fence(event)) {
                self.lines.push(format!("{client} got {} {}", got["event"], got["args"]));
            }
            for entry in taken["log"].as_array().unwrap().iter().filter(|entry| entry["connect"].is_null()) {
                self.lines.push(format!("{client} {entry}"));
            }
            if taken["connected"] != true {
                gone.push(client);
            }
        }
        self.changed |= !gone.is_empty();
        gone.into_iter().for_each(|client| self.place(client));
        self.clean();
        std::mem::take(&mut self.lines)
    }

    /// Puts the clients into their rooms, and out of all others.
    fn clean(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let new: Vec<_> = NEW_ROOMS.into_iter().map(Value::from).chain([json!(42), json!(1.5)]).collect();
        let usual = ROOMS.map(|(room, _)| Value::from(room));
        let rooms = [usual.as_slice(), &new].concat();
        self.ask(0, "leave", json!({}), json!([rooms]));
        for (room, members) in ROOMS {
            let members: Vec<_> = members.iter().map(|client| format!("<{client}>")).collect();
            self.ask(0, "join", json!({"to": members}), json!([room]));
        }
        self.fence();
        let known: Vec<_> = CLIENTS.map(|client| &self.known[client]).into();
        self.clients.ask(json!({"do": "take", "names": known}));
    }

    /// Waits until all that was published so far has arrived: from A at B's clients, from B at A's, so that what A orders, which
    /// reaches itself by Redis too in Node, has been carried out; and what the emitter sent.
    pub fn fence(&mut self) {
        let emitter = std::mem::take(&mut self.emitted).then_some(2);
        for from in emitter.into_iter().chain([0, 1]) {
            self.fences += 1;
            let event = format!("fence {}", self.fences);
            match from {
                2 => self.emit_by_emitter(json!({"do": "emit", "event": event})),
                server => drop(self.ask(server, "emit", json!({}), json!([event]))),
            }
            let known: Vec<_> = CLIENTS.map(|client| &self.known[client]).into();
            let late = self.clients.ask(json!({"do": "settle", "names": known, "event": event}));
            assert_eq!(late, json!([]), "all clients of {} get {event}", self.namespace);
        }
    }

    /// Nothing that was published has harmed the Node servers.
    pub fn close(mut self) {
        for server in &mut self.servers {
            match server {
                Server::Ours(cluster) => assert!(!cluster.log().contains("panicked"), "{}", cluster.log()),
                Server::Node { program, .. } => assert_eq!(program.ask(json!({"do": "faults"})), json!([])),
            }
        }
    }

    fn record_answer(&mut self, call: &str, mut answer: Value) {
        self.plain(&mut answer);
        if let Some(answers) = answer["answers"].as_array_mut() {
            for socket in answers.iter_mut().filter(|_| call == "fetch") {
                sort(&mut socket["rooms"]);
                without_chance(&mut socket["handshake"]);
            }
            answers.sort_by_key(Value::to_string);
        }
        for mut one in answer["answers"].as_array().into_iter().flatten().cloned() {
            let handshake = one.as_object_mut().filter(|_| call == "fetch").and_then(|one| one.remove("handshake"));
            for (field, value) in handshake.iter().filter_map(Value::as_object).flatten() {
                self.lines.push(format!("{} handshake {field}: {value}", one["id"]));
            }
            self.lines.push(format!("answer {}", one));
        }
        self.lines.push(format!("timeout {}", answer["timeout"] == true));
    }

    /// With ids for the names of clients in angle brackets.
    fn with_ids(&self, mut value: Value) -> Value {
        let ids: HashMap<_, _> = self.ids.iter().map(|(id, name)| (format!("<{name}>"), id)).collect();
        change_texts(&mut value, &|text| ids.get(text).map(|id| id.to_string()));
        value
    }

    /// With names for ids.
    fn plain(&self, value: &mut Value) {
        change_texts(value, &|text| self.ids.get(text).map(|name| format!("<{name}>")));
    }
}

/// Without what differs in every connection.
fn without_chance(handshake: &mut Value) {
    let Some(fields) = handshake.as_object_mut() else { return };
    for (field, value) in fields {
        match field.as_str() {
            "time" => *value = json!(value.as_str().is_some_and(|time| time.contains(" GMT"))),
            "issued" => *value = json!(value.is_u64()),
            "headers" => {
                value["host"] = json!("HOST");
                value["sec-websocket-key"] = json!("KEY");
            }
            _ => {}
        }
    }
}

fn change_texts(value: &mut Value, change: &impl Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(new) = change(text) {
                *text = new;
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| change_texts(value, change)),
        Value::Object(object) => object.values_mut().for_each(|value| change_texts(value, change)),
        _ => {}
    }
}

fn sort(list: &mut Value) {
    if let Some(list) = list.as_array_mut() {
        list.sort_by_key(Value::to_string);
    }
}
