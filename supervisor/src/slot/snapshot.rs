//! What the next supervisor has to know of the slots: written out by one, read back by another.
//!
//! Fields are added with a default, and none changes its meaning: the one that reads may be older or newer than the one that
//! wrote.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use roomd_wire::{Generation, WorkerId};
use serde::{Deserialize, Serialize};

use super::{
    backoff::Backoff,
    fleet::{Action, Fleet, Timing},
    run::{Phase, Run},
    state::Slot,
};
use crate::status::DeathCause;

/// Joins this process's clock with numbers that mean the same to another process of this host.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    now: Instant,
    now_ms: u64,
}

/// A moment, in milliseconds of the host's monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Timeline {
    /// `now` is `now_ms` milliseconds of the host's monotonic clock.
    pub fn new(now: Instant, now_ms: u64) -> Self {
        Timeline { now, now_ms }
    }

    /// This moment here.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A moment of this process, for others.
    pub fn moment(&self, at: Instant) -> Moment {
        let ms = |duration: Duration| duration.as_millis() as u64;
        Moment(match at.checked_duration_since(self.now) {
            Some(ahead) => self.now_ms.saturating_add(ms(ahead)),
            None => self.now_ms.saturating_sub(ms(self.now.saturating_duration_since(at))),
        })
    }

    /// A moment of another process, here.
    pub fn instant(&self, Moment(at): Moment) -> Instant {
        // A day ahead is as good as never; nothing is planned for then.
        let ahead = Duration::from_millis(at.saturating_sub(self.now_ms).min(86_400_000));
        let ago = Duration::from_millis(self.now_ms.saturating_sub(at));
        (self.now + ahead).checked_sub(ago).unwrap_or(self.now)
    }
}

/// All slots.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetState {
    /// Whether any worker has ever been ready.
    pub ever_ready: bool,
    /// The slots in their order.
    pub slots: Vec<SlotState>,
}

/// One slot.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct SlotState {
    /// Its number.
    pub place: u16,
    /// Whether it shall have a worker.
    pub wanted: bool,
    /// Whether it has none because somebody asked for that.
    pub drained: bool,
    /// How often its worker was replaced for its memory.
    pub recycled: u64,
    /// The last generation that was begun.
    pub generation: u32,
    /// Deaths in a row.
    pub deaths: u32,
    /// How often its worker died, by cause.
    pub restarts: BTreeMap<DeathCause, u64>,
    /// When its worker is started again, if it has none.
    pub restart_at: Option<Moment>,
    /// The run that serves or is to serve.
    pub current: Option<RunState>,
    /// The run that is to replace it.
    pub incoming: Option<RunState>,
    /// Those that leave.
    pub outgoing: Vec<RunState>,
}

/// One worker process.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunState {
    /// Which run of its slot.
    pub generation: u32,
    /// Where in its life it is.
    pub phase: Phase,
    /// When it was spawned.
    pub since: Moment,
    /// When it became ready, if it is or was.
    #[serde(default)]
    pub ready_since: Option<Moment>,
    /// When the phase is over at the latest.
    #[serde(default)]
    pub deadline: Option<Moment>,
    /// Why it was killed, if it was.
    #[serde(default)]
    pub verdict: Option<(DeathCause, String)>,
    /// How often it was killed.
    #[serde(default)]
    pub kills: u32,
}

impl Fleet {
    /// What the next supervisor has to know.
    pub fn snapshot(&self, time: &Timeline) -> FleetState {
        FleetState { ever_ready: self.ever_ready(), slots: self.slots().map(|slot| slot.snapshot(time)).collect() }
    }

    /// The slots as an earlier supervisor had them. What it had told workers may have been lost with it, and is told again; no
    /// time counts in which there may have been nobody to hear an answer. Processes that have ended since are to be told of as
    /// ever ([`Fleet::handle`]).
    pub fn restore(state: &FleetState, timing: Timing, rng: fastrand::Rng, time: &Timeline) -> Fleet {
        let mut actions = Vec::new();
        let slots = state.slots.iter().map(|slot| Slot::restore(slot, &timing, time, &mut actions)).collect();
        Fleet::with_slots(timing, rng, slots, actions, state.ever_ready)
    }
}

