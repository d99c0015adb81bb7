//! The health of a bus as others see it: a value to look at, and a channel that tells changes.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};

use roomd_wire::{BusHealth, Histogram};
use tokio::sync::watch;

use super::{
    BusHandler,
    health::{Health, HealthAction, HealthTiming},
};

/// Keeps the core, and tells what it says. The owner sends the probes.
pub struct HealthReport {
    core: RefCell<Health>,
    current: watch::Sender<BusHealth>,
    handler: Rc<dyn BusHandler>,
    round_trips: RefCell<Histogram>,
}

/// What is left for the owner of the connection to do.
#[derive(Default, Debug)]
pub struct HealthDuty {
    /// Publish a message with this number, so that it comes back.
    pub send_probe: Option<u64>,
    /// A probe did not come back in time.
    pub missed: bool,
}

impl HealthReport {
    pub fn new(timing: HealthTiming, handler: Rc<dyn BusHandler>) -> Self {
        let core = Health::new(timing, fastrand::Rng::new(), Instant::now());
        let current = watch::Sender::new(BusHealth { reason: core.reason().into(), ..BusHealth::default() });
        HealthReport { core: RefCell::new(core), current, handler, round_trips: RefCell::default() }
    }

    /// How the bus is.
    pub fn current(&self) -> BusHealth {
        self.current.borrow().clone()
    }

    /// Told when it comes up or goes down, and when the reason changes.
    pub fn watch(&self) -> watch::Receiver<BusHealth> {
        self.current.subscribe()
    }

    /// How long probes took.
    pub fn round_trips(&self) -> Histogram {
        self.round_trips.borrow().clone()
    }

    /// When to call [`HealthReport::update`] with the core's timeout.
    pub fn timeout(&self) -> Option<Instant> {
        self.core.borrow().poll_timeout()
    }

    /// Hands an event to the core, tells what changed, and says what is to be done.
    pub fn update(&self, event: impl FnOnce(&mut Health, Instant)) -> HealthDuty {
        let now = Instant::now();
        event(&mut self.core.borrow_mut(), now);
        if let Some(round_trip) = self.core.borrow_mut().take_round_trip() {
            self.round_trips.borrow_mut().record(round_trip);
        }
        let (mut duty, mut turned) = (HealthDuty::default(), false);
        while let Some(action) = self.poll() {
            match action {
                HealthAction::SendProbe(number) => duty.send_probe = Some(number),
                HealthAction::Missed => duty.missed = true,
                HealthAction::WentUp | HealthAction::WentDown => turned = true,
            }
        }
        let health = self.snapshot(now);
        self.current.send_if_modified(|current| {
            let changed = current.up != health.up || current.reason != health.reason;
            current.clone_from(&health);
            changed
        });
        if turned {
            self.handler.health_changed(&health);
        }
        duty
    }

    fn poll(&self) -> Option<HealthAction> {
        self.core.borrow_mut().poll_action()
    }

    fn snapshot(&self, now: Instant) -> BusHealth {
        let core = self.core.borrow();
        let since = SystemTime::now() - now.saturating_duration_since(core.since());
        BusHealth {
            up: core.is_up(),
            reason: core.reason().into(),
            latency_ms: core.latency().map(|latency| latency.as_secs_f64() * 1000.0),
            since_unix_ms: since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64,
        }
    }
}
