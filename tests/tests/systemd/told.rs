//! What systemd is told of states that pass.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, process::Stdio};

use roomd_tests::{
    Machine, eventually,
    http::{Connection, HANDSHAKE},
};

use crate::CONFIG;

#[test]
fn a_reload_by_whatever_way_is_seen_while_it_lasts() {
    let machine = Machine::boot(CONFIG);
    machine.must(&["systemctl", "start", "roomd"]);
    machine.await_workers(2);
    // New workers that take their time.
    machine.must(&["mv", "/usr/bin/roomd", "/usr/bin/roomd.fast"]);
    machine.write("/usr/bin/roomd", "#!/bin/sh\n[ \"$1\" = worker ] && sleep 1\nexec /usr/bin/roomd.fast \"$@\"\n");
    fs::set_permissions(machine.path("/usr/bin/roomd"), fs::Permissions::from_mode(0o755)).unwrap();
    // Not by systemd: what it knows it has from the supervisor.
    for order in [
        &["roomd", "reload", "--control", "/run/roomd/control.sock"][..],
        &["systemctl", "kill", "-s", "HUP", "--kill-who=main", "roomd"],
    ] {
        let mut reload = machine.command(order).stdout(Stdio::null()).spawn().unwrap();
        machine.await_property("ActiveState", "reloading");
        eventually("the line says so", || machine.property("StatusText").starts_with("reloading: ").then_some(()));
        machine.await_property("ActiveState", "active");
        assert!(reload.wait().unwrap().success(), "{order:?}");
    }
    assert_eq!(machine.property("NRestarts"), "0");
}

#[test]
fn a_reload_by_a_signal_that_is_refused_ends_at_once() {
    let machine = Machine::boot(CONFIG);
    machine.must(&["systemctl", "start", "roomd"]);
    machine.await_workers(2);
    machine.write("/etc/roomd/cluster.toml", "[cluster]\nworker = 2\n");
    machine.must(&["systemctl", "kill", "-s", "HUP", "--kill-who=main", "roomd"]);
    eventually("it is refused", || machine.journal().contains("not reloaded").then_some(()));
    machine.await_property("ActiveState", "active");
}

#[test]
fn it_is_ready_without_its_bus_and_says_so() {
    // Nobody listens there, and for the time of the test nobody will.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let machine = Machine::boot(&format!("{CONFIG}[redis]\nurl = \"redis://{nobody}\"\n"));
    machine.must(&["systemctl", "start", "roomd"]);
    machine.await_workers(2);
    eventually("the line says so", || machine.property("StatusText").ends_with("bus redis down").then_some(()));
    assert_eq!(Connection::open(machine.addresses()[0].parse().unwrap()).get(HANDSHAKE).status, 200);
}
