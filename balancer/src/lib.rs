//! Accepts connections and hands each to the worker that its client sticks to (design D1, D2).
//!
//! # The way of one connection
//!
//! ```text
//! accept ─► limits ─► peek the head ─► choose a worker ─► hand over ─► acknowledged: the duplicate is closed
//!   │         │           │                 │                 │
//!   │         │           │                 │                 └─ the worker died first: choose again
//!   │         │           │                 └─ none is ready: wait, then 503
//!   │         │           └─ 400, 408, 431: answered here
//!   │         └─ 503, 429
//!   └─ no descriptor left: 503 with the one that is kept for this
//! ```
//!
//! Nothing is read from a connection before it is handed over, and nothing passes through here afterwards. Decisions are made
//! in [`head`], [`backends`] and [`limits`], which do no I/O; [`Balancer`] is the shell around them. It runs on the
//! supervisor's one thread.

pub mod backends;
mod balancer;
mod handover;
pub mod head;
pub mod limits;
mod listener;
mod peek;
mod refuse;

pub use balancer::{Balancer, BalancerConfig, BalancerStats};
pub use listener::{ListenAddress, ListenError, Listener, NotAnAddress};
pub use refuse::Refusal;
