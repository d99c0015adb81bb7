//! The typed messages of the control socket, and the ids they speak of.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    config::WorkerConfig,
    figures::{BusyRoom, WorkerTimings},
};

/// Version of the messages below. Raised when an older peer could misread a newer message; fields that are added with a
/// default do not raise it.
pub const PROTOCOL_VERSION: u16 = 2;

/// The most connections that one [`ToSupervisor::Holding`] names: well below the largest message, whatever their addresses.
pub const MAX_HELD: usize = 1000;

/// A place for one worker, `0..N`. Its worker may be replaced, the slot stays.
///
/// ```
/// # use roomd_wire::Slot;
/// assert_eq!(Slot(2).to_string(), "2");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u16);

/// Which run of a slot's worker, counted from 1 for each slot.
///
/// ```
/// # use roomd_wire::Generation;
/// assert_eq!(Generation(1).to_string(), "1");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u32);

/// One worker process: a slot and which run of it.
///
/// ```
/// # use roomd_wire::{Generation, Slot, WorkerId};
/// let worker = WorkerId { slot: Slot(2), generation: Generation(1) };
/// // As in log lines and `roomd status`.
/// assert_eq!(worker.to_string(), "2.1");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct WorkerId {
    /// The place it fills.
    pub slot: Slot,
    /// Which run of that place it is.
    pub generation: Generation,
}

/// A client's TCP (or Unix) connection, unique for the life of a supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionId(pub u64);

/// Where a client's connection came from, as the balancer's `accept` saw it; or as a trusted proxy says, where that is told so.
///
/// ```
/// # use roomd_wire::PeerAddress;
/// let peer = PeerAddress::Ip([203, 0, 113, 9].into(), 52_000);
/// assert_eq!(peer.to_string(), "203.0.113.9:52000");
/// assert_eq!(PeerAddress::Unix.to_string(), "unix");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum PeerAddress {
    /// Over TCP.
    Ip(IpAddr, u16),
    /// Over a Unix-socket listener: there is no address.
    Unix,
}

/// What the supervisor tells a worker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// All that the worker has to know to start. With [`crate::BusConfig::Embedded`] the message carries one
    /// descriptor: the worker's end of its stream to the hub.
    Start {
        /// The version the supervisor speaks, [`PROTOCOL_VERSION`].
        protocol: u16,
        /// The worker's configuration.
        config: Box<WorkerConfig>,
    },
    /// A client's connection; carries its descriptor, which is non-blocking and, if it is of TCP, has `TCP_NODELAY` set. To be
    /// answered with [`ToSupervisor::Accepted`] before a byte of it is read.
    Connection {
        /// Names it in `Accepted`, `Closed` and `Move`.
        id: ConnectionId,
        /// The client's address: never asked of the descriptor.
        peer: PeerAddress,
        /// Another worker moved it here: it must be answered here, whatever its session.
        moved: bool,
        /// What was already read from it (a request head and what followed): empty unless `moved`.
        #[serde(with = "serde_bytes_vec")]
        read: Vec<u8>,
    },
    /// Another worker wants to relay requests of this worker's sessions; carries a stream on which to serve HTTP/1.1.
    Relay {
        /// The worker at the other end.
        from: WorkerId,
        /// The stream is for one request that begins a session, of a client at this address.
        #[serde(default)]
        newcomer: Option<PeerAddress>,
    },
    /// Another supervisor process goes on where an earlier one was. Carries a new stream to the embedded bus's hub, if the hub is a
    /// new one. To be answered with [`ToSupervisor::Holding`].
    Adopted {
        /// Its process id.
        supervisor: u32,
    },
    /// It does what the host does once, from now on; a drain ends that, and is answered with [`ToSupervisor::LetGo`].
    Lead,
    /// What it logs from now on. It may come before [`ToWorker::Start`].
    LogFilter {
        /// Directives such as `info,roomd_worker=debug`, checked by the supervisor.
        filter: String,
    },
    /// To be answered with [`ToSupervisor::Pong`] from the event loop.
    Ping {
        /// Comes back in the answer.
        nonce: u64,
    },
    /// No new clients will come. Requests of its sessions still do. End the clients, spread evenly over the time, then exit 0.
    Drain {
        /// How long the worker has, in milliseconds.
        within_ms: u64,
    },
}

