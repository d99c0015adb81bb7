//! The supervisor's own access to the bus.

use std::{
    cell::Cell,
    future::Future,
    io,
    time::{Duration, Instant, SystemTime},
};

use roomd_wire::{BusConfig, BusHealth, WorkerId};
use roomd_worker::bus::{BusMonitor, HealthTiming, PublishError};
use tokio::sync::watch;

use crate::{
    config::redact_redis_url,
    emit::Publication,
    hub::HubHandle,
    status::{BusKind, BusState, BusStatus},
};

/// How long a worker may be without a bus that the supervisor has before the log tells of that one worker: longer than the
/// pauses after which it tries again, so that an outage of all and its end are told once.
const ALONE_AFTER: Duration = Duration::from_secs(5);

/// Watches the bus, and remembers since when it has been as it is.
pub struct BusWatch {
    monitor: BusMonitor,
    kind: BusKind,
    url: Option<String>,
    up: bool,
    since: Instant,
}

impl BusWatch {
    /// Begins to watch.
    pub fn start(bus: &BusConfig, hub: Option<&HubHandle>) -> io::Result<Self> {
        let timing = HealthTiming::default();
        let (monitor, kind, url) = match (bus, hub) {
            (BusConfig::Redis { url }, _) => {
                (BusMonitor::redis(url.clone(), timing)?, BusKind::Redis, Some(redact_redis_url(url)))
            }
            (BusConfig::Embedded, Some(hub)) => {
                (BusMonitor::embedded(hub.add_observer()?, timing)?, BusKind::Embedded, None)
            }
            (BusConfig::Embedded, None) => return Err(io::Error::other("the embedded bus has no hub")),
        };
        Ok(BusWatch { monitor, kind, url, up: false, since: Instant::now() })
    }

    /// Told when the bus comes up or goes down.
    pub fn changes(&self) -> watch::Receiver<BusHealth> {
        self.monitor.changes()
    }

    /// Publishes what was ordered from outside.
    pub fn publish(&self, what: Publication) -> impl Future<Output = Result<(), PublishError>> + use<> {
        self.monitor.publish(what.channel, what.payload)
    }

    /// Something has changed: from now on it is as it is.
    pub fn note_change(&mut self) {
        let up = self.monitor.health().up;
        if up != self.up {
            self.up = up;
            self.since = Instant::now();
        }
    }

    /// A worker has said how it finds the bus. `told` remembers whether the log has been told that it alone is without.
    pub fn note_worker(&self, id: WorkerId, health: &BusHealth, told: &Cell<bool>) {
        if health.up && told.replace(false) {
            tracing::info!(worker = %id, "bus up for this worker too");
        }
        let up_for = if self.up { self.since.elapsed() } else { Duration::ZERO };
        if alone_for(up_for, health, SystemTime::now()) >= ALONE_AFTER && !told.replace(true) {
            tracing::warn!(worker = %id, error = %health.reason, "bus down for this worker");
        }
    }

    /// How the bus is.
    pub fn status(&self, now: Instant) -> BusStatus {
        let BusHealth { up, reason, latency_ms, .. } = self.monitor.health();
        let figures = self.monitor.figures();
        let since = if up == self.up { now.saturating_duration_since(self.since) } else { Duration::ZERO };
        BusStatus {
            kind: self.kind,
            state: if up { BusState::Up } else { BusState::Down },
            latency_ms,
            since_s: since.as_secs_f64(),
            reason: (!up).then_some(reason),
            url: self.url.clone(),
            round_trips: figures.round_trips,
            connects: figures.connects,
            redis: figures.redis.filter(|_| up),
        }
    }
}

/// How long a worker has been without the bus while the supervisor has had it for `up_for`.
fn alone_for(up_for: Duration, worker: &BusHealth, now: SystemTime) -> Duration {
    let since = SystemTime::UNIX_EPOCH + Duration::from_millis(worker.since_unix_ms);
    match worker.up {
        true => Duration::ZERO,
        false => now.duration_since(since).unwrap_or_default().min(up_for),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_alone_for_as_long_as_it_is_without_what_the_supervisor_has() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let since = |up, seconds: u64| BusHealth { up, since_unix_ms: seconds * 1000, ..BusHealth::default() };
        for (up_for, worker, alone) in [
            (50, since(true, 10), 0),
            (50, since(false, 90), 10),
            (3, since(false, 90), 3),
            (0, since(false, 90), 0),
            // The clock was set back.
            (50, since(false, 110), 0),
        ] {
            let seconds = Duration::from_secs;
            assert_eq!(alone_for(seconds(up_for), &worker, now), seconds(alone), "{up_for} {worker:?}");
        }
    }
}
