//! The command line and the signals of a running cluster.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use nix::sys::signal::Signal;
use roomd_tests::{
    Cluster, ClusterBuilder, Node, RedisServer, eventually,
    http::{Connection, HANDSHAKE},
    program,
};
use serde_json::{Value, json};

/// A cluster of a copy of the test application that may be replaced while it runs.
fn replaceable(folder: &Path, workers: u16) -> ClusterBuilder {
    let copy = folder.join("app");
    install(&program("test_app"), &copy);
    Cluster::build(workers).executable(copy)
}

/// Copies a program by another process: a child that a test beside this one starts at the same moment would inherit the
/// descriptor that is written to, and as long as it is open the copy cannot be executed.
fn install(from: &Path, to: &Path) {
    assert!(Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap().success());
}

/// Puts a program in place of the copy that fails.
fn replace_with_a_broken_one(folder: &Path) {
    let (script, broken) = (folder.join("script"), folder.join("broken"));
    fs::write(&script, "#!/bin/sh\necho no database here >&2\nexit 3\n").unwrap();
    install(&script, &broken);
    fs::rename(broken, folder.join("app")).unwrap();
}

fn generations(status: &Value) -> Vec<u64> {
    let workers = status["workers"].as_array().unwrap().iter();
    let serving = workers.filter(|worker| worker["state"] == "ready");
    serving.map(|worker| worker["generation"].as_u64().unwrap()).collect()
}

#[test]
fn the_status_has_the_fields_that_scripts_rely_on() {
    let cluster = Cluster::start(2);
    let mut node = Node::start("clients.mjs", &[]);
    node.connect("a", &cluster.url(), json!({"transports": ["websocket"]}));
    let sum = |status: &Value, key: &str| {
        status["workers"].as_array().unwrap().iter().map(|worker| worker[key].as_u64().unwrap()).sum::<u64>()
    };
    let status = cluster.eventually("the client is counted", |status| {
        (sum(status, "sockets") == 1 && status["bus"]["latency_ms"].is_number()).then(|| status.clone())
    });
    let supervisor = &status["supervisor"];
    assert_eq!(supervisor["pid"], cluster.pid());
    assert_eq!(supervisor["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(supervisor["state"], "running");
    assert!(supervisor["uptime_s"].as_f64().unwrap() > 0.0);
    assert_eq!(status["bus"]["kind"], "embedded");
    assert_eq!(status["bus"]["state"], "up");
    assert_eq!(sum(&status, "connections"), 1);
    assert_eq!(sum(&status, "sessions"), 1);
    for (slot, worker) in status["workers"].as_array().unwrap().iter().enumerate() {
        assert_eq!(worker["slot"], slot);
        assert_eq!(worker["state"], "ready");
        assert_eq!(worker["restarts"], 0);
        assert!(worker["generation"].is_u64() && worker["uptime_s"].is_f64(), "{worker}");
        assert!(worker["rss_bytes"].as_u64().unwrap() > 500_000, "{worker}");
        let process = fs::read(format!("/proc/{}/cmdline", worker["pid"])).unwrap();
        assert!(String::from_utf8_lossy(&process).contains("worker"));
    }
    // The admin listener tells the same, and the table for people names each worker.
    let answer = Connection::open(cluster.admin()).get("/status");
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(told["workers"][0]["pid"], status["workers"][0]["pid"]);
    let table = cluster.run(&["status"]);
    assert!(cluster.worker_pids().iter().all(|pid| table.contains(&pid.to_string())), "{table}");
}

#[test]
fn the_admin_listener_tells_of_health_and_metrics() {
    let cluster = Cluster::start(1);
    let mut admin = Connection::open(cluster.admin());
    assert_eq!(admin.get("/healthz").status, 200);
    assert_eq!(admin.get("/readyz").status, 200);
    assert_eq!(admin.get("/nothing").status, 404);
    let metrics = admin.get("/metrics");
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain"));
    for line in metrics.body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!((name.starts_with("roomd_") || name.starts_with("process_")) && value.parse::<f64>().is_ok(), "{line}");
    }
    cluster.run(&["kill", "0", "--signal", "STOP"]);
    // A stopped worker is ready until it is found to hang, which is past the time that this test takes.
    assert_eq!(admin.get("/readyz").status, 200);
}

/// As the example's own servers do, so that its scripts start this one, too.
#[test]
fn the_variables_of_the_example_say_where_it_listens_and_where_redis_is() {
    let redis = RedisServer::start(&[]);
    let cluster = Cluster::build(2)
        .no_listener()
        .environment("PORT", "0")
        .environment("REDIS_HOST", "127.0.0.1")
        .environment("REDIS_PORT", &redis.port.to_string())
        .start();
    let port = cluster.address().port();
    for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))] {
        assert_eq!(Connection::open(address).get(HANDSHAKE).status, 200, "{address}");
    }
    let bus = &cluster.status()["bus"];
    assert_eq!((&bus["kind"], &bus["state"]), (&json!("redis"), &json!("up")));
    assert_ne!(redis.run("PUBSUB NUMPAT"), ":0\r\n", "nobody has subscribed there");
}

