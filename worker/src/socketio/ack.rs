//! Answers to events, in both directions.

use std::{cell::Cell, ops::Deref, rc::Rc, time::Duration};

use serde::Serialize;

use super::{Io, MAX_CHILD_NAMESPACES, Socket, SocketId, namespaces::Nsp, waiting::Question};
use crate::{
    adapter::codec::{MAX_MESSAGE_BYTES, WriteError},
    protocol::{Data, EncodeError},
};

/// How to answer a client's event. Dropping it without an answer is legal: the client then waits in vain. Where several handlers
/// hear the event, the first answer counts.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{Ack, App, Args};
///
/// let app = App::new().namespace("/", |namespace| {
///     namespace.on("add", async |Args((a, b)): Args<(i64, i64)>, ack: Ack| ack.send(a + b))
/// });
/// # assert!(app.check().is_ok());
/// ```
pub struct Ack {
    io: Io,
    namespace: Rc<Nsp>,
    socket: SocketId,
    id: Option<u64>,
    /// Where several handlers can answer.
    answered: Option<AnsweredOnce>,
}

/// Whether an event is answered that several handlers can answer.
pub(super) type AnsweredOnce = Rc<Cell<bool>>;

/// How to answer another server's event.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Args, ServerAck};
///
/// let app = App::new().namespace("/", |namespace| {
///     namespace.on_server_side("load?", async |Args(()): Args<()>, ack: ServerAck| ack.send(0.5))
/// });
/// # assert!(app.check().is_ok());
/// ```
pub struct ServerAck(pub(super) Option<Box<dyn FnOnce(Option<Data>)>>);

