//! What the public conformance suites of Engine.IO 4 and Socket.IO 5 expect of a server, in our own words, and their server programs:
//! each case is had with the official server and with ours.
//!
//! `engine` is about sessions, which both protocols' servers have, `messages` about what an Engine.IO server echoes, `socket` about
//! Socket.IO. `echo` is our engine without Socket.IO above it; `client` are connections. `api_table` checks what `docs/api.md` says of all this.
#![allow(clippy::unwrap_used, missing_docs)]

mod api_table;
mod client;
mod echo;
mod engine;
mod messages;
mod socket;

use std::{panic::catch_unwind, thread};

use client::Server;
use roomd_tests::{Cluster, Node};

/// What is expected, in words, and a conversation that shows it.
type Case = (&'static str, fn(&Server));

/// Has the conversations, all at once as they are mostly waiting, and names those that went wrong.
fn conforms(server: &Server, suites: &[&[Case]]) {
    let failed: Vec<_> = thread::scope(|scope| {
        let cases = suites.iter().copied().flatten();
        let running: Vec<_> = cases.map(|(name, case)| (name, scope.spawn(|| catch_unwind(|| case(server))))).collect();
        running.into_iter().filter_map(|(name, case)| case.join().unwrap().is_err().then_some(name)).collect()
    });
    assert!(failed.is_empty(), "{failed:#?}");
}

fn official(protocol: &str) -> (Node, u16) {
    let mut node = Node::start("conformance.mjs", &[protocol]);
    let port = node.line()["port"].as_u64().unwrap();
    (node, port as u16)
}

#[test]
fn the_official_engine_io_server_does() {
    let (_node, port) = official("engine");
    conforms(&Server::engine(([127, 0, 0, 1], port).into()), &[engine::CASES, messages::CASES]);
}

#[test]
fn our_engine_does() {
    let address = echo::start();
    conforms(&Server::engine(address), &[engine::CASES, messages::CASES]);
}

#[test]
fn the_official_socket_io_server_does() {
    let (_node, port) = official("socket");
    conforms(&Server::socket(([127, 0, 0, 1], port).into()), &[engine::CASES, socket::CASES]);
}

/// Several workers, and a connection for each request: whichever it reaches, it is the session's.
#[test]
fn roomd_does() {
    let config = "[socketio]\nping_interval = \"300ms\"\nping_timeout = \"200ms\"\nconnect_timeout = \"1s\"\ncors_origins = [\"*\"]\n";
    let cluster = Cluster::build(3).program("conformance_app").config(config).start();
    conforms(&Server::socket(cluster.address()), &[engine::CASES, socket::CASES]);
}
