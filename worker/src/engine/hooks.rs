//! Where the application has a say in HTTP: who may begin a session, which headers are sent, and what was refused.

use std::{
    borrow::Cow,
    cell::Cell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::{Duration, Instant},
};

use http::{HeaderMap, Method, Uri, request::Parts};
use roomd_wire::PeerAddress;
use serde_json::{Value, json};

use super::{counters::Cause, server::Engine};
use crate::{
    bus::LocalFuture,
    protocol::admission::{Misfit, Query, Refusal, decoded},
    protocol::session::Transport,
};

/// How many refusals a second the application is told of at the most: anybody can cause them.
const MOST_ERRORS: u32 = 100;

/// The head of a request to the Engine.IO server. A clone is another handle to it.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Refusal, RequestInfo};
///
/// let app = App::new().allow_request(async |request: RequestInfo| {
///     if request.query("token").as_deref() == Some("secret") { Ok(()) } else { Err(Refusal::new("who are you?")) }
/// });
/// # assert!(app.check().is_ok());
/// ```
#[derive(Clone)]
pub struct RequestInfo(Rc<Told>);

struct Told {
    peer: PeerAddress,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

/// A request that was refused, as the official server's event `connection_error` has it.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, ConnectionErrorInfo};
///
/// let app = App::new().on_connection_error(async |error: ConnectionErrorInfo| {
///     // Such as `1 Session ID unknown {"sid":"…"}`.
///     println!("{} {} {}", error.code, error.message, error.context);
/// });
/// # assert!(app.check().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct ConnectionErrorInfo {
    /// Engine.IO's number: 0 for an unknown transport, 1 for an unknown session, 2 for a bad method of a handshake, 3 for a bad
    /// request, 4 for one that the application did not allow, 5 for an unsupported version of the protocol.
    pub code: u8,
    /// Engine.IO's words for it.
    pub message: &'static str,
    /// Details, with the official server's keys: `transport`, `sid`, `method`, `name`, `message`, `protocol` and so on.
    pub context: Value,
    /// The request.
    pub request: RequestInfo,
}

/// Changes the headers of an answer.
pub type HeaderHook = Box<dyn Fn(&mut HeaderMap, &RequestInfo)>;

/// Decides on a request; the error is the message, empty for the usual one.
pub type AllowRequest = dyn Fn(RequestInfo) -> LocalFuture<Result<(), String>>;

/// What an application has declared; what it has not costs nothing.
#[derive(Default)]
pub struct Hooks {
    /// For requests that ask for a session.
    pub allow_request: Option<Box<AllowRequest>>,
    /// For the answer that begins a session.
    pub initial_headers: Vec<HeaderHook>,
    /// For every successful answer.
    pub headers: Vec<HeaderHook>,
    /// Told of refusals.
    pub connection_error: Option<Box<dyn Fn(ConnectionErrorInfo)>>,
}

/// Counts what the application is told within a second.
#[derive(Default)]
pub(super) struct Rate {
    since: Cell<Option<Instant>>,
    told: Cell<u32>,
    untold: Cell<u32>,
}

/// Why a request is refused, with all that is said of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Denied {
    /// By the protocol's rules.
    ByRule(Refusal),
    /// By the application, with its words.
    ByApplication(String),
}

impl RequestInfo {
    fn new(engine: &Engine, peer: PeerAddress, head: &Parts) -> RequestInfo {
        RequestInfo(Rc::new(Told {
            peer: engine.0.proxies.client(peer, &head.headers),
            method: head.method.clone(),
            uri: head.uri.clone(),
            headers: head.headers.clone(),
        }))
    }

    /// The client's address, from `X-Forwarded-For` where the peer is a trusted proxy. Of a request that another worker passed on, and
    /// that does not begin a session, it is not known.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(request: &RequestInfo) {
    /// let is_here = matches!(request.peer(), PeerAddress::Ip(address, _) if address.is_loopback());
    /// # }
    /// ```
    pub fn peer(&self) -> PeerAddress {
        self.0.peer
    }

    /// The method.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(request: &RequestInfo) {
    /// println!("{} {}", request.method(), request.url());
    /// # }
    /// ```
    pub fn method(&self) -> &Method {
        &self.0.method
    }

