//! One slot: the run that serves, the one that shall replace it, those that leave, and when the next is started.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use roomd_wire::{Generation, WorkerId};

use super::{
    backoff::{Backoff, HEALTHY_AFTER},
    fleet::{Action, Outcome, Timing},
    run::{Exit, Phase, Run, RunEvent},
};
use crate::status::{DeathCause, WorkerState};

/// After so many deaths in a row a slot is `failed`.
pub const FAILED_AFTER: u32 = 8;
/// How often a failed slot is tried.
pub const FAILED_PAUSE: Duration = Duration::from_secs(60);
/// So many failed starts of each slot, and no worker ever ready, end `up`.
pub const GIVE_UP_AFTER: u64 = 3;
/// What is said of a process that was killed and is there all the same.
const UNKILLABLE: &str = "it was killed, but does not end: it hangs in the kernel";
/// Old runs that may drain beside the current one; of more the oldest is ended.
const MAX_OUTGOING: usize = 4;

/// A place for one worker.
#[derive(Debug)]
pub struct Slot {
    pub(super) place: roomd_wire::Slot,
    /// Whether it shall have a worker. What it has is in the fields below.
    pub(super) wanted: bool,
    /// Whether it has none because somebody asked for that.
    pub(super) drained: bool,
    /// How often its worker was replaced for its memory.
    pub(super) recycled: u64,
    pub(super) current: Option<Run>,
    pub(super) incoming: Option<Run>,
    pub(super) outgoing: Vec<Run>,
    pub(super) restart_at: Option<Instant>,
    pub(super) generation: u32,
    pub(super) backoff: Backoff,
    pub(super) restarts: BTreeMap<DeathCause, u64>,
}

/// A run that has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Which.
    pub id: WorkerId,
    /// Why it died; `None` where it was asked to end.
    pub death: Option<(DeathCause, String)>,
}

/// A slot waits before it starts its worker again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pause {
    /// Which.
    pub slot: roomd_wire::Slot,
    /// `backoff`, or `failed`.
    pub state: WorkerState,
    /// Deaths in a row.
    pub deaths: u32,
    /// For how long.
    pub pause: Duration,
}

/// What a slot's methods work with.
pub(super) struct Context<'a> {
    pub timing: &'a Timing,
    pub now: Instant,
    pub rng: &'a mut fastrand::Rng,
    pub actions: &'a mut std::collections::VecDeque<Action>,
    pub outcomes: &'a mut std::collections::VecDeque<Outcome>,
}

impl Slot {
    pub(super) fn new(place: roomd_wire::Slot) -> Self {
        Slot {
            place,
            wanted: false,
            drained: false,
            recycled: 0,
            current: None,
            incoming: None,
            outgoing: Vec::new(),
            restart_at: None,
            generation: 0,
            backoff: Backoff::default(),
            restarts: BTreeMap::new(),
        }
    }

    /// Its number.
    pub fn place(&self) -> roomd_wire::Slot {
        self.place
    }

    /// Whether it shall have a worker.
    pub fn wanted(&self) -> bool {
        self.wanted
    }

    /// Whether it has no worker, or soon will have none, until somebody asks for one again.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    /// How often its worker was replaced for its memory.
    pub fn recycled(&self) -> u64 {
        self.recycled
    }

    /// The run that serves or is to serve.
    pub fn current(&self) -> Option<&Run> {
        self.current.as_ref()
    }

