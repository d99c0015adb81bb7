//! What a handler can ask for, by the types of its arguments, in any order and number: the table is in [`FromCall`].

use std::{any::type_name, fmt, ops::Deref, rc::Rc};

use serde::de::DeserializeOwned;

use super::{
    Ack, Io, ServerAck, Socket,
    call::{
        AskedCall, Call, ConnectCall, ConnectingCall, DataCall, DisconnectCall, EventCall, Kind, OnAsked, OnConnect,
        OnConnecting, OnDisconnect, OnEvent, OnServerSide, ServerSideCall, SocketCall,
    },
    states::States,
};
use crate::protocol::{Data, DecodeError};

/// A type that a handler of this kind can have for an argument. A handler has up to eight, in any order:
///
/// | argument | is | in handlers of |
/// | --- | --- | --- |
/// | [`Socket`] | the client | events, connect, disconnect, middleware, rooms that it joins or leaves |
/// | [`Args<T>`] | what was sent: a tuple for several, `()` for none, else one | events, also those of servers, and their middleware |
/// | [`Data`] | the event as it came, its name in front | the same, and what is sent to clients |
/// | [`EventName`] | the event's name | the same |
/// | [`Ack`] | how to answer | events: [`on`](super::Namespace::on), [`on_any`](super::Namespace::on_any) |
/// | [`ServerAck`] | how to answer | events of servers |
/// | [`Auth<T>`] | what the client sent as `auth` | middleware, connect, [`App::namespace_when`](super::App::namespace_when) |
/// | [`Name`] | the namespace that a client asks for | [`App::namespace_when`](super::App::namespace_when) |
/// | [`Reason`] | why it leaves | disconnect |
/// | [`RequestInfo`](super::RequestInfo) | the request for a session | allow_request |
/// | [`ConnectionErrorInfo`](super::ConnectionErrorInfo) | what was refused, and why | connection_error |
/// | [`Room`](super::Room) | the room's name | rooms that begin, end, are joined or left |
/// | [`State<T>`] | what [`App::state`](super::App::state) was given | all |
/// | [`Io`] | the server | all |
///
/// A handler that asks for something else does not compile: "no handler of this kind". The name of the namespace is
/// [`Socket::namespace`] wherever there is a socket.
///
/// An argument of one's own:
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{
///     App, FromCall, Rejection,
///     call::{Kind, SocketCall},
/// };
///
/// /// Who a client is, as middleware has found out.
/// struct User(String);
///
/// impl<K: Kind> FromCall<K> for User
/// where
///     for<'a> K::Call<'a>: SocketCall,
/// {
///     fn from_call(call: &K::Call<'_>) -> Result<Self, Rejection> {
///         let name: Option<String> = call.socket().data();
///         name.map(User).ok_or_else(|| Rejection("nobody has logged in".to_owned()))
///     }
/// }
///
/// let app = App::new().namespace("/", |namespace| {
///     namespace.on("buy", async |User(name): User| println!("{name} buys"))
/// });
/// # assert!(app.check().is_ok());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no argument of this kind of handler",
    note = "`roomd::FromCall` has the table of what goes with which handler"
)]
pub trait FromCall<K: Kind>: Sized + 'static {
    /// Takes it from a call.
    ///
    /// # Errors
    /// Where the call does not have it: the handler is not called then. Who sent an event is told so, if an answer is wanted; a
    /// client that asks to join is refused.
    fn from_call(call: &K::Call<'_>) -> Result<Self, Rejection>;

    /// The type of a state that it needs and the application has not, found at the start.
    fn missing(_states: &States) -> Option<&'static str> {
        None
    }
}

/// Why a handler could not be called.
///
/// ```
/// # use roomd_worker::socketio::*;
/// assert_eq!(Rejection("nobody has logged in".to_owned()).to_string(), "nobody has logged in");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Rejection(pub String);

/// The arguments of an event: a tuple for several, `()` for none, else one. What is missing reads as `null`, what is too much is
/// left out. An array of fixed length is a tuple to serde; a `Vec` is one argument. Bytes are [`Binary`](crate::protocol::Binary), also
/// inside other types; a [`serde_json::Value`] has no place for them, and has placeholders there.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Args};
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     item: String,
///     #[serde(default)]
///     count: u32,
/// }
///
/// let app = App::new().namespace("/", |namespace| {
///     namespace
///         // socket.emit("buy", { item: "tea" })
///         .on("buy", async |Args(order): Args<Order>| println!("{} x {}", order.count, order.item))
///         // socket.emit("move", 3, 4); the second may be missing
///         .on("move", async |Args((x, y)): Args<(f64, Option<f64>)>| println!("{x} {y:?}"))
///         // socket.emit("all", [1, 2, 3])
///         .on("all", async |Args(numbers): Args<Vec<i64>>| println!("{numbers:?}"))
/// });
/// # assert!(app.check().is_ok());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Args<T>(pub T);

/// An event's name.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, EventName};
///
/// let app = App::new().namespace("/", |namespace| {
///     namespace.on_any(async |EventName(event): EventName| println!("{event} came"))
/// });
/// # assert!(app.check().is_ok());
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventName(pub String);

/// What the client sent as `auth` when it joined; an empty object if nothing.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Auth, ConnectError};
///
/// #[derive(serde::Deserialize)]
/// struct Login {
///     // A client that sends none is refused, unless this is an `Option`.
///     token: String,
/// }
///
/// // io("…", { auth: { token: "secret" } })
/// let app = App::new().namespace("/", |namespace| {
///     namespace.use_middleware(async |Auth(login): Auth<Login>| {
///         if login.token == "secret" { Ok(()) } else { Err(ConnectError::new("who are you?")) }
///     })
/// });
/// # assert!(app.check().is_ok());
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Auth<T>(pub T);