#[test]
fn wait_tells_what_it_still_waits_for() {
    let cluster = Cluster::start(2);
    cluster.run(&["wait", "--timeout", "1s"]);
    let nobody = cluster.folder().join("nobody.sock");
    let output =
        Command::new(program("roomd")).args(["wait", "--timeout", "200ms", "--control"]).arg(nobody).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("not ready after 200ms") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_reload_replaces_every_worker_and_keeps_the_clients() {
    let cluster = Cluster::build(2).config("[cluster]\ngrace = \"2s\"\n").start();
    let mut node = Node::start("clients.mjs", &[]);
    node.connect("a", &cluster.url(), json!({"transports": ["websocket"]}));
    let old = cluster.worker_pids();
    let said = cluster.run(&["reload"]);
    assert!(said.contains("2 workers replaced"), "{said}");
    let status = cluster.status();
    assert_eq!(generations(&status).len(), 2, "both new ones are ready when the command returns: {status}");
    eventually("the old ones have ended", || {
        old.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
    node.eventually("the client is connected, to a new one", &json!({"do": "state", "name": "a"}), |state| {
        state["connected"] == true
    });
    assert!(cluster.worker_pids().iter().all(|pid| !old.contains(pid)));

    for signal in [Signal::SIGHUP, Signal::SIGUSR2] {
        let before = generations(&cluster.status());
        cluster.signal(signal);
        cluster.eventually("a signal reloads too", |status| {
            let now = generations(status);
            (now.len() == 2 && now.iter().all(|generation| !before.contains(generation))).then_some(())
        });
        eventually("the old ones have ended", || (cluster.worker_pids().len() == 2).then_some(()));
    }
}

#[test]
fn a_reload_to_a_program_that_cannot_start_keeps_the_old_workers() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = replaceable(folder.path(), 2).start();
    let old = cluster.worker_pids();
    replace_with_a_broken_one(folder.path());
    let output = cluster.command(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no database here") && said.lines().count() == 1, "{said}");
    assert_eq!(cluster.worker_pids(), old);
    cluster.run(&["wait", "--timeout", "5s"]);
    assert_eq!(Connection::open(cluster.address()).get("/socket.io/?EIO=4&transport=polling").status, 200);
}

#[test]
fn a_configuration_whose_workers_cannot_start_is_not_used_for_a_later_restart() {
    let cluster = Cluster::build(1).program("test_app").start();
    let file = |name: &str| cluster.folder().join(name);
    fs::write(file("cluster.toml"), "[socketio]\nping_interval = \"7s\"\n").unwrap();
    fs::write(file("fail"), "exit").unwrap();
    assert_eq!(cluster.command(&["reload"]).status.code(), Some(1));
    fs::remove_file(file("fail")).unwrap();
    let old = cluster.worker_pids();
    cluster.run(&["kill", "0"]);
    eventually("a new worker is ready", || {
        let worker = cluster.worker(0);
        (worker["state"] == "ready" && worker["pid"] != old[0]).then_some(())
    });
    let open = Connection::open(cluster.address()).get("/socket.io/?EIO=4&transport=polling");
    assert!(open.body.contains("\"pingInterval\":25000"), "{open:?}");
}

#[test]
fn a_reload_with_a_broken_configuration_changes_nothing() {
    let cluster = Cluster::start(1);
    let old = cluster.worker_pids();
    fs::write(cluster.folder().join("cluster.toml"), "[cluster]\ngrace = \"soon\"\n").unwrap();
    let output = cluster.command(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("2:9") && said.contains("grace"), "{said}");
    assert_eq!(cluster.worker_pids(), old);
    assert_eq!(cluster.status()["supervisor"]["state"], "running");
}

#[test]
fn the_number_of_workers_can_be_changed() {
    let cluster = Cluster::build(1).config("[cluster]\ngrace = \"1s\"\n").start();
    let first = cluster.worker_pids();
    cluster.run(&["scale", "3"]);
    assert_eq!(generations(&cluster.status()).len(), 3);
    assert_eq!(cluster.worker_pids()[0], first[0]);
    let mut node = Node::start("clients.mjs", &[]);
    for name in ["a", "b", "c"] {
        node.connect(name, &cluster.url(), json!({"transports": ["websocket"]}));
    }
    let status = cluster.eventually("the clients are counted", |status| {
        let workers = status["workers"].as_array().unwrap();
        workers.iter().all(|worker| worker["sockets"] == 1).then(|| status.clone())
    });
    assert_eq!(status["supervisor"]["wanted_workers"], 3);
    cluster.run(&["scale", "1"]);
    cluster.eventually("one is left", |status| (status["workers"].as_array().unwrap().len() == 1).then_some(()));
    assert_eq!(cluster.worker_pids(), first);
    for name in ["a", "b", "c"] {
        node.eventually("all are on the one that is left", &json!({"do": "state", "name": name}), |state| {
            state["connected"] == true
        });
    }
}

#[test]
fn a_cluster_stops_on_command_and_by_a_signal() {
    let mut cluster = Cluster::build(2).config("[cluster]\ngrace = \"1s\"\n").start();
    let pids = cluster.worker_pids();
    let mut node = Node::start("clients.mjs", &[]);
    node.connect("a", &cluster.url(), json!({"transports": ["websocket"], "reconnection": false}));
    cluster.run(&["stop"]);
    assert!(cluster.await_end(Duration::from_secs(2)).success(), "`stop` returns when it has ended");
    assert!(pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
    assert!(!cluster.control().exists(), "the control socket is gone with it");
    node.eventually("the client was told", &json!({"do": "state", "name": "a"}), |state| state["connected"] == false);

    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut cluster = Cluster::start(1);
        cluster.signal(signal);
        assert!(cluster.await_end(Duration::from_secs(10)).success(), "{signal}");
    }
}

#[test]
fn a_second_signal_ends_all_at_once() {
    // Two different ones are never one to the kernel, so nothing need happen between them.
    for (second, at_once) in [(Signal::SIGTERM, false), (Signal::SIGINT, true)] {
        let mut cluster = Cluster::build(2).config("[cluster]\ngrace = \"1h\"\n").start();
        let mut node = Node::start("clients.mjs", &[]);
        // The first client of each worker is closed at once, the others spread over the grace.
        for number in 0..6 {
            let options = json!({"transports": ["websocket"], "reconnection": false});
            node.connect(&format!("c{number}"), &cluster.url(), options);
        }
        let pids = cluster.worker_pids();
        cluster.signal(Signal::SIGTERM);
        if !at_once {
            cluster.eventually("it stops", |status| (status["supervisor"]["state"] == "stopping").then_some(()));
        }
        cluster.signal(second);
        cluster.await_end(Duration::from_secs(5));
        assert!(cluster.log().contains("a second signal"));
        assert!(pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
    }
}

#[test]
fn a_command_to_a_cluster_that_stops_is_told_so() {
    let cluster = Cluster::build(1).config("[cluster]\ngrace = \"1h\"\n").start();
    let mut node = Node::start("clients.mjs", &[]);
    // The first is closed at once, the others spread over the grace.
    for name in ["a", "b", "c"] {
        node.connect(name, &cluster.url(), json!({"transports": ["websocket"], "reconnection": false}));
    }
    cluster.signal(Signal::SIGTERM);
    cluster.eventually("it stops", |status| (status["supervisor"]["state"] == "stopping").then_some(()));
    for command in [&["kill", "0"][..], &["reload"], &["scale", "2"]] {
        let output = cluster.command(command);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("the cluster is stopping: "), "{command:?}: {said}");
    }
}

/// The processes that a process is the parent of, zombies as well.
fn children(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_child = |pid: &u32| {
        // It may be gone by now. Its name, in brackets, may hold anything.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let behind_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        behind_name.split(' ').nth(1) == Some(&parent.to_string())
    };
    pids.filter(is_child).collect()
}

#[test]
fn as_the_first_process_of_a_container_it_reaps_orphans_and_stops() {
    let mut unshare = vec!["unshare"];
    if !nix::unistd::geteuid().is_root() {
        unshare.extend(["--user", "--map-root-user"]);
    }
    unshare.extend(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    assert!(
        Command::new(unshare[0]).args(&unshare[1..]).arg("true").status().unwrap().success(),
        "this test needs to be the first process of a namespace"
    );
    // What the shell started becomes roomd's, as orphans do.
    let shell = ["sh", "-c", "sleep 600 & sleep 600 & exec \"$0\" \"$@\""];
    let mut cluster = Cluster::build(2).inside(&[&unshare[..], &shell].concat()).start();
    assert_eq!(cluster.status()["supervisor"]["pid"], 1);

    let first = children(cluster.pid())[0];
    let is_sleep = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() == "sleep\n";
    let sleeps: Vec<u32> = children(first).into_iter().filter(is_sleep).collect();
    assert_eq!(sleeps.len(), 2);
    // One ends by a real-time signal, which not every library can express.
    for (signal, pid) in ["-36", "-9"].iter().zip(&sleeps) {
        assert!(Command::new("kill").arg(signal).arg(pid.to_string()).status().unwrap().success());
        eventually("the orphan is reaped", || (!children(first).contains(pid)).then_some(()));
    }

    let old = cluster.worker(0)["pid"].clone();
    cluster.run(&["kill", "0"]);
    eventually("the worker is replaced", || {
        let worker = cluster.worker(0);
        (worker["state"] == "ready" && worker["pid"] != old).then_some(())
    });
    cluster.run(&["stop"]);
    assert!(cluster.await_end(Duration::from_secs(5)).success());
}
