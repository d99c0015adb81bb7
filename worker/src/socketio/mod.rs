//! The Socket.IO server of one worker: namespaces, sockets, rooms, and what an application does with them.
//!
//! ```text
//! engine ─► incoming ─► app (handlers) ─► Socket, Broadcast ─► publish ─► engine, bus
//!               │                ▲             │                  ▲
//!               └─► membership ──┘           rooms                └── bus ─► publish, requests
//! ```
//!
//! The rules of who is in a namespace, when and for how long, are in `protocol::membership`; `server` holds the state of it all.
//!
//! # What an application can rely on
//!
//! - Events of a client are handled in the order they came: a handler runs at once, up to where it first waits.
//! - Nothing else runs meanwhile: all of a worker happens on one thread, and state is never held while a handler runs.
//! - A handler that panics ends alone: it is logged and counted, and the client stays.
//! - `emit` never waits. A client that reads too slowly is closed, and never slows the others.
//! - Clients of this worker get a broadcast whether or not the bus is up; what it could not publish is counted.
//! - Names are Socket.IO's: `to`, `except`, `local`, `volatile`, `timeout`, `emit`, `emit_with_ack`, `fetch_sockets`,
//!   `sockets_join`, `sockets_leave`, `disconnect_sockets`, `server_side_emit`.
//! - What a client can make grow is bounded: [`MAX_ROOMS_PER_SOCKET`], [`MAX_ROOM_NAME_BYTES`],
//!   [`MAX_WAITING_HANDLERS`], [`MAX_WAITING_HEARERS`], [`MAX_WAITING_PAYLOADS`], [`MAX_CHILD_NAMESPACES`], [`MAX_CHILD_NAME_BYTES`],
//!   [`MAX_NAMESPACES_PER_SESSION`].
//!
//! # An application
//!
//! ```
//! # use roomd_worker::socketio as roomd;
//! use roomd::{Ack, App, Args, EncodeError, Socket};
//!
//! let app = App::new().namespace("/", |namespace| {
//!     namespace
//!         .on_connect(async |socket: Socket| {
//!             socket.join("lobby");
//!         })
//!         .on("say", async |socket: Socket, Args(text): Args<String>, ack: Ack| -> Result<(), EncodeError> {
//!             socket.to("lobby").emit("said", (socket.id(), text))?;
//!             ack.send("done")
//!         })
//! });
//! ```

mod ack;
mod apart;
mod app;
mod asked;
mod asking;
mod backlog;
mod bound;
mod broadcast;
mod busy;
pub mod call;
mod connect_error;
mod extract;
mod handle;
mod handler;
mod handlers;
mod heard;
mod http_hooks;
mod incoming;
mod joining;
mod lifecycle;
mod membership;
mod namespace;
mod namespaced;
mod namespaces;
mod outgoing;
mod packets;
mod parents;
mod pending;
mod publish;
mod remote_socket;
mod requests;
mod roll_call;
mod room_events;
mod room_names;
mod rooms;
mod server;
mod shortcuts;
mod socket;
mod socket_id;
mod states;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod to_socket;
mod waiting;

use std::rc::Rc;

use roomd_wire::WorkerStats;

pub use ack::{Ack, AckError, Answers, RequestError, ServerAck};
pub(crate) use app::Http;
pub use app::{App, AppError};
pub use backlog::{MAX_WAITING_HANDLERS, MAX_WAITING_PAYLOADS};
pub use broadcast::{Broadcast, REQUESTS_TIMEOUT};
pub use connect_error::ConnectError;
pub use extract::{Args, Auth, EventName, FromCall, Name, Reason, Rejection, State};
pub use handle::{Gone, Handle};
pub use handler::{Handler, Outcome};
#[doc(no_inline)]
pub use http::HeaderMap;
pub use http_hooks::Refusal;
pub(crate) use lifecycle::Leading;
pub use namespace::Namespace;
pub use namespaced::{Namespaced, ServerEmitError};
pub use namespaces::{MAX_CHILD_NAME_BYTES, MAX_CHILD_NAMESPACES, MAX_NAMESPACES_PER_SESSION};
pub use outgoing::MAX_WAITING_HEARERS;
pub use parents::Verdict;
pub use remote_socket::RemoteSocket;
pub use room_events::Room;
pub use room_names::RoomNames;
pub use roomd_wire::{Generation, PeerAddress, Slot, WorkerId};
pub use rooms::{MAX_ROOM_NAME_BYTES, MAX_ROOMS_PER_SOCKET};
pub use socket::Socket;
pub(crate) use socket_id::SocketId;
pub use states::States;
pub use to_socket::ToSocket;

