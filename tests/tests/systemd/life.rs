//! Start, reload, deaths, hang and stop.

use std::{
    thread,
    time::{Duration, Instant},
};

use roomd_tests::{
    Machine, eventually,
    http::{Connection, HANDSHAKE},
};

use crate::{CONFIG, nobody_is_refused};

/// The service, started and with both workers ready.
fn started() -> Machine {
    let machine = Machine::boot(CONFIG);
    machine.must(&["systemctl", "start", "roomd"]);
    machine.await_workers(2);
    machine
}

#[test]
fn it_is_started_when_a_worker_is_ready_and_says_how_it_is() {
    let machine = Machine::boot(CONFIG);
    machine.must(&["systemctl", "start", "roomd"]);
    assert_eq!(machine.must(&["systemctl", "is-active", "roomd"]), "active");
    assert!(!machine.workers().is_empty(), "`systemctl start` returned before a worker was ready");
    machine.await_property("StatusText", "2/2 workers ready, 0 connections, bus embedded up");
    let _client = Connection::open(machine.addresses()[0].parse().unwrap());
    let mut session = Connection::open(machine.addresses()[0].parse().unwrap());
    assert_eq!(session.get(HANDSHAKE).status, 200);
    eventually("the line counts connections", || {
        machine.property("StatusText").contains(" 1 connection,").then_some(())
    });

    // Nothing that a worker starts can speak to systemd in the supervisor's name.
    let worker = machine.workers()[0];
    let environment = machine.must(&["sh", "-c", &format!("tr '\\0' '\\n' </proc/{worker}/environ")]);
    for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"] {
        assert!(!environment.contains(variable), "{environment}");
    }
}

#[test]
fn what_it_logs_has_its_priority_in_the_journal() {
    let machine = started();
    let worker = machine.workers()[0];
    machine.must(&["kill", "-KILL", &worker.to_string()]);
    let of_priority = |priority: &str| {
        machine.must(&["journalctl", "--sync"]);
        let asked = ["journalctl", "--unit", "roomd", "--priority", priority, "--output", "cat", "--no-pager"];
        machine.must(&asked)
    };
    eventually("the death is an error", || of_priority("err").contains("died").then_some(()));
    let (errors, informations) = (of_priority("err"), of_priority("info"));
    assert!(!errors.contains("ready"), "{errors}");
    assert!(informations.contains("ready worker=0.1"), "{informations}");
    assert!(!informations.contains("<6>") && !informations.contains("INFO"), "{informations}");
}

#[test]
fn a_reload_replaces_the_workers_and_one_that_fails_is_a_failed_reload() {
    let machine = started();
    let before = machine.workers();
    nobody_is_refused(&machine, || drop(machine.must(&["systemctl", "reload", "roomd"])));
    let after = machine.await_workers(2);
    assert!(after.iter().all(|worker| !before.contains(worker)), "{before:?} {after:?}");
    assert_eq!(machine.property("ActiveState"), "active");

    // New code that does not start.
    let broken =
        "#!/bin/sh\n[ \"$1\" = worker ] && { echo 'no database' >&2; exit 3; }\nexec /usr/bin/roomd.good \"$@\"\n";
    machine.must(&["mv", "/usr/bin/roomd", "/usr/bin/roomd.good"]);
    machine.write("/usr/bin/roomd", broken);
    machine.must(&["chmod", "+x", "/usr/bin/roomd"]);
    let reload = machine.run(&["systemctl", "reload", "roomd"]);
    assert!(!reload.status.success(), "a reload that failed was told as one that was done");
    let journal = machine.journal();
    assert!(journal.contains("no database") && journal.contains("the old workers stay"), "{journal}");
    assert_eq!((machine.property("ActiveState").as_str(), machine.workers()), ("active", after));

    // A configuration that is wrong.
    machine.must(&["mv", "/usr/bin/roomd.good", "/usr/bin/roomd"]);
    machine.write("/etc/roomd/cluster.toml", "[cluster]\nworker = 2\n");
    assert!(!machine.run(&["systemctl", "reload", "roomd"]).status.success());
    assert_eq!(machine.property("ActiveState"), "active");
}

#[test]
fn the_death_of_a_worker_is_no_matter_of_systemd() {
    let machine = started();
    let (supervisor, workers) = (machine.supervisor(), machine.workers());
    machine.must(&["kill", "-KILL", &workers[0].to_string()]);
    eventually("another serves in its place", || {
        let now = machine.workers();
        (now.len() == 2 && !now.contains(&workers[0]) && now.contains(&workers[1])).then_some(())
    });
    assert_eq!((machine.supervisor(), machine.property("NRestarts").as_str()), (supervisor, "0"));
}

