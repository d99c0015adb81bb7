//! Changes that go through slots and take their time: a reload, another number of workers, a slot that serves again.

use std::time::Instant;

use roomd_wire::Slot;

use super::{Supervisor, own_words, timing};
use crate::{
    command::{CommandError, Reloaded, Reply, Scaled, Undrained},
    config::Config,
    rollout::{Rollout, RolloutEnd, Stopped},
    slot::Outcome,
    status::{ClusterState, Progress},
};

/// What is under way beside the usual.
pub(super) enum UnderWay {
    Reload {
        rollout: Rollout,
        since: Instant,
        /// In force again if the new one brings up no worker.
        before: Box<Config>,
        /// The number of workers that the configuration named before.
        named_before: u16,
        reply: Reply<Result<Reloaded, CommandError>>,
    },
    Scale {
        rollout: Rollout,
        since: Instant,
        from: u16,
        to: u16,
        reply: Reply<Result<Scaled, CommandError>>,
    },
    Undrain {
        rollout: Rollout,
        since: Instant,
        slot: Slot,
        reply: Reply<Result<Undrained, CommandError>>,
    },
    /// Nobody waits for it.
    Recycle {
        rollout: Rollout,
        since: Instant,
        slot: Slot,
    },
}

impl UnderWay {
    fn rollout(&mut self) -> &mut Rollout {
        match self {
            UnderWay::Reload { rollout, .. }
            | UnderWay::Scale { rollout, .. }
            | UnderWay::Undrain { rollout, .. }
            | UnderWay::Recycle { rollout, .. } => rollout,
        }
    }

    fn what(&self) -> &'static str {
        match self {
            UnderWay::Reload { .. } => "a reload",
            UnderWay::Scale { .. } => "a change of the number of workers",
            UnderWay::Undrain { .. } => "the start of a drained slot",
            UnderWay::Recycle { .. } => "the replacement of a worker that grew too large",
        }
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        let (UnderWay::Reload { rollout, .. }
        | UnderWay::Scale { rollout, .. }
        | UnderWay::Undrain { rollout, .. }
        | UnderWay::Recycle { rollout, .. }) = self;
        let (done, of) = rollout.progress();
        Progress { what: self.what().into(), done, of }
    }
}

impl Supervisor {
    /// What is under way ends with an error.
    pub(super) fn abandon(&mut self, error: &CommandError) {
        match self.under_way.take() {
            Some(UnderWay::Reload { reply, .. }) => drop(reply.send(Err(error.clone()))),
            Some(UnderWay::Scale { reply, .. }) => drop(reply.send(Err(error.clone()))),
            Some(UnderWay::Undrain { reply, .. }) => drop(reply.send(Err(error.clone()))),
            Some(UnderWay::Recycle { .. }) | None => {}
        }
    }

    /// Why nothing new can be begun now, if so.
    pub(super) fn busy(&self) -> Result<(), CommandError> {
        match (&self.under_way, self.state) {
            (_, ClusterState::Stopping) => Err(CommandError::Stopping),
            _ if self.upgrading.is_some() || self.arrival.is_some() => Err(CommandError::Busy { what: "an upgrade" }),
            (Some(under_way), _) => Err(CommandError::Busy { what: under_way.what() }),
            (None, ClusterState::Starting) => Err(CommandError::Busy { what: "the start" }),
            (None, _) => Ok(()),
        }
    }

