//! One worker process, from its start to its end.

use std::{
    fmt,
    time::{Duration, Instant},
};

use roomd_wire::WorkerId;
use serde::{Deserialize, Serialize};

use super::fleet::{Action, Timing};
use crate::status::DeathCause;

/// Where in its life a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Spawned, not yet ready.
    Starting,
    /// It serves.
    Ready,
    /// It ends its clients.
    Draining,
    /// It was asked to end by a signal.
    Terminating,
    /// It was killed; its end has not been seen yet.
    Killing,
}

/// What happens to a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RunEvent {
    /// It says that it can serve.
    Ready,
    /// It says that it cannot start.
    Failed(String),
    /// It answered a ping.
    Pong,
    /// It cannot be served any more (it does not read from the hub, or breaks the protocol).
    Unusable(DeathCause, String),
    /// The process could not be started.
    SpawnFailed(String),
    /// The process has ended.
    Exited(Exit),
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It exited with a status.
    Code(i32),
    /// A signal ended it: number and name.
    Signal(i32, &'static str),
    /// It was no child of this supervisor, which has adopted it: only that it has ended is known.
    Unknown,
}

/// One worker process.
#[derive(Clone, Debug)]
pub struct Run {
    pub(super) id: WorkerId,
    pub(super) phase: Phase,
    pub(super) since: Instant,
    pub(super) ready_since: Option<Instant>,
    /// When the phase is over at the latest.
    pub(super) deadline: Option<Instant>,
    /// When to ping next.
    pub(super) ping_at: Option<Instant>,
    /// Since when a ping has been without an answer.
    pub(super) unanswered_since: Option<Instant>,
    /// Why it was killed, if it was.
    pub(super) verdict: Option<(DeathCause, String)>,
    /// How often it was killed.
    pub(super) kills: u32,
    /// When it will have been ready for long enough to be trusted.
    pub(super) confirm_at: Option<Instant>,
}

impl Run {
    /// A run that is being spawned now.
    pub(super) fn new(id: WorkerId, timing: &Timing, now: Instant) -> Self {
        Run {
            id,
            phase: Phase::Starting,
            since: now,
            ready_since: None,
            deadline: Some(now + timing.start_timeout),
            ping_at: None,
            unanswered_since: None,
            verdict: None,
            kills: 0,
            confirm_at: None,
        }
    }

