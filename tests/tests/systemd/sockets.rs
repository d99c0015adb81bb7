//! Socket units, and the store of listeners.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
};

use roomd_tests::{
    Cluster, Machine, eventually,
    http::{Connection, HANDSHAKE},
};

use crate::{CONFIG, nobody_is_refused};

/// A port that nobody has at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// A socket unit of the service.
fn socket_unit(lines: &str) -> String {
    format!("[Unit]\nDescription=A socket of the test\n[Socket]\n{lines}\nService=roomd.service\n")
}

/// The sockets that a process there has open, by their inodes.
fn sockets_of(machine: &Machine, process: u32) -> BTreeSet<String> {
    let list = machine.must(&["sh", "-c", &format!("readlink /proc/{process}/fd/*")]);
    list.lines().filter_map(|link| link.strip_prefix("socket:[")?.strip_suffix(']')).map(str::to_owned).collect()
}

/// The inodes of those that listen at a port.
fn listeners_at(machine: &Machine, port: u16) -> BTreeSet<String> {
    let table = machine.must(&["cat", "/proc/net/tcp"]);
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // State 0A is LISTEN.
    let listening = rows.filter(|row| row[3] == "0A" && row[1].ends_with(&format!(":{port:04X}")));
    listening.map(|row| row[9].to_owned()).collect()
}

#[test]
fn sockets_of_units_are_the_ones_that_serve_also_whoever_came_before_the_service() {
    let (port, admin) = (free_port(), free_port());
    let config = CONFIG.replace("/run/roomd/control.sock", "/run/roomd-control.sock");
    let machine = Machine::boot(&config.replacen("127.0.0.1:0", &format!("127.0.0.1:{}", free_port()), 1));
    machine
        .unit("roomd.socket", &socket_unit(&format!("ListenStream=127.0.0.1:{port}\nListenStream=/run/public.sock")));
    machine.unit("admin.socket", &socket_unit(&format!("ListenStream=127.0.0.1:{admin}\nFileDescriptorName=admin")));
    machine.unit("control.socket", &socket_unit("ListenStream=/run/roomd-control.sock\nFileDescriptorName=control"));
    machine.service("Sockets=roomd.socket admin.socket control.socket");
    machine.must(&["systemctl", "start", "roomd.socket", "admin.socket", "control.socket"]);
    assert_eq!(machine.supervisor(), 0);

    // The first client starts the service, which finds the request in the queue.
    let mut first = Connection::open(local(port));
    assert_eq!(first.get(HANDSHAKE).status, 200);
    let listening = machine.must(&["roomd", "status", "--json", "--control", "/run/roomd-control.sock"]);
    let listening: serde_json::Value = serde_json::from_str(&listening).unwrap();
    let expected = serde_json::json!([format!("127.0.0.1:{port}"), "unix:/run/public.sock"]);
    assert_eq!(
        listening["listeners"], expected,
        "the unit decides, for its address is another than the configuration's"
    );
    assert_eq!(listening["admin"], format!("http://127.0.0.1:{admin}"));

    // What serves is what systemd listens on: one socket at the port, open in both.
    let (ours, systemds) = (sockets_of(&machine, machine.supervisor()), sockets_of(&machine, 1));
    for port in [port, admin] {
        let listeners = listeners_at(&machine, port);
        assert!(listeners.len() == 1 && listeners.is_subset(&ours) && listeners.is_subset(&systemds), "{port}");
    }
    assert_eq!(Connection::open(local(admin)).get("/healthz").status, 200);
    let unix = UnixStream::connect(machine.path("/run/public.sock")).unwrap();
    assert_eq!(Connection::over(unix).get(HANDSHAKE).status, 200);

    // The units go on listening when the service has ended, and start it again.
    machine.run(&["systemctl", "stop", "roomd.service"]);
    assert_eq!(Connection::open(local(port)).get(HANDSHAKE).status, 200);
    machine.await_property("ActiveState", "active");
}

