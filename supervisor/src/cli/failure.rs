//! What can end a command, and the one place where that becomes an exit code.

use std::process::ExitCode;

use crate::{config::Problems, control::ClientError, logging};

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// The configuration is wrong.
    Configuration(Problems),
    /// It failed at run time.
    Runtime(String),
    /// Somebody did not want to wait for it: what goes on.
    Interrupted(String),
}

impl Failure {
    /// A failure at run time, in the error's own words.
    pub fn runtime(error: impl std::fmt::Display) -> Failure {
        Failure::Runtime(error.to_string())
    }

    /// It in one line.
    pub fn text(&self) -> String {
        match self {
            Failure::Usage(message) | Failure::Runtime(message) | Failure::Interrupted(message) => one_line(message),
            Failure::Configuration(problems) => one_line(&problems.first()),
        }
    }

    /// Says it on standard error and gives the exit code: usage 2, configuration 78 (EX_CONFIG), run time 1, interrupted 130.
    pub fn report(self) -> ExitCode {
        let (message, code) = match self {
            Failure::Usage(message) => (message, 2),
            Failure::Configuration(problems) => {
                if let Some(line) = problems.in_one_line() {
                    say(&format!("roomd: {}", one_line(&line)));
                    return ExitCode::from(78);
                }
                // More than one problem, or a place to point to: one line is not enough.
                say(problems.to_string().trim_end());
                let count = problems.count();
                let what = if count == 1 { "a problem".into() } else { format!("{count} problems") };
                (
                    format!("the configuration has {what}: mend what is shown above, `roomd check` finds what is left"),
                    78,
                )
            }
            Failure::Runtime(message) => (message, 1),
            Failure::Interrupted(message) => (message, 130),
        };
        say(&format!("roomd: {}", one_line(&message)));
        ExitCode::from(code)
    }
}

/// Standard error may be closed: there is nobody left to tell then.
fn say(text: &str) {
    use std::io::Write as _;
    if logging::say(tracing::Level::ERROR, text) {
        return;
    }
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Errors are one line, whatever a library or a worker's last words put into them.
fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Failure {
        Failure::Configuration(problems)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::runtime(error)
    }
}
