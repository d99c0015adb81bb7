//! The lines of the control socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    emit::{Kind, MAX_ORDER_BYTES},
    logging::LogOrder,
};

/// Version of the lines below. Both sides name theirs in each line; fields that are added do not raise it.
pub const VERSION: u16 = 1;

/// The longest request line, its line feed included: an order of the largest size, every byte of which may need escaping.
pub const MAX_REQUEST_BYTES: usize = 2 * MAX_ORDER_BYTES + 4 * 1024;

/// The longest answer line: a status of 1024 workers, each with its last words, stays below.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Ask {
    /// What runs.
    Status,
    /// Replace all workers.
    Reload {
        /// So many at a time; one if it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parallel: Option<u16>,
    },
    /// Take a slot out of service.
    Drain {
        /// Which slot.
        slot: u16,
        /// Also if no other one serves.
        #[serde(default)]
        force: bool,
    },
    /// Put a drained slot back into service.
    Undrain {
        /// Which slot.
        slot: u16,
    },
    /// Become another program.
    Upgrade {
        /// Which: an absolute path; none for the one that was started, as it is on the disk now.
        #[serde(default)]
        binary: Option<PathBuf>,
    },
    /// Change the number of workers.
    Scale {
        /// To how many.
        workers: u16,
    },
    /// Stop gracefully.
    Stop,
    /// Signal one worker.
    Kill {
        /// Which slot's.
        slot: u16,
        /// The signal's name or number: `KILL`, `SIGKILL`, `9`.
        signal: String,
    },
    /// Tell or change what is logged.
    Log(LogOrder),
    /// Publish an order to clients.
    Publish {
        /// What is ordered.
        order: Kind,
        /// The order itself, a JSON object: as text, so that the admin listener and this socket read the same.
        body: String,
    },
}

impl Ask {
    /// What it changes: the command's name, and in a few words what of it; none for what only asks. Whoever adds a command decides
    /// here whether it is audited.
    pub fn changes(&self) -> Option<(&'static str, String)> {
        match self {
            Ask::Status => None,
            Ask::Log(LogOrder { filter: None, reset: false, .. }) => None,
            Ask::Reload { parallel } => {
                Some(("reload", parallel.map_or(String::new(), |slots| format!("{slots} at a time"))))
            }
            Ask::Drain { slot, .. } => Some(("drain", format!("slot {slot}"))),
            Ask::Undrain { slot } => Some(("undrain", format!("slot {slot}"))),
            Ask::Upgrade { binary } => {
                Some(("upgrade", binary.as_ref().map_or(String::new(), |path| format!("to {}", path.display()))))
            }
            Ask::Scale { workers } => Some(("scale", format!("to {workers} workers"))),
            Ask::Stop => Some(("stop", String::new())),
            Ask::Kill { slot, signal } => Some(("kill", format!("slot {slot}, signal {signal}"))),
            Ask::Log(order) => Some(("log", order.to_string())),
            Ask::Publish { order, body } => Some((order.command(), format!("{} bytes", body.len()))),
        }
    }
}

/// A request line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// The client's [`VERSION`].
    pub v: u16,
    /// What it asks for.
    #[serde(flatten)]
    pub ask: Ask,
}

/// The one field that a request of any version has.
#[derive(Deserialize)]
pub(super) struct Versioned {
    /// The client's version.
    pub v: u16,
}

/// An answer line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The supervisor's [`VERSION`].
    pub v: u16,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It was done.
    Ok(serde_json::Value),
    /// It was not.
    Error(Refusal),
}

/// Why a request was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Refusal {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}
