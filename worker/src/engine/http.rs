//! Which request gets which answer.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, EXPECT, HOST, RETRY_AFTER, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use roomd_wire::{PeerAddress, SidHome, WorkerId};

use super::{
    body::{Reset, ResponseBody},
    client_files::ClientFiles,
    counters::{Cause, add},
    hooks::Denied,
    polling, relay,
    server::Engine,
};
use crate::protocol::{
    admission::{self, Admitted, Misfit, Query, Refusal, admit},
    session::Transport,
};

/// How long the rest of a body is read whose request is answered already.
const DISCARD: Duration = Duration::from_secs(60);

pub(super) type Answer = Result<Response<ResponseBody>, Reset>;

/// Whose requests come on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// A client's.
    Client { peer: PeerAddress },
    /// Another worker's, for its clients. Never relayed again.
    Relay {
        /// Where the client is whose session begins here.
        newcomer: Option<PeerAddress>,
    },
}

/// Answers the requests of one connection.
pub(super) struct Service {
    pub(super) engine: Engine,
    pub(super) source: Source,
    /// Where a request for a WebSocket is put: it is not hyper that answers it.
    pub(super) upgrade: Rc<RefCell<Option<Box<Parts>>>>,
    pub(super) requests: Requests,
}

/// Knows whether requests of a connection still wait for their answer, and what kind of requests.
#[derive(Clone, Default)]
pub(super) struct Requests(Rc<Counts>);

#[derive(Default, Debug)]
struct Counts {
    begun: Cell<bool>,
    open: Cell<usize>,
    /// The last one was on the Socket.IO path.
    of_session: Cell<bool>,
}

/// A request that is not yet answered to its last byte.
#[derive(Debug)]
pub(super) struct OpenRequest(Rc<Counts>);

impl Source {
    pub(super) fn is_client(self) -> bool {
        matches!(self, Source::Client { .. })
    }

    /// Where the client is, as far as that is known.
    fn peer(self) -> PeerAddress {
        match self {
            Source::Client { peer } | Source::Relay { newcomer: Some(peer) } => peer,
            Source::Relay { newcomer: None } => PeerAddress::Unix,
        }
    }
}

impl Requests {
    /// There were some, and each has its answer.
    pub(super) fn are_answered(&self) -> bool {
        self.0.begun.get() && self.0.open.get() == 0
    }

    /// Whether what is being answered is for a session, and not for the application.
    pub(super) fn are_of_session(&self) -> bool {
        self.0.of_session.get()
    }

    fn begin(&self, of_session: bool) -> OpenRequest {
        self.0.of_session.set(of_session);
        self.0.begun.set(true);
        self.0.open.set(self.0.open.get() + 1);
        OpenRequest(self.0.clone())
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<ResponseBody>;
    type Error = Reset;
    type Future = Pin<Box<dyn Future<Output = Answer>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (head, body) = request.into_parts();
        // Without WebSockets nobody listens to upgrades: such a request is one like others, as in Node.
        let websocket = self.engine.0.options.transports.websocket;
        if self.source.is_client() && websocket && asks_for_websocket(&head) {
            *self.upgrade.borrow_mut() = Some(Box::new(head));
            return Box::pin(std::future::pending());
        }
        let of_session = head.uri.path().starts_with(&self.engine.0.options.path);
        let (engine, source, open) = (self.engine.clone(), self.source, self.requests.begin(of_session));
        Box::pin(async move {
            let expects = head.headers.contains_key(EXPECT);
            let mut body = Some(body);
            let mut response = match refused_by_http(source, &head) {
                Some(refused) => refused,
                None => answer(&engine, source, head, &mut body).await?,
            };
            let unread = body.filter(|body| !body.is_end_stream());
            // A client that asked whether to send its body may or may not do so now: what comes next is no longer certain.
            let last = response.headers().contains_key(CONNECTION) || expects && unread.is_some();
            // The connection's next request would reach a worker that leaves.
            if last || source.is_client() && engine.0.draining.get() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            // Of the last request hyper and then the connection's end take care.
            if let Some(unread) = unread.filter(|_| !last) {
                tokio::task::spawn_local(discard(unread));
            }
            response.body_mut().keep(open);
            Ok(response)
        })
    }
}

