//! Workers that go on under the next supervisor: after a crash of the one before, and after an upgrade.

use std::time::Duration;

use roomd_tests::{
    Machine, eventually, eventually_within,
    http::{Connection, HANDSHAKE},
};

use crate::{CONFIG, nobody_is_refused};

fn started(config: &str) -> Machine {
    let machine = Machine::boot(config);
    machine.must(&["systemctl", "start", "roomd"]);
    machine.await_workers(2);
    machine
}

#[test]
fn workers_and_their_clients_outlive_a_crash_of_the_supervisor() {
    let machine = started(CONFIG);
    let (supervisor, workers) = (machine.supervisor(), machine.workers());
    let mut client = Connection::open(machine.addresses()[0].parse().unwrap());
    assert_eq!(client.get(HANDSHAKE).status, 200);
    for crash in 1..3 {
        let supervisor = machine.supervisor();
        machine.must(&["kill", "-KILL", &supervisor.to_string()]);
        // Nobody supervises at this moment, perhaps: the worker answers all the same.
        assert_eq!(client.get(HANDSHAKE).status, 200);
        machine.await_property("NRestarts", &crash.to_string());
        machine.await_property("ActiveState", "active");
        assert_eq!(machine.await_workers(2), workers, "{}", machine.journal());
        assert_eq!(client.get(HANDSHAKE).status, 200);
    }
    assert_ne!(machine.supervisor(), supervisor);
    // They are systemd's children by now, and are supervised: replaced, and ended with the service.
    machine.must(&["systemctl", "reload", "roomd"]);
    eventually("both are replaced", || {
        let now = machine.workers();
        (now.len() == 2 && now.iter().all(|worker| !workers.contains(worker))).then_some(())
    });
    machine.must(&["systemctl", "stop", "roomd"]);
    assert_eq!(machine.processes(), [0; 0]);
    assert_eq!(machine.property("NFileDescriptorStore"), "0");
}

#[test]
fn workers_that_no_supervisor_takes_over_leave() {
    let machine = started(&CONFIG.replace("grace", "orphan_timeout = \"1s\"\ngrace"));
    // systemd is to start no other for a while.
    machine.service("RestartSec=30s");
    machine.must(&["systemctl", "daemon-reload"]);
    let supervisor = machine.supervisor();
    machine.must(&["kill", "-KILL", &supervisor.to_string()]);
    eventually_within(Duration::from_secs(20), "they leave", || machine.processes().is_empty().then_some(()));
}

#[test]
fn an_upgrade_is_the_same_service() {
    let machine = started(CONFIG);
    let (supervisor, workers) = (machine.supervisor(), machine.workers());
    nobody_is_refused(&machine, || {
        machine.must(&["roomd", "upgrade", "--control", "/run/roomd/control.sock"]);
    });
    assert_eq!((machine.supervisor(), machine.property("NRestarts").as_str()), (supervisor, "0"));
    assert!(machine.await_workers(2).iter().all(|worker| !workers.contains(worker)));
    // Its watchdog goes on, and the next crash is survived as ever.
    machine.must(&["kill", "-KILL", &supervisor.to_string()]);
    machine.await_property("NRestarts", "1");
    machine.await_property("ActiveState", "active");
    machine.await_workers(2);
    machine.must(&["systemctl", "stop", "roomd"]);
    assert_eq!(machine.processes(), [0; 0]);
}
