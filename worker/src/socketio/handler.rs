//! Functions as handlers.

use std::{fmt::Display, future::Future, pin::Pin, rc::Rc};

use super::{
    FromCall, Rejection, Verdict,
    call::{Call, Kind},
    states::States,
};
use crate::running;

/// A handler's work. It is polled once at once, so that what it does before it first waits happens in the order of the events.
pub(super) type Work<O = ()> = Pin<Box<dyn Future<Output = O>>>;

/// An async function, closure, or function that returns a future, whose arguments can all be taken from a call of this kind (up
/// to eight; see [`FromCall`]).
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Args, Socket};
///
/// async fn leave(socket: Socket, Args(room): Args<String>) {
///     socket.leave(&room);
/// }
///
/// let app = App::new().namespace("/", |namespace| {
///     namespace
///         .on("leave", leave)
///         .on("hello", async |socket: Socket| socket.emit("hello", "you"))
///         .on("ignored", async || {})
/// });
/// # assert!(app.check().is_ok());
/// ```
#[diagnostic::on_unimplemented(
    message = "this is no handler of this kind (`{K}`)",
    label = "an async function whose arguments can all be taken from the call is wanted",
    note = "it is `async`, and takes its arguments by value: `async |socket: Socket, Args(text): Args<String>| …`",
    note = "`OnEvent`: Socket, Args<T> (what was sent, T: Deserialize), Ack, EventName, Data",
    note = "`OnConnecting`, `OnConnect`: Socket, Auth<T> (what the client sent as `auth`, T: Deserialize)",
    note = "`OnPacket`: Socket, Args<T>, EventName, Data; `OnDisconnect`: Socket, Reason; all: State<T>, Io",
    note = "`roomd::FromCall` has the table of all"
)]
pub trait Handler<K: Kind, A>: 'static {
    /// What it returns.
    type Output;

    /// The arguments.
    ///
    /// # Errors
    /// See [`FromCall::from_call`].
    fn arguments(call: &K::Call<'_>) -> Result<A, Rejection>;

    /// The type of a state that one of them needs and the application has not.
    fn missing(states: &States) -> Option<&'static str>;

    /// Calls it.
    fn call(self: Rc<Self>, arguments: A) -> impl Future<Output = Self::Output> + 'static;
}

/// What a handler may return: nothing, or whether it succeeded. An error is logged and counted, and harms nothing else.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{Ack, App, Args};
///
/// let app = App::new().namespace("/", |namespace| {
///     namespace.on("read", async |Args(name): Args<String>, ack: Ack| {
///         let number: u32 = name.parse()?;
///         ack.send(number)?;
///         Ok::<_, Box<dyn std::error::Error>>(())
///     })
/// });
/// # assert!(app.check().is_ok());
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler returns `()`, or a `Result<(), E>` whose error can be displayed",
    label = "returned here is `{Self}`"
)]
pub trait Outcome: 'static {
    /// The error, if it is one.
    fn error(self) -> Option<String>;
}

impl Outcome for () {
    fn error(self) -> Option<String> {
        None
    }
}

/// Of a handler that never returns, such as a loop.
impl Outcome for Never {
    fn error(self) -> Option<String> {
        match self {}
    }
}

/// `!`, as the type that such a function returns: it has no name in stable Rust.
type Never = <fn() -> ! as Returns>::Output;

/// A function's type, as the way to that of what it returns.
pub trait Returns {
    /// What it returns.
    type Output;
}

impl<O> Returns for fn() -> O {
    type Output = O;
}

impl<E: Display + 'static> Outcome for Result<(), E> {
    fn error(self) -> Option<String> {
        // The longer form tells the causes too, where an error has one (anyhow).
        self.err().map(|error| format!("{error:#}"))
    }
}

macro_rules! handlers {
    ($($argument:ident)*) => {
        #[allow(non_snake_case)]
        impl<K: Kind, F, O: 'static, $($argument: FromCall<K>),*> Handler<K, ($($argument,)*)> for F
        where
            F: AsyncFn($($argument),*) -> O + 'static,
        {
            type Output = O;

            fn arguments(_call: &K::Call<'_>) -> Result<($($argument,)*), Rejection> {
                Ok(($($argument::from_call(_call)?,)*))
            }

            fn missing(_states: &States) -> Option<&'static str> {
                None$(.or_else(|| $argument::missing(_states)))*
            }

            async fn call(self: Rc<Self>, ($($argument,)*): ($($argument,)*)) -> O {
                self($($argument),*).await
            }
        }
    };
}

handlers!();
handlers!(A);
handlers!(A B);
handlers!(A B C);
handlers!(A B C D);
handlers!(A B C D E);
handlers!(A B C D E G);
handlers!(A B C D E G H);
handlers!(A B C D E G H I);

/// A handler of whatever type.
pub(super) type Erased<K, O = ()> = Rc<dyn Fn(&<K as Kind>::Call<'_>) -> Result<Work<O>, Rejection>>;

/// Forgets a handler's type, but not what it returns.
pub(super) fn erase<K: Kind, A: 'static, H: Handler<K, A>>(what: &str, handler: H) -> Erased<K, H::Output> {
    let (handler, id) = (Rc::new(handler), running::declare(what));
    Rc::new(move |call| {
        let arguments = H::arguments(call)?;
        Ok(Box::pin(running::noted(id, handler.clone().call(arguments))))
    })
}

/// Forgets a handler's type, and logs and counts the errors it returns as those of `what`.
pub(super) fn erase_logged<K: Kind, A: 'static, H: Handler<K, A>>(what: &str, handler: H) -> Erased<K>
where
    H::Output: Outcome,
{
    let (handler, id, what): (_, _, Rc<str>) = (Rc::new(handler), running::declare(what), what.into());
    Rc::new(move |call| {
        let arguments = H::arguments(call)?;
        let (handler, what, failures) = (handler.clone(), what.clone(), call.io().0.failures.clone());
        Ok(Box::pin(async move {
            if let Some(error) = running::noted(id, handler.call(arguments)).await.error() {
                failures.note_error(&what, &error);
            }
        }))
    })
}

/// Forgets the type of a function that decides something; an error is a no, and is logged and counted.
pub(super) fn erase_verdict<K: Kind, A: 'static, H: Handler<K, A>>(what: &'static str, handler: H) -> Erased<K, bool>
where
    H::Output: Verdict,
{
    let (handler, id) = (Rc::new(handler), running::declare(what));
    Rc::new(move |call| {
        let arguments = H::arguments(call)?;
        let (handler, failures) = (handler.clone(), call.io().0.failures.clone());
        Ok(Box::pin(async move {
            running::noted(id, handler.call(arguments)).await.verdict().unwrap_or_else(|error| {
                failures.note_error(what, &error);
                false
            })
        }))
    })
}

/// Forgets a handler's type; what comes out is its error.
pub(super) fn erase_outcome<K: Kind, A: 'static, H: Handler<K, A>>(what: &str, handler: H) -> Erased<K, Option<String>>
where
    H::Output: Outcome,
{
    let (handler, id) = (Rc::new(handler), running::declare(what));
    Rc::new(move |call| {
        let arguments = H::arguments(call)?;
        let handler = handler.clone();
        Ok(Box::pin(async move { running::noted(id, handler.call(arguments)).await.error() }))
    })
}
