//! Leaving: the sessions are closed, evenly spread over the time that is left, the idle ones first.

use std::time::Duration;

use tokio::time::Instant;

use super::{handler::SessionKey, server::Engine};
use crate::protocol::{
    drain_order::{Candidate, DrainOrder},
    session::CloseReason,
};

/// Part of the time within which the clients are closed; the rest is for their goodbyes.
const SHARE: f64 = 0.8;
/// A client that polls asks again right after each answer. One for which nothing waits and that has not asked for so long after the
/// end of its session has gone without a word; it would hold the worker until the time is over.
const ASKS_AGAIN: Duration = Duration::from_secs(5);
/// How often to look whether all are gone.
const LOOK: Duration = Duration::from_millis(20);

impl Engine {
    /// Closes all sessions within the time; returns when none is left and no connection in use, or the time is over. New
    /// sessions go to other workers from now on, requests of the old ones are served to their end. Each HTTP answer is the last one
    /// on its connection now: closing idle ones would lose the requests that are on their way on them.
    pub async fn drain(&self, within: Duration) {
        self.0.draining.set(true);
        let start = Instant::now();
        let mut order = DrainOrder::new(self.candidates(), start.into(), within.mul_f64(SHARE));
        while let Some(due) = order.due().map(Instant::from_std) {
            // Those that leave by themselves meanwhile need not be waited for.
            while Instant::now() < due && self.session_count() > 0 {
                tokio::time::sleep_until(due.min(Instant::now() + LOOK)).await;
            }
            let next = {
                let state = self.0.state.borrow();
                order.next(|key| state.sessions.get(key).map(|entry| entry.active))
            };
            if let Some(key) = next {
                self.close(key, CloseReason::ServerShuttingDown);
            }
        }
        let closed = Instant::now();
        while start.elapsed() < within && (self.session_count() > 0 || self.busy_connections() > 0) {
            if closed.elapsed() >= ASKS_AGAIN && self.busy_connections() == 0 && self.nothing_waits() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether no session that is left has something to say to its client but that it is over.
    fn nothing_waits(&self) -> bool {
        self.candidates().iter().all(|candidate| candidate.queued_bytes == 0)
    }

    /// Closes all sessions at once.
    pub fn close_all(&self) {
        for Candidate { key, .. } in self.candidates() {
            self.close(key, CloseReason::ServerShuttingDown);
        }
    }

    fn busy_connections(&self) -> u64 {
        self.connection_count().saturating_sub(self.0.counters.idle_connections.get())
    }

    fn candidates(&self) -> Vec<Candidate<SessionKey>> {
        let state = &mut *self.0.state.borrow_mut();
        let keys: Vec<SessionKey> = state.sessions.keys().collect();
        let candidate = |key| {
            let entry = state.sessions.get_mut(key)?;
            Some(Candidate { key, active: entry.active, queued_bytes: entry.session.queue().bytes() })
        };
        keys.into_iter().filter_map(candidate).collect()
    }
}
