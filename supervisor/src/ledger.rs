//! What workers have counted, summed so that no sum ever falls: a worker's last report stays when the worker has gone.
//!
//! ```text
//! Stats of worker 2.7 ─► living[2.7] ──┐
//!                            │ ended    ├─► slot 2 = gone[2] + living of the slot
//!                            ▼          │
//!                         gone[2] ──────┘
//! ```
//!
//! It can be written and read back, so that a supervisor that replaces another one in place goes on with the same sums: with what
//! the living had counted too, since a sum must not fall while their next reports are still to come.
//!
//! What a worker counted after its last report is lost with it: up to a second's worth where it was killed, nothing where it ended
//! by itself, since then it reports once more.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use roomd_wire::{BusyRoom, Histogram, MAX_BUSY_ROOMS, Slot, WorkerCounters, WorkerId, WorkerStats, WorkerTimings};
use serde::{Deserialize, Serialize};

use crate::status::Lag;

/// What "recent" means for the lag of a loop: so many reports, one a second.
const RECENT: usize = 10;

/// What was counted in each slot.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    gone: BTreeMap<Slot, Past>,
    living: BTreeMap<WorkerId, Living>,
}

/// What the workers of a slot that have ended counted in their time.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    /// What they counted.
    pub counters: WorkerCounters,
    /// What they timed.
    pub timings: WorkerTimings,
    /// From the start of a worker to its `Ready`, of all workers of the slot that came so far.
    pub starts: Histogram,
    /// CPU time that they used, in seconds, as far as it is known.
    pub cpu_s: f64,
}

#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
struct Living {
    stats: WorkerStats,
    cpu_s: f64,
    #[serde(skip)]
    lag: RecentLag,
}

/// The lag of a loop lately, out of a histogram that only grows.
#[derive(Clone, Default, Debug)]
pub struct RecentLag {
    /// The last states, the oldest first.
    states: VecDeque<Histogram>,
}

impl Ledger {
    /// A worker has reported; `cpu_s` is the CPU time that it has used, if that is known.
    pub fn note(&mut self, id: WorkerId, stats: WorkerStats, cpu_s: Option<f64>) {
        let living = self.living.entry(id).or_default();
        living.lag.note(&stats.timings.loop_lag);
        living.stats = stats;
        living.cpu_s = cpu_s.unwrap_or(living.cpu_s).max(living.cpu_s);
    }

    /// A worker has become ready, so long after its start.
    pub fn started(&mut self, slot: Slot, after: Duration) {
        self.gone.entry(slot).or_default().starts.record(after);
    }

    /// A worker has ended, and all its reports are noted.
    pub fn ended(&mut self, id: WorkerId) {
        let past = self.gone.entry(id.slot).or_default();
        if let Some(Living { stats, cpu_s, .. }) = self.living.remove(&id) {
            past.counters.add(&stats.counters);
            past.timings.add(&stats.timings);
            past.cpu_s += cpu_s;
        }
    }

    /// What was counted in a slot by all its workers so far.
    pub fn slot(&self, slot: Slot) -> Past {
        let mut sum = self.gone.get(&slot).cloned().unwrap_or_default();
        for (_, living) in self.living.iter().filter(|(id, _)| id.slot == slot) {
            sum.counters.add(&living.stats.counters);
            sum.timings.add(&living.stats.timings);
            sum.cpu_s += living.cpu_s;
        }
        sum
    }

    /// The lag of a worker's loop lately.
    pub fn lag(&self, id: WorkerId) -> Lag {
        self.living.get(&id).map(|living| living.lag.figures()).unwrap_or_default()
    }

    /// The rooms that most packets go to lately, over all workers, the busiest first.
    pub fn busiest_rooms(&self) -> Vec<BusyRoom> {
        let mut rooms: BTreeMap<(&str, &str), (u64, f64)> = BTreeMap::new();
        for room in self.living.values().flat_map(|living| &living.stats.busiest_rooms) {
            let (members, packets) = rooms.entry((&room.namespace, &room.room)).or_default();
            *members += room.members;
            *packets += room.packets_per_s;
        }
        let room = |((namespace, room), (members, packets_per_s)): ((&str, &str), _)| BusyRoom {
            namespace: namespace.to_owned(),
            room: room.to_owned(),
            members,
            packets_per_s,
        };
        let mut rooms: Vec<BusyRoom> = rooms.into_iter().map(room).collect();
        rooms.sort_by(|a, b| b.packets_per_s.total_cmp(&a.packets_per_s));
        rooms.truncate(MAX_BUSY_ROOMS);
        rooms
    }
}

