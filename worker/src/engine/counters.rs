//! What the engine counts and times.

use std::{
    cell::{Cell, RefCell},
    time::Instant,
};

use roomd_wire::{Histogram, WorkerStats};

use crate::protocol::session::CloseReason;

/// Counters of one worker's engine, all since its start but those of connections that are open.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Open connections that wait for another HTTP request.
    pub(crate) idle_connections: Cell<u64>,
    pub(crate) packets_in: Cell<u64>,
    pub(crate) packets_out: Cell<u64>,
    pub(crate) bytes_in: Cell<u64>,
    pub(crate) bytes_out: Cell<u64>,
    pub(crate) slow_clients: Cell<u64>,
    pub(crate) relayed_requests: Cell<u64>,
    pub(crate) moved_connections: Cell<u64>,
    pub(crate) sessions_opened: Cell<u64>,
    /// By the number of the [`CloseReason`].
    closed: [Cell<u64>; CloseReason::ALL.len()],
    /// By the number of the [`Cause`].
    refused: [Cell<u64>; Cause::ALL.len()],
    fanout: RefCell<Histogram>,
    flush: RefCell<Histogram>,
}

/// Why a request is refused, as the metrics name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    UnknownTransport,
    UnknownSession,
    BadMethod,
    BadRequest,
    Forbidden,
    UnsupportedVersion,
    /// What is wrong with the handshake of a WebSocket.
    BadUpgrade,
    /// This worker leaves, and there is no other.
    Leaving,
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, count: usize) {
    counter.set(counter.get() + count as u64);
}

impl Counters {
    /// Counts a request that was refused.
    pub(crate) fn refuse(&self, cause: Cause) {
        add(&self.refused[cause as usize], 1);
    }

    /// Counts a session that has ended.
    pub(crate) fn close(&self, reason: CloseReason) {
        add(&self.closed[reason as usize], 1);
    }

    /// A broadcast that began then is in the queue of its last recipient now.
    pub(crate) fn fanned_out(&self, begin: Instant) {
        self.fanout.borrow_mut().record(begin.elapsed());
    }

    /// A round of writing is over.
    pub(crate) fn flushed(&self, begin: Instant, end: Instant) {
        self.flush.borrow_mut().record(end - begin);
    }

    /// Writes the engine's figures into the worker's.
    pub(crate) fn report(&self, stats: &mut WorkerStats) {
        let into = &mut stats.counters;
        into.packets_in = self.packets_in.get();
        into.packets_out = self.packets_out.get();
        into.bytes_in = self.bytes_in.get();
        into.bytes_out = self.bytes_out.get();
        into.slow_clients = self.slow_clients.get();
        into.relayed_requests = self.relayed_requests.get();
        into.moved_connections = self.moved_connections.get();
        into.sessions_opened = self.sessions_opened.get();
        into.refused_requests = self.refused.iter().map(Cell::get).sum();
        let refused = Cause::ALL.map(|cause| (cause.as_str().to_owned(), self.refused[cause as usize].get()));
        into.refused_by_cause = refused.into();
        let closed = CloseReason::ALL.map(|reason| (reason.as_str().to_owned(), self.closed[reason as usize].get()));
        into.sessions_closed_by_reason = closed.into();
        stats.timings.fanout = self.fanout.borrow().clone();
        stats.timings.flush = self.flush.borrow().clone();
    }
}

impl Cause {
    pub(crate) const ALL: [Cause; 8] = [
        Cause::UnknownTransport,
        Cause::UnknownSession,
        Cause::BadMethod,
        Cause::BadRequest,
        Cause::Forbidden,
        Cause::UnsupportedVersion,
        Cause::BadUpgrade,
        Cause::Leaving,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Cause::UnknownTransport => "unknown_transport",
            Cause::UnknownSession => "unknown_session",
            Cause::BadMethod => "bad_method",
            Cause::BadRequest => "bad_request",
            Cause::Forbidden => "forbidden",
            Cause::UnsupportedVersion => "unsupported_version",
            Cause::BadUpgrade => "bad_upgrade",
            Cause::Leaving => "leaving",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_and_ends_are_told_by_name_and_summed() {
        let (counters, mut stats) = (Counters::default(), WorkerStats::default());
        for cause in Cause::ALL {
            counters.refuse(cause);
        }
        counters.refuse(Cause::Forbidden);
        counters.close(CloseReason::PingTimeout);
        counters.report(&mut stats);
        assert_eq!(stats.counters.refused_requests, Cause::ALL.len() as u64 + 1);
        assert_eq!(stats.counters.refused_by_cause["forbidden"], 2);
        assert!(stats.counters.refused_by_cause.values().all(|count| *count > 0));
        assert_eq!(stats.counters.sessions_closed_by_reason["ping timeout"], 1);
    }
}
