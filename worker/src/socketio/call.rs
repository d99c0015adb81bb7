//! The kinds of handlers, and what a call of each brings along: what its arguments are taken from.

use std::cell::Cell;

use serde_json::Value;

pub use super::room_events::{OnRoom, OnRoomMember};
use super::{Io, ServerAck, Socket, ack::AnsweredOnce};
use crate::protocol::Data;

/// A kind of handler: of events, of connections and so on. An argument's type says which kinds it can be taken from
/// (see [`super::FromCall`]).
pub trait Kind: 'static {
    /// One call.
    type Call<'a>: Call;
}

/// What every call has.
pub trait Call {
    /// The server.
    fn io(&self) -> &Io;
}

/// A call about one socket.
pub trait SocketCall: Call {
    /// The socket.
    fn socket(&self) -> &Socket;
}

/// A call with what a sender sent.
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
