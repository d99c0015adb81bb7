//! To many sockets at once, in the whole cluster.

use std::{rc::Rc, time::Duration};

use serde::Serialize;
use smallvec::SmallVec;

use super::{
    Io, RemoteSocket, RoomNames,
    ack::{Answers, RequestError},
    namespaces::Nsp,
};
use crate::{
    adapter::codec::{Flags, RequestBody, Room, Selector, WriteError},
    protocol::{Data, EncodeError},
};

/// How long a request to other servers waits for its answers, as the official adapter's `requestsTimeout`.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::REQUESTS_TIMEOUT;
///
/// assert_eq!(REQUESTS_TIMEOUT.as_secs(), 5);
/// ```
pub const REQUESTS_TIMEOUT: Duration = Duration::from_secs(5);

/// Whom and how: collected by its methods, used by the last of them.
///
/// Without a room it is all sockets of the namespace; with several it is those in any of them, each once.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{EncodeError, Socket};
///
/// fn example(socket: &Socket) -> Result<(), EncodeError> {
///     // To those in `lobby` or `hall` who are not in `away`, and not to this client.
///     socket.to(["lobby", "hall"]).except("away").emit("said", "hello")?;
///     // One can be kept and used again.
///     let lobby = socket.io().to("lobby");
///     lobby.emit("said", "hello")?;
///     lobby.emit("said", "again")
/// }
/// ```
#[derive(Clone)]
pub struct Broadcast<'a> {
    io: &'a Io,
    namespace: Rc<Nsp>,
    rooms: SmallVec<[&'a str; 2]>,
    except: SmallVec<[&'a str; 2]>,
    flags: Flags,
    local: bool,
    within: Option<Duration>,
}

impl<'a> Broadcast<'a> {
    pub(super) fn new(io: &'a Io, namespace: Rc<Nsp>) -> Self {
        Broadcast::with_flags(io, namespace, Flags::default(), None)
    }

    pub(super) fn with_flags(io: &'a Io, namespace: Rc<Nsp>, flags: Flags, within: Option<Duration>) -> Self {
        Broadcast { io, namespace, rooms: SmallVec::new(), except: SmallVec::new(), flags, local: false, within }
    }

    /// To the sockets in this room, or in one of these, too. A socket's id is a room.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.to("red").to("green").emit("go", ())?;
    /// io.to(["red", "green"]).emit("go", ())?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn to(mut self, rooms: impl RoomNames<'a>) -> Self {
        rooms.each(|room| self.rooms.push(room));
        self
    }

    /// Not to the sockets in this room, or in one of these.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.to("players").except(["out", "away"]).emit("turn", 7)?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn except(mut self, rooms: impl RoomNames<'a>) -> Self {
        rooms.each(|room| self.except.push(room));
        self
    }

    /// Only to the sockets of this worker.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.to("watchers").local().emit("load", 0.5)?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// May be lost for a client that cannot take it now.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// // Who cannot take this position now gets the next one.
    /// io.to("game").volatile().emit("position", (1.5, 2.0))?;
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
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// # let picture = Binary::from(vec![0]);
    /// io.to("viewers").compress(false).emit("picture", picture)?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = Some(compress);
        self
    }

    /// How long to wait for answers; else [`REQUESTS_TIMEOUT`].
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(io: Io) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let found = io.to("lobby").timeout(Duration::from_secs(1)).fetch_sockets().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn timeout(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }

    /// Sends an event. `args`: a tuple for several, `()` for none, else one.
    ///
    /// To serde an array of fixed length, `[1, 2]`, is a tuple, so two arguments; a slice or `Vec` is one.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.to("lobby").emit("said", ("Ada", "hello"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form.
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<(), EncodeError> {
        self.emit_data(&self.io.0.parser.event_data(event, &args)?);
        Ok(())
    }

    /// Sends an event as it came from somebody else: an array of its name and its arguments.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// // Whatever comes goes to the others as it is.
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace.on_any(async |socket: Socket, data: Data| socket.broadcast().emit_data(&data))
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    pub fn emit_data(&self, event: &Data) {
        let nsp = &self.io.0.current(&self.namespace);
        if self.io.hears_outgoing(nsp) {
            self.io.tell_outgoing_to_all(nsp, &self.rooms, &self.except, event);
        }
        self.io.0.broadcast(nsp, &self.rooms, &self.except, self.flags, self.local, event);
    }

    /// Sends an event and waits for one answer of each client, over all servers.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(io: Io) -> Result<(), Box<dyn std::error::Error>> {
    /// let votes = io.to("jury").emit_with_ack("vote", "who wins?").await?;
    /// for vote in votes.answers.into_iter().flatten() {
    ///     println!("{}", vote.decode::<String>()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form, or not all answers come in time: then with those that did.
    pub async fn emit_with_ack(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> Result<Answers<Option<Data>>, RequestError<Option<Data>>> {
        let data = self.io.0.parser.event_data(event, &args)?;
        let within = self.within.unwrap_or(REQUESTS_TIMEOUT);
        self.io.broadcast_with_ack(&self.namespace, self.selector(), self.flags, self.local, data, within).await
    }

    /// What is known of these sockets, over all servers.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(io: Io) -> Result<(), Box<dyn std::error::Error>> {
    /// let found = io.to("lobby").fetch_sockets().await?;
    /// let names: Vec<String> = found.answers.iter().map(RemoteSocket::data).collect();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where not all servers answer in time: then with what those did that answered.
    pub async fn fetch_sockets(&self) -> Result<Answers<RemoteSocket>, RequestError<RemoteSocket>> {
        let within = self.within.unwrap_or(REQUESTS_TIMEOUT);
        let known = |found: Answers<_>| {
            let known = |told| RemoteSocket::new(self.io, &self.namespace, told);
            Answers { answers: found.answers.into_iter().map(known).collect(), expected: found.expected }
        };
        let found = self.io.fetch_all(&self.namespace, self.selector(), self.local, within).await;
        found.map(known).map_err(|error| error.map_partial(known))
    }

    /// Makes these sockets join a room, or several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// // All who are in `lobby`, on all workers.
    /// io.to("lobby").sockets_join(["game", "chat"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn sockets_join<'r>(&self, rooms: impl RoomNames<'r>) -> Result<(), WriteError> {
        let body = RequestBody::Join { target: self.selector(), rooms: owned(rooms) };
        self.io.order(&self.namespace, body, self.local)
    }

    /// Makes these sockets leave a room, or several.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(io: &Io) -> Result<(), Box<dyn std::error::Error>> {
    /// io.to("game").sockets_leave("game")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn sockets_leave<'r>(&self, rooms: impl RoomNames<'r>) -> Result<(), WriteError> {
        let body = RequestBody::Leave { target: self.selector(), rooms: owned(rooms) };
        self.io.order(&self.namespace, body, self.local)
    }

    /// Makes these sockets leave the namespace; with `close` their sessions end.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// // Ends all other sessions of the same user.
    /// socket.to("user:7").disconnect_sockets(true)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the order to the other servers cannot be written.
    pub fn disconnect_sockets(&self, close: bool) -> Result<(), WriteError> {
        let body = RequestBody::Disconnect { target: self.selector(), close };
        self.io.order(&self.namespace, body, self.local)
    }

    fn selector(&self) -> Selector {
        let rooms = |names: &[&str]| names.iter().map(|&name| Room::from(name)).collect();
        Selector { rooms: rooms(&self.rooms), except: rooms(&self.except) }
    }
}

fn owned<'a>(names: impl RoomNames<'a>) -> Vec<Room> {
    let mut rooms = Vec::new();
    names.each(|name| rooms.push(Room::from(name)));
    rooms
}
