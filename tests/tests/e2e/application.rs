//! What an application has of its own beside handlers: its configuration, its beginning and its end.

use std::{fs, process::Command, time::Duration};

use nix::sys::signal::Signal;
use roomd_tests::{Cluster, Node, http::Connection, program};
use serde_json::json;

const GREETING: &str = "[app]\ngreeting = \"good evening\"\n";

#[test]
fn an_application_has_its_table_and_its_workers_begin_and_end_with_its_hooks() {
    let mut cluster = Cluster::build(2).program("life_app").config(GREETING).start();
    let mut node = Node::start("clients.mjs", &[]);
    node.connect("a", &cluster.url(), json!({"transports": ["websocket"]}));
    assert_eq!(node.ask(json!({"do": "ask", "name": "a", "event": "greet"})), json!("good evening"));
    node.eventually(
        "the task of its worker reaches it",
        &json!({"do": "events", "name": "a", "event": "tick"}),
        |events| events.as_array().unwrap().len() > 1,
    );
    let pids = cluster.worker_pids();
    let stopped = |pid: &u32| cluster.folder().join(format!("stopped-{pid}")).exists();
    assert!(!pids.iter().any(stopped));
    cluster.run(&["stop"]);
    assert!(pids.iter().all(stopped), "{}", cluster.log());
    assert!(cluster.await_end(Duration::from_secs(5)).success());
}

#[test]
fn an_application_has_its_own_http_on_the_same_port() {
    let cluster = Cluster::build(2).program("life_app").config(GREETING).start();
    let mut node = Node::start("clients.mjs", &[]);
    for name in ["a", "b"] {
        node.connect(name, &cluster.url(), json!({"transports": ["websocket"]}));
    }
    let mut connection = Connection::open(cluster.address());
    let hello = connection.get("/hello");
    assert_eq!(hello.status, 200);
    assert!(hello.body.starts_with("hello Ip(127.0.0.1, "), "{}", hello.body);
    // Requests of both kinds share a connection, and a failure is the request's alone.
    assert_eq!(connection.get("/socket.io/?EIO=4&transport=polling").status, 200);
    assert_eq!(connection.get("/panic").status, 500);
    assert_eq!(connection.get("/nowhere").status, 404);
    assert_eq!(connection.get("/sockets").body, "2");
    connection.send(
        "POST /tell HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n\"the news\"",
    );
    assert_eq!(connection.answer().unwrap().status, 204);
    for name in ["a", "b"] {
        node.eventually("everybody is told", &json!({"do": "events", "name": name, "event": "told"}), |events| {
            events.to_string().contains("the news")
        });
    }
}

#[test]
fn what_a_host_does_once_is_done_by_one_worker_at_a_time() {
    let cluster = Cluster::build(2).program("life_app").config(GREETING).start();
    let leader = || {
        let workers = cluster.status()["workers"].as_array().unwrap().clone();
        let leaders: Vec<_> = workers.iter().filter(|worker| worker["leads"] == true).collect();
        assert!(leaders.len() <= 1, "{leaders:?}");
        leaders
            .first()
            .map(|worker| (worker["slot"].as_u64().unwrap(), format!("{}.{}", worker["slot"], worker["generation"])))
    };
    let mut node = Node::start("clients.mjs", &[]);
    node.connect("watcher", &cluster.url(), json!({"transports": ["websocket"]}));
    let heard = |node: &mut Node, whom: &str| {
        node.eventually("it is heard", &json!({"do": "events", "name": "watcher", "event": "turn"}), |events| {
            events.as_array().unwrap().iter().filter(|turn| turn[0] == whom).count() > 25
        })
    };
    let (slot, first) = leader().unwrap();
    // More turns than it has before it fails: it is called again.
    let turns = heard(&mut node, &first);
    assert!(turns.as_array().unwrap().iter().all(|turn| turn[0] == first.as_str()), "{turns}");
    node.ask(json!({"do": "forget", "name": "watcher"}));

    cluster.run(&["kill", &slot.to_string()]);
    let (slot, second) = cluster.eventually("another leads", |_| leader().filter(|(_, name)| *name != first));
    // The watcher may have sat on the first.
    node.eventually("the watcher is back", &json!({"do": "state", "name": "watcher"}), |state| {
        state["connected"] == true
    });
    heard(&mut node, &second);
    cluster.await_ready();
    node.ask(json!({"do": "forget", "name": "watcher"}));

    cluster.run(&["reload"]);
    let (_, third) = cluster.eventually("one of the new leads", |_| leader().filter(|(_, name)| *name != second));
    node.eventually("the watcher is back", &json!({"do": "state", "name": "watcher"}), |state| {
        state["connected"] == true
    });
    let turns = heard(&mut node, &third);
    let mut order: Vec<&str> = turns.as_array().unwrap().iter().map(|turn| turn[0].as_str().unwrap()).collect();
    order.dedup();
    let mut once = order.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), order.len(), "nobody comes back, and no two take turns: {order:?}, {slot}");
}

