//! A server that dies while others wait for its answers: what they asked ends early, with what is known. One that hangs is there
//! still, and is waited for.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use roomd_tests::{Cluster, Node, RedisServer, eventually};
use serde_json::{Value, json};

/// All questions to the whole cluster. What an early end leaves of each is at the same place in what [`ask`] gives.
const CALLS: [(&str, &str); 4] =
    [("fetch", ""), ("all rooms", ""), ("server emit with ack", "hello"), ("emit with ack", "question")];

/// Less than any of them would wait (3 s, 5 s), and more than it takes a busy machine to see that somebody has gone.
const EARLY: Duration = Duration::from_millis(2500);

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// A client of the test application that asks, and the slot of its worker.
fn asker(cluster: &Cluster) -> (Node, usize) {
    let mut clients = Node::start("clients.mjs", &[]);
    clients.connect("asker", &format!("{}/test", cluster.url()), json!({"transports": ["websocket"]}));
    let slot = cluster.eventually("a worker has the client", |status| {
        let mut workers = status["workers"].as_array()?.iter();
        Some(workers.find(|worker| worker["sockets"] == 1)?["slot"].as_u64()? as usize)
    });
    (clients, slot)
}

/// Asks all, lets something happen when the questions are out, and gives the answers and how long they took from then on.
fn ask(clients: &mut Node, happens: impl FnOnce()) -> (Vec<Value>, Duration) {
    let asks = CALLS.map(|(call, event)| json!(["cluster", call, {}, [event, 1]]));
    clients.ask(json!({"do": "begin", "name": "asker", "asks": asks}));
    // No one can tell when they are out; most are within a few milliseconds.
    sleep(Duration::from_millis(250));
    let since = Instant::now();
    happens();
    let answers = clients.ask(json!({"do": "end", "name": "asker"}));
    (answers.as_array().unwrap().clone(), since.elapsed())
}

/// Asks while one server is stopped, which is then killed. `server_answers`: those of the other servers.
fn a_death_ends_all_early(clients: &mut Node, pids: &[u32], server_answers: &[&str]) {
    pids.iter().for_each(|&pid| signal(pid, Signal::SIGSTOP));
    let (answers, took) = ask(clients, || pids.iter().for_each(|&pid| signal(pid, Signal::SIGKILL)));
    for ((call, _), answer) in CALLS.iter().zip(&answers) {
        assert_eq!(answer["left"].as_array().map(Vec::len), Some(1), "{call}: {answer}");
    }
    assert_eq!(answers[0]["answers"].as_array().unwrap().len(), 1, "the asker itself: {}", answers[0]);
    assert!(!answers[1]["answers"].as_array().unwrap().is_empty(), "{}", answers[1]);
    assert_eq!(answers[2]["answers"], json!(server_answers));
    assert_eq!(answers[3]["answers"], json!(["ok from asker"]));
    assert!(took < EARLY, "{took:?}");
}

/// A Node server of the official adapter.
fn official(redis: &RedisServer) -> (Node, String) {
    let mut server = Node::start("server.mjs", &[&redis.url()]);
    let port = server.line()["port"].clone();
    (server, format!("http://127.0.0.1:{port}/test"))
}

fn count(redis: &RedisServer, servers: usize) {
    eventually("all servers are there", || {
        let answer = redis.run("PUBSUB NUMSUB socket.io-request#/test#");
        answer.contains(&format!(":{servers}\r\n")).then_some(())
    });
}

#[test]
fn a_worker_that_dies_over_the_embedded_bus_is_not_waited_for() {
    let cluster = Cluster::build(3).program("test_app").start();
    let (mut clients, slot) = asker(&cluster);
    let pid = cluster.worker_pids()[(slot + 1) % 3];
    a_death_ends_all_early(&mut clients, &[pid], &["roomd heard it"]);
}

#[test]
fn a_worker_that_dies_over_redis_is_not_waited_for() {
    let redis = RedisServer::start(&[]);
    let cluster = Cluster::build(3).program("test_app").redis(&redis.url()).start();
    let (mut clients, slot) = asker(&cluster);
    let pid = cluster.worker_pids()[(slot + 1) % 3];
    a_death_ends_all_early(&mut clients, &[pid], &["roomd heard it"]);
}

