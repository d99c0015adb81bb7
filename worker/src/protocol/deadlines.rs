//! The deadlines of all sessions of a server, in one structure, so that one sleep serves them all.
//!
//! Each session has at most one entry that counts. A deadline that moves to a later time, as a heartbeat does with each pong,
//! costs nothing: the entry stays, and is corrected when it comes up.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// Deadlines by what they belong to.
#[derive(Debug)]
pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord + Copy> Default for Deadlines<K> {
    fn default() -> Self {
        Deadlines { heap: BinaryHeap::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Wants `key` to come up at `due`. `armed` is the caller's memory of the entry that counts for this key.
    pub fn arm(&mut self, key: K, due: Instant, armed: &mut Option<Instant>) {
        if armed.is_none_or(|armed| due < armed) {
            *armed = Some(due);
            self.heap.push(Reverse((due, key)));
        }
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_later_deadline_keeps_its_entry_and_an_earlier_one_gets_its_own() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        let mut armed = None;
        deadlines.arm('a', at(10), &mut armed);
        deadlines.arm('a', at(20), &mut armed);
        assert_eq!((deadlines.next(), armed), (Some(at(10)), Some(at(10))));
        deadlines.arm('a', at(5), &mut armed);
        assert_eq!(deadlines.pop(at(4)), None);
        assert_eq!(deadlines.pop(at(30)), Some(('a', at(5))));
        assert_eq!(deadlines.pop(at(30)), Some(('a', at(10))));
        assert_ne!(armed, Some(at(10)), "the second entry is stale");
        assert_eq!(deadlines.pop(at(30)), None);
    }
}
