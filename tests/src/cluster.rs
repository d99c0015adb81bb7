//! A running roomd of the test's own.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::OnceLock,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{eventually, eventually_within, program};

/// How a cluster is started.
pub struct ClusterBuilder {
    program: PathBuf,
    /// A command that runs the one that is appended to it.
    inside: Vec<String>,
    config: String,
    listen: Option<&'static str>,
    admin: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log: Option<Stdio>,
}

/// A running cluster; killed with the value, and its log shown if the test fails.
pub struct Cluster {
    process: Child,
    listening: OnceLock<Listening>,
    folder: tempfile::TempDir,
}

/// Where it listens: the ports are its own choice.
struct Listening {
    clients: Vec<String>,
    admin: String,
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
            inside: Vec::new(),
            config: String::new(),
            listen: Some("127.0.0.1:0"),
            admin: "127.0.0.1:0",
            arguments: vec!["--workers".into(), workers.to_string()],
            environment: Vec::new(),
            log: None,
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.addresses()[0].parse().unwrap()
    }

    /// All listeners for clients, in the order in which they were asked for.
    pub fn addresses(&self) -> &[String] {
        &self.listening().clients
    }

    /// Where clients connect, as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.listening().admin.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Waits until it listens; it does before its workers are ready.
    fn listening(&self) -> &Listening {
        self.listening.get_or_init(|| {
            eventually("it tells where it listens", || {
                let status: Value = serde_json::from_slice(&self.command(&["status", "--json"]).stdout).ok()?;
                let clients = status["listeners"].as_array()?.iter();
                let clients = clients.map(|listener| listener.as_str().unwrap().to_owned()).collect();
                Some(Listening { clients, admin: status["admin"].as_str().unwrap_or_default().to_owned() })
            })
        })
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

    /// With as many workers as the configuration file says, and not as many as it was built for.
    pub fn numbered_by_the_file(mut self) -> Self {
        self.arguments.clear();
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

    /// Without the usual listener of its own: what it is told otherwise says where it listens.
    pub fn no_listener(mut self) -> Self {
        self.listen = None;
        self
    }

    /// With the admin listener at this address instead of loopback.
    pub fn admin(mut self, address: &'static str) -> Self {
        self.admin = address;
        self
    }

    /// Run by another command, as `sh -c …` runs what follows as `"$@"`. The process must stay or end with that command's.
    pub fn inside(mut self, command: &[&str]) -> Self {
        self.inside = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// At most so many descriptors for each of its processes.
    pub fn descriptors(self, limit: u64) -> Self {
        // With a shell in front that lowers the limit, where there is one.
        self.inside(&["sh", "-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")])
    }

    /// Where standard error goes instead of into [`Cluster::log`].
    pub fn log_to(mut self, log: impl Into<Stdio>) -> Self {
        self.log = Some(log.into());
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
        let config = folder.path().join("cluster.toml");
        fs::write(&config, &self.config).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut words = self.inside.iter().map(Path::new).chain([self.program.as_path()]);
        let process = Command::new(words.next().unwrap())
            .args(words)
            .args(["up", "--admin", self.admin])
            .args(self.listen.iter().flat_map(|address| ["--listen", address]))
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
            .stderr(self.log.unwrap_or_else(|| log.into()))
            .spawn()
            .unwrap();
        Cluster { process, listening: OnceLock::new(), folder }
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
