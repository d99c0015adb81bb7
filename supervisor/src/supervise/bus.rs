//! The supervisor's own look at the bus.

use std::{
    io,
    time::{Duration, Instant},
};

use roomd_wire::{BusConfig, BusHealth};
use roomd_worker::bus::{BusMonitor, HealthTiming};
use tokio::sync::watch;

use crate::{
    config::redact_redis_url,
    hub::HubHandle,
    status::{BusKind, BusState, BusStatus},
};

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

    /// Something has changed: from now on it is as it is.
    pub fn note_change(&mut self) {
        let up = self.monitor.health().up;
        if up != self.up {
            self.up = up;
            self.since = Instant::now();
        }
    }

    /// How the bus is.
    pub fn status(&self, now: Instant) -> BusStatus {
        let BusHealth { up, reason, latency_ms, .. } = self.monitor.health();
        let since = if up == self.up { now.saturating_duration_since(self.since) } else { Duration::ZERO };
        BusStatus {
            kind: self.kind,
            state: if up { BusState::Up } else { BusState::Down },
            latency_ms,
            since_s: since.as_secs_f64(),
            reason: (!up).then_some(reason),
            url: self.url.clone(),
        }
    }
}
