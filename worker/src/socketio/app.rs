//! What an application declares: namespaces and their handlers.

use std::{borrow::Cow, collections::HashMap, future::Future, pin::Pin, rc::Rc};

use rustc_hash::FxHashMap;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Ack, Io, ServerAck, Socket};
use crate::protocol::{Data, DecodeError};

/// A handler's work. It is polled once at once, so that what it does before it first waits happens in the order of the events.
pub(super) type Work = Pin<Box<dyn Future<Output = ()>>>;

pub(super) type EventHandler = Rc<dyn Fn(Socket, &Data, Ack) -> Result<Work, DecodeError>>;
pub(super) type SocketHandler = Rc<dyn Fn(Socket) -> Work>;
pub(super) type EndHandler = Rc<dyn Fn(Socket, &'static str) -> Work>;
pub(super) type Middleware = Rc<dyn Fn(Connecting) -> Pin<Box<dyn Future<Output = Result<(), ConnectError>>>>>;
pub(super) type ServerHandler = Rc<dyn Fn(Io, &Data, ServerAck) -> Result<Work, DecodeError>>;

/// An application: its namespaces. Built once in each worker, before any client comes; handlers belong to a namespace and
/// never to a client, so that a session can be served by another process.
#[derive(Default)]
pub struct App {
    pub(super) namespaces: HashMap<String, Namespace>,
}

/// The handlers of one namespace.
#[derive(Default, Clone)]
pub struct Namespace {
    pub(super) middlewares: Vec<Middleware>,
    pub(super) connect: Option<SocketHandler>,
    pub(super) events: FxHashMap<String, EventHandler>,
    pub(super) any: Vec<EventHandler>,
    pub(super) disconnecting: Option<EndHandler>,
    pub(super) disconnect: Option<EndHandler>,
    pub(super) server_events: FxHashMap<String, ServerHandler>,
}

/// A client that asks to join a namespace, as middleware sees it.
#[derive(Clone)]
pub struct Connecting {
    /// The socket it will be if all middleware agrees: data can be kept with it, and rooms joined, already.
    pub socket: Socket,
    /// What the client sent as `auth`; `null` if nothing.
    pub auth: Value,
}

/// Why a client may not join: it is told the message and the data.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// For the client's `connect_error` event.
    pub message: String,
    /// Details for it, if any.
    pub data: Option<Value>,
}

impl App {
    /// An application without namespaces: every client is refused.
    pub fn new() -> Self {
        App::default()
    }

    /// Declares a namespace, such as `/` or `/admin`; the slash in front may be left out.
    #[must_use]
    pub fn namespace(mut self, name: &str, declare: impl FnOnce(Namespace) -> Namespace) -> Self {
        let name = full_name(name).into_owned();
        let namespace = declare(self.namespaces.remove(&name).unwrap_or_default());
        self.namespaces.insert(name, namespace);
        self
    }
}

/// A namespace's name as on the wire, where it begins with a slash.
pub(super) fn full_name(name: &str) -> Cow<'_, str> {
    if name.starts_with('/') { name.into() } else { format!("/{name}").into() }
}

impl Namespace {
    /// Asked before a client joins, in the order of declaration; the first error refuses it.
    #[must_use]
    pub fn use_middleware<F, W>(mut self, middleware: F) -> Self
    where
        F: Fn(Connecting) -> W + 'static,
        W: Future<Output = Result<(), ConnectError>> + 'static,
    {
        self.middlewares.push(Rc::new(move |connecting| Box::pin(middleware(connecting))));
        self
    }

    /// Called when a client has joined.
    #[must_use]
    pub fn on_connect<F, W>(mut self, handler: F) -> Self
    where
        F: Fn(Socket) -> W + 'static,
        W: Future<Output = ()> + 'static,
    {
        self.connect = Some(Rc::new(move |socket| Box::pin(handler(socket))));
        self
    }

    /// Called for each event of that name. `T` is what the arguments must be: a tuple for several, `()` for none, else one.
    /// An event of another shape is answered with `{error}` if an answer is wanted, and counted. A handler declared later for the
    /// same name takes the place of the first.
    #[must_use]
    pub fn on<T, F, W>(mut self, event: &str, handler: F) -> Self
    where
        T: DeserializeOwned,
        F: Fn(Socket, T, Ack) -> W + 'static,
        W: Future<Output = ()> + 'static,
    {
        let handler: EventHandler =
            Rc::new(move |socket, data, ack| Ok(Box::pin(handler(socket, data.event_args::<T>()?, ack))));
        self.events.insert(event.to_owned(), handler);
        self
    }

    /// Called for every event, with its name in front of its arguments, before the handler of that name. Several are called in
    /// the order of declaration.
    #[must_use]
    pub fn on_any<F, W>(mut self, handler: F) -> Self
    where
        F: Fn(Socket, Data, Ack) -> W + 'static,
        W: Future<Output = ()> + 'static,
    {
        self.any.push(Rc::new(move |socket, data, ack| Ok(Box::pin(handler(socket, data.clone(), ack)))));
        self
    }

    /// Called when a client leaves, while it is still in its rooms, with the official server's word for the reason.
    #[must_use]
    pub fn on_disconnecting<F, W>(mut self, handler: F) -> Self
    where
        F: Fn(Socket, &'static str) -> W + 'static,
        W: Future<Output = ()> + 'static,
    {
        self.disconnecting = Some(Rc::new(move |socket, reason| Box::pin(handler(socket, reason))));
        self
    }

    /// Called when a client has left, and its rooms with it.
    #[must_use]
    pub fn on_disconnect<F, W>(mut self, handler: F) -> Self
    where
        F: Fn(Socket, &'static str) -> W + 'static,
        W: Future<Output = ()> + 'static,
    {
        self.disconnect = Some(Rc::new(move |socket, reason| Box::pin(handler(socket, reason))));
        self
    }

    /// Called for an event of that name that another server of the cluster sent with `server_side_emit`.
    #[must_use]
    pub fn on_server_side<T, F, W>(mut self, event: &str, handler: F) -> Self
    where
        T: DeserializeOwned,
        F: Fn(Io, T, ServerAck) -> W + 'static,
        W: Future<Output = ()> + 'static,
    {
        let handler: ServerHandler =
            Rc::new(move |io, data, ack| Ok(Box::pin(handler(io, data.event_args::<T>()?, ack))));
        self.server_events.insert(event.to_owned(), handler);
        self
    }
}

impl ConnectError {
    /// A refusal with a message alone.
    pub fn new(message: impl Into<String>) -> Self {
        ConnectError { message: message.into(), data: None }
    }
}