impl Slot {
    fn snapshot(&self, time: &Timeline) -> SlotState {
        SlotState {
            place: self.place.0,
            wanted: self.wanted,
            drained: self.drained,
            recycled: self.recycled,
            generation: self.generation,
            deaths: self.backoff.deaths(),
            restarts: self.restarts.clone(),
            restart_at: self.restart_at.map(|at| time.moment(at)),
            current: self.current.as_ref().map(|run| run.snapshot(time)),
            incoming: self.incoming.as_ref().map(|run| run.snapshot(time)),
            outgoing: self.outgoing.iter().map(|run| run.snapshot(time)).collect(),
        }
    }

    fn restore(state: &SlotState, timing: &Timing, time: &Timeline, actions: &mut Vec<Action>) -> Slot {
        let place = roomd_wire::Slot(state.place);
        let mut run = |run: &RunState| Run::restore(place, run, timing, time, actions);
        let mut slot = Slot {
            wanted: state.wanted,
            drained: state.drained && !state.wanted,
            recycled: state.recycled,
            current: state.current.as_ref().map(&mut run),
            incoming: state.incoming.as_ref().map(&mut run),
            outgoing: state.outgoing.iter().map(&mut run).collect(),
            restart_at: state.restart_at.map(|at| time.instant(at)),
            generation: state.generation,
            backoff: Backoff::after(state.deaths),
            restarts: state.restarts.clone(),
            ..Slot::new(place)
        };
        // What this program never writes: a slot that would be forgotten is started, one that waits for nothing does not.
        if slot.current.is_none() {
            slot.current = slot.incoming.take();
        }
        match (&slot.current, slot.wanted) {
            (None, true) => drop(slot.restart_at.get_or_insert(time.now())),
            _ => slot.restart_at = None,
        }
        let newest = slot.runs().map(|run| run.id().generation.0).max().unwrap_or_default();
        slot.generation = slot.generation.max(newest);
        slot.check_invariants();
        slot
    }
}

impl Run {
    fn snapshot(&self, time: &Timeline) -> RunState {
        RunState {
            generation: self.id.generation.0,
            phase: self.phase,
            since: time.moment(self.since),
            ready_since: self.ready_since.map(|at| time.moment(at)),
            deadline: self.deadline.map(|at| time.moment(at)),
            verdict: self.verdict.clone(),
            kills: self.kills,
        }
    }

