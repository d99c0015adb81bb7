//! The bus as the worker holds it, and the loop that keeps it connected.

use std::{
    cell::RefCell,
    future::Future,
    rc::Rc,
    time::{Duration, Instant},
};

use roomd_wire::{BusHealth, Histogram, RedisFigures};
use tokio::sync::{Notify, oneshot, watch};

use super::{
    connect::Target,
    error::RedisError,
    info,
    queue::{Answer, Queue},
    resp::command,
    session,
    subscriptions::{Wanted, pattern},
};
use crate::bus::{Bus, BusCounters, BusError, BusHandler, HealthTiming, LocalFuture, Members, Routing, common::Common};

/// The pause after the first failed connection; doubled with each further one, up to the most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Short enough that clients hardly notice when Redis is back, long enough that a hundred workers are no load.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A worker's access to Redis pub/sub.
pub struct RedisBus {
    inner: Rc<Inner>,
}

/// What the bus, its driver and the sessions share.
pub(super) struct Inner {
    pub target: Target,
    pub timing: HealthTiming,
    pub common: Common,
    /// When health has new duties: its timer is set anew.
    pub health_changed: Notify,
    /// Our own channel: never below `socket.io#`, where Node servers listen.
    pub health_channel: String,
    pub wanted: RefCell<Wanted>,
    /// Commands for the publisher connection.
    pub publisher: Queue,
    /// Commands for the subscriber connection.
    pub subscriber: Queue,
}

impl RedisBus {
    /// The bus at a URL, and the future that drives it: to be spawned, it never ends. Fails only when the URL is wrong: a server
    /// that is away is waited for.
    pub fn new(
        url: &str,
        timing: HealthTiming,
        handler: Rc<dyn BusHandler>,
    ) -> Result<(Rc<Self>, impl Future<Output = ()> + use<>), RedisError> {
        let inner = Rc::new(Inner {
            target: Target::new(url)?,
            timing,
            common: Common::new(timing, handler),
            health_changed: Notify::new(),
            health_channel: format!("roomd-health#{:016x}", fastrand::u64(..)),
            wanted: RefCell::default(),
            publisher: Queue::default(),
            subscriber: Queue::default(),
        });
        let driver = drive(inner.clone());
        Ok((Rc::new(RedisBus { inner }), driver))
    }

    /// Told when the bus comes up or goes down, and when the reason changes.
    pub fn health_changes(&self) -> watch::Receiver<BusHealth> {
        self.inner.common.report.watch()
    }

    /// What the server tells of itself, asked with `INFO`. The outer error is the connection's, the inner one the server's refusal.
    pub(in crate::bus) async fn figures(&self) -> Result<Result<RedisFigures, String>, BusError> {
        let asked_at = Instant::now();
        let (info, commands) = (self.info(&[b"INFO"]), self.info(&[b"INFO", b"commandstats"]));
        let info = match info.await? {
            Ok(info) => info,
            Err(refused) => return Ok(Err(refused)),
        };
        let answered_in = asked_at.elapsed();
        let commands = commands.await?.unwrap_or_default();
        Ok(Ok(info::figures(&info, &commands, answered_in)))
    }

    fn info(&self, parts: &[&[u8]]) -> LocalFuture<Result<Result<String, String>, BusError>> {
        let (asker, answer) = oneshot::channel();
        self.inner.publisher.push(Answer::Info(asker), |bytes| command(bytes, parts));
        self.inner.common.answer(answer)
    }

    fn change(&self, subscribe: &'static [u8], name: &[u8]) {
        // Without a session there is nothing to tell: the next one subscribes to all that is wanted.
        self.inner.subscriber.push_if_open(|bytes| command(bytes, &[subscribe, name]));
    }
}

/// Connects, serves until that ends, pauses, for ever.
async fn drive(inner: Rc<Inner>) {
    let mut failures = 0;
    loop {
        let error = session::run(&inner).await;
        // A connection that never came up is a failed one: else a refused subscription would be tried without a pause.
        failures = if inner.common.report.current().up { 0 } else { failures + 1 };
        let reason = format!("{}: failed to {error}", inner.target.shown());
        inner.update_health(|health, now| health.handle_disconnected(reason, now));
        tokio::time::sleep(pause(failures, fastrand::f64())).await;
    }
}

