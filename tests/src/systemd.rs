//! A systemd of the test's own: process 1 of new namespaces, with roomd installed, and nothing else running but its journal.
//!
//! Files that are written there are gone with it; the network is this machine's. It needs root, cgroup v2, and Debian's package
//! `systemd`: without, a test fails and says what is missing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{eventually, program};

/// What runs in it: the journal, so that what services say can be read.
const TARGET: &str = "[Unit]\nDescription=The test's own\nDefaultDependencies=no\nWants=systemd-journald.service\n";

/// A booted systemd; ends with the value, and with the thread that made it.
pub struct Machine {
    booting: Child,
    /// Its process 1, as it is numbered here.
    first: u32,
    cgroup: PathBuf,
    folder: tempfile::TempDir,
    /// Whether its network is its own: nothing but a loopback.
    apart: bool,
}

impl Machine {
    /// Boots, with roomd's unit installed and this configuration.
    pub fn boot(config: &str) -> Machine {
        Self::boot_with(config, false)
    }

    /// The same with a network of its own, so that every port is free.
    pub fn boot_apart(config: &str) -> Machine {
        Self::boot_with(config, true)
    }

    fn boot_with(config: &str, apart: bool) -> Machine {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        check_host();
        let folder = tempfile::tempdir().unwrap();
        let units = folder.path().join("units");
        fs::create_dir(&units).unwrap();
        fs::write(units.join("test.target"), TARGET).unwrap();
        fs::copy(packaged("roomd.service"), units.join("roomd.service")).unwrap();
        fs::write(folder.path().join("boot.sh"), include_str!("boot.sh")).unwrap();
        // Hard links are fast, and fall back to a copy between two file systems.
        let roomd = program("roomd");
        let copy = folder.path().join("roomd");
        fs::hard_link(&roomd, &copy).or_else(|_| fs::copy(&roomd, &copy).map(drop)).unwrap();

        // All its processes are in one cgroup, which tells when they are gone.
        let name = format!("roomd-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let cgroups = cgroups();
        sweep(&cgroups);
        let cgroup = cgroups.join(name);
        fs::create_dir(&cgroup).unwrap_or_else(|error| panic!("cannot make a cgroup ({}): {error}", cgroup.display()));
        let net = if apart { "--net" } else { "" };
        let enter = "echo $$ >\"$1/cgroup.procs\" && exec setpriv --pdeathsig KILL \
                     unshare $3 --pid --mount --cgroup --ipc --uts --fork --mount-proc --kill-child sh \"$2/boot.sh\" \"$2\"";
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let booting = Command::new("sh")
            .args(["-c", enter, "sh"])
            .args([&cgroup, folder.path()])
            .arg(net)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut machine = Machine { booting, first: 0, cgroup, folder, apart };
        machine.first = eventually("systemd is started", || {
            machine.check_booting();
            let children = children(machine.booting.id());
            children.into_iter().find(|pid| name_of(*pid).is_some_and(|name| name == "systemd"))
        });
        eventually("systemd is up", || {
            machine.check_booting();
            let output = machine.run(&["systemctl", "is-active", "test.target", "systemd-journald.service"]);
            output.status.success().then_some(())
        });
        machine.write("/etc/roomd/cluster.toml", config);
        machine
    }

    fn check_booting(&mut self) {
        if let Some(status) = self.booting.try_wait().unwrap() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            panic!("systemd does not boot in namespaces of its own here ({status}): {log}");
        }
    }

    /// Runs a command there.
    pub fn run(&self, command: &[&str]) -> Output {
        self.command(command).output().unwrap()
    }

    /// A command there that is not started yet.
    pub fn command(&self, command: &[&str]) -> Command {
        let mut enter = Command::new("nsenter");
        enter
            .args(["--target", &self.first.to_string(), "--pid", "--mount", "--cgroup", "--ipc", "--uts"])
            .args(self.apart.then_some("--net"))
            .args(command);
        enter.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C.UTF-8").stdin(Stdio::null());
        enter
    }