#[test]
fn a_supervisor_that_dies_is_started_again_and_refuses_nobody() {
    let machine = started();
    let supervisor = machine.supervisor();
    let served = nobody_is_refused(&machine, || {
        machine.must(&["kill", "-KILL", &supervisor.to_string()]);
        machine.await_property("NRestarts", "1");
        machine.await_property("ActiveState", "active");
        machine.await_workers(2);
    });
    assert!(served > 0 && machine.supervisor() != supervisor);
}

#[test]
fn a_supervisor_that_hangs_is_ended_by_the_watchdog_and_started_again() {
    let machine = Machine::boot(CONFIG);
    machine.service("WatchdogSec=2s");
    machine.must(&["systemctl", "start", "roomd"]);
    // Longer than the watchdog waits: one that turns is left alone.
    let supervisor = machine.supervisor();
    thread::sleep(Duration::from_secs(3));
    assert_eq!((machine.supervisor(), machine.property("NRestarts").as_str()), (supervisor, "0"));
    machine.must(&["kill", "-STOP", &supervisor.to_string()]);
    machine.await_property("NRestarts", "1");
    machine.await_property("ActiveState", "active");
    let journal = machine.journal();
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    let address = machine.addresses()[0].parse().unwrap();
    assert_eq!(Connection::open(address).get(HANDSHAKE).status, 200);
}

#[test]
fn a_stop_ends_every_process_within_the_grace() {
    let machine = started();
    let mut client = Connection::open(machine.addresses()[0].parse().unwrap());
    assert_eq!(client.get(HANDSHAKE).status, 200);
    // One that cannot hear that it is to end.
    machine.must(&["kill", "-STOP", &machine.workers()[0].to_string()]);
    let begin = Instant::now();
    machine.must(&["systemctl", "stop", "roomd"]);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(machine.processes(), [0; 0]);
    assert_eq!(
        (machine.property("Result").as_str(), machine.property("NFileDescriptorStore").as_str()),
        ("success", "0")
    );
}

#[test]
fn a_grace_that_is_longer_than_the_unit_allows_is_given_all_the_same() {
    let machine = Machine::boot(&CONFIG.replace("\"2s\"", "\"4s\""));
    machine.service("TimeoutStopSec=1s");
    machine.must(&["systemctl", "start", "roomd"]);
    let address = machine.addresses()[0].parse().unwrap();
    let sessions: Vec<_> = (0..20).map(|_| Connection::open(address).get(HANDSHAKE)).collect();
    assert!(sessions.iter().all(|answer| answer.status == 200));
    let begin = Instant::now();
    machine.must(&["systemctl", "stop", "roomd"]);
    assert!(
        begin.elapsed() > Duration::from_millis(1500),
        "the clients were not given the grace: {:?}",
        begin.elapsed()
    );
    assert_eq!((machine.property("Result").as_str(), machine.processes()), ("success", Vec::new()));
}

#[test]
fn workers_do_not_outlive_a_supervisor_that_is_killed_while_it_stops() {
    let machine = Machine::boot(&CONFIG.replace("\"2s\"", "\"60s\""));
    machine.must(&["systemctl", "start", "roomd"]);
    let address = machine.addresses()[0].parse().unwrap();
    assert_eq!(Connection::open(address).get(HANDSHAKE).status, 200);
    let supervisor = machine.supervisor();
    let mut stop = machine.command(&["systemctl", "stop", "roomd"]).spawn().unwrap();
    machine.await_property("ActiveState", "deactivating");
    machine.must(&["kill", "-KILL", &supervisor.to_string()]);
    stop.wait().unwrap();
    eventually("no process is left", || machine.processes().is_empty().then_some(()));
}

#[test]
fn workers_do_not_outlive_a_unit_that_has_failed() {
    let machine = Machine::boot(CONFIG);
    machine.service("Restart=no");
    machine.must(&["systemctl", "start", "roomd"]);
    machine.await_workers(2);
    machine.must(&["kill", "-KILL", &machine.supervisor().to_string()]);
    machine.await_property("ActiveState", "failed");
    eventually("no process is left, for no supervisor will come", || machine.processes().is_empty().then_some(()));
}

#[test]
fn a_configuration_that_is_wrong_is_not_tried_again() {
    let machine = Machine::boot("[cluster]\nworker = 2\n");
    assert!(!machine.run(&["systemctl", "start", "roomd"]).status.success());
    let state = ["ActiveState", "NRestarts", "ExecMainStatus"].map(|name| machine.property(name));
    assert_eq!(state, ["failed", "0", "78"]);
    assert!(machine.journal().contains("unknown key `worker`"), "{}", machine.journal());
}
