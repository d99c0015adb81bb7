//! Workers inside the test's own process, on real control sockets, with a small supervisor between them.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::Future,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use roomd_wire::{
    BusConfig, BusHealth, ConnectionId, Generation, Link, PROTOCOL_VERSION, PeerAddress, Slot, SocketIoConfig,
    ToSupervisor, ToWorker, WorkerConfig, WorkerId, WorkerStats,
};
use roomd_worker::{
    engine::{CloseReason, Engine, Handshake, HttpService, SessionHandler, SessionKey},
    protocol::{Data, Encoded},
    run::{Layers, Setup, work},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

/// How many bytes a file has that is more than the system takes for one who does not read.
pub const LARGE: usize = 50_000_000;

/// Runs a test inside a `LocalSet`, with a limit of its time.
pub fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(30), test()).await.expect("the test took too long");
    });
}

/// Waits until something is true.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("in vain: {what}");
}

/// What a supervisor knows of its workers.
pub struct Cluster(Rc<Inner>);

struct Inner {
    links: RefCell<HashMap<WorkerId, Rc<Link<ToWorker, ToSupervisor>>>>,
    next: Cell<u64>,
    accepted: RefCell<Vec<u64>>,
    closed: RefCell<Vec<u64>>,
    /// Duplicates of one end of each stream between workers.
    relays: RefCell<Vec<OwnedFd>>,
    moves: Cell<usize>,
}

/// One worker.
pub struct Worker {
    pub id: WorkerId,
    pub engine: Engine,
    /// What its layer above heard.
    pub heard: Rc<RefCell<Vec<String>>>,
    pub stats: Rc<RefCell<WorkerStats>>,
    pub ended: Rc<Cell<bool>>,
    pub handshakes: Rc<RefCell<Vec<Rc<Handshake>>>>,
    cluster: Rc<Inner>,
}

/// The layer above: echoes, and obeys a few words.
struct Echo {
    engine: Engine,
    heard: Rc<RefCell<Vec<String>>>,
    handshakes: Rc<RefCell<Vec<Rc<Handshake>>>>,
    sessions: RefCell<Vec<SessionKey>>,
}

/// A text message.
pub fn message(text: &str) -> Encoded {
    Encoded::engine(&format!("4{text}"))
}

impl SessionHandler for Echo {
    fn opened(&self, session: SessionKey, handshake: Rc<Handshake>) {
        self.heard.borrow_mut().push("opened".into());
        self.handshakes.borrow_mut().push(handshake);
        self.sessions.borrow_mut().push(session);
    }

    fn text(&self, session: SessionKey, data: &str) {
        self.heard.borrow_mut().push(format!("text {data}"));
        match data.split_once(' ').unwrap_or((data, "")) {
            ("close", _) => {
                self.engine.send(session, &message("bye"));
                self.engine.close(session, CloseReason::ForcedClose);
            }
            ("silence", _) => {}
            ("panic", _) => panic!("asked to"),
            ("volatile", text) => self.engine.send_volatile(session, &message(text)),
            ("all", text) => self.engine.send_many(self.sessions.borrow().iter().copied(), &message(text)),
            ("repeat", count) => {
                for number in 0..count.parse().unwrap_or(0) {
                    self.engine.send(session, &message(&format!("{number:0100}")));
                }
            }
            ("big", bytes) => self.engine.send(session, &message(&"x".repeat(bytes.parse().unwrap_or(0)))),
            _ => self.engine.send(session, &message(data)),
        }
    }

    fn binary(&self, session: SessionKey, data: Bytes) {
        self.heard.borrow_mut().push(format!("binary {data:?}"));
        let args = Data::new("[\"b\",{\"_placeholder\":true,\"num\":0}]".into(), vec![data]).unwrap();
        self.engine.send(session, &Encoded::event("/", None, &args));
    }

    fn closed(&self, session: SessionKey, reason: CloseReason) {
        self.sessions.borrow_mut().retain(|known| *known != session);
        self.heard.borrow_mut().push(format!("closed {reason}"));
    }
}

/// The options of a test: fast enough to wait for.
pub fn options() -> SocketIoConfig {
    SocketIoConfig { max_payload_bytes: 100_000, max_queue_bytes: 1_000_000, ..SocketIoConfig::default() }
}

impl Cluster {
    pub fn new() -> Cluster {
        Cluster(Rc::new(Inner {
            links: RefCell::default(),
            next: Cell::new(0),
            accepted: RefCell::default(),
            closed: RefCell::default(),
            relays: RefCell::default(),
            moves: Cell::new(0),
        }))
    }

