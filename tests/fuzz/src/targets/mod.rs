//! What is checked, each under its name.

mod adapter;
mod engine;
mod http;
mod socket;
mod streams;

use crate::seeds;

/// Something that reads a peer's bytes.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    check: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// Panics where something does not hold that must for any bytes.
    pub fn check(&self, bytes: &[u8]) {
        (self.check)(bytes);
    }

    /// Sound bytes to begin with.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "engine_payload", check: engine::payload, seeds: seeds::texts },
    Target { name: "frames", check: engine::frames, seeds: engine::frame_seeds },
    Target { name: "deflate", check: engine::deflate, seeds: seeds::texts },
    Target { name: "offer", check: engine::offer, seeds: engine::offer_seeds },
    Target { name: "socket_packet", check: socket::packet, seeds: socket::packet_seeds },
    Target { name: "assembly", check: socket::assembly, seeds: socket::assembly_seeds },
    Target { name: "msgpack_packet", check: socket::msgpack, seeds: socket::msgpack_seeds },
    Target { name: "json", check: socket::json, seeds: socket::json_seeds },
    Target { name: "broadcast", check: adapter::broadcast, seeds: seeds::messages },
    Target { name: "request", check: adapter::request, seeds: seeds::messages },
    Target { name: "response", check: adapter::response, seeds: seeds::messages },
    Target { name: "envelope", check: adapter::envelope, seeds: adapter::envelope_seeds },
    Target { name: "redis", check: streams::redis, seeds: streams::redis_seeds },
    Target { name: "hub", check: streams::hub, seeds: streams::hub_seeds },
    Target { name: "to_worker", check: streams::to_worker, seeds: streams::to_worker_seeds },
    Target { name: "to_supervisor", check: streams::to_supervisor, seeds: streams::to_supervisor_seeds },
    Target { name: "head", check: http::head, seeds: http::head_seeds },
    Target { name: "query", check: http::query, seeds: http::query_seeds },
];

/// The one with this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