    /// The request target as sent.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(request: &RequestInfo) {
    /// // Such as `/socket.io/?EIO=4&transport=websocket`.
    /// println!("{}", request.url());
    /// # }
    /// ```
    pub fn url(&self) -> &str {
        self.0.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// The headers.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(request: &RequestInfo) {
    /// let cookies = request.headers().get_all("cookie").iter().count();
    /// # }
    /// ```
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The value of a header, the first if it came more than once; `None` also where it is no text.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(request: &RequestInfo) {
    /// let is_ours = request.header("origin") == Some("https://chat.example");
    /// # }
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The value of a key of the query, its escapes read; the last if it came more than once.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(request: &RequestInfo) {
    /// let is_known = request.query("token").is_some_and(|token| token == "secret");
    /// # }
    /// ```
    pub fn query(&self, key: &str) -> Option<Cow<'_, str>> {
        let pairs = form_urlencoded::parse(self.0.uri.query().unwrap_or_default().as_bytes());
        pairs.filter(|(name, _)| name == key).last().map(|(_, value)| value)
    }
}

impl fmt::Debug for RequestInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers can hold passwords.
        f.debug_struct("RequestInfo")
            .field("peer", &self.0.peer)
            .field("method", &self.0.method)
            .finish_non_exhaustive()
    }
}

impl Denied {
    pub(super) fn code(&self) -> u8 {
        match self {
            Denied::ByRule(refusal) => refusal.code(),
            Denied::ByApplication(_) => 4,
        }
    }

    /// How it is counted.
    fn cause(&self) -> Cause {
        match self {
            Denied::ByRule(Refusal::UnknownTransport) => Cause::UnknownTransport,
            Denied::ByRule(Refusal::UnknownSession) => Cause::UnknownSession,
            Denied::ByRule(Refusal::BadMethod) => Cause::BadMethod,
            Denied::ByRule(Refusal::BadRequest(_)) => Cause::BadRequest,
            Denied::ByRule(Refusal::UnsupportedVersion) => Cause::UnsupportedVersion,
            Denied::ByApplication(_) => Cause::Forbidden,
        }
    }

    /// What the client is told.
    pub(super) fn message(&self) -> &str {
        match self {
            Denied::ByApplication(message) if !message.is_empty() => message,
            _ => self.name(),
        }
    }

    /// Engine.IO's words for it.
    fn name(&self) -> &'static str {
        match self {
            Denied::ByRule(refusal) => refusal.message(),
            Denied::ByApplication(_) => "Forbidden",
        }
    }

    /// The body of an HTTP refusal.
    pub(super) fn json(&self) -> String {
        json!({"code": self.code(), "message": self.message()}).to_string()
    }

    fn context(&self, head: &Parts) -> Value {
        let target = decoded(head.uri.query().unwrap_or_default());
        let query = Query::parse(&target);
        match self {
            Denied::ByApplication(message) if message.is_empty() => json!({}),
            Denied::ByApplication(message) => json!({"message": message}),
            Denied::ByRule(Refusal::UnknownTransport) => {
                query.transport.map_or_else(|| json!({}), |name| json!({"transport": name}))
            }
            Denied::ByRule(Refusal::UnknownSession) => json!({"sid": query.sid}),
            Denied::ByRule(Refusal::BadMethod) => json!({"method": head.method.as_str()}),
            Denied::ByRule(Refusal::UnsupportedVersion) => json!({"protocol": 3}),
            Denied::ByRule(Refusal::BadRequest(misfit)) => match misfit {
                Misfit::Transport { previous } => {
                    let previous = match previous {
                        Transport::Polling => "polling",
                        Transport::WebSocket => "websocket",
                    };
                    json!({"name": "TRANSPORT_MISMATCH", "transport": query.transport, "previousTransport": previous})
                }
                Misfit::Protocol => json!({"name": "PROTOCOL_MISMATCH", "protocol": 3, "previousProtocol": 4}),
                Misfit::Handshake => json!({"name": "TRANSPORT_HANDSHAKE_ERROR"}),
            },
        }
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Denied {
        Denied::ByRule(refusal)
    }
}

impl Engine {
    /// Names what the application has declared, once, before the start.
    pub fn set_hooks(&self, hooks: Hooks) {
        let first = self.0.hooks.set(hooks).is_ok();
        debug_assert!(first, "an application declares once");
    }

    /// Whether the application is told of refusals.
    pub(super) fn tells_refusals(&self) -> bool {
        self.hooks().is_some_and(|hooks| hooks.connection_error.is_some())
    }

    fn hooks(&self) -> Option<&Hooks> {
        self.0.hooks.get()
    }