    /// Replaces all workers, so many slots at a time, with the configuration as it is now.
    pub(super) fn reload(&mut self, parallel: u16, reply: Reply<Result<Reloaded, CommandError>>) {
        let config = match self.busy().and_then(|()| (self.load)(&self.config)) {
            Ok(config) => config,
            Err(error) => {
                tracing::warn!(%error, code = error.code(), "not reloaded");
                return drop(reply.send(Err(error)));
            }
        };
        let now = Instant::now();
        let old = self.config.workers;
        // The number of workers stays as `scale` left it, unless somebody has named another one since.
        let named_before = std::mem::replace(&mut self.named_workers, config.workers);
        let new = if config.workers == named_before { old } else { config.workers };
        tracing::info!(parallel, workers = new, "reloading");
        let config = Config { workers: new, ..config };
        let before = Box::new(self.put_in_force(config));
        // New slots come first, while the old workers all serve; those that are too many go last.
        self.fleet.resize(new.max(old), now);
        let slots = || self.fleet.slots().filter(|slot| slot.wanted());
        let mut rollout =
            Rollout::new(slots().map(|slot| slot.place()).filter(|place| place.0 < old.min(new)), parallel);
        for slot in slots().filter(|slot| slot.place().0 >= old) {
            rollout.started(slot.place(), slot.generation());
        }
        self.state = ClusterState::Reloading;
        self.under_way = Some(UnderWay::Reload { rollout, since: now, before, named_before, reply });
        self.advance();
    }

    /// From now on this configuration counts, wherever it need not wait for a new worker; the one before.
    fn put_in_force(&mut self, config: Config) -> Config {
        self.fleet.set_timing(timing(&config));
        self.balancer.reconfigure(config.for_balancer());
        self.admin_token.set(config.admin_token.clone());
        let before = std::mem::replace(&mut self.config, config);
        self.configure_log();
        before
    }

    /// Replaces the workers of the slots whose turn it is, or ends what is done.
    pub(super) fn advance(&mut self) {
        let Some(rollout) = self.under_way.as_mut().map(UnderWay::rollout) else { return };
        while let Some(place) = rollout.next_slot() {
            // One that was drained or taken away meanwhile has none to replace.
            if self.fleet.replace(place, Instant::now())
                && let Some(slot) = self.fleet.slot(place)
            {
                rollout.started(place, slot.generation());
            }
        }
        if let Some(end) = rollout.end() {
            self.finish(end);
        }
    }

    /// Another number of workers.
    pub(super) fn scale(&mut self, to: u16, reply: Reply<Result<Scaled, CommandError>>) {
        if let Err(error) = self.busy() {
            tracing::warn!(%error, code = error.code(), to, "the number of workers stays");
            return drop(reply.send(Err(error)));
        }
        let from = self.config.workers;
        tracing::info!(from, to, "changing the number of workers");
        self.config.workers = to;
        let now = Instant::now();
        self.fleet.resize(to, now);
        let new = self.fleet.slots().filter(|slot| slot.wanted() && slot.place().0 >= from);
        let rollout = Rollout::together(new.map(|slot| (slot.place(), slot.generation())));
        self.state = ClusterState::Reloading;
        self.under_way = Some(UnderWay::Scale { rollout, since: now, from, to, reply });
        self.advance();
    }

    /// A drained slot has a worker again.
    pub(super) fn undrain(&mut self, slot: Slot, reply: Reply<Result<Undrained, CommandError>>) {
        if let Err(error) = self.busy().and_then(|()| self.may_undrain(slot)) {
            tracing::warn!(%error, code = error.code(), %slot, "not undrained");
            return drop(reply.send(Err(error)));
        }
        let now = Instant::now();
        tracing::info!(%slot, "undraining");
        self.fleet.undrain(slot, now);
        let generation = self.fleet.slot(slot).map(|slot| slot.generation());
        let rollout = Rollout::together(generation.map(|generation| (slot, generation)));
        self.state = ClusterState::Reloading;
        self.under_way = Some(UnderWay::Undrain { rollout, since: now, slot, reply });
    }

    /// Something happened that a roll-out may wait for.
    pub(super) fn outcome(&mut self, outcome: &Outcome) {
        let Some(rollout) = self.under_way.as_mut().map(UnderWay::rollout) else { return };
        match rollout.handle(outcome) {
            Some(end) => self.finish(end),
            None => self.advance(),
        }
    }

