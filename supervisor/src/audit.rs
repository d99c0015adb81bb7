//! Who changed something: one line for each command that does, whatever comes of it.
//!
//! The lines have the target [`TARGET`] and the level `info`, `warn` where it failed. An order that many programs give many times a
//! second is bounded as all of the log is, by command and outcome, and what is left out is counted in a line of its own.

use std::{
    fmt,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use nix::unistd::{Uid, User};
use tokio::net::unix::UCred;

/// Where to look for these lines, and what to name in a filter.
pub const TARGET: &str = "roomd::audit";

static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asker {
    /// A program on this host, over the control socket; the kernel says which.
    Control {
        /// Its user.
        uid: u32,
        /// Its process, if the kernel tells.
        pid: Option<i32>,
    },
    /// Over HTTP.
    Admin {
        /// Where the connection comes from.
        peer: SocketAddr,
        /// Whether it showed the token.
        token: bool,
    },
    /// A signal to the supervisor.
    Signal,
}

/// A command that changes something, while it is carried out. Dropped without a word on how it ended, it says that it was cut off.
#[derive(Debug)]
pub struct Audit {
    asker: Asker,
    /// Taken at the start: its process may have gone by the end.
    names: Names,
    command: &'static str,
    detail: String,
    begin: Instant,
    told: bool,
}

#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Names {
    user: Option<String>,
    process: Option<String>,
}

impl Asker {
    /// The program at the other end of the control socket.
    pub fn of_control(peer: &UCred) -> Asker {
        Asker::Control { uid: peer.uid(), pid: peer.pid() }
    }

    fn names(&self) -> Names {
        let Asker::Control { uid, pid } = self else { return Names::default() };
        let user = User::from_uid(Uid::from_raw(*uid)).ok().flatten().map(|user| user.name);
        // Best effort: it may have ended already.
        let process = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok());
        Names { user, process: process.map(|name| name.trim_end().to_owned()) }
    }
}

impl Audit {
    /// Begins; `detail` is what was asked for, in a few words and without anything secret.
    pub fn begin(asker: Asker, command: &'static str, detail: String) -> Audit {
        let names = asker.names();
        Audit { asker, names, command, detail, begin: Instant::now(), told: false }
    }

    /// It was done.
    pub fn done(self) {
        self.end(Ok(()));
    }

    /// It was not, or not all of it.
    pub fn failed(self, error: impl fmt::Display) {
        self.end(Err(error.to_string()));
    }

    fn end(mut self, outcome: Result<(), String>) {
        self.told = true;
        self.tell(if outcome.is_ok() { "ok" } else { "error" }, outcome.err());
    }

    fn tell(&self, outcome: &'static str, error: Option<String>) {
        let (via, uid, asker_pid, peer, token) = match self.asker {
            Asker::Control { uid, pid } => ("control", Some(uid), pid, None, None),
            Asker::Admin { peer, token } => ("admin", None, None, Some(tracing::field::display(peer)), Some(token)),
            Asker::Signal => ("signal", None, None, None, None),
        };
        let (user, process) = (self.names.user.as_deref(), self.names.process.as_deref());
        let (command, error) = (self.command, error.as_deref());
        let detail = Some(self.detail.as_str()).filter(|detail| !detail.is_empty());
        let duration_ms = self.begin.elapsed().as_millis() as u64;
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    command, detail, via, uid, user, asker_pid, process, peer, token, outcome, error, duration_ms,
                    "an order of the operator"
                )
            };
        }
        if outcome == "ok" { tell!(info) } else { tell!(warn) }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if !self.told {
            self.tell("cut off", None);
        }
    }
}

/// Somebody was turned away before it came to an order: counted, and told at the log's bounded rate.
pub fn refused(via: &'static str, who: impl fmt::Display, asked: &str, reason: &str) {
    REFUSED.fetch_add(1, Relaxed);
    tracing::warn!(target: TARGET, via, peer = %who, command = asked, error = reason, outcome = "refused", "turned away");
}

/// How often somebody was.
pub fn refusals() -> u64 {
    REFUSED.load(Relaxed)
}
