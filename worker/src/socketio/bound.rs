//! A bound on what waits at once on behalf of other servers.

use std::{cell::Cell, rc::Rc};

/// How many there are, and how much they keep, of one kind.
pub(super) struct Bound {
    /// For the log.
    what: &'static str,
    most: usize,
    most_bytes: usize,
    now: Cell<usize>,
    bytes: Cell<usize>,
    /// One was refused, and the log has said so; until none is left.
    told: Cell<bool>,
}

/// One that waits, for as long as this lives.
pub(super) struct Place {
    bound: Rc<Bound>,
    bytes: usize,
}

impl Bound {
    pub(super) fn new(what: &'static str, most: usize, most_bytes: usize) -> Rc<Self> {
        let (now, bytes, told) = Default::default();
        Rc::new(Bound { what, most, most_bytes, now, bytes, told })
    }

    /// One more begins, and keeps so many bytes. `None` if that is too much.
    pub(super) fn enter(self: &Rc<Self>, bytes: usize) -> Option<Place> {
        if self.now.get() >= self.most || self.bytes.get() + bytes > self.most_bytes {
            if !self.told.replace(true) {
                tracing::warn!(limit = self.most, limit_bytes = self.most_bytes, "too many {} at once", self.what);
            }
            return None;
        }
        self.now.set(self.now.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
        Some(Place { bound: self.clone(), bytes })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Bound { now, bytes, told, .. } = &*self.bound;
        now.set(now.get() - 1);
        bytes.set(bytes.get() - self.bytes);
        if now.get() == 0 {
            told.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_number_nor_the_bytes_are_passed_and_what_is_done_makes_room() {
        let bound = Bound::new("things", 3, 100);
        let mut places: Vec<_> = [50, 0, 50].into_iter().map(|bytes| bound.enter(bytes)).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(bound.enter(0).is_none() && bound.told.get());
        places.remove(1);
        assert!(bound.enter(1).is_none());
        assert!(bound.enter(0).is_some());
        places.remove(0);
        assert!(bound.enter(51).is_none());
        assert!(bound.enter(50).is_some());
        places.clear();
        assert_eq!((bound.now.get(), bound.bytes.get(), bound.told.get()), (0, 0, false));
    }
}
