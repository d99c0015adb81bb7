//! Accepts connections and hands each to the worker that its client sticks to (design D1, D2).
//!
//! # The way of one connection
//!
//! ```text
//! accept ─► limits ─► peek the head ─► choose a worker ─► hand over ─► acknowledged: the duplicate is closed
//!   │         │           │                 │                 │
//!   │         │           │                 │                 └─ the worker died first, or is full: choose again, a few times
//!   │         │           │                 └─ none is ready: wait, then 503
//!   │         │           └─ 400, 408, 431: answered here
//!   │         └─ 503, 429
//!   └─ no descriptor left here: 503 with the one that is kept for this
//! ```
//!
//! Nothing is read from a connection before it is handed over, and nothing passes through here afterwards.
//!
//! Decisions are made without I/O: [`head`] says where a request belongs, [`limits`] who may come, [`backends`] which worker is
//! chosen, and [`router`] keeps each connection's place among them. The shell around them is [`Balancer`], which runs on the
//! supervisor's one thread: `listener` and `accept` bring clients in, `peek` waits for their heads, `handover` sends them to
//! workers, `refuse` answers those that no worker gets.

mod accept;
pub mod backends;
mod balancer;
mod handover;
pub mod head;
pub mod limits;
mod listener;
mod peek;
mod refusal;
mod refuse;
pub mod router;
mod takeover;

pub use balancer::{Balancer, BalancerConfig, BalancerStats};
pub use handover::WorkerLink;
pub use listener::{ListenAddress, ListenError, Listener};
pub use refusal::Refusal;
pub use takeover::Carried;
