//! How long a busy worker rests between two rounds of writing, so that more joins into each write. No I/O.
//!
//! A write costs about the same for one packet and for twenty. Where packets come faster than they are written, a worker that
//! writes whenever it can spends its time on many small writes, and keeps those from running who make the next packets:
//! the hub and the other workers. It rests then for a multiple of what the last round took. Latency does not suffer where it
//! matters: at such a load it is what is under way divided by what is done in a second, and more is done.

use std::time::{Duration, Instant};

/// How much longer than the last round of writing a rest is.
const REST_PER_ROUND: u32 = 3;
/// The most that a rest can delay a packet.
const LONGEST_REST: Duration = Duration::from_millis(4);
/// The runtime's timer has a resolution of a millisecond: a shorter rest would be longer than it should.
const SHORTEST_REST: Duration = Duration::from_micros(500);
/// From so many packets for each session on, the last round shows that packets come faster than they are written.
const CROWDED: u64 = 2;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Pace {
    rest_until: Option<Instant>,
}

impl Pace {
    /// Until when to rest before the next round, if that is still to come.
    pub(super) fn rest(&self, now: Instant) -> Option<Instant> {
        self.rest_until.filter(|until| now < *until)
    }

    /// A round of writing is over: `packets` went to `sessions`.
    pub(super) fn wrote(&mut self, begin: Instant, end: Instant, sessions: usize, packets: u64) {
        let rest = ((end - begin) * REST_PER_ROUND).min(LONGEST_REST);
        let crowded = sessions > 0 && packets >= CROWDED * sessions as u64;
        self.rest_until = (crowded && rest >= SHORTEST_REST).then(|| end + rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_only_after_long_rounds_that_joined_packets() {
        let begin = Instant::now();
        for (micros, sessions, packets, rest) in [
            (1000, 500, 500, 0),
            (1000, 500, 999, 0),
            (1000, 500, 1000, 3000),
            (5000, 500, 5000, 4000),
            (200, 100, 1000, 600),
            (100, 50, 1000, 0),
            (0, 0, 0, 0),
            // Nothing but ends of sessions, or the bus.
            (1000, 0, 0, 0),
        ] {
            let mut pace = Pace::default();
            assert_eq!(pace.rest(begin), None);
            let end = begin + Duration::from_micros(micros);
            pace.wrote(begin, end, sessions, packets);
            let until = (rest > 0).then(|| end + Duration::from_micros(rest));
            assert_eq!(pace.rest(end), until, "{micros} us, {packets} packets to {sessions} sessions");
            assert_eq!(pace.rest(end + LONGEST_REST), None);
        }
    }
}
