//! The admin endpoints: what a load balancer, an orchestrator and Prometheus ask, and what programs order clients.
//!
//! `dashboard` is a page for people. `answer` says what each path answers that tells something, `metrics` makes the figures of a status. All is made from one status
//! of the supervise loop, so the endpoints cannot contradict each other or `roomd status`. `guard` says who may ask and order what;
//! `order` reads orders, which are [`crate::emit`]'s. `server` moves the bytes.

mod answer;
mod dashboard;
mod guard;
mod metrics;
mod order;
mod server;

pub use server::Admin;
