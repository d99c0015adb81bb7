//! What a worker measures beside its counters, and what is known of Redis.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{histogram::Histogram, message::WorkerCounters};

/// The most rooms that a worker reports.
pub const MAX_BUSY_ROOMS: usize = 10;

/// What a worker has timed since its start.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerTimings {
    /// How much later than it was due something ran on the event loop: ten samples a second. The timer's own resolution, a
    /// millisecond, is taken off.
    pub loop_lag: Histogram,
    /// From the moment at which a broadcast is begun (by the application) or has been read (from the bus) until it is in the queue
    /// of its last recipient in this worker. At most one in each turn of the loop is timed.
    pub fanout: Histogram,
    /// How long one round of writing to all clients that something waits for took, at the end of a turn of the loop.
    pub flush: Histogram,
    /// How long messages took that went out to the bus and came back, one every two seconds.
    pub bus_round_trip: Histogram,
}

/// A room and how much goes to it.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct BusyRoom {
    /// Its namespace.
    pub namespace: String,
    /// Its name, cut where it is long; empty for all sockets of the namespace.
    pub room: String,
    /// How many sockets are in it.
    pub members: u64,
    /// Packets that were queued for its members each second, lately.
    pub packets_per_s: f64,
}

/// What Redis's `INFO` tells of the server. What it does not tell, or may not be asked, is `None`.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct RedisFigures {
    /// The server's version.
    pub version: Option<String>,
    /// How long it has run, in seconds.
    pub uptime_s: Option<f64>,
    /// Memory that it has allocated, in bytes.
    pub used_memory_bytes: Option<u64>,
    /// The resident memory of its process, in bytes.
    pub resident_memory_bytes: Option<u64>,
    /// `maxmemory`, in bytes; none where there is no limit.
    pub max_memory_bytes: Option<u64>,
    /// CPU time that its process has used in user mode, in seconds.
    pub cpu_user_s: Option<f64>,
    /// CPU time that its process has used in the kernel, in seconds.
    pub cpu_system_s: Option<f64>,
    /// Clients that are connected.
    pub connected_clients: Option<u64>,
    /// Connections taken since its start.
    pub connections_received: Option<u64>,
    /// Connections refused at `maxclients`, since its start.
    pub connections_rejected: Option<u64>,
    /// Clients closed since they did not read what they had subscribed to, since its start.
    pub output_buffer_disconnections: Option<u64>,
    /// Commands since its start.
    pub commands: Option<u64>,
    /// Bytes read from clients since its start.
    pub received_bytes: Option<u64>,
    /// Bytes written to clients since its start.
    pub sent_bytes: Option<u64>,
    /// Channels with a subscriber.
    pub pubsub_channels: Option<u64>,
    /// Patterns with a subscriber.
    pub pubsub_patterns: Option<u64>,
    /// `PUBLISH` commands since its start.
    pub publish_calls: Option<u64>,
    /// Time spent in them, in seconds.
    pub publish_s: Option<f64>,
    /// How long it took to answer when it was asked for all this, in seconds.
    pub answer_s: Option<f64>,
}

impl WorkerTimings {
    /// Adds what another worker has timed.
    pub fn add(&mut self, other: &WorkerTimings) {
        let WorkerTimings { loop_lag, fanout, flush, bus_round_trip } = other;
        self.loop_lag.add(loop_lag);
        self.fanout.add(fanout);
        self.flush.add(flush);
        self.bus_round_trip.add(bus_round_trip);
    }
}

impl WorkerCounters {
    /// Adds what another worker has counted.
    pub fn add(&mut self, other: &WorkerCounters) {
        // Taken apart, so that no counter is forgotten that comes to be.
        let WorkerCounters {
            events_in,
            events_out,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
            slow_clients,
            refused_requests,
            refused_by_cause,
            refused_namespaces,
            sessions_opened,
            sessions_closed_by_reason,
            bad_events,
            handler_panics,
            handler_errors,
            bus_published,
            bus_received,
            bus_dropped,
            bus_malformed,
            bus_connects,
            relayed_requests,
            moved_connections,
            log_lines_suppressed,
        } = other;
        for (mine, theirs) in [
            (&mut self.events_in, events_in),
            (&mut self.events_out, events_out),
            (&mut self.packets_in, packets_in),
            (&mut self.packets_out, packets_out),
            (&mut self.bytes_in, bytes_in),
            (&mut self.bytes_out, bytes_out),
            (&mut self.slow_clients, slow_clients),
            (&mut self.refused_requests, refused_requests),
            (&mut self.refused_namespaces, refused_namespaces),
            (&mut self.sessions_opened, sessions_opened),
            (&mut self.bad_events, bad_events),
            (&mut self.handler_panics, handler_panics),
            (&mut self.handler_errors, handler_errors),
            (&mut self.bus_published, bus_published),
            (&mut self.bus_received, bus_received),
            (&mut self.bus_dropped, bus_dropped),
            (&mut self.bus_malformed, bus_malformed),
            (&mut self.bus_connects, bus_connects),
            (&mut self.relayed_requests, relayed_requests),
            (&mut self.moved_connections, moved_connections),
            (&mut self.log_lines_suppressed, log_lines_suppressed),
        ] {
            *mine = mine.saturating_add(*theirs);
        }
        add_all(&mut self.refused_by_cause, refused_by_cause);
        add_all(&mut self.sessions_closed_by_reason, sessions_closed_by_reason);
    }
}

fn add_all(mine: &mut BTreeMap<String, u64>, theirs: &BTreeMap<String, u64>) {
    for (name, count) in theirs {
        match mine.get_mut(name) {
            Some(mine) => *mine = mine.saturating_add(*count),
            None => drop(mine.insert(name.clone(), *count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_by_cause_too() {
        let counters = |cause: &str, count| WorkerCounters {
            events_in: count,
            refused_by_cause: BTreeMap::from([(cause.to_owned(), count)]),
            ..WorkerCounters::default()
        };
        let mut sum = counters("unknown_session", 2);
        sum.add(&counters("unknown_session", 3));
        sum.add(&counters("bad_request", 4));
        assert_eq!(sum.events_in, 9);
        assert_eq!(sum.refused_by_cause, BTreeMap::from([("unknown_session".into(), 5), ("bad_request".into(), 4)]));
    }
}
