//! A program of `python/`.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::lines::Lines;

/// A running program that uses Python's Socket.IO client, a second implementation that has nothing from the official one.
pub struct Python(Lines);

impl Python {
    /// Starts `python/SCRIPT`.
    pub fn start(script: &str) -> Python {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
        let interpreter = folder.join(".venv/bin/python");
        assert!(interpreter.exists(), "the Python packages are missing: tests/run installs them");
        let mut command = Command::new(interpreter);
        command.arg(folder.join(script));
        Python(Lines::start(command))
    }

    /// Asks for something, and gives its result.
    pub fn ask(&mut self, request: Value) -> Value {
        self.0.ask(request)
    }
}
