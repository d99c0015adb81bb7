//! All slots together.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use roomd_wire::WorkerId;

use super::{
    run::RunEvent,
    state::{Context, Ended, GIVE_UP_AFTER, Pause, Slot},
};
use crate::status::DeathCause;

/// When the loop looks later than this after it meant to, it stood still, and nobody is blamed for the time.
const STOOD_STILL: Duration = Duration::from_secs(2);

/// How long things may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timing {
    /// From the start of a worker to its `Ready`.
    pub start_timeout: Duration,
    /// For the answer to a ping.
    pub hang_timeout: Duration,
    /// Between pings.
    pub ping_interval: Duration,
    /// From its `Ready` until a new worker is trusted; only then the one that it replaces ends its clients.
    pub confirm: Duration,
    /// For a drain.
    pub grace: Duration,
    /// Beyond a drain's time, before the worker is asked to end by a signal.
    pub drain_margin: Duration,
    /// From that signal to the kill.
    pub term_grace: Duration,
    /// From a kill to the next, if the process is still there.
    pub kill_again: Duration,
}

impl Timing {
    /// The usual times for a configuration's three; a new worker is trusted at once.
    pub fn new(start_timeout: Duration, hang_timeout: Duration, grace: Duration) -> Self {
        Timing {
            start_timeout,
            hang_timeout,
            ping_interval: Duration::from_secs(1).min(hang_timeout / 2),
            confirm: Duration::ZERO,
            grace,
            drain_margin: Duration::from_secs(1),
            term_grace: Duration::from_secs(1),
            kill_again: Duration::from_secs(5),
        }
    }
}

/// What the shell is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Start the process.
    Spawn(WorkerId),
    /// Send a ping.
    SendPing(WorkerId),
    /// Tell it to end its clients within the time, and to leave.
    SendDrain(WorkerId, Duration),
    /// TERM to its process group, then CONT: a stopped process would never see it.
    TermGroup(WorkerId),
    /// KILL to its process group.
    KillGroup(WorkerId),
    /// It takes connections.
    AddToBalancer(WorkerId),
    /// It takes no new sessions any more.
    DrainInBalancer(WorkerId),
    /// It is gone.
    RemoveFromBalancer(WorkerId),
    /// Tell the log and the status of its end.
    Report(Ended),
    /// Tell the log when a slot's worker is started again.
    ReportPause(Pause),
}

/// What a roll-out waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A worker has been ready for long enough to be trusted; where it was to replace another, it has.
    Confirmed(WorkerId),
    /// A worker died.
    Died {
        /// Which.
        id: WorkerId,
        /// How; none where it was told to end.
        cause: Option<DeathCause>,
        /// Its own words, or what happened to it.
        reason: String,
        /// For how long it had been ready, if it had.
        ready_for: Option<Duration>,
    },
}

/// All slots.
#[derive(Debug)]
pub struct Fleet {
    timing: Timing,
    slots: BTreeMap<u16, Slot>,
    actions: VecDeque<Action>,
    outcomes: VecDeque<Outcome>,
    rng: fastrand::Rng,
    ever_ready: bool,
}

impl Fleet {
    /// No slots yet.
    pub fn new(timing: Timing, rng: fastrand::Rng) -> Self {
        Fleet {
            timing,
            slots: BTreeMap::new(),
            actions: VecDeque::new(),
            outcomes: VecDeque::new(),
            rng,
            ever_ready: false,
        }
    }

    /// With slots that there were before.
    pub(super) fn with_slots(
        timing: Timing,
        rng: fastrand::Rng,
        slots: Vec<Slot>,
        actions: Vec<Action>,
        ever_ready: bool,
    ) -> Self {
        let slots = slots.into_iter().map(|slot| (slot.place().0, slot)).collect();
        Fleet { slots, actions: actions.into(), ever_ready, ..Fleet::new(timing, rng) }
    }

    /// Other times from now on.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// The times that it goes by.
    #[cfg(test)]
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// The first `workers` slots shall have a worker unless they are drained, the others none.
    pub fn resize(&mut self, workers: u16, now: Instant) {
        for place in 0..workers {
            self.slots.entry(place).or_insert_with(|| Slot::new(roomd_wire::Slot(place)));
        }
        let grace = self.timing.grace;
        self.each(now, |slot, cx| match (slot.place().0 < workers, slot.wanted()) {
            (true, false) if !slot.is_drained() => slot.want(cx),
            (false, true) => slot.unwant(grace, cx),
            // There is no such slot any more that could stay drained.
            (false, false) => slot.forget_drained(),
            _ => {}
        });
    }

