//! Starts what is measured, as separate processes, and ends it.

use std::{
    io::{self, BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::process;

/// A running server and where it listens.
pub struct Server {
    child: Child,
    addresses: Vec<SocketAddr>,
    folder: Option<tempfile::TempDir>,
}

impl Server {
    /// A roomd cluster with the embedded bus and the built-in chat; ready to serve when this returns.
    pub fn roomd(workers: u16) -> io::Result<Server> {
        Server::cluster("roomd", workers, "")
    }

    /// The same that compresses messages.
    pub fn compressing(workers: u16) -> io::Result<Server> {
        Server::cluster("roomd", workers, "per_message_deflate = true\n")
    }

    /// The same with the application that says the same in two ways.
    pub fn two_ways(workers: u16) -> io::Result<Server> {
        Server::cluster("two_ways", workers, "")
    }

    fn cluster(program: &str, workers: u16, options: &str) -> io::Result<Server> {
        let folder = tempfile::tempdir()?;
        let control = folder.path().join("control.sock");
        let config = folder.path().join("cluster.toml");
        let address = free_address()?;
        let admin = free_address()?;
        std::fs::write(&config, format!("[socketio]\nping_interval = \"10m\"\n{options}"))?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let binary = beside_this(program)?;
        let mut child = Command::new(&binary)
            .args(["up", "--config", text(&config), "--control", text(&control), "--workers", &workers.to_string()])
            .args(["--listen", &address.to_string(), "--admin", &admin.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let ready = Command::new(&binary).args(["wait", "--timeout", "20s", "--control", text(&control)]).output()?;
        if !ready.status.success() {
            child.kill()?;
            child.wait()?;
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            return Err(io::Error::other(format!("roomd did not start: {log}")));
        }
        Ok(Server { child, addresses: vec![address], folder: Some(folder) })
    }

    /// A floor program of one process: `write` or `join`.
    pub fn floor(mode: &str, frame: &[u8]) -> io::Result<Server> {
        Server::printing_addresses(Command::new(beside_this("floor")?).args([mode, &hex(frame)]), 1)
    }

    /// A floor program of two processes.
    pub fn floor_pair(mode: &str, frame: &[u8]) -> io::Result<Server> {
        Server::printing_addresses(Command::new(beside_this("floor")?).args([mode, &hex(frame), "pair"]), 2)
    }

    /// A single worker that accepts by itself.
    pub fn single() -> io::Result<Server> {
        Server::printing_addresses(&mut Command::new(beside_this("single")?), 1)
    }

    fn printing_addresses(command: &mut Command, count: usize) -> io::Result<Server> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        let no_address = |line| io::Error::other(format!("it printed no address: {line:?}"));
        let lines = BufReader::new(stdout).lines().take(count);
        let parse = |line: String| line.parse::<SocketAddr>().map_err(|_| no_address(line));
        let addresses: io::Result<Vec<_>> = lines.map(|line| line.and_then(parse)).collect();
        Ok(Server { child, addresses: addresses?, folder: None })
    }

    /// Where clients connect, by turns.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether a client joins its room by an event, and not by its request.
    pub fn joins_by_event(&self) -> bool {
        self.folder.is_some()
    }

    /// All its processes.
    pub fn pids(&self) -> Vec<u32> {
        process::family(self.child.id())
    }
}

impl Drop for Server {
    /// Ends this server's own processes and nothing else: the workers leave when their supervisor is gone.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that was built together with this one.
fn beside_this(name: &str) -> io::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        return Err(io::Error::other(format!(
            "{} is missing: cargo build --release -p roomd -p roomd-benches",
            path.display()
        )));
    }
    Ok(path)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}
