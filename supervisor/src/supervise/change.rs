//! Changes that go through several slots: a reload, another number of workers.

use std::time::Instant;

use roomd_wire::Slot;

use super::{Supervisor, own_words, timing};
use crate::{
    command::{CommandError, Reloaded, Reply, Scaled},
    config::Config,
    rollout::{Rollout, RolloutEnd},
    slot::Outcome,
    status::ClusterState,
};

/// What is under way beside the usual.
pub(super) enum UnderWay {
    Reload {
        rollout: Rollout,
        /// In force again if the new one brings up no worker.
        before: Box<Config>,
        reply: Reply<Result<Reloaded, CommandError>>,
    },
    Scale {
        rollout: Rollout,
        from: u16,
        to: u16,
        reply: Reply<Result<Scaled, CommandError>>,
    },
}

impl Supervisor {
    /// What is under way ends with an error.
    pub(super) fn abandon(&mut self, error: &CommandError) {
        match self.under_way.take() {
            Some(UnderWay::Reload { reply, .. }) => drop(reply.send(Err(error.clone()))),
            Some(UnderWay::Scale { reply, .. }) => drop(reply.send(Err(error.clone()))),
            None => {}
        }
    }

    /// Why nothing new can be begun now, if so.
    fn busy(&self) -> Result<(), CommandError> {
        match (&self.under_way, self.state) {
            (_, ClusterState::Stopping) => Err(CommandError::Stopping),
            (Some(UnderWay::Reload { .. }), _) => Err(CommandError::Busy { what: "a reload" }),
            (Some(UnderWay::Scale { .. }), _) => Err(CommandError::Busy { what: "a change of the number of workers" }),
            (None, ClusterState::Starting) => Err(CommandError::Busy { what: "the start" }),
            (None, _) => Ok(()),
        }
    }

    /// Replaces all workers, with the configuration as it is now.
    pub(super) fn reload(&mut self, reply: Reply<Result<Reloaded, CommandError>>) {
        let config = match self.busy().and_then(|()| (self.load)()) {
            Ok(config) => config,
            Err(error) => return drop(reply.send(Err(error))),
        };
        tracing::info!("reloading");
        // The number of workers stays as `scale` left it.
        let config = Config { workers: self.config.workers, ..config };
        let before = Box::new(std::mem::replace(&mut self.config, config));
        self.fleet.set_timing(timing(&self.config));
        self.state = ClusterState::Reloading;
        let slots: Vec<Slot> = self.fleet.slots().filter(|slot| slot.wanted()).map(|slot| slot.place()).collect();
        self.under_way = Some(UnderWay::Reload { rollout: Rollout::one_by_one(slots), before, reply });
        self.advance();
    }

    /// Replaces the worker of the slot whose turn it is.
    fn advance(&mut self) {
        if let Some(UnderWay::Reload { rollout, .. }) = &mut self.under_way
            && let Some(slot) = rollout.next_slot()
        {
            self.fleet.replace(slot, Instant::now());
            if let Some(slot) = self.fleet.slot(slot) {
                rollout.started(slot.place(), slot.generation());
            }
        }
    }

    /// Another number of workers.
    pub(super) fn scale(&mut self, to: u16, reply: Reply<Result<Scaled, CommandError>>) {
        if let Err(error) = self.busy() {
            return drop(reply.send(Err(error)));
        }
        let from = self.config.workers;
        tracing::info!(from, to, "changing the number of workers");
        self.config.workers = to;
        self.fleet.resize(to, Instant::now());
        let new = self.fleet.slots().filter(|slot| slot.wanted() && slot.place().0 >= from);
        let rollout = Rollout::together(new.map(|slot| (slot.place(), slot.generation())));
        if rollout.end().is_some() {
            return drop(reply.send(Ok(Scaled { from, to })));
        }
        self.state = ClusterState::Reloading;
        self.under_way = Some(UnderWay::Scale { rollout, from, to, reply });
    }

    /// Something happened that a roll-out may wait for.
    pub(super) fn outcome(&mut self, outcome: &Outcome) {
        let end = match &mut self.under_way {
            Some(UnderWay::Reload { rollout, .. } | UnderWay::Scale { rollout, .. }) => rollout.handle(outcome),
            None => return,
        };
        let Some(end) = end else { return self.advance() };
        if self.state == ClusterState::Reloading {
            self.state = ClusterState::Running;
        }
        match (self.under_way.take(), end) {
            (Some(UnderWay::Reload { reply, .. }), RolloutEnd::Done(replaced)) => {
                drop(reply.send(Ok(Reloaded { replaced })))
            }
            (Some(UnderWay::Reload { before, reply, .. }), RolloutEnd::Failed { slot, reason }) => {
                self.config = *before;
                self.fleet.set_timing(timing(&self.config));
                drop(reply.send(Err(self.new_worker_failed(slot, reason))));
            }
            (Some(UnderWay::Scale { from, to, reply, .. }), RolloutEnd::Done(_)) => {
                drop(reply.send(Ok(Scaled { from, to })));
            }
            (Some(UnderWay::Scale { from, reply, .. }), RolloutEnd::Failed { slot, reason }) => {
                self.config.workers = from;
                self.fleet.resize(from, Instant::now());
                drop(reply.send(Err(self.new_worker_failed(slot, reason))));
            }
            (None, _) => {}
        }
    }

    /// The outcome is told before the death is reported, so its last words are looked up where they still are.
    fn new_worker_failed(&self, slot: Slot, reason: String) -> CommandError {
        let words = self.deaths.get(&slot).map(|(death, _)| own_words(death)).filter(|words| words.contains(&reason));
        CommandError::NewWorkerFailed { slot, reason: words.unwrap_or(reason) }
    }
}
