//! The Socket.IO server above a real engine whose sessions have no connection, several joined by a bus in memory.

mod backlog;
mod bus;
mod chains;
mod cluster;
mod dynamic;
mod ends;
mod handlers;
mod histories;
mod hooks;
mod hostile;
mod joining;
mod leaving;
mod msgpack;
mod packet_middleware;
mod packets;
mod rooms_in_order;
mod single;

use std::{future::Future, rc::Rc, time::Duration};

use bytes::Bytes;
use roomd_wire::{Generation, Slot, SocketIoConfig, WorkerId, WorkerStats};

use self::bus::{Hub, MemoryBus};
use super::{App, Io, Socket};
use crate::{
    bus::Routing,
    engine::{Engine, SessionKey},
};

/// Long enough for whatever is to happen in one process.
const SOON: Duration = Duration::from_millis(30);

/// Runs a test inside a `LocalSet`, with a limit of its time.
fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(20), test()).await.expect("the test took too long");
    });
}

/// Workers on one bus.
struct Cluster {
    hub: Rc<Hub>,
    workers: Vec<Worker>,
}

struct Worker {
    engine: Engine,
    io: Io,
    bus: Rc<MemoryBus>,
}

/// A session of a worker, seen from the client's end.
struct Client {
    engine: Engine,
    key: SessionKey,
}

impl Cluster {
    /// Lets everything happen that waits for no time, and what an engine at rest has put off.
    async fn settle(&self) {
        loop {
            for _ in 0..60 {
                tokio::task::yield_now().await;
            }
            if !self.workers.iter().any(|worker| worker.engine.has_ends_to_tell()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn new(routing: Routing, workers: u16, app: impl Fn() -> App) -> Cluster {
        Cluster::with(&SocketIoConfig::default(), routing, workers, app)
    }

    fn with(config: &SocketIoConfig, routing: Routing, workers: u16, app: impl Fn() -> App) -> Cluster {
        let hub = Hub::new();
        let start = |slot| {
            let id = WorkerId { slot: Slot(slot), generation: Generation(1) };
            let engine = Engine::for_tests(id, config.clone());
            let io = Io::new(engine.clone(), id, app());
            engine.start_for_tests(Rc::new(io.clone()));
            let bus = hub.join(routing, Rc::new(io.clone()));
            io.attach(bus.clone());
            Worker { engine, io, bus }
        };
        let workers = (0..workers).map(start).collect();
        Cluster { hub, workers }
    }

    /// A client of a worker in the main namespace, and its socket's id.
    fn client(&self, worker: usize) -> (Client, String) {
        let client = self.workers[worker].session();
        let id = client.connect("/");
        (client, id)
    }
}

impl Worker {
    fn session(&self) -> Client {
        Client { engine: self.engine.clone(), key: self.engine.open_for_tests() }
    }

    fn stats(&self) -> WorkerStats {
        let mut stats = WorkerStats::default();
        self.io.report(&mut stats);
        stats
    }

    fn sockets(&self) -> super::Broadcast<'_> {
        self.io.of("/").unwrap().sockets()
    }

    /// A socket of the main namespace, as a handler would hold it.
    fn socket(&self, id: &str) -> Socket {
        Socket {
            io: self.io.clone(),
            namespace: self.io.0.namespace("/").unwrap(),
            id: super::SocketId::parse(id).unwrap(),
        }
    }
}

impl Client {
    /// Sends a text message; false if the session takes no more.
    fn send(&self, text: &str) -> bool {
        self.engine.text_for_tests(self.key, text)
    }

    fn send_binary(&self, bytes: &[u8]) -> bool {
        self.engine.binary_for_tests(self.key, Bytes::copy_from_slice(bytes))
    }

    /// What it was sent since it was asked last: text messages, attachments as `b` and their hexadecimal digits.
    fn received(&self) -> Vec<String> {
        let mut received = Vec::new();
        for packet in self.engine.sent_for_tests(self.key) {
            received.extend(packet.parts().map(|part| match part.binary {
                true => part.payload.iter().fold("b".to_owned(), |text, byte| format!("{text}{byte:02x}")),
                false => String::from_utf8(part.payload[1..].to_vec()).unwrap(),
            }));
        }
        received
    }

    /// Joins a namespace; the socket's id.
    fn connect(&self, namespace: &str) -> String {
        self.send(&format!("0{namespace},"));
        let received = self.received();
        let (_, answer) = received[0].split_once("\"sid\":\"").unwrap_or_else(|| panic!("{received:?}"));
        answer[..20].to_owned()
    }

    fn is_open(&self) -> bool {
        self.engine.is_open_for_tests(self.key)
    }

    /// Goes away.
    fn end(&self) {
        self.engine.end_for_tests(self.key);
    }
}
