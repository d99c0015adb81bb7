//! What crosses a process boundary inside roomd: the control socket between the supervisor and a worker, the
//! stream between a worker and the embedded bus's hub, and the session id that names its home.
//!
//! # The control socket, from start to end
//!
//! The control socket is a `SOCK_SEQPACKET` socket pair ([`Link`]); a worker finds its end as descriptor 0.
//!
//! ```text
//! supervisor                                        worker
//!     │  ◄──────────────── Hello {protocol, pid} ─────  │   first message, else the worker is refused
//!     │  ── Start {config} [hub stream] ─────────────►  │
//!     │  ◄──────────────── Ready │ Failed {reason} ───  │   end of file instead: it died before it was ready
//!     │  ── Connection {id, peer, read} [socket] ────►  │
//!     │  ◄──────────────── Accepted {id} ─────────────  │   before it reads a byte: the duplicate may go
//!     │  ◄──────────────── Closed {id} ───────────────  │
//!     │  ── Ping {nonce} ──────────────► ◄── Pong ────  │   answered by the event loop itself
//!     │  ◄──────────────── Stats {…} ─────────────────  │   once a second
//!     │  ◄── Move {id, to, read} [socket] ────────────  │   a WebSocket of another worker's session
//!     │  ◄── OpenRelay {to} [stream] ── Relay [stream] ► │   requests of another worker's sessions
//!     │  ◄── RelayNewcomer [stream] ─── Relay [stream] ► │   a new session that came to a worker that leaves
//!     │  ── Drain {within} ──────────────────────────►  │   ends its clients, evenly spread, then leaves
//! ```
//!
//! When the supervisor was replaced, the next one goes on with the same sockets:
//!
//! ```text
//!     │  ── Adopted {supervisor} [hub stream] ───────►  │
//!     │  ◄──────────────── Holding {connections} ─────  │   what the worker is and holds, in one message or several
//! ```
//!
//! End of file tells either side that the other is gone.

mod config;
mod figures;
mod histogram;
mod http_options;
pub mod hub;
mod link;
mod message;
mod network;
mod readiness;
mod sid;

pub use config::{BusConfig, OrphanConfig, ParserConfig, PerMessageDeflate, SocketIoConfig, WorkerConfig};
pub use figures::{BusyRoom, MAX_BUSY_ROOMS, RedisFigures, WorkerTimings};
pub use histogram::Histogram;
pub use http_options::{CookieConfig, CorsConfig, CorsOrigin, HttpCompression, SameSite, Transports};
pub use link::{Link, LinkError, MAX_DESCRIPTORS, MAX_MESSAGE_BYTES, send_now};
pub use message::{
    BusHealth, ConnectionId, Generation, MAX_HELD, PROTOCOL_VERSION, PeerAddress, Slot, ToSupervisor, ToWorker,
    WorkerCounters, WorkerId, WorkerStats,
};
pub use network::{Network, NotANetwork};
pub use readiness::Readiness;
pub use sid::{Sid, SidHome};
