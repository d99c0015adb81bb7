//! The `roomd` program: the library with the built-in chat as its application.

use std::process::ExitCode;

fn main() -> ExitCode {
    roomd::run(roomd::chat::app)
}