    /// Starts a worker and waits until it is ready.
    pub async fn worker(&self, slot: u16, options: SocketIoConfig) -> Worker {
        let id = WorkerId { slot: Slot(slot), generation: Generation(1) };
        let config = WorkerConfig {
            orphan: None,
            id,
            host: 7,
            workers: 2,
            socketio: options,
            bus: BusConfig::Embedded,
            bus_wait_ms: 0,
            trusted_proxies: vec!["127.0.0.0/8".into()],
            app: serde_json::Value::Null,
        };
        let (link, socket) = Link::pair().unwrap();
        let link = Rc::new(link);
        let (heard, handshakes) = <(Rc<_>, Rc<_>)>::default();
        let stats: Rc<RefCell<WorkerStats>> = Rc::default();
        let engine = Rc::new(RefCell::new(None));
        let ended = Rc::new(Cell::new(false));
        tokio::task::spawn_local({
            let (heard, handshakes, engine, ended) =
                (Rc::clone(&heard), Rc::clone(&handshakes), engine.clone(), ended.clone());
            async move {
                let result = work(socket, async |setup: Setup<'_>| {
                    *engine.borrow_mut() = Some(setup.engine.clone());
                    let echo = Echo { engine: setup.engine.clone(), heard, handshakes, sessions: RefCell::default() };
                    Ok(Layers {
                        handler: Rc::new(echo),
                        service: HttpService::files(|head| match head.uri.path() {
                            "/" => Some(http::Response::new(Bytes::from_static(b"a page"))),
                            "/large" => Some(http::Response::new(vec![b'x'; LARGE].into())),
                            _ => None,
                        }),
                        bus: tokio::sync::watch::channel(BusHealth { up: true, ..BusHealth::default() }).1,
                        start: Box::pin(std::future::ready(Ok(()))),
                        rejoin: Box::new(drop),
                        lead: Box::new(|_| {}),
                        stop: Box::pin(std::future::ready(())),
                        report: Box::new(|_| {}),
                    })
                })
                .await;
                result.unwrap();
                ended.set(true);
            }
        });
        let (hello, _) = link.recv().await.unwrap().unwrap();
        assert_eq!(hello, ToSupervisor::Hello { protocol: PROTOCOL_VERSION, pid: std::process::id() });
        link.send(&ToWorker::Start { protocol: PROTOCOL_VERSION, config: Box::new(config) }, &[]).await.unwrap();
        while link.recv().await.unwrap().unwrap().0 != ToSupervisor::Ready {}
        self.0.links.borrow_mut().insert(id, link.clone());
        tokio::task::spawn_local(supervise(self.0.clone(), id, link, stats.clone()));
        let engine = engine.borrow().clone().unwrap();
        Worker { id, engine, heard, stats, ended, handshakes, cluster: self.0.clone() }
    }

    pub fn relays(&self) -> usize {
        self.0.relays.borrow().len()
    }

    /// Ends all streams between workers.
    pub fn cut_relays(&self) {
        for relay in self.0.relays.borrow().iter() {
            rustix::net::shutdown(relay, rustix::net::Shutdown::Both).unwrap();
        }
    }

    pub fn moves(&self) -> usize {
        self.0.moves.get()
    }

    /// Whether every connection that was handed out has ended.
    pub fn all_closed(&self) -> bool {
        self.0.closed.borrow().len() as u64 == self.0.next.get()
    }

    pub fn all_accepted(&self) -> bool {
        self.0.accepted.borrow().len() as u64 >= self.0.next.get()
    }
}

impl Inner {
    fn other_than(&self, id: WorkerId) -> Option<Rc<Link<ToWorker, ToSupervisor>>> {
        self.links.borrow().iter().find(|(other, _)| **other != id).map(|(_, link)| link.clone())
    }
}