    /// Runs a command that must succeed; what it prints.
    pub fn must(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A file there, as it is found from here.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.first))
    }

    /// Writes a file there, and makes its folder.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Adds to a unit, or makes a new one, and lets systemd read it.
    pub fn unit(&self, file: &str, text: &str) {
        self.write(&format!("/etc/systemd/system/{file}"), text);
        self.must(&["systemctl", "daemon-reload"]);
    }

    /// Adds lines to the service's `[Service]`.
    pub fn service(&self, lines: &str) {
        self.unit("roomd.service.d/test.conf", &format!("[Service]\n{lines}\n"));
    }

    /// A property of roomd's service.
    pub fn property(&self, name: &str) -> String {
        self.must(&["systemctl", "show", "roomd.service", "--value", "--property", name])
    }

    /// Waits until a property of roomd's service is so.
    pub fn await_property(&self, name: &str, value: &str) {
        eventually(&format!("{name} is {value}"), || (self.property(name) == value).then_some(()));
    }

    /// The supervisor's number there; 0 if it does not run.
    pub fn supervisor(&self) -> u32 {
        self.property("MainPID").parse().unwrap()
    }

    /// `roomd status --json` there.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.must(&["roomd", "status", "--json", "--control", "/run/roomd/control.sock"]))
            .unwrap()
    }

    /// The numbers of the workers there, in the order of their slots.
    pub fn workers(&self) -> Vec<u64> {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap().iter();
        workers.filter(|worker| worker["state"] == "ready").filter_map(|worker| worker["pid"].as_u64()).collect()
    }

    /// Waits until so many workers are ready.
    pub fn await_workers(&self, count: usize) -> Vec<u64> {
        eventually(&format!("{count} workers are ready"), || {
            Some(self.workers()).filter(|workers| workers.len() == count)
        })
    }

    /// Where clients connect.
    pub fn addresses(&self) -> Vec<String> {
        let status = self.status();
        status["listeners"].as_array().unwrap().iter().map(|address| address.as_str().unwrap().to_owned()).collect()
    }

    /// All processes of the service, as they are numbered here.
    pub fn processes(&self) -> Vec<u32> {
        let list = fs::read_to_string(self.cgroup.join("system.slice/roomd.service/cgroup.procs"));
        list.unwrap_or_default().lines().map(|pid| pid.parse().unwrap()).collect()
    }

    /// What the service and systemd about it have said.
    pub fn journal(&self) -> String {
        // Written by another process: what was said before is there after this.
        self.must(&["journalctl", "--sync"]);
        self.must(&["journalctl", "--unit", "roomd.service", "--output", "short-monotonic", "--no-pager"])
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() && self.first != 0 {
            let journal = self.run(&["journalctl", "--unit", "roomd.service", "--lines", "60", "--no-pager"]);
            eprintln!("--- the journal\n{}---", String::from_utf8_lossy(&journal.stdout));
        }
        // Its process 1 ends with it, and all others with that.
        let _ = self.booting.kill();
        let _ = self.booting.wait();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !remove_cgroup(&self.cgroup) {
            if Instant::now() > deadline {
                eprintln!("left behind: {}", self.cgroup.display());
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A file of `packaging/systemd`.
pub fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd").join(name)
}

fn check_host() {
    assert!(
        nix::unistd::Uid::effective().is_root(),
        "a systemd in namespaces of its own needs root: run the tests as root"
    );
    for (file, package) in [
        ("/lib/systemd/systemd", "systemd"),
        ("/usr/bin/unshare", "util-linux"),
        ("/usr/bin/nsenter", "util-linux"),
        ("/usr/bin/setpriv", "util-linux"),
    ] {
        assert!(Path::new(file).exists(), "{file} is missing: install the package {package}");
    }
}

/// Where this machine has its cgroups (version 2), also beside those of version 1.
fn cgroups() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let place = mount.and_then(|line| line.split(' ').nth(4));
    place.expect("there is no cgroup2 file system on this machine, which systemd needs").into()
}

/// Removes what tests left that were killed themselves: their processes are gone, for they end with them.
fn sweep(cgroups: &Path) {
    for entry in fs::read_dir(cgroups).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let of = name.to_str().and_then(|name| name.strip_prefix("roomd-test-")?.split('-').next());
        if of.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove_cgroup(&entry.path());
        }
    }
}

fn remove_cgroup(place: &Path) -> bool {
    if let Ok(entries) = fs::read_dir(place) {
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            remove_cgroup(&entry.path());
        }
    }
    let _ = fs::remove_dir(place);
    !place.exists()
}

fn children(of: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent(*pid) == Some(of)).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn name_of(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned())
}