/// The pause after so many failures in a row; `jitter` in 0..1 spreads the workers, which all lost the server at once.
fn pause(failures: u32, jitter: f64) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
    whole.mul_f64(0.5 + jitter / 2.0)
}

impl Inner {
    /// Hands an event to the health core and sends its probe. True if a probe did not come back in time.
    pub fn update_health(&self, event: impl FnOnce(&mut crate::bus::Health, Instant)) -> bool {
        let duty = self.common.report.update(event);
        if let Some(number) = duty.send_probe {
            let (channel, number) = (self.health_channel.as_bytes(), number.to_le_bytes());
            self.publisher.push(Answer::Probe, |bytes| command(bytes, &[b"PUBLISH", channel, &number]));
        }
        self.health_changed.notify_one();
        duty.missed
    }
}

impl Bus for RedisBus {
    fn publish(&self, channel: &str, payload: &[u8]) {
        let parts: [&[u8]; 3] = [b"PUBLISH", channel.as_bytes(), payload];
        if !self.inner.publisher.push(Answer::Publish, |bytes| command(bytes, &parts)) {
            self.inner.common.count(|counters| counters.dropped += 1);
        }
    }

    fn subscribe(&self, channel: &str) {
        if self.inner.wanted.borrow_mut().add(channel) {
            self.change(b"SUBSCRIBE", channel.as_bytes());
        }
    }

    fn unsubscribe(&self, channel: &str) {
        if self.inner.wanted.borrow_mut().remove(channel) {
            self.change(b"UNSUBSCRIBE", channel.as_bytes());
        }
    }

    fn subscribe_prefix(&self, prefix: &str) {
        if self.inner.wanted.borrow_mut().add_prefix(prefix) {
            self.change(b"PSUBSCRIBE", &pattern(prefix));
        }
    }

    fn unsubscribe_prefix(&self, prefix: &str) {
        if self.inner.wanted.borrow_mut().remove_prefix(prefix) {
            self.change(b"PUNSUBSCRIBE", &pattern(prefix));
        }
    }

    fn count_subscribers(&self, channel: &str) -> LocalFuture<Result<u64, BusError>> {
        let (asker, answer) = oneshot::channel();
        let parts: [&[u8]; 3] = [b"PUBSUB", b"NUMSUB", channel.as_bytes()];
        self.inner.publisher.push(Answer::Count(asker), |bytes| command(bytes, &parts));
        self.inner.common.answer(answer)
    }

    fn members(&self, channel: &str, named_by: &str) -> LocalFuture<Result<Members, BusError>> {
        let count = self.count_subscribers(channel);
        let (asker, channels) = oneshot::channel();
        let pattern = pattern(named_by);
        let parts: [&[u8]; 3] = [b"PUBSUB", b"CHANNELS", &pattern];
        self.inner.publisher.push(Answer::Channels(asker), |bytes| command(bytes, &parts));
        let (channels, named_by) = (self.inner.common.answer(channels), named_by.to_owned());
        Box::pin(async move {
            let count = count.await?;
            let name = |channel: &String| Some(channel.strip_prefix(&named_by)?.strip_suffix('#')?.to_owned());
            Ok(Members { count, names: channels.await?.iter().filter_map(name).collect() })
        })
    }

    fn routing(&self) -> Routing {
        Routing::Pattern
    }

    fn health(&self) -> BusHealth {
        self.inner.common.report.current()
    }

    /// Nothing: what was queued in a turn is written in one piece as soon as that turn is over.
    fn flush(&self) {}

    fn counters(&self) -> BusCounters {
        self.inner.common.counters()
    }

    fn round_trips(&self) -> Histogram {
        self.inner.common.report.round_trips()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_spread() {
        assert_eq!(pause(0, 1.0), FIRST_PAUSE);
        assert_eq!(pause(0, 0.0), FIRST_PAUSE / 2);
        assert_eq!(pause(3, 1.0), FIRST_PAUSE * 8);
        assert_eq!(pause(u32::MAX, 1.0), LONGEST_PAUSE);
    }
}
