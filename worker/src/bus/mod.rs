//! The bus moves opaque bytes between processes by named channels (design D6). It knows nothing of rooms.
//!
//! What every implementation promises, and the conformance suite checks:
//!
//! - `publish` never waits: it queues. What is published by one process on one channel arrives in that order.
//! - A publisher may or may not get its own message back: the layer above knows its own by what is in it.
//! - What is published while the bus is down, or over the queue's bound, is dropped and counted, never kept.
//! - Subscriptions are what is *wanted*: they are made again by the bus itself after it was away.
//! - A subscription made before a message was published sees that message. Over the embedded bus it is made when it is
//!   written, by `flush` at the latest; over Redis when the server has confirmed it.
//!
//! A bus is made together with a future that drives it, which its owner spawns. [`BusMonitor`] is the supervisor's own look
//! at the bus.

mod common;
mod embedded;
mod health;
mod interface;
mod monitor;
mod redis;
mod report;

pub use embedded::EmbeddedBus;
pub use health::{Health, HealthAction, HealthTiming};
pub use interface::{Bus, BusCounters, BusError, BusHandler, LocalFuture, Members, Routing, worker_name};
pub use monitor::{BusFigures, BusMonitor, PublishError};
#[doc(hidden)] // For the targets of `tests/fuzz`.
pub use redis::resp;
pub use redis::{RedisBus, RedisError};