#[test]
fn a_socket_unit_for_one_address_of_the_configuration_leaves_the_others_to_roomd() {
    let (passed, bound) = (free_port(), free_port());
    let listen = format!("[\"127.0.0.1:{bound}\", \"127.0.0.1:{passed}\"]");
    let machine = Machine::boot(&CONFIG.replacen("\"127.0.0.1:0\"", &listen, 1));
    machine.unit("roomd.socket", &socket_unit(&format!("ListenStream=127.0.0.1:{passed}")));
    machine.must(&["systemctl", "start", "roomd.socket", "roomd.service"]);
    for port in [passed, bound] {
        assert_eq!(Connection::open(local(port)).get(HANDSHAKE).status, 200, "{port}");
    }
}

#[test]
fn what_clients_cannot_connect_to_ends_the_start_by_its_name() {
    for (lines, words) in [
        ("ListenDatagram=/run/nonsense", "\"roomd.socket\", passed by the service manager, is a datagram socket"),
        ("ListenFIFO=/run/nonsense", "\"roomd.socket\", passed by the service manager, is no socket"),
    ] {
        let machine = Machine::boot(CONFIG);
        machine.unit("roomd.socket", &socket_unit(lines));
        machine.must(&["systemctl", "start", "roomd.socket"]);
        assert!(!machine.run(&["systemctl", "start", "roomd.service"]).status.success());
        let journal = machine.journal();
        assert!(journal.contains(words), "{journal}");
        assert_eq!(machine.property("NRestarts"), "0", "trying again mends nothing");
    }
}

#[test]
fn a_restart_refuses_nobody_and_its_listeners_are_the_same() {
    let machine = Machine::boot(CONFIG);
    machine.must(&["systemctl", "start", "roomd"]);
    let (addresses, supervisor) = (machine.addresses(), machine.supervisor());
    let port = addresses[0].parse::<SocketAddr>().unwrap().port();
    let listener = listeners_at(&machine, port);
    let served = nobody_is_refused(&machine, || {
        machine.must(&["systemctl", "restart", "roomd"]);
        machine.await_workers(2);
    });
    assert!(served > 0 && machine.supervisor() != supervisor);
    assert_eq!((machine.addresses(), listeners_at(&machine, port)), (addresses, listener));
}

#[test]
fn a_listener_that_is_not_wanted_any_more_leaves_the_store() {
    let (stays, goes) = (free_port(), free_port());
    let with = |listen: String| CONFIG.replacen("\"127.0.0.1:0\"", &listen, 1);
    let machine = Machine::boot(&with(format!("[\":{goes}\", \"127.0.0.1:{stays}\"]")));
    machine.must(&["systemctl", "start", "roomd"]);
    machine.await_workers(2);
    let stored = |machine: &Machine| machine.property("NFileDescriptorStore").parse::<u32>().unwrap();
    let before = stored(&machine);
    assert!(before >= 4, "two listeners, admin and control");

    machine.write("/etc/roomd/cluster.toml", &with(format!("\"127.0.0.1:{stays}\"")));
    machine.must(&["systemctl", "restart", "roomd"]);
    machine.await_workers(2);
    eventually("one less is stored", || (stored(&machine) == before - 1).then_some(()));
    assert!(TcpStream::connect(local(goes)).is_err(), "nobody would ever serve who connects there");
    assert_eq!(Connection::open(local(stays)).get(HANDSHAKE).status, 200);

    // An address that overlaps one that is still stored when the new one is to be bound.
    machine.write("/etc/roomd/cluster.toml", &with(format!("\":{stays}\"")));
    machine.must(&["systemctl", "restart", "roomd"]);
    assert_eq!(machine.property("NRestarts"), "0");
    assert_eq!(Connection::open(local(stays)).get(HANDSHAKE).status, 200);
}

#[test]
fn a_descriptor_that_nobody_uses_is_named_in_the_log() {
    let pass = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=store-of-old exec \"$0\" \"$@\" 3</dev/null";
    let cluster = Cluster::build(1).inside(&["sh", "-c", pass]).start();
    let log = cluster.log();
    assert!(log.contains("is not used") && log.contains("store-of-old"), "{log}");
}
