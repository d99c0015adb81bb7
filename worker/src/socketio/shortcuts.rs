//! What can be said of all sockets of a namespace, without a word between: as in Node, `io.emit(…)` is
//! `io.of("/").emit(…)`.

use std::time::Duration;

use serde::Serialize;

use super::{
    Broadcast, Io, Namespaced, RemoteSocket, RoomNames, ServerEmitError,
    ack::{Answers, RequestError},
};
use crate::{
    adapter::codec::WriteError,
    protocol::{Data, EncodeError},
};

/// The main namespace, in the whole cluster.
impl Io {
    /// The main namespace, which is always there.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// let everybody = io.sockets();
    /// everybody.emit("notice", "we close soon")?;
    /// println!("that went to {}", everybody.name());
    /// # Ok(())
    /// # }
    /// ```
    pub fn sockets(&self) -> Namespaced<'_> {
        self.of("/").expect("the main namespace is declared by whoever makes the server")
    }

    /// To the sockets in a room, or in several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.to("lobby").emit("said", "hello")?;
    /// io.to(["red", "green"]).emit("go", ())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn to<'a>(&'a self, rooms: impl RoomNames<'a>) -> Broadcast<'a> {
        self.sockets().to(rooms)
    }

    /// To all sockets but those in a room, or in several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.except("away").emit("said", "hello")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn except<'a>(&'a self, rooms: impl RoomNames<'a>) -> Broadcast<'a> {
        self.sockets().except(rooms)
    }

    /// To the sockets of this worker.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.local().emit("notice", "this worker leaves soon")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn local(&self) -> Broadcast<'_> {
        self.sockets().local()
    }

    /// To all sockets; may be lost for a client that cannot take it now.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.volatile().emit("load", 0.5)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn volatile(&self) -> Broadcast<'_> {
        self.sockets().volatile()
    }

    /// To all sockets, compressed on its way or not.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// # let picture = Binary::from(vec![0]);
    /// io.compress(false).emit("picture", picture)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn compress(&self, compress: bool) -> Broadcast<'_> {
        self.sockets().compress(compress)
    }

    /// To all sockets, with this long for answers.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(io: Io) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let answers = io.timeout(Duration::from_secs(1)).emit_with_ack("ready?", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(&self, within: Duration) -> Broadcast<'_> {
        self.sockets().sockets().timeout(within)
    }

    /// Sends an event to all sockets. See [`Broadcast::emit`].
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.emit("notice", "we close soon")?;
    /// io.emit("score", ("red", 3))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form.
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<(), EncodeError> {
        self.sockets().emit(event, args)
    }

    /// Sends an event to all sockets and waits for one answer of each. See [`Broadcast::emit_with_ack`].
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(io: Io) -> Result<(), Box<dyn std::error::Error>> {
    /// let answers = io.emit_with_ack("ready?", ()).await?;
    /// println!("{} of {} have answered", answers.answers.len(), answers.expected);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form, or not all answers come in time.
    pub async fn emit_with_ack(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> Result<Answers<Option<Data>>, RequestError<Option<Data>>> {
        self.sockets().emit_with_ack(event, args).await
    }

    /// Sends an event to the other servers of the cluster, not to clients. See [`Namespaced::server_side_emit`].
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.server_side_emit("settings-changed", "colours")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form, or the name may not be sent.
    pub fn server_side_emit(&self, event: &str, args: impl Serialize) -> Result<(), ServerEmitError> {
        self.sockets().server_side_emit(event, args)
    }

    /// Sends an event to the other servers, and waits for an answer of each. See [`Namespaced::server_side_emit_with_ack`].
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(io: Io) -> Result<(), Box<dyn std::error::Error>> {
    /// for load in io.server_side_emit_with_ack("load?", ()).await?.answers.into_iter().flatten() {
    ///     println!("{}", load.decode::<f64>()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form, or not all servers answer in time.
    pub async fn server_side_emit_with_ack(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> Result<Answers<Option<Data>>, RequestError<Option<Data>>> {
        self.sockets().server_side_emit_with_ack(event, args).await
    }

    /// What is known of all sockets. See [`Broadcast::fetch_sockets`].
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(io: Io) -> Result<(), Box<dyn std::error::Error>> {
    /// let people = io.fetch_sockets().await?.answers.len();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where not all servers answer in time.
    pub async fn fetch_sockets(&self) -> Result<Answers<RemoteSocket>, RequestError<RemoteSocket>> {
        self.sockets().fetch_sockets().await
    }

    /// Makes all sockets join a room, or several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.sockets_join("lobby")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn sockets_join<'a>(&self, rooms: impl RoomNames<'a>) -> Result<(), WriteError> {
        self.sockets().sockets_join(rooms)
    }

    /// Makes all sockets leave a room, or several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.sockets_leave(["red", "green"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn sockets_leave<'a>(&self, rooms: impl RoomNames<'a>) -> Result<(), WriteError> {
        self.sockets().sockets_leave(rooms)
    }

    /// Makes all sockets leave the namespace; with `close` their sessions end.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.disconnect_sockets(true)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn disconnect_sockets(&self, close: bool) -> Result<(), WriteError> {
        self.sockets().disconnect_sockets(close)
    }
}

/// All its sockets.
impl<'a> Namespaced<'a> {
    /// To the sockets in a room, or in several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(namespace: &Namespaced) -> Result<(), Box<dyn std::error::Error>> {
    /// namespace.to("lobby").emit("said", "hello")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn to(&self, rooms: impl RoomNames<'a>) -> Broadcast<'a> {
        self.sockets().to(rooms)
    }

    /// To all sockets but those in a room, or in several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(namespace: &Namespaced) -> Result<(), Box<dyn std::error::Error>> {
    /// namespace.except("away").emit("said", "hello")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn except(&self, rooms: impl RoomNames<'a>) -> Broadcast<'a> {
        self.sockets().except(rooms)
    }

    /// To the sockets of this worker.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(namespace: &Namespaced) -> Result<(), Box<dyn std::error::Error>> {
    /// namespace.local().emit("notice", "this worker leaves soon")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn local(&self) -> Broadcast<'a> {
        self.sockets().local()
    }

    /// To all sockets; may be lost for a client that cannot take it now.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(namespace: &Namespaced) -> Result<(), Box<dyn std::error::Error>> {
    /// namespace.volatile().emit("load", 0.5)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn volatile(&self) -> Broadcast<'a> {
        self.sockets().volatile()
    }

    /// To all sockets, compressed on its way or not.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(namespace: &Namespaced) -> Result<(), Box<dyn std::error::Error>> {
    /// # let picture = Binary::from(vec![0]);
    /// namespace.compress(false).emit("picture", picture)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn compress(&self, compress: bool) -> Broadcast<'a> {
        self.sockets().compress(compress)
    }

    /// Sends an event to all sockets. See [`Broadcast::emit`].
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(namespace: &Namespaced) -> Result<(), Box<dyn std::error::Error>> {
    /// namespace.emit("notice", "we close soon")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form.
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<(), EncodeError> {
        self.sockets().emit(event, args)
    }

    /// Sends an event and waits for one answer of each client. See [`Broadcast::emit_with_ack`].
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(namespace: Namespaced<'_>) -> Result<(), Box<dyn std::error::Error>> {
    /// let answers = namespace.emit_with_ack("ready?", ()).await?;
    /// println!("{} of {} have answered", answers.answers.len(), answers.expected);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form, or not all answers come in time.
    pub async fn emit_with_ack(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> Result<Answers<Option<Data>>, RequestError<Option<Data>>> {
        self.sockets().emit_with_ack(event, args).await
    }

    /// What is known of all sockets. See [`Broadcast::fetch_sockets`].
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(namespace: Namespaced<'_>) -> Result<(), Box<dyn std::error::Error>> {
    /// for socket in namespace.fetch_sockets().await?.answers {
    ///     println!("{} is in {:?}", socket.id(), socket.rooms().collect::<Vec<_>>());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where not all servers answer in time.
    pub async fn fetch_sockets(&self) -> Result<Answers<RemoteSocket>, RequestError<RemoteSocket>> {
        self.sockets().fetch_sockets().await
    }

    /// Makes all sockets join a room, or several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(namespace: &Namespaced) -> Result<(), Box<dyn std::error::Error>> {
    /// namespace.sockets_join("lobby")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn sockets_join<'r>(&self, rooms: impl RoomNames<'r>) -> Result<(), WriteError> {
        self.sockets().sockets_join(rooms)
    }

    /// Makes all sockets leave a room, or several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(namespace: &Namespaced) -> Result<(), Box<dyn std::error::Error>> {
    /// namespace.sockets_leave(["red", "green"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn sockets_leave<'r>(&self, rooms: impl RoomNames<'r>) -> Result<(), WriteError> {
        self.sockets().sockets_leave(rooms)
    }

    /// Makes all sockets leave the namespace; with `close` their sessions end.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(namespace: &Namespaced) -> Result<(), Box<dyn std::error::Error>> {
    /// namespace.disconnect_sockets(false)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn disconnect_sockets(&self, close: bool) -> Result<(), WriteError> {
        self.sockets().disconnect_sockets(close)
    }
}