    /// Every process of the slot, the current one first.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.current.iter().chain(&self.incoming).chain(&self.outgoing)
    }

    /// The last generation that was begun.
    pub fn generation(&self) -> Generation {
        Generation(self.generation)
    }

    /// How often its worker died, by cause.
    pub fn restarts(&self) -> &BTreeMap<DeathCause, u64> {
        &self.restarts
    }

    /// When its worker is started again, if it has none.
    pub fn restart_at(&self) -> Option<Instant> {
        self.restart_at
    }

    /// The state of a slot without a process.
    pub fn empty_state(&self) -> WorkerState {
        match self.backoff.deaths() {
            _ if self.drained => WorkerState::Drained,
            FAILED_AFTER.. => WorkerState::Failed,
            _ => WorkerState::Backoff,
        }
    }

    /// Whether its current worker serves.
    pub fn is_ready(&self) -> bool {
        self.current.as_ref().is_some_and(|run| run.phase() == Phase::Ready)
    }

    /// Whether a worker is on its way that is to replace the present one.
    #[cfg(test)]
    pub fn is_replacing(&self) -> bool {
        self.incoming.is_some()
    }

    /// Whether nothing of it is left.
    pub fn is_gone(&self) -> bool {
        !self.wanted && !self.drained && self.runs().next().is_none()
    }

    /// Whether nothing of it is left whose end could be awaited.
    pub fn has_ended(&self) -> bool {
        !self.wanted && self.runs().all(Run::is_beyond_reach)
    }

    /// Failed starts in its life.
    pub(super) fn failed_starts(&self) -> u64 {
        self.restarts.get(&DeathCause::Start).copied().unwrap_or(0)
    }

    /// It shall have a worker.
    pub(super) fn want(&mut self, cx: &mut Context<'_>) {
        self.wanted = true;
        self.drained = false;
        if self.current.is_none() {
            self.current = Some(self.spawn(cx));
            self.restart_at = None;
        }
    }

    /// It shall have none any more.
    pub(super) fn unwant(&mut self, within: Duration, cx: &mut Context<'_>) {
        self.wanted = false;
        self.restart_at = None;
        self.outgoing.extend(self.incoming.take());
        self.outgoing.extend(self.current.take());
        for run in &mut self.outgoing {
            run.drain(cx.timing, within, cx.now, cx.actions);
        }
    }

    /// It shall have none until it is wanted again.
    pub(super) fn drain(&mut self, within: Duration, cx: &mut Context<'_>) {
        if self.wanted {
            self.unwant(within, cx);
            self.drained = true;
            self.backoff.reset();
        }
    }

    /// It is no place of the cluster any more.
    pub(super) fn forget_drained(&mut self) {
        self.drained = false;
    }

    /// All its processes shall end at once.
    pub(super) fn kill_all(&mut self, cx: &mut Context<'_>) {
        self.unwant(Duration::ZERO, cx);
        for run in self.outgoing.iter_mut().filter(|run| run.phase() != Phase::Killing) {
            run.kill(cx.timing, cx.now, cx.actions);
        }
    }

    /// Its worker shall be replaced by a new one. The outcome is told when the new one is ready, or has died.
    pub(super) fn replace(&mut self, cx: &mut Context<'_>) {
        self.backoff.reset();
        self.restart_at = None;
        self.call_off(cx);
        // What is still starting has no clients, and perhaps an old configuration.
        if let Some(mut run) = self.current.take_if(|run| run.phase() != Phase::Ready) {
            run.drain(cx.timing, Duration::ZERO, cx.now, cx.actions);
            self.outgoing.push(run);
        }
        let new = self.spawn(cx);
        match self.current {
            Some(_) => self.incoming = Some(new),
            None => self.current = Some(new),
        }
    }

    /// What is to replace its worker shall not.
    pub(super) fn call_off(&mut self, cx: &mut Context<'_>) {
        if let Some(mut run) = self.incoming.take() {
            // It may have clients already.
            run.drain(cx.timing, cx.timing.grace, cx.now, cx.actions);
            self.outgoing.push(run);
        }
    }

    fn spawn(&mut self, cx: &mut Context<'_>) -> Run {
        self.generation += 1;
        let id = WorkerId { slot: self.place, generation: Generation(self.generation) };
        cx.actions.push_back(Action::Spawn(id));
        Run::new(id, cx.timing, cx.now)
    }

    /// Something happened to one of its runs.
    pub(super) fn handle(&mut self, id: WorkerId, event: RunEvent, cx: &mut Context<'_>) {
        match event {
            RunEvent::Ready => self.ready(id, cx),
            RunEvent::Exited(exit) => self.exited(id, exit, cx),
            RunEvent::SpawnFailed(reason) => {
                self.with_run(id, |run| run.condemn(DeathCause::Start, reason, cx.timing, cx.now, cx.actions));
                self.exited(id, Exit::Code(1), cx);
            }
            RunEvent::Failed(reason) => {
                self.with_run(id, |run| run.condemn(DeathCause::Start, reason, cx.timing, cx.now, cx.actions));
            }
            RunEvent::Unusable(cause, reason) => {
                self.with_run(id, |run| run.condemn(cause, reason, cx.timing, cx.now, cx.actions));
            }
            RunEvent::Pong => self.with_run(id, Run::pong),
        }
    }

    fn ready(&mut self, id: WorkerId, cx: &mut Context<'_>) {
        let Some(run) = self.current.iter_mut().chain(&mut self.incoming).find(|run| run.id() == id) else { return };
        if run.ready(cx.timing, cx.now) {
            cx.actions.push_back(Action::AddToBalancer(id));
            self.confirm(cx);
        }
    }

    /// Who has been ready for long enough is trusted. Until then the one that it replaces keeps its clients: first the new one is
    /// there and stays, then the old one leaves, and never is there none.
    fn confirm(&mut self, cx: &mut Context<'_>) {
        if let Some(run) = &mut self.current
            && run.confirm(cx.now)
        {
            cx.outcomes.push_back(Outcome::Confirmed(run.id()));
        }
        let Some(run) = self.incoming.take_if(|run| run.confirm(cx.now)) else { return };
        cx.outcomes.push_back(Outcome::Confirmed(run.id()));
        if let Some(mut old) = self.current.replace(run) {
            old.drain(cx.timing, cx.timing.grace, cx.now, cx.actions);
            self.outgoing.push(old);
        }
        let too_many = self.outgoing.len().saturating_sub(MAX_OUTGOING);
        for old in &mut self.outgoing[..too_many] {
            old.drain(cx.timing, Duration::ZERO, cx.now, cx.actions);
        }
    }

    fn exited(&mut self, id: WorkerId, exit: Exit, cx: &mut Context<'_>) {
        if let Some(run) = self.incoming.take_if(|run| run.id() == id) {
            let death = run.ended(exit);
            cx.outcomes.push_back(died(&run, &death, cx.now));
            self.gone(id, death, cx);
        } else if let Some(run) = self.current.take_if(|run| run.id() == id) {
            let death = run.ended(exit).or_else(|| Some((DeathCause::Kill, exit.to_string())));
            if run.ready_for(cx.now) >= HEALTHY_AFTER {
                self.backoff.reset();
            }
            cx.outcomes.push_back(died(&run, &death, cx.now));
            self.gone(id, death, cx);
            self.restart(cx);
        } else if let Some(at) = self.outgoing.iter().position(|run| run.id() == id) {
            let run = self.outgoing.remove(at);
            self.gone(id, run.ended(exit), cx);
        }
    }

    fn gone(&mut self, id: WorkerId, death: Option<(DeathCause, String)>, cx: &mut Context<'_>) {
        if let Some((cause, _)) = &death {
            *self.restarts.entry(*cause).or_default() += 1;
        }
        cx.actions.push_back(Action::RemoveFromBalancer(id));
        cx.actions.push_back(Action::Report(Ended { id, death }));
    }

    fn restart(&mut self, cx: &mut Context<'_>) {
        if !self.wanted {
            return;
        }
        // A replacement that is on its way is the restart.
        if let Some(incoming) = self.incoming.take() {
            self.current = Some(incoming);
            return;
        }
        let mut pause = self.backoff.died(cx.rng);
        if self.backoff.deaths() >= FAILED_AFTER {
            pause = pause.max(FAILED_PAUSE);
        }
        if pause.is_zero() {
            self.current = Some(self.spawn(cx));
            return;
        }
        self.restart_at = Some(cx.now + pause);
        cx.actions.push_back(Action::ReportPause(Pause {
            slot: self.place,
            state: self.empty_state(),
            deaths: self.backoff.deaths(),
            pause,
        }));
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, cx: &mut Context<'_>) {
        let Context { timing, now, actions, .. } = cx;
        for run in self.current.iter_mut().chain(&mut self.incoming).chain(&mut self.outgoing) {
            run.tick(timing, *now, *actions);
        }
        self.leave_behind(cx);
        self.confirm(cx);
        if self.restart_at.is_some_and(|at| at <= cx.now) {
            self.restart_at = None;
            self.current = Some(self.spawn(cx));
        }
    }

    /// The slot does not wait for ever for the end of a process that cannot be killed: it goes on without it.
    fn leave_behind(&mut self, cx: &mut Context<'_>) {
        if let Some(run) = self.incoming.take_if(|run| run.is_beyond_reach()) {
            cx.outcomes.push_back(died(&run, &unkillable(), cx.now));
            self.outgoing.push(run);
        }
        if let Some(run) = self.current.take_if(|run| run.is_beyond_reach()) {
            cx.outcomes.push_back(died(&run, &unkillable(), cx.now));
            self.outgoing.push(run);
            self.restart(cx);
        }
    }

    pub(super) fn forgive(&mut self, gap: Duration, now: Instant) {
        for run in self.current.iter_mut().chain(&mut self.incoming).chain(&mut self.outgoing) {
            run.forgive(gap, now);
        }
    }

    pub(super) fn timeout(&self, timing: &Timing) -> Option<Instant> {
        self.runs().filter_map(|run| run.timeout(timing)).chain(self.restart_at).min()
    }

    fn with_run(&mut self, id: WorkerId, act: impl FnOnce(&mut Run)) {
        let mut runs = self.current.iter_mut().chain(&mut self.incoming).chain(&mut self.outgoing);
        if let Some(run) = runs.find(|run| run.id() == id) {
            act(run);
        }
    }

    /// What must hold after each event.
    pub(super) fn check_invariants(&self) {
        debug_assert!(!self.wanted || self.current.is_some() || self.restart_at.is_some(), "{self:?} is forgotten");
        debug_assert!(self.current.is_none() || self.restart_at.is_none(), "{self:?} would be started twice");
        debug_assert!(self.incoming.is_none() || self.current.is_some(), "{self:?} replaces nothing");
        debug_assert!(
            self.outgoing.iter().all(|run| !matches!(run.phase(), Phase::Starting | Phase::Ready)),
            "{self:?} lets a run leave that was not told to"
        );
    }
}

fn died(run: &Run, death: &Option<(DeathCause, String)>, now: Instant) -> Outcome {
    let (cause, reason) = match death {
        Some((cause, detail)) => (Some(*cause), detail.clone()),
        None => (None, "it was ended".to_owned()),
    };
    let ready_for = run.was_ready().then(|| run.ready_for(now));
    Outcome::Died { id: run.id(), cause, reason, ready_for }
}

fn unkillable() -> Option<(DeathCause, String)> {
    Some((DeathCause::Hang, UNKILLABLE.to_owned()))
}
