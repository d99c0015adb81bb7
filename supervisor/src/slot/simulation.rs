//! A year of crashes in a second: random events against what must always hold.
//!
//! Prints its seed, and where it fails the step; `ROOMD_SEED` repeats it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use roomd_wire::WorkerId;

use super::{Action, Exit, Fleet, Phase, RunEvent, Timeline, Timing};
use crate::{
    rollout::{Rollout, RolloutEnd},
    status::DeathCause,
};

/// The processes as the operating system would have them.
struct World {
    fleet: Fleet,
    now: Instant,
    alive: BTreeSet<WorkerId>,
    in_balancer: BTreeMap<WorkerId, bool>,
    /// Processes that ignore everything but KILL, and since when.
    hung: BTreeMap<WorkerId, Instant>,
    /// Processes that hang in the kernel: not even KILL ends them.
    unkillable: BTreeSet<WorkerId>,
    /// Those that were told to leave, and when they are to be gone at the latest.
    leaving: BTreeMap<WorkerId, Instant>,
    rng: fastrand::Rng,
    spawned: u64,
    step: u64,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("failed in step {}", self.step);
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let timing = Timing::new(Duration::from_secs(30), Duration::from_secs(10), Duration::from_secs(30));
        let timing = Timing { confirm: Duration::from_secs(rng.u64(0..3)), ..timing };
        World {
            fleet: Fleet::new(timing, rng.fork()),
            now: Instant::now(),
            alive: BTreeSet::new(),
            in_balancer: BTreeMap::new(),
            hung: BTreeMap::new(),
            unkillable: BTreeSet::new(),
            leaving: BTreeMap::new(),
            rng,
            spawned: 0,
            step: 0,
        }
    }

    /// Carries out what the fleet wants, as far as the processes of this world obey.
    fn act(&mut self) {
        while let Some(action) = self.fleet.poll_action() {
            match action {
                Action::Spawn(id) => {
                    assert!(self.alive.insert(id), "{id} was started twice");
                    self.spawned += 1;
                    if self.rng.u8(..) < 4 {
                        self.alive.remove(&id);
                        self.fleet.handle(id, RunEvent::SpawnFailed("no memory".into()), self.now);
                    }
                }
                Action::SendPing(id) if self.alive.contains(&id) && !self.hung.contains_key(&id) => {
                    self.fleet.handle(id, RunEvent::Pong, self.now);
                }
                Action::SendDrain(id, within) if self.alive.contains(&id) => {
                    let latest = self.now + within + Duration::from_secs(2);
                    let known = self.leaving.entry(id).or_insert(latest);
                    *known = latest.min(*known);
                    self.perhaps_leave(id);
                }
                Action::TermGroup(id) => self.perhaps_leave(id),
                Action::KillGroup(id) if !self.unkillable.contains(&id) => self.exit(id, Exit::Signal(9, "SIGKILL")),
                Action::AddToBalancer(id) => {
                    assert!(self.alive.contains(&id), "{id} is not alive");
                    assert_eq!(self.in_balancer.insert(id, true), None);
                }
                Action::DrainInBalancer(id) => {
                    if let Some(takes_new) = self.in_balancer.get_mut(&id) {
                        *takes_new = false;
                    }
                }
                Action::RemoveFromBalancer(id) => {
                    assert!(!self.alive.contains(&id), "{id} was removed while it lives");
                    self.in_balancer.remove(&id);
                }
                _ => {}
            }
        }
    }

    fn perhaps_leave(&mut self, id: WorkerId) {
        if !self.hung.contains_key(&id) && self.rng.bool() {
            self.exit(id, Exit::Code(0));
        }
    }

    fn exit(&mut self, id: WorkerId, exit: Exit) {
        if self.alive.remove(&id) {
            self.hung.remove(&id);
            self.unkillable.remove(&id);
            self.leaving.remove(&id);
            self.fleet.handle(id, RunEvent::Exited(exit), self.now);
        }
    }

    fn any_alive(&mut self) -> Option<WorkerId> {
        let alive: Vec<_> = self.alive.iter().copied().collect();
        (!alive.is_empty()).then(|| alive[self.rng.usize(..alive.len())])
    }

    /// Time passes as the shell sees it: it wakes up when something is due, a little late.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.fleet.poll_timeout().filter(|due| *due <= until) {
            self.now = due.max(self.now) + Duration::from_millis(self.rng.u64(0..20));
            self.fleet.tick(self.now);
            self.act();
        }
        self.now = until.max(self.now);
    }

    /// The supervisor stands still, and everybody with it.
    fn stand_still(&mut self, time: Duration) {
        self.now += time;
        self.hung.values_mut().for_each(|since| *since += time);
        self.leaving.values_mut().for_each(|latest| *latest += time);
        self.fleet.tick(self.now);
        self.act();
    }

    fn step(&mut self) {
        self.step += 1;
        match self.rng.u8(..) {
            0..3 => {
                let time = Duration::from_millis(self.rng.u64(0..7_200_000));
                self.stand_still(time);
            }
            _ => {
                let time = Duration::from_millis(self.rng.u64(0..20_000));
                self.pass(time);
            }
        }
        let place = roomd_wire::Slot(self.rng.u16(..6));
        match self.rng.u8(..100) {
            0..50 => {
                for id in self.starting() {
                    self.fleet.handle(id, RunEvent::Ready, self.now);
                }
            }
            50..60 => {
                if let Some(id) = self.any_alive() {
                    let exits = [Exit::Code(1), Exit::Signal(9, "SIGKILL"), Exit::Signal(11, "SIGSEGV"), Exit::Code(0)];
                    let exit = exits[self.rng.usize(..exits.len())];
                    self.exit(id, exit);
                }
            }
            60..65 => {
                if let Some(id) = self.any_alive() {
                    self.hung.entry(id).or_insert(self.now);
                    if self.rng.u8(..) < 16 {
                        self.unkillable.insert(id);
                    }
                }
            }
            65..75 => {
                self.fleet.replace(place, self.now);
            }
            75..80 => {
                if let Some(id) = self.any_alive() {
                    self.fleet.handle(id, RunEvent::Failed("no database".into()), self.now);
                }
            }
            80..83 => {
                if let Some(id) = self.any_alive() {
                    self.fleet.handle(id, RunEvent::Unusable(DeathCause::Hang, "hub".into()), self.now);
                }
            }
            83..85 => self.fleet.drain(place, self.now),
            85..86 => self.fleet.call_off(place, self.now),
            94..97 => self.fleet.undrain(place, self.now),
            97..98 => self.fleet.resize(self.rng.u16(1..6), self.now),
            // Words of somebody long gone.
            86..90 => {
                let late = WorkerId { slot: place, generation: roomd_wire::Generation(self.rng.u32(..5)) };
                if !self.alive.contains(&late) {
                    self.fleet.handle(late, RunEvent::Ready, self.now);
                    self.fleet.handle(late, RunEvent::Exited(Exit::Code(0)), self.now);
                }
            }
            // The kernel lets go.
            90..92 => {
                if let Some(id) = self.unkillable.pop_first() {
                    self.exit(id, Exit::Signal(9, "SIGKILL"));
                }
            }
            92..94 => self.take_over(),
            _ => {}
        }
        self.act();
        while self.fleet.poll_outcome().is_some() {}
        self.check();
    }

    /// Another supervisor goes on where this one was, after a while in which there was none. Some of the workers do not live to see
    /// it; what the others hear from it is as if nothing had been.
    fn take_over(&mut self) {
        self.act();
        let state = self.fleet.snapshot(&Timeline::new(self.now, 1_000_000_000));
        let gap = Duration::from_millis(self.rng.u64(0..3000));
        self.now += gap;
        self.hung.values_mut().for_each(|since| *since = self.now);
        let time = Timeline::new(self.now, 1_000_000_000 + gap.as_millis() as u64);
        self.fleet = Fleet::restore(&state, self.fleet.timing().clone(), self.rng.fork(), &time);
        self.leaving.values_mut().for_each(|latest| *latest += gap + Duration::from_secs(1));
        for id in self.alive.clone() {
            if self.rng.u8(..) < 30 {
                self.exit(id, Exit::Unknown);
            }
        }
    }

    fn starting(&self) -> Vec<WorkerId> {
        let runs = self.fleet.slots().flat_map(|slot| slot.runs());
        runs.filter(|run| run.phase() == Phase::Starting && !self.hung.contains_key(&run.id()))
            .map(|run| run.id())
            .collect()
    }

    fn check(&self) {
        let known: BTreeSet<_> = self.fleet.slots().flat_map(|slot| slot.runs()).map(|run| run.id()).collect();
        assert_eq!(known, self.alive, "the fleet knows its processes");
        for (id, since) in self.hung.iter().filter(|(id, _)| !self.unkillable.contains(id)) {
            // A start is given more time than an answer.
            assert!(self.now - *since < Duration::from_secs(40), "{id} hangs and lives");
        }
        for (id, latest) in self.leaving.iter().filter(|(id, _)| !self.unkillable.contains(id)) {
            assert!(self.now < *latest + Duration::from_secs(1), "{id} was told to leave and is there");
        }
        for slot in self.fleet.slots() {
            let serving =
                self.in_balancer.iter().filter(|(id, takes_new)| id.slot == slot.place() && **takes_new).count();
            // One that is ready, and perhaps the one that is to replace it, but is not trusted yet.
            let ready = slot.runs().filter(|run| run.phase() == Phase::Ready).count();
            assert_eq!(serving, ready, "slot {} serves with the workers that are ready", slot.place());
            assert!(ready <= 2 && (ready == 0 || slot.is_ready() || slot.current().is_some()), "{slot:?}");
            assert!(!slot.is_drained() || slot.current().is_none(), "{slot:?} is drained and has a worker");
        }
    }

    /// Without faults, everything wanted is ready after a while.
    fn heal(&mut self) {
        self.hung.clear();
        while let Some(id) = self.unkillable.pop_first() {
            self.exit(id, Exit::Signal(9, "SIGKILL"));
        }
        for _ in 0..40 {
            self.pass(Duration::from_secs(10));
            for id in self.starting() {
                self.fleet.handle(id, RunEvent::Ready, self.now);
            }
            self.act();
        }
    }
}

