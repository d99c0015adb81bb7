//! What the control socket and the admin listener ask of the supervise loop.
//!
//! One task decides: everything that wants to know or to change something sends a [`Command`] over [`Commands`] and waits
//! for the answer. The loop may answer at once (`Status`, `Kill`, `Stop`) or when the thing is done (`Reload`, `Scale`, `Drain`, `Publish`);
//! an answer that nobody waits for any more is dropped.

use std::{os::fd::OwnedFd, path::PathBuf, time::Duration};

use roomd_wire::Slot;
use roomd_worker::bus::PublishError;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::{
    emit::Publication,
    logging::{LogOrder, LogStatus},
    status::Status,
};

/// How many commands may wait for the loop. Its senders are few and wait for their answers.
pub const COMMANDS_WAITING: usize = 32;

/// Where the answer to one command goes.
pub type Reply<T> = oneshot::Sender<T>;

/// Something the supervise loop is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Tell what runs. Answered at once.
    Status(Reply<Status>),
    /// Replace all workers, so many at a time. Answered when all are replaced, or when a new one did not come up.
    Reload(u16, Reply<Result<Reloaded, CommandError>>),
    /// Change the number of workers. Answered when the new ones are ready and the old ones drain.
    Scale(u16, Reply<Result<Scaled, CommandError>>),
    /// Take a slot out of service. Answered when its worker has ended.
    Drain {
        /// Which slot.
        slot: Slot,
        /// Also if no other one serves.
        force: bool,
        /// The answer.
        reply: Reply<Result<Drained, CommandError>>,
    },
    /// Put a drained slot back into service. Answered when its worker serves.
    Undrain(Slot, Reply<Result<Undrained, CommandError>>),
    /// Stop gracefully. Answered at once; the supervisor's end is seen by the end of the connection.
    Stop(Reply<Result<(), CommandError>>),
    /// Send a signal to a slot's current worker. Answered at once.
    Kill {
        /// Whose worker.
        slot: Slot,
        /// Which signal.
        signal: nix::sys::signal::Signal,
        /// The answer.
        reply: Reply<Result<Killed, CommandError>>,
    },
    /// Tell or change what is logged. Answered at once.
    Log(LogOrder, Reply<Result<LogStatus, CommandError>>),
    /// Become another program. Answered only where that fails; else the new one answers, on the connection that has asked.
    Upgrade {
        /// The new program; none: the one that was started, as it is on the disk now.
        binary: Option<PathBuf>,
        /// The connection.
        asker: OwnedFd,
        /// The answer.
        reply: Reply<Result<Upgraded, CommandError>>,
    },
    /// Publish an order to clients. Answered when the bus has taken it.
    Publish(Publication, Reply<Result<(), CommandError>>),
}

/// An order to clients is published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Published {
    /// True: what is not published is an error.
    pub published: bool,
}

/// A reload is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// How many workers were replaced.
    pub replaced: u16,
}

/// The supervisor is another program, and the workers are replaced.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Upgraded {
    /// The version that was.
    pub from: String,
    /// The version that is.
    pub to: String,
    /// The supervisor's process, the same as before.
    pub pid: u32,
    /// How many workers were replaced.
    pub replaced: u16,
}

/// The number of workers was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Scaled {
    /// How many there were.
    pub from: u16,
    /// How many there are.
    pub to: u16,
}

/// A slot is out of service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Drained {
    /// Which.
    pub slot: u16,
}

/// A slot is in service again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Undrained {
    /// Which.
    pub slot: u16,
}

/// A signal was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Killed {
    /// To which process.
    pub pid: u32,
}

/// Why a command was not carried out. Each text is a sentence for the person who asked, with the way out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// The slot does not exist.
    #[error("there is no slot {slot}: this cluster has the slots 0 to {}", slots.saturating_sub(1))]
    NoSuchSlot {
        /// The slot asked for.
        slot: Slot,
        /// How many slots there are.
        slots: u16,
    },
    /// The slot has no process at this moment.
    #[error("slot {slot} has no worker at the moment (it is in {state}): `roomd status` shows when it has one again")]
    NoWorker {
        /// The slot asked for.
        slot: Slot,
        /// The state it is in: `backoff`, `failed` or `drained`.
        state: &'static str,
    },
    /// The operating system refused the signal.
    #[error("could not send {signal} to process {pid}: {error}")]
    Signal {
        /// The signal's name.
        signal: &'static str,
        /// The worker's process.
        pid: u32,
        /// What the operating system said.
        error: String,
    },
    /// Something that excludes it is under way.
    #[error("{what} is under way: try again when `roomd status` shows the state `running`")]
    Busy {
        /// What is under way, as a subject: `a reload`.
        what: &'static str,
    },
    /// The supervisor stops.
    #[error("the cluster is stopping: `roomd stop` returns when it has ended")]
    Stopping,
    /// A new worker did not become ready, or did not last.
    #[error("the new worker of slot {slot} {}: {reason}; {rest}", did_not_come_up(*.ready_for))]
    NewWorkerFailed {
        /// The slot whose new worker failed.
        slot: Slot,
        /// Its own words, or what happened to it.
        reason: String,
        /// For how long it had been ready, if it had.
        ready_for: Option<Duration>,
        /// What runs now.
        rest: String,
    },
    /// The slot is out of service already.
    #[error("slot {slot} is drained already: `roomd undrain {slot}` puts it back into service")]
    DrainedAlready {
        /// The slot asked for.
        slot: Slot,
    },
    /// The slot is in service.
    #[error("slot {slot} is not drained: `roomd status` shows what it does")]
    NotDrained {
        /// The slot asked for.
        slot: Slot,
    },
    /// Without the slot nobody would serve.
    #[error("no slot but {slot} has a worker that is ready: clients would be refused; --force drains it all the same")]
    LastReady {
        /// The slot asked for.
        slot: Slot,
    },
    /// The slot was put back into service, or taken away, while it was draining.
    #[error("slot {slot} is not drained any more: somebody undrained it, or changed the number of workers, meanwhile")]
    DrainUndone {
        /// The slot asked for.
        slot: Slot,
    },
    /// The configuration file has changed in what only a restart can change.
    #[error(
        "{what} cannot change while the cluster runs, and nothing was changed: take the change back, or restart roomd"
    )]
    NeedsRestart {
        /// The keys, each with its place.
        what: String,
    },
    /// The configuration file, read again for a reload, has problems.
    #[error("the configuration has a problem: {first}{}; the old workers stay: run `roomd check`", also(*.others))]
    Config {
        /// The first problem in one line, with its place.
        first: String,
        /// How many more there are.
        others: usize,
    },
    /// The new program cannot take over.
    #[error("not upgraded: {reason}; the old supervisor serves on")]
    NotUpgraded {
        /// Its own words, or what happened to it.
        reason: String,
    },
    /// The new program has taken over, but the workers were not replaced.
    #[error("the supervisor is roomd {version} now, but its workers were not replaced: {error}")]
    NotReloaded {
        /// The new version.
        version: String,
        /// Why not.
        error: Box<CommandError>,
    },
    /// The bus did not take an order to clients.
    #[error("failed to {0}: `roomd status` shows how the bus is")]
    Publish(PublishError),
    /// The supervise loop has ended.
    #[error("the supervisor has ended")]
    Gone,
}

