//! The handlers of a namespace, as the application declares them.

use rustc_hash::FxHashMap;

use super::{
    ConnectError,
    call::{OnConnect, OnConnecting, OnDisconnect, OnEvent, OnOutgoing, OnPacket, OnRoom, OnRoomMember, OnServerSide},
    handler::{Erased, Handler, Outcome, erase, erase_logged, erase_outcome},
    room_events::RoomHandlers,
    states::States,
};

/// The handlers of one namespace. What they can have for arguments is in [`FromCall`](super::FromCall).
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Args, Namespace, Reason, Socket};
///
/// // A function that takes and returns one can be given to `App::namespace`, also several times.
/// fn chat(namespace: Namespace) -> Namespace {
///     namespace
///         .on_connect(async |socket: Socket| println!("{} is here", socket.id()))
///         .on("say", async |socket: Socket, Args(text): Args<String>| socket.broadcast().emit("said", text))
///         .on_disconnect(async |socket: Socket, reason: Reason| println!("{} left: {reason}", socket.id()))
/// }
///
/// let app = App::new().namespace("/", chat).namespace("/beta", chat);
/// ```
#[derive(Default, Clone)]
pub struct Namespace {
    pub(super) middlewares: Vec<Erased<OnConnecting, Result<(), ConnectError>>>,
    pub(super) connect: Option<Erased<OnConnect>>,
    pub(super) events: FxHashMap<String, Erased<OnEvent>>,
    pub(super) any: Vec<Erased<OnEvent>>,
    pub(super) any_outgoing: Vec<Erased<OnOutgoing>>,
    pub(super) packets: Vec<Erased<OnPacket, Option<String>>>,
    pub(super) rooms: RoomHandlers,
    pub(super) disconnecting: Option<Erased<OnDisconnect>>,
    pub(super) disconnect: Option<Erased<OnDisconnect>>,
    pub(super) server_events: FxHashMap<String, Erased<OnServerSide>>,
    pub(super) needs: Vec<Need>,
}

/// What a handler needs of the application.
#[derive(Clone)]
pub(super) struct Need {
    pub(super) handler: String,
    pub(super) missing: fn(&States) -> Option<&'static str>,
}

impl Namespace {
    /// Asked before a client joins, in the order of declaration; the first error refuses it, and the client is told its words.
    /// Everything but a [`ConnectError`] and texts is made one by `map_err`, with words that are meant for the client.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// #[derive(serde::Deserialize)]
    /// struct Login {
    ///     token: String,
    /// }
    ///
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace.use_middleware(async |socket: Socket, Auth(login): Auth<Login>| {
    ///         if login.token != "secret" {
    ///             return Err(ConnectError::new("who are you?"));
    ///         }
    ///         socket.join("members");
    ///         Ok(())
    ///     })
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn use_middleware<A: 'static, H>(mut self, middleware: H) -> Self
    where
        H: Handler<OnConnecting, A, Output = Result<(), ConnectError>>,
    {
        self.needs("middleware", H::missing);
        self.middlewares.push(erase("middleware", middleware));
        self
    }

    /// Called when a client has joined.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace.on_connect(async |socket: Socket| {
    ///         socket.join("lobby");
    ///         socket.to("lobby").emit("came", socket.id())
    ///     })
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn on_connect<A: 'static, H: Handler<OnConnect, A>>(mut self, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs("connect", H::missing);
        self.connect = Some(erase_logged("connect", handler));
        self
    }

    /// Called for each event of that name. An event of another shape than the handler's [`Args`](super::Args) is answered with
    /// `{error}` if an answer is wanted, and counted. A handler declared later for the same name takes the place of the first.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace
    ///         .on("ping", async |ack: Ack| ack.send("pong"))
    ///         // socket.emit("move", 3, 4)
    ///         .on("move", async |socket: Socket, Args((x, y)): Args<(f64, f64)>| socket.broadcast().emit("moved", (x, y)))
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn on<A: 'static, H: Handler<OnEvent, A>>(mut self, event: &str, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs(&format!("{event:?}"), H::missing);
        self.events.insert(event.to_owned(), erase_logged(event, handler));
        self
    }

