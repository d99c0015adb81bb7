//! A worker's process, held by a descriptor of it (pidfd): whatever becomes of its number, what is done is done to this process.
//!
//! It may be a child, or no child (any more): the supervisor that started it has died, and another one has adopted it. A child's
//! status can be learned, of another process only that it has ended.

use std::{fs, io, os::fd::AsFd, process::Command, time::Duration};

use nix::sys::signal::Signal;
use roomd_wire::Readiness;
use rustix::{
    io::Errno,
    process::{
        Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, pidfd_open, pidfd_send_signal, waitid,
    },
};
use tokio::task::spawn_local;

use crate::slot::Exit;

/// Between two signals that would be taken for one if the first had not been seen yet.
const SECOND_SIGNAL_AFTER: Duration = Duration::from_millis(50);

/// A process that leads a group of its own.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    handle: Readiness,
    started: u64,
}

impl Process {
    /// Starts a command as the leader of a new process group. Must be called inside a tokio runtime.
    pub fn start(command: &mut Command) -> io::Result<Process> {
        use std::os::unix::process::CommandExt as _;
        // A group of its own: a signal from the terminal is the supervisor's to pass on, and what the application starts ends with
        // the worker.
        let child = command.process_group(0).spawn()?;
        let pid = Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("it has no number"))?;
        // Nobody but this process reaps it, so the number is its own until then.
        let handle = Readiness::new(pidfd_open(pid, PidfdFlags::empty())?)?;
        Ok(Process { pid, handle, started: start_time(pid.as_raw_pid().cast_unsigned()).unwrap_or_default() })
    }

    /// Takes on a process that an earlier supervisor has started; none if it has ended, or its number is another's by now.
    /// `started` is what [`Process::started`] was. Must be called inside a tokio runtime.
    pub fn adopt(number: u32, started: u64) -> io::Result<Option<Process>> {
        let Some(pid) = Pid::from_raw(number.cast_signed()) else { return Ok(None) };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => Readiness::new(handle)?,
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Looked at while its descriptor is held: if it is the one now, it was the one then.
        let same = started != 0 && start_time(number) == Some(started);
        Ok(same.then_some(Process { pid, handle, started }))
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_pid().cast_unsigned()
    }

    /// When it was started, in the kernel's ticks: with its number, a name that no other process of this boot ever has.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Signals it.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let named = named(signal)?;
        pidfd_send_signal(&self.handle, named)?;
        // Rust's runtime takes the first of these two to look for a stack overflow, finds none, and goes on without its
        // handler: only the second does what it would do to any other program.
        if matches!(signal, Signal::SIGSEGV | Signal::SIGBUS) {
            let handle = self.handle.as_fd().try_clone_to_owned()?;
            spawn_local(async move {
                tokio::time::sleep(SECOND_SIGNAL_AFTER).await;
                // It has ended by the first one, perhaps.
                let _ = pidfd_send_signal(&handle, named);
            });
        }
        Ok(())
    }

    /// Signals it and what it has started. A group that has ended already needs no signal.
    pub fn signal_group(&self, signal: Signal) {
        let sent = named(signal).and_then(|signal| Ok(kill_process_group(self.pid, signal)?));
        if let Err(error) = sent {
            tracing::debug!(pid = self.id(), %signal, %error, "the signal was not sent");
        }
    }

    /// Waits until it has ended, and ends what it has started: nothing of that may live on without it, nor hold its output open.
    pub async fn ended(&self) -> Exit {
        if let Err(error) = self.handle.when_readable(|| Ok(())).await {
            tracing::warn!(%error, pid = self.id(), "cannot watch a worker's process");
        }
        self.end_group();
        match waitid(WaitId::PidFd(self.handle.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => exit_of(&status),
            Ok(None) | Err(Errno::CHILD) => Exit::Unknown,
            Err(error) => {
                tracing::error!(%error, "cannot learn how a worker ended");
                Exit::Unknown
            }
        }
    }

    /// Where it is a child, it is not reaped yet, and no other group can have its number. Where it is none, its number is no
    /// process's as long as anything of its group is left.
    fn end_group(&self) {
        if start_time(self.id()).is_none_or(|started| started == self.started) {
            // An empty group is the usual case.
            let _ = kill_process_group(self.pid, rustix::process::Signal::KILL);
        }
    }
}

fn named(signal: Signal) -> io::Result<rustix::process::Signal> {
    rustix::process::Signal::from_named_raw(signal as i32).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn exit_of(status: &WaitIdStatus) -> Exit {
    match status.terminating_signal() {
        Some(number) => Exit::Signal(number, Signal::try_from(number).map_or("unknown", Signal::as_str)),
        None => Exit::Code(status.exit_status().unwrap_or(1)),
    }
}

/// When a process was started, in ticks since the boot (proc(5), field 22 of `stat`).
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name, in parentheses, may hold anything.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::{runtime, task::LocalSet};

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            tokio::time::timeout(Duration::from_secs(20), test).await.unwrap();
        });
    }

    fn shell(script: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn a_childs_end_is_told_as_it_was() {
        run(async {
            for (script, exit) in [
                ("exit 0", Exit::Code(0)),
                ("exit 3", Exit::Code(3)),
                ("kill -KILL $$", Exit::Signal(9, "SIGKILL")),
                ("kill -ABRT $$", Exit::Signal(6, "SIGABRT")),
            ] {
                assert_eq!(shell(script).ended().await, exit, "{script}");
            }
        });
    }

    #[test]
    fn one_that_runs_is_adopted_and_one_that_has_ended_is_not() {
        run(async {
            let process = shell("sleep 600");
            let again = Process::adopt(process.id(), process.started()).unwrap().unwrap();
            again.signal(Signal::SIGTERM).unwrap();
            assert_eq!(again.ended().await, Exit::Signal(15, "SIGTERM"));
            // Reaped by now, as no child of this process would be.
            assert_eq!(process.ended().await, Exit::Unknown);
            assert!(Process::adopt(process.id(), process.started()).unwrap().is_none());
        });
    }

    #[test]
    fn another_process_of_the_same_number_is_not_adopted() {
        run(async {
            let us = std::process::id();
            let started = start_time(us).unwrap();
            assert!(Process::adopt(us, started).unwrap().is_some());
            for other in [started - 1, started + 1, 0] {
                assert!(Process::adopt(us, other).unwrap().is_none(), "{other}");
            }
            assert!(Process::adopt(0, started).unwrap().is_none());
        });
    }
}
