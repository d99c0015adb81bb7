//! From the supervisor's side: heartbeat, figures, drain, and its death.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use roomd_wire::{SocketIoConfig, ToWorker};
use tokio::{io::AsyncWriteExt, task::JoinSet};
use tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    harness::{Cluster, eventually, get, options, read_reply, run},
    websocket::{Client, close_frame, say, with_session},
};

#[test]
fn a_drain_is_spread_over_its_time_and_tells_why() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let start = Instant::now();
        let client = || {
            with_session(&worker, move |socket| {
                let frame = close_frame(socket).unwrap();
                assert_eq!((frame.code, &*frame.reason), (CloseCode::Away, "the server leaves"));
                start.elapsed()
            })
        };
        let drain = async {
            eventually("all are there", || worker.engine.session_count() == 4).await;
            worker.tell(ToWorker::Drain { within_ms: 1000 }, None).await;
        };
        let (a, b, c, d, ()) = tokio::join!(client(), client(), client(), client(), drain);
        let mut times = [a, b, c, d];
        times.sort();
        assert!(times[3] - times[0] >= Duration::from_millis(400), "{times:?}");
        eventually("the worker has left", || worker.ended.get()).await;
        assert!(start.elapsed() < Duration::from_millis(1500), "it leaves when it is empty");
    });
}

/// Says something in the beginning or, if it is busy, for as long as it is there, and answers pings; when it was closed.
fn until_closed(socket: &mut Client, busy: bool) -> Instant {
    say(socket, "4word");
    loop {
        match socket.read() {
            Ok(Message::Text(text)) if text == "2" => drop(socket.send("3".into())),
            Ok(Message::Text(_)) if busy => {
                // Less often than pings, which would hide the difference if they counted.
                std::thread::sleep(Duration::from_millis(250));
                drop(socket.send("4word".into()));
            }
            Ok(Message::Text(_)) => {}
            _ => return Instant::now(),
        }
    }
}

/// The clients of [`a_drain_closes_the_idle_first_and_all_evenly`], of each kind.
const EACH: usize = 6;

#[test]
fn a_drain_closes_the_idle_first_and_all_evenly() {
    run(|| async {
        let cluster = Cluster::new();
        // Heartbeats do not make the idle look busy.
        let worker = Rc::new(cluster.worker(0, SocketIoConfig { ping_interval_ms: 100, ..options() }).await);
        let mut clients = JoinSet::new();
        // Busy ones first, so that the order in which they came says nothing.
        for busy in [true, false].into_iter().flat_map(|busy| [busy; EACH]) {
            let worker = worker.clone();
            clients.spawn_local(async move {
                (with_session(&worker, move |socket| until_closed(socket, busy)).await, busy)
            });
        }
        let within = Duration::from_millis(3_000);
        let begin = Cell::new(None);
        let drain = async {
            eventually("all are there", || worker.engine.session_count() == 2 * EACH).await;
            tokio::time::sleep(Duration::from_millis(700)).await;
            begin.set(Some(Instant::now()));
            worker.tell(ToWorker::Drain { within_ms: within.as_millis() as u64 }, None).await;
        };
        let (mut told, ()) = tokio::join!(clients.join_all(), drain);
        let begin = begin.get().unwrap();
        told.sort();
        let order: Vec<bool> = told.iter().map(|(_, busy)| *busy).collect();
        assert_eq!(order, [vec![false; EACH], vec![true; EACH]].concat());
        // Eight tenths of the time are for this: of its thirds each has its part.
        let mut thirds = [0; 3];
        for (at, _) in &told {
            let part = (*at - begin).div_duration_f64(within.mul_f64(0.8));
            thirds[((part * 3.0) as usize).min(2)] += 1;
        }
        assert!(thirds.iter().all(|count| (2..=6).contains(count)), "{thirds:?} of {told:?}");
    });
}

