//! A client in a namespace, as the application holds it.

use std::{rc::Rc, time::Duration};

use roomd_wire::PeerAddress;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Broadcast, Io, Namespaced, RoomNames, SocketId, ToSocket,
    ack::AckError,
    apart::Apart,
    namespaces::Nsp,
    rooms::Change,
    server::{SocketState, State},
};
use crate::{
    engine::{Handshake, SessionKey, Transport},
    protocol::{Data, EncodeError},
};

/// The address of a client in a namespace. It can be kept and used after the client has gone: then nothing happens.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Args, Socket};
///
/// let app = App::new().namespace("/", |namespace| {
///     namespace
///         .on_connect(async |socket: Socket| socket.emit("welcome", socket.id()))
///         .on("enter", async |socket: Socket, Args(room): Args<String>| {
///             socket.join(&room);
///             socket.to(&room).emit("entered", socket.id())
///         })
/// });
/// # assert!(app.check().is_ok());
/// ```
#[derive(Clone)]
pub struct Socket {
    pub(super) io: Io,
    pub(super) namespace: Rc<Nsp>,
    pub(super) id: SocketId,
}

impl Socket {
    /// Its id, which is also the name of a room that it alone is in.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.broadcast().emit("came", socket.id())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// The server it belongs to.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// // To all, this client among them.
    /// socket.io().to("lobby").emit("said", "hello")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn io(&self) -> &Io {
        &self.io
    }

    /// The name of its namespace.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{} is in {}", socket.id(), socket.namespace());
    /// # Ok(())
    /// # }
    /// ```
    pub fn namespace(&self) -> &str {
        &self.namespace.name
    }

    /// Its namespace, in the whole cluster.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// // To all of its namespace, this client among them.
    /// socket.nsp().emit("came", socket.id())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn nsp(&self) -> Namespaced<'_> {
        Namespaced::new(&self.io, self.namespace.clone())
    }

    /// Whether it is here, in its namespace.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(socket: Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// tokio::time::sleep(Duration::from_secs(60)).await;
    /// if socket.is_connected() {
    ///     println!("{} has stayed for a minute", socket.id());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_connected(&self) -> bool {
        let state = self.io.0.state.borrow();
        state.namespaces.of(&self.namespace).is_some_and(|members| members.rooms.own(&self.id).is_some())
    }

    /// Sends an event to this client. `args`: a tuple for several, `()` for none, else one.
    ///
    /// To serde an array of fixed length, `[1, 2]`, is a tuple, so two arguments; a slice or `Vec` is one.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.emit("ready", ())?;
    /// socket.emit("said", "hello")?;
    /// socket.emit("moved", (3, 4))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form.
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<(), EncodeError> {
        ToSocket::new(self).emit(event, args)
    }

    /// Sends an event as it came from somebody else: an array of its name and its arguments.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// let event = Data::event("said", "hello")?;
    /// socket.emit_data(&event);
    /// # Ok(())
    /// # }
    /// ```
    pub fn emit_data(&self, event: &Data) {
        ToSocket::new(self).emit_data(event);
    }

    /// Sends an event that may be lost if the client cannot take it now.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.emit_volatile("position", (1.5, 2.0))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form.
    pub fn emit_volatile(&self, event: &str, args: impl Serialize) -> Result<(), EncodeError> {
        self.volatile().emit(event, args)
    }

    /// Sends an event and waits for the client's answer.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(socket: Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let answer = socket.emit_with_ack("ready?", (), Duration::from_secs(5)).await?;
    /// let is_ready: bool = answer.ack_args()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form, no answer comes in time, or the client leaves.
    pub async fn emit_with_ack(&self, event: &str, args: impl Serialize, within: Duration) -> Result<Data, AckError> {
        self.timeout(within).emit_with_ack(event, args).await
    }

    /// What is sent next may be lost if the client cannot take it now.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.volatile().emit("position", (1.5, 2.0))?;
    /// socket.volatile().to("game").emit("position", (1.5, 2.0))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn volatile(&self) -> ToSocket<'_> {
        ToSocket::new(self).volatile()
    }

    /// Whether what is sent next may be compressed on its way; it may if nothing is said.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// # let picture = Binary::from(vec![0]);
    /// socket.compress(false).emit("picture", picture)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn compress(&self, compress: bool) -> ToSocket<'_> {
        ToSocket::new(self).compress(compress)
    }

    /// How long the next question waits for its answer.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(socket: Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let answer = socket.timeout(Duration::from_secs(5)).emit_with_ack("ready?", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(&self, within: Duration) -> ToSocket<'_> {
        ToSocket::new(self).timeout(within)
    }

    /// Joins a room, or several; in middleware, from the moment that it is let in. False where it is in
    /// [`super::MAX_ROOMS_PER_SOCKET`] already, a name is longer than [`super::MAX_ROOM_NAME_BYTES`], or it is not here any more.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.join("lobby");
    /// if !socket.join(["game", "red"]) {
    ///     socket.emit("full", ())?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn join<'a>(&self, rooms: impl RoomNames<'a>) -> bool {
        let mut joined = true;
        rooms.each(|room| joined &= self.io.join_room(&self.namespace, self.id, room));
        joined
    }

    /// Leaves a room. The room of its own id is not left.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.leave("lobby");
    /// # Ok(())
    /// # }
    /// ```
    pub fn leave(&self, room: &str) {
        self.io.leave_room(&self.namespace, self.id, room);
    }

    /// The rooms it is in, its own id first; in middleware those that it is to be in, still without that.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// // Leaves all but the room of its own id.
    /// for room in socket.rooms().iter().skip(1) {
    ///     socket.leave(room);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn rooms(&self) -> Vec<String> {
        let state = self.io.0.state.borrow();
        let Some(members) = state.namespaces.of(&self.namespace) else { return Vec::new() };
        let Some(member) = members.rooms.own(&self.id) else {
            let rooms = members.apart.get(&self.id).map_or(&[][..], Apart::rooms);
            return rooms.iter().map(ToString::to_string).collect();
        };
        std::iter::once(self.id.to_string()).chain(members.rooms.of(member).map(|room| room.to_string())).collect()
    }

    /// To the sockets in a room, or in several, without this one. More rooms can be added.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.to("lobby").emit("said", "hello")?;
    /// socket.to("red").to("green").except("away").emit("said", "hello")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn to<'a>(&'a self, rooms: impl RoomNames<'a>) -> Broadcast<'a> {
        self.broadcast().to(rooms)
    }

    /// To all sockets of the namespace without this one and those in a room, or in several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.except("away").emit("said", "hello")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn except<'a>(&'a self, rooms: impl RoomNames<'a>) -> Broadcast<'a> {
        self.broadcast().except(rooms)
    }

    /// To all sockets of the namespace on this worker, without this one.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.local().emit("came", socket.id())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn local(&self) -> Broadcast<'_> {
        self.broadcast().local()
    }

    /// To all sockets of the namespace, without this one.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.broadcast().emit("came", socket.id())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn broadcast(&self) -> Broadcast<'_> {
        Broadcast::new(&self.io, self.namespace.clone()).except(self.id.as_str())
    }

    /// What the application keeps with it; `T::default()` if nothing, or something of another shape.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// #[derive(serde::Serialize, serde::Deserialize, Default)]
    /// struct Person {
    ///     name: String,
    ///     moves: u32,
    /// }
    ///
    /// let mut person: Person = socket.data();
    /// person.moves += 1;
    /// socket.set_data(&person)?;
    /// // Where nothing being there makes a difference:
    /// let known: Option<Person> = socket.data();
    /// # Ok(())
    /// # }
    /// ```
    pub fn data<T: DeserializeOwned + Default>(&self) -> T {
        let data = {
            let state = self.io.0.state.borrow();
            self.state(&state).and_then(|socket| socket.data.clone())
        };
        data.and_then(|data| T::deserialize(&*data).ok()).unwrap_or_default()
    }

    /// Keeps something with it, for as long as it lives and wherever it is served.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.set_data("Ada")?;
    /// assert_eq!(socket.data::<String>(), "Ada");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the value has no JSON form.
    pub fn set_data(&self, data: impl Serialize) -> Result<(), EncodeError> {
        let data: Value = serde_json::to_value(data).map_err(EncodeError::Json)?;
        let state = &mut *self.io.0.state.borrow_mut();
        let members = state.namespaces.of_mut(&self.namespace);
        if let Some(socket) = members.and_then(|members| members.socket_mut(&self.id)) {
            socket.data = Some(Rc::new(data));
        }
        Ok(())
    }

    /// What the client sent as `auth` when it joined; an empty object if nothing.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// if socket.auth()["token"] != "secret" {
    ///     socket.disconnect(false);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn auth(&self) -> Value {
        let state = self.io.0.state.borrow();
        self.state(&state).and_then(|socket| socket.auth.as_deref()).cloned().unwrap_or_else(no_auth)
    }

    /// The request its session began with; `None` once it has gone.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Some(handshake) = socket.handshake() {
    ///     println!("{} came with {:?}", handshake.address(), handshake.header("user-agent"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn handshake(&self) -> Option<Rc<Handshake>> {
        let session = self.session()?;
        Some(self.io.0.state.borrow().sessions.get(&session)?.handshake.clone())
    }

    /// The client's address.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Some(PeerAddress::Ip(address, _port)) = socket.peer() {
    ///     println!("{} is at {address}", socket.id());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer(&self) -> Option<PeerAddress> {
        Some(self.handshake()?.peer)
    }

    /// How its session exchanges packets; `None` once it has gone.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// if socket.transport() == Some(Transport::WebSocket) {
    ///     socket.emit("fast", ())?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn transport(&self) -> Option<Transport> {
        self.io.0.engine.transport(self.session()?)
    }

    /// Makes it leave its namespace; with `close` its whole session ends, with all its sockets. Does nothing in middleware, which
    /// refuses instead.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.emit("kicked", "too many messages")?;
    /// socket.disconnect(true);
    /// # Ok(())
    /// # }
    /// ```
    pub fn disconnect(&self, close: bool) {
        self.io.disconnect(&self.namespace, self.id, close);
    }

    pub(super) fn session(&self) -> Option<SessionKey> {
        Some(self.state(&self.io.0.state.borrow())?.session)
    }

    fn state<'a>(&self, state: &'a State) -> Option<&'a SocketState> {
        state.namespaces.of(&self.namespace)?.socket(&self.id)
    }
}

