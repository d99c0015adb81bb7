//! A program of `node/`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::lines::Lines;

/// A running program that uses the official packages.
pub struct Node(Lines);

impl Node {
    /// Starts `node/SCRIPT` with arguments.
    pub fn start(script: &str, arguments: &[&str]) -> Node {
        let folder = Self::folder();
        assert!(folder.join("node_modules").exists(), "the npm packages are missing: tests/run installs them");
        let mut command = Command::new("node");
        command.arg(folder.join(script)).args(arguments);
        Node(Lines::start(command))
    }

    /// Where the programs are.
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("node")
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// The next line it writes.
    pub fn line(&mut self) -> Value {
        self.0.line()
    }

    /// Asks for something, and gives its result.
    pub fn ask(&mut self, request: Value) -> Value {
        self.0.ask(request)
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
