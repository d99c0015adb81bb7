//! The service manager, as the supervise loop has it.

use std::time::{Duration, Instant};

use super::{
    Notifier,
    telling::{Doing, Telling, Word},
};
use crate::config::Environment;

/// Tells the service manager what it is to know, in each turn of the supervise loop.
#[derive(Default, Debug)]
pub struct ServiceManager {
    notifier: Notifier,
    telling: Telling,
}

impl ServiceManager {
    /// The one that this notifier tells, with the watchdog that it asked this process for.
    pub fn new(notifier: Notifier) -> ServiceManager {
        let watchdog = watchdog(&Environment::of_process(), std::process::id());
        ServiceManager { notifier, telling: Telling::new(watchdog, Instant::now()) }
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.notifier.is_heard()
    }

    /// See [`Telling::turn`].
    pub fn turn(&mut self, doing: Doing, line: impl FnOnce() -> String) {
        if !self.notifier.is_heard() {
            return;
        }
        for word in self.telling.turn(doing, line, Instant::now()) {
            match word {
                Word::Ready => self.notifier.ready(),
                Word::Reloading => self.notifier.reloading(),
                Word::Stopping(within) => {
                    self.notifier.stopping();
                    // The unit's own limit may be shorter than the grace that the configuration gives.
                    self.notifier.extend_timeout(within);
                }
                Word::Status(line) => self.notifier.status(&line),
                Word::Alive => self.notifier.alive(),
            }
        }
    }

    /// A reload that was ordered by a signal is refused: a service manager that sent it waits for its begin and its end.
    pub fn reload_refused(&self) {
        self.notifier.reloading();
        self.notifier.ready();
    }

    /// When the next turn is due even if nothing happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.notifier.is_heard().then(|| self.telling.poll_timeout())?
    }
}

/// How long the service manager waits for a word of this process before it ends it, if it does (sd_watchdog_enabled(3)).
fn watchdog(environment: &Environment, process: u32) -> Option<Duration> {
    if environment.text("WATCHDOG_PID").is_some_and(|pid| pid != process.to_string()) {
        return None;
    }
    let micros = environment.text("WATCHDOG_USEC")?.parse().ok().filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_of_another_process_is_none() {
        for (variables, expected) in [
            (&[][..], None),
            (&[("WATCHDOG_USEC", "20000000")], Some(20)),
            (&[("WATCHDOG_USEC", "20000000"), ("WATCHDOG_PID", "42")], Some(20)),
            (&[("WATCHDOG_USEC", "20000000"), ("WATCHDOG_PID", "41")], None),
            (&[("WATCHDOG_USEC", "0")], None),
            (&[("WATCHDOG_USEC", "soon")], None),
        ] {
            let watchdog = watchdog(&variables.iter().copied().collect(), 42);
            assert_eq!(watchdog, expected.map(Duration::from_secs), "{variables:?}");
        }
    }
}
