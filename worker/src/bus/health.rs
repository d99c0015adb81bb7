//! Is the bus up? Answered by a message that goes out and comes back (design D10), without I/O.
//!
//! ```text
//!            connected                 probe came back
//! starting ────────────► (probe sent) ────────────────► up ──┐ probe came back: latency
//!     │                     ▲                            ▲ ──┘
//!     │ disconnected        │ connected                  │ probe came back
//!     ▼                     │                            │
//!    down ◄─────────────────┴── disconnected, or no probe came back in time
//! ```
//!
//! A connection alone does not make it up: that it is there says nothing of delivery.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How often a probe goes out, and how long it may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HealthTiming {
    /// From one probe to the next while all is well.
    pub interval: Duration,
    /// How long a probe may take to come back.
    pub deadline: Duration,
}

/// What the owner of the connection is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HealthAction {
    /// Publish a message with this number, so that it comes back.
    SendProbe(u64),
    /// It is up, for the first time or again: tell.
    WentUp,
    /// It is down, for the first time or again: tell.
    WentDown,
    /// A probe did not come back in time: the connection may be dead without knowing it.
    Missed,
}

/// The state of health of one process's bus.
#[derive(Debug)]
pub struct Health {
    timing: HealthTiming,
    rng: fastrand::Rng,
    connected: bool,
    /// `None` until the first outcome.
    up: Option<bool>,
    since: Instant,
    reason: String,
    latency: Option<Duration>,
    /// Of a probe that came back and nobody has asked for yet.
    round_trip: Option<Duration>,
    probe: Option<Probe>,
    next_probe: Option<Instant>,
    /// The last error the bus answered with: why a probe may be missing.
    hint: Option<String>,
    actions: VecDeque<HealthAction>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    number: u64,
    sent: Instant,
    deadline: Instant,
}

impl Default for HealthTiming {
    /// Two seconds and five: a dead connection is known within seven seconds, and a pause of a few seconds is none.
    fn default() -> Self {
        HealthTiming { interval: Duration::from_secs(2), deadline: Duration::from_secs(5) }
    }
}

impl Health {
    /// Not known yet.
    pub fn new(timing: HealthTiming, rng: fastrand::Rng, now: Instant) -> Self {
        Health {
            timing,
            rng,
            connected: false,
            up: None,
            since: now,
            reason: "not connected yet".into(),
            latency: None,
            round_trip: None,
            probe: None,
            next_probe: None,
            hint: None,
            actions: VecDeque::new(),
        }
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.up == Some(true)
    }

    /// Why it is not; empty while it is up.
    pub fn reason(&self) -> &str {
        if self.is_up() { "" } else { &self.reason }
    }

    /// Since when it is up, or is not.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// How long the last probe took; none while it is down.
    pub fn latency(&self) -> Option<Duration> {
        self.latency.filter(|_| self.is_up())
    }

    /// How long a probe took that has just come back; each is told once.
    pub fn take_round_trip(&mut self) -> Option<Duration> {
        self.round_trip.take()
    }

    /// Messages can be published and come back from now on.
    pub fn handle_connected(&mut self, now: Instant) {
        self.connected = true;
        self.hint = None;
        self.send_probe(now);
    }

    /// The connection ended or could not be made.
    pub fn handle_disconnected(&mut self, reason: String, now: Instant) {
        self.connected = false;
        self.probe = None;
        self.next_probe = None;
        self.set_down(reason, now);
    }

    /// A probe came back.
    pub fn handle_probe(&mut self, number: u64, now: Instant) {
        // A late one says that the bus is slow, which is not up.
        let Some(probe) = self.probe.take_if(|probe| probe.number == number && now < probe.deadline) else { return };
        self.latency = Some(now.saturating_duration_since(probe.sent));
        self.round_trip = self.latency;
        self.next_probe = Some((probe.sent + self.timing.interval).max(now));
        self.hint = None;
        if self.up != Some(true) {
            self.up = Some(true);
            self.since = now;
            self.actions.push_back(HealthAction::WentUp);
        }
    }

    /// The bus answered with an error: worth telling if the next probe does not come back.
    pub fn handle_error(&mut self, error: String) {
        self.hint = Some(error);
    }

