//! Starts real processes and checks roomd from outside.
//!
//! [`Cluster`] is a running roomd, [`RedisServer`] a Redis of the test's own, [`Node`] a program of `node/` that uses the official
//! Socket.IO packages, [`Python`] one of `python/`, [`Machine`] a systemd, [`Terminal`] a shell in a real terminal, [`http`] a
//! client for raw requests. Everything has its own temporary directory and free ports, and ends with its value; nothing is ever sent to another machine.
#![allow(clippy::unwrap_used, missing_docs)]

mod cluster;
pub mod http;
mod lines;
mod node;
mod program;
mod python;
mod redis_server;
mod systemd;
mod terminal;
mod told;
mod wait;

pub use cluster::{Cluster, ClusterBuilder};
pub use node::Node;
pub use program::program;
pub use python::Python;
pub use redis_server::RedisServer;
pub use systemd::{Machine, packaged};
pub use terminal::Terminal;
pub use told::told_handshake;
pub use wait::{eventually, eventually_within};
