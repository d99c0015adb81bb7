//! Sticky sessions: every request of a session reaches the worker that has it, however it comes.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use roomd_tests::{
    Cluster, Node, eventually,
    http::{Answer, Connection, HANDSHAKE, polling, sid},
    told_handshake,
};
use roomd_wire::{SidHome, WorkerId};
use serde_json::json;
use tungstenite::{Message, WebSocket, protocol::Role};

fn home(sid: &str) -> WorkerId {
    let SidHome { worker, .. } = SidHome::of(sid.as_bytes()).expect("a sid of ours");
    worker
}

/// Sessions by polling, with fresh connections; the workers they live in.
fn sessions(server: SocketAddr, count: usize) -> (Vec<String>, BTreeSet<WorkerId>) {
    let sids: Vec<String> = (0..count).map(|_| sid(&Connection::open(server).get(HANDSHAKE))).collect();
    let homes = sids.iter().map(|sid| home(sid)).collect();
    (sids, homes)
}

/// A session of another worker than this one's.
fn elsewhere<'a>(sid: &str, sids: &'a [String]) -> &'a str {
    sids.iter().find(|other| home(other) != home(sid)).expect("sessions are spread")
}

fn assert_ok(answer: &Answer, context: &str) {
    assert!(answer.status == 200 && answer.body == "ok", "{context}: {answer:?}");
}

/// A pong that nobody asked for does no harm, and its answer tells that the session was found.
fn touch(connection: &mut Connection, sid: &str) {
    let answer = connection.post(&polling(sid), "3");
    assert_ok(&answer, sid);
}

fn unknown(answer: &Answer) -> bool {
    answer.status == 400 && answer.body.contains("Session ID unknown")
}

#[test]
fn requests_on_fresh_connections_reach_their_session() {
    let cluster = Cluster::start(4);
    let (sids, homes) = sessions(cluster.address(), 40);
    assert_eq!(homes.len(), 4, "new sessions are spread");
    for number in 0..2_000 {
        touch(&mut Connection::open(cluster.address()), &sids[number % sids.len()]);
    }
    let status = cluster.status();
    assert_eq!(status["balancer"]["relays"], 0, "a fresh connection goes to the right worker at once");
}

#[test]
fn requests_of_all_sessions_may_share_connections() {
    let cluster = Cluster::start(4);
    let (sids, _) = sessions(cluster.address(), 40);
    let mut rng = fastrand::Rng::with_seed(3);
    let mut shared: Vec<_> = (0..5).map(|_| Connection::open(cluster.address())).collect();
    for _ in 0..4_000 {
        let connection = &mut shared[rng.usize(..5)];
        touch(connection, &sids[rng.usize(..sids.len())]);
    }
    assert!(cluster.status()["balancer"]["relays"].as_u64().unwrap() > 0);
}

#[test]
fn pipelined_requests_of_several_sessions_are_answered_in_their_order() {
    let cluster = Cluster::start(3);
    let (sids, _) = sessions(cluster.address(), 12);
    let mut connection = Connection::open(cluster.address());
    let mut bytes = String::new();
    for (number, sid) in sids.iter().enumerate() {
        // Alternately of a known and an unknown session, so that an answer in the wrong place shows.
        let unknown = format!("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", polling(&number.to_string()));
        let known = format!("POST {} HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\n3", polling(sid));
        bytes += &(known + &unknown);
    }
    connection.send(&bytes);
    for sid in &sids {
        assert_ok(&connection.answer().unwrap(), sid);
        assert!(unknown(&connection.answer().unwrap()));
    }
}

#[test]
fn heads_may_come_in_pieces() {
    let cluster = Cluster::start(3);
    let (sids, _) = sessions(cluster.address(), 12);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for sid in sids.iter().cycle().take(60) {
        let filler = "x".repeat(rng.usize(..2_000));
        let target = polling(sid);
        let request =
            format!("POST {target} HTTP/1.1\r\nHost: test\r\nX-Filler: {filler}\r\nContent-Length: 1\r\n\r\n3");
        let mut connection = Connection::open(cluster.address());
        let mut rest = request.as_bytes();
        while !rest.is_empty() {
            // The first pieces are small, so that the request line is cut too.
            let longest = if rest.len() + 100 > request.len() { 20 } else { rest.len() };
            let (piece, later) = rest.split_at(rng.usize(1..=longest.min(rest.len())));
            connection.send(piece);
            if rng.bool() {
                thread::sleep(Duration::from_millis(1));
            }
            rest = later;
        }
        assert_ok(&connection.answer().unwrap(), sid);
    }
}