    /// Called for every event before the handler of its name. Several are called in the order of declaration.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace.on_any(async |socket: Socket, EventName(event): EventName, data: Data| {
    ///         println!("{} sent {event}, {} bytes", socket.id(), data.bytes());
    ///     })
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn on_any<A: 'static, H: Handler<OnEvent, A>>(mut self, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs("any event", H::missing);
        self.any.push(erase_logged("any event", handler));
        self
    }

    /// Called for every event that is about to be sent to a client, by [`Socket::emit`](super::Socket::emit) and its like or as one
    /// of those that a broadcast reaches on this worker: `socket.onAnyOutgoing` in Node. Answers to clients are no events.
    /// Several are called in the order of declaration. Whatever one itself sends comes back to it. A volatile event is heard, as in
    /// Node, whether or not it is lost then. Without, it costs nothing.
    ///
    /// Nobody waits for it: when [`MAX_WAITING_HEARERS`](super::MAX_WAITING_HEARERS) of them wait for something, the next one ends
    /// where it would wait, and is counted among the handlers that failed.
    ///
    /// ```
    /// # use roomd_worker::socketio::{App, EventName, Socket};
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace.on_any_outgoing(async |socket: Socket, EventName(event): EventName| {
    ///         println!("{event} goes to {}", socket.id());
    ///     })
    /// });
    /// ```
    #[must_use]
    pub fn on_any_outgoing<A: 'static, H: Handler<OnOutgoing, A>>(mut self, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs("any outgoing event", H::missing);
        self.any_outgoing.push(erase_logged("any outgoing event", handler));
        self
    }

    /// Asked about each event of a client before the handler of its name is called, in the order of declaration: `socket.use` in
    /// Node. An error refuses the event: it is counted, and answered with `{error}` if an answer is wanted.
    ///
    /// It may wait. Those of the same client's events that come meanwhile wait their turn, so that their order is kept; in Node they
    /// can overtake. Handlers of [`on_any`](Namespace::on_any) hear an event before it is judged, as in Node.
    ///
    /// ```
    /// # use roomd_worker::socketio::{App, EventName, Socket};
    /// # #[derive(serde::Deserialize, Default)]
    /// # struct Person { is_admin: bool }
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace.use_packet_middleware(async |socket: Socket, EventName(event): EventName| {
    ///         if event.starts_with("admin:") && !socket.data::<Person>().is_admin {
    ///             return Err("not allowed");
    ///         }
    ///         Ok(())
    ///     })
    /// });
    /// ```
    #[must_use]
    pub fn use_packet_middleware<A: 'static, H: Handler<OnPacket, A>>(mut self, middleware: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs("packet middleware", H::missing);
        self.packets.push(erase_outcome("packet middleware", middleware));
        self
    }

    /// Called when a room begins on this worker with its first socket, as the adapter's event `create-room` in Node. Rooms of
    /// sockets' own ids are among them, as there.
    ///
    /// ```
    /// # use roomd_worker::socketio::{App, Room, Socket};
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace
    ///         .on_create_room(async |Room(room): Room| println!("{room} begins"))
    ///         .on_join_room(async |Room(room): Room, socket: Socket| println!("{} joins {room}", socket.id()))
    ///         .on_leave_room(async |Room(room): Room, socket: Socket| println!("{} leaves {room}", socket.id()))
    ///         .on_delete_room(async |Room(room): Room| println!("{room} ends"))
    /// });
    /// ```
    #[must_use]
    pub fn on_create_room<A: 'static, H: Handler<OnRoom, A>>(mut self, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs("create-room", H::missing);
        self.rooms.create.push(erase_logged("create-room", handler));
        self
    }

    /// Called when a room has ended on this worker with its last socket: `delete-room` in Node.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace.on_delete_room(async |Room(room): Room| println!("nobody here is in {room} any more"))
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn on_delete_room<A: 'static, H: Handler<OnRoom, A>>(mut self, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs("delete-room", H::missing);
        self.rooms.delete.push(erase_logged("delete-room", handler));
        self
    }

    /// Called when a socket of this worker has joined a room: `join-room` in Node.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace.on_join_room(async |socket: Socket, Room(room): Room| socket.to(&room).emit("joined", socket.id()))
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn on_join_room<A: 'static, H: Handler<OnRoomMember, A>>(mut self, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs("join-room", H::missing);
        self.rooms.join.push(erase_logged("join-room", handler));
        self
    }

    /// Called when a socket of this worker has left a room, by itself or since it leaves the namespace: `leave-room` in Node.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace.on_leave_room(async |socket: Socket, Room(room): Room| socket.to(&room).emit("left", socket.id()))
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn on_leave_room<A: 'static, H: Handler<OnRoomMember, A>>(mut self, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs("leave-room", H::missing);
        self.rooms.leave.push(erase_logged("leave-room", handler));
        self
    }

    /// Called when a client leaves, while it is still in its rooms.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace.on_disconnecting(async |socket: Socket, Reason(reason): Reason| {
    ///         let rooms = socket.rooms();
    ///         socket.to(&rooms).emit("left", (socket.id(), reason))
    ///     })
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn on_disconnecting<A: 'static, H: Handler<OnDisconnect, A>>(mut self, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs("disconnecting", H::missing);
        self.disconnecting = Some(erase_logged("disconnecting", handler));
        self
    }

    /// Called when a client has left, and its rooms with it.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace.on_disconnect(async |socket: Socket, Reason(reason): Reason| println!("{}: {reason}", socket.id()))
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn on_disconnect<A: 'static, H: Handler<OnDisconnect, A>>(mut self, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs("disconnect", H::missing);
        self.disconnect = Some(erase_logged("disconnect", handler));
        self
    }

    /// Called for an event of that name that another server of the cluster sent with `server_side_emit`.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace
    ///         .on("forget", async |socket: Socket| socket.nsp().server_side_emit("forget", socket.id()))
    ///         // In each of the other workers.
    ///         .on_server_side("forget", async |Args(id): Args<String>| println!("{id} is forgotten"))
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn on_server_side<A: 'static, H: Handler<OnServerSide, A>>(mut self, event: &str, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs(&format!("{event:?} of servers"), H::missing);
        self.server_events.insert(event.to_owned(), erase_logged(event, handler));
        self
    }

    fn needs(&mut self, handler: &str, missing: fn(&States) -> Option<&'static str>) {
        self.needs.push(Need { handler: handler.to_owned(), missing });
    }
}