    fn restore(
        place: roomd_wire::Slot,
        state: &RunState,
        timing: &Timing,
        time: &Timeline,
        actions: &mut Vec<Action>,
    ) -> Run {
        let id = WorkerId { slot: place, generation: Generation(state.generation) };
        let now = time.now();
        let deadline = match state.phase {
            Phase::Starting => Some(now + timing.start_timeout),
            Phase::Ready => None,
            Phase::Draining => {
                let begun = state.deadline.map_or(now, |at| time.instant(at));
                Some(begun.clamp(now + timing.drain_margin, now + timing.grace + timing.drain_margin))
            }
            Phase::Terminating => Some(now + timing.term_grace),
            Phase::Killing => Some(now + timing.kill_again),
        };
        if let (Phase::Draining, Some(deadline)) = (state.phase, deadline) {
            let within = deadline.saturating_duration_since(now + timing.drain_margin);
            actions.extend([Action::DrainInBalancer(id), Action::SendDrain(id, within)]);
        }
        Run {
            phase: state.phase,
            since: time.instant(state.since),
            ready_since: state.ready_since.map(|at| time.instant(at)),
            confirm_at: state.ready_since.map(|at| (time.instant(at) + timing.confirm).max(now)),
            deadline,
            ping_at: matches!(state.phase, Phase::Ready | Phase::Draining).then(|| now + timing.ping_interval),
            verdict: state.verdict.clone(),
            kills: state.kills,
            ..Run::new(id, timing, now)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::slot::{Exit, RunEvent};

    const GRACE: Duration = Duration::from_secs(30);

    fn timing() -> Timing {
        Timing::new(Duration::from_secs(30), Duration::from_secs(10), GRACE)
    }

    fn id(slot: u16, generation: u32) -> WorkerId {
        WorkerId { slot: roomd_wire::Slot(slot), generation: Generation(generation) }
    }

    fn actions(fleet: &mut Fleet) -> Vec<Action> {
        std::iter::from_fn(|| fleet.poll_action()).collect()
    }

    /// One slot in each state that a slot can be in.
    fn all_phases(now: Instant) -> Fleet {
        let mut fleet = Fleet::new(timing(), fastrand::Rng::with_seed(1));
        fleet.resize(6, now);
        for slot in 0..5 {
            fleet.handle(id(slot, 1), RunEvent::Ready, now);
        }
        // 1: one replaces another. 2: the other drains. 3: dead, with a pause. 4: killed. 5: starting.
        fleet.replace(roomd_wire::Slot(1), now);
        fleet.replace(roomd_wire::Slot(2), now);
        fleet.handle(id(2, 2), RunEvent::Ready, now);
        for generation in 1..4 {
            fleet.handle(id(3, generation), RunEvent::Exited(Exit::Code(1)), now);
        }
        fleet.handle(id(4, 1), RunEvent::Unusable(DeathCause::Hang, "it does not read".into()), now);
        actions(&mut fleet);
        fleet
    }

    fn phases(fleet: &Fleet) -> Vec<Vec<(u32, Phase)>> {
        let of_slot = |slot: &Slot| slot.runs().map(|run| (run.id().generation.0, run.phase())).collect();
        fleet.slots().map(of_slot).collect()
    }

    #[test]
    fn every_phase_comes_back_as_it_was_and_goes_on() {
        let now = Instant::now();
        let fleet = all_phases(now);
        let state = fleet.snapshot(&Timeline::new(now, 1_000_000));
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<FleetState>(&json).unwrap(), state);
        // Five seconds later, in a process whose clock began elsewhere.
        let later = now + Duration::from_secs(3600);
        let time = Timeline::new(later, 1_005_000);
        let mut restored = Fleet::restore(&state, timing(), fastrand::Rng::with_seed(2), &time);
        assert_eq!(phases(&restored), phases(&fleet));
        assert!(restored.ever_ready());
        let drain = Action::SendDrain(id(2, 1), GRACE - Duration::from_secs(5));
        assert_eq!(actions(&mut restored), [Action::DrainInBalancer(id(2, 1)), drain]);
        let of = |fleet: &Fleet| fleet.slot(roomd_wire::Slot(3)).unwrap().restarts().clone();
        assert_eq!(of(&restored), of(&fleet));
        // Nobody is blamed for the time in which there was no supervisor.
        restored.tick(later);
        let at_once = actions(&mut restored);
        assert!(at_once.iter().all(|action| matches!(action, Action::Spawn(_))), "{at_once:?}");
        restored.handle(id(1, 2), RunEvent::Ready, later);
        assert_eq!(
            actions(&mut restored),
            [Action::AddToBalancer(id(1, 2)), Action::DrainInBalancer(id(1, 1)), Action::SendDrain(id(1, 1), GRACE)]
        );
        // What died meanwhile is started again, with its next generation.
        restored.handle(id(0, 1), RunEvent::Exited(Exit::Unknown), later);
        let started = actions(&mut restored).into_iter().any(|action| action == Action::Spawn(id(0, 2)));
        assert!(started);
    }

    #[test]
    fn a_drained_slot_stays_drained_and_who_is_not_trusted_yet_has_to_last() {
        let now = Instant::now();
        let timing = Timing { confirm: Duration::from_secs(2), ..timing() };
        let mut fleet = Fleet::new(timing.clone(), fastrand::Rng::with_seed(1));
        fleet.resize(2, now);
        for slot in 0..2 {
            fleet.handle(id(slot, 1), RunEvent::Ready, now);
        }
        fleet.tick(now + timing.confirm);
        fleet.drain(roomd_wire::Slot(1), now);
        fleet.note_recycled(roomd_wire::Slot(0), now);
        fleet.replace(roomd_wire::Slot(0), now);
        fleet.handle(id(0, 2), RunEvent::Ready, now);
        let state = fleet.snapshot(&Timeline::new(now, 1000));
        let mut restored = Fleet::restore(&state, timing, fastrand::Rng::with_seed(2), &Timeline::new(now, 2000));
        let slot = |fleet: &Fleet, place| {
            let slot = fleet.slot(roomd_wire::Slot(place)).unwrap();
            (slot.is_drained(), slot.recycled(), slot.runs().next().map(|run| run.id()))
        };
        assert_eq!(slot(&restored, 1), (true, 0, Some(id(1, 1))));
        assert_eq!(slot(&restored, 0), (false, 1, Some(id(0, 1))));
        restored.tick(now + Duration::from_millis(999));
        assert_eq!(slot(&restored, 0), (false, 1, Some(id(0, 1))));
        restored.tick(now + Duration::from_secs(1));
        assert_eq!(slot(&restored, 0), (false, 1, Some(id(0, 2))), "it has been ready for two seconds");
    }

    #[test]
    fn what_was_killed_is_killed_again_only_after_a_while() {
        let now = Instant::now();
        let state = all_phases(now).snapshot(&Timeline::new(now, 50));
        let mut restored = Fleet::restore(&state, timing(), fastrand::Rng::with_seed(2), &Timeline::new(now, 60));
        actions(&mut restored);
        let killed = |fleet: &mut Fleet| actions(fleet).contains(&Action::KillGroup(id(4, 1)));
        restored.tick(now + Duration::from_secs(1));
        assert!(!killed(&mut restored));
        (2..=6).for_each(|second| restored.tick(now + Duration::from_secs(second)));
        assert!(killed(&mut restored));
    }

    #[test]
    fn states_that_no_supervisor_writes_do_no_harm() {
        let now = Instant::now();
        let run = |generation| RunState {
            generation,
            phase: Phase::Ready,
            since: Moment(u64::MAX),
            ready_since: None,
            deadline: Some(Moment(0)),
            verdict: None,
            kills: 0,
        };
        for slot in [
            SlotState { wanted: true, ..SlotState::default() },
            SlotState { incoming: Some(run(7)), ..SlotState::default() },
            SlotState { current: Some(run(7)), restart_at: Some(Moment(1)), wanted: true, ..SlotState::default() },
        ] {
            let state = FleetState { ever_ready: false, slots: vec![slot.clone()] };
            let time = Timeline::new(now, 1000);
            let mut fleet = Fleet::restore(&state, timing(), fastrand::Rng::with_seed(2), &time);
            fleet.tick(now);
            let spawned = actions(&mut fleet).iter().any(|action| matches!(action, Action::Spawn(_)));
            assert_eq!(spawned, slot.current.is_none() && slot.incoming.is_none(), "{slot:?}");
        }
    }

    #[test]
    fn moments_are_the_same_in_both_processes() {
        let (a, b) = (Instant::now(), Instant::now() + Duration::from_secs(77));
        let (first, second) = (Timeline::new(a, 10_000), Timeline::new(b, 12_500));
        for offset in [-9000i64, -1, 0, 1, 5000, 80_000_000] {
            let at = |base: Instant, ms: i64| match u64::try_from(ms) {
                Ok(ahead) => base + Duration::from_millis(ahead),
                Err(_) => base.checked_sub(Duration::from_millis(ms.unsigned_abs())).unwrap(),
            };
            assert_eq!(second.instant(first.moment(at(a, offset))), at(b, offset - 2500), "{offset}");
        }
        assert!(second.instant(Moment(u64::MAX)) > b);
        assert!(second.instant(Moment(0)) <= b);
    }
}
