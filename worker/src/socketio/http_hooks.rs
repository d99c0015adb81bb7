//! What an application declares about the HTTP of the Engine.IO server: who may begin a session, headers, and refusals.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    task::Poll,
};

use http::HeaderMap;

use super::{
    App, FromCall, Io, Rejection,
    bound::Bound,
    call::{Call, Kind},
    handler::{Erased, Handler, Outcome, erase, erase_logged},
    handlers,
};
use crate::engine::{ConnectionErrorInfo, HeaderHook, Hooks, RequestInfo};

/// How many calls about refused requests may wait for something at once.
const MOST_WAITING: usize = 256;

/// Why a request may not begin a session. Its client is answered with 403 and the message; a WebSocket, as by the official server,
/// with 400 and the message.
///
/// ```
/// # use roomd_worker::socketio::*;
/// let refusal: Refusal = "not from there".into();
/// assert_eq!(refusal, Refusal { message: "not from there".to_owned() });
/// assert_eq!(Refusal::default().message, "");
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What the client is told; if empty, `Forbidden`.
    pub message: String,
}

impl Refusal {
    /// A refusal with a message.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// assert_eq!(Refusal::new("not from there").to_string(), "not from there");
    /// ```
    pub fn new(message: impl Into<String>) -> Self {
        Refusal { message: message.into() }
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Refusal::new(message)
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        Refusal::new(message)
    }
}

/// Handlers of requests that ask for a session.
pub enum OnRequest {}

/// Handlers of requests that were refused.
pub enum OnConnectionError {}

/// A client asks for a session.
pub struct RequestCall<'a> {
    io: &'a Io,
    request: &'a RequestInfo,
}

/// A request was refused.
pub struct ConnectionErrorCall<'a> {
    io: &'a Io,
    error: &'a ConnectionErrorInfo,
}

/// What has been declared.
#[derive(Default)]
pub(crate) struct HttpHooks {
    allow_request: Option<Erased<OnRequest, Result<(), Refusal>>>,
    initial_headers: Vec<HeaderHook>,
    headers: Vec<HeaderHook>,
    connection_error: Option<Erased<OnConnectionError>>,
}

impl App {
    /// Asked before a session begins, by polling or WebSocket, in the worker that will have it; so not for requests of sessions that
    /// there are. The official server's option `allowRequest`. An error refuses the request with its message; so does a panic, with
    /// `Forbidden`.
    ///
    /// It may wait for as long as `connect_timeout`: past that the request is refused. Where the client goes meanwhile, it is dropped
    /// at its `await`. Where the worker is told to leave meanwhile, the request goes on to another one, which asks again.
    ///
    /// CORS holds nobody back from opening a WebSocket: to keep other sites' pages out, look at `Origin` here.
    ///
    /// ```
    /// use roomd_worker::socketio::{App, Refusal, RequestInfo};
    ///
    /// let app = App::new().allow_request(async |request: RequestInfo| match request.header("origin") {
    ///     // Programs other than browsers send none.
    ///     None | Some("https://chat.example") => Ok(()),
    ///     Some(_) => Err(Refusal::new("not from there")),
    /// });
    /// ```
    #[must_use]
    pub fn allow_request<A: 'static, H>(mut self, handler: H) -> Self
    where
        H: Handler<OnRequest, A, Output = Result<(), Refusal>>,
    {
        self.need("allow_request", H::missing);
        self.http_hooks.allow_request = Some(erase("allow_request", handler));
        self
    }

    /// Called for the answer that begins a session, by polling or WebSocket, to add headers to it or change them: the official
    /// `io.engine.on("initial_headers")`. Several are called in the order of declaration.
    ///
    /// ```
    /// use roomd_worker::socketio::{App, HeaderMap, RequestInfo};
    ///
    /// let app = App::new().initial_headers(|headers: &mut HeaderMap, request: &RequestInfo| {
    ///     if request.header("cookie").is_none() {
    ///         headers.append("set-cookie", "seen=1; Path=/".parse().expect("a header's value"));
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn initial_headers(mut self, change: impl Fn(&mut HeaderMap, &RequestInfo) + 'static) -> Self {
        self.http_hooks.initial_headers.push(Box::new(change));
        self
    }