    /// A slot's worker ends its clients and leaves, and the slot stays without one until [`Fleet::undrain`].
    pub fn drain(&mut self, place: roomd_wire::Slot, now: Instant) {
        let grace = self.timing.grace;
        self.one(place, now, |slot, cx| slot.drain(grace, cx));
    }

    /// A drained slot has a worker again.
    pub fn undrain(&mut self, place: roomd_wire::Slot, now: Instant) {
        self.one(place, now, |slot, cx| {
            if slot.is_drained() {
                slot.want(cx);
            }
        });
    }

    /// All workers end their clients and leave.
    pub fn stop(&mut self, now: Instant) {
        let grace = self.timing.grace;
        self.each(now, |slot, cx| slot.unwant(grace, cx));
    }

    /// All workers end at once.
    pub fn kill_all(&mut self, now: Instant) {
        self.each(now, Slot::kill_all);
    }

    /// A slot's worker shall be replaced by a new one. False if there is no such slot.
    pub fn replace(&mut self, place: roomd_wire::Slot, now: Instant) -> bool {
        let wanted = self.slots.get(&place.0).is_some_and(Slot::wanted);
        if wanted {
            self.one(place, now, Slot::replace);
        }
        wanted
    }

    /// A slot's worker was replaced for its memory.
    pub fn note_recycled(&mut self, place: roomd_wire::Slot, now: Instant) {
        self.one(place, now, |slot, _| slot.recycled += 1);
    }

    /// The worker that is to replace a slot's present one shall not: that one stays.
    pub fn call_off(&mut self, place: roomd_wire::Slot, now: Instant) {
        self.one(place, now, Slot::call_off);
    }

    /// Something happened to a worker.
    pub fn handle(&mut self, id: WorkerId, event: RunEvent, now: Instant) {
        self.ever_ready |= event == RunEvent::Ready;
        self.one(id.slot, now, |slot, cx| slot.handle(id, event, cx));
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        let late = self.poll_timeout().map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        if late > STOOD_STILL {
            self.each(now, |slot, cx| slot.forgive(late, cx.now));
        }
        self.each(now, Slot::tick);
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.slots.values().filter_map(|slot| slot.timeout(&self.timing)).min()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next thing that a roll-out may wait for.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    /// The slots in their order; also those that are no longer wanted, whose generations go on should they come back.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.values()
    }

    /// One slot.
    pub fn slot(&self, place: roomd_wire::Slot) -> Option<&Slot> {
        self.slots.get(&place.0)
    }

    /// How many slots shall have a worker.
    pub fn wanted(&self) -> u16 {
        self.slots.values().filter(|slot| slot.wanted()).count() as u16
    }

    /// Whether any worker has ever been ready.
    pub fn ever_ready(&self) -> bool {
        self.ever_ready
    }

    /// Whether none is wanted, and no process is left whose end could be awaited.
    pub fn has_ended(&self) -> bool {
        self.slots.values().all(Slot::has_ended)
    }

    /// Whether no worker has ever been ready, and every slot has failed to start often enough to say that none will be.
    pub fn hopeless(&self) -> bool {
        let mut wanted = self.slots.values().filter(|slot| slot.wanted()).peekable();
        !self.ever_ready && wanted.peek().is_some() && wanted.all(|slot| slot.failed_starts() >= GIVE_UP_AFTER)
    }

    fn one(&mut self, place: roomd_wire::Slot, now: Instant, act: impl FnOnce(&mut Slot, &mut Context<'_>)) {
        let Fleet { timing, slots, actions, outcomes, rng, .. } = self;
        if let Some(slot) = slots.get_mut(&place.0) {
            act(slot, &mut Context { timing, now, rng, actions, outcomes });
            slot.check_invariants();
        }
    }

    fn each(&mut self, now: Instant, mut act: impl FnMut(&mut Slot, &mut Context<'_>)) {
        let Fleet { timing, slots, actions, outcomes, rng, .. } = self;
        for slot in slots.values_mut() {
            act(slot, &mut Context { timing, now, rng, actions, outcomes });
            slot.check_invariants();
        }
    }
}
