//! The order of a roll-out: which slots are next, and how it ends. No I/O.
//!
//! A slot is done when its new worker has been ready for long enough to be trusted ([`Outcome::Confirmed`]). A new worker that dies
//! before that stops the roll-out, and so does one that crashes or hangs later while others still wait for their turn: code
//! that does not hold must not get into every slot.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use roomd_wire::{Generation, Slot};

use crate::{slot::Outcome, status::DeathCause};

/// A change that goes through several slots and can fail on the way.
#[derive(Debug)]
pub struct Rollout {
    /// Slots whose turn has not come.
    next: VecDeque<Slot>,
    /// New workers that are awaited, by slot.
    awaited: BTreeMap<Slot, Generation>,
    /// New workers that serve.
    done: BTreeMap<Slot, Generation>,
    /// How many may be awaited at once.
    parallel: usize,
}

/// How a roll-out ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RolloutEnd {
    /// Every new worker is ready; how many.
    Done(u16),
    /// A new worker did not come up: the roll-out stops here.
    Failed(Stopped),
}

/// How far a roll-out came that was stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stopped {
    /// Whose new worker did not come up, or did not last.
    pub slot: Slot,
    /// Which.
    pub generation: Generation,
    /// Its own words, or what happened to it.
    pub reason: String,
    /// For how long it had been ready, if it had.
    pub ready_for: Option<Duration>,
    /// How many new workers serve.
    pub replaced: u16,
    /// How many slots have what they had.
    pub left: u16,
    /// Slots whose new worker is on its way and shall not come.
    pub called_off: Vec<Slot>,
}

impl Rollout {
    /// So many slots at a time.
    pub fn new(slots: impl IntoIterator<Item = Slot>, parallel: u16) -> Self {
        Rollout {
            next: slots.into_iter().collect(),
            awaited: BTreeMap::new(),
            done: BTreeMap::new(),
            parallel: usize::from(parallel.max(1)),
        }
    }

    /// Workers that were all started at once.
    pub fn together(workers: impl IntoIterator<Item = (Slot, Generation)>) -> Self {
        Rollout { awaited: workers.into_iter().collect(), ..Rollout::new([], 1) }
    }

    /// The slot to replace now; none while as many new workers as may be are awaited, or at the end.
    pub fn next_slot(&mut self) -> Option<Slot> {
        if self.awaited.len() < self.parallel { self.next.pop_front() } else { None }
    }

    /// The slot's new worker has been started as this generation.
    pub fn started(&mut self, slot: Slot, generation: Generation) {
        self.awaited.insert(slot, generation);
    }

    /// How many of how many are done.
    pub fn progress(&self) -> (u16, u16) {
        (self.done.len() as u16, (self.done.len() + self.awaited.len() + self.next.len()) as u16)
    }

    /// Whether everything was done.
    pub fn end(&self) -> Option<RolloutEnd> {
        let (done, all) = self.progress();
        (done == all).then_some(RolloutEnd::Done(done))
    }

