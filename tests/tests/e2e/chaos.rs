//! Faults: the cluster heals by itself.

use std::{fs, net::TcpStream, path::Path, time::Duration};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::Signal,
};
use roomd_tests::{
    Cluster, Node, RedisServer, eventually,
    http::{Connection, HANDSHAKE},
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
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
fn a_handler_that_blocks_its_worker_is_named() {
    let cluster = Cluster::build(1).program("test_app").config("[cluster]\nhang_timeout = \"2s\"\n").start();
    let mut node = Node::start("clients.mjs", &[]);
    node.connect("a", &format!("{}/test", cluster.url()), json!({"transports": ["websocket"]}));
    let old = pid(&cluster, 0);
    let handler = "\"block\" in namespace /test";
    // One that returns in time costs a line in the log.
    node.emit("a", "block", json!([1200]));
    eventually("the log names it", || {
        let log = cluster.log();
        log.lines().any(|line| line.contains("blocks the worker") && line.contains("namespace /test")).then_some(())
    });
    cluster.eventually("it is named for as long as it blocks", |status| {
        status["workers"][0]["busy_with"].is_null().then_some(())
    });
    assert_eq!(pid(&cluster, 0), old);
    node.emit("a", "block", json!([60_000]));
    cluster.eventually("the status names it", |status| (status["workers"][0]["busy_with"] == handler).then_some(()));
    await_replacement(&cluster, 0, old);
    let death = cluster.worker(0)["last_death"].clone();
    assert_eq!(death["cause"], "hang");
    assert_eq!(death["detail"], format!("no answer for 2s, busy with the handler of {handler}"));
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
fn a_stopped_worker_does_not_outlive_its_supervisor() {
    let mut cluster = Cluster::start(1);
    let pids = cluster.worker_pids();
    cluster.run(&["kill", "0", "--signal", "STOP"]);
    cluster.signal(Signal::SIGKILL);
    cluster.await_end(Duration::from_secs(5));
    eventually("the worker is gone", || {
        pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
}

/// It does not come to see the end of file.
#[test]
fn a_hung_worker_does_not_outlive_its_supervisor() {
    let mut cluster = Cluster::build(1).program("test_app").start();
    fs::write(cluster.folder().join("fail"), "hang").unwrap();
    cluster.run(&["kill", "0"]);
    let hung = cluster.eventually("the next worker starts", |status| {
        let worker = &status["workers"][0];
        (worker["state"] == "starting").then(|| worker["pid"].as_u64()).flatten()
    });
    cluster.signal(Signal::SIGKILL);
    cluster.await_end(Duration::from_secs(5));
    eventually("the worker is gone", || (!Path::new(&format!("/proc/{hung}")).exists()).then_some(()));
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
    cluster.eventually("so does the status", |status| (status["bus"]["state"] == "down").then_some(()));
    // Clients of one worker still hear each other: whoever speaks hears itself.
    node.emit("a", "chatMessage", json!(["while redis is away"]));
    node.eventually("a hears itself", &json!({"do": "events", "name": "a", "event": "message"}), |events| {
        events.to_string().contains("while redis is away")
    });
    redis.restart();
    eventually("readyz is well again", || Some(ready()).filter(|answer| answer.status == 200));
    // Then no worker is without it either.
    let status = cluster.status();
    assert!(status["workers"].as_array().unwrap().iter().all(|worker| worker["bus_up"] == true), "{status}");
    cluster.await_ready();
    eventually("everybody hears everybody again", || {
        node.emit("a", "chatMessage", json!(["back"]));
        let all = ["b", "c", "d"].iter().all(|name| json!(node.events(name, "message")).to_string().contains("back"));
        all.then_some(())
    });
    // Told once for all processes.
    let log = cluster.log();
    let told = |what: &str| log.lines().filter(|line| !line.contains("DEBUG") && line.contains(what)).count();
    assert_eq!((told("bus up"), told("bus down")), (2, 1), "{log}");
}

#[test]
fn a_program_that_cannot_start_ends_the_cluster_with_its_own_words() {
    for (how, words) in
        [("exit", "no database"), ("oh no", "the application panics: oh no"), ("hang", "not ready within 1s")]
    {
        let config = "[cluster]\nstart_timeout = \"1s\"\n";
        let cluster = Cluster::build(2).program("test_app").config(config).environment("RUST_BACKTRACE", "1");
        let mut cluster = cluster.prepare(|folder| fs::write(folder.join("fail"), how).unwrap());
        let ended = cluster.await_end(Duration::from_secs(60));
        assert_eq!(ended.code(), Some(1), "{}", cluster.log());
        let log = cluster.log();
        let last = log.lines().last().unwrap();
        assert!(last.contains(words), "{how}: {log}");
    }
}

#[test]
fn one_worker_that_cannot_start_leaves_the_others_alone() {
    let cluster = Cluster::build(2).program("test_app").start();
    let other = pid(&cluster, 1);
    fs::write(cluster.folder().join("fail"), "exit").unwrap();
    cluster.run(&["kill", "0"]);
    let worker = cluster.eventually("it is tried again, and waits between", |_| {
        let worker = cluster.worker(0);
        (worker["state"] == "backoff" && worker["last_death"]["cause"] == "start").then_some(worker)
    });
    assert!(worker["last_death"]["last_words"].to_string().contains("no database"), "{worker}");
    assert_eq!(pid(&cluster, 1), other);
    assert_eq!(Connection::open(cluster.address()).get("/socket.io/?EIO=4&transport=polling").status, 200);
    fs::remove_file(cluster.folder().join("fail")).unwrap();
    cluster.await_ready();
}

#[test]
fn a_paused_redis_is_found_by_its_silence() {
    let redis = RedisServer::start(&[]);
    let cluster = Cluster::build(2).redis(&redis.url()).start();
    let mut node = Node::start("clients.mjs", &[]);
    for name in ["a", "b"] {
        node.connect(name, &cluster.url(), json!({"transports": ["websocket"]}));
    }
    redis.signal(Signal::SIGSTOP);
    let status =
        cluster.eventually("the bus is down", |status| (status["bus"]["state"] == "down").then(|| status.clone()));
    assert!(status["bus"]["reason"].is_string() && status["bus"]["since_s"].is_number(), "{}", status["bus"]);
    // New clients are served meanwhile, and hear their own worker.
    node.connect("c", &cluster.url(), json!({"transports": ["websocket"]}));
    node.emit("c", "chatMessage", json!(["while redis is silent"]));
    node.eventually("c hears itself", &json!({"do": "events", "name": "c", "event": "message"}), |events| {
        events.to_string().contains("while redis is silent")
    });
    redis.signal(Signal::SIGCONT);
    cluster.await_ready();
    eventually("everybody hears everybody again", || {
        node.emit("a", "chatMessage", json!(["back"]));
        let all = ["b", "c"].iter().all(|name| json!(node.events(name, "message")).to_string().contains("back"));
        all.then_some(())
    });
}

#[test]
fn redis_may_be_away_at_the_start() {
    let mut redis = RedisServer::stopped();
    let cluster = Cluster::build(2).redis(&redis.url()).launch();
    eventually("the supervisor answers", || cluster.command(&["status"]).status.success().then_some(()));
    cluster.eventually("the workers are ready all the same", |status| {
        let workers = status["workers"].as_array().unwrap();
        (workers.iter().all(|worker| worker["state"] == "ready")).then_some(())
    });
    assert_eq!(cluster.status()["bus"]["state"], "down");
    let answer = Connection::open(cluster.admin()).get("/readyz");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(cluster.command(&["wait", "--timeout", "200ms"]).status.code(), Some(1));
    redis.restart();
    cluster.await_ready();
    assert_eq!(Connection::open(cluster.admin()).get("/readyz").status, 200);
}

/// A test that opens more connections than the cluster has descriptors: each is served, or answered, or closed; none hangs,
/// and afterwards all is well.
#[test]
fn descriptors_may_run_out() {
    let cluster = Cluster::build(1).descriptors(64).start();
    let before = cluster.worker_pids();
    let mut crowd: Vec<TcpStream> = Vec::new();
    // As many as the backlog and the process together can hold for sure.
    for _ in 0..150 {
        crowd.push(TcpStream::connect(cluster.address()).unwrap());
    }
    eventually("the log tells of it", || cluster.log().contains("raise the limit on open files").then_some(()));
    drop(crowd);
    eventually("a client is served again", || {
        let mut connection = Connection::open(cluster.address());
        connection.send("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\n\r\n");
        connection.answer().filter(|answer| answer.status == 200)
    });
    cluster.await_ready();
    assert_eq!(cluster.worker_pids(), before, "nobody died of it");
    assert!(cluster.log().contains("connections are accepted again"));
}

/// One worker has no descriptor left, the other and the supervisor have: new clients are served by the other. With none left
/// in either they are told so, and served again once there is room.
#[test]
fn a_worker_without_descriptors_leaves_its_clients_to_another() {
    let cluster = Cluster::start(2);
    let limit = |slot: usize| {
        let pid = Pid::from_raw(pid(&cluster, slot) as i32).unwrap();
        let open = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap().count() as u64;
        let hard = getrlimit(Resource::Nofile).maximum;
        prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(open + 10), maximum: hard }).unwrap();
    };
    let served = |crowd: &mut Vec<Connection>| {
        let mut connection = Connection::open(cluster.address());
        let answer = connection.get(HANDSHAKE);
        crowd.extend((answer.status == 200).then_some(connection));
        answer
    };
    let mut crowd = Vec::new();
    limit(0);
    for number in 0..60 {
        assert_eq!(served(&mut crowd).status, 200, "client {number}");
    }
    assert!(cluster.worker(1)["connections"].as_u64().unwrap() > 40, "{}", cluster.status());
    eventually("the log tells of it", || cluster.log().contains("cannot take connections").then_some(()));

    limit(1);
    let refused = eventually("none has room", || Some(served(&mut crowd)).filter(|answer| answer.status != 200));
    assert_eq!((refused.status, refused.header("connection")), (503, Some("close")), "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    drop(crowd);
    eventually("clients are served again", || Some(served(&mut Vec::new())).filter(|answer| answer.status == 200));
    let pids = cluster.worker_pids();
    for _ in 0..20 {
        assert_eq!(served(&mut Vec::new()).status, 200);
    }
    assert_eq!(cluster.worker_pids(), pids, "nobody died of it");
    assert!(cluster.log().contains("connections are taken again"));
}

/// Clients that connect while their worker is stopped are handed over, but not acknowledged; when it is killed, another
/// worker serves them.
#[test]
fn a_worker_killed_before_it_acknowledges_loses_no_client() {
    let cluster = Cluster::start(2);
    let old = pid(&cluster, 0);
    cluster.run(&["kill", "0", "--signal", "STOP"]);
    let mut waiting: Vec<Connection> = (0..20)
        .map(|_| {
            let mut connection = Connection::open(cluster.address());
            connection.send("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\n\r\n");
            connection
        })
        .collect();
    cluster.eventually("all are handed over", |status| (status["balancer"]["accepted"] == 20).then_some(()));
    cluster.run(&["kill", "0"]);
    for connection in &mut waiting {
        assert_eq!(connection.answer().expect("an answer, not an end").status, 200);
    }
    await_replacement(&cluster, 0, old);
    let again = cluster.status()["balancer"]["handed_over_again"].as_u64().unwrap();
    assert!(again >= 5, "the stopped worker had about half of them: {again}");
}

/// Whoever reads the log stops reading: a paused terminal, a collector that hangs.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let (log, errors) = std::io::pipe().unwrap();
    fcntl(&log, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let mut cluster = Cluster::build(1).log_to(errors).start();
    // Each is a line of the log.
    for _ in 0..100 {
        cluster.run(&["kill", "0", "--signal", "CONT"]);
    }
    let old = pid(&cluster, 0);
    cluster.run(&["kill", "0"]);
    await_replacement(&cluster, 0, old);
    cluster.run(&["stop"]);
    assert!(cluster.await_end(Duration::from_secs(5)).success());
    drop(log);
}
