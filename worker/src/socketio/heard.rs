//! Which broadcasts of other workers have been heard: what comes again is dropped (design D13).

use roomd_wire::{Generation, Slot, WorkerId};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// How far behind a worker's newest broadcast another of it may come and still be told from one that came before.
const WINDOW: u64 = 64;

/// Generations of a slot that are remembered: during a reload an old one still drains beside the new one.
const GENERATIONS: usize = 2;

/// What was heard of each slot's workers.
#[derive(Default)]
pub(super) struct Heard(FxHashMap<Slot, SmallVec<[Numbers; GENERATIONS]>>);

/// The numbers heard of one worker.
struct Numbers {
    generation: Generation,
    newest: u64,
    /// Bit n: the number `newest - n` was heard.
    heard: u64,
}

impl Heard {
    /// Whether it is new; what is older than the window counts as heard.
    pub(super) fn is_new(&mut self, origin: WorkerId, sequence: u64) -> bool {
        let slot = self.0.entry(origin.slot).or_default();
        if let Some(numbers) = slot.iter_mut().find(|numbers| numbers.generation == origin.generation) {
            return numbers.hear(sequence);
        }
        if slot.len() == GENERATIONS {
            // The oldest has left, if it is not this one, which then must be about to.
            let oldest = (0..slot.len()).min_by_key(|&at| slot[at].generation);
            match oldest.filter(|&at| slot[at].generation < origin.generation) {
                Some(at) => drop(slot.remove(at)),
                None => return true,
            }
        }
        slot.push(Numbers { generation: origin.generation, newest: sequence, heard: 1 });
        true
    }
}

impl Numbers {
    fn hear(&mut self, sequence: u64) -> bool {
        if sequence > self.newest {
            let ahead = sequence - self.newest;
            self.heard = if ahead < WINDOW { self.heard << ahead | 1 } else { 1 };
            self.newest = sequence;
            return true;
        }
        let behind = self.newest - sequence;
        let is_new = behind < WINDOW && self.heard & 1 << behind == 0;
        if is_new {
            self.heard |= 1 << behind;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(generation: u32) -> WorkerId {
        WorkerId { slot: Slot(1), generation: Generation(generation) }
    }

    #[test]
    fn each_number_is_new_once_in_whatever_order_it_comes() {
        let mut heard = Heard::default();
        for (sequence, is_new) in [
            (1, true),
            (1, false),
            (4, true),
            (2, true),
            (2, false),
            (3, true),
            (4, false),
            (67, true),
            (5, true),
            (4, false),
            (3, false),
            (1000, true),
            (67, false),
            (999, true),
            (937, true),
            (936, false),
            (u64::MAX, true),
            (u64::MAX, false),
            (1000, false),
        ] {
            assert_eq!(heard.is_new(worker(1), sequence), is_new, "{sequence}");
        }
    }

    #[test]
    fn generations_are_told_apart_and_only_the_last_two_are_remembered() {
        let mut heard = Heard::default();
        for generation in 1..=3 {
            assert!(heard.is_new(worker(generation), 1), "{generation}");
            assert!(!heard.is_new(worker(generation), 1), "{generation}");
        }
        assert!(!heard.is_new(worker(2), 1));
        // Nobody knows of the first any more: its last words must not be taken for echoes.
        assert!(heard.is_new(worker(1), 1));
        assert!(heard.is_new(worker(1), 1));
        assert_eq!(heard.0.len(), 1);
    }
}
