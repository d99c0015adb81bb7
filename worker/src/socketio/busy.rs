//! Which rooms most packets go to lately.
//!
//! Each room counts what goes to it, and is noted with the first packet of an interval: what is looked at when the interval ends is
//! what was sent to, not all rooms there are.

use std::time::{Duration, Instant};

use roomd_wire::{BusyRoom, MAX_BUSY_ROOMS};

use super::namespaces::Namespaces;

/// The shortest interval that says something of a rate.
const INTERVAL: Duration = Duration::from_millis(900);
/// The most bytes of a name that are reported.
const MAX_NAME_BYTES: usize = 128;

/// The busiest rooms of the interval that ended last.
pub(super) struct Busiest {
    since: Instant,
    rooms: Vec<BusyRoom>,
}

/// The most of many, the most first.
struct Top<T> {
    entries: Vec<(u64, T)>,
}

impl Busiest {
    pub(super) fn new(now: Instant) -> Self {
        Busiest { since: now, rooms: Vec::new() }
    }

    /// The busiest rooms, after a look at what was sent if it is time for one.
    pub(super) fn look(&mut self, namespaces: &Namespaces, now: Instant) -> Vec<BusyRoom> {
        let interval = now.saturating_duration_since(self.since);
        if interval >= INTERVAL {
            self.since = now;
            let mut top = Top { entries: Vec::new() };
            for members in namespaces.iter() {
                members.rooms.take_sent(|room, count, packets| {
                    top.offer(packets, || BusyRoom {
                        namespace: cut(&members.nsp.name),
                        room: cut(room),
                        members: count as u64,
                        packets_per_s: packets as f64 / interval.as_secs_f64(),
                    });
                });
            }
            self.rooms = top.entries.into_iter().map(|(_, room)| room).collect();
        }
        self.rooms.clone()
    }
}

impl<T> Top<T> {
    /// Takes one in if it is among the most.
    fn offer(&mut self, count: u64, make: impl FnOnce() -> T) {
        if self.entries.len() >= MAX_BUSY_ROOMS {
            if self.entries.last().is_some_and(|(least, _)| *least >= count) {
                return;
            }
            self.entries.pop();
        }
        let at = self.entries.partition_point(|(other, _)| *other >= count);
        self.entries.insert(at, (count, make()));
    }
}

fn cut(name: &str) -> String {
    let mut end = name.len().min(MAX_NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_are_kept_in_their_order() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut counts: Vec<u64> = (0..200).map(|_| rng.u64(..1000)).collect();
        let mut top = Top { entries: Vec::new() };
        counts.iter().for_each(|count| top.offer(*count, || ()));
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let kept: Vec<u64> = top.entries.iter().map(|(count, ())| *count).collect();
        assert_eq!(kept, counts[..MAX_BUSY_ROOMS], "seed {seed}");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(cut("lobby"), "lobby");
        assert_eq!(cut(&"ä".repeat(100)), "ä".repeat(64));
        assert_eq!(cut(&format!("x{}", "ä".repeat(100))), format!("x{}", "ä".repeat(63)));
    }
}
