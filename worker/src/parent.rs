//! Whether the supervisor lives.
//!
//! Its end shows as a hang-up of the control socket where nobody else holds the other end of that, which is the usual case. Where
//! systemd does (its store of descriptors), the socket lives on, and the next supervisor will speak on it: then the process itself
//! has to be watched.

use std::io;

use roomd_wire::{OrphanConfig, Readiness};
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::time::{Duration, Instant};

/// The supervisor's process, and what to do without it.
pub struct Parent {
    process: Option<Readiness>,
    timeout: Duration,
    grace: Duration,
    /// Since it was found dead: until when another one is waited for.
    until: Option<Instant>,
}

/// What became of the supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// It has died: another one is waited for.
    Orphaned,
    /// None has come: it is time to leave.
    Alone,
}

impl Parent {
    /// Watches it; not at all where its control socket tells all. Must be called inside a tokio runtime.
    pub fn new(orphan: Option<OrphanConfig>) -> Parent {
        let ms = Duration::from_millis;
        let (timeout, grace) = orphan.map(|orphan| (ms(orphan.timeout_ms), ms(orphan.grace_ms))).unwrap_or_default();
        let mut parent = Parent { process: None, timeout, grace, until: None };
        if let Some(orphan) = orphan {
            parent.is(orphan.supervisor);
        }
        parent
    }

    /// It is this process from now on.
    pub fn is(&mut self, supervisor: u32) {
        self.until = None;
        self.process = match watch(supervisor) {
            Ok(process) => Some(process),
            Err(error) => {
                tracing::debug!(%error, supervisor, "the supervisor's process cannot be watched");
                // It has died already, and is to be succeeded by another.
                self.until =
                    (error.raw_os_error() == Some(Errno::SRCH.raw_os_error())).then(|| Instant::now() + self.timeout);
                None
            }
        };
    }

    /// How long it may take to end clients when none has come.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// How long another one is waited for.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Waits until something has become of it. Cancelling loses nothing.
    pub async fn lost(&mut self) -> Lost {
        if let Some(until) = self.until {
            tokio::time::sleep_until(until).await;
            // Once is enough.
            self.until = Some(until + Duration::from_secs(86_400));
            return Lost::Alone;
        }
        match &self.process {
            // That it cannot be watched any more is its end, too.
            Some(process) => drop(process.when_readable(|| Ok(())).await),
            None => std::future::pending().await,
        }
        self.process = None;
        self.until = Some(Instant::now() + self.timeout);
        Lost::Orphaned
    }
}

fn watch(process: u32) -> io::Result<Readiness> {
    let pid = Pid::from_raw(process.cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    Readiness::new(pidfd_open(pid, PidfdFlags::empty())?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use super::*;

    fn config(supervisor: u32, timeout_ms: u64) -> Option<OrphanConfig> {
        Some(OrphanConfig { supervisor, timeout_ms, grace_ms: 0 })
    }

    #[tokio::test]
    async fn the_end_of_the_process_is_seen_and_then_that_nobody_came() {
        let mut supervisor = Command::new("sleep").arg("600").spawn().unwrap();
        let mut parent = Parent::new(config(supervisor.id(), 20));
        assert!(tokio::time::timeout(Duration::from_millis(50), parent.lost()).await.is_err(), "it lives");
        supervisor.kill().unwrap();
        assert_eq!(parent.lost().await, Lost::Orphaned);
        assert_eq!(parent.lost().await, Lost::Alone);
        supervisor.wait().unwrap();
    }

    #[tokio::test]
    async fn another_supervisor_is_watched_like_the_first() {
        let mut supervisor = Command::new("sleep").arg("600").spawn().unwrap();
        // This very process will not end.
        let mut parent = Parent::new(config(std::process::id(), 20));
        parent.is(supervisor.id());
        supervisor.kill().unwrap();
        assert_eq!(parent.lost().await, Lost::Orphaned);
        parent.is(std::process::id());
        assert!(
            tokio::time::timeout(Duration::from_millis(50), parent.lost()).await.is_err(),
            "it was adopted in time"
        );
        supervisor.wait().unwrap();
    }

    #[tokio::test]
    async fn without_a_store_nothing_is_watched() {
        let mut parent = Parent::new(None);
        assert!(tokio::time::timeout(Duration::from_millis(20), parent.lost()).await.is_err());
    }
}
