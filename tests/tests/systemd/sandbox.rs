//! What the shipped units let the service do.

use std::{fs, net::TcpListener, process::Command};

use roomd_tests::{
    Machine,
    http::{Connection, HANDSHAKE},
    packaged,
};

use crate::CONFIG;

#[test]
fn its_exposure_is_below_2_5_and_the_units_have_no_mistake() {
    let machine = Machine::boot(CONFIG);
    machine.must(&["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "roomd.service"]);
    machine.unit("roomd.socket", &fs::read_to_string(packaged("roomd.socket")).unwrap());
    machine.must(&["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "roomd.socket"]);
    let unit = packaged("roomd.service");
    let analysis = Command::new("systemd-analyze").args(["security", "--offline=true"]).arg(&unit).output().unwrap();
    let analysis = String::from_utf8(analysis.stdout).unwrap();
    let overall =
        analysis.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| panic!("{analysis}"));
    // Shown in the test's output whenever that is shown.
    println!("{overall}");
    let level: f64 = overall.split_once(": ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!(level < 2.5, "{analysis}");
}

#[test]
fn what_init_writes_runs_that_very_program_and_is_found_by_the_commands() {
    let machine = Machine::boot(CONFIG);
    machine.must(&["mkdir", "-p", "/opt/our 50% chat"]);
    machine.must(&["mv", "/usr/bin/roomd", "/opt/our 50% chat/chat"]);
    let chat = "/opt/our 50% chat/chat";
    let refused = machine.run(&[chat, "init", "--systemd"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && words.contains("/etc/roomd/cluster.toml is there already"), "{words}");
    let told = machine.must(&[chat, "init", "--systemd", "--force"]);
    assert!(told.contains("wrote /etc/systemd/system/roomd.service"), "{told}");

    // The ports of the shipped configuration may be somebody's on this machine.
    machine.service("Environment=ROOMD_LISTEN=127.0.0.1:0 ROOMD_ADMIN=127.0.0.1:0");
    machine.must(&["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "roomd.service"]);
    machine.must(&["systemctl", "start", "roomd"]);
    machine.must(&["systemctl", "reload", "roomd"]);
    assert_eq!(machine.must(&["readlink", &format!("/proc/{}/exe", machine.supervisor())]), chat);
    assert!(machine.must(&[chat, "status"]).contains("ready"), "a command without --control or --config");
}

#[test]
fn with_its_drop_in_it_opens_ports_below_1024_and_only_then() {
    let mut low = (900..1024).rev().filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()?.local_addr().ok());
    let address = low.next().expect("a port below 1024 that nobody has");
    drop(low);
    let machine = Machine::boot(&CONFIG.replacen("127.0.0.1:0", &address.to_string(), 1));
    // The port is this machine's, and some let everybody open those.
    let limit = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if limit.trim().parse::<u16>().unwrap() > address.port() {
        assert!(!machine.run(&["systemctl", "start", "roomd"]).status.success());
        let journal = machine.journal();
        assert!(journal.contains("ports below 1024 need CAP_NET_BIND_SERVICE"), "{journal}");
    }
    let drop_in = fs::read_to_string(packaged("roomd.service.d/low-ports.conf.example")).unwrap();
    machine.must(&["systemctl", "stop", "roomd"]);
    machine.unit("roomd.service.d/low-ports.conf", &drop_in);
    machine.must(&["systemctl", "start", "roomd"]);
    assert_eq!(Connection::open(address).get(HANDSHAKE).status, 200);
}
