//! When a session's heartbeat is due: Engine.IO 4 lets the server ping and the client answer.
//!
//! The next ping is due one interval after the *pong*. While a pong is awaited, the first other packet restarts the
//! timeout once (as engine.io does since 6.6.12); any further packet does nothing.

use std::time::{Duration, Instant};

/// How often to ping and how long to wait, the same for all sessions of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rhythm {
    /// Time between a pong and the next ping.
    pub interval: Duration,
    /// How long a pong may take.
    pub timeout: Duration,
}

impl Rhythm {
    /// How long a session lives whose client neither reads nor answers. No answer to a request should be kept longer.
    pub fn patience(&self) -> Duration {
        self.interval.saturating_add(self.timeout)
    }
}

/// The heartbeat of one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    due: Instant,
    awaits: Awaits,
}

/// What is to be done when the heartbeat is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beat {
    /// Send a ping.
    Ping,
    /// The client is gone.
    Timeout,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Awaits {
    /// Time for the next ping.
    Time,
    /// The pong; no other packet came meanwhile.
    Pong,
    /// The pong; another packet has prolonged the wait.
    PongProlonged,
}

impl Heartbeat {
    /// The heartbeat of a session that begins now.
    pub fn new(now: Instant, rhythm: &Rhythm) -> Heartbeat {
        Heartbeat { due: now + rhythm.interval, awaits: Awaits::Time }
    }

    /// When [`Heartbeat::expire`] has something to say.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// To be called when the time is due; `None` if it is not.
    pub fn expire(&mut self, now: Instant, rhythm: &Rhythm) -> Option<Beat> {
        if now < self.due {
            return None;
        }
        if self.awaits != Awaits::Time {
            return Some(Beat::Timeout);
        }
        *self = Heartbeat { due: now + rhythm.timeout, awaits: Awaits::Pong };
        Some(Beat::Ping)
    }

    /// A pong came; one that nobody asked for restarts the interval as well.
    pub fn pong(&mut self, now: Instant, rhythm: &Rhythm) {
        *self = Heartbeat::new(now, rhythm);
    }

    /// Another packet came.
    pub fn packet(&mut self, now: Instant, rhythm: &Rhythm) {
        if self.awaits == Awaits::Pong {
            *self = Heartbeat { due: now + rhythm.timeout, awaits: Awaits::PongProlonged };
        }
    }

    /// The session changed its transport: a pong that is under way gets the whole time again. (engine.io stops the timeout
    /// here altogether, and so keeps a session whose pong was lost for ever.)
    pub fn transport_changed(&mut self, now: Instant, rhythm: &Rhythm) {
        if self.awaits != Awaits::Time {
            *self = Heartbeat { due: now + rhythm.timeout, awaits: Awaits::Pong };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RHYTHM: Rhythm = Rhythm { interval: Duration::from_millis(300), timeout: Duration::from_millis(200) };

    fn started() -> (Instant, Heartbeat) {
        let start = Instant::now();
        (start, Heartbeat::new(start, &RHYTHM))
    }

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn without_a_pong_the_session_times_out() {
        let (start, mut beat) = started();
        assert_eq!(beat.expire(at(start, 299), &RHYTHM), None);
        assert_eq!(beat.expire(at(start, 300), &RHYTHM), Some(Beat::Ping));
        assert_eq!(beat.expire(at(start, 499), &RHYTHM), None);
        assert_eq!(beat.expire(at(start, 500), &RHYTHM), Some(Beat::Timeout));
    }

    #[test]
    fn the_next_ping_is_due_one_interval_after_the_pong() {
        let (start, mut beat) = started();
        beat.expire(at(start, 300), &RHYTHM);
        beat.pong(at(start, 400), &RHYTHM);
        assert_eq!(beat.due(), at(start, 700));
    }

    #[test]
    fn only_the_first_other_packet_prolongs_the_wait() {
        let (start, mut beat) = started();
        beat.packet(at(start, 100), &RHYTHM);
        assert_eq!(beat.due(), at(start, 300));
        beat.expire(at(start, 300), &RHYTHM);
        beat.packet(at(start, 450), &RHYTHM);
        beat.packet(at(start, 600), &RHYTHM);
        assert_eq!(beat.due(), at(start, 650));
        assert_eq!(beat.expire(at(start, 650), &RHYTHM), Some(Beat::Timeout));
    }

    #[test]
    fn an_unsolicited_pong_restarts_the_interval() {
        let (start, mut beat) = started();
        beat.pong(at(start, 200), &RHYTHM);
        assert_eq!(beat.due(), at(start, 500));
    }

    #[test]
    fn a_change_of_transport_gives_a_pong_the_whole_time_again() {
        let (start, mut beat) = started();
        beat.transport_changed(at(start, 100), &RHYTHM);
        assert_eq!(beat.due(), at(start, 300));
        beat.expire(at(start, 300), &RHYTHM);
        beat.transport_changed(at(start, 450), &RHYTHM);
        assert_eq!(beat.due(), at(start, 650));
    }
}
