//! The kinds of handlers, and what a call of each brings along: what its arguments are taken from. For arguments of an
//! application's own, see [`FromCall`](super::FromCall); handlers never name these types.
//!
//! | kind | handlers | its call is a |
//! | --- | --- | --- |
//! | [`OnEvent`] | [`on`](super::Namespace::on), [`on_any`](super::Namespace::on_any) | [`SocketCall`], [`DataCall`] |
//! | [`OnPacket`] | [`use_packet_middleware`](super::Namespace::use_packet_middleware) | [`SocketCall`], [`DataCall`] |
//! | [`OnOutgoing`] | [`on_any_outgoing`](super::Namespace::on_any_outgoing) | [`SocketCall`], [`DataCall`] |
//! | [`OnConnecting`] | [`use_middleware`](super::Namespace::use_middleware) | [`SocketCall`] |
//! | [`OnConnect`], [`OnDisconnect`] | [`on_connect`](super::Namespace::on_connect), [`on_disconnecting`](super::Namespace::on_disconnecting), [`on_disconnect`](super::Namespace::on_disconnect) | [`SocketCall`] |
//! | [`OnRoomMember`] | [`on_join_room`](super::Namespace::on_join_room), [`on_leave_room`](super::Namespace::on_leave_room) | [`SocketCall`] |
//! | [`OnRoom`] | [`on_create_room`](super::Namespace::on_create_room), [`on_delete_room`](super::Namespace::on_delete_room) | [`Call`] |
//! | [`OnServerSide`] | [`on_server_side`](super::Namespace::on_server_side) | [`DataCall`] |
//! | [`OnAsked`] | [`namespace_when`](super::App::namespace_when) | [`Call`] |
//! | [`OnStart`], [`OnStop`] | [`on_start`](super::App::on_start), [`once_per_host`](super::App::once_per_host), [`on_stop`](super::App::on_stop) | [`Call`] |
//! | [`OnRequest`], [`OnConnectionError`] | [`allow_request`](super::App::allow_request), [`on_connection_error`](super::App::on_connection_error) | [`Call`] |
//!
//! ```
//! # use roomd_worker::socketio as roomd;
//! use roomd::{App, FromCall, Rejection, call::{Call, OnStart, WorkerCall}};
//!
//! /// An argument of one kind alone: a file that is made when a worker starts.
//! struct Log(std::fs::File);
//!
//! impl FromCall<OnStart> for Log {
//!     fn from_call(call: &WorkerCall<'_>) -> Result<Self, Rejection> {
//!         let path = format!("worker-{}.log", call.io().worker());
//!         std::fs::File::create(path).map(Log).map_err(|error| Rejection(error.to_string()))
//!     }
//! }
//!
//! let app = App::new().on_start(async |Log(file): Log| drop(file));
//! ```

use std::cell::Cell;

use serde_json::Value;

use super::{Io, ServerAck, Socket, ack::AnsweredOnce};
pub use super::{
    http_hooks::{ConnectionErrorCall, OnConnectionError, OnRequest, RequestCall},
    room_events::{OnRoom, OnRoomMember},
};
use crate::protocol::Data;

/// A kind of handler: of events, of connections and so on. An argument's type says which kinds it can be taken from
/// (see [`super::FromCall`]).
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, FromCall, Rejection, State, call::{Call, Kind}};
///
/// /// Which worker it is, for handlers of whatever kind.
/// struct Here(String);
///
/// impl<K: Kind> FromCall<K> for Here {
///     fn from_call(call: &K::Call<'_>) -> Result<Self, Rejection> {
///         Ok(Here(call.io().worker().to_string()))
///     }
/// }
///
/// let app = App::new().on_start(async |Here(worker): Here| println!("worker {worker} begins"));
/// # assert!(app.check().is_ok());
/// ```
pub trait Kind: 'static {
    /// One call.
    type Call<'a>: Call;
}

/// What every call has.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{Handle, call::Call};
///
/// fn way_back(call: &impl Call) -> Handle {
///     call.io().handle()
/// }
/// ```
pub trait Call {
    /// The server.
    fn io(&self) -> &Io;
}

/// A call about one socket.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::call::SocketCall;
///
/// fn user(call: &impl SocketCall) -> Option<String> {
///     call.socket().data()
/// }
/// ```
pub trait SocketCall: Call {
    /// The socket.
    fn socket(&self) -> &Socket;
}