#[test]
fn an_application_that_cannot_begin_says_why() {
    for (trouble, words) in [("no_database", "the database is away"), ("start_fails", "the cache is cold")] {
        let config = format!("{GREETING}trouble = \"{trouble}\"\n");
        let mut cluster = Cluster::build(2).program("life_app").config(&config).launch();
        let ended = cluster.await_end(Duration::from_secs(30));
        let log = cluster.log();
        assert_eq!(ended.code(), Some(1), "{log}");
        assert!(log.lines().last().unwrap().contains(words), "{log}");
    }
}

#[test]
fn an_application_that_waits_for_ever_holds_up_no_stop() {
    let config = format!("{GREETING}trouble = \"database_hangs\"\n");
    let mut cluster = Cluster::build(1).program("life_app").config(&config).launch();
    // It listens, and can be asked.
    cluster.address();
    cluster.eventually("its worker starts", |status| (status["workers"][0]["pid"].as_u64()? > 0).then_some(()));
    cluster.signal(Signal::SIGTERM);
    assert!(cluster.await_end(Duration::from_secs(10)).success(), "{}", cluster.log());

    let config = format!("[cluster]\ngrace = \"1s\"\n{GREETING}trouble = \"stop_hangs\"\n");
    let mut cluster = Cluster::build(1).program("life_app").config(&config).start();
    cluster.signal(Signal::SIGTERM);
    assert!(cluster.await_end(Duration::from_secs(10)).success(), "{}", cluster.log());
    assert!(cluster.log().contains("not come to its end within the grace"), "{}", cluster.log());
}

#[test]
fn a_wrong_value_of_the_application_s_is_shown_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.toml");
    fs::write(&file, "[app]\ngreeting = \"hi\"\ntrouble = \"many\"\n").unwrap();
    for command in ["check", "up"] {
        let output = Command::new(program("life_app")).args([command, "--config"]).arg(&file).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{error}");
        assert!(error.contains("cluster.toml:3:11: [app]: unknown variant `many`"), "{error}");
    }
}

#[test]
fn a_reload_with_a_wrong_value_of_the_application_s_changes_nothing() {
    let cluster = Cluster::build(1).program("life_app").config(GREETING).start();
    let before = cluster.worker_pids();
    fs::write(cluster.folder().join("cluster.toml"), "[app]\ngreeting = 3\n").unwrap();
    let output = cluster.command(&["reload"]);
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("cluster.toml:2:12: a value in [app] cannot be integer `3`"), "{error}");
    assert_eq!(cluster.worker_pids(), before);
    fs::write(cluster.folder().join("cluster.toml"), "[app]\ngreeting = \"new\"\n").unwrap();
    cluster.run(&["reload"]);
    let mut node = Node::start("clients.mjs", &[]);
    node.connect("a", &cluster.url(), json!({"transports": ["websocket"]}));
    assert_eq!(node.ask(json!({"do": "ask", "name": "a", "event": "greet"})), json!("new"));
}