/// Why an answer did not come.
///
/// An answer is awaited where the question was asked, for as long as the client's session lives. A session ends when its worker
/// leaves (a reload, a smaller number of workers) or dies: the client connects again, to another worker, as a new socket with a new id, and
/// does not answer what the old one was asked. Whoever still waits then gets [`AckError::Disconnected`] at once, or the answer if that came
/// before; a task of a worker that has itself died waits no more.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use std::time::Duration;
///
/// use roomd::{AckError, Socket};
///
/// async fn is_alive(socket: &Socket) -> bool {
///     match socket.emit_with_ack("alive?", (), Duration::from_secs(5)).await {
///         Ok(_answer) => true,
///         Err(AckError::Timeout(_) | AckError::Disconnected) => false,
///         Err(error) => panic!("could not ask: {error}"),
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum AckError {
    /// The time was over.
    #[error("get an answer within {0:?}")]
    Timeout(Duration),
    /// The client left, or its session ended with its worker.
    #[error("get an answer: the client has disconnected")]
    Disconnected,
    /// The event could not be sent.
    #[error("send an event")]
    Encode(#[from] EncodeError),
    /// The event could not be written in the adapter's format.
    #[error("send an event to another server")]
    Write(#[from] WriteError),
    /// The bus could not be asked whether another server has the client.
    #[error("reach the other servers")]
    Bus(#[source] crate::bus::BusError),
    /// The client answered, but with more than travels between servers.
    #[error("get an answer of {0} bytes: {MAX_MESSAGE_BYTES} are the most that travel between servers")]
    TooLong(u64),
    /// Nobody is in the child namespace here, and there is no place for it to hear the answer.
    #[error("ask in one more child namespace: this worker has {MAX_CHILD_NAMESPACES} already")]
    TooManyNamespaces,
}

/// An answer, or several, that somebody waits for. Dropped, none is waited for any more.
pub(super) struct Awaited {
    pub(super) io: Io,
    pub(super) namespace: Rc<Nsp>,
    pub(super) question: Question,
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if let Some(members) = self.io.0.state.borrow_mut().namespaces.of_mut(&self.namespace) {
            members.waiting.give_up(self.question);
        }
    }
}

impl Ack {
    /// The answer to an event of a client, by its number if one is wanted.
    pub(super) fn new(socket: &Socket, id: Option<u64>, answered: Option<&AnsweredOnce>) -> Self {
        let Socket { io, namespace, id: socket } = socket.clone();
        Ack { io, namespace, socket, id, answered: answered.cloned() }
    }

    /// Whether the client wants an answer.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn report() -> Vec<u32> { Vec::new() }
    /// # fn example(ack: Ack) -> Result<(), EncodeError> {
    /// if ack.is_wanted() {
    ///     ack.send(report())?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_wanted(&self) -> bool {
        self.id.is_some()
    }

    /// Answers: a tuple for several arguments, `()` for none, else one. Does nothing where no answer is wanted.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace
    ///         .on("now", async |ack: Ack| ack.send("ok"))
    ///         .on("both", async |ack: Ack| ack.send(("ok", 2)))
    ///         .on("done", async |ack: Ack| ack.send(()))
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form.
    pub fn send(self, args: impl Serialize) -> Result<(), EncodeError> {
        if self.is_wanted() {
            let data = self.io.0.parser.ack_data(&args)?;
            self.send_data(&data);
        }
        Ok(())
    }

    /// Answers with arguments as they came from somebody else.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// // Sends what came back to where it came from.
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace.on("echo", async |data: Data, ack: Ack| ack.send_data(&data.without_name()))
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    pub fn send_data(self, data: &Data) {
        let again = self.answered.is_some_and(|answered| answered.replace(true));
        if let Some(id) = self.id.filter(|_| !again) {
            self.io.0.answer(&self.namespace, self.socket, id, data);
        }
    }
}

impl ServerAck {
    /// Whether the other server wants an answer.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn load() -> f64 { 0.5 }
    /// # fn example(ack: ServerAck) -> Result<(), EncodeError> {
    /// if ack.is_wanted() {
    ///     ack.send(load())?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Answers. Only one argument travels between servers.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new().namespace("/", |namespace| {
    ///     namespace.on_server_side("who?", async |io: Io, ack: ServerAck| ack.send(io.worker().to_string()))
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    ///
    /// # Errors
    /// Where the value has no JSON form.
    pub fn send(self, value: impl Serialize) -> Result<(), EncodeError> {
        if let Some(answer) = self.0 {
            answer(Some(Data::value(&value)?));
        }
        Ok(())
    }
}

/// What a request to all servers or clients brought in.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{Io, RequestError};
///
/// async fn count(io: Io) -> Result<usize, RequestError<impl Sized>> {
///     let found = io.to("lobby").fetch_sockets().await?;
///     println!("{} of {} sockets are known", found.answers.len(), found.expected);
///     Ok(found.answers.len())
/// }
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Answers<T> {
    /// The answers, in the order they came.
    pub answers: Vec<T>,
    /// How many were expected, as far as known.
    pub expected: usize,
}

/// They can be counted, looked at and iterated over as a slice.
impl<T> Deref for Answers<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.answers
    }
}

impl<T> IntoIterator for Answers<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.answers.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Answers<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.answers.iter()
    }
}

