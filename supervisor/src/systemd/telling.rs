//! What the service manager is told, and when. No I/O: [`ServiceManager`](super::ServiceManager) is the shell around it.

use std::time::{Duration, Instant};

/// Between two status lines: `systemctl status` is looked at by people.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// What the cluster is doing, as far as a service manager tells it apart.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Doing {
    /// No worker has been ready yet.
    #[default]
    Starting,
    /// Clients are served.
    Serving,
    /// Clients are served, and all workers are being replaced.
    Reloading,
    /// The end has begun, and takes at most so long.
    Stopping(Duration),
}

/// One thing to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// Clients are served.
    Ready,
    /// A reload begins.
    Reloading,
    /// The end begins, and takes at most so long.
    Stopping(Duration),
    /// The status line.
    Status(String),
    /// The loop goes on.
    Alive,
}

/// See the module's documentation.
#[derive(Default, Debug)]
pub struct Telling {
    told: Doing,
    line: String,
    line_at: Option<Instant>,
    /// The line may have changed since.
    stale: bool,
    watchdog: Option<Watchdog>,
}

#[derive(Debug)]
struct Watchdog {
    every: Duration,
    next: Instant,
}

impl Telling {
    /// For a service manager that ends a process which it has not heard of for so long, if it does.
    pub fn new(watchdog: Option<Duration>, now: Instant) -> Telling {
        // Half of it, as sd_watchdog_enabled(3) asks for: one late turn of the loop costs nothing.
        let watchdog = watchdog.map(|limit| Watchdog { every: limit / 2, next: now });
        Telling { watchdog, ..Telling::default() }
    }

    /// To be called in each turn of the supervise loop, and by nothing else: that the loop turns is what the watchdog is told.
    pub fn turn(&mut self, doing: Doing, line: impl FnOnce() -> String, now: Instant) -> Vec<Word> {
        let mut words = Vec::new();
        let changed = std::mem::discriminant(&doing) != std::mem::discriminant(&self.told);
        if changed {
            words.push(match doing {
                Doing::Starting | Doing::Serving => Word::Ready,
                Doing::Reloading => Word::Reloading,
                Doing::Stopping(within) => Word::Stopping(within),
            });
            self.told = doing;
        }
        if changed || self.line_at.is_none_or(|at| at + LINE_EVERY <= now) {
            let line = line();
            self.line_at = Some(now);
            self.stale = false;
            if line != self.line {
                words.push(Word::Status(line.clone()));
                self.line = line;
            }
        } else {
            self.stale = true;
        }
        if let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.next <= now) {
            watchdog.next = now + watchdog.every;
            words.push(Word::Alive);
        }
        words
    }

    /// When the next turn is due even if nothing happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let line = self.line_at.filter(|_| self.stale).map(|at| at + LINE_EVERY);
        let alive = self.watchdog.as_ref().map(|watchdog| watchdog.next);
        line.into_iter().chain(alive).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn line(text: &str) -> impl FnOnce() -> String {
        move || text.to_owned()
    }

    fn status(text: &str) -> Word {
        Word::Status(text.to_owned())
    }

    #[test]
    fn each_change_of_what_it_does_is_told_once_with_its_line() {
        let now = Instant::now();
        let mut telling = Telling::new(None, now);
        let stopping = Doing::Stopping(SECOND);
        for (doing, text, expected) in [
            (Doing::Starting, "0/2", vec![status("0/2")]),
            (Doing::Serving, "1/2", vec![Word::Ready, status("1/2")]),
            (Doing::Serving, "2/2", vec![]),
            (Doing::Reloading, "2/2", vec![Word::Reloading, status("2/2")]),
            (Doing::Reloading, "2/2", vec![]),
            (Doing::Serving, "2/2", vec![Word::Ready]),
            (stopping, "ends", vec![Word::Stopping(SECOND), status("ends")]),
            (Doing::Stopping(Duration::ZERO), "ends", vec![]),
        ] {
            assert_eq!(telling.turn(doing, line(text), now), expected, "{doing:?} {text}");
        }
        assert_eq!(telling.turn(stopping, line("ends"), now + SECOND), []);
    }

    #[test]
    fn a_line_that_keeps_changing_is_told_once_a_second() {
        let begin = Instant::now();
        let mut telling = Telling::new(None, begin);
        let mut told = 0;
        for turn in 0..10_000u32 {
            let now = begin + Duration::from_millis(turn.into());
            told += telling.turn(Doing::Serving, line(&turn.to_string()), now).len();
        }
        assert_eq!(told, 1 + 10);
    }

    #[test]
    fn the_last_change_is_told_although_nothing_else_happens() {
        let now = Instant::now();
        let mut telling = Telling::new(None, now);
        telling.turn(Doing::Starting, line("0/2"), now);
        assert_eq!(telling.poll_timeout(), None);
        assert_eq!(telling.turn(Doing::Starting, line("1/2"), now + SECOND / 2), []);
        assert_eq!(telling.poll_timeout(), Some(now + SECOND));
        assert_eq!(telling.turn(Doing::Starting, line("1/2"), now + SECOND), [status("1/2")]);
        assert_eq!(telling.poll_timeout(), None);
    }

    #[test]
    fn it_is_alive_at_half_of_the_watchdogs_time_and_only_by_turning() {
        let now = Instant::now();
        let mut telling = Telling::new(Some(10 * SECOND), now);
        assert_eq!(telling.turn(Doing::Starting, line(""), now), [Word::Alive]);
        assert_eq!(telling.turn(Doing::Starting, line(""), now + 4 * SECOND), []);
        assert_eq!(telling.poll_timeout(), Some(now + 5 * SECOND));
        assert_eq!(telling.turn(Doing::Starting, line(""), now + 7 * SECOND), [Word::Alive]);
        assert_eq!(telling.poll_timeout(), Some(now + 12 * SECOND));
    }
}