impl RecentLag {
    /// The state of the histogram now; to be noted once a second.
    pub fn note(&mut self, state: &Histogram) {
        if self.states.len() > RECENT {
            self.states.pop_front();
        }
        self.states.push_back(state.clone());
    }

    /// What most were not later than.
    pub fn figures(&self) -> Lag {
        let (Some(first), Some(last)) = (self.states.front(), self.states.back()) else { return Lag::default() };
        // With one report there is nothing to compare it with but the beginning.
        let recent = if self.states.len() == 1 { last.clone() } else { last.since(first) };
        let ms = |q| recent.quantile(q).map(|lag| lag.as_secs_f64() * 1000.0);
        Lag { p50_ms: ms(0.5), p99_ms: ms(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use roomd_wire::Generation;

    use super::*;

    fn id(slot: u16, generation: u32) -> WorkerId {
        WorkerId { slot: Slot(slot), generation: Generation(generation) }
    }

    fn stats(events_in: u64) -> WorkerStats {
        WorkerStats { counters: WorkerCounters { events_in, ..Default::default() }, ..Default::default() }
    }

    #[test]
    fn no_sum_ever_falls_whatever_comes_and_goes() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut ledger, mut generation, mut counted, mut told) = (Ledger::default(), [1; 3], [[0_u64; 2]; 3], [0; 3]);
        for step in 0..5_000 {
            let slot = rng.usize(..3);
            // Two generations of a slot can live at once.
            let which = rng.usize(..2);
            let worker = id(slot as u16, generation[slot] + which as u32);
            match rng.u8(..8) {
                0 => {
                    ledger.ended(id(slot as u16, generation[slot]));
                    generation[slot] += 1;
                    counted[slot] = [counted[slot][1], 0];
                }
                1 => ledger.ended(id(9, 1)),
                _ => {
                    counted[slot][which] += rng.u64(..10);
                    ledger.note(worker, stats(counted[slot][which]), None);
                }
            }
            for slot in 0..3 {
                let now = ledger.slot(Slot(slot)).counters.events_in;
                assert!(now >= told[usize::from(slot)], "seed {seed} step {step}");
                told[usize::from(slot)] = now;
            }
        }
    }

    #[test]
    fn one_that_is_read_back_goes_on_where_it_was() {
        let mut ledger = Ledger::default();
        ledger.note(id(0, 1), stats(5), Some(1.0));
        ledger.ended(id(0, 1));
        ledger.note(id(0, 2), stats(7), Some(0.5));
        let bytes = rmp_serde::to_vec_named(&ledger).unwrap_or_default();
        let Ok(mut ledger) = rmp_serde::from_slice::<Ledger>(&bytes) else { panic!("{bytes:?}") };
        let figures = |ledger: &Ledger| (ledger.slot(Slot(0)).counters.events_in, ledger.slot(Slot(0)).cpu_s);
        assert_eq!(figures(&ledger), (12, 1.5));
        ledger.note(id(0, 2), stats(8), Some(0.75));
        ledger.ended(id(0, 2));
        assert_eq!(figures(&ledger), (13, 1.75));
    }

    #[test]
    fn rooms_of_several_workers_are_one() {
        let mut ledger = Ledger::default();
        let report = |rooms: &[(&str, u64, f64)]| WorkerStats {
            busiest_rooms: rooms
                .iter()
                .map(|&(room, members, packets_per_s)| BusyRoom {
                    namespace: "/".into(),
                    room: room.into(),
                    members,
                    packets_per_s,
                })
                .collect(),
            ..WorkerStats::default()
        };
        ledger.note(id(0, 1), report(&[("a", 5, 50.0), ("b", 1, 1.0)]), None);
        ledger.note(id(1, 1), report(&[("b", 2, 80.0)]), None);
        let rooms = ledger.busiest_rooms();
        let told: Vec<_> = rooms.iter().map(|room| (&*room.room, room.members, room.packets_per_s)).collect();
        assert_eq!(told, [("b", 3, 81.0), ("a", 5, 50.0)]);
        ledger.ended(id(1, 1));
        assert_eq!(ledger.busiest_rooms()[0].room, "a");
    }

    #[test]
    fn the_lag_is_that_of_the_last_seconds() {
        let (mut recent, mut lag) = (RecentLag::default(), Histogram::default());
        assert_eq!(recent.figures(), Lag::default());
        lag.record(Duration::from_secs(1));
        recent.note(&lag);
        assert!(recent.figures().p50_ms > Some(1000.0));
        for _ in 0..RECENT + 1 {
            (0..10).for_each(|_| lag.record(Duration::from_micros(10)));
            recent.note(&lag);
        }
        assert_eq!(recent.figures(), Lag { p50_ms: Some(0.016), p99_ms: Some(0.016) });
    }
}
