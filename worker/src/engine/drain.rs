//! Leaving: the sessions are closed, evenly spread over the time that is left, those without anything to send first.

use std::time::Duration;

use tokio::time::Instant;

use super::{handler::SessionKey, server::Engine};
use crate::protocol::session::CloseReason;

/// Part of the time within which the clients are closed; the rest is for their goodbyes.
const SHARE: f64 = 0.8;
/// How often to look whether all are gone.
const LOOK: Duration = Duration::from_millis(20);

impl Engine {
    /// Closes all sessions within the time; returns when none is left and no connection in use, or the time is over. New
    /// sessions go to other workers from now on, requests of the old ones are served to their end. Each HTTP answer is the last one
    /// on its connection now: closing idle ones would lose the requests that are on their way on them.
    pub async fn drain(&self, within: Duration) {
        self.0.draining.set(true);
        let start = Instant::now();
        let mut keys = self.drain_order();
        let step = within.mul_f64(SHARE).div_f64(keys.len().max(1) as f64);
        for (number, key) in (0u32..).zip(keys.drain(..)) {
            let due = start + step * number;
            // Those that leave by themselves meanwhile need not be waited for.
            while Instant::now() < due && self.session_count() > 0 {
                tokio::time::sleep_until(due.min(Instant::now() + LOOK)).await;
            }
            self.close(key, CloseReason::ServerShuttingDown);
        }
        while start.elapsed() < within && (self.session_count() > 0 || self.busy_connections() > 0) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Closes all sessions at once.
    pub fn close_all(&self) {
        for key in self.drain_order() {
            self.close(key, CloseReason::ServerShuttingDown);
        }
    }

    fn busy_connections(&self) -> u64 {
        let counters = &self.0.counters;
        counters.connections.get().saturating_sub(counters.idle_connections.get())
    }

    fn drain_order(&self) -> Vec<SessionKey> {
        let state = &mut *self.0.state.borrow_mut();
        let mut keys: Vec<SessionKey> = state.sessions.keys().collect();
        keys.sort_by_cached_key(|key| state.sessions.get_mut(*key).map_or(0, |entry| entry.session.queue().bytes()));
        keys
    }
}
