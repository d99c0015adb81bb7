//! A running roomd of the test's own.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::eventually_within;

/// How a cluster is started.
pub struct ClusterBuilder {
    program: PathBuf,
    config: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    descriptors: Option<u64>,
}

/// A running cluster; killed with the value, and its log shown if the test fails.
pub struct Cluster {
    process: Child,
    address: SocketAddr,
    admin: SocketAddr,
    folder: tempfile::TempDir,
}

/// A program of this workspace, built before the tests.
pub fn program(name: &str) -> PathBuf {
    // Test executables are in target/PROFILE/deps.
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join(name);
    assert!(path.exists(), "{} is missing: build it first, as tests/run does", path.display());
    path
}

/// A port that was free a moment ago.
pub fn temporary_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

impl Cluster {
    /// A cluster with this many workers over the embedded bus, ready.
    pub fn start(workers: u16) -> Cluster {
        Cluster::build(workers).start()
    }

    /// A cluster with this many workers that is not started yet.
    pub fn build(workers: u16) -> ClusterBuilder {
        ClusterBuilder {
            program: program("roomd"),
            config: String::new(),
            arguments: vec!["--workers".into(), workers.to_string()],
            environment: Vec::new(),
            descriptors: None,
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients connect, as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The supervisor's process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A folder of the test's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything that was logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Runs a command against this cluster.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("roomd"));
        command.args(arguments).arg("--control").arg(self.control());
        command.env_clear().stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that must succeed; its standard output.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The control socket.
    pub fn control(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    /// `roomd status --json`.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.run(&["status", "--json"])).unwrap()
    }

    /// The status of the worker that serves a slot.
    pub fn worker(&self, slot: usize) -> Value {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap();
        let mut of_slot = workers.iter().filter(|worker| worker["slot"] == slot);
        of_slot.find(|worker| worker["state"] != "draining").cloned().unwrap_or_default()
    }

    /// The processes of the workers, in the order of their slots.
    pub fn worker_pids(&self) -> Vec<u32> {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap().iter();
        workers.filter_map(|worker| Some(worker["pid"].as_u64()? as u32)).collect()
    }

    /// Waits until every wanted worker is ready and the bus is up.
    pub fn await_ready(&self) {
        self.run(&["wait", "--timeout", "20s"]);
    }

    /// Waits until the status has something.
    pub fn eventually<T>(&self, what: &str, mut found: impl FnMut(&Value) -> Option<T>) -> T {
        eventually_within(Duration::from_secs(20), what, || found(&self.status()))
    }

    /// Signals the supervisor.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).unwrap();
    }

    /// Waits for the supervisor's own end.
    pub fn await_end(&mut self, within: Duration) -> ExitStatus {
        eventually_within(within, "the supervisor ends", || self.process.try_wait().unwrap())
    }
}

impl ClusterBuilder {
    /// Another program than roomd itself.
    pub fn program(mut self, name: &str) -> Self {
        self.program = program(name);
        self
    }

    /// An executable of the test's own.
    pub fn executable(mut self, path: PathBuf) -> Self {
        self.program = path;
        self
    }

    /// Lines for the configuration file.
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self
    }

    /// Over this Redis.
    pub fn redis(self, url: &str) -> Self {
        self.argument("--redis").argument(url)
    }

    /// One more argument of `up`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// A variable of the environment, which is empty else.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// At most so many descriptors for each of its processes.
    pub fn descriptors(mut self, limit: u64) -> Self {
        self.descriptors = Some(limit);
        self
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> Cluster {
        let cluster = self.launch();
        cluster.await_ready();
        cluster
    }

    /// Starts it, and does not wait.
    pub fn launch(self) -> Cluster {
        self.launch_in(tempfile::tempdir().unwrap())
    }

    /// Starts it in a folder that the test has prepared.
    pub fn prepare(self, folder: impl FnOnce(&Path)) -> Cluster {
        let new = tempfile::tempdir().unwrap();
        folder(new.path());
        self.launch_in(new)
    }

    fn launch_in(self, folder: tempfile::TempDir) -> Cluster {
        let address = SocketAddr::from(([127, 0, 0, 1], temporary_port()));
        let admin = SocketAddr::from(([127, 0, 0, 1], temporary_port()));
        let config = folder.path().join("cluster.toml");
        fs::write(&config, &self.config).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let process = self
            .command()
            .args(["up", "--listen", &address.to_string(), "--admin", &admin.to_string()])
            .arg("--config")
            .arg(config)
            .arg("--control")
            .arg(folder.path().join("control.sock"))
            .args(&self.arguments)
            .env_clear()
            .env("ROOMD_LOG", "info,roomd_worker=debug")
            .envs(self.environment)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Cluster { process, address, admin, folder }
    }
}

impl ClusterBuilder {
    /// With a shell in front that lowers the limit, where there is one: `exec` keeps the process.
    fn command(&self) -> Command {
        let Some(limit) = self.descriptors else { return Command::new(&self.program) };
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")]).arg(&self.program);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- the cluster's last lines\n{}\n---", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}
