//! Every command of `docs/operations.md`, in its order, on a system of its own with the packages that it speaks of.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use roomd_tests::{Machine, program};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The blocks of commands in a page.
fn commands(page: &str) -> Vec<&str> {
    page.split("\n```sh\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0).collect()
}

/// Puts two versions of the package where the page's commands find them.
fn bring_packages(machine: &Machine) {
    let folder = tempfile::tempdir().unwrap();
    let stripped = folder.path().join("roomd");
    assert!(Command::new("strip").arg("-o").arg(&stripped).arg(program("roomd")).status().unwrap().success());
    for version in ["0.1.0", "0.1.1"] {
        let mut build = Command::new(repository().join("packaging/debian/build"));
        build.args(["--version", version, "--program"]).arg(&stripped).arg("--output").arg(folder.path());
        build.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip").env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
        let built = build.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let package = String::from_utf8(built.stdout).unwrap();
        // The page is written for one kind of processor.
        let name = format!("/root/roomd_{version}_amd64.deb");
        fs::copy(package.trim(), machine.path(&name)).unwrap();
    }
}

#[test]
fn every_command_of_the_operators_page_does_what_it_says() {
    let page = fs::read_to_string(repository().join("docs/operations.md")).unwrap();
    let blocks = commands(&page);
    assert!(blocks.len() >= 8, "{blocks:?}");

    let machine = Machine::boot_apart("");
    // As a system is that has never heard of roomd, with the packages that are installed here. (By the last of these files
    // containers keep packages from starting services.)
    let forget = "rm -r /etc/roomd /usr/bin/roomd /run/systemd/system/roomd.service; mount -t tmpfs root /root; \
                  rm -f /usr/sbin/policy-rc.d";
    machine.must(&["sh", "-c", forget]);
    machine.must(&["mkdir", "-p", "/var/lib/dpkg/info", "/var/lib/dpkg/updates", "/var/lib/dpkg/triggers"]);
    machine.must(&["mkdir", "-p", "/var/lib/apt/lists/partial", "/var/cache/apt/archives/partial", "/var/log/apt"]);
    machine.write("/var/lib/dpkg/status", &fs::read_to_string("/var/lib/dpkg/status").unwrap());
    bring_packages(&machine);

    for block in blocks {
        let mut shell = machine.command(&["sh", "-euc", &format!("cd /root; {block}")]);
        shell.env("DEBIAN_FRONTEND", "noninteractive").env("HOME", "/root");
        shell.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let output = shell.output().unwrap();
        let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success(), "{block}\n--- {}\n{told}", output.status);
    }
    assert_eq!(machine.run(&["test", "-e", "/etc/roomd"]).status.code(), Some(1), "it is purged");
}
