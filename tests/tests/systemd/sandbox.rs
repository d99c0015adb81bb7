//! What the shipped units let the service do.

use std::process::Command;

use roomd_tests::{Machine, packaged};

use crate::CONFIG;

#[test]
fn its_exposure_is_below_2_5_and_the_units_have_no_mistake() {
    let machine = Machine::boot(CONFIG);
    machine.must(&["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "roomd.service"]);
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