#[test]
fn the_sid_may_stand_anywhere_in_the_query() {
    let cluster = Cluster::start(3);
    let (sids, _) = sessions(cluster.address(), 6);
    for sid in &sids {
        // In places that are not the sid's.
        let other = elsewhere(sid, &sids);
        let escaped: String = sid.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for target in [
            format!("/socket.io/?sid={sid}&EIO=4&transport=polling"),
            format!("/socket.io/?EIO=4&sid={sid}&transport=polling&t=abc"),
            format!("/socket.io/?EIO=4&transport=polling&usersid={other}&sid={sid}"),
            format!("/socket.io/?EIO=4&transport=polling&sid={sid}&xsid={other}&SID={other}"),
            format!("/socket.io/?EIO=4&transport=polling&t=sid={other}&sid={sid}"),
            format!("/socket.io/?EIO=4&transport=polling&sid={other}&sid={sid}"),
            format!("/socket.io/?EIO=4&transport=polling&sid={escaped}"),
            format!("/socket.io/?EIO=4&transport=polling&s%69d={sid}"),
            format!("/socket.io/any/thing?EIO=4&transport=polling&sid={sid}"),
        ] {
            let mut connection = Connection::open(cluster.address());
            assert_ok(&connection.post(&target, "3"), &target);
            let cookie = format!("Cookie: io={other}; sid={other}\r\nReferer: http://test/?sid={other}");
            let length = "Content-Length: 1";
            connection.send(format!("POST {target} HTTP/1.1\r\nHost: test\r\n{cookie}\r\n{length}\r\n\r\n3"));
            assert_ok(&connection.answer().unwrap(), &target);
        }
    }
}

#[test]
fn http_1_0_is_served_and_closed() {
    let cluster = Cluster::start(3);
    let (sids, _) = sessions(cluster.address(), 6);
    for sid in &sids {
        let mut connection = Connection::open(cluster.address());
        connection.send(format!("POST {} HTTP/1.0\r\nContent-Length: 1\r\n\r\n3", polling(sid)));
        assert_ok(&connection.answer().unwrap(), sid);
        assert!(connection.rest().is_empty(), "and then it ends");
    }
}

/// A connection to another worker than the session's.
fn connect_elsewhere(server: SocketAddr, sid: &str, sids: &[String]) -> Connection {
    let mut connection = Connection::open(server);
    touch(&mut connection, elsewhere(sid, sids));
    connection
}

#[test]
fn bodies_up_to_the_limit_pass_through_a_relay() {
    let cluster = Cluster::build(2).program("test_app").start();
    let (sids, _) = sessions(cluster.address(), 4);
    let (sid, target) = (&sids[0], polling(&sids[0]));
    let mut connection = connect_elsewhere(cluster.address(), sid, &sids);
    assert_ok(&connection.post(&target, "40"), "the namespace");
    assert!(connection.get(&target).body.starts_with("40{"));
    // Echoed as it came. The limit is the default one.
    let event = |length: usize| format!("42[\"echo\",\"{}\"]", "x".repeat(length - 13));
    for length in [999_999, 1_000_000] {
        assert_eq!(event(length).len(), length);
        assert_ok(&connection.post(&target, &event(length)), "a large body");
        let got = eventually("the echo", || Some(connection.get(&target).body).filter(|got| got != "2"));
        assert!(got == event(length), "{} bytes, {:?}…", got.len(), &got[..got.len().min(100)]);
    }
    assert_eq!(connection.post(&target, &event(1_000_001)).status, 413);
    assert!(cluster.status()["balancer"]["relays"].as_u64().unwrap() > 0);
}