impl CommandError {
    /// A short name for programs that read the control socket.
    pub fn code(&self) -> &'static str {
        match self {
            CommandError::NoSuchSlot { .. } => "no_such_slot",
            CommandError::NoWorker { .. } => "no_worker",
            CommandError::Signal { .. } => "signal",
            CommandError::Busy { .. } => "busy",
            CommandError::Stopping => "stopping",
            CommandError::NewWorkerFailed { .. } => "new_worker_failed",
            CommandError::DrainedAlready { .. } => "drained_already",
            CommandError::NotDrained { .. } => "not_drained",
            CommandError::LastReady { .. } => "last_ready",
            CommandError::DrainUndone { .. } => "drain_undone",
            CommandError::NeedsRestart { .. } => "needs_restart",
            CommandError::Config { .. } => "config",
            CommandError::NotUpgraded { .. } => "not_upgraded",
            CommandError::NotReloaded { .. } => "not_reloaded",
            CommandError::Publish(PublishError::Down(_)) => "bus_down",
            CommandError::Publish(PublishError::Full) => "bus_full",
            CommandError::Publish(PublishError::Unconfirmed(_)) => "unconfirmed",
            CommandError::Gone => "gone",
        }
    }
}

fn did_not_come_up(ready_for: Option<Duration>) -> String {
    match ready_for {
        None => "could not start".into(),
        Some(time) => format!("was ready, but ended after {:.1} s", time.as_secs_f64()),
    }
}

fn also(others: usize) -> String {
    if others == 0 { String::new() } else { format!(" (and {others} more)") }
}

/// The way to the supervise loop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Commands(mpsc::Sender<Command>);

impl Commands {
    /// The way to the loop, and the loop's end of it.
    pub fn channel() -> (Commands, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(COMMANDS_WAITING);
        (Commands(sender), receiver)
    }

    /// Tells what runs.
    pub async fn status(&self) -> Result<Status, CommandError> {
        self.ask(Command::Status).await
    }

    /// Replaces all workers, so many at a time.
    pub async fn reload(&self, parallel: u16) -> Result<Reloaded, CommandError> {
        self.ask(|reply| Command::Reload(parallel, reply)).await?
    }

    /// Takes a slot out of service.
    pub async fn drain(&self, slot: Slot, force: bool) -> Result<Drained, CommandError> {
        self.ask(|reply| Command::Drain { slot, force, reply }).await?
    }

    /// Puts a slot back into service.
    pub async fn undrain(&self, slot: Slot) -> Result<Undrained, CommandError> {
        self.ask(|reply| Command::Undrain(slot, reply)).await?
    }

    /// Becomes another program: returns only where that fails.
    pub async fn upgrade(&self, binary: Option<PathBuf>, asker: OwnedFd) -> Result<Upgraded, CommandError> {
        self.ask(|reply| Command::Upgrade { binary, asker, reply }).await?
    }

    /// Changes the number of workers.
    pub async fn scale(&self, workers: u16) -> Result<Scaled, CommandError> {
        self.ask(|reply| Command::Scale(workers, reply)).await?
    }

    /// Stops the cluster gracefully.
    pub async fn stop(&self) -> Result<(), CommandError> {
        self.ask(Command::Stop).await?
    }

    /// Signals one worker.
    pub async fn kill(&self, slot: Slot, signal: nix::sys::signal::Signal) -> Result<Killed, CommandError> {
        self.ask(|reply| Command::Kill { slot, signal, reply }).await?
    }

    /// Tells or changes what is logged.
    pub async fn log(&self, order: LogOrder) -> Result<LogStatus, CommandError> {
        self.ask(|reply| Command::Log(order, reply)).await?
    }

    /// Publishes an order to clients.
    pub async fn publish(&self, what: Publication) -> Result<Published, CommandError> {
        self.ask(|reply| Command::Publish(what, reply)).await?.map(|()| Published { published: true })
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.map_err(|_| CommandError::Gone)?;
        answer.await.map_err(|_| CommandError::Gone)
    }
}
