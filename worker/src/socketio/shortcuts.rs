//! What can be said of all sockets of a namespace, without a word between: as in Node, `io.emit(…)` is
//! `io.of("/").emit(…)`.

use std::time::Duration;

use serde::Serialize;

use super::{
    Broadcast, Io, Namespaced, RemoteSocket, RoomNames,
    ack::{Answers, RequestError},
};
use crate::{
    adapter::codec::WriteError,
    protocol::{Data, EncodeError},
};

/// The main namespace, in the whole cluster.
impl Io {
    /// The main namespace, which is always there.
    pub fn sockets(&self) -> Namespaced<'_> {
        self.of("/").expect("the main namespace is declared by whoever makes the server")
    }

    /// To the sockets in a room, or in several.
    pub fn to<'a>(&'a self, rooms: impl RoomNames<'a>) -> Broadcast<'a> {
        self.sockets().to(rooms)
    }

    /// To all sockets but those in a room, or in several.
    pub fn except<'a>(&'a self, rooms: impl RoomNames<'a>) -> Broadcast<'a> {
        self.sockets().except(rooms)
    }

    /// To the sockets of this worker.
    pub fn local(&self) -> Broadcast<'_> {
        self.sockets().local()
    }

    /// To all sockets; may be lost for a client that cannot take it now.
    pub fn volatile(&self) -> Broadcast<'_> {
        self.sockets().volatile()
    }

    /// To all sockets, compressed on its way or not.
    pub fn compress(&self, compress: bool) -> Broadcast<'_> {
        self.sockets().compress(compress)
    }

    /// To all sockets, with this long for answers.
    pub fn timeout(&self, within: Duration) -> Broadcast<'_> {
        self.sockets().sockets().timeout(within)
    }

    /// Sends an event to all sockets. See [`Broadcast::emit`].
    ///
    /// # Errors
    /// Where a value has no JSON form.
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<(), EncodeError> {
        self.sockets().emit(event, args)
    }

    /// What is known of all sockets. See [`Broadcast::fetch_sockets`].
    ///
    /// # Errors
    /// Where not all servers answer in time.
    pub async fn fetch_sockets(&self) -> Result<Answers<RemoteSocket>, RequestError<RemoteSocket>> {
        self.sockets().fetch_sockets().await
    }

    /// Makes all sockets join a room, or several.
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn sockets_join<'a>(&self, rooms: impl RoomNames<'a>) -> Result<(), WriteError> {
        self.sockets().sockets_join(rooms)
    }

    /// Makes all sockets leave a room, or several.
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn sockets_leave<'a>(&self, rooms: impl RoomNames<'a>) -> Result<(), WriteError> {
        self.sockets().sockets_leave(rooms)
    }

    /// Makes all sockets leave the namespace; with `close` their sessions end.
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
    pub fn to(&self, rooms: impl RoomNames<'a>) -> Broadcast<'a> {
        self.sockets().to(rooms)
    }

    /// To all sockets but those in a room, or in several.
    pub fn except(&self, rooms: impl RoomNames<'a>) -> Broadcast<'a> {
        self.sockets().except(rooms)
    }

    /// To the sockets of this worker.
    pub fn local(&self) -> Broadcast<'a> {
        self.sockets().local()
    }

    /// To all sockets; may be lost for a client that cannot take it now.
    pub fn volatile(&self) -> Broadcast<'a> {
        self.sockets().volatile()
    }

    /// To all sockets, compressed on its way or not.
    pub fn compress(&self, compress: bool) -> Broadcast<'a> {
        self.sockets().compress(compress)
    }

    /// Sends an event to all sockets. See [`Broadcast::emit`].
    ///
    /// # Errors
    /// Where a value has no JSON form.
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<(), EncodeError> {
        self.sockets().emit(event, args)
    }

    /// Sends an event and waits for one answer of each client. See [`Broadcast::emit_with_ack`].
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
    /// # Errors
    /// Where not all servers answer in time.
    pub async fn fetch_sockets(&self) -> Result<Answers<RemoteSocket>, RequestError<RemoteSocket>> {
        self.sockets().fetch_sockets().await
    }

    /// Makes all sockets join a room, or several.
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn sockets_join<'r>(&self, rooms: impl RoomNames<'r>) -> Result<(), WriteError> {
        self.sockets().sockets_join(rooms)
    }

    /// Makes all sockets leave a room, or several.
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn sockets_leave<'r>(&self, rooms: impl RoomNames<'r>) -> Result<(), WriteError> {
        self.sockets().sockets_leave(rooms)
    }

    /// Makes all sockets leave the namespace; with `close` their sessions end.
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn disconnect_sockets(&self, close: bool) -> Result<(), WriteError> {
        self.sockets().disconnect_sockets(close)
    }
}
