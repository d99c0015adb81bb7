//! What every bus has beside its connection.

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::Bytes;
use roomd_wire::BusHealth;
use tokio::sync::oneshot;

use super::{BusCounters, BusError, BusHandler, HealthTiming, LocalFuture, report::HealthReport};

/// How long a question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The layer above, the health, and what was counted.
pub struct Common {
    handler: Rc<dyn BusHandler>,
    pub report: HealthReport,
    counters: Cell<BusCounters>,
}

impl Common {
    pub fn new(timing: HealthTiming, handler: Rc<dyn BusHandler>) -> Self {
        Common { report: HealthReport::new(timing, handler.clone()), handler, counters: Cell::default() }
    }

    /// A message came.
    pub fn deliver(&self, channel: &[u8], payload: &[u8]) {
        self.count(|counters| counters.received += 1);
        // What is subscribed to is text. A pattern of Redis can bring a channel that is not: nobody of ours publishes there.
        if let Ok(channel) = std::str::from_utf8(channel) {
            // Its own memory: a slice would hold on to all that was read with it, for as long as one slow client waits.
            self.handler.message(channel, Bytes::copy_from_slice(payload));
        }
    }

    /// There is a new connection, which knows of no subscription.
    pub fn resubscribe(&self) {
        self.handler.resubscribe();
    }

    pub fn count(&self, change: impl FnOnce(&mut BusCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    pub fn counters(&self) -> BusCounters {
        self.counters.get()
    }

    /// Waits for the answer to a question. Its channel is dropped when the bus goes, or has no room for a question.
    pub fn answer<T: 'static>(&self, answer: oneshot::Receiver<T>) -> LocalFuture<Result<T, BusError>> {
        let health = self.report.watch();
        Box::pin(async move {
            match tokio::time::timeout(ANSWER_WITHIN, answer).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) => Err(match &*health.borrow() {
                    BusHealth { up: true, .. } => BusError::Full,
                    BusHealth { reason, .. } => BusError::Down(reason.clone()),
                }),
                Err(_) => Err(BusError::Timeout(ANSWER_WITHIN)),
            }
        })
    }
}
