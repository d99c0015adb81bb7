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