/// As in the official server, a request that breaks off ends its session; the owner has to learn of it through the relay.
#[test]
fn a_client_that_breaks_off_behind_a_relay_ends_its_session_and_no_other() {
    let cluster = Cluster::build(2).start();
    let (sids, _) = sessions(cluster.address(), 6);
    // Each worker tells its own once a second.
    let await_sessions = |count: usize| {
        cluster.eventually("so many sessions", |status| {
            let workers = status["workers"].as_array().unwrap();
            let sum: u64 = workers.iter().map(|worker| worker["sessions"].as_u64().unwrap()).sum();
            (sum == count as u64).then_some(())
        });
    };
    let post = format!("POST {} HTTP/1.1\r\nHost: test\r\nContent-Length: 500000\r\n\r\n", polling(&sids[0]));
    let half_a_post = post + &"4".repeat(250_000);
    let poll = format!("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", polling(&sids[1]));
    // The poll is not answered: there is a ping only after 25 s.
    for (number, request) in [half_a_post, poll].iter().enumerate() {
        let mut connection = connect_elsewhere(cluster.address(), &sids[number], &sids[number..]);
        let before = relayed_requests(&cluster);
        connection.send(request);
        eventually("it is relayed", || (relayed_requests(&cluster) > before).then_some(()));
        let left = sids.len() - number;
        await_sessions(left);
        drop(connection);
        await_sessions(left - 1);
    }
    for sid in &sids[2..] {
        touch(&mut connect_elsewhere(cluster.address(), sid, &sids[2..]), sid);
    }
}

fn relayed_requests(cluster: &Cluster) -> u64 {
    let metrics = Connection::open(cluster.admin()).get("/metrics").body;
    let of_workers = metrics.lines().filter_map(|line| line.strip_prefix("roomd_worker_relayed_requests_total"));
    of_workers.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as u64).sum()
}

