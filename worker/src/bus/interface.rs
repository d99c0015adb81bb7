//! What a bus offers to the layer above, and what it asks of it.

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use roomd_wire::{BusHealth, Histogram, WorkerId};

/// What a bus tells the layer above.
pub trait BusHandler {
    /// A message came on a subscribed channel; once per message, however many subscriptions it fits.
    fn message(&self, channel: &str, payload: Bytes);
    /// The bus came up (again) or went down.
    fn health_changed(&self, health: &BusHealth);
    /// The bus has a new connection and knows of no subscription that there was: all that is wanted is to be subscribed to again.
    /// Only of a bus that does not remember it by itself.
    fn resubscribe(&self) {}
}

/// Why a question to the bus has no answer.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{BusError, Io, RequestError};
///
/// async fn count(io: Io) -> Option<usize> {
///     match io.fetch_sockets().await {
///         Ok(found) => Some(found.answers.len()),
///         // The bus is away, and its monitor knows why.
///         Err(RequestError::Bus { source: BusError::Down(why), .. }) => {
///             println!("{why}");
///             None
///         }
///         Err(_) => None,
///     }
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BusError {
    /// The bus is away.
    #[error("ask the bus, which is down ({0})")]
    Down(String),
    /// The bus is up, but does not keep up with what it is given.
    #[error("ask the bus, whose queue is full")]
    Full,
    /// No answer came in time.
    #[error("get an answer from the bus within {0:?}")]
    Timeout(Duration),
}

/// A future that stays on this thread.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// How subscriptions are best made on a bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routing {
    /// Each room's channel on its own: a message then reaches only processes with a member.
    Exact,
    /// One pattern for all rooms of a namespace, as the official adapter does.
    Pattern,
}

/// One process's access to the bus.
pub trait Bus {
    /// Sends a message to all that subscribed to the channel.
    fn publish(&self, channel: &str, payload: &[u8]);
    /// Wants messages of one channel.
    fn subscribe(&self, channel: &str);
    /// No longer wants them.
    fn unsubscribe(&self, channel: &str);
    /// Wants messages of all channels that begin with the prefix. (In Redis: the pattern `prefix*`.)
    fn subscribe_prefix(&self, prefix: &str);
    /// No longer wants them.
    fn unsubscribe_prefix(&self, prefix: &str);
    /// How many processes are subscribed to exactly this channel (prefixes not counted).
    fn count_subscribers(&self, channel: &str) -> LocalFuture<Result<u64, BusError>>;
    /// Who they are: the processes that are subscribed to exactly this channel. In Redis, which does not know its clients'
    /// names, each is subscribed to a channel of its own besides, which is `named_by`, its name and a `#`; one that is not is counted
    /// and has no name.
    fn members(&self, channel: &str, named_by: &str) -> LocalFuture<Result<Members, BusError>>;
    /// How the adapter should subscribe to rooms.
    fn routing(&self) -> Routing;
    /// How the bus is, by the last message that went out and came back. Once it is up, all that was wanted before is in force.
    fn health(&self) -> BusHealth;
    /// Writes out what was published in this turn of the loop; called once per turn, before clients are written to.
    fn flush(&self);
    /// Messages published, and dropped because the bus was down or its queue full, since the start.
    fn counters(&self) -> BusCounters;
    /// How long messages took that went out to measure the health and came back.
    fn round_trips(&self) -> Histogram {
        Histogram::default()
    }
}

/// Who is subscribed to a channel.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Members {
    /// How many there are.
    pub count: u64,
    /// The names of those that have one: over the embedded bus what [`worker_name`] makes of the worker.
    pub names: Vec<String>,
}

/// A worker's name among the [`Members`] of the embedded bus: its slot, a dot and its generation.
pub fn worker_name(worker: WorkerId) -> String {
    format!("{}.{}", worker.slot.0, worker.generation.0)
}

/// What a bus counts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BusCounters {
    /// Messages that the bus took: Redis has answered, the hub has none to give.
    pub published: u64,
    /// Messages that came.
    pub received: u64,
    /// Messages dropped because the bus was down or its queue full.
    pub dropped: u64,
    /// How often it was connected to.
    pub connects: u64,
}
