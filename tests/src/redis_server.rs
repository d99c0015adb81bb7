//! A real `redis-server` of the test's own, in a temporary directory.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A server; it is killed with the value.
pub struct RedisServer {
    pub port: u16,
    directory: tempfile::TempDir,
    options: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// Starts one with further options, such as `--requirepass word`.
    pub fn start(options: &[&str]) -> Self {
        let port = free_port();
        let options = options.iter().flat_map(|option| option.split(' ')).map(str::to_owned).collect();
        let mut server = RedisServer { port, directory: tempfile::tempdir().unwrap(), options, process: None };
        server.restart();
        server
    }

    /// A port on which nothing listens, for a server that is started later.
    pub fn stopped() -> Self {
        let mut server = Self::start(&[]);
        server.stop();
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self) {
        self.stop();
        let mut command = Command::new("redis-server");
        command.current_dir(self.directory.path()).args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--unixsocket", "redis.sock"]).args(&self.options);
        match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(process) => self.process = Some(process),
            Err(error) => panic!("these tests need redis-server (Debian: apt install redis-server): {error}"),
        }
        let until = Instant::now() + Duration::from_secs(10);
        while !self.answers() {
            assert!(Instant::now() < until, "redis-server did not start on port {}", self.port);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().unwrap();
        kill(Pid::from_raw(process.id() as i32), signal).unwrap();
    }

    /// Runs a command and gives its raw answer.
    pub fn run(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut answer = [0; 4096];
        let len = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..len]).into_owned()
    }

    /// Publishes bytes as they are; how many subscriptions got them.
    pub fn publish(&self, channel: &str, payload: &[u8]) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${}\r\n", channel.len(), payload.len());
        stream.write_all(&[head.as_bytes(), payload, b"\r\n"].concat()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer.strip_prefix(':').and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    }

    /// Its socket is made last; a refusal for want of a password is an answer too.
    fn answers(&self) -> bool {
        let asked = UnixStream::connect(self.socket()).and_then(|mut stream| {
            stream.write_all(b"PING\r\n")?;
            stream.read(&mut [0; 64])
        });
        asked.is_ok_and(|len| len > 0)
    }
}

/// A port below those that Linux gives out by itself: nobody is given it while the server is away, and a client that tries in
/// vain cannot meet itself there.
fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| fastrand::u16(10_000..32_000)).find(free).unwrap()
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