    /// Something happened; the end, if this was it.
    pub fn handle(&mut self, outcome: &Outcome) -> Option<RolloutEnd> {
        match outcome {
            Outcome::Confirmed(id) if self.awaited.get(&id.slot) == Some(&id.generation) => {
                self.awaited.remove(&id.slot);
                self.done.insert(id.slot, id.generation);
                self.end()
            }
            Outcome::Died { id, cause, reason, ready_for } => {
                let awaited = self.awaited.get(&id.slot) == Some(&id.generation);
                // What somebody else killed says nothing of the code.
                let by_itself = matches!(cause, Some(DeathCause::Crash | DeathCause::Hang));
                let did_not_last = by_itself && self.done.get(&id.slot) == Some(&id.generation);
                if !awaited && !did_not_last {
                    return None;
                }
                self.awaited.remove(&id.slot);
                let (replaced, all) = self.progress();
                Some(RolloutEnd::Failed(Stopped {
                    slot: id.slot,
                    generation: id.generation,
                    reason: reason.clone(),
                    ready_for: *ready_for,
                    replaced,
                    left: all - replaced + u16::from(awaited),
                    called_off: self.awaited.keys().copied().collect(),
                }))
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

    fn died(id: WorkerId, cause: DeathCause) -> Outcome {
        let ready_for = (cause != DeathCause::Start).then_some(Duration::from_secs(3));
        Outcome::Died { id, cause: Some(cause), reason: "no database".into(), ready_for }
    }

    fn confirmed(slot: u16, generation: u32) -> Outcome {
        Outcome::Confirmed(id(slot, generation))
    }

    /// Four slots, all of whose new workers are generation 2.
    fn four(parallel: u16) -> Rollout {
        Rollout::new((0..4).map(Slot), parallel)
    }

    fn start(rollout: &mut Rollout) -> Vec<u16> {
        let mut started = Vec::new();
        while let Some(slot) = rollout.next_slot() {
            rollout.started(slot, Generation(2));
            started.push(slot.0);
        }
        started
    }

    #[test]
    fn a_slot_is_next_only_when_the_one_before_is_trusted() {
        let mut rollout = Rollout::new([Slot(0), Slot(1)], 1);
        assert_eq!(start(&mut rollout), [0]);
        assert_eq!(rollout.handle(&confirmed(1, 9)), None);
        assert_eq!(rollout.handle(&confirmed(0, 2)), None);
        assert_eq!(rollout.progress(), (1, 2));
        assert_eq!(start(&mut rollout), [1]);
        assert_eq!(rollout.handle(&confirmed(1, 2)), Some(RolloutEnd::Done(2)));
    }

    #[test]
    fn never_are_more_awaited_than_may_be() {
        let mut rollout = four(3);
        assert_eq!(start(&mut rollout), [0, 1, 2]);
        assert_eq!(rollout.handle(&confirmed(1, 2)), None);
        assert_eq!(start(&mut rollout), [3]);
        for slot in [3, 0] {
            assert_eq!(rollout.handle(&confirmed(slot, 2)), None);
        }
        assert_eq!(rollout.handle(&confirmed(2, 2)), Some(RolloutEnd::Done(4)));
    }

    #[test]
    fn a_new_worker_that_dies_stops_the_rollout_and_an_old_one_does_not() {
        let mut rollout = four(2);
        assert_eq!(start(&mut rollout), [0, 1]);
        assert_eq!(rollout.handle(&died(id(0, 1), DeathCause::Crash)), None);
        assert_eq!(rollout.handle(&confirmed(0, 2)), None);
        assert_eq!(start(&mut rollout), [2]);
        let stopped = Stopped {
            slot: Slot(1),
            generation: Generation(2),
            reason: "no database".into(),
            ready_for: None,
            replaced: 1,
            left: 3,
            called_off: vec![Slot(2)],
        };
        assert_eq!(rollout.handle(&died(id(1, 2), DeathCause::Start)), Some(RolloutEnd::Failed(stopped)));
    }

    #[test]
    fn code_that_crashes_later_stops_the_rollout_and_what_somebody_killed_does_not() {
        let mut rollout = four(1);
        start(&mut rollout);
        rollout.handle(&confirmed(0, 2));
        assert_eq!(start(&mut rollout), [1]);
        assert_eq!(rollout.handle(&died(id(0, 2), DeathCause::Kill)), None);
        let Some(RolloutEnd::Failed(stopped)) = rollout.handle(&died(id(0, 2), DeathCause::Crash)) else {
            panic!("it goes on")
        };
        assert_eq!((stopped.slot, stopped.replaced, stopped.left), (Slot(0), 1, 3));
        assert_eq!(stopped.called_off, [Slot(1)]);
    }

    #[test]
    fn workers_started_together_are_done_when_the_last_is_trusted() {
        let mut rollout = Rollout::together([(Slot(2), Generation(1)), (Slot(3), Generation(1))]);
        assert_eq!(rollout.handle(&confirmed(3, 1)), None);
        assert_eq!(rollout.handle(&confirmed(2, 1)), Some(RolloutEnd::Done(2)));
        assert_eq!(Rollout::together([]).end(), Some(RolloutEnd::Done(0)));
    }
}