    /// Asks the application whether a request may begin a session. It may take as long as a session may be without a namespace.
    pub(super) async fn allow(&self, peer: PeerAddress, head: &Parts) -> Result<(), Denied> {
        let Some(ask) = self.hooks().and_then(|hooks| hooks.allow_request.as_ref()) else { return Ok(()) };
        let asked = ask(RequestInfo::new(self, peer, head));
        match tokio::time::timeout(self.connect_timeout(), asked).await {
            Ok(allowed) => allowed.map_err(Denied::ByApplication),
            Err(_) => {
                tracing::warn!("the application has not decided on a request in time, which is refused");
                Err(Denied::ByApplication(String::new()))
            }
        }
    }

    /// Counts a refusal, and tells the application of it.
    pub(super) fn note_refusal(&self, peer: PeerAddress, head: &Parts, denied: &Denied) {
        self.0.counters.refuse(denied.cause());
        let Some(tell) = self.hooks().and_then(|hooks| hooks.connection_error.as_ref()) else { return };
        if self.0.refusals_told.take(Instant::now()) {
            tell(ConnectionErrorInfo {
                code: denied.code(),
                message: denied.name(),
                context: denied.context(head),
                request: RequestInfo::new(self, peer, head),
            });
        }
    }

    /// Lets the application change the headers of a successful answer.
    pub(super) fn change_headers(&self, headers: &mut HeaderMap, peer: PeerAddress, head: &Parts, initial: bool) {
        let Some(Hooks { initial_headers, headers: every, .. }) = self.hooks() else { return };
        let initial_headers: &[HeaderHook] = if initial { initial_headers } else { &[] };
        if initial_headers.is_empty() && every.is_empty() {
            return;
        }
        let request = RequestInfo::new(self, peer, head);
        for hook in initial_headers.iter().chain(every) {
            if catch_unwind(AssertUnwindSafe(|| hook(headers, &request))).is_err() {
                tracing::error!("the application's hook for headers ended in a panic");
            }
        }
    }
}

impl Rate {
    /// Whether one more may be told.
    fn take(&self, now: Instant) -> bool {
        if self.since.get().is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            let untold = self.untold.replace(0);
            if untold > 0 {
                tracing::warn!(count = untold, "more requests were refused than the application was told of");
            }
            self.since.set(Some(now));
            self.told.set(0);
        }
        let more = self.told.get() < MOST_ERRORS;
        let counter = if more { &self.told } else { &self.untold };
        counter.set(counter.get().saturating_add(1));
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_is_told_of_so_many_refusals_a_second_and_no_more() {
        let (rate, start) = (Rate::default(), Instant::now());
        for second in 0..3 {
            let now = start + Duration::from_secs(second);
            assert_eq!((0..1000).filter(|_| rate.take(now)).count(), MOST_ERRORS as usize);
        }
    }

    #[test]
    fn a_refusal_of_the_application_has_its_words_or_the_usual_one() {
        let denied = Denied::ByApplication("not \"you\"".into());
        assert_eq!(denied.json(), r#"{"code":4,"message":"not \"you\""}"#);
        assert_eq!(Denied::ByApplication(String::new()).json(), r#"{"code":4,"message":"Forbidden"}"#);
        assert_eq!(Denied::from(Refusal::UnknownSession).json(), r#"{"code":1,"message":"Session ID unknown"}"#);
    }

    #[test]
    fn the_context_of_a_refusal_is_that_of_the_official_server() {
        let (head, ()) = http::Request::post("/socket.io/?EIO=3&transport=polling&sid=%61b")
            .body(())
            .map(http::Request::into_parts)
            .unwrap_or_else(|error| panic!("{error}"));
        let context = |refusal: Refusal| Denied::from(refusal).context(&head).to_string();
        assert_eq!(context(Refusal::UnknownTransport), r#"{"transport":"polling"}"#);
        assert_eq!(context(Refusal::UnknownSession), r#"{"sid":"ab"}"#);
        assert_eq!(context(Refusal::BadMethod), r#"{"method":"POST"}"#);
        assert_eq!(context(Refusal::UnsupportedVersion), r#"{"protocol":3}"#);
        assert_eq!(
            context(Refusal::BadRequest(Misfit::Transport { previous: Transport::WebSocket })),
            r#"{"name":"TRANSPORT_MISMATCH","transport":"polling","previousTransport":"websocket"}"#
        );
        assert_eq!(
            context(Refusal::BadRequest(Misfit::Protocol)),
            r#"{"name":"PROTOCOL_MISMATCH","protocol":3,"previousProtocol":4}"#
        );
        assert_eq!(context(Refusal::BadRequest(Misfit::Handshake)), r#"{"name":"TRANSPORT_HANDSHAKE_ERROR"}"#);
    }
}
