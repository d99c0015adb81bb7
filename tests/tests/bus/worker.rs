//! A whole worker in a thread of the test's process, over a real Redis: the test is its supervisor and its clients.

use std::{
    cell::Cell,
    os::{fd::AsFd, unix::net::UnixStream},
    thread,
    time::Duration,
};

use roomd_wire::{
    BusConfig, ConnectionId, Generation, Link, PROTOCOL_VERSION, PeerAddress, Slot, SocketIoConfig, ToSupervisor,
    ToWorker, WorkerConfig, WorkerId, WorkerStats,
};
use roomd_worker::{assemble, run::work, socketio::App};
use tungstenite::{Message, WebSocket};

use super::{member::PATIENCE, run};

/// A worker; it leaves with the value.
pub struct Worker {
    link: Link<ToWorker, ToSupervisor>,
    connections: Cell<u64>,
}

/// A client of a worker, over WebSocket.
pub struct Client(WebSocket<UnixStream>);

impl Worker {
    /// Starts one, which waits for its bus for so long before it is ready.
    pub async fn start(redis: String, bus_wait: Duration, app: fn() -> App) -> Worker {
        let (link, socket) = Link::pair().unwrap();
        thread::spawn(move || run(async move { work(socket, async |setup| assemble(setup, app())).await.unwrap() }));
        let worker = Worker { link, connections: Cell::new(0) };
        assert!(matches!(worker.next().await, ToSupervisor::Hello { .. }));
        let config = WorkerConfig {
            orphan: None,
            id: WorkerId { slot: Slot(0), generation: Generation(1) },
            host: 0,
            workers: 1,
            socketio: SocketIoConfig::default(),
            bus: BusConfig::Redis { url: redis },
            bus_wait_ms: bus_wait.as_millis() as u64,
            trusted_proxies: Vec::new(),
            app: serde_json::Value::Null,
        };
        let start = ToWorker::Start { protocol: PROTOCOL_VERSION, config: Box::new(config) };
        worker.link.send(&start, &[]).await.unwrap();
        worker
    }

    /// Waits until it says that it is ready, which is to be the next that it says.
    pub async fn ready(&self) {
        assert_eq!(self.next().await, ToSupervisor::Ready);
    }

    /// Its next figures of which this is true.
    pub async fn stats(&self, condition: impl Fn(&WorkerStats) -> bool) -> WorkerStats {
        loop {
            match self.next().await {
                ToSupervisor::Stats(stats) if condition(&stats) => return *stats,
                _ => {}
            }
        }
    }

    async fn next(&self) -> ToSupervisor {
        tokio::time::timeout(PATIENCE, self.link.recv()).await.expect("it says something").unwrap().unwrap().0
    }

    /// Hands it a connection of a new client.
    pub async fn client(&self) -> Client {
        let (ours, its) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        its.set_nonblocking(true).unwrap();
        let number = self.connections.replace(self.connections.get() + 1);
        let message =
            ToWorker::Connection { id: ConnectionId(number), peer: PeerAddress::Unix, moved: false, read: Vec::new() };
        self.link.send(&message, &[its.as_fd()]).await.unwrap();
        let (socket, _) = tungstenite::client("ws://test/socket.io/?EIO=4&transport=websocket", ours).unwrap();
        let mut client = Client(socket);
        assert!(client.next().starts_with("0{"));
        client
    }
}

impl Client {
    pub fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    /// The next message: a text, or an attachment as `b` and its hexadecimal digits; `closed` once it is.
    pub fn next(&mut self) -> String {
        match self.0.read() {
            Ok(Message::Text(text)) => text.to_string(),
            Ok(Message::Binary(bytes)) => bytes.iter().fold("b".to_owned(), |text, byte| format!("{text}{byte:02x}")),
            Ok(Message::Close(_)) => "closed".to_owned(),
            other => panic!("{other:?}"),
        }
    }
}