/// The name of the namespace that a client asks for, its slash in front.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Name};
///
/// let is_short = async |name: Name| name.len() < 20 && name.starts_with("/room-");
/// let app = App::new().namespace_when(is_short, |namespace| namespace);
/// # assert!(app.check().is_ok());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Name(pub String);

/// Why a client left, in the official server's words.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Reason, Socket};
///
/// let app = App::new().namespace("/", |namespace| {
///     namespace.on_disconnect(async |socket: Socket, Reason(reason): Reason| match reason {
///         "client namespace disconnect" => println!("{} has said goodbye", socket.id()),
///         "transport close" | "ping timeout" => println!("{} is lost", socket.id()),
///         _ => {}
///     })
/// });
/// # assert!(app.check().is_ok());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reason(pub &'static str);

/// Something of the application's own, one for each worker, that [`App::state`](super::App::state) was given.
///
/// Its fields and methods are reached as if it were the thing itself; its own field, as in the pattern `State(lobby)`, is the `Rc`. What
/// changes is in a `Cell` or `RefCell`, which needs no lock, since a worker is one thread; let no borrow last over an `.await`.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use std::{cell::RefCell, collections::HashMap};
///
/// use roomd::{App, Args, Socket, State};
///
/// type Scores = RefCell<HashMap<String, u32>>;
///
/// let app = App::new().state(Scores::default()).namespace("/", |namespace| {
///     namespace.on("won", async |socket: Socket, Args(player): Args<String>, scores: State<Scores>| {
///         // No borrow is held where something is awaited.
///         let score = *scores.borrow_mut().entry(player).and_modify(|score| *score += 1).or_insert(1);
///         socket.emit("score", score)
///     })
/// });
/// # assert!(app.check().is_ok());
/// ```
#[derive(Debug)]
pub struct State<T>(pub Rc<T>);

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        State(self.0.clone())
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Rejection {
    fn shape(what: &str, error: &dyn std::error::Error) -> Self {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Rejection(format!("{what} of the wrong shape: {cause}"))
    }
}

impl<K: Kind> FromCall<K> for Io {
    fn from_call(call: &K::Call<'_>) -> Result<Self, Rejection> {
        Ok(call.io().clone())
    }
}

impl<K: Kind> FromCall<K> for Socket
where
    for<'a> K::Call<'a>: SocketCall,
{
    fn from_call(call: &K::Call<'_>) -> Result<Self, Rejection> {
        Ok(call.socket().clone())
    }
}

impl<K: Kind, T: 'static> FromCall<K> for State<T> {
    fn from_call(call: &K::Call<'_>) -> Result<Self, Rejection> {
        let state = call.io().0.states.get::<T>();
        state.map(State).ok_or_else(|| Rejection(format!("the application has no state {}", type_name::<T>())))
    }

    fn missing(states: &States) -> Option<&'static str> {
        states.get::<T>().is_none().then(type_name::<T>)
    }
}

impl<K: Kind> FromCall<K> for Data
where
    for<'a> K::Call<'a>: DataCall,
{
    fn from_call(call: &K::Call<'_>) -> Result<Self, Rejection> {
        Ok(call.data().clone())
    }
}

impl<K: Kind, T: DeserializeOwned + 'static> FromCall<K> for Args<T>
where
    for<'a> K::Call<'a>: DataCall,
{
    fn from_call(call: &K::Call<'_>) -> Result<Self, Rejection> {
        let args: Result<T, DecodeError> = call.data().event_args();
        args.map(Args).map_err(|error| Rejection::shape("the event's arguments are", &error))
    }
}

impl<K: Kind> FromCall<K> for EventName
where
    for<'a> K::Call<'a>: DataCall,
{
    fn from_call(call: &K::Call<'_>) -> Result<Self, Rejection> {
        let name = call.data().elements().next().and_then(|name| serde_json::from_str(name).ok());
        name.map(EventName).ok_or_else(|| Rejection("the event has no text for a name".to_owned()))
    }
}

impl FromCall<OnEvent> for Ack {
    fn from_call(call: &EventCall<'_>) -> Result<Self, Rejection> {
        Ok(Ack::new(call.socket, call.id, call.answered))
    }
}

impl FromCall<OnServerSide> for ServerAck {
    fn from_call(call: &ServerSideCall<'_>) -> Result<Self, Rejection> {
        Ok(call.ack.take().unwrap_or(ServerAck(None)))
    }
}

impl FromCall<OnAsked> for Name {
    fn from_call(call: &AskedCall<'_>) -> Result<Self, Rejection> {
        Ok(Name(call.name.to_owned()))
    }
}

impl<T: DeserializeOwned + 'static> FromCall<OnAsked> for Auth<T> {
    fn from_call(call: &AskedCall<'_>) -> Result<Self, Rejection> {
        T::deserialize(call.auth).map(Auth).map_err(|error| Rejection::shape("`auth` is", &error))
    }
}

impl FromCall<OnDisconnect> for Reason {
    fn from_call(call: &DisconnectCall<'_>) -> Result<Self, Rejection> {
        Ok(Reason(call.reason))
    }
}

impl<T: DeserializeOwned + 'static> FromCall<OnConnecting> for Auth<T> {
    fn from_call(call: &ConnectingCall<'_>) -> Result<Self, Rejection> {
        T::deserialize(call.auth).map(Auth).map_err(|error| Rejection::shape("`auth` is", &error))
    }
}

impl<T: DeserializeOwned + 'static> FromCall<OnConnect> for Auth<T> {
    fn from_call(call: &ConnectCall<'_>) -> Result<Self, Rejection> {
        T::deserialize(call.socket.auth()).map(Auth).map_err(|error| Rejection::shape("`auth` is", &error))
    }
}
