//! What one supervisor process leaves to the next: by `exec` in place (`roomd upgrade`), or, after a crash, through the service
//! manager's store of descriptors. Both ways the next one finds the same: named descriptors, and the [`State`].
//!
//! ```text
//! supervisor ── each change ──► StateMemory ──┐                        ┌──► Heirloom ─► supervise
//!            ── store.keep ───► store-state, store-worker-0.1, … ──────┤    (what there is of workers)
//!            ── upgrade ──────► Handover: the same, and what is in hand at this moment (connections, the hub) ── exec ──┘
//! ```
//!
//! - [`StateMemory`] is memory that outlives its process, and that a process which dies while it writes does not spoil.
//! - [`State`] is what is in it: slots, processes, counts. Its fields are added with defaults, never change their meaning.
//! - [`Handover`] is what only an orderly change can carry over: it lives from one `exec` to the end of the takeover.

mod check;
mod handover;
mod heirloom;
mod memory;
mod state;

pub use check::check;
pub use handover::{ASKER, Handover, Previous, TakeoverCheck, TookOver, held_back, private_variables};
pub use heirloom::{Heirloom, OUTPUT, STATE, WORKER, name_of};
pub use memory::StateMemory;
pub use state::{DeathState, ProcessState, State};
