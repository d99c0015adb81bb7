//! The admin endpoints: what a load balancer, an orchestrator and Prometheus ask.
//!
//! `answer` says what each path answers, `metrics` makes the figures of a status, `server` moves the bytes. All is made from one
//! status of the supervise loop, so the endpoints cannot contradict each other or `roomd status`.

mod answer;
mod metrics;
mod server;

pub use server::{Admin, AdminError};
