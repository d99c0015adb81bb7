//! One Engine.IO session: its transport, what it may do next, and how it ends.
//!
//! ```text
//!              ┌────────────── Polling ──────────────┐   5 on the probe
//!  open ──────►│ Upgrade: None ─► Probing ─► Probed  │ ────────────────► WebSocket
//!      │       └─────────────────────────────────────┘                      ▲  │
//!      └─────────────────────────────────────────────────────────────────────┘  │ end
//!         end by this server, no poll pending │         │ any other end         ▼
//!                                             ▼         └───────────────────► Ended
//!                                         Farewell ─── last poll, 1, 30 s ─────►
//! ```
//!
//! *Farewell* has ended for the layer above; the client's next poll still gets what waited, and then the word. An upgrade under way
//! is let go on: its client polls no more, and gets both on the WebSocket.
//!
//! Events and the time go in through methods; what the shell must do comes out as [`Action`]s, to be done in their order.
//! Facts of the protocol are those of engine.io 6.6.12.

mod state;
#[cfg(test)]
mod tests;
mod types;

pub use state::Session;
pub use types::{Action, Answer, CloseReason, Ending, GOING_AWAY, Probe, Sent, Settings, Transport};
