//! Faults: the cluster heals by itself.

use std::{path::Path, time::Duration};

use nix::sys::signal::Signal;
use roomd_tests::{Cluster, Node, RedisServer, eventually, http::Connection};
use serde_json::json;

/// Waits until the slot's worker is another process, and ready.
fn await_replacement(cluster: &Cluster, slot: usize, old: u64) {
    cluster.eventually("a new worker is ready", |_| {
        let worker = cluster.worker(slot);
        (worker["pid"].as_u64().is_some_and(|pid| pid != old) && worker["state"] == "ready").then_some(())
    });
}

fn pid(cluster: &Cluster, slot: usize) -> u64 {
    cluster.worker(slot)["pid"].as_u64().unwrap()
}

#[test]
fn a_killed_worker_is_replaced_and_its_clients_come_back() {
    let cluster = Cluster::start(2);
    let mut node = Node::start("clients.mjs", &[]);
    for number in 0..6 {
        node.connect(&format!("c{number}"), &cluster.url(), json!({"transports": ["websocket"]}));
    }
    for (signal, cause) in [("KILL", "kill"), ("SEGV", "crash")] {
        let old = pid(&cluster, 0);
        cluster.run(&["kill", "0", "--signal", signal]);
        await_replacement(&cluster, 0, old);
        let worker = cluster.worker(0);
        assert_eq!(worker["last_death"]["cause"], cause, "{worker}");
        for number in 0..6 {
            node.eventually("the client is back", &json!({"do": "state", "name": format!("c{number}")}), |state| {
                state["connected"] == true
            });
        }
    }
    assert_eq!(cluster.worker(0)["restarts"], 2);
}

#[test]
fn a_worker_that_hangs_is_killed_and_replaced() {
    let cluster = Cluster::build(2).config("[cluster]\nhang_timeout = \"1s\"\n").start();
    let old = pid(&cluster, 1);
    cluster.run(&["kill", "1", "--signal", "STOP"]);
    await_replacement(&cluster, 1, old);
    assert_eq!(cluster.worker(1)["last_death"]["cause"], "hang");
}

#[test]
fn a_dead_supervisor_leaves_no_orphan() {
    let mut cluster = Cluster::start(3);
    let pids = cluster.worker_pids();
    assert_eq!(pids.len(), 3);
    cluster.signal(Signal::SIGKILL);
    cluster.await_end(Duration::from_secs(5));
    eventually("the workers are gone", || {
        pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
}

#[test]
fn a_stop_ends_all_within_the_grace_even_a_stopped_worker() {
    let mut cluster = Cluster::build(2).config("[cluster]\ngrace = \"2s\"\n").start();
    let pids = cluster.worker_pids();
    let mut node = Node::start("clients.mjs", &[]);
    node.connect("a", &cluster.url(), json!({"transports": ["websocket"]}));
    cluster.run(&["kill", "0", "--signal", "STOP"]);
    cluster.signal(Signal::SIGTERM);
    assert!(cluster.await_end(Duration::from_secs(10)).success());
    assert!(pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
}

#[test]
fn redis_may_go_and_come_back() {
    let mut redis = RedisServer::start(&[]);
    let cluster = Cluster::build(2).redis(&redis.url()).start();
    let mut node = Node::start("clients.mjs", &[]);
    for name in ["a", "b", "c", "d"] {
        node.connect(name, &cluster.url(), json!({"transports": ["websocket"]}));
    }
    redis.stop();
    let ready = || Connection::open(cluster.admin()).get("/readyz");
    let answer = eventually("readyz tells of it", || Some(ready()).filter(|answer| answer.status == 503));
    assert!(answer.body.contains("bus"), "{answer:?}");
    assert_eq!(Connection::open(cluster.admin()).get("/readyz?bus=ignore").status, 200);
    assert_eq!(cluster.status()["bus"]["state"], "down");
    // Clients of one worker still hear each other: whoever speaks hears itself.
    node.emit("a", "chatMessage", json!(["while redis is away"]));
    node.eventually("a hears itself", &json!({"do": "events", "name": "a", "event": "message"}), |events| {
        events.to_string().contains("while redis is away")
    });
    redis.restart();
    eventually("readyz is well again", || Some(ready()).filter(|answer| answer.status == 200));
    cluster.await_ready();
    eventually("everybody hears everybody again", || {
        node.emit("a", "chatMessage", json!(["back"]));
        let all = ["b", "c", "d"].iter().all(|name| json!(node.events(name, "message")).to_string().contains("back"));
        all.then_some(())
    });
}
