//! A program in another language, told what to do in lines of JSON.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program, which ends with the value. Each line it is sent is answered by one line.
pub struct Lines {
    process: Child,
    input: ChildStdin,
    output: mpsc::Receiver<String>,
}

impl Lines {
    /// Starts a program.
    pub fn start(mut command: Command) -> Lines {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("these tests need {:?}: {error}", command.get_program()));
        let input = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (sender, output) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Lines { process, input, output }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The next line it writes.
    pub fn line(&mut self) -> Value {
        let line = self.output.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the program did not answer"));
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the program wrote {line:?}"))
    }

    /// Asks for something, and gives its result.
    pub fn ask(&mut self, request: Value) -> Value {
        writeln!(self.input, "{request}").unwrap();
        let answer = self.line();
        assert_eq!(answer["error"], Value::Null, "{request}");
        answer["result"].clone()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