#[test]
fn a_drain_is_over_when_the_clients_have_left_by_themselves() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let start = Instant::now();
        let client = || {
            with_session(&worker, |socket| {
                // Told to leave or not, all go a moment later.
                std::thread::sleep(Duration::from_millis(300));
                drop(socket.close(None));
            })
        };
        let drain = async {
            eventually("all are there", || worker.engine.session_count() == 3).await;
            worker.tell(ToWorker::Drain { within_ms: 20_000 }, None).await;
        };
        tokio::join!(client(), client(), client(), drain);
        eventually("the worker has left", || worker.ended.get()).await;
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    });
}

#[test]
fn polling_sessions_are_served_until_they_are_closed() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        let query = format!("EIO=4&transport=polling&sid={sid}");
        // Idle since its first request: it must not keep the worker from leaving.
        let mut old = worker.connect().await;
        old.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert_eq!(read_reply(&mut old).await.body, "a page");
        let mut poll = worker.connect().await;
        poll.write_all(get(&query).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let start = Instant::now();
        worker.tell(ToWorker::Drain { within_ms: 20_000 }, None).await;
        let last = read_reply(&mut poll).await;
        assert_eq!((&*last.body, last.header("connection")), ("1", Some("close")));
        drop(poll);
        eventually("the worker has left", || worker.ended.get()).await;
        assert!(start.elapsed() < Duration::from_secs(5));
        drop(old);
        assert_eq!(worker.heard().last().unwrap(), "closed server shutting down");
    });
}

#[test]
fn a_polling_client_that_has_gone_without_a_word_is_not_waited_for_unless_something_waits_for_it() {
    run(|| async {
        let cluster = Cluster::new();
        let (worker, other) = (cluster.worker(0, options()).await, cluster.worker(1, options()).await);
        let gone = async |worker: &crate::harness::Worker, says: bool| {
            let sid = worker.handshake().await;
            if says {
                // It is answered, and does not fetch that.
                worker.post(&format!("EIO=4&transport=polling&sid={sid}"), "4x").await;
            }
            let start = Instant::now();
            worker.tell(ToWorker::Drain { within_ms: 9_000 }, None).await;
            while !worker.ended.get() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            start.elapsed()
        };
        let (silent, owed) = tokio::join!(gone(&worker, false), gone(&other, true));
        assert!((4..7).contains(&silent.as_secs()), "{silent:?}");
        assert!(owed >= Duration::from_millis(8_900), "{owed:?}");
    });
}

#[test]
fn a_worker_leaves_with_its_supervisor() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let client = with_session(&worker, |socket| close_frame(socket).unwrap().code);
        let cut = async {
            eventually("it is there", || worker.engine.session_count() == 1).await;
            worker.cut();
        };
        let (code, ()) = tokio::join!(client, cut);
        assert_eq!(code, CloseCode::Away);
        eventually("the worker has left", || worker.ended.get()).await;
    });
}

#[test]
fn a_request_on_an_old_connection_is_the_last_one_there() {
    run(|| async {
        let cluster = Cluster::new();
        let leaving = cluster.worker(0, options()).await;
        let other = cluster.worker(1, options()).await;
        let sid = other.handshake().await;
        // So that it has a reason to stay for a while.
        let _session = leaving.handshake().await;
        let mut old = leaving.connect().await;
        old.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert_eq!(read_reply(&mut old).await.header("connection"), None);
        let (mut newer, mut last) = (leaving.connect().await, leaving.connect().await);
        leaving.tell(ToWorker::Drain { within_ms: 20_000 }, None).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        // A session of a worker that stays loses nothing.
        let post = crate::harness::post(&format!("EIO=4&transport=polling&sid={sid}"), "4x");
        old.write_all(post.replace("Connection: close\r\n", "").as_bytes()).await.unwrap();
        let answer = read_reply(&mut old).await;
        assert_eq!((&*answer.body, answer.header("connection")), ("ok", Some("close")));
        // A new session belongs elsewhere, if there is another worker.
        newer.write_all(get("EIO=4&transport=polling").as_bytes()).await.unwrap();
        assert_eq!((read_reply(&mut newer).await.status, other.engine.session_count()), (200, 2));
        other.cut();
        last.write_all(get("EIO=4&transport=polling").as_bytes()).await.unwrap();
        assert_eq!(read_reply(&mut last).await.status, 503);
    });
}
