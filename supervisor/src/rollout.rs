//! The order of a roll-out: which slot is next, and how it ends. No I/O.

use std::collections::{BTreeMap, VecDeque};

use roomd_wire::{Generation, Slot};

use crate::slot::Outcome;

/// A change that goes through several slots and can fail on the way.
#[derive(Debug)]
pub struct Rollout {
    /// Slots whose turn has not come.
    next: VecDeque<Slot>,
    /// New workers that are awaited, by slot.
    awaited: BTreeMap<Slot, Generation>,
    done: u16,
}

/// How a roll-out ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RolloutEnd {
    /// Every new worker is ready; how many.
    Done(u16),
    /// A new worker did not come up: the roll-out stops here.
    Failed {
        /// Whose.
        slot: Slot,
        /// Its own words, or what happened to it.
        reason: String,
    },
}

impl Rollout {
    /// One slot after the other.
    pub fn one_by_one(slots: impl IntoIterator<Item = Slot>) -> Self {
        Rollout { next: slots.into_iter().collect(), awaited: BTreeMap::new(), done: 0 }
    }

    /// Workers that were all started at once.
    pub fn together(workers: impl IntoIterator<Item = (Slot, Generation)>) -> Self {
        Rollout { next: VecDeque::new(), awaited: workers.into_iter().collect(), done: 0 }
    }

    /// The slot to replace now; none while a new worker is awaited, or at the end.
    pub fn next_slot(&mut self) -> Option<Slot> {
        if self.awaited.is_empty() { self.next.pop_front() } else { None }
    }

    /// The slot's new worker has been started as this generation.
    pub fn started(&mut self, slot: Slot, generation: Generation) {
        self.awaited.insert(slot, generation);
    }

    /// Whether everything was done.
    pub fn end(&self) -> Option<RolloutEnd> {
        (self.next.is_empty() && self.awaited.is_empty()).then_some(RolloutEnd::Done(self.done))
    }

    /// Something happened; the end, if this was it.
    pub fn handle(&mut self, outcome: &Outcome) -> Option<RolloutEnd> {
        match outcome {
            Outcome::Ready(id) if self.awaited.get(&id.slot) == Some(&id.generation) => {
                self.awaited.remove(&id.slot);
                self.done += 1;
                self.end()
            }
            Outcome::Died(id, reason) | Outcome::ReplacementDied(id, reason)
                if self.awaited.get(&id.slot) == Some(&id.generation) =>
            {
                Some(RolloutEnd::Failed { slot: id.slot, reason: reason.clone() })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomd_wire::WorkerId;

    fn id(slot: u16, generation: u32) -> WorkerId {
        WorkerId { slot: Slot(slot), generation: Generation(generation) }
    }

    #[test]
    fn a_slot_is_next_only_when_the_one_before_is_ready() {
        let mut rollout = Rollout::one_by_one([Slot(0), Slot(1)]);
        assert_eq!(rollout.next_slot(), Some(Slot(0)));
        rollout.started(Slot(0), Generation(2));
        assert_eq!(rollout.next_slot(), None);
        assert_eq!(rollout.handle(&Outcome::Ready(id(1, 9))), None);
        assert_eq!(rollout.handle(&Outcome::Ready(id(0, 2))), None);
        assert_eq!(rollout.next_slot(), Some(Slot(1)));
        rollout.started(Slot(1), Generation(10));
        assert_eq!(rollout.handle(&Outcome::Ready(id(1, 10))), Some(RolloutEnd::Done(2)));
    }

    #[test]
    fn a_new_worker_that_dies_stops_the_rollout_and_an_old_one_does_not() {
        let mut rollout = Rollout::one_by_one([Slot(0), Slot(1)]);
        rollout.next_slot();
        rollout.started(Slot(0), Generation(2));
        assert_eq!(rollout.handle(&Outcome::Died(id(0, 1), "signal KILL".into())), None);
        let end = RolloutEnd::Failed { slot: Slot(0), reason: "no database".into() };
        assert_eq!(rollout.handle(&Outcome::ReplacementDied(id(0, 2), "no database".into())), Some(end));
    }

    #[test]
    fn workers_started_together_are_done_when_the_last_is_ready() {
        let mut rollout = Rollout::together([(Slot(2), Generation(1)), (Slot(3), Generation(1))]);
        assert_eq!(rollout.handle(&Outcome::Ready(id(3, 1))), None);
        assert_eq!(rollout.handle(&Outcome::Ready(id(2, 1))), Some(RolloutEnd::Done(2)));
        assert_eq!(Rollout::together([]).end(), Some(RolloutEnd::Done(0)));
    }
}
