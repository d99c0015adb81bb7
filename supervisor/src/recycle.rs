//! Which worker is to be replaced for its memory, and when. No I/O.
//!
//! One at a time, and with pauses: a limit that is too small must not keep a whole cluster busy with replacing itself. A worker
//! must have been above the limit for a while, so that a peak is no leak.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use roomd_wire::{Slot, WorkerId};

/// How often to look.
const LOOK: Duration = Duration::from_secs(1);
/// So long without a break a worker must have been above the limit.
const SUSTAINED: Duration = Duration::from_secs(3);
/// Between two recyclings, whatever their slots.
const PAUSE: Duration = Duration::from_secs(30);
/// Between two recyclings of the same slot.
const SLOT_PAUSE: Duration = Duration::from_secs(300);

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Recycler {
    looked: Option<Instant>,
    /// Since when workers have been above the limit.
    above: BTreeMap<WorkerId, Since>,
    last: Option<Instant>,
    last_of_slot: BTreeMap<Slot, Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Since {
    at: Instant,
    told: bool,
}

/// What is to be done for the memory of workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Replace this one.
    Recycle(WorkerId),
    /// It is above the limit again, so soon after its slot was recycled, and is kept for so long. Said once of each worker.
    TooSoon(WorkerId, Duration),
}

impl Recycler {
    /// Whether it is time to look. If so, it counts as looked at.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = self.looked.is_none_or(|looked| looked + LOOK <= now);
        if due {
            self.looked = Some(now);
        }
        due
    }

    /// Looks at the resident memory of all workers that serve. `free`: nothing else is under way, so one may be replaced.
    pub fn look(
        &mut self,
        limit: u64,
        workers: impl IntoIterator<Item = (WorkerId, u64)>,
        free: bool,
        now: Instant,
    ) -> Option<Verdict> {
        let before = std::mem::take(&mut self.above);
        for (id, rss) in workers {
            if rss > limit {
                let since = before.get(&id).copied().unwrap_or(Since { at: now, told: false });
                self.above.insert(id, since);
            }
        }
        self.last_of_slot.retain(|_, at| *at + SLOT_PAUSE > now);
        if !free || self.last.is_some_and(|last| last + PAUSE > now) {
            return None;
        }
        let sustained = |since: &Since| since.at + SUSTAINED <= now;
        let rested = |id: &WorkerId| !self.last_of_slot.contains_key(&id.slot);
        // The one that has been above for longest is first.
        let next = self.above.iter().filter(|(id, since)| sustained(since) && rested(id));
        let Some((&id, _)) = next.min_by_key(|(_, since)| since.at) else {
            let (id, since) = self.above.iter_mut().find(|(_, since)| sustained(since) && !since.told)?;
            since.told = true;
            let last = self.last_of_slot.get(&id.slot)?;
            return Some(Verdict::TooSoon(*id, (*last + SLOT_PAUSE).saturating_duration_since(now)));
        };
        self.last = Some(now);
        self.last_of_slot.insert(id.slot, now);
        Some(Verdict::Recycle(id))
    }
}

#[cfg(test)]
mod tests {
    use roomd_wire::Generation;

    use super::*;

    const LIMIT: u64 = 100;

    struct Hand {
        recycler: Recycler,
        now: Instant,
    }

    fn id(slot: u16, generation: u32) -> WorkerId {
        WorkerId { slot: Slot(slot), generation: Generation(generation) }
    }

    impl Hand {
        fn new() -> Hand {
            Hand { recycler: Recycler::default(), now: Instant::now() }
        }

        /// So many seconds go by, in each of which the workers have this memory; what is said, and after how long.
        fn pass(&mut self, seconds: u64, workers: &[(WorkerId, u64)], free: bool) -> Vec<(u64, Verdict)> {
            let mut said = Vec::new();
            for second in 1..=seconds {
                self.now += LOOK;
                assert!(self.recycler.is_due(self.now) && !self.recycler.is_due(self.now));
                let verdict = self.recycler.look(LIMIT, workers.iter().copied(), free, self.now);
                said.extend(verdict.map(|verdict| (second, verdict)));
            }
            said
        }
    }

    #[test]
    fn a_worker_that_stays_above_the_limit_is_recycled_and_a_peak_is_not() {
        let mut hand = Hand::new();
        assert_eq!(hand.pass(600, &[(id(0, 1), LIMIT)], true), []);
        for _ in 0..10 {
            assert_eq!(hand.pass(3, &[(id(0, 1), LIMIT + 1)], true), []);
            assert_eq!(hand.pass(1, &[(id(0, 1), LIMIT)], true), []);
        }
        assert_eq!(hand.pass(4, &[(id(0, 1), LIMIT + 1)], true), [(4, Verdict::Recycle(id(0, 1)))]);
    }

    #[test]
    fn one_at_a_time_and_the_one_that_is_above_for_longest_first() {
        let mut hand = Hand::new();
        hand.pass(2, &[(id(1, 1), 500)], true);
        let both = [(id(0, 1), 500), (id(1, 1), 500)];
        assert_eq!(hand.pass(20, &both, false), [], "something else is under way");
        assert_eq!(hand.pass(1, &both, true), [(1, Verdict::Recycle(id(1, 1)))]);
        assert_eq!(hand.pass(40, &[(id(0, 1), 500), (id(1, 2), 1)], true), [(30, Verdict::Recycle(id(0, 1)))]);
    }

    #[test]
    fn a_limit_that_is_too_small_does_not_churn() {
        let mut hand = Hand::new();
        let mut generations = [1, 1];
        let (mut recycled, mut told) = (0, 0);
        for _ in 0..3600 {
            let workers = [(id(0, generations[0]), 500), (id(1, generations[1]), 500)];
            for (_, verdict) in hand.pass(1, &workers, true) {
                match verdict {
                    Verdict::Recycle(id) => {
                        generations[usize::from(id.slot.0)] += 1;
                        recycled += 1;
                    }
                    Verdict::TooSoon(..) => told += 1,
                }
            }
        }
        assert_eq!(recycled, 24, "each slot once in five minutes");
        assert_eq!(told, recycled, "and each new worker is told of once");
    }
}
