//! What is logged, changed while the cluster runs: here and in all workers.

use std::{collections::HashMap, time::Instant};

use roomd_wire::{Slot, ToWorker};

use super::Supervisor;
use crate::{
    command::CommandError,
    logging::{self, LogOrder, LogStatus},
};

/// When a filter ends that was asked for for a time.
pub(super) fn due() -> Option<Instant> {
    logging::change_filters(|filters| filters.poll_timeout())
}

impl Supervisor {
    /// It is time for a filter to end, perhaps.
    pub(super) fn tick_log(&mut self) {
        let now = Instant::now();
        let ended = self.telling_workers(|| logging::change_filters(|filters| filters.tick(now)));
        if ended {
            tracing::info!(filter = logging::filter(), "the log's filter is as before again");
        }
    }

    /// Tells or changes what is logged.
    pub(super) fn order_log(&mut self, order: &LogOrder) -> Result<LogStatus, CommandError> {
        let now = Instant::now();
        if let Some(slot) = order.slot
            && self.fleet.slot(Slot(slot)).is_none_or(|slot| !slot.wanted())
        {
            return Err(CommandError::NoSuchSlot { slot: Slot(slot), slots: self.config.workers });
        }
        self.telling_workers(|| logging::change_filters(|filters| filters.order(order, now)));
        Ok(logging::change_filters(|filters| filters.status(now)))
    }

    /// Brings into force what the configuration says of the log.
    pub(super) fn configure_log(&mut self) {
        self.telling_workers(|| logging::configure(&self.config.log));
    }

    /// Changes filters and tells the workers whose filter is another then. One that starts now has it from its environment.
    fn telling_workers<T>(&self, change: impl FnOnce() -> T) -> T {
        let before: HashMap<_, _> = self.workers.keys().map(|id| (*id, logging::filter_in(id.slot.0))).collect();
        let result = change();
        for (id, before) in before {
            let filter = logging::filter_in(id.slot.0);
            if filter != before {
                self.tell(id, ToWorker::LogFilter { filter });
            }
        }
        result
    }
}