fn seed() -> u64 {
    let seed = std::env::var("ROOMD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("ROOMD_SEED={seed}");
    seed
}

#[test]
fn whatever_happens_the_cluster_heals() {
    let mut world = World::new(seed());
    world.fleet.resize(4, world.now);
    world.act();
    for round in 0..30 {
        for _ in 0..300 {
            world.step();
        }
        world.heal();
        for slot in world.fleet.slots().filter(|slot| slot.wanted()) {
            assert!(slot.is_ready() && slot.runs().count() == 1, "round {round}: {slot:?}");
        }
    }
    world.fleet.stop(world.now);
    world.act();
    world.heal();
    assert!(world.alive.is_empty(), "a process outlives the stop: {:?}", world.alive);
    assert!(world.fleet.has_ended());
}

#[test]
fn a_year_of_crashes_stays_within_the_restart_intensity() {
    let mut world = World::new(seed());
    world.fleet.resize(1, world.now);
    world.act();
    let begin = world.now;
    while world.now - begin < Duration::from_secs(365 * 86_400) {
        if let Some(id) = world.alive.first().copied() {
            world.exit(id, Exit::Signal(11, "SIGSEGV"));
        }
        world.act();
        let next = world.fleet.poll_timeout().unwrap_or(world.now);
        world.now = next.max(world.now + Duration::from_millis(1));
        world.fleet.tick(world.now);
        world.act();
    }
    let most = 365 * 86_400 / 60 + 100;
    assert!(world.spawned <= most, "{} starts", world.spawned);
    assert!(world.spawned > most / 2, "it went on trying: {} starts", world.spawned);
}

/// New workers that fail at any moment before they are trusted cost no slot its old one; and with good ones every roll-out ends.
#[test]
fn roll_outs_of_any_width_leave_each_slot_with_a_worker_that_serves() {
    const SLOTS: u16 = 5;
    let mut world = World::new(seed());
    let confirm = Duration::from_secs(2);
    world.fleet.set_timing(Timing { confirm, ..world.fleet.timing().clone() });
    world.fleet.resize(SLOTS, world.now);
    world.heal();
    while world.fleet.poll_outcome().is_some() {}
    for _ in 0..300 {
        let parallel = world.rng.u16(1..SLOTS + 2);
        let good = world.rng.bool();
        let mut rollout = Rollout::new((0..SLOTS).map(roomd_wire::Slot), parallel);
        let end = loop {
            while let Some(place) = rollout.next_slot() {
                assert!(world.fleet.replace(place, world.now));
                if let Some(slot) = world.fleet.slot(place) {
                    rollout.started(place, slot.generation());
                }
            }
            world.act();
            let step = Duration::from_millis(world.rng.u64(1..900));
            world.pass(step);
            for id in world.starting() {
                match world.rng.u8(..) {
                    0..60 if !good => world.exit(id, Exit::Code(1)),
                    60..200 => world.fleet.handle(id, RunEvent::Ready, world.now),
                    _ => {}
                }
            }
            world.act();
            // Not yet trusted ones crash, too.
            let untrusted = world.fleet.slots().filter_map(|slot| {
                let mut runs = slot.runs().filter(|run| run.phase() == Phase::Ready);
                runs.nth(1).map(|run| run.id())
            });
            let untrusted: Vec<_> = untrusted.collect();
            for id in untrusted {
                if !good && world.rng.u8(..) < 40 {
                    world.exit(id, Exit::Signal(11, "SIGSEGV"));
                }
            }
            world.act();
            assert!(world.fleet.slots().all(|slot| slot.is_ready()), "a slot has no worker that serves");
            let under_way = world.fleet.slots().filter(|slot| slot.is_replacing()).count();
            assert!(under_way <= usize::from(parallel), "{under_way} of {parallel} at a time");
            let outcomes: Vec<_> = std::iter::from_fn(|| world.fleet.poll_outcome()).collect();
            if let Some(end) = outcomes.iter().find_map(|outcome| rollout.handle(outcome)) {
                break end;
            }
        };
        match end {
            RolloutEnd::Done(count) => assert_eq!(count, SLOTS),
            RolloutEnd::Failed(stopped) => {
                assert_eq!(stopped.replaced + stopped.left, SLOTS, "{stopped:?}");
                stopped.called_off.iter().for_each(|place| world.fleet.call_off(*place, world.now));
            }
        }
        world.heal();
        while world.fleet.poll_outcome().is_some() {}
        assert!(world.fleet.slots().all(|slot| slot.is_ready() && slot.runs().count() == 1));
    }
}