    /// Which run it is.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Where in its life it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// When it was spawned.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// How long it has been ready, if it is or was.
    pub fn ready_for(&self, now: Instant) -> Duration {
        self.ready_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Whether it is or was ready.
    pub(super) fn was_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    /// How long its phase goes on at the most; none while it serves.
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Whether it has been ready for long enough just now; said once.
    pub(super) fn confirm(&mut self, now: Instant) -> bool {
        self.phase == Phase::Ready && self.confirm_at.take_if(|at| *at <= now).is_some()
    }

    /// Whether it was killed so long ago that its end may never be seen: it hangs in the kernel.
    pub fn is_beyond_reach(&self) -> bool {
        self.kills > 1
    }

    /// It became ready. False where that comes too late to matter.
    pub(super) fn ready(&mut self, timing: &Timing, now: Instant) -> bool {
        if self.phase != Phase::Starting {
            return false;
        }
        self.phase = Phase::Ready;
        self.ready_since = Some(now);
        self.confirm_at = Some(now + timing.confirm);
        self.deadline = None;
        self.ping_at = Some(now + timing.ping_interval);
        true
    }

    /// It answered.
    pub(super) fn pong(&mut self) {
        self.unanswered_since = None;
    }

    /// It shall end its clients and leave.
    pub(super) fn drain(&mut self, timing: &Timing, within: Duration, now: Instant, actions: &mut impl Extend<Action>) {
        match self.phase {
            Phase::Ready => {
                self.phase = Phase::Draining;
                self.deadline = Some(now + within + timing.drain_margin);
                actions.extend([Action::DrainInBalancer(self.id), Action::SendDrain(self.id, within)]);
            }
            // It has no clients yet.
            Phase::Starting => self.terminate(timing, now, actions),
            // A drain that is under way may be cut short, not drawn out.
            Phase::Draining => {
                let asked = now + within + timing.drain_margin;
                if self.deadline.is_some_and(|deadline| asked < deadline) {
                    self.deadline = Some(asked);
                    actions.extend([Action::SendDrain(self.id, within)]);
                }
            }
            Phase::Terminating | Phase::Killing => {}
        }
    }

    fn terminate(&mut self, timing: &Timing, now: Instant, actions: &mut impl Extend<Action>) {
        self.phase = Phase::Terminating;
        self.deadline = Some(now + timing.term_grace);
        self.ping_at = None;
        self.unanswered_since = None;
        actions.extend([Action::DrainInBalancer(self.id), Action::TermGroup(self.id)]);
    }

    /// It shall end at once.
    pub(super) fn kill(&mut self, timing: &Timing, now: Instant, actions: &mut impl Extend<Action>) {
        self.phase = Phase::Killing;
        self.kills = self.kills.saturating_add(1);
        // A process that cannot be killed (it hangs in the kernel) is killed again: nothing else can be done.
        self.deadline = Some(now + timing.kill_again);
        self.ping_at = None;
        self.unanswered_since = None;
        actions.extend([Action::DrainInBalancer(self.id), Action::KillGroup(self.id)]);
    }

    /// It is to be killed for a reason that counts as its death.
    pub(super) fn condemn(
        &mut self,
        cause: DeathCause,
        detail: String,
        timing: &Timing,
        now: Instant,
        actions: &mut impl Extend<Action>,
    ) {
        match self.phase {
            Phase::Starting | Phase::Ready | Phase::Draining => self.verdict = Some((cause, detail)),
            Phase::Terminating => {}
            Phase::Killing => return,
        }
        self.kill(timing, now, actions);
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, timing: &Timing, now: Instant, actions: &mut impl Extend<Action>) {
        if self.unanswered_since.is_some_and(|since| since + timing.hang_timeout <= now) {
            let detail = format!("no answer for {:?}", timing.hang_timeout);
            return self.condemn(DeathCause::Hang, detail, timing, now, actions);
        }
        if self.ping_at.is_some_and(|at| at <= now) {
            self.ping_at = Some(now + timing.ping_interval);
            self.unanswered_since.get_or_insert(now);
            // Also while one is without an answer: a single message that was lost must not cost a worker its life.
            actions.extend([Action::SendPing(self.id)]);
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            match self.phase {
                Phase::Starting => {
                    let detail = format!("not ready within {:?} (`start_timeout`)", timing.start_timeout);
                    self.condemn(DeathCause::Start, detail, timing, now, actions);
                }
                Phase::Draining => self.terminate(timing, now, actions),
                Phase::Terminating | Phase::Killing => self.kill(timing, now, actions),
                Phase::Ready => self.deadline = None,
            }
        }
    }

    /// The supervisor's own loop stood still for so long: nobody is to blame for what could not be seen meanwhile. An answer may
    /// lie in the socket, so that deadline begins anew; the others get the time back.
    pub(super) fn forgive(&mut self, gap: Duration, now: Instant) {
        if self.unanswered_since.is_some() {
            self.unanswered_since = Some(now);
        }
        self.deadline = self.deadline.map(|deadline| deadline + gap);
        self.confirm_at = self.confirm_at.map(|at| at + gap);
    }

    /// When something is due.
    pub(super) fn timeout(&self, timing: &Timing) -> Option<Instant> {
        let hang = self.unanswered_since.map(|since| since + timing.hang_timeout);
        let confirm = self.confirm_at.filter(|_| self.phase == Phase::Ready);
        [hang, self.ping_at, self.deadline, confirm].into_iter().flatten().min()
    }

    /// The process has ended: why it died, or `None` where it was asked to end and did.
    pub(super) fn ended(&self, exit: Exit) -> Option<(DeathCause, String)> {
        match (&self.verdict, self.phase) {
            // It ended by itself before the KILL came: that is also why it seemed unusable.
            (Some((DeathCause::Hang | DeathCause::Crash, _)), _)
                if !matches!(exit, Exit::Signal(_, "SIGKILL") | Exit::Unknown) =>
            {
                Some((exit.cause(), exit.to_string()))
            }
            (Some(verdict), _) => Some(verdict.clone()),
            (None, Phase::Starting) => Some((DeathCause::Start, exit.to_string())),
            (None, Phase::Ready) => Some((exit.cause(), exit.to_string())),
            // It may have had clients to end, and left them.
            (None, Phase::Draining) if !matches!(exit, Exit::Code(0) | Exit::Unknown) => {
                Some((exit.cause(), exit.to_string()))
            }
            (None, Phase::Draining | Phase::Terminating | Phase::Killing) => None,
        }
    }
}

impl Exit {
    /// A signal that a process raises by its own fault is a crash; any other was sent by somebody.
    fn cause(self) -> DeathCause {
        match self {
            Exit::Code(_)
            | Exit::Unknown
            | Exit::Signal(_, "SIGSEGV" | "SIGABRT" | "SIGBUS" | "SIGFPE" | "SIGILL" | "SIGTRAP" | "SIGSYS") => {
                DeathCause::Crash
            }
            Exit::Signal(..) => DeathCause::Kill,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit status {code}"),
            Exit::Signal(_, name) => write!(f, "signal {}", name.trim_start_matches("SIG")),
            Exit::Unknown => f.write_str("how is not known: an earlier supervisor had started it"),
        }
    }
}
