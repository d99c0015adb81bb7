//! A socket of any server of the cluster, as it was when it was asked for.

use std::{fmt, rc::Rc, time::Duration};

use serde::{Serialize, Serializer, de::DeserializeOwned};

use super::{
    Broadcast, Io, RoomNames,
    ack::{AckError, RequestError},
    namespaces::Nsp,
};
use crate::{
    adapter::codec::{self, Flags, RemoteHandshake, Room, WriteError},
    protocol::{Data, EncodeError},
};

/// What [`Broadcast::fetch_sockets`] found: what is known of a socket, and the way to it wherever it is. It is as it was then; what
/// is done to it reaches it as it is now, if it is there still.
///
/// ```
/// # use roomd_worker::socketio::Io;
/// # async fn example(io: Io) -> Result<(), Box<dyn std::error::Error>> {
/// for socket in io.to("lobby").fetch_sockets().await?.answers {
///     let name: String = socket.data();
///     println!("{} is {name}, from {}", socket.id(), socket.handshake().address);
///     socket.emit("hello", name)?;
///     socket.join("greeted")?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RemoteSocket {
    io: Io,
    namespace: Rc<Nsp>,
    told: codec::RemoteSocket,
}

impl RemoteSocket {
    pub(super) fn new(io: &Io, namespace: &Rc<Nsp>, told: codec::RemoteSocket) -> Self {
        RemoteSocket { io: io.clone(), namespace: namespace.clone(), told }
    }

    /// Its id, which is also the name of a room that it alone is in.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &RemoteSocket) -> Result<(), WriteError> {
    /// println!("{} is here", socket.id());
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(&self) -> &str {
        &self.told.id
    }

    /// The request its session began with, and what it sent as `auth`.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &RemoteSocket) {
    /// let handshake = socket.handshake();
    /// println!("{} since {}, with {:?}", handshake.address, handshake.time, handshake.query.get("room"));
    /// # }
    /// ```
    pub fn handshake(&self) -> &RemoteHandshake {
        &self.told.handshake
    }

    /// The rooms it was in, its own id among them. Where a Node server has a number for a name, it is the number's text.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &RemoteSocket) {
    /// let games: Vec<&str> = socket.rooms().filter(|room| room.starts_with("game:")).collect();
    /// # }
    /// ```
    pub fn rooms(&self) -> impl Iterator<Item = &str> {
        self.told.rooms.iter().filter_map(Room::name)
    }

    /// What the application keeps with it; `T::default()` if nothing, or something of another shape.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &RemoteSocket) {
    /// #[derive(serde::Deserialize, Default)]
    /// struct Person {
    ///     name: String,
    /// }
    ///
    /// let Person { name } = socket.data();
    /// # }
    /// ```
    pub fn data<T: DeserializeOwned + Default>(&self) -> T {
        self.told.data.decode().unwrap_or_default()
    }

    /// Sends an event to it. `args`: a tuple for several, `()` for none, else one.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &RemoteSocket) -> Result<(), EncodeError> {
    /// socket.emit("whisper", ("Ada", "hello"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form.
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<(), EncodeError> {
        self.to_it().emit(event, args)
    }

    /// Sends an event and waits for its answer: the first argument, since no more travels between servers.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(socket: RemoteSocket) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let answer = socket.emit_with_ack("ready?", (), Duration::from_secs(5)).await?;
    /// let is_ready: bool = answer.map_or(Ok(false), |answer| answer.decode())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`AckError`].
    pub async fn emit_with_ack(
        &self,
        event: &str,
        args: impl Serialize,
        within: Duration,
    ) -> Result<Option<Data>, AckError> {
        match self.to_it().timeout(within).emit_with_ack(event, args).await {
            Ok(answers) => answers.answers.into_iter().next().ok_or(AckError::Disconnected),
            Err(RequestError::Timeout { within, .. }) => Err(AckError::Timeout(within)),
            // No other server owes its answer.
            Err(RequestError::Left { partial, .. }) => partial.answers.into_iter().next().ok_or(AckError::Disconnected),
            Err(RequestError::Bus { source, partial }) => {
                partial.answers.into_iter().next().ok_or(AckError::Bus(source))
            }
            Err(RequestError::TooLong { bytes, .. }) => Err(AckError::TooLong(bytes)),
            Err(RequestError::TooManyNamespaces) => Err(AckError::TooManyNamespaces),
            Err(RequestError::Encode(error)) => Err(error.into()),
            Err(RequestError::Write(error)) => Err(error.into()),
        }
    }

    /// Makes it join a room, or several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &RemoteSocket) -> Result<(), WriteError> {
    /// socket.join(["game", "red"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn join<'a>(&self, rooms: impl RoomNames<'a>) -> Result<(), WriteError> {
        self.to_it().sockets_join(rooms)
    }

    /// Makes it leave a room, or several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &RemoteSocket) -> Result<(), WriteError> {
    /// socket.leave("game")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn leave<'a>(&self, rooms: impl RoomNames<'a>) -> Result<(), WriteError> {
        self.to_it().sockets_leave(rooms)
    }

    /// Makes it leave the namespace; with `close` its session ends.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &RemoteSocket) -> Result<(), WriteError> {
    /// socket.disconnect(true)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn disconnect(&self, close: bool) -> Result<(), WriteError> {
        self.to_it().disconnect_sockets(close)
    }

    /// The way to it. A socket's id is a room.
    fn to_it(&self) -> Broadcast<'_> {
        let flags = Flags { expect_single_response: true, ..Flags::default() };
        Broadcast::with_flags(&self.io, self.namespace.clone(), flags, None).to(self.id())
    }
}

/// What is known of it, as servers tell each other.
impl Serialize for RemoteSocket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.told.serialize(serializer)
    }
}

impl fmt::Debug for RemoteSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told.fmt(f)
    }
}
