//! The life of workers: decisions only, no I/O.
//!
//! A **slot** is a place for one worker; a [`Run`] is one process in it, named by slot and generation. [`Fleet`] holds all
//! slots. Events and the time go in ([`Fleet::handle`], [`Fleet::tick`]), [`Action`]s come out ([`Fleet::poll_action`]), and
//! [`Fleet::poll_timeout`] says when to look again.
//!
//! # A run
//!
//! ```text
//!            Ready              Drain              over time          over time
//! Starting ────────► Ready ────────────► Draining ──────────► Terminating ──────► Killing
//!    │  over time      │ no Pong in time                                             ▲
//!    └─────────────────┴─────────────────────────────────────────────────────────────┘
//! every phase ── Exited ──► gone: as asked (Draining and later, by itself), or a death with a cause
//! ```
//!
//! # A slot
//!
//! ```text
//!          ┌──────────────────────── restart_at ◄─────────────── a death
//!          ▼                                                        │
//!   current (starting, ready) ──── replaced ────► outgoing (draining) ──► gone
//!          ▲                                   ▲
//!   incoming (starting, ready) ── has lasted ──┘        incoming dies: the current one stays, the roll-out is told
//!
//!   any ──── drain ────► outgoing; drained: without a worker until undrain
//! ```
//!
//! A new worker takes clients as soon as it is ready, but the one that it replaces keeps its own until the new one has been ready for
//! [`Timing::confirm`]: should that end before, nothing was given up for it.
//!
//! A dead worker is started again at once the first time, then after a pause that doubles up to [`backoff::MAX_PAUSE`], with
//! jitter, so that not all come back together; a healthy minute resets it. After [`FAILED_AFTER`] deaths in a row without
//! one, the slot is `failed`: still tried, but only every [`FAILED_PAUSE`]. Giving up for good would turn a disk that was full
//! for an hour into a cluster that is dead in the morning; the state has a name so that somebody is told. Only at the very
//! start is it otherwise: when no worker has ever been ready and every slot has failed to start [`GIVE_UP_AFTER`] times,
//! [`Fleet::hopeless`] says so, and `up` ends.

pub mod backoff;
mod fleet;
mod run;
#[cfg(test)]
mod simulation;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;

pub use fleet::{Action, Fleet, Outcome, Timing};
pub use run::{Exit, Phase, Run, RunEvent};
#[cfg(test)]
pub use snapshot::SlotState;
pub use snapshot::{FleetState, Moment, Timeline};
pub use state::{Ended, Pause, Slot};
