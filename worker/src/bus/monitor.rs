//! The supervisor's own look at the bus: a bus of its own that nothing is published on, for its health alone. What it finds
//! is in the log, once for the host; workers find the same, each for itself, and report it.

use std::{future::Future, io, os::fd::OwnedFd, pin::Pin, rc::Rc, thread};

use bytes::Bytes;
use roomd_wire::BusHealth;
use tokio::sync::{oneshot, watch};

use super::{BusHandler, EmbeddedBus, HealthTiming, RedisBus};

/// Checks the bus for as long as it lives, on a thread of its own: a supervisor that is busy does not make the bus look
/// slow.
pub struct BusMonitor {
    health: watch::Receiver<BusHealth>,
    /// Dropped with the monitor, which ends the thread.
    _stop: oneshot::Sender<()>,
}

type Driver = Pin<Box<dyn Future<Output = ()>>>;

/// Tells the log; others read the watch channel.
struct Log {
    /// `embedded` or `redis`.
    bus: &'static str,
}

impl BusHandler for Log {
    fn message(&self, _channel: &str, _payload: Bytes) {}

    fn health_changed(&self, health: &BusHealth) {
        match health.up {
            true => tracing::info!(bus = self.bus, latency_ms = health.latency_ms, "bus up"),
            false => tracing::warn!(bus = self.bus, reason = %health.reason, "bus down"),
        }
    }
}

impl BusMonitor {
    /// Watches the embedded bus over a stream of the hub (an observer's).
    pub fn embedded(stream: OwnedFd, timing: HealthTiming) -> io::Result<Self> {
        Self::start(move || {
            let (bus, driver) = EmbeddedBus::new(stream, timing, Rc::new(Log { bus: "embedded" }))?;
            Ok((bus.health_changes(), Box::pin(driver) as Driver))
        })
    }

    /// Watches Redis over connections of its own. Fails only when the URL is wrong.
    pub fn redis(url: String, timing: HealthTiming) -> io::Result<Self> {
        Self::start(move || {
            let (bus, driver) = RedisBus::new(&url, timing, Rc::new(Log { bus: "redis" })).map_err(io::Error::other)?;
            Ok((bus.health_changes(), Box::pin(driver) as Driver))
        })
    }

    /// How the bus is now.
    pub fn health(&self) -> BusHealth {
        self.health.borrow().clone()
    }

    /// Told when the bus comes up or goes down, and when the reason changes.
    pub fn changes(&self) -> watch::Receiver<BusHealth> {
        self.health.clone()
    }

    fn start(
        make: impl FnOnce() -> io::Result<(watch::Receiver<BusHealth>, Driver)> + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (made, result) = std::sync::mpsc::sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("bus-monitor".into()).spawn(move || {
            runtime.block_on(async {
                let driver = match make() {
                    Ok((health, driver)) => {
                        let _ = made.send(Ok(health));
                        driver
                    }
                    Err(error) => {
                        let _ = made.send(Err(error));
                        return;
                    }
                };
                tokio::select! {
                    () = driver => {}
                    _ = stopped => {}
                }
            });
        })?;
        let health = result.recv().map_err(|_| io::Error::other("the bus monitor's thread ended at once"))??;
        Ok(BusMonitor { health, _stop: stop })
    }
}
