//! Command lines, and what is shown for a status.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{Asked, Failure, commands::not_ready, parse, table::table};
use crate::{
    config::{OrOff, Workers},
    emit::Kind,
    status::{BusState, ClusterState, Progress, WorkerState, sample},
};

fn asked(line: &str) -> Result<Asked, Failure> {
    parse(["roomd"].into_iter().chain(line.split_whitespace()).map(Into::into))
}

fn usage_error(line: &str) -> String {
    match asked(line) {
        Err(Failure::Usage(message)) => message,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn without_a_command_it_is_up() {
    for line in [
        "--workers 2 --listen :1 --listen 127.0.0.1:2 --admin off",
        "up --workers 2 --listen :1 --listen 127.0.0.1:2 --admin off",
    ] {
        let Asked::Up(flags) = asked(line).unwrap() else { panic!("{line}") };
        assert_eq!((flags.workers, flags.listen.len(), flags.admin), (Some(Workers::Count(2)), 2, Some(OrOff::Off)));
    }
    assert!(matches!(asked("").unwrap(), Asked::Up(_)));
}

#[test]
fn every_command_is_understood() {
    assert!(matches!(asked("init --systemd --user www-data --dir x --force").unwrap(), Asked::Init(_)));
    assert!(matches!(asked("check --config a.toml").unwrap(), Asked::Check(_)));
    assert!(matches!(asked("status --json --control x").unwrap(), Asked::Status { json: true, .. }));
    assert!(
        matches!(asked("top").unwrap(), Asked::Top { interval, once: false, .. } if interval == Duration::from_secs(1))
    );
    assert!(matches!(asked("top --once --interval 500ms").unwrap(), Asked::Top { once: true, .. }));
    assert!(matches!(asked("reload").unwrap(), Asked::Reload { parallel: 1, .. }));
    assert!(matches!(asked("reload --parallel 4").unwrap(), Asked::Reload { parallel: 4, .. }));
    assert!(matches!(asked("drain 3").unwrap(), Asked::Drain { slot: 3, force: false, .. }));
    assert!(matches!(asked("drain --force 3").unwrap(), Asked::Drain { slot: 3, force: true, .. }));
    assert!(matches!(asked("undrain 3").unwrap(), Asked::Undrain { slot: 3, .. }));
    assert!(matches!(asked("scale 4").unwrap(), Asked::Scale { workers: 4, .. }));
    assert!(matches!(asked("stop").unwrap(), Asked::Stop(_)));
    assert!(matches!(asked("kill 3").unwrap(), Asked::Kill { slot: 3, signal: Signal::SIGKILL, .. }));
    assert!(matches!(asked("kill 3 --signal stop").unwrap(), Asked::Kill { signal: Signal::SIGSTOP, .. }));
    assert!(matches!(asked("wait").unwrap(), Asked::Wait { timeout, .. } if timeout == Duration::from_secs(30)));
    assert!(
        matches!(asked("wait --timeout 500ms").unwrap(), Asked::Wait { timeout, .. } if timeout == Duration::from_millis(500))
    );
    assert!(matches!(asked("upgrade").unwrap(), Asked::Upgrade { binary: None, .. }));
    assert!(matches!(asked("upgrade --binary x/roomd").unwrap(), Asked::Upgrade { binary: Some(_), .. }));
    // The supervisor's own command line is behind the dashes, whatever it is.
    for (line, count) in [("takeover", 0), ("takeover -- up --config x", 3), ("takeover -- --workers 2", 2)] {
        assert!(matches!(asked(line).unwrap(), Asked::Takeover(words) if words.len() == count), "{line}");
    }
    assert!(matches!(asked("worker").unwrap(), Asked::Worker));
}

fn order(words: &[&str]) -> (Kind, serde_json::Value) {
    match parse(["roomd"].iter().chain(words).map(Into::into)).unwrap() {
        Asked::Order { order, .. } => (order.kind, serde_json::from_str(&order.body).unwrap()),
        other => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn what_is_for_clients_becomes_an_order() {
    for (words, kind, body) in [
        (
            &["emit", "x"][..],
            Kind::Emit,
            json!({"namespace": "/", "event": "x", "args": [], "to": [], "except": [], "volatile": false}),
        ),
        (
            &[
                "emit",
                "x",
                "5",
                "five",
                "\"5\"",
                "{\"a\": [1]}",
                "null",
                "-5",
                "",
                "{\"a\":",
                "--namespace",
                "/chat",
                "--to",
                "a",
                "--to",
                "b",
                "--except",
                "c",
                "--volatile",
                "--control",
                "s",
            ],
            Kind::Emit,
            json!({
                "namespace": "/chat", "event": "x", "args": [5, "five", "5", {"a": [1]}, null, -5, "", "{\"a\":"],
                "to": ["a", "b"], "except": ["c"], "volatile": true
            }),
        ),
        (
            &["sockets", "join", "n", "m", "--in", "a", "--in", "b"],
            Kind::Join,
            json!({"namespace": "/", "in": ["a", "b"], "all": false, "rooms": ["n", "m"]}),
        ),
        (
            &["sockets", "leave", "n", "--all", "--namespace", "/chat"],
            Kind::Leave,
            json!({"namespace": "/chat", "in": [], "all": true, "rooms": ["n"]}),
        ),
        (
            &["sockets", "disconnect", "--in", "a", "--close"],
            Kind::Disconnect,
            json!({"namespace": "/", "in": ["a"], "all": false, "close": true}),
        ),
    ] {
        assert_eq!(order(words), (kind, body), "{words:?}");
    }
}

#[test]
fn orders_that_could_mean_everybody_by_mistake_are_refused() {
    for (line, words) in [
        ("sockets", "join, leave, disconnect"),
        ("sockets disconnect", "--in <ROOM>"),
        ("sockets disconnect --close", "--in <ROOM>"),
        ("sockets disconnect --inn a", "'--in'"),
        ("sockets disconnect --all --in a", "cannot be used with"),
        ("sockets join --in a", "<ROOM>"),
        ("sockets leave n", "--in <ROOM>"),
        ("sockets disconect --all", "'disconnect'"),
        ("emit", "<EVENT>"),
        ("emit connect", "`event` cannot be \"connect\""),
        ("emit x --namespace chat", "`namespace` cannot be \"chat\": it begins with a slash"),
        ("emit x --too a", "'--to'"),
    ] {
        let told = usage_error(line);
        assert!(told.contains(words), "{line}: {told}");
    }
    let empty = parse(["roomd", "sockets", "disconnect", "--in", ""].map(Into::into)).unwrap_err();
    assert!(matches!(empty, Failure::Usage(told) if told == "a name in `in` is empty"));
}

#[test]
fn help_and_version_are_printed_and_the_worker_command_is_hidden() {
    for line in ["--help", "-h", "up --help"] {
        let Asked::Print(help) = asked(line).unwrap() else { panic!("{line}") };
        assert!(help.contains("ROOMD_LISTEN") && help.contains("--redis") && !help.contains("\n  worker"), "{help}");
    }
    assert!(
        matches!(asked("--version").unwrap(), Asked::Print(text) if text == format!("roomd {}\n", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn mistakes_are_told_in_one_line_with_a_suggestion() {
    let cases = [
        ("statsu", "'status'"),
        ("--lisen :1", "'--listen'"),
        ("--workers 0", "give a number from 1 to 1024"),
        ("--listen nowhere", "give an address and a port"),
        ("--admin x", "127.0.0.1:3900"),
        ("--redis http://h", "`http` is no scheme"),
        ("top --interval 1", "a duration with its unit"),
        ("top --interval 10ms", "from 100ms to 1h"),
        ("scale", "<N>"),
        ("scale 0", "give a number from 1 to 1024"),
        ("scale many", "give a number from 1 to 1024"),
        ("scale 100000", "give a number from 1 to 1024"),
        ("kill first", "give a slot's number"),
        ("kill", "<SLOT>"),
        ("kill 0 --signal KILLL", "did you mean KILL?"),
        ("wait --timeout 30", "a duration with its unit"),
        ("status extra", "unexpected argument 'extra'"),
        ("--workers 2 status", "roomd --help"),
    ];
    for (line, expected) in cases {
        let message = usage_error(line);
        assert!(message.contains(expected) && !message.contains('\n'), "{line}: {message}");
    }
    assert!(!usage_error("--redis http://user:secret@host").contains("secret"));
}

#[test]
fn the_table_shows_all_that_a_person_needs() {
    let expected = "\
roomd 0.1.0 is running: pid 42, up 1d 1h, 4.0 MiB
listening  http://127.0.0.1:3000
admin      http://127.0.0.1:3900
control    /run/roomd/control.sock
bus        redis at redis://127.0.0.1:6379, down for 1m 15s: connection refused
workers    1 of 2 ready

SLOT  GEN  PID  STATE          CONNECTIONS  SESSIONS  SOCKETS  RESTARTS  UPTIME   MEMORY
   0    1  100  ready                    3         2        2         0   1h 2m  5.0 MiB
   1    5    -  backoff, 1.5s            -         -        -         4       -        -

slot 1: generation 5 (pid 99) ended 0.5s ago, crash: exit status 101 (restarts: 3 crash, 1 kill)
  | thread 'main' panicked at app.rs:1:1:
  | no ·[31mway·[0m
";
    assert_eq!(table(&sample()), expected);
}

#[test]
fn the_last_death_of_a_slot_is_told_once_though_old_workers_drain() {
    let mut status = sample();
    let mut draining = status.workers[1].clone();
    draining.generation = roomd_wire::Generation(4);
    status.workers.push(draining);
    assert_eq!(table(&status).matches("generation 5 (pid 99) ended").count(), 1);
}

#[test]
fn the_table_tells_what_is_under_way_drained_or_was_recycled() {
    let mut status = sample();
    status.supervisor.progress = Some(Progress { what: "a reload".into(), done: 1, of: 2 });
    let mut draining = status.workers[0].clone();
    (draining.state, draining.time_left_s) = (WorkerState::Draining, Some(12.3));
    let mut drained = status.workers[1].clone();
    (drained.state, drained.last_death, drained.retry_in_s) = (WorkerState::Drained, None, None);
    drained.slot = roomd_wire::Slot(2);
    status.workers.extend([draining, drained]);
    status.workers[0].recycled = 2;
    let shown = table(&status);
    for line in ["under way  a reload: 1 of 2 done", "slot 0: recycled 2 times for its memory"] {
        assert_eq!(shown.lines().filter(|shown| *shown == line).count(), 1, "{line} in {shown}");
    }
    assert!(shown.contains("draining, 12.3s left") && shown.contains("  drained  "), "{shown}");
}

#[test]
fn the_json_has_what_scripts_rely_on() {
    let json = serde_json::to_value(sample()).unwrap();
    for (pointer, expected) in [
        ("/supervisor/pid", "42"),
        ("/supervisor/state", "\"running\""),
        ("/workers/0/slot", "0"),
        ("/workers/0/generation", "1"),
        ("/workers/0/state", "\"ready\""),
        ("/workers/0/rss_bytes", "5242880"),
        ("/workers/1/pid", "null"),
        ("/workers/1/state", "\"backoff\""),
        ("/workers/1/restarts", "4"),
        ("/workers/1/restarts_by_cause", "{\"crash\":3,\"kill\":1}"),
        ("/bus/kind", "\"redis\""),
        ("/bus/state", "\"down\""),
        ("/bus/latency_ms", "null"),
    ] {
        assert_eq!(json.pointer(pointer).unwrap().to_string(), expected, "{pointer}");
    }
}

#[test]
fn wait_says_what_it_waits_for() {
    let mut status = sample();
    assert!(not_ready(&status).unwrap().contains("1 of 2 workers are ready"));
    status.supervisor.wanted_workers = 1;
    assert_eq!(not_ready(&status).unwrap(), "the redis bus has been down for 75 s: connection refused");
    status.bus.state = BusState::Up;
    assert_eq!(not_ready(&status), None);
    status.workers[0].bus_up = Some(false);
    let why = "the redis bus is down in 1 of 1 ready workers: no reason known (slot 0)";
    assert_eq!(not_ready(&status).unwrap(), why);
    status.workers[0].bus_up = None;
    assert_eq!(not_ready(&status), None);
    status.supervisor.state = ClusterState::Stopping;
    assert!(not_ready(&status).is_some());
}