/// What a client that sends no `auth` has sent, as the official server sees it.
pub(super) fn no_auth() -> Value {
    Value::Object(serde_json::Map::new())
}

impl Io {
    pub(super) fn join_room(&self, nsp: &Rc<Nsp>, id: SocketId, room: &str) -> bool {
        let (change, is_others_own) = {
            let state = &mut *self.0.state.borrow_mut();
            let Some(members) = state.namespaces.of_mut(nsp) else { return false };
            match members.rooms.own(&id) {
                Some(member) => {
                    let change = members.rooms.join(member, id, room);
                    let own = || SocketId::parse(room).is_some_and(|other| members.rooms.own(&other).is_some());
                    (Some(change), change == Change::Created && own())
                }
                // It joins when it is let in.
                None => match members.apart.get_mut(&id).and_then(|apart| apart.join(&id, room)) {
                    Some(Change::Moved) => return true,
                    change => (change, false),
                },
            }
        };
        match change {
            Some(Change::Created) => {
                self.0.want_room(nsp, room);
                self.tell_joined(nsp, id, room, !is_others_own);
            }
            Some(Change::Refused) => {
                tracing::debug!(socket = %id, "a socket is in too many rooms, or the room's name is too long");
                return false;
            }
            Some(Change::Moved) => self.tell_joined(nsp, id, room, false),
            Some(Change::Deleted | Change::Nothing) => {}
            None => return false,
        }
        true
    }

    pub(super) fn leave_room(&self, nsp: &Rc<Nsp>, id: SocketId, room: &str) {
        let change = {
            let state = &mut *self.0.state.borrow_mut();
            let Some(members) = state.namespaces.of_mut(nsp) else { return };
            if let Some(apart) = members.apart.get_mut(&id) {
                apart.leave(room);
            }
            members.rooms.own(&id).map(|member| members.rooms.leave(member, room))
        };
        if change == Some(Change::Deleted) {
            self.0.drop_room(nsp, room);
        }
        if let Some(Change::Moved | Change::Deleted) = change {
            self.tell_left(nsp, id, room);
        }
    }
}