    fn finish(&mut self, end: RolloutEnd) {
        let Some(under_way) = self.under_way.take() else { return };
        if self.state == ClusterState::Reloading {
            self.state = ClusterState::Running;
        }
        match end {
            RolloutEnd::Done(count) => self.done(under_way, count),
            RolloutEnd::Failed(stopped) => self.failed(under_way, stopped),
        }
    }

    fn done(&mut self, under_way: UnderWay, count: u16) {
        match under_way {
            UnderWay::Reload { since, reply, .. } => {
                self.fleet.resize(self.config.workers, Instant::now());
                tracing::info!(replaced = count, took = ?since.elapsed(), "reloaded");
                drop(reply.send(Ok(Reloaded { replaced: count })));
            }
            UnderWay::Scale { since, from, to, reply, .. } => {
                tracing::info!(from, to, took = ?since.elapsed(), "changed the number of workers");
                drop(reply.send(Ok(Scaled { from, to })));
            }
            UnderWay::Undrain { since, slot, reply, .. } => {
                tracing::info!(%slot, took = ?since.elapsed(), "undrained");
                drop(reply.send(Ok(Undrained { slot: slot.0 })));
            }
            UnderWay::Recycle { since, slot, .. } => {
                self.fleet.note_recycled(slot, Instant::now());
                tracing::info!(%slot, took = ?since.elapsed(), "recycled");
            }
        }
    }

    fn failed(&mut self, under_way: UnderWay, stopped: Stopped) {
        let now = Instant::now();
        for slot in &stopped.called_off {
            self.fleet.call_off(*slot, now);
        }
        let Stopped { slot, generation, replaced, left, .. } = stopped;
        let reason = self.words_of(&stopped);
        let ready_for = stopped.ready_for;
        let failed = |rest: String| CommandError::NewWorkerFailed { slot, reason: reason.clone(), ready_for, rest };
        let error = match under_way {
            UnderWay::Reload { before, named_before, reply, .. } => {
                self.put_in_force(*before);
                self.named_workers = named_before;
                self.fleet.resize(self.config.workers, now);
                let error = failed(how_far(replaced, left));
                drop(reply.send(Err(error.clone())));
                error
            }
            UnderWay::Scale { from, reply, .. } => {
                self.config.workers = from;
                self.fleet.resize(from, now);
                let error = failed(format!("the number of workers stays {from}"));
                drop(reply.send(Err(error.clone())));
                error
            }
            UnderWay::Undrain { slot, reply, .. } => {
                self.fleet.drain(slot, now);
                let error = failed("the slot stays drained".into());
                drop(reply.send(Err(error.clone())));
                error
            }
            UnderWay::Recycle { .. } => failed("the worker that grew too large stays".into()),
        };
        tracing::error!(%slot, %generation, replaced, left, %error, "a change was stopped");
    }

    /// What a new worker that did not last has to say of it: the death was reported before the outcome was told.
    fn words_of(&self, stopped: &Stopped) -> String {
        let death = self.deaths.get(&stopped.slot).map(|(death, _)| death);
        let words = death.filter(|death| death.generation == stopped.generation).map(own_words);
        words.unwrap_or_else(|| stopped.reason.clone())
    }
}

/// What a reload that was stopped leaves behind.
fn how_far(replaced: u16, left: u16) -> String {
    match (replaced, left) {
        (0, _) => "the old workers stay".into(),
        (_, 0) => "all workers run the new code: reload again when it is mended".into(),
        (replaced, left) => {
            let are = |count| if count == 1 { "1 runs".to_owned() } else { format!("{count} run") };
            format!("of {} workers {} the new code and {} the old", replaced + left, are(replaced), are(left))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::how_far;

    #[test]
    fn a_stopped_reload_says_how_far_it_came() {
        assert_eq!(how_far(0, 4), "the old workers stay");
        assert_eq!(how_far(1, 3), "of 4 workers 1 runs the new code and 3 run the old");
        assert_eq!(how_far(3, 1), "of 4 workers 3 run the new code and 1 runs the old");
        assert_eq!(how_far(4, 0), "all workers run the new code: reload again when it is mended");
    }
}