/// Reads what a worker says, and carries descriptors between workers.
async fn supervise(
    cluster: Rc<Inner>,
    id: WorkerId,
    link: Rc<Link<ToWorker, ToSupervisor>>,
    stats: Rc<RefCell<WorkerStats>>,
) {
    while let Some((message, descriptors)) = link.recv().await.unwrap_or(None) {
        match message {
            ToSupervisor::Accepted { id } => cluster.accepted.borrow_mut().push(id.0),
            ToSupervisor::Closed { id } => cluster.closed.borrow_mut().push(id.0),
            ToSupervisor::Stats(new) => *stats.borrow_mut() = *new,
            ToSupervisor::OpenRelay { to } => {
                // Dropped if the target does not live.
                let target = cluster.links.borrow().get(&to).cloned();
                if let Some(target) = target {
                    cluster.relays.borrow_mut().push(descriptors[0].try_clone().unwrap());
                    let message = ToWorker::Relay { from: id, newcomer: None };
                    target.send(&message, &[descriptors[0].as_fd()]).await.unwrap();
                }
            }
            ToSupervisor::RelayNewcomer { peer } => {
                if let Some(target) = cluster.other_than(id) {
                    let message = ToWorker::Relay { from: id, newcomer: Some(peer) };
                    target.send(&message, &[descriptors[0].as_fd()]).await.unwrap();
                }
            }
            ToSupervisor::Move { id: connection, to, read } => {
                cluster.moves.set(cluster.moves.get() + 1);
                let target = match to {
                    Some(to) => cluster.links.borrow()[&to].clone(),
                    None => cluster.other_than(id).unwrap(),
                };
                let message = ToWorker::Connection { id: connection, peer: peer(), moved: true, read };
                target.send(&message, &[descriptors[0].as_fd()]).await.unwrap();
            }
            _ => {}
        }
    }
    cluster.links.borrow_mut().remove(&id);
}

fn peer() -> PeerAddress {
    PeerAddress::Ip([127, 0, 0, 1].into(), 4321)
}

impl Worker {
    /// A client's connection to this worker.
    pub async fn connect(&self) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        self.hand_over(server.into_std().unwrap().into()).await;
        client
    }

    pub async fn hand_over(&self, socket: OwnedFd) {
        let id = ConnectionId(self.cluster.next.replace(self.cluster.next.get() + 1));
        let message = ToWorker::Connection { id, peer: peer(), moved: false, read: Vec::new() };
        self.tell(message, Some(&socket)).await;
    }

    pub async fn tell(&self, message: ToWorker, socket: Option<&OwnedFd>) {
        let link = self.cluster.links.borrow()[&self.id].clone();
        let descriptors: Vec<_> = socket.iter().map(|socket| socket.as_fd()).collect();
        link.send(&message, &descriptors).await.unwrap();
    }

    /// Cuts the control socket, as a dead supervisor does.
    pub fn cut(&self) {
        let link = self.cluster.links.borrow_mut().remove(&self.id).unwrap();
        rustix::net::shutdown(&*link, rustix::net::Shutdown::Both).unwrap();
    }

    /// Sends one request on a connection of its own and reads the whole answer.
    pub async fn request(&self, request: &str) -> Reply {
        let mut client = self.connect().await;
        client.write_all(request.as_bytes()).await.unwrap();
        read_reply(&mut client).await
    }

    /// A GET of the Socket.IO path with this query.
    pub async fn get(&self, query: &str) -> Reply {
        self.request(&get(query)).await
    }

    pub async fn post(&self, query: &str, body: &str) -> Reply {
        self.request(&post(query, body)).await
    }

    /// A new polling session's id.
    pub async fn handshake(&self) -> String {
        let reply = self.get("EIO=4&transport=polling").await;
        assert_eq!(reply.status, 200);
        sid_of(&reply.body)
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.borrow().clone()
    }
}

pub fn sid_of(open: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    json["sid"].as_str().unwrap().to_owned()
}

pub fn get(query: &str) -> String {
    format!("GET /socket.io/?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

pub fn post(query: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /socket.io/?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// An HTTP answer.
#[derive(Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    /// `name: value`, names in lower case, sorted, without the date.
    pub headers: Vec<String>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Reads one answer from a connection that may be kept alive.
pub async fn read_reply(client: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let mut byte = [0];
        assert_eq!(client.read(&mut byte).await.unwrap(), 1, "closed after {:?}", String::from_utf8_lossy(&bytes));
        bytes.push(byte[0]);
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.trim_end().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers: Vec<String> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| format!("{}: {value}", name.to_lowercase()))
        .filter(|line| !line.starts_with("date: "))
        .collect();
    headers.sort();
    let mut reply = Reply { status, headers, body: String::new() };
    let body = if reply.header("transfer-encoding") == Some("chunked") {
        read_chunks(client).await
    } else {
        let mut body = vec![0; reply.header("content-length").map_or(0, |length| length.parse().unwrap())];
        client.read_exact(&mut body).await.unwrap();
        body
    };
    reply.body = String::from_utf8(body).unwrap();
    reply
}

async fn read_chunks(client: &mut TcpStream) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        while !line.ends_with("\r\n") {
            line.push(client.read_u8().await.unwrap().into());
        }
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        client.read_exact(&mut chunk).await.unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..length]);
    }
}

/// Reads until the connection ends.
pub async fn read_to_end(client: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = client.read_to_end(&mut bytes).await;
    bytes
}