/// What a worker tells the supervisor.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ToSupervisor {
    /// The first message of every worker.
    Hello {
        /// The version it speaks, [`PROTOCOL_VERSION`].
        protocol: u16,
        /// Its process id.
        pid: u32,
    },
    /// It can serve clients.
    Ready,
    /// It cannot start, and leaves.
    Failed {
        /// Why, in one line.
        reason: String,
    },
    /// It owns the connection now: the supervisor closes its duplicate.
    Accepted {
        /// Which.
        id: ConnectionId,
    },
    /// The connection has ended. If it was never accepted: the worker could not take it, having no descriptor left for it; the
    /// supervisor's duplicate serves to tell the client.
    Closed {
        /// Which.
        id: ConnectionId,
    },
    /// The connection asks for a WebSocket that belongs to another worker; carries the descriptor. For this worker it is as if
    /// closed.
    Move {
        /// Which.
        id: ConnectionId,
        /// Where its session lives; `None` for a new session of a worker that leaves: to any that takes new ones.
        to: Option<WorkerId>,
        /// The bytes read so far: the request head and what followed.
        #[serde(with = "serde_bytes_vec")]
        read: Vec<u8>,
    },
    /// Hand the stream that this message carries to another worker, as [`ToWorker::Relay`]; close it if that does not live.
    OpenRelay {
        /// Whose sessions the requests are for.
        to: WorkerId,
    },
    /// A client wants a new session of a worker that leaves. Hand the stream that this message carries to one that takes new
    /// sessions, as [`ToWorker::Relay`]; close it if there is none.
    RelayNewcomer {
        /// The client's address.
        peer: PeerAddress,
    },
    /// The answer to [`ToWorker::Adopted`]: what the worker is and holds at this moment, in one message or several.
    Holding {
        /// It has been ready.
        ready: bool,
        /// It has been told to drain.
        draining: bool,
        /// Connections that it has accepted and that have not ended, at most [`MAX_HELD`] in one message.
        connections: Vec<(ConnectionId, PeerAddress)>,
        /// Another message of this kind follows.
        more: bool,
    },
    /// It does no longer what [`ToWorker::Lead`] told it to do.
    LetGo,
    /// The answer to [`ToWorker::Ping`].
    Pong {
        /// As asked.
        nonce: u64,
    },
    /// A handler of the application's has kept the event loop for long, and still does.
    Busy {
        /// Which: its event or kind, and its namespace.
        handler: String,
    },
    /// How the worker does, once a second.
    Stats(Box<WorkerStats>),
}

/// A worker's figures at one moment. All default to zero, so that a worker of another version can leave some out.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerStats {
    /// Client connections that are open.
    pub connections: u64,
    /// Engine.IO sessions that are open.
    pub sessions: u64,
    /// Socket.IO sockets that are connected.
    pub sockets: u64,
    /// Rooms with at least one member, own rooms of sockets not counted.
    pub rooms: u64,
    /// How the worker finds its bus.
    pub bus: BusHealth,
    /// What was counted since the worker started.
    pub counters: WorkerCounters,
    /// What was timed since then.
    pub timings: WorkerTimings,
    /// The rooms that most packets go to lately, the busiest first; at most [`crate::MAX_BUSY_ROOMS`].
    pub busiest_rooms: Vec<BusyRoom>,
}

/// How one process finds the bus.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct BusHealth {
    /// A message went out and came back within the deadline.
    pub up: bool,
    /// Why it is down, in one line; empty while up.
    pub reason: String,
    /// How long the last message took to come back, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Since when it is up or down, in milliseconds since 1970; zero if that is not known.
    pub since_unix_ms: u64,
}

/// What a worker counts from its start.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerCounters {
    /// Events that clients sent.
    pub events_in: u64,
    /// Events that the application sent, each once, however many clients it was for.
    pub events_out: u64,
    /// Packets that came from clients, heartbeats too.
    pub packets_in: u64,
    /// Packets that were handed to clients, one per recipient.
    pub packets_out: u64,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
    /// Clients that were closed because they read too slowly.
    pub slow_clients: u64,
    /// Requests that were refused, all causes.
    pub refused_requests: u64,
    /// The same by cause.
    pub refused_by_cause: BTreeMap<String, u64>,
    /// Clients that were refused since there were as many child namespaces as a worker, or one client, may have.
    pub refused_namespaces: u64,
    /// Engine.IO sessions that were begun.
    pub sessions_opened: u64,
    /// Those that ended, by Socket.IO's name of the reason.
    pub sessions_closed_by_reason: BTreeMap<String, u64>,
    /// Events of the wrong shape for their handler.
    pub bad_events: u64,
    /// Handlers that ended in a panic.
    pub handler_panics: u64,
    /// Handlers that returned an error.
    pub handler_errors: u64,
    /// Messages that were published on the bus.
    pub bus_published: u64,
    /// Messages that came from the bus.
    pub bus_received: u64,
    /// Messages that were not published because the bus was down or full.
    pub bus_dropped: u64,
    /// Messages from the bus that could not be understood.
    pub bus_malformed: u64,
    /// How often the bus was connected to.
    pub bus_connects: u64,
    /// Requests relayed to another worker.
    pub relayed_requests: u64,
    /// Connections moved to another worker.
    pub moved_connections: u64,
    /// Lines of its log that were left out, as one cause wrote too many, or that nobody read.
    pub log_lines_suppressed: u64,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for WorkerId {
    /// `slot.generation`, as in log lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::Ip(ip, port) => std::net::SocketAddr::new(*ip, *port).fmt(f),
            PeerAddress::Unix => f.write_str("unix"),
        }
    }
}

/// Bytes as MessagePack `bin` and not as an array of integers.
mod serde_bytes_vec {
    use std::fmt;

    use serde::{Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
