//! Workers that have grown too large are replaced as in a reload.

use std::time::{Duration, Instant};

use roomd_wire::Slot;

use super::{Supervisor, change::UnderWay};
use crate::{
    process_figures::ProcessFigures,
    recycle::Verdict,
    rollout::Rollout,
    slot::{Phase, Run},
    status::ClusterState,
};

impl Supervisor {
    /// Does what is due.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        self.leave_if_due(now);
        self.fleet.tick(now);
        if let Some(limit) = self.config.max_rss
            && self.recycler.is_due(now)
        {
            self.look_at_memory(limit, now);
        }
    }

    fn look_at_memory(&mut self, limit: u64, now: Instant) {
        let serving = self.fleet.slots().filter_map(|slot| slot.current()).filter(|run| run.phase() == Phase::Ready);
        let size = |run: &Run| ProcessFigures::of(self.workers.get(&run.id())?.pid).resident_bytes;
        let sizes = serving.filter_map(|run| Some((run.id(), size(run)?)));
        let sizes: Vec<_> = sizes.collect();
        let free = self.busy().is_ok();
        match self.recycler.look(limit, sizes.iter().copied(), free, now) {
            Some(Verdict::Recycle(id)) => {
                let rss_bytes = sizes.iter().find(|(of, _)| *of == id).map(|(_, bytes)| *bytes);
                tracing::warn!(worker = %id, rss_bytes, max_rss_bytes = limit, "recycling: it is above `max_rss`");
                self.recycle(id.slot, now);
            }
            Some(Verdict::TooSoon(id, again_in)) => {
                let again_in = Duration::from_secs(again_in.as_secs());
                tracing::warn!(
                    worker = %id, max_rss_bytes = limit, ?again_in,
                    "above `max_rss` again so soon: it leaks fast, or the limit is too small"
                );
            }
            None => {}
        }
    }

    fn recycle(&mut self, place: Slot, now: Instant) {
        self.state = ClusterState::Reloading;
        self.under_way = Some(UnderWay::Recycle { rollout: Rollout::new([place], 1), since: now, slot: place });
        self.advance();
    }
}
