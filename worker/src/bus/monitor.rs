//! The supervisor's own access to the bus: for its health, and to publish what is ordered from outside of the workers. What it
//! finds is in the log, once for the host; workers find the same, each for itself, and report it.

use std::{future::Future, io, os::fd::OwnedFd, pin::Pin, rc::Rc, thread, time::Duration};

use bytes::Bytes;
use roomd_wire::{BusHealth, Histogram, RedisFigures};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{LocalSet, spawn_local},
};

use super::{Bus, BusError, BusHandler, EmbeddedBus, HealthTiming, RedisBus};

/// How many messages may wait for the thread; who publishes more waits.
const POSTS_WAITING: usize = 32;

/// From one look at the bus's figures to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Redis is asked for its own figures at each such look.
const LOOKS_PER_QUESTION: u32 = 10;

/// Checks the bus for as long as it lives, on a thread of its own: a supervisor that is busy does not make the bus look
/// slow.
pub struct BusMonitor {
    health: watch::Receiver<BusHealth>,
    posts: mpsc::Sender<Post>,
    figures: watch::Receiver<BusFigures>,
    /// Dropped with the monitor, which ends the thread.
    _stop: oneshot::Sender<()>,
}

/// What the monitor has counted and timed, and what it was told.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct BusFigures {
    /// How long its probes took since its start.
    pub round_trips: Histogram,
    /// How often it has connected.
    pub connects: u64,
    /// What Redis told of itself last; none where it does not, or the bus is another one.
    pub redis: Option<RedisFigures>,
}

type Driver = Pin<Box<dyn Future<Output = ()>>>;

/// A bus, its health, and the future that drives it; and the bus again if it can be asked for figures of its server.
type Made = (Rc<dyn Bus>, watch::Receiver<BusHealth>, Driver, Option<Rc<RedisBus>>);

/// A message for the bus, and who waits for word of it.
struct Post {
    channel: String,
    payload: Vec<u8>,
    reply: oneshot::Sender<Result<(), PublishError>>,
}

/// Why a message is not published, or may not be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PublishError {
    /// The bus is away: nothing was published.
    #[error("publish: the bus is down ({0})")]
    Down(String),
    /// Nothing was published.
    #[error("publish: the bus does not keep up with what it is given")]
    Full,
    /// It was given to the bus, but may be published or not.
    #[error("learn from the bus that it is published ({0})")]
    Unconfirmed(String),
}

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
            false => tracing::warn!(bus = self.bus, error = %health.reason, "bus down"),
        }
    }
}

impl BusMonitor {
    /// Watches the embedded bus over a stream of the hub (an observer's).
    pub fn embedded(stream: OwnedFd, timing: HealthTiming) -> io::Result<Self> {
        Self::start(move || {
            let (bus, driver) = EmbeddedBus::new(stream, timing, Rc::new(Log { bus: "embedded" }))?;
            let health = bus.health_changes();
            Ok((bus as Rc<dyn Bus>, health, Box::pin(driver) as Driver, None))
        })
    }

    /// Watches Redis over connections of its own. Fails only when the URL is wrong.
    pub fn redis(url: String, timing: HealthTiming) -> io::Result<Self> {
        Self::start(move || {
            let (bus, driver) = RedisBus::new(&url, timing, Rc::new(Log { bus: "redis" })).map_err(io::Error::other)?;
            let health = bus.health_changes();
            Ok((bus.clone() as Rc<dyn Bus>, health, Box::pin(driver) as Driver, Some(bus)))
        })
    }

    /// How the bus is now.
    pub fn health(&self) -> BusHealth {
        self.health.borrow().clone()
    }

    /// What it has found beside.
    pub fn figures(&self) -> BusFigures {
        self.figures.borrow().clone()
    }

    /// Told when the bus comes up or goes down, and when the reason changes.
    pub fn changes(&self) -> watch::Receiver<BusHealth> {
        self.health.clone()
    }

