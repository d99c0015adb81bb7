//! Who is closed when, while a worker leaves: the idle first, evenly spread over the time. No I/O.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// When something happened, in eighths of a second or so since the worker's start: all that the order of a drain needs, in four
/// bytes of each session. They last for sixteen years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Moment(u32);

impl Moment {
    /// In this turn of the loop; who flushes it knows the time.
    pub const THIS_TURN: Moment = Moment(u32::MAX);

    /// So long after the start.
    pub fn after(start: Duration) -> Moment {
        // 2^27 nanoseconds are 134 ms: eight to a second, the last one shorter. No division, since it is done for each message.
        let eighths = start.as_secs().saturating_mul(8).saturating_add(u64::from(start.subsec_nanos() >> 27));
        Moment(u32::try_from(eighths).unwrap_or(u32::MAX).min(u32::MAX - 1))
    }
}

/// What the order is made of.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<K> {
    /// Whom.
    pub key: K,
    /// When its last message came or went.
    pub active: Moment,
    /// How much waits for it.
    pub queued_bytes: usize,
}

/// The order in which sessions are closed, and when. The longest idle come first; of two alike the one for which less waits.
///
/// Who was idle when the order was made and has had a message since goes behind all others, once: a client that is busy now is
/// closed as late as can be, and still in time.
#[derive(Debug)]
pub struct DrainOrder<K> {
    first: VecDeque<(K, Moment)>,
    again: VecDeque<K>,
    due: Instant,
    step: Duration,
}

impl<K: Copy> DrainOrder<K> {
    /// All of them, from now on, the last before the time is over.
    pub fn new(candidates: impl IntoIterator<Item = Candidate<K>>, now: Instant, within: Duration) -> Self {
        let mut all: Vec<Candidate<K>> = candidates.into_iter().collect();
        all.sort_by_key(|one| (one.active, one.queued_bytes));
        let step = within.div_f64(all.len().max(1) as f64);
        let first = all.into_iter().map(|one| (one.key, one.active)).collect();
        DrainOrder { first, again: VecDeque::new(), due: now, step }
    }

    /// When the next one is to be closed; `None` when all have been.
    pub fn due(&self) -> Option<Instant> {
        (!self.first.is_empty() || !self.again.is_empty()).then_some(self.due)
    }

    /// Whom to close now that it is due. `active` tells a session's last message as it is now, `None` of one that has left by itself:
    /// its time is not given to others, so that these keep their pace.
    pub fn next(&mut self, active: impl Fn(K) -> Option<Moment>) -> Option<K> {
        while let Some((key, then)) = self.first.pop_front() {
            match active(key) {
                Some(now) if now > then => self.again.push_back(key),
                _ => return Some(self.pass(key)),
            }
        }
        self.again.pop_front().map(|key| self.pass(key))
    }

    fn pass(&mut self, key: K) -> K {
        self.due += self.step;
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(key: char, active: u32, queued_bytes: usize) -> Candidate<char> {
        Candidate { key, active: Moment(active), queued_bytes }
    }

    /// Closes all, and tells who and how long after the start.
    fn closed(
        order: &mut DrainOrder<char>,
        start: Instant,
        active: impl Fn(char) -> Option<Moment>,
    ) -> Vec<(char, u128)> {
        std::iter::from_fn(|| {
            let due = order.due()?;
            order.next(&active).map(|key| (key, (due - start).as_millis()))
        })
        .collect()
    }

    #[test]
    fn the_idle_come_first_then_those_for_whom_nothing_waits_evenly_spread() {
        let start = Instant::now();
        let candidates = [candidate('a', 9, 0), candidate('b', 2, 70), candidate('c', 2, 0), candidate('d', 5, 0)];
        let mut order = DrainOrder::new(candidates, start, Duration::from_secs(1));
        let told = closed(&mut order, start, |_| Some(Moment(0)));
        assert_eq!(told, [('c', 0), ('b', 250), ('d', 500), ('a', 750)]);
        assert_eq!(order.due(), None);
    }

    #[test]
    fn who_is_busy_meanwhile_goes_behind_the_others_once() {
        let start = Instant::now();
        let candidates = [candidate('a', 1, 0), candidate('b', 2, 0), candidate('c', 3, 0)];
        let mut order = DrainOrder::new(candidates, start, Duration::from_secs(3));
        // One that goes on all the time is closed all the same.
        let told = closed(&mut order, start, |key| Some(Moment(if key == 'a' { 100 } else { 0 })));
        assert_eq!(told, [('b', 0), ('c', 1000), ('a', 2000)]);
        let mut order = DrainOrder::new(candidates, start, Duration::from_secs(3));
        let told = closed(&mut order, start, |_| Some(Moment::THIS_TURN));
        assert_eq!(told, [('a', 0), ('b', 1000), ('c', 2000)]);
    }

    #[test]
    fn who_has_left_by_itself_hurries_nobody() {
        let start = Instant::now();
        let mut order = DrainOrder::new("abcd".chars().map(|key| candidate(key, 0, 0)), start, Duration::from_secs(4));
        let told = closed(&mut order, start, |key| (key == 'd').then_some(Moment(0)));
        assert_eq!(told.last(), Some(&('d', 3000)));
        assert_eq!(DrainOrder::<char>::new([], start, Duration::from_secs(4)).due(), None);
    }

    #[test]
    fn all_are_closed_once_and_in_time_whatever_they_do() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let start = Instant::now();
            let count = rng.u32(0..60);
            let candidates: Vec<_> = (0..count)
                .map(|key| Candidate { key, active: Moment(rng.u32(0..5)), queued_bytes: rng.usize(0..3) })
                .collect();
            let within = Duration::from_millis(rng.u64(0..5_000));
            let mut order = DrainOrder::new(candidates, start, within);
            let mut told = Vec::new();
            let mut before = start;
            while let Some(due) = order.due() {
                assert!(due >= before && due <= start + within, "seed {seed}");
                before = due;
                let active = rng.u32(0..9);
                told.extend(order.next(|_| (active > 0).then_some(Moment(active))));
            }
            told.sort_unstable();
            assert_eq!(told, (0..count).collect::<Vec<_>>(), "seed {seed}");
        }
    }

    #[test]
    fn moments_go_forward() {
        let mut before = Moment::default();
        for millis in 0..3_000 {
            let now = Moment::after(Duration::from_millis(millis));
            assert!(now >= before && now < Moment::THIS_TURN, "{millis}");
            before = now;
        }
        assert_eq!(before, Moment(23));
        assert!(Moment::after(Duration::MAX) < Moment::THIS_TURN);
    }
}
