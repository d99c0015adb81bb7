//! The balancer over real sockets: raw clients on one side, the worker's end of real control sockets on the other.

#![allow(clippy::unwrap_used)]

mod dying;
mod listeners;
mod refusing;
mod routing;
mod world;
