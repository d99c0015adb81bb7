//! The deadlines of all sessions of a server, in one structure, so that one sleep serves them all.
//!
//! Each session has at most one entry that counts. A deadline that moves to a later time, as a heartbeat does with each pong,
//! costs nothing: the entry stays, and is corrected when it comes up. Entries come up on a grid of times, so that the server
//! wakes for many at once: it is the number of wakes that idle sessions cost, not the number of pings.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

/// Deadlines by what they belong to.
#[derive(Debug)]
pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
    /// Where the grid begins.
    origin: Instant,
    /// How far apart its times are: the most by which an entry comes up late.
    grain: Duration,
}

impl<K: Ord + Copy> Deadlines<K> {
    /// With no entries yet. `origin` is any time, say now.
    pub fn new(origin: Instant, grain: Duration) -> Self {
        Deadlines { heap: BinaryHeap::new(), origin, grain }
    }

    /// Wants `key` to come up at `due`, or a little later. `armed` is the caller's memory of the entry that counts for this
    /// key. True: it now comes up before all others.
    pub fn arm(&mut self, key: K, due: Instant, armed: &mut Option<Instant>) -> bool {
        if armed.is_some_and(|armed| armed <= due) {
            return false;
        }
        let due = self.on_grid(due);
        if armed.is_some_and(|armed| armed <= due) {
            return false;
        }
        *armed = Some(due);
        let first = self.next().is_none_or(|next| due < next);
        self.heap.push(Reverse((due, key)));
        first
    }

    /// The grid's first time that is not before `due`.
    fn on_grid(&self, due: Instant) -> Instant {
        let grain = self.grain.as_nanos().max(1);
        let beyond = due.saturating_duration_since(self.origin).as_nanos() % grain;
        // Less than the grain, which fits.
        let rest = Duration::from_nanos(u64::try_from((grain - beyond) % grain).unwrap_or(0));
        due.checked_add(rest).unwrap_or(due)
    }

    /// When the next entry comes up.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes an entry that is up, with the time it was armed for. It counts only if that is what the caller remembers.
    pub fn pop(&mut self, now: Instant) -> Option<(K, Instant)> {
        if self.next()? > now {
            return None;
        }
        let Reverse((due, key)) = self.heap.pop()?;
        if self.heap.len() * 4 < self.heap.capacity() && self.heap.capacity() > 1024 {
            self.heap.shrink_to(self.heap.capacity() / 2);
        }
        Some((key, due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_deadline_keeps_its_entry_and_an_earlier_one_gets_its_own() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::new(start, Duration::from_secs(1));
        let mut armed = None;
        assert!(deadlines.arm('a', at(10), &mut armed));
        assert!(!deadlines.arm('a', at(20), &mut armed));
        assert_eq!((deadlines.next(), armed), (Some(at(10)), Some(at(10))));
        assert!(deadlines.arm('a', at(5), &mut armed));
        assert_eq!(deadlines.pop(at(4)), None);
        assert_eq!(deadlines.pop(at(30)), Some(('a', at(5))));
        assert_eq!(deadlines.pop(at(30)), Some(('a', at(10))));
        assert_ne!(armed, Some(at(10)), "the second entry is stale");
        assert_eq!(deadlines.pop(at(30)), None);
    }
    #[test]
    fn deadlines_of_one_time_of_the_grid_come_up_together_and_none_too_early() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut deadlines = Deadlines::new(start, Duration::from_millis(50));
        let mut armed = [None; 6];
        for (key, (due, up, first)) in
            [(120, 150, true), (101, 150, false), (150, 150, false), (151, 200, false), (100, 100, true), (0, 0, true)]
                .into_iter()
                .enumerate()
        {
            assert_eq!(deadlines.arm(key, at(due), &mut armed[key]), first, "{due}");
            assert_eq!(armed[key], Some(at(up)), "{due}");
        }
        assert!(!deadlines.arm(0, at(110), &mut armed[0]), "an earlier one of the same time of the grid");
        assert_eq!(deadlines.pop(at(0)), Some((5, at(0))));
        assert_eq!(deadlines.pop(at(149)), Some((4, at(100))));
        assert_eq!(deadlines.pop(at(149)), None);
        let together: Vec<_> = std::iter::from_fn(|| deadlines.pop(at(150))).map(|(key, _)| key).collect();
        assert_eq!(together, [0, 1, 2]);
        assert_eq!(deadlines.next(), Some(at(200)));
    }
}
