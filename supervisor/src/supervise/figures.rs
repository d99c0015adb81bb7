//! What the supervisor counts and times of workers and of itself.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use roomd_wire::{Histogram, Slot, WorkerId, WorkerStats};
use roomd_worker::lag::LoopLag;
use tokio::task::spawn_local;

use super::Supervisor;
use crate::{
    ledger::{Ledger, RecentLag},
    slot::Phase,
    status::{Lag, ProcessFigures, SlotStatus},
};

/// From one look at the own loop's lag to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// All of it.
pub(super) struct Figures {
    /// What workers report.
    pub ledger: Ledger,
    lag: LoopLag,
    recent: Rc<RefCell<RecentLag>>,
}

impl Figures {
    /// Begins to measure the loop that this runs on, for as long as that runs.
    pub(super) fn start() -> Self {
        let figures = Figures { ledger: Ledger::default(), lag: LoopLag::default(), recent: Rc::default() };
        spawn_local(figures.lag.clone().measure());
        let (lag, recent) = (figures.lag.clone(), figures.recent.clone());
        spawn_local(async move {
            loop {
                recent.borrow_mut().note(&lag.histogram());
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        figures
    }

    /// A worker has reported.
    pub(super) fn note(&mut self, id: WorkerId, pid: u32, stats: &WorkerStats) {
        self.ledger.note(id, stats.clone(), ProcessFigures::of(pid).cpu_s);
    }

    /// The lag of the supervisor's own loop: lately, and since the start.
    pub(super) fn lag(&self) -> (Lag, Histogram) {
        (self.recent.borrow().figures(), self.lag.histogram())
    }
}

impl Supervisor {
    /// A worker says that it is ready.
    pub(super) fn note_start(&mut self, id: WorkerId, now: Instant) {
        let run = self.fleet.slot(id.slot).and_then(|slot| slot.runs().find(|run| run.id() == id));
        if let Some(run) = run.filter(|run| run.phase() == Phase::Starting) {
            self.figures.ledger.started(id.slot, now.saturating_duration_since(run.since()));
        }
    }

    /// What was counted in each slot that there has been.
    pub(super) fn slot_status(&self) -> Vec<SlotStatus> {
        let status = |slot: Slot, restarts, recycled| {
            let past = self.figures.ledger.slot(slot);
            SlotStatus {
                slot,
                restarts_by_cause: restarts,
                recycled,
                counters: past.counters,
                timings: past.timings,
                starts: past.starts,
                cpu_s: past.cpu_s,
            }
        };
        self.fleet.slots().map(|slot| status(slot.place(), slot.restarts().clone(), slot.recycled())).collect()
    }
}
