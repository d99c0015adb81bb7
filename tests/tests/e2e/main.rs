//! End to end: real clusters, real clients, each theme in a module.
#![allow(clippy::unwrap_used, missing_docs)]

mod api;
mod application;
mod balancer;
mod beside_node;
mod chaos;
mod chat;
mod cli;
mod clients;
mod container;
mod deaths;
mod debian;
mod deflate;
mod differential;
mod dynamic;
mod emit;
mod examples;
mod hostile;
mod matrix;
mod metrics;
mod msgpack;
mod node_mix;
mod page;
mod requests;
mod sticky;
mod top;
