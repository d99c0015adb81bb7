//! What the engine counts.

use std::cell::Cell;

use roomd_wire::WorkerCounters;

/// Counters of one worker's engine, all since its start but those of connections that are open.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Client connections that are open.
    pub(crate) connections: Cell<u64>,
    /// Those of them that wait for another HTTP request.
    pub(crate) idle_connections: Cell<u64>,
    pub(crate) packets_out: Cell<u64>,
    pub(crate) bytes_in: Cell<u64>,
    pub(crate) bytes_out: Cell<u64>,
    pub(crate) slow_clients: Cell<u64>,
    pub(crate) refused_requests: Cell<u64>,
    pub(crate) relayed_requests: Cell<u64>,
    pub(crate) moved_connections: Cell<u64>,
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, count: usize) {
    counter.set(counter.get() + count as u64);
}

impl Counters {
    /// Writes the engine's figures into the worker's.
    pub(crate) fn report(&self, into: &mut WorkerCounters) {
        into.packets_out = self.packets_out.get();
        into.bytes_in = self.bytes_in.get();
        into.bytes_out = self.bytes_out.get();
        into.slow_clients = self.slow_clients.get();
        into.refused_requests = self.refused_requests.get();
        into.relayed_requests = self.relayed_requests.get();
        into.moved_connections = self.moved_connections.get();
    }
}