/// What Node's HTTP server refuses before a request reaches the application, and hyper does not.
fn refused_by_http(source: Source, head: &Parts) -> Option<Response<ResponseBody>> {
    if !source.is_client() || head.version != Version::HTTP_11 {
        return None;
    }
    if !head.headers.contains_key(HOST) || tokens(head, &TRANSFER_ENCODING, "chunked").nth(1).is_some() {
        return Some(malformed());
    }
    let unknown = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    let fails = head.headers.get(EXPECT).is_some_and(unknown);
    fails.then(|| plain(StatusCode::EXPECTATION_FAILED, ResponseBody::chunked(Bytes::new())))
}

/// Where a header whose values are lists has a token.
fn tokens<'a>(head: &'a Parts, name: &HeaderName, token: &'static str) -> impl Iterator<Item = &'a str> {
    let values = head.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter(move |value| value.trim().eq_ignore_ascii_case(token))
}

/// Reads what still comes of a body, for nobody: a sender that finds its connection closed may never see the answer. The
/// connection can then serve its next request.
async fn discard(mut body: Incoming) {
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    // One who takes longer loses the connection.
    let _ = tokio::time::timeout(DISCARD, read).await;
}

/// Whether a request asks for a WebSocket. Other upgrades (`h2c`) are not served, and their requests answered as if they
/// had not asked.
fn asks_for_websocket(head: &Parts) -> bool {
    tokens(head, &UPGRADE, "websocket").next().is_some() && tokens(head, &CONNECTION, "upgrade").next().is_some()
}

/// Answers a request; takes of its body what it needs.
async fn answer(engine: &Engine, source: Source, head: Parts, body: &mut Option<Incoming>) -> Answer {
    if !head.uri.path().starts_with(&engine.0.options.path) {
        return Ok(other(engine, source, head, body).await);
    }
    let cors = &engine.0.cors;
    if head.method == Method::OPTIONS && cors.answers_preflight() {
        let headers = cors.preflight(&head.headers);
        return Ok(with_headers(plain(cors.preflight_status(), ResponseBody::full(Bytes::new())), headers));
    }
    let headers = match head.method {
        Method::OPTIONS => cors.preflight(&head.headers),
        _ => cors.headers(&head.headers),
    };
    if let Some(response) = client_file(engine, &head) {
        let mut response = with_headers(response, headers);
        ClientFiles::vary(&mut response);
        return Ok(response);
    }
    match serve(engine, source, head, body).await? {
        // The owner has added its own.
        Served::Relayed(response) => Ok(response),
        Served::Here(response) => Ok(with_headers(response, headers)),
    }
}

/// One of the official client's files, if they are served and it is one. What else is below the path goes on to Engine.IO.
fn client_file(engine: &Engine, head: &Parts) -> Option<Response<ResponseBody>> {
    let files = engine.0.client_files.as_ref()?;
    let path = engine.0.options.path.trim_end_matches('/');
    let name = head.uri.path().strip_prefix(path)?.strip_prefix('/')?;
    files.answer(name, &head.headers)
}

/// An answer, and whether it is another worker's.
enum Served {
    Here(Response<ResponseBody>),
    Relayed(Response<ResponseBody>),
}

