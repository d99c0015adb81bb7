//! How many lines one cause may write. A core without I/O: time is an argument.
//!
//! A cause is a place in the program together with what it speaks of (a slot, a command). Its first lines in an interval pass; the
//! others are counted, and when the interval is over one line tells how many there were.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracing::Level;

/// How long the lines of one cause are counted together.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// How many causes are kept apart; all others share one. A program has fewer places that log, and few of them speak of many things.
const MAX_CAUSES: usize = 1024;

/// What was left out: told when the interval is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause {
    /// The level of its lines.
    pub level: Level,
    /// Where they come from.
    pub target: String,
    /// What the first that was left out said.
    pub message: String,
}

/// So many lines of a cause were left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// Of which cause.
    pub cause: Cause,
    /// How many.
    pub count: u64,
}

/// Counts the lines of each cause.
#[derive(Default, Debug)]
pub struct Limiter {
    causes: HashMap<u64, Entry>,
    left_out: u64,
    next_end: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    end: Instant,
    passed: u32,
    left_out: Option<LeftOut>,
}

impl Limiter {
    /// Whether one more line of this cause may be written; of each `limit` may in an interval. `cause` is asked for when the first
    /// is left out.
    pub fn admit(&mut self, cause: u64, limit: u32, now: Instant, describe: impl FnOnce() -> Cause) -> bool {
        let cause = match self.causes.len() < MAX_CAUSES || self.causes.contains_key(&cause) {
            true => cause,
            false => 0,
        };
        let entry = self.causes.entry(cause).or_insert_with(|| {
            let end = now + INTERVAL;
            self.next_end = Some(self.next_end.map_or(end, |next| next.min(end)));
            Entry { end, passed: 0, left_out: None }
        });
        if now >= entry.end && entry.left_out.is_none() {
            (entry.end, entry.passed) = (now + INTERVAL, 0);
        }
        if entry.passed < limit {
            entry.passed += 1;
            return true;
        }
        self.left_out += 1;
        entry.left_out.get_or_insert_with(|| LeftOut { cause: describe(), count: 0 }).count += 1;
        false
    }

    /// What was left out in the intervals that are over by now; they begin anew.
    pub fn due(&mut self, now: Instant) -> Vec<LeftOut> {
        if self.next_end.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let over = self.causes.extract_if(|_, entry| now >= entry.end);
        let found = over.filter_map(|(_, entry)| entry.left_out).collect();
        self.next_end = self.causes.values().map(|entry| entry.end).min();
        found
    }

    /// What was left out and has not been told, whether its interval is over or not.
    pub fn all(&mut self) -> Vec<LeftOut> {
        self.next_end = None;
        self.causes.drain().filter_map(|(_, entry)| entry.left_out).collect()
    }

    /// How many lines were left out since the start.
    pub fn total(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cause() -> Cause {
        Cause { level: Level::WARN, target: "t".into(), message: "m".into() }
    }

    fn passed(limiter: &mut Limiter, key: u64, lines: u32, now: Instant) -> usize {
        (0..lines).filter(|_| limiter.admit(key, 10, now, cause)).count()
    }

    #[test]
    fn the_first_lines_of_a_cause_pass_and_the_others_are_told_when_the_interval_is_over() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        assert_eq!(passed(&mut limiter, 1, 25, now), 10);
        assert_eq!(passed(&mut limiter, 2, 5, now), 5, "another cause has its own");
        assert_eq!(limiter.due(now + INTERVAL / 2), []);
        assert_eq!(passed(&mut limiter, 1, 5, now + INTERVAL / 2), 0);
        assert_eq!(limiter.due(now + INTERVAL), [LeftOut { cause: cause(), count: 20 }]);
        assert_eq!(limiter.due(now + 3 * INTERVAL), [], "told once");
        assert_eq!(passed(&mut limiter, 1, 25, now + 3 * INTERVAL), 10);
        assert_eq!(limiter.total(), 35);
        assert_eq!(limiter.all(), [LeftOut { cause: cause(), count: 15 }]);
    }

    #[test]
    fn slow_lines_are_never_left_out() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        for second in 0..1000 {
            let now = start + Duration::from_secs(second);
            assert_eq!(passed(&mut limiter, 1, 1, now), 1, "{second}");
            assert_eq!(limiter.due(now), []);
        }
    }

    #[test]
    fn causes_beyond_the_bound_share_one() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let all: usize = (1..=5000).map(|key| passed(&mut limiter, key, 1, now)).sum();
        assert_eq!(all, MAX_CAUSES + 10);
        assert!(limiter.causes.len() <= MAX_CAUSES + 1);
        assert_eq!(limiter.due(now + INTERVAL)[0].count, 5000 - all as u64);
        assert_eq!(passed(&mut limiter, 4999, 1, now + INTERVAL), 1, "room again");
    }
}