/// Asks for a WebSocket, with this behind the query, and takes the answer that agrees.
pub(crate) fn ask_for_websocket(connection: &mut Connection, query: &str) {
    let target = format!("/socket.io/?EIO=4&transport=websocket{query}");
    let headers = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13";
    connection.send(format!(
        "GET {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    let answer = connection.answer().unwrap();
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

/// A browser's connection that has served another session is used for an upgrade: the whole connection is moved.
#[test]
fn an_upgrade_on_a_connection_of_another_worker_is_moved() {
    let cluster = Cluster::start(3);
    let (sids, _) = sessions(cluster.address(), 9);
    let (others, _) = sessions(cluster.address(), 6);
    for sid in &sids {
        let other = elsewhere(sid, &others);
        let mut connection = Connection::open(cluster.address());
        touch(&mut connection, other);
        ask_for_websocket(&mut connection, &format!("&sid={sid}"));
        let mut socket = WebSocket::from_raw_socket(connection.stream(), Role::Client, None);
        let text = |message: Message| message.into_text().unwrap().to_string();
        socket.send(Message::text("2probe")).unwrap();
        assert_eq!(text(socket.read().unwrap()), "3probe");
        socket.send(Message::text("5")).unwrap();
        socket.send(Message::text("40")).unwrap();
        assert!(text(socket.read().unwrap()).starts_with("40{\"sid\""));
        socket.send(Message::text(r#"42["chatMessage","moved"]"#)).unwrap();
        // The goodbye of the client before may come first.
        while !text(socket.read().unwrap()).contains("moved") {}
    }
    assert_eq!(cluster.status()["balancer"]["moved"], 9);
}

/// What the polling clients of one run saw.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    requests: AtomicUsize,
    sessions: AtomicUsize,
    /// Sessions that ended because their worker was killed.
    lost: AtomicUsize,
    /// Sessions that their server closed.
    closed: AtomicUsize,
}

/// One client that polls, answers pings, and begins anew when its session has ended. Every second one keeps its connection for
/// all its sessions, the others have a fresh one for each request. `excused`: whether a session of that worker may be lost.
fn client(server: SocketAddr, number: usize, seen: &Seen, excused: &(dyn Fn(WorkerId) -> bool + Sync)) {
    let kept_alive = number.is_multiple_of(2);
    let mut kept: Option<Connection> = None;
    let mut request = |target: &str, body: Option<&str>| -> Option<Answer> {
        seen.requests.fetch_add(1, Ordering::Relaxed);
        let mut connection = kept.take().unwrap_or_else(|| Connection::open(server));
        let length = body.unwrap_or("").len();
        let method = if body.is_some() { "POST" } else { "GET" };
        let body = body.unwrap_or("");
        connection
            .try_send(format!("{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}"))?;
        let answer = connection.answer()?;
        if kept_alive && answer.header("connection") != Some("close") {
            kept = Some(connection);
        }
        Some(answer)
    };
    while !seen.stop.load(Ordering::Relaxed) {
        let Some(answer) = request(HANDSHAKE, None) else { continue };
        assert_eq!(answer.status, 200, "{answer:?}");
        let sid = sid(&answer);
        seen.sessions.fetch_add(1, Ordering::Relaxed);
        let target = polling(&sid);
        let mut packets = vec!["40".to_owned()];
        // A request that breaks off ends its session, as in the official server. A kept connection may be in a worker that
        // relayed for this session; a fresh one is in the session's own.
        let broken = |what: &str| {
            assert!(kept_alive || excused(home(&sid)), "a {what} of {:?} broke off", home(&sid));
            seen.lost.fetch_add(1, Ordering::Relaxed);
        };
        'session: loop {
            if seen.stop.load(Ordering::Relaxed) {
                return;
            }
            for packet in packets.drain(..) {
                match request(&target, Some(&packet)) {
                    Some(answer) if answer.status == 200 => {}
                    Some(answer) if unknown(&answer) && excused(home(&sid)) => break,
                    Some(answer) => panic!("post of {:?}: {answer:?}", home(&sid)),
                    None => break 'session broken("post"),
                }
            }
            match request(&target, None) {
                Some(answer) if answer.status == 200 => {
                    let got: Vec<_> = answer.body.split('\x1e').collect();
                    if got.contains(&"1") {
                        seen.closed.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                    packets.extend(got.iter().filter(|packet| **packet == "2").map(|_| "3".to_owned()));
                }
                Some(answer) if unknown(&answer) && excused(home(&sid)) => {
                    seen.lost.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Some(answer) => panic!("poll of {:?}: {answer:?}", home(&sid)),
                None => break broken("poll"),
            }
        }
    }
}

fn with_clients(cluster: &Cluster, excused: &(dyn Fn(WorkerId) -> bool + Sync), act: impl FnOnce(&Seen)) -> Seen {
    let seen = Seen::default();
    thread::scope(|scope| {
        for number in 0..24 {
            let (seen, address) = (&seen, cluster.address());
            scope.spawn(move || client(address, number, seen, excused));
        }
        eventually("all have a session", || (seen.sessions.load(Ordering::Relaxed) >= 24).then_some(()));
        act(&seen);
        seen.stop.store(true, Ordering::Relaxed);
    });
    seen
}

const QUICK: &str = "[socketio]\nping_interval = \"50ms\"\n[cluster]\ngrace = \"3s\"\nworker_wait = \"20s\"\n";

#[test]
fn kills_cost_only_the_sessions_of_the_killed() {
    let cluster = Cluster::build(3).config(QUICK).start();
    let seen = with_clients(&cluster, &|worker| worker.slot.0 == 1, |_| {
        for _ in 0..3 {
            let old = cluster.worker(1)["pid"].clone();
            cluster.run(&["kill", "1"]);
            cluster.eventually("it is replaced", |_| {
                let worker = cluster.worker(1);
                (worker["pid"] != old && worker["state"] == "ready").then_some(())
            });
            let until = Instant::now() + Duration::from_millis(500);
            eventually("some traffic", || (Instant::now() > until).then_some(()));
        }
    });
    println!("{} requests, {} lost", seen.requests.load(Ordering::Relaxed), seen.lost.load(Ordering::Relaxed));
    assert!(seen.requests.load(Ordering::Relaxed) > 500);
    assert!(seen.lost.load(Ordering::Relaxed) > 0, "the test kills what it uses");
}

#[test]
fn a_reload_loses_no_session_in_silence() {
    let cluster = Cluster::build(3).config(QUICK).start();
    let seen = with_clients(&cluster, &|_| false, |_| {
        for _ in 0..2 {
            cluster.run(&["reload"]);
            cluster.eventually("the old ones have ended", |status| {
                (status["workers"].as_array().unwrap().len() == 3).then_some(())
            });
        }
    });
    assert!(seen.requests.load(Ordering::Relaxed) > 500);
    assert!(seen.closed.load(Ordering::Relaxed) >= 24, "each session was told that it is over");
    assert_eq!(seen.lost.load(Ordering::Relaxed), 0);
}

/// Slots that come take new sessions at once; those that go tell each of theirs that it is over.
#[test]
fn a_change_of_the_number_of_workers_loses_no_session_in_silence() {
    let cluster = Cluster::build(2).config(QUICK).start();
    let seen = with_clients(&cluster, &|_| false, |_| {
        let mut before = 2;
        for workers in [4, 1, 3] {
            cluster.run(&["scale", &workers.to_string()]);
            // The new ones have the fewest connections.
            let (_, homes) = sessions(cluster.address(), 8);
            let slots: BTreeSet<u16> = homes.iter().map(|home| home.slot.0).collect();
            assert!(slots.iter().all(|slot| (workers < before || *slot >= before) && *slot < workers), "{slots:?}");
            cluster.eventually("the old ones have ended", |status| {
                (status["workers"].as_array().unwrap().len() == usize::from(workers)).then_some(())
            });
            before = workers;
        }
    });
    assert!(seen.requests.load(Ordering::Relaxed) > 500);
    assert!(seen.closed.load(Ordering::Relaxed) > 0, "a session was told that it is over");
    assert_eq!(seen.lost.load(Ordering::Relaxed), 0);
}

/// New sessions may come on connections that a worker has since before it was told to leave: another worker begins them.
#[test]
fn a_new_session_on_an_old_connection_to_a_worker_that_leaves_begins_in_another() {
    let cluster = Cluster::build(1).program("test_app").config("[cluster]\ngrace = \"1h\"\n").start();
    // Of those that keep the old worker the first is closed at once, the others much later.
    let mut keeping: Vec<Connection> = (0..3).map(|_| Connection::open(cluster.address())).collect();
    keeping.iter_mut().for_each(|connection| ask_for_websocket(connection, ""));
    let mut old: Vec<Connection> = (0..2).map(|_| Connection::open(cluster.address())).collect();
    // An application has no page unless it wants one, but an answer is what makes the connections this worker's.
    old.iter_mut().for_each(|connection| assert_eq!(connection.get("/").status, 404));
    cluster.run(&["reload"]);
    cluster.eventually("the old one drains", |status| {
        status["workers"].as_array().unwrap().iter().any(|worker| worker["state"] == "draining").then_some(())
    });

    let opened = old[0].get(HANDSHAKE);
    assert_eq!((opened.status, opened.header("connection")), (200, Some("close")), "{opened:?}");
    let sid = sid(&opened);
    assert_eq!(home(&sid).generation.0, 2);
    // The application is told where the client is.
    let mut fresh = Connection::open(cluster.address());
    assert_eq!(told_handshake(&mut fresh, &sid)["address"], "127.0.0.1");

    ask_for_websocket(&mut old[1], "");
    let (first, open) = old[1].frame().unwrap();
    assert_eq!(first, 0x81);
    let open: serde_json::Value = serde_json::from_slice(&open[1..]).unwrap();
    assert_eq!(home(open["sid"].as_str().unwrap()).generation.0, 2);

    drop(keeping);
    cluster
        .eventually("the old one has left", |status| (status["workers"].as_array().unwrap().len() == 1).then_some(()));
    touch(&mut fresh, &sid);
    let mut socket = WebSocket::from_raw_socket(old[1].stream(), Role::Client, None);
    socket.send(Message::text("40")).unwrap();
    assert!(socket.read().unwrap().into_text().unwrap().starts_with("40{\"sid\""));
}

#[test]
fn official_clients_upgrade_in_spite_of_shared_connections() {
    let cluster = Cluster::start(3);
    // All of them from one process, whose agent keeps its connections.
    let mut node = Node::start("clients.mjs", &[]);
    for number in 0..30 {
        node.connect(&format!("c{number}"), &cluster.url(), json!({"transports": ["polling", "websocket"]}));
    }
    for number in 0..30 {
        let state = node.eventually("upgraded", &json!({"do": "state", "name": format!("c{number}")}), |state| {
            state["transport"] == "websocket"
        });
        assert!(state["log"].as_array().unwrap().len() == 1, "{state}");
    }
}
