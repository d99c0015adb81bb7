//! Slots that somebody takes out of service: who asked hears when their workers have ended.

use std::time::Instant;

use roomd_wire::Slot;

use super::Supervisor;
use crate::command::{CommandError, Drained, Reply};

/// Those who wait for the end of a drained slot's worker.
#[derive(Default)]
pub(super) struct Drains(Vec<Waiting>);

struct Waiting {
    slot: Slot,
    since: Instant,
    reply: Reply<Result<Drained, CommandError>>,
}

impl Drains {
    /// All of them hear this.
    pub(super) fn refuse(&mut self, error: &CommandError) {
        for waiting in self.0.drain(..) {
            drop(waiting.reply.send(Err(error.clone())));
        }
    }
}

impl Supervisor {
    /// Takes a slot out of service. Answered when its clients have gone and its worker has ended.
    pub(super) fn drain(&mut self, slot: Slot, force: bool, reply: Reply<Result<Drained, CommandError>>) {
        if let Err(error) = self.busy().and_then(|()| self.may_drain(slot, force)) {
            tracing::warn!(%error, code = error.code(), %slot, "not drained");
            return drop(reply.send(Err(error)));
        }
        let now = Instant::now();
        tracing::info!(%slot, force, grace = ?self.config.grace, "draining a slot");
        self.fleet.drain(slot, now);
        self.drains.0.push(Waiting { slot, since: now, reply });
    }

    fn may_drain(&self, place: Slot, force: bool) -> Result<(), CommandError> {
        let slots = self.config.workers;
        let slot = self.fleet.slot(place).filter(|_| place.0 < slots);
        let slot = slot.ok_or(CommandError::NoSuchSlot { slot: place, slots })?;
        if slot.is_drained() {
            return Err(CommandError::DrainedAlready { slot: place });
        }
        let others = self.fleet.slots().filter(|other| other.place() != place && other.is_ready()).count();
        if others == 0 && !force {
            return Err(CommandError::LastReady { slot: place });
        }
        Ok(())
    }

    pub(super) fn may_undrain(&self, place: Slot) -> Result<(), CommandError> {
        let slots = self.config.workers;
        let slot = self.fleet.slot(place).filter(|_| place.0 < slots);
        match slot.ok_or(CommandError::NoSuchSlot { slot: place, slots })? {
            slot if slot.is_drained() => Ok(()),
            _ => Err(CommandError::NotDrained { slot: place }),
        }
    }

    /// Tells who waits for what has come true.
    pub(super) fn tell_drained(&mut self) {
        let mut waiting = std::mem::take(&mut self.drains.0);
        for done in waiting.extract_if(.., |waiting| self.drain_is_over(waiting.slot)) {
            let Waiting { slot, since, reply } = done;
            let answer = if self.fleet.slot(slot).is_some_and(|slot| slot.is_drained()) {
                tracing::info!(%slot, took = ?since.elapsed(), "a slot is drained");
                Ok(Drained { slot: slot.0 })
            } else {
                Err(CommandError::DrainUndone { slot })
            };
            drop(reply.send(answer));
        }
        self.drains.0 = waiting;
    }

    fn drain_is_over(&self, slot: Slot) -> bool {
        self.fleet.slot(slot).is_none_or(|slot| !slot.is_drained() || slot.runs().next().is_none())
    }
}