pub use crate::{
    adapter::codec::{RemoteHandshake, WriteError},
    bus::BusError,
    engine::{ConnectionErrorInfo, Handshake, RequestInfo, Transport},
    protocol::{Binary, Data, DataError, DecodeError, EncodeError, JsonError},
};
use crate::{bus::Bus, engine::Engine};

/// The server of one worker, and through the bus the whole cluster. A clone is another handle to it.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Io};
///
/// let app = App::new().namespace("/", |namespace| {
///     // Every handler can have it; it can be kept, and moved into tasks of the worker's thread.
///     namespace.on("notify", async |io: Io| io.to("lobby").emit("notice", "all is well"))
/// });
/// # assert!(app.check().is_ok());
/// ```
#[derive(Clone)]
pub struct Io(Rc<server::Inner>);

impl Io {
    /// The server of an application, above an engine. It needs [`Io::attach`] to reach other workers. For whoever
    /// assembles a worker: an application is given its own.
    #[doc(hidden)]
    pub fn new(engine: Engine, worker: WorkerId, app: App) -> Self {
        Io(Rc::new(server::Inner::new(engine, worker, app, fastrand::Rng::new())))
    }

    /// Names the bus, once.
    pub(crate) fn attach(&self, bus: Rc<dyn Bus>) {
        self.0.attach(bus);
    }

    /// A namespace that the application declared, by its name: with [`App::namespace`], or for many at once with
    /// [`App::namespace_matching`], whether or not somebody is in the one of that name. Where it declared a function with
    /// [`App::namespace_when`], that is every name.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Some(admin) = io.of("/admin") {
    ///     admin.emit("alarm", "it is full")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn of(&self, name: &str) -> Option<Namespaced<'_>> {
        Some(Namespaced::new(self, self.0.address(&app::full_name(name))?))
    }

    /// The namespaces of patterns and functions in which a client of this worker is.
    ///
    /// What is sent to each of them goes, as always, to the clients of all workers: so one worker sends it, and what only others have
    /// clients in is not among them. In Node this is `emit` of the namespace that `io.of(/pattern/)` returns.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// for child in io.children() {
    ///     child.emit("notice", format!("this is {}", child.name()))?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn children(&self) -> impl Iterator<Item = Namespaced<'_>> {
        let mut children: Vec<_> = self.0.state.borrow().namespaces.children().cloned().collect();
        children.retain(|nsp| nsp.handlers().is_some());
        children.into_iter().map(|nsp| Namespaced::new(self, nsp))
    }

    /// The worker that this server is.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// // Slot and generation, such as `2.1`, as in the log and in `roomd status`.
    /// println!("worker {}", io.worker());
    /// # Ok(())
    /// # }
    /// ```
    pub fn worker(&self) -> WorkerId {
        self.0.worker
    }

    /// The way here from other threads and from tasks that may move between them.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new().on_start(async |io: Io| {
    ///     let sockets = io.handle();
    ///     std::thread::spawn(move || sockets);
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    pub fn handle(&self) -> Handle {
        Handle::new(self)
    }

    /// How many sessions have ended since the start.
    pub(crate) fn ended_sessions(&self) -> u64 {
        self.0.counters.ended_sessions.get()
    }

    /// Writes this layer's figures into the worker's.
    pub(crate) fn report(&self, stats: &mut WorkerStats) {
        self.0.report(stats);
    }
}
