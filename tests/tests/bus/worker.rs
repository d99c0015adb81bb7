//! A whole worker in a thread of the test's process, over a real Redis: the test is its supervisor.

use std::{thread, time::Duration};

use roomd_wire::{
    BusConfig, Generation, Link, PROTOCOL_VERSION, Slot, SocketIoConfig, ToSupervisor, ToWorker, WorkerConfig,
    WorkerId, WorkerStats,
};
use roomd_worker::{assemble, run::work, socketio::App};

use super::{member::PATIENCE, run};

/// A worker; it leaves with the value.
pub struct Worker {
    link: Link<ToWorker, ToSupervisor>,
}

impl Worker {
    /// Starts one, which waits for its bus for so long before it is ready.
    pub async fn start(redis: String, bus_wait: Duration, app: fn() -> App) -> Worker {
        let (link, socket) = Link::pair().unwrap();
        thread::spawn(move || run(async move { work(socket, |setup| assemble(setup, app())).await.unwrap() }));
        let worker = Worker { link };
        assert!(matches!(worker.next().await, ToSupervisor::Hello { .. }));
        let config = WorkerConfig {
            id: WorkerId { slot: Slot(0), generation: Generation(1) },
            host: 0,
            workers: 1,
            socketio: SocketIoConfig::default(),
            bus: BusConfig::Redis { url: redis },
            bus_wait_ms: bus_wait.as_millis() as u64,
            trusted_proxies: Vec::new(),
            client_file: None,
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
}
