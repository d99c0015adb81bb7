//! A program of `node/`, told what to do in lines of JSON.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program. Each line it is sent is answered by one line.
pub struct Node {
    process: Child,
    input: ChildStdin,
    output: mpsc::Receiver<String>,
}

impl Node {
    /// Starts `node/SCRIPT` with arguments.
    pub fn start(script: &str, arguments: &[&str]) -> Node {
        let folder = Self::folder();
        assert!(folder.join("node_modules").exists(), "the npm packages are missing: tests/run installs them");
        let mut process = Command::new("node")
            .arg(folder.join(script))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("these tests need node: {error}"));
        let input = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (sender, output) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Node { process, input, output }
    }

    /// Where the programs are.
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("node")
    }

    /// The next line it writes.
    pub fn line(&mut self) -> Value {
        let line = self.output.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("node did not answer"));
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("node wrote {line:?}"))
    }

    /// Asks for something, and gives its result.
    pub fn ask(&mut self, request: Value) -> Value {
        writeln!(self.input, "{request}").unwrap();
        let answer = self.line();
        assert_eq!(answer["error"], Value::Null, "{request}");
        answer["result"].clone()
    }

    /// Asks until the result satisfies.
    pub fn eventually(&mut self, what: &str, request: &Value, satisfied: impl Fn(&Value) -> bool) -> Value {
        crate::eventually(what, || Some(self.ask(request.clone())).filter(&satisfied))
    }

    /// Connects an official client under a name of the test's own.
    pub fn connect(&mut self, name: &str, url: &str, options: Value) {
        self.ask(json!({"do": "connect", "name": name, "url": url, "options": options}));
    }

    /// The arguments of all events of one name that a client has got so far.
    pub fn events(&mut self, client: &str, event: &str) -> Vec<Value> {
        self.ask(json!({"do": "events", "name": client, "event": event})).as_array().unwrap().clone()
    }

    /// Makes a client emit an event.
    pub fn emit(&mut self, client: &str, event: &str, args: Value) {
        self.ask(json!({"do": "emit", "name": client, "event": event, "args": args}));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
