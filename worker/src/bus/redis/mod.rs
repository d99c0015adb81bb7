//! The bus over Redis pub/sub: two connections, one that publishes and asks, one that is subscribed.
//!
//! ```text
//! publish ─► Queue ─► write ═══► Redis        the publisher connection; answers are held against what was sent
//!            answers ◄─ read ◄══
//! subscribe ─► Queue ─► write ═══► Redis      the subscriber connection
//! BusHandler::message ◄─ Subscriptions ◄─ read ◄══
//! ```
//!
//! Both live and die together: whatever ends one is told, and after a pause both are made again, for ever. On the new
//! subscriber connection all that is wanted is subscribed to first, our own health channel last: its confirmation says that
//! everything before it is in force, and only then messages are published and the health core starts its probes.
//!
//! The redis crate parses URLs. Its connections are not used: its subscriber hands messages over by a queue without bound,
//! apart from the confirmations, and only their order in the stream tells which of two copies of a message (one
//! by channel, one by pattern) is too many. It also leaves TLS without a cryptography provider.

mod client;
mod connect;
mod error;
mod info;
mod queue;
pub mod resp;
mod session;
mod subscriptions;

pub use client::RedisBus;
pub use error::RedisError;