    /// The same for every successful answer of the Engine.IO server, that which begins a session included, behind
    /// [`App::initial_headers`]: the official `io.engine.on("headers")`. It is called for each request by polling, so let it be short.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new().headers(|headers: &mut HeaderMap, _request: &RequestInfo| {
    ///     headers.insert("x-content-type-options", "nosniff".parse().expect("a header's value"));
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn headers(mut self, change: impl Fn(&mut HeaderMap, &RequestInfo) + 'static) -> Self {
        self.http_hooks.headers.push(Box::new(change));
        self
    }

    /// Called when a request to the Engine.IO server was refused, in the worker that refused it: the official
    /// `io.engine.on("connection_error")`. Anybody can cause refusals, so it is told of at most a hundred in a second, and the log of
    /// how many there were besides.
    ///
    /// ```
    /// use roomd_worker::socketio::{App, ConnectionErrorInfo};
    ///
    /// let app = App::new().on_connection_error(async |error: ConnectionErrorInfo| {
    ///     println!("{} {} {} {}", error.request.url(), error.code, error.message, error.context);
    /// });
    /// ```
    #[must_use]
    pub fn on_connection_error<A: 'static, H: Handler<OnConnectionError, A>>(mut self, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.need("connection_error", H::missing);
        self.http_hooks.connection_error = Some(erase_logged("connection_error", handler));
        self
    }
}

impl HttpHooks {
    /// The engine's form of them.
    pub(crate) fn bind(self, io: &Io) -> Hooks {
        let mut hooks = Hooks { initial_headers: self.initial_headers, headers: self.headers, ..Hooks::default() };
        if let Some(handler) = self.allow_request {
            let io = io.clone();
            hooks.allow_request = Some(Box::new(move |request| {
                let (io, handler) = (io.clone(), handler.clone());
                Box::pin(async move { io.decide(&handler, &request).await.map_err(|Refusal { message }| message) })
            }));
        }
        if let Some(handler) = self.connection_error {
            let (io, waiting) = (io.clone(), Bound::new("calls about refused requests wait", MOST_WAITING, usize::MAX));
            hooks.connection_error = Some(Box::new(move |error| {
                let Some(place) = waiting.enter(0) else { return };
                let failures = &io.0.failures;
                let call = ConnectionErrorCall { io: &io, error: &error };
                match handler(&call) {
                    Ok(work) => handlers::run(failures, "connection_error", || work, || place),
                    Err(Rejection(error)) => failures.note_error("connection_error", &error),
                }
            }));
        }
        hooks
    }
}

impl Io {
    async fn decide(
        &self,
        handler: &Erased<OnRequest, Result<(), Refusal>>,
        request: &RequestInfo,
    ) -> Result<(), Refusal> {
        let mut work = None;
        let decided = poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| {
                let work = match &mut work {
                    Some(work) => work,
                    none => none.insert(handler(&RequestCall { io: self, request })?),
                };
                Ok(work.as_mut().poll(cx))
            }));
            match polled {
                Ok(Ok(poll)) => poll.map(Ok),
                Ok(Err(Rejection(error))) => {
                    self.0.failures.note_error("allow_request", &error);
                    Poll::Ready(Ok(Err(Refusal::default())))
                }
                Err(panic) => Poll::Ready(Err(panic)),
            }
        });
        decided.await.unwrap_or_else(|panic| {
            self.0.failures.note_panic("allow_request", &*panic);
            Err(Refusal::default())
        })
    }
}

impl Kind for OnRequest {
    type Call<'a> = RequestCall<'a>;
}

impl Kind for OnConnectionError {
    type Call<'a> = ConnectionErrorCall<'a>;
}

impl Call for RequestCall<'_> {
    fn io(&self) -> &Io {
        self.io
    }
}

impl Call for ConnectionErrorCall<'_> {
    fn io(&self) -> &Io {
        self.io
    }
}

impl FromCall<OnRequest> for RequestInfo {
    fn from_call(call: &RequestCall<'_>) -> Result<Self, Rejection> {
        Ok(call.request.clone())
    }
}

impl FromCall<OnConnectionError> for ConnectionErrorInfo {
    fn from_call(call: &ConnectionErrorCall<'_>) -> Result<Self, Rejection> {
        Ok(call.error.clone())
    }
}