/// Why a request to all servers or clients did not bring all answers in.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{Io, RequestError};
///
/// async fn count(io: Io) -> usize {
///     match io.to("lobby").fetch_sockets().await {
///         Ok(found) => found.answers.len(),
///         // What the others have said is better than nothing.
///         Err(RequestError::Timeout { partial, .. } | RequestError::Left { partial, .. }) => partial.answers.len(),
///         Err(error) => {
///             eprintln!("{error}");
///             0
///         }
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum RequestError<T> {
    /// Some did not come in time.
    #[error("get all answers within {within:?}: only {} came of {}", partial.answers.len(), partial.expected)]
    Timeout {
        /// How long it was waited.
        within: Duration,
        /// What did come.
        partial: Answers<T>,
    },
    /// Some servers left, or died, before they or their clients had answered: what they owed will not come, and all others have
    /// answered. This ends a request early, about a second after that has happened; a server that hangs and is there still is
    /// waited for until the time is over.
    ///
    /// Servers with the official adapter do not say who answers. Where two or more of them were asked and one has gone, answers
    /// that are lacking can be the gone one's, or another's that is slow: then a second without any answer ends the request.
    #[error("get all answers: {} left before, and {} came of {}", left.join(", "), partial.answers.len(), partial.expected)]
    Left {
        /// The servers that left: of roomd's workers over the embedded bus slot and generation (`2.1`), over Redis the name that the
        /// adapter gives itself, `unknown` where it gives none.
        left: Vec<String>,
        /// What did come.
        partial: Answers<T>,
    },
    /// The bus could not be asked how many servers there are, or went down while answers were under way: they may be lost.
    #[error("reach the other servers: only {} answers came", partial.answers.len())]
    Bus {
        /// Why.
        source: crate::bus::BusError,
        /// What came.
        partial: Answers<T>,
    },
    /// All answered, but not all answers were short enough to travel: with fewer clients or less data they would be.
    #[error("get an answer of {bytes} bytes: {MAX_MESSAGE_BYTES} are the most that travel between servers")]
    TooLong {
        /// How long one is.
        bytes: u64,
        /// The others.
        partial: Answers<T>,
    },
    /// Nobody is in the child namespace here, and there is no place for it to hear the answers.
    #[error("ask in one more child namespace: this worker has {MAX_CHILD_NAMESPACES} already")]
    TooManyNamespaces,
    /// The request could not be written.
    #[error("write the request")]
    Encode(#[from] EncodeError),
    /// The request could not be written in the adapter's format.
    #[error("write the request")]
    Write(#[from] WriteError),
}

impl<T> RequestError<T> {
    /// The answers that did come, for whoever can do with those: `found.unwrap_or_else(RequestError::into_partial)`. Empty where
    /// the request could not be sent.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// use std::time::Duration;
    ///
    /// let partial = Answers { answers: vec!["a", "b"], expected: 3 };
    /// let late = RequestError::Timeout { within: Duration::from_secs(5), partial };
    /// assert_eq!(late.to_string(), "get all answers within 5s: only 2 came of 3");
    /// assert_eq!(late.into_partial().answers, ["a", "b"]);
    /// ```
    pub fn into_partial(self) -> Answers<T> {
        match self {
            RequestError::Timeout { partial, .. }
            | RequestError::Left { partial, .. }
            | RequestError::Bus { partial, .. }
            | RequestError::TooLong { partial, .. } => partial,
            RequestError::TooManyNamespaces | RequestError::Encode(_) | RequestError::Write(_) => {
                Answers { answers: Vec::new(), expected: 0 }
            }
        }
    }

    /// The error alone. Errors that gather all others, such as `anyhow::Error`, must be `Send`, and what
    /// [`fetch_sockets`](super::Broadcast::fetch_sockets) found is not.
    ///
    /// ```
    /// # use roomd_worker::socketio::{Io, RequestError};
    /// # async fn example(io: Io) -> Result<(), Box<dyn std::error::Error + Send + Sync>> { // as anyhow::Result
    /// let here = io.to("lobby").fetch_sockets().await.map_err(RequestError::without_answers)?;
    /// println!("{} are in the lobby", here.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn without_answers(self) -> RequestError<()> {
        self.map_partial(|partial| Answers { answers: vec![(); partial.answers.len()], expected: partial.expected })
    }

    /// The same with other partial answers, where there are some.
    pub(super) fn map_partial<U>(self, change: impl FnOnce(Answers<T>) -> Answers<U>) -> RequestError<U> {
        match self {
            RequestError::Timeout { within, partial } => RequestError::Timeout { within, partial: change(partial) },
            RequestError::Left { left, partial } => RequestError::Left { left, partial: change(partial) },
            RequestError::Bus { source, partial } => RequestError::Bus { source, partial: change(partial) },
            RequestError::TooLong { bytes, partial } => RequestError::TooLong { bytes, partial: change(partial) },
            RequestError::TooManyNamespaces => RequestError::TooManyNamespaces,
            RequestError::Encode(error) => RequestError::Encode(error),
            RequestError::Write(error) => RequestError::Write(error),
        }
    }
}
