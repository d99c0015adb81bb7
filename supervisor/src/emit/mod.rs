//! What programs that are no Socket.IO server order: emit to rooms, make sockets join or leave rooms, disconnect them.
//!
//! ```text
//! `roomd emit`, `roomd sockets …` ─► control socket ─┐
//! scripts, back ends ─► POST on the admin listener ──┴─► read (checked) ─► Publication ─► supervise ─► bus
//! ```
//!
//! An order is a JSON object, the same on both ways in. What is published is the official adapter's message on the channel of
//! the namespace: every worker of this host hears it and, over Redis, so do other hosts and Node servers. Nothing here does I/O.

mod fields;
mod order;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use order::{Kind, MAX_ORDER_BYTES, OrderError, Publication, read};