#[test]
fn a_whole_roomd_that_dies_is_not_waited_for() {
    let redis = RedisServer::start(&[]);
    let other = Cluster::build(1).program("test_app").redis(&redis.url()).start();
    let cluster = Cluster::build(1).program("test_app").redis(&redis.url()).start();
    count(&redis, 2);
    let (mut clients, _) = asker(&cluster);
    // The worker first: the supervisor's end would wake it, as Linux wakes a stopped process whose group is left alone.
    a_death_ends_all_early(&mut clients, &[other.worker_pids()[0], other.pid()], &[]);
}

#[test]
fn a_node_server_that_dies_is_not_waited_for() {
    let redis = RedisServer::start(&[]);
    let cluster = Cluster::build(1).program("test_app").redis(&redis.url()).start();
    let (mut clients, _) = asker(&cluster);
    let [(first, url), (second, _), (third, _)] = std::array::from_fn(|_| official(&redis));
    count(&redis, 4);
    // With another one that answers, and with none.
    signal(third.pid(), Signal::SIGKILL);
    count(&redis, 3);
    a_death_ends_all_early(&mut clients, &[second.pid()], &["node heard it"]);
    // One that has told how many clients it has, and dies before they answer.
    clients.connect("mute", &url, json!({"transports": ["websocket"], "reconnection": false}));
    clients.ask(json!({"do": "mute", "name": "mute"}));
    count(&redis, 2);
    let (answers, took) = ask(&mut clients, || signal(first.pid(), Signal::SIGKILL));
    assert_eq!(answers[0]["answers"].as_array().unwrap().len(), 2, "{}", answers[0]);
    assert_eq!(answers[3]["answers"], json!(["ok from asker"]), "{}", answers[3]);
    assert_eq!(answers[3]["left"].as_array().map(Vec::len), Some(1), "{}", answers[3]);
    assert!(took < EARLY, "{took:?}");
}

#[test]
fn a_server_that_hangs_is_waited_for_and_what_is_known_is_kept() {
    let redis = RedisServer::start(&[]);
    let cluster = Cluster::build(1).program("test_app").redis(&redis.url()).start();
    let (mut clients, _) = asker(&cluster);
    let [(_first, _), (second, _)] = std::array::from_fn(|_| official(&redis));
    count(&redis, 3);
    signal(second.pid(), Signal::SIGSTOP);
    // Who joins meanwhile is neither asked nor waited for.
    let mut joined = None;
    let (answers, took) = ask(&mut clients, || joined = Some(official(&redis)));
    assert!(answers.iter().all(|answer| answer["timeout"] == true), "{answers:?}");
    assert_eq!(answers[0]["answers"].as_array().unwrap().len(), 1, "{}", answers[0]);
    assert_eq!(answers[2]["answers"], json!(["node heard it"]));
    assert_eq!(answers[3]["answers"], json!(["ok from asker"]));
    assert!(took > Duration::from_secs(4), "{took:?}");
    signal(second.pid(), Signal::SIGCONT);
}

#[test]
fn a_redis_that_dies_or_hangs_while_it_is_asked() {
    let mut redis = RedisServer::start(&[]);
    let cluster = Cluster::build(1).program("test_app").redis(&redis.url()).start();
    let (mut clients, _) = asker(&cluster);
    let (mut server, _) = official(&redis);
    count(&redis, 2);
    // It hangs for a moment: answers come late, and are whole.
    signal(server.pid(), Signal::SIGSTOP);
    let (answers, _) = ask(&mut clients, || {
        redis.signal(Signal::SIGSTOP);
        signal(server.pid(), Signal::SIGCONT);
        sleep(Duration::from_millis(700));
        redis.signal(Signal::SIGCONT);
    });
    assert_eq!(answers[2], json!({"answers": ["node heard it"]}));
    assert!(answers.iter().all(|answer| answer.as_object().unwrap().len() == 1), "{answers:?}");
    // It dies: what was on its way is lost, and not waited for.
    signal(server.pid(), Signal::SIGSTOP);
    let (answers, took) = ask(&mut clients, || redis.restart());
    for answer in &answers {
        assert!(answer["bus"] == true || answer.get("left").is_some(), "{answer}");
    }
    assert_eq!(answers[3]["answers"], json!(["ok from asker"]));
    assert!(took < EARLY, "{took:?}");
    // And all is well after it.
    signal(server.pid(), Signal::SIGCONT);
    eventually("whole answers", || {
        let (answers, _) = ask(&mut clients, || ());
        answers.iter().all(|answer| answer.as_object().unwrap().len() == 1).then_some(())
    });
    let faults = server.ask(json!({"do": "faults"})).to_string();
    assert!(!faults.contains("TypeError"), "{faults}");
}
