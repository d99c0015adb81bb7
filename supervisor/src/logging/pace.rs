//! How many lines a second one worker's output may add to the log. A core without I/O: time is an argument.

use std::time::{Duration, Instant};

/// What may come at once, in seconds of the rate: a panic with its backtrace is some hundreds of lines.
const BURST_SECONDS: f64 = 10.0;

/// How often a line tells how many were left out.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long a line is taken for on the whole: longer ones count as several.
const LINE_BYTES: usize = 512;

/// Lines of one worker.
#[derive(Debug)]
pub struct Pace {
    room: f64,
    at: Instant,
    left_out: u64,
    told: Option<Instant>,
}

impl Pace {
    /// Nothing was written yet.
    pub fn new(now: Instant) -> Pace {
        Pace { room: f64::MAX, at: now, left_out: 0, told: None }
    }

    /// Whether a line of so many bytes may be written, at `rate` lines a second; 0 is without a bound.
    pub fn admit(&mut self, bytes: usize, rate: u32, now: Instant) -> bool {
        if rate == 0 {
            return true;
        }
        let rate = f64::from(rate);
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.room = (self.room + gained).min(rate * BURST_SECONDS);
        self.at = now;
        let takes = bytes.div_ceil(LINE_BYTES).max(1) as f64;
        if self.room >= takes {
            self.room -= takes;
            return true;
        }
        self.left_out += 1;
        false
    }

    /// Whether lines were left out that have not been told.
    pub fn owes(&self) -> bool {
        self.left_out > 0
    }

    /// How many lines were left out since this was last told, when it is time to; at the end always.
    pub fn due(&mut self, now: Instant, end: bool) -> Option<u64> {
        if self.left_out == 0 {
            return None;
        }
        // The first is told an interval after it began.
        let told = *self.told.get_or_insert(now);
        if !end && now.saturating_duration_since(told) < TELL_EVERY {
            return None;
        }
        self.told = None;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_bounded_and_told_in_summary() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let (mut written, mut told) = (0, 0);
        for step in 0..60_000_u64 {
            let now = start + Duration::from_millis(step);
            written += u64::from(pace.admit(20, 100, now)) + u64::from(pace.admit(20, 100, now));
            if let Some(lines) = pace.due(now, false) {
                told += 1;
                assert!(lines > 9_000, "{lines}");
            }
        }
        assert!((6_900..=7_100).contains(&written), "a burst of 1000 and 100 a second: {written}");
        assert!((4..=6).contains(&told), "{told}");
        assert!(pace.due(start, true).is_some() && pace.due(start, true).is_none());
    }

    #[test]
    fn long_lines_count_as_several_and_a_rate_of_0_bounds_nothing() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!((0..1000).filter(|_| pace.admit(8 * 1024, 10, now)).count(), 6);
        assert!((0..1000).all(|_| pace.admit(8 * 1024, 0, now)));
    }
}