    /// The time of [`Health::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(probe) = &mut self.probe
            && now >= probe.deadline
        {
            // Much too late to be called: this process was paused itself, and what came meanwhile is not read yet.
            if now - probe.deadline > self.timing.interval {
                probe.deadline = now + self.timing.interval;
                return;
            }
            self.probe = None;
            let mut reason = format!("a message did not come back within {:?}", self.timing.deadline);
            if let Some(hint) = self.hint.take() {
                reason = format!("{reason}: {hint}");
            }
            self.set_down(reason, now);
            self.actions.push_back(HealthAction::Missed);
            self.next_probe = Some(now);
        }
        if self.connected && self.probe.is_none() && self.next_probe.is_some_and(|at| now >= at) {
            self.send_probe(now);
        }
    }

    /// When to call [`Health::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.connected {
            return None;
        }
        self.probe.map(|probe| probe.deadline).or(self.next_probe)
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<HealthAction> {
        self.actions.pop_front()
    }

    fn send_probe(&mut self, now: Instant) {
        let number = self.rng.u64(..);
        self.probe = Some(Probe { number, sent: now, deadline: now + self.timing.deadline });
        self.next_probe = None;
        self.actions.push_back(HealthAction::SendProbe(number));
    }

    fn set_down(&mut self, reason: String, now: Instant) {
        self.reason = reason;
        if self.up != Some(false) {
            self.up = Some(false);
            self.since = now;
            self.actions.push_back(HealthAction::WentDown);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TIMING: HealthTiming = HealthTiming { interval: Duration::from_secs(2), deadline: Duration::from_secs(5) };

    fn health(now: Instant) -> Health {
        Health::new(TIMING, fastrand::Rng::with_seed(1), now)
    }

    fn probe(health: &mut Health) -> u64 {
        match health.poll_action() {
            Some(HealthAction::SendProbe(number)) => number,
            other => panic!("no probe but {other:?}"),
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_connection_is_up_once_a_message_came_back() {
        let start = Instant::now();
        let mut health = health(start);
        assert_eq!((health.is_up(), health.reason()), (false, "not connected yet"));
        health.handle_connected(start);
        let number = probe(&mut health);
        assert_eq!((health.is_up(), health.poll_action()), (false, None));
        health.handle_probe(number, start + Duration::from_millis(3));
        assert_eq!(health.poll_action(), Some(HealthAction::WentUp));
        assert_eq!((health.is_up(), health.reason()), (true, ""));
        assert_eq!(health.latency(), Some(Duration::from_millis(3)));
        assert_eq!(health.poll_timeout(), Some(start + seconds(2)));
        health.handle_timeout(start + seconds(2));
        assert_ne!(probe(&mut health), number);
    }

    #[test]
    fn a_message_that_stays_away_is_down_with_the_last_error_as_the_reason() {
        let start = Instant::now();
        let mut health = health(start);
        health.handle_connected(start);
        let late = probe(&mut health);
        health.handle_error("NOPERM no".into());
        assert_eq!(health.poll_timeout(), Some(start + seconds(5)));
        health.handle_timeout(start + seconds(5));
        assert_eq!(health.poll_action(), Some(HealthAction::WentDown));
        assert_eq!(health.poll_action(), Some(HealthAction::Missed));
        assert_eq!(health.reason(), "a message did not come back within 5s: NOPERM no");
        let number = probe(&mut health);
        health.handle_probe(late, start + seconds(6));
        assert!(!health.is_up());
        health.handle_probe(number, start + seconds(6));
        assert_eq!(health.poll_action(), Some(HealthAction::WentUp));
        assert_eq!(health.since(), start + seconds(6));
    }

    #[test]
    fn down_is_told_once_and_keeps_its_beginning_while_its_reason_is_the_latest() {
        let start = Instant::now();
        let mut health = health(start);
        health.handle_disconnected("refused".into(), start + seconds(1));
        assert_eq!(health.poll_action(), Some(HealthAction::WentDown));
        health.handle_disconnected("timed out".into(), start + seconds(3));
        assert_eq!(health.poll_action(), None);
        assert_eq!((health.reason(), health.since()), ("timed out", start + seconds(1)));
        assert_eq!(health.poll_timeout(), None);
    }

    #[test]
    fn a_pause_of_this_process_is_not_the_buss() {
        let start = Instant::now();
        let mut health = health(start);
        health.handle_connected(start);
        let number = probe(&mut health);
        health.handle_timeout(start + seconds(60));
        assert_eq!(health.poll_action(), None);
        health.handle_probe(number, start + seconds(60));
        assert_eq!(health.poll_action(), Some(HealthAction::WentUp));
    }

    /// Whatever comes in whatever order: up and down are told in turn, and as long as it is connected there is something to wait for.
    #[test]
    fn every_state_answers_every_event() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut now = Instant::now();
        let mut health = health(now);
        let (mut told, mut numbers, mut connected) = (None, vec![0], false);
        for step in 0..20_000 {
            now += Duration::from_millis(rng.u64(..3_000));
            match rng.u8(..10) {
                0 => {
                    health.handle_connected(now);
                    connected = true;
                }
                1 => {
                    health.handle_disconnected("gone".into(), now);
                    connected = false;
                }
                2 => health.handle_error("odd".into()),
                3..=6 => health.handle_timeout(now),
                _ => health.handle_probe(numbers[rng.usize(..numbers.len())], now),
            }
            while let Some(action) = health.poll_action() {
                match action {
                    HealthAction::SendProbe(number) => {
                        assert!(connected, "seed {seed} step {step}");
                        numbers = vec![0, number];
                    }
                    HealthAction::WentUp => assert!(told.replace(true) != Some(true), "seed {seed} step {step}"),
                    HealthAction::WentDown => assert!(told.replace(false) != Some(false), "seed {seed} step {step}"),
                    HealthAction::Missed => assert!(connected, "seed {seed} step {step}"),
                }
            }
            assert_eq!(health.poll_timeout().is_some(), connected, "seed {seed} step {step}");
            assert_eq!(health.is_up(), told == Some(true), "seed {seed} step {step}");
        }
    }
}