async fn serve(engine: &Engine, source: Source, head: Parts, body: &mut Option<Incoming>) -> Result<Served, Reset> {
    let target = admission::decoded(head.uri.query().unwrap_or_default()).into_owned();
    let query = Query::parse(&target);
    let served = engine.0.options.transports;
    if source.is_client()
        && admission::transport(&query, served).is_ok()
        && let Some(owner) = query.sid.and_then(|sid| engine.owner(sid))
        && let Some(body) = body.take()
    {
        add(&engine.0.counters.relayed_requests, 1);
        let told = engine.tells_refusals().then(|| head.clone());
        return Ok(match relay::relay(engine, owner, head, body).await {
            Some(response) => Served::Relayed(response),
            None => Served::Here(match told {
                Some(head) => refuse(engine, source, &head, Refusal::UnknownSession),
                None => {
                    engine.0.counters.refuse(Cause::UnknownSession);
                    refusal(&Refusal::UnknownSession.into())
                }
            }),
        });
    }
    let request = admission::Request { is_get: head.method == Method::GET, upgrade: false, query };
    let mut admitted = admit(&request, served, |sid| engine.find_text(sid)).map_err(Denied::from);
    // Another worker will have the session, and decide.
    let elsewhere = matches!(admitted, Ok(Admitted::Open(_))) && source.is_client() && engine.0.draining.get();
    if asks_the_application(&admitted)
        && !elsewhere
        && let Err(denied) = engine.allow(source.peer(), &head).await
    {
        admitted = Err(denied);
    }
    Ok(Served::Here(match admitted {
        Err(denied) => refuse(engine, source, &head, denied),
        Ok(Admitted::Open(Transport::Polling)) => match source {
            Source::Client { peer } if engine.0.draining.get() => {
                add(&engine.0.counters.relayed_requests, 1);
                let relayed = match body.take() {
                    Some(body) => relay::relay_newcomer(engine, peer, head, body).await,
                    None => None,
                };
                return Ok(match relayed {
                    Some(response) => Served::Relayed(response),
                    None => Served::Here(leaving()),
                });
            }
            Source::Client { peer } | Source::Relay { newcomer: Some(peer) } => polling::open(engine, peer, &head),
            Source::Relay { newcomer: None } => refuse(engine, source, &head, Refusal::UnknownSession),
        },
        Ok(Admitted::Polling(key)) => match (&head.method, body) {
            (&Method::GET, _) => polling::get(engine, key, source.peer(), &head).await?,
            (&Method::POST, Some(body)) => polling::post(engine, key, source.peer(), &head, body).await?,
            _ => plain(StatusCode::INTERNAL_SERVER_ERROR, ResponseBody::chunked(Bytes::new())),
        },
        Ok(Admitted::Open(Transport::WebSocket) | Admitted::Upgrade(_) | Admitted::Pointless) => {
            refuse(engine, source, &head, Refusal::BadRequest(Misfit::Handshake))
        }
    }))
}

/// Whether the application has a say in a request: where it asks for a session. That its revision is not spoken is looked at behind
/// that, as by the official server.
pub(super) fn asks_the_application<K>(admitted: &Result<Admitted<K>, Denied>) -> bool {
    match admitted {
        Ok(Admitted::Open(_)) => true,
        Err(denied) => *denied == Denied::ByRule(Refusal::UnsupportedVersion),
        Ok(_) => false,
    }
}

impl Engine {
    /// The other worker of this host that a session id names.
    pub(super) fn owner(&self, sid: &str) -> Option<WorkerId> {
        let home = SidHome::of(sid.as_bytes())?;
        let ours = &self.0.home;
        (home.host == ours.host && home.worker != ours.worker).then_some(home.worker)
    }
}

/// The application's answer to a request that is not for us.
async fn other(
    engine: &Engine,
    source: Source,
    mut head: Parts,
    body: &mut Option<Incoming>,
) -> Response<ResponseBody> {
    if let Source::Client { peer } = source {
        head.extensions.insert(peer);
    }
    let answer = engine.service().answer(head, body).await;
    answer.unwrap_or_else(|| plain(StatusCode::NOT_FOUND, ResponseBody::chunked(Bytes::new())))
}

/// Refuses a request, and tells whom it concerns.
fn refuse(engine: &Engine, source: Source, head: &Parts, why: impl Into<Denied>) -> Response<ResponseBody> {
    let denied = why.into();
    engine.note_refusal(source.peer(), head, &denied);
    refusal(&denied)
}

fn refusal(denied: &Denied) -> Response<ResponseBody> {
    let status = if denied.code() == 4 { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
    let mut response = plain(status, ResponseBody::chunked(denied.json()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A new client came by a connection that is older than the decision to leave, and there is no other worker at the moment.
fn leaving() -> Response<ResponseBody> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, ResponseBody::full(Bytes::new()));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The answer to what is no HTTP: the last one on its connection.
pub(super) fn malformed() -> Response<ResponseBody> {
    let mut response = plain(StatusCode::BAD_REQUEST, ResponseBody::chunked(Bytes::new()));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An answer without headers.
pub(super) fn plain(status: StatusCode, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// A successful answer.
pub(super) fn success(content_type: &'static str, body: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = plain(StatusCode::OK, ResponseBody::full(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn with_headers(mut response: Response<ResponseBody>, headers: HeaderMap) -> Response<ResponseBody> {
    // What the application has set counts.
    let own = response.headers_mut();
    let missing: Vec<_> =
        headers.into_iter().filter(|(name, _)| name.as_ref().is_some_and(|name| !own.contains_key(name))).collect();
    for (name, value) in missing {
        if let Some(name) = name {
            own.insert(name, value);
        }
    }
    response
}