/// A call with what a sender sent.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::call::DataCall;
///
/// fn is_long(call: &impl DataCall) -> bool {
///     call.data().bytes() > 10_000
/// }
/// ```
pub trait DataCall: Call {
    /// The event, with its name in front of its arguments.
    fn data(&self) -> &Data;
}

/// Handlers of clients' events.
pub enum OnEvent {}

/// Handlers of clients that have joined.
pub enum OnConnect {}

/// Handlers of clients that leave.
pub enum OnDisconnect {}

/// Middleware.
pub enum OnConnecting {}

/// Handlers of other servers' events.
pub enum OnServerSide {}

/// Middleware for events.
pub enum OnPacket {}

/// Handlers of what is sent to clients.
pub enum OnOutgoing {}

/// Functions that decide which namespaces there are.
pub enum OnAsked {}

/// Handlers of a worker's start.
pub enum OnStart {}

/// Handlers of a worker's end.
pub enum OnStop {}

/// A worker is about to take clients, or has served its last.
pub struct WorkerCall<'a> {
    pub(super) io: &'a Io,
}

/// An event of a client.
pub struct EventCall<'a> {
    pub(super) socket: &'a Socket,
    pub(super) data: &'a Data,
    /// The number of the answer, if one is wanted.
    pub(super) id: Option<u64>,
    pub(super) answered: Option<&'a AnsweredOnce>,
}

/// A client has joined.
pub struct ConnectCall<'a> {
    pub(super) socket: &'a Socket,
}

/// A client leaves.
pub struct DisconnectCall<'a> {
    pub(super) socket: &'a Socket,
    pub(super) reason: &'static str,
}

/// A client asks to join.
pub struct ConnectingCall<'a> {
    pub(super) socket: &'a Socket,
    pub(super) auth: &'a Value,
}

/// An event of a client, before its handler is called.
pub struct PacketCall<'a> {
    pub(super) socket: &'a Socket,
    pub(super) data: &'a Data,
}

/// An event is about to be sent to a client.
pub struct OutgoingCall<'a> {
    pub(super) socket: &'a Socket,
    pub(super) data: &'a Data,
}

/// A room has begun or ended.
pub struct RoomCall<'a> {
    pub(super) io: &'a Io,
    pub(super) room: &'a str,
}

/// A socket has joined or left a room.
pub struct RoomMemberCall<'a> {
    pub(super) socket: &'a Socket,
    pub(super) room: &'a str,
}

/// A client asks for a namespace that there is not.
pub struct AskedCall<'a> {
    pub(super) io: &'a Io,
    pub(super) name: &'a str,
    pub(super) auth: &'a Value,
}

/// An event of another server.
pub struct ServerSideCall<'a> {
    pub(super) io: &'a Io,
    pub(super) data: &'a Data,
    pub(super) ack: Cell<Option<ServerAck>>,
}

macro_rules! kinds {
    ($($kind:ident $call:ident $($socket:ident)?;)*) => {$(
        impl Kind for $kind {
            type Call<'a> = $call<'a>;
        }
        $(
            impl Call for $call<'_> {
                fn io(&self) -> &Io {
                    &self.$socket.io
                }
            }
            impl SocketCall for $call<'_> {
                fn socket(&self) -> &Socket {
                    self.$socket
                }
            }
        )?
    )*};
}

kinds! {
    OnEvent EventCall socket;
    OnConnect ConnectCall socket;
    OnDisconnect DisconnectCall socket;
    OnConnecting ConnectingCall socket;
    OnPacket PacketCall socket;
    OnOutgoing OutgoingCall socket;
    OnRoomMember RoomMemberCall socket;
    OnRoom RoomCall;
    OnServerSide ServerSideCall;
    OnAsked AskedCall;
    OnStart WorkerCall;
    OnStop WorkerCall;
}

impl Call for WorkerCall<'_> {
    fn io(&self) -> &Io {
        self.io
    }
}

impl Call for AskedCall<'_> {
    fn io(&self) -> &Io {
        self.io
    }
}

impl Call for ServerSideCall<'_> {
    fn io(&self) -> &Io {
        self.io
    }
}

impl Call for RoomCall<'_> {
    fn io(&self) -> &Io {
        self.io
    }
}

impl DataCall for PacketCall<'_> {
    fn data(&self) -> &Data {
        self.data
    }
}

impl DataCall for OutgoingCall<'_> {
    fn data(&self) -> &Data {
        self.data
    }
}

impl DataCall for EventCall<'_> {
    fn data(&self) -> &Data {
        self.data
    }
}

impl DataCall for ServerSideCall<'_> {
    fn data(&self) -> &Data {
        self.data
    }
}
