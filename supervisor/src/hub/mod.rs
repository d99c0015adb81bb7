//! The embedded bus's hub: carries messages between the workers of this host, on a thread of its own.
//!
//! ```text
//! supervisor ── HubHandle ──► commands + eventfd ─┐
//!            ◄─ HubEvents ── WorkerStalled, … ────┤
//! worker 0 ◄══ stream ══► Peer (input, output) ───┤ Hub::round: poll, read, apply subscriptions, route, write
//! worker 1 ◄══ stream ══► Peer                 ───┘              └─ Routes: channel -> peers
//! ```
//!
//! Frames are [`roomd_wire::hub`]'s. A message goes only to workers that subscribed to its channel, in the order in which
//! its sender published, as the bytes the sender wrote; all that one round has for a worker leaves in one write.
//!
//! # A subscription is seen by what is published after it
//!
//! Worker 1 subscribes and then, by some other way, makes worker 2 publish: that message must reach worker 1. Their frames
//! lie in two sockets, which are read one after the other, so reading alone does not tell which came first. Therefore
//! a message is not routed in the round that read it but in the next one, which polls again (without waiting), reads all that
//! was in the sockets at that moment, and applies the subscriptions it finds first. A subscription that was written before
//! the message was written is in its socket by then, and a round reads at least as much of a socket as fits into it
//! (`Peer::read_limit_bytes`).
//!
//! # Nothing is dropped in silence
//!
//! What a worker does not read is queued up to [`MAX_QUEUE_BYTES`]. A worker over that is hung: its stream is closed, and
//! [`HubEvent::WorkerStalled`] asks for its replacement. So is one that writes what is no frame ([`HubEvent::WorkerBroken`]).

mod event_loop;
mod frozen;
mod handle;
mod peer;
mod routes;

pub use frozen::{FrozenHub, StoppedHub};
pub use handle::{Hub, HubEvent, HubEvents, HubHandle, HubStats};
pub use peer::MAX_QUEUE_BYTES;

#[cfg(test)]
mod tests;
