//! To one client, in a way that is said first.

use std::time::Duration;

use serde::Serialize;

use super::{
    Broadcast, RoomNames, Socket,
    ack::{AckError, Awaited},
    server::count,
};
use crate::{
    adapter::codec::Flags,
    protocol::{Data, EncodeError},
};

/// How something is sent to a client, or by [`to`](ToSocket::to) and its like to others: collected by its methods, used by the
/// last of them. What a [`Socket`]'s methods of the same names begin.
///
/// ```
/// # use std::time::Duration;
/// # use roomd_worker::{protocol::EncodeError, socketio::Socket};
/// # fn example(socket: &Socket) -> Result<(), EncodeError> {
/// socket.volatile().emit("position", (1.5, 2))?;
/// socket.compress(false).to(["red", "green"]).emit("position", (1.5, 2))?;
/// # Ok(())
/// # }
/// # async fn asks(socket: Socket) {
/// let answer = socket.timeout(Duration::from_secs(5)).emit_with_ack("ready?", ()).await;
/// # }
/// ```
#[derive(Clone)]
pub struct ToSocket<'a> {
    socket: &'a Socket,
    flags: Flags,
    within: Option<Duration>,
}

impl<'a> ToSocket<'a> {
    pub(super) fn new(socket: &'a Socket) -> Self {
        ToSocket { socket, flags: Flags::default(), within: None }
    }

    /// May be lost if the client cannot take it now.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.compress(false).volatile().emit("position", (1.5, 2.0))?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Whether it may be compressed on its way; it may if nothing is said.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.volatile().compress(false).emit("position", (1.5, 2.0))?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = Some(compress);
        self
    }

    /// How long to wait for an answer; else as long as the client is there.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(socket: Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let answer = socket.volatile().timeout(Duration::from_secs(1)).emit_with_ack("there?", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn timeout(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }

    /// Not to this client but to the sockets in a room, or in several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.volatile().to(["red", "green"]).emit("position", (1.5, 2.0))?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn to(self, rooms: impl RoomNames<'a>) -> Broadcast<'a> {
        self.broadcast().to(rooms)
    }

    /// Not to this client but to the others of its namespace, except those in a room, or in several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.volatile().except("away").emit("position", (1.5, 2.0))?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn except(self, rooms: impl RoomNames<'a>) -> Broadcast<'a> {
        self.broadcast().except(rooms)
    }

    /// Not to this client but to the others of its namespace on this worker.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.volatile().local().emit("position", (1.5, 2.0))?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn local(self) -> Broadcast<'a> {
        self.broadcast().local()
    }

    /// Not to this client but to the others of its namespace.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.volatile().broadcast().emit("position", (1.5, 2.0))?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn broadcast(self) -> Broadcast<'a> {
        let Socket { io, namespace, .. } = self.socket;
        Broadcast::with_flags(io, namespace.clone(), self.flags, self.within).except(self.socket.id())
    }

    /// Sends an event. `args`: a tuple for several, `()` for none, else one.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.volatile().emit("position", (1.5, 2.0))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form.
    pub fn emit(self, event: &str, args: impl Serialize) -> Result<(), EncodeError> {
        let data = self.socket.io.0.parser.event_data(event, &args)?;
        self.emit_data(&data);
        Ok(())
    }

    /// Sends an event as it came from somebody else: an array of its name and its arguments.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// let event = Data::event("position", &(1.5, 2.0))?;
    /// socket.volatile().emit_data(&event);
    /// # Ok(())
    /// # }
    /// ```
    pub fn emit_data(self, event: &Data) {
        self.send(None, event);
    }

    /// Sends an event and waits for the client's answer. Where the session ends meanwhile, be it since its worker leaves, that is
    /// [`AckError::Disconnected`].
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(socket: Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// match socket.timeout(Duration::from_secs(5)).emit_with_ack("name?", ()).await {
    ///     Ok(answer) => println!("{}", answer.ack_args::<String>()?),
    ///     Err(AckError::Timeout(_)) => socket.disconnect(true),
    ///     Err(error) => println!("{error}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`AckError`].
    pub async fn emit_with_ack(self, event: &str, args: impl Serialize) -> Result<Data, AckError> {
        let data = self.socket.io.0.parser.event_data(event, &args)?;
        let Socket { io, namespace, id } = self.socket;
        let (question, answer) = {
            let state = &mut *io.0.state.borrow_mut();
            let members = state.namespaces.of_mut(namespace).ok_or(AckError::Disconnected)?;
            members.member(id).ok_or(AckError::Disconnected)?;
            members.waiting.ask(*id)
        };
        let _awaited = Awaited { io: io.clone(), namespace: namespace.clone(), question };
        self.send(Some(question.number), &data);
        let answered = match self.within {
            Some(within) => {
                tokio::time::timeout(within, answer).await.map_err(|_too_late| AckError::Timeout(within))?
            }
            None => answer.await,
        };
        answered.map_err(|_dropped| AckError::Disconnected)
    }

    fn send(&self, number: Option<u64>, event: &Data) {
        let Socket { io, .. } = self.socket;
        let Some(session) = self.socket.session() else { return };
        if io.hears_outgoing(&self.socket.namespace) {
            io.tell_outgoing(self.socket, event);
        }
        let packet =
            self.socket.io.0.parser.event(self.socket.namespace(), number, event).compress(self.flags.may_compress());
        count(&io.0.counters.events_out);
        match self.flags.volatile {
            true => io.0.engine.send_volatile(session, &packet),
            false => io.0.engine.send(session, &packet),
        }
    }
}
