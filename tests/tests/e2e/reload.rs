//! What a reload tells, and what it leaves when the new code does not hold; slots that are drained; what a changed file does.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use roomd_tests::{
    Cluster, ClusterBuilder, Node, eventually,
    http::{Connection, HANDSHAKE},
    program,
};
use serde_json::{Value, json};

use crate::sticky::ask_for_websocket;

const QUICK: &str = "[cluster]\ngrace = \"1s\"\nstart_timeout = \"2s\"\n";

fn app(workers: u16) -> ClusterBuilder {
    Cluster::build(workers).program("test_app").config(QUICK)
}

/// From now on workers that start fail like this; with an empty word, they do not.
fn fail(cluster: &Cluster, how: &str) {
    fs::write(cluster.folder().join("fail"), how).unwrap();
}

fn configure(cluster: &Cluster, text: &str) {
    fs::write(cluster.folder().join("cluster.toml"), text).unwrap();
}

/// The words of a command that must fail with 1 and one line.
fn refused(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = cluster.command(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// Slot, generation and state of every worker.
fn workers(status: &Value) -> Vec<(u64, u64, String)> {
    let workers = status["workers"].as_array().unwrap().iter();
    let number = |worker: &Value, key: &str| worker[key].as_u64().unwrap();
    workers
        .map(|worker| {
            (number(worker, "slot"), number(worker, "generation"), worker["state"].as_str().unwrap().to_owned())
        })
        .collect()
}

/// The generations that serve, by slot.
fn serving(cluster: &Cluster) -> Vec<u64> {
    let workers = workers(&cluster.status());
    workers.into_iter().filter(|(_, _, state)| state == "ready").map(|(_, generation, _)| generation).collect()
}

fn clients(cluster: &Cluster, count: usize) -> Node {
    let mut node = Node::start("clients.mjs", &[]);
    for number in 0..count {
        node.connect(&format!("c{number}"), &cluster.url(), json!({"transports": ["websocket"]}));
    }
    node
}

/// How often each client was connected, once all are.
fn connections(node: &mut Node, count: usize) -> Vec<usize> {
    let name = |number| json!({"do": "state", "name": format!("c{number}")});
    let connected = |state: &Value| state["connected"] == true;
    let states = (0..count).map(|number| node.eventually("it is connected", &name(number), connected));
    states
        .map(|state| state["log"].as_array().unwrap().iter().filter(|entry| entry.get("connect").is_some()).count())
        .collect()
}

#[test]
fn new_code_that_cannot_start_leaves_every_client_where_it_is() {
    let cluster = app(2).start();
    let mut node = clients(&cluster, 4);
    let before = cluster.worker_pids();
    for (how, words) in [
        ("exit", "could not start: exit status 3 (it wrote: the application cannot start: no database)"),
        ("oh no", "the application panics: oh no"),
        ("hang", "not ready within 2s (`start_timeout`)"),
    ] {
        fail(&cluster, how);
        let said = refused(&cluster, &["reload"]);
        assert!(said.contains("the new worker of slot 0") && said.contains(words), "{how}: {said}");
        assert!(said.contains("the old workers stay"), "{how}: {said}");
        assert_eq!(cluster.worker_pids(), before);
    }
    assert_eq!(connections(&mut node, 4), [1; 4], "nobody noticed");
    // The log has the outcome too, whoever asked.
    assert!(cluster.log().contains("a change was stopped"), "{}", cluster.log());
    fail(&cluster, "");
    assert!(cluster.run(&["reload"]).contains("2 workers replaced"));
}

#[test]
fn new_code_that_is_ready_and_then_crashes_does_not_get_into_the_other_slots() {
    let cluster = app(3).start();
    let mut node = clients(&cluster, 6);
    let before = cluster.worker_pids();
    fail(&cluster, "crash 300");
    let said = refused(&cluster, &["reload"]);
    assert!(said.contains("the new worker of slot 0 was ready, but ended after 0."), "{said}");
    assert!(said.contains("the application crashes, as told") && said.contains("the old workers stay"), "{said}");
    assert_eq!(cluster.worker_pids(), before);
    assert_eq!(cluster.worker(0)["generation"], 1, "the old one serves on");
    assert_eq!(connections(&mut node, 6), [1; 6]);

    // Later than a new worker must last, but while others still wait for their turn.
    fail(&cluster, "crash 1500");
    let said = refused(&cluster, &["reload"]);
    assert!(said.contains("was ready, but ended after 1."), "{said}");
    assert!(said.contains("of 3 workers 1 runs the new code and 2 run the old"), "{said}");
    fail(&cluster, "");
    cluster.await_ready();
    assert_eq!(cluster.worker(2)["generation"], 1);
}

#[test]
fn several_slots_at_a_time_are_called_off_together() {
    let cluster = app(4).start();
    let mut node = clients(&cluster, 8);
    let begin = Instant::now();
    let said = cluster.run(&["reload", "--parallel", "4"]);
    assert!(said.contains("4 workers replaced"), "{said}");
    assert!(begin.elapsed() < Duration::from_secs(4), "they were trusted one after the other: {:?}", begin.elapsed());
    connections(&mut node, 8);
    cluster.eventually("the old ones have ended", |status| (workers(status).len() == 4).then_some(()));
    let before = cluster.worker_pids();
    fail(&cluster, "hang");
    let said = refused(&cluster, &["reload", "--parallel", "3"]);
    assert!(said.contains("not ready within 2s"), "{said}");
    cluster.eventually("the new ones are gone", |status| (workers(status).len() == 4).then_some(()));
    assert_eq!(cluster.worker_pids(), before);
}

#[test]
fn old_generations_are_shown_and_bounded() {
    // Nobody ends a drain: its only client is the last to be closed, much later.
    let cluster =
        Cluster::build(1).program("test_app").config("[cluster]\ngrace = \"1h\"\nconfirm_time = \"0s\"\n").start();
    let mut kept = Vec::new();
    for generation in 1..=6 {
        for _ in 0..2 {
            let mut connection = Connection::open(cluster.address());
            ask_for_websocket(&mut connection, "");
            kept.push(connection);
        }
        let status = cluster.status();
        let draining: Vec<_> = workers(&status).into_iter().filter(|(_, _, state)| state == "draining").collect();
        assert_eq!(draining.len(), (generation as usize - 1).min(4), "{status}");
        for worker in status["workers"].as_array().unwrap().iter().filter(|worker| worker["state"] == "draining") {
            let left = worker["time_left_s"].as_f64().unwrap();
            assert!((3000.0..3602.0).contains(&left) && worker["connections"].as_u64().unwrap() > 0, "{worker}");
        }
        cluster.run(&["reload"]);
        cluster.eventually("no more than four are kept", |status| (workers(status).len() <= 5).then_some(()));
    }
    let generations: Vec<u64> = workers(&cluster.status()).into_iter().map(|(_, generation, _)| generation).collect();
    assert_eq!(generations, [7, 3, 4, 5, 6], "the oldest had to go");
    let table = cluster.run(&["status"]);
    assert!(table.contains("draining, 59m"), "{table}");
}

#[test]
fn what_needs_a_restart_is_refused_before_anything_is_touched() {
    let cluster = Cluster::build(1).config("[cluster]\ngrace = \"1s\"\n").start();
    let before = cluster.worker_pids();
    configure(&cluster, "[cluster]\ngrace = \"2s\"\nhost = 9\n\n[redis]\nurl = \"redis://127.0.0.1:1\"\n");
    let said = refused(&cluster, &["reload"]);
    for words in ["[cluster] host (", "cluster.toml:3:8)", "[redis] url (", "cluster.toml:6:7)", "restart roomd"] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    assert_eq!((cluster.worker_pids(), cluster.status()["supervisor"]["state"].clone()), (before, json!("running")));
}

#[test]
fn a_changed_file_is_applied() {
    let token = |text: &str| format!("[admin]\ntoken = \"{text}\"\n");
    let (old, new) = ("the-token-of-before", "the-token-of-after");
    // The number of workers is the file's to say here.
    let config = |workers: u16, rest: &str| format!("[cluster]\ngrace = \"1s\"\nworkers = {workers}\n{rest}");
    let cluster = Cluster::build(2).numbered_by_the_file().config(&config(2, &token(old))).start();
    let emit = |token: &str| {
        let mut admin = Connection::open(cluster.admin());
        let body = r#"{"event":"e"}"#;
        admin.send(format!(
            "POST /emit HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        admin.answer().unwrap().status
    };
    assert_eq!((emit(old), emit(new)), (202, 401));

    configure(&cluster, &config(3, &format!("max_connections = 2\nmax_connections_per_address = 2\n{}", token(new))));
    assert!(cluster.run(&["reload"]).contains("3 workers replaced"), "the new slot counts too");
    assert_eq!(serving(&cluster), [2, 2, 1]);
    assert_eq!((emit(old), emit(new)), (401, 202));
    let mut open: Vec<Connection> = (0..2).map(|_| Connection::open(cluster.address())).collect();
    open.iter_mut().for_each(|connection| assert_eq!(connection.get(HANDSHAKE).status, 200));
    assert_eq!(Connection::open(cluster.address()).get(HANDSHAKE).status, 503, "the new limit");

    // What `scale` has set stays while the file's own number is the same.
    configure(&cluster, &config(3, &token(new)));
    cluster.run(&["scale", "1"]);
    assert!(cluster.run(&["reload"]).contains("1 worker replaced"));
    configure(&cluster, &config(2, &token(new)));
    cluster.run(&["reload"]);
    cluster.eventually("two serve, and none more", |status| (workers(status).len() == 2).then_some(()));

    // New code that does not come up leaves the old configuration in force.
    drop(open);
    assert_eq!(Connection::open(cluster.address()).get(HANDSHAKE).status, 200);
}

#[test]
fn a_drained_slot_stays_out_of_service_until_it_is_undrained() {
    let cluster = app(3).start();
    let mut node = clients(&cluster, 9);
    assert!(cluster.run(&["drain", "1"]).contains("slot 1 is drained"));
    assert_eq!(cluster.worker(1)["state"], "drained");
    let again = connections(&mut node, 9);
    assert_eq!(
        again.iter().filter(|connections| **connections > 1).count(),
        3,
        "only its own went elsewhere: {again:?}"
    );
    // Nobody waits for it, and nothing starts it.
    cluster.run(&["wait", "--timeout", "1s"]);
    assert_eq!(Connection::open(cluster.admin()).get("/readyz").status, 200);
    assert!(cluster.run(&["reload"]).contains("2 workers replaced"));
    cluster.run(&["scale", "4"]);
    assert_eq!(cluster.worker(1)["state"], "drained");
    assert!(cluster.run(&["status"]).contains("drained"));

    let said = refused(&cluster, &["drain", "1"]);
    assert!(said.contains("slot 1 is drained already"), "{said}");
    let said = refused(&cluster, &["undrain", "0"]);
    assert!(said.contains("slot 0 is not drained"), "{said}");
    for command in ["drain", "undrain"] {
        let said = refused(&cluster, &[command, "9"]);
        assert!(said.contains("there is no slot 9: this cluster has the slots 0 to 3"), "{said}");
    }
    let said = refused(&cluster, &["kill", "1"]);
    assert!(said.contains("drained"), "{said}");

    fail(&cluster, "exit");
    let said = refused(&cluster, &["undrain", "1"]);
    assert!(said.contains("no database") && said.contains("the slot stays drained"), "{said}");
    fail(&cluster, "");
    assert!(cluster.run(&["undrain", "1"]).contains("slot 1 is in service"));
    assert_eq!(cluster.worker(1)["state"], "ready");
    connections(&mut node, 9);
}

#[test]
fn the_last_worker_is_drained_only_by_force() {
    let cluster = app(2).start();
    cluster.run(&["drain", "0"]);
    let said = refused(&cluster, &["drain", "1"]);
    assert!(said.contains("no slot but 1") && said.contains("--force"), "{said}");
    cluster.run(&["drain", "1", "--force"]);
    assert_eq!(serving(&cluster), Vec::<u64>::new());
    assert!(cluster.run(&["reload"]).contains("0 workers replaced"));
    cluster.run(&["undrain", "0"]);
    assert_eq!(Connection::open(cluster.address()).get(HANDSHAKE).status, 200);
}

#[test]
fn scale_that_fails_says_why_and_what_is_left() {
    let cluster = app(1).start();
    fail(&cluster, "exit");
    let said = refused(&cluster, &["scale", "3"]);
    assert!(said.contains("no database") && said.contains("the number of workers stays 1"), "{said}");
    cluster.eventually("only the old one is left", |status| (workers(status).len() == 1).then_some(()));
    assert_eq!(serving(&cluster), [1]);
}

#[test]
fn whoever_waits_hears_that_the_supervisor_does_not_answer_and_may_go() {
    let cluster = app(1).start();
    let reload = || {
        let mut command = Command::new(program("roomd"));
        command.args(["reload", "--control"]).arg(cluster.control()).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    cluster.signal(Signal::SIGSTOP);
    let mut waiting = reload();
    let mut words = BufReader::new(waiting.stderr.take().unwrap());
    let mut line = String::new();
    words.read_line(&mut line).unwrap();
    assert!(line.contains("does not answer"), "{line}");
    cluster.signal(Signal::SIGCONT);
    assert!(waiting.wait().unwrap().success());

    fail(&cluster, "wait");
    let mut waiting = reload();
    cluster.eventually("it is under way", |status| (status["supervisor"]["state"] == "reloading").then_some(()));
    assert_eq!(cluster.status()["supervisor"]["progress"], json!({"what": "a reload", "done": 0, "of": 1}));
    // Not before it listens for the signal, which nothing shows.
    std::thread::sleep(Duration::from_millis(300));
    kill(Pid::from_raw(waiting.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(130));
    let mut said = String::new();
    waiting.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("the reload goes on"), "{said}");
    fail(&cluster, "");
    cluster.eventually("it did", |status| (workers(status).contains(&(0, 3, "ready".into()))).then_some(()));
}

#[test]
fn a_file_with_more_workers_than_can_start_changes_nothing() {
    let config = |workers: u16| format!("[cluster]\ngrace = \"1s\"\nworkers = {workers}\n");
    let cluster = Cluster::build(2).program("test_app").numbered_by_the_file().config(&config(2)).start();
    let before = cluster.worker_pids();
    configure(&cluster, &config(4));
    fail(&cluster, "exit");
    let said = refused(&cluster, &["reload"]);
    assert!(
        said.contains("the new worker of slot 2 could not start") && said.contains("the old workers stay"),
        "{said}"
    );
    cluster.eventually("only the old ones are left", |status| (workers(status).len() == 2).then_some(()));
    assert_eq!((cluster.worker_pids(), cluster.status()["supervisor"]["wanted_workers"].clone()), (before, json!(2)));
    // The file still names another number than was last in force.
    fail(&cluster, "");
    assert!(cluster.run(&["reload"]).contains("4 workers replaced"));
}

#[test]
fn a_large_worker_whose_successor_cannot_start_stays() {
    let cluster = Cluster::build(1).program("test_app").config("[cluster]\nmax_rss = \"256MiB\"\n").start();
    let mut node = clients(&cluster, 1);
    fail(&cluster, "exit");
    node.ask(json!({"do": "ask", "name": "c0", "event": "grow", "args": [300 << 20]}));
    eventually("it was tried", || cluster.log().contains("the worker that grew too large stays").then_some(()));
    let worker = cluster.worker(0);
    assert_eq!((worker["generation"].clone(), worker["recycled"].clone()), (json!(1), json!(0)));
    assert_eq!(connections(&mut node, 1), [1]);
}

/// Grows by what its clients ask for, and shrinks with a new process alone.
#[test]
fn a_worker_that_grows_too_large_is_recycled_and_its_clients_go_on() {
    let cluster =
        Cluster::build(2).program("test_app").config("[cluster]\ngrace = \"1s\"\nmax_rss = \"256MiB\"\n").start();
    let mut node = clients(&cluster, 2);
    node.connect("large", &cluster.url(), json!({"transports": ["websocket"]}));
    let rss: Vec<u64> = (0..2).map(|slot| cluster.worker(slot)["rss_bytes"].as_u64().unwrap()).collect();
    node.ask(json!({"do": "ask", "name": "large", "event": "grow", "args": [300 << 20]}));
    let large = eventually("one is large", || {
        (0..2).find(|slot| cluster.worker(*slot)["rss_bytes"].as_u64().unwrap() > rss[*slot] + (200 << 20))
    });
    let status = cluster.eventually("it is recycled", |status| {
        (cluster.worker(large)["recycled"] == 1 && workers(status).len() == 2).then(|| status.clone())
    });
    let worker = cluster.worker(large);
    assert_eq!((worker["generation"].clone(), worker["restarts"].clone()), (json!(2), json!(0)), "no death: {status}");
    assert_eq!(cluster.worker(1 - large)["generation"], 1);
    connections(&mut node, 2);
    let log = cluster.log();
    assert!(log.contains("above `max_rss`") && log.contains("recycled"), "{log}");
    let slots: BTreeSet<u64> = workers(&status).into_iter().map(|(slot, _, _)| slot).collect();
    assert_eq!(slots.len(), 2);
}
