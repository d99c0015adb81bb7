//! A soak: official clients talk in rooms over Redis while faults strike at random; every message that was missed must have one that
//! explains it.
//!
//! In `tests/run` it lasts less than a minute. `ROOMD_SOAK_SECONDS` makes it longer, `ROOMD_SOAK_ROOMS` larger, `ROOMD_SOAK_PROGRAM`
//! tries another build, and `ROOMD_SOAK_REPORT` names a file for its figures, as `docs/reliability.md` has them.
#![allow(clippy::unwrap_used, missing_docs)]

mod faults;
mod report;

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use faults::Faults;
use report::Report;
use roomd_tests::{Cluster, Node, RedisServer, program};
use serde_json::json;

/// Clients that a message is for, its sender among them.
const ROOM_SIZE: u64 = 10;
/// How many workers there are when none is being killed.
const WORKERS: u16 = 3;
/// How long a message may still come, and a little more.
const JUDGED_AFTER: Duration = Duration::from_secs(10);

fn from_environment(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")),
        Err(_) => default,
    }
}

#[test]
fn every_message_that_is_missed_under_faults_has_a_cause() {
    let seconds = from_environment("ROOMD_SOAK_SECONDS", 30);
    let rooms = from_environment("ROOMD_SOAK_ROOMS", 12);
    let seed = from_environment("ROOMD_SOAK_SEED", fastrand::u64(..));
    println!("a soak of {seconds} s, {} clients, seed {seed}", rooms * ROOM_SIZE);

    let mut redis = RedisServer::start(&[]);
    let program = env::var_os("ROOMD_SOAK_PROGRAM").map_or_else(|| program("roomd"), PathBuf::from);
    let cluster = Cluster::build(WORKERS)
        .executable(program)
        .redis(&redis.url())
        .config("[cluster]\ngrace = \"4s\"\nhang_timeout = \"3s\"\n")
        .environment("ROOMD_LOG", "info")
        .start();
    let mut clients = Node::start("soak.mjs", &[]);
    let pause = if seconds > 120 { 5..25 } else { 1..3 };
    let everyone = rooms * ROOM_SIZE;
    clients.ask(json!({"do": "start", "url": cluster.url(), "rooms": rooms, "roomSize": ROOM_SIZE, "everyMs": 400, "reconnectionDelay": 300}));

    let mut report = Report::new(&cluster);
    let mut faults = Faults::new(seed, WORKERS);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(seconds) {
        report.quiet_for(Duration::from_secs(faults.random(pause.clone())), &cluster);
        let fault = faults.next();
        let slot = fault.slot();
        clients.ask(json!({"do": "faultBegins", "kind": fault.kind(), "slot": slot}));
        let struck = Instant::now();
        fault.strike(&cluster, &mut redis);
        // All is well when every client is in its room again, and no old worker is left to send one away.
        cluster.eventually("the fault is over", |status| {
            let workers = status["workers"].as_array().unwrap();
            let well = workers.iter().all(|worker| worker["state"] == "ready") && status["bus"]["state"] == "up";
            (well && workers.len() == usize::from(WORKERS)).then_some(())
        });
        clients.eventually("everyone is in their room", &json!({"do": "there"}), |there| *there == everyone);
        clients.ask(json!({"do": "faultEnds"}));
        report.healed(fault.kind(), struck.elapsed());
    }
    clients.ask(json!({"do": "quiet"}));
    report.quiet_for(JUDGED_AFTER, &cluster);
    let figures = clients.ask(json!({"do": "figures"}));
    let text = report.write(&figures, seed);
    println!("{text}");
    if let Ok(path) = env::var("ROOMD_SOAK_REPORT") {
        fs::write(path, &text).unwrap();
    }

    assert_eq!(figures["unexplained"], json!([]), "nothing explains these");
    assert_eq!((&figures["duplicates"], &figures["reordered"]), (&json!(0), &json!(0)), "doubled, or out of order");
    assert!(figures["delivered"].as_u64().unwrap() > 0 && faults.kinds_struck() >= 2, "it was no soak");
}
