//! Where the application decides on a request, and takes its time.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use roomd_wire::{Sid, SidHome, SocketIoConfig, ToWorker};
use roomd_worker::engine::Hooks;
use tokio::{io::AsyncWriteExt, sync::Notify};

use crate::harness::{Cluster, Worker, eventually, get, options, read_reply, read_to_end, run, sid_of};

const POLLING: &str = "EIO=4&transport=polling";

/// A request for a WebSocket.
fn upgrade() -> String {
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        .into()
}

/// Decides when it is told to.
#[derive(Clone, Default)]
struct Judge(Rc<Inner>);

#[derive(Default)]
struct Inner {
    asked: Cell<usize>,
    waiting: Cell<usize>,
    go_on: Notify,
    decision: RefCell<Option<String>>,
}

/// A request that waits for its decision, or has been dropped.
struct Waiting(Judge);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.waiting.set(self.0.0.waiting.get() - 1);
    }
}

impl Judge {
    fn of(worker: &Worker) -> Judge {
        let judge = Judge::default();
        let asked = judge.clone();
        worker.engine.set_hooks(Hooks {
            allow_request: Some(Box::new(move |_request| {
                let judge = asked.clone();
                judge.0.asked.set(judge.0.asked.get() + 1);
                judge.0.waiting.set(judge.0.waiting.get() + 1);
                let waiting = Waiting(judge);
                Box::pin(async move {
                    waiting.0.0.go_on.notified().await;
                    match &*waiting.0.0.decision.borrow() {
                        Some(refusal) => Err(refusal.clone()),
                        None => Ok(()),
                    }
                })
            })),
            ..Hooks::default()
        });
        judge
    }

    fn asked(&self) -> usize {
        self.0.asked.get()
    }

    async fn until_waiting(&self, count: usize) {
        eventually(&format!("{count} wait"), || self.0.waiting.get() == count).await;
    }

    /// Decides on the request that comes next or waits; an empty text lets it in.
    fn decide(&self, refusal: &str) {
        *self.0.decision.borrow_mut() = Some(refusal.to_owned()).filter(|refusal| !refusal.is_empty());
        self.0.go_on.notify_one();
    }
}

#[test]
fn what_is_not_decided_in_time_is_refused() {
    run(|| async {
        let options = SocketIoConfig { connect_timeout_ms: 200, ..options() };
        let worker = Cluster::new().worker(0, options).await;
        let judge = Judge::of(&worker);
        let start = Instant::now();
        let refused = worker.get(POLLING).await;
        assert_eq!((refused.status, &*refused.body), (403, r#"{"code":4,"message":"Forbidden"}"#));
        let refused = worker.request(&upgrade()).await;
        assert_eq!((refused.status, &*refused.body), (400, "Forbidden"));
        assert!(start.elapsed() >= Duration::from_millis(400));
        assert_eq!((judge.asked(), judge.0.waiting.get()), (2, 0));
        assert_eq!(worker.engine.session_count(), 0);
    });
}

#[test]
fn a_client_that_leaves_is_not_decided_on() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let judge = Judge::of(&worker);
        // What a client sends too early must not hide that it has gone.
        let early = upgrade() + "\u{1}early";
        for request in [get(POLLING), upgrade(), early] {
            let mut client = worker.connect().await;
            client.write_all(request.as_bytes()).await.unwrap();
            judge.until_waiting(1).await;
            drop(client);
            judge.until_waiting(0).await;
            eventually("the connection has ended", || cluster.all_closed()).await;
        }
        assert_eq!(judge.asked(), 3);
        assert!(worker.heard().is_empty());
    });
}

#[test]
fn in_a_leaving_worker_the_one_that_gets_the_session_is_asked() {
    run(|| async {
        let cluster = Cluster::new();
        let (leaving, other) = (cluster.worker(0, options()).await, cluster.worker(1, options()).await);
        let (asked_here, asked_there) = (Judge::of(&leaving), Judge::of(&other));
        let (mut polling, mut websocket) = (leaving.connect().await, leaving.connect().await);
        eventually("both are there", || leaving.engine.connection_count() == 2).await;
        leave(&leaving).await;
        polling.write_all(get(POLLING).as_bytes()).await.unwrap();
        asked_there.until_waiting(1).await;
        asked_there.decide("");
        let reply = read_reply(&mut polling).await;
        assert_eq!((reply.status, home(&sid_of(&reply.body))), (200, other.engine_home()));

        websocket.write_all(upgrade().as_bytes()).await.unwrap();
        asked_there.until_waiting(1).await;
        asked_there.decide("not you");
        let answer = String::from_utf8(read_to_end(&mut websocket).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\nnot you"), "{answer}");
        assert_eq!((asked_here.asked(), asked_there.asked()), (0, 2));
    });
}

#[test]
fn a_request_that_waits_while_the_worker_begins_to_leave_is_asked_about_again() {
    run(|| async {
        let cluster = Cluster::new();
        let (leaving, other) = (cluster.worker(0, options()).await, cluster.worker(1, options()).await);
        let (asked_here, asked_there) = (Judge::of(&leaving), Judge::of(&other));
        let (mut polling, mut websocket) = (leaving.connect().await, leaving.connect().await);
        let mut refused = leaving.connect().await;
        polling.write_all(get(POLLING).as_bytes()).await.unwrap();
        asked_here.until_waiting(1).await;
        websocket.write_all(upgrade().as_bytes()).await.unwrap();
        asked_here.until_waiting(2).await;
        refused.write_all(get(POLLING).as_bytes()).await.unwrap();
        asked_here.until_waiting(3).await;
        leave(&leaving).await;
        asked_here.decide("");
        asked_there.until_waiting(1).await;
        asked_there.decide("");
        let reply = read_reply(&mut polling).await;
        assert_eq!((reply.status, home(&sid_of(&reply.body))), (200, other.engine_home()));
        asked_here.decide("");
        asked_there.until_waiting(1).await;
        asked_there.decide("");
        assert_eq!(read_reply(&mut websocket).await.status, 101);
        // Refused is refused: nobody else is asked.
        asked_here.decide("not you");
        assert_eq!(read_reply(&mut refused).await.status, 403);
        assert_eq!((asked_here.asked(), asked_there.asked()), (3, 2));
        eventually("the sessions are with the other one", || other.engine.session_count() == 2).await;
        eventually("nothing keeps the worker", || leaving.ended.get()).await;
    });
}

/// Tells a worker to leave, and waits until it knows: its answers are then the last ones on their connections.
async fn leave(worker: &Worker) {
    worker.tell(ToWorker::Drain { within_ms: 20_000 }, None).await;
    while worker.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.header("connection") != Some("close") {}
}

fn home(sid: &str) -> SidHome {
    SidHome::of(Sid::parse(sid.as_bytes()).unwrap().as_str().as_bytes()).unwrap()
}

impl Worker {
    fn engine_home(&self) -> SidHome {
        SidHome { host: 7, worker: self.id }
    }
}