    /// Publishes, and says so once the bus has answered a question that it was asked right after. Messages go out in the order
    /// in which the futures are first polled.
    pub fn publish(&self, channel: String, payload: Vec<u8>) -> impl Future<Output = Result<(), PublishError>> + use<> {
        let posts = self.posts.clone();
        async move {
            let (reply, answer) = oneshot::channel();
            let ended = || PublishError::Down("its thread has ended".to_owned());
            posts.send(Post { channel, payload, reply }).await.map_err(|_| ended())?;
            answer.await.map_err(|_| ended())?
        }
    }

    fn start(make: impl FnOnce() -> io::Result<Made> + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (posts, waiting) = mpsc::channel(POSTS_WAITING);
        let (told, figures) = watch::channel(BusFigures::default());
        let (made, result) = std::sync::mpsc::sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("bus-monitor".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                let (bus, driver, redis) = match make() {
                    Ok((bus, health, driver, redis)) => {
                        let _ = made.send(Ok(health));
                        (bus, driver, redis)
                    }
                    Err(error) => {
                        let _ = made.send(Err(error));
                        return;
                    }
                };
                tokio::select! {
                    () = async { tokio::join!(driver, publish_all(bus.clone(), waiting), look(&*bus, redis, told)); } => {}
                    _ = stopped => {}
                }
            });
        })?;
        let health = result.recv().map_err(|_| io::Error::other("the bus monitor's thread ended at once"))??;
        Ok(BusMonitor { health, posts, figures, _stop: stop })
    }
}

/// Tells the figures, for ever.
async fn look(bus: &dyn Bus, redis: Option<Rc<RedisBus>>, told: watch::Sender<BusFigures>) {
    let (mut looks, mut refusal_told) = (0_u32, false);
    loop {
        told.send_modify(|figures| {
            figures.round_trips = bus.round_trips();
            figures.connects = bus.counters().connects;
        });
        if let Some(redis) = redis.as_ref().filter(|_| bus.health().up) {
            if looks.is_multiple_of(LOOKS_PER_QUESTION) {
                let answer = redis.figures().await;
                if let Ok(Err(refused)) = &answer
                    && !std::mem::replace(&mut refusal_told, true)
                {
                    tracing::info!(error = %refused, "redis does not tell of itself (INFO): its own figures are left out");
                }
                told.send_modify(|figures| figures.redis = answer.ok().and_then(Result::ok));
            }
            looks = looks.wrapping_add(1);
        } else {
            // Asked at once when it is back.
            looks = 0;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn publish_all(bus: Rc<dyn Bus>, mut posts: mpsc::Receiver<Post>) {
    while let Some(Post { channel, payload, reply }) = posts.recv().await {
        match publish(&bus, &channel, &payload) {
            // Who waits for word may have given up.
            Err(error) => drop(reply.send(Err(error))),
            Ok(confirmed) => {
                spawn_local(async move { reply.send(confirmed.await.map_err(PublishError::Unconfirmed)) });
            }
        }
    }
}

/// Publishes, and asks the bus for something behind it on the same connection: its answer means that the message was taken,
/// unless one was refused meanwhile.
fn publish(
    bus: &Rc<dyn Bus>,
    channel: &str,
    payload: &[u8],
) -> Result<impl Future<Output = Result<(), String>> + use<>, PublishError> {
    let health = bus.health();
    if !health.up {
        return Err(PublishError::Down(health.reason));
    }
    let dropped = bus.counters().dropped;
    bus.publish(channel, payload);
    if bus.counters().dropped != dropped {
        return Err(PublishError::Full);
    }
    let answer = bus.count_subscribers(channel);
    bus.flush();
    let bus = bus.clone();
    Ok(async move {
        match answer.await {
            Ok(_) if bus.counters().dropped == dropped => Ok(()),
            Ok(_) => Err("it has refused a message: the log has its words".to_owned()),
            Err(BusError::Down(reason)) => Err(reason),
            Err(BusError::Full) => Err("its connection broke".to_owned()),
            Err(BusError::Timeout(within)) => Err(format!("no answer within {within:?}")),
        }
    })
}
