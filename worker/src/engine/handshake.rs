//! Answers a request for a WebSocket, on the bare connection: with 101, with a refusal, or by giving it to its session's worker.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method,
    header::{SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION},
    request::Parts,
};
use roomd_wire::{PeerAddress, Sid, WorkerId};
use rustix::net::Shutdown;
use tokio::io::AsyncWriteExt;
use tungstenite::handshake::derive_accept_key;

use super::{
    connection::{Open, linger},
    counters::{Cause, add},
    handler::{Handshake, SessionKey},
    hooks::Denied,
    http::asks_the_application,
    server::Engine,
    socket::Socket,
    stream::{ReadHalf, Stream},
    websocket::Role,
};
use crate::protocol::{
    Encoded,
    admission::{self, Admitted, Query, admit},
    deflate::{Agreement, Window},
    frames::EMPTY_CLOSE,
    queue::Queue,
    session::{Ending, Transport},
};

/// A request for a WebSocket.
pub(super) struct Request {
    pub(super) peer: PeerAddress,
    pub(super) moved: bool,
    pub(super) head: Box<Parts>,
    pub(super) stream: Stream,
    /// What came behind the head.
    pub(super) rest: Bytes,
}

/// A WebSocket that has opened.
pub(super) struct Accepted {
    pub(super) key: SessionKey,
    pub(super) role: Role,
    pub(super) socket: Rc<Socket>,
    pub(super) read: ReadHalf,
    pub(super) rest: Bytes,
}

/// Answers it. `None`: the connection has come to its end, or went to another worker.
pub(super) async fn answer(engine: &Engine, request: Request, open: &Open) -> Option<Accepted> {
    let Request { peer, moved, head, stream, rest } = request;
    if !head.uri.path().starts_with(&engine.0.options.path) {
        stream.shutdown(Shutdown::Both);
        return None;
    }
    let target = admission::decoded(head.uri.query().unwrap_or_default());
    let query = Query::parse(&target);
    let served = engine.0.options.transports;
    let owner =
        query.sid.filter(|_| !moved && admission::transport(&query, served).is_ok()).and_then(|sid| engine.owner(sid));
    if let Some(owner) = owner {
        return give(open, Some(owner), stream, &head, &rest);
    }
    let asked = admission::Request { is_get: head.method == Method::GET, upgrade: true, query };
    let mut admitted = admit(&asked, served, |sid| engine.find_text(sid)).map_err(Denied::from);
    let newcomer = query.sid.is_none();
    // Another worker will have the session, and decide.
    let elsewhere = matches!(admitted, Ok(Admitted::Open(_))) && engine.0.draining.get();
    let asks = asks_the_application(&admitted) || newcomer && matches!(admitted, Ok(Admitted::Pointless));
    if asks && !elsewhere {
        let allowed = tokio::select! {
            // First, so that where nobody asks, or the decision is there at once, nothing is waited for.
            biased;
            allowed = engine.allow(peer, &head) => allowed,
            () = stream.closed() => {
                stream.shutdown(Shutdown::Both);
                return None;
            }
        };
        if let Err(denied) = allowed {
            admitted = Err(denied);
        }
    }
    let admitted = match admitted {
        Err(denied) => {
            engine.note_refusal(peer, &head, &denied);
            return refuse(engine, stream, &bad_request(denied.message())).await;
        }
        Ok(admitted) => admitted,
    };
    if matches!(admitted, Admitted::Open(_)) && engine.0.draining.get() {
        if !moved {
            return give(open, None, stream, &head, &rest);
        }
        engine.0.counters.refuse(Cause::Leaving);
        return refuse(engine, stream, &bad_request("The server leaves")).await;
    }
    let (mut response, window) = match offer(engine, &head) {
        Ok(offer) => (switching(engine, peer, &head, &offer, newcomer), offer.deflate.map(|agreed| agreed.window)),
        Err(refused) => {
            engine.0.counters.refuse(Cause::BadUpgrade);
            return refuse(engine, stream, &refused).await;
        }
    };
    match admitted {
        Admitted::Open(_) => begin(engine, peer, &head, stream, rest, response, window).await,
        Admitted::Upgrade(key) => join(engine, key, stream, rest, response, window).await,
        Admitted::Polling(_) | Admitted::Pointless => {
            response.extend_from_slice(EMPTY_CLOSE);
            close_with(engine, stream, &response).await;
            None
        }
    }
}

/// Gives the connection to another worker: this one, or any that takes new sessions.
fn give(open: &Open, to: Option<WorkerId>, stream: Stream, head: &Parts, rest: &[u8]) -> Option<Accepted> {
    if let Err(error) = open.move_to(to, stream, rebuild(head, rest)) {
        tracing::warn!(%error, "a connection could not be moved");
    }
    None
}

/// Begins a session.
async fn begin(
    engine: &Engine,
    peer: PeerAddress,
    head: &Parts,
    mut stream: Stream,
    rest: Bytes,
    mut response: Vec<u8>,
    window: Option<Window>,
) -> Option<Accepted> {
    let (sid, packet) = match engine.open_packet(Transport::WebSocket) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(%error, "no random bytes for a session id");
            return None;
        }
    };
    response.extend_from_slice(Encoded::engine(&packet).wire());
    write(engine, &mut stream, &response).await?;
    let (read, write) = stream.into_split();
    let socket = Rc::new(Socket::new(write, window));
    let key = engine.open_session(sid, Transport::WebSocket, Some(socket.clone()));
    engine.tell_opened(key, pack_handshake(engine, sid, peer, head));
    Some(Accepted { key, role: Role::Transport, socket, read, rest })
}

/// Lets a WebSocket in that may become the transport of a session. One too many is closed at once.
async fn join(
    engine: &Engine,
    key: SessionKey,
    mut stream: Stream,
    rest: Bytes,
    response: Vec<u8>,
    window: Option<Window>,
) -> Option<Accepted> {
    write(engine, &mut stream, &response).await?;
    let (read, write) = stream.into_split();
    let socket = Rc::new(Socket::new(write, window));
    let attached = socket.clone();
    let welcome = engine.with_session(key, |entry, now, settings, _| {
        let welcome = entry.session.upgrade_opened(now, settings);
        if welcome {
            entry.socket = Some(attached);
        }
        welcome
    });
    if welcome != Some(true) {
        socket.end(Ending::Orderly, Queue::default());
    }
    Some(Accepted { key, role: Role::Probe, socket, read, rest })
}

/// Why a request for a WebSocket is refused.
struct Refused<'a> {
    status: &'static str,
    header: &'static str,
    message: &'a str,
}

fn bad_request(message: &str) -> Refused<'_> {
    Refused { status: "400 Bad Request", header: "", message }
}

/// The bare text form in which WebSocket requests are refused, whatever the cause.
async fn refuse(engine: &Engine, stream: Stream, refused: &Refused<'_>) -> Option<Accepted> {
    let Refused { status, header, message } = refused;
    let length = message.len();
    let response = format!(
        "HTTP/1.1 {status}\r\n{header}Connection: close\r\nContent-type: text/html\r\nContent-Length: {length}\r\n\r\n{message}"
    );
    close_with(engine, stream, response.as_bytes()).await;
    None
}

async fn close_with(engine: &Engine, mut stream: Stream, response: &[u8]) {
    if write(engine, &mut stream, response).await.is_some() {
        linger(stream).await;
    }
}

/// Writes an answer. `None`: the client has gone, or does not read. Answers to earlier requests can have left no room for it.
async fn write(engine: &Engine, stream: &mut Stream, response: &[u8]) -> Option<()> {
    add(&engine.0.counters.bytes_out, response.len());
    let written = tokio::time::timeout(engine.0.settings.rhythm.patience(), stream.write_all(response)).await;
    written.ok()?.ok()
}

/// What a client offers in its handshake.
struct Offer<'a> {
    key: &'a [u8],
    /// The protocol above WebSocket that it likes best.
    protocol: Option<&'a [u8]>,
    /// How messages are compressed, if they may be.
    deflate: Option<Agreement>,
}

/// Reads a handshake. The order of the checks is that of the `ws` package, on which the official server stands.
fn offer<'a>(engine: &Engine, head: &'a Parts) -> Result<Offer<'a>, Refused<'static>> {
    if head.method != Method::GET {
        return Err(Refused { status: "405 Method Not Allowed", header: "", message: "Invalid HTTP method" });
    }
    let key = once(head, &SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).filter(|key| is_key(key));
    let key = key.ok_or(bad_request("Missing or invalid Sec-WebSocket-Key header"))?;
    if once(head, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let message = "Missing or invalid Sec-WebSocket-Version header";
        return Err(Refused { header: "Sec-WebSocket-Version: 13\r\n", ..bad_request(message) });
    }
    let protocol = protocol(head)?;
    let deflate = match &engine.0.deflate {
        Some(deflate) => deflate
            .agree(&head.headers)
            .map_err(|_bad| bad_request("Invalid or unacceptable Sec-WebSocket-Extensions header"))?,
        None => None,
    };
    Ok(Offer { key, protocol, deflate })
}

/// The value of a header that may be there once only.
fn once<'a>(head: &'a Parts, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = head.headers.get_all(name).into_iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether it has the form of a key: 16 bytes in base64, of whose last digit not all bits are looked at.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_digit))
}

/// The first of the protocols that a client offers, of which each must be a name, and named once.
fn protocol(head: &Parts) -> Result<Option<&[u8]>, Refused<'static>> {
    let lines = head.headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    let mut offered = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let first = offered.next();
    let mut names: BTreeSet<&[u8]> = first.into_iter().collect();
    // A name is what a header's name is: a token.
    let is_name = |name: &[u8]| HeaderName::from_bytes(name).is_ok();
    match first.is_none_or(is_name) && offered.all(|name| is_name(name) && names.insert(name)) {
        true => Ok(first),
        false => Err(bad_request("Invalid Sec-WebSocket-Protocol header")),
    }
}

fn switching(engine: &Engine, peer: PeerAddress, head: &Parts, offer: &Offer<'_>, newcomer: bool) -> Vec<u8> {
    let mut response = Vec::with_capacity(512);
    response.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    response.extend_from_slice(b"Sec-WebSocket-Accept: ");
    response.extend_from_slice(derive_accept_key(offer.key).as_bytes());
    response.extend_from_slice(b"\r\n");
    // A browser that offered any fails a connection that agrees on none. The first one is what the official server takes.
    if let Some(protocol) = offer.protocol {
        push_header(&mut response, "Sec-WebSocket-Protocol", protocol);
    }
    if let Some(agreed) = &offer.deflate {
        push_header(&mut response, "Sec-WebSocket-Extensions", agreed.answer.as_bytes());
    }
    let mut headers = engine.0.cors.headers(&head.headers);
    engine.change_headers(&mut headers, peer, head, newcomer);
    for (name, value) in &headers {
        push_header(&mut response, name.as_str(), value.as_bytes());
    }
    response.extend_from_slice(b"\r\n");
    response
}

fn push_header(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// The bytes of a request that hyper has read, and what came behind it.
fn rebuild(head: &Parts, rest: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", head.method, head.uri).into_bytes();
    for (name, value) in &head.headers {
        push_header(&mut bytes, name.as_str(), value.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(rest);
    bytes
}

/// What of a request a session keeps.
pub(super) fn pack_handshake(engine: &Engine, sid: Sid, peer: PeerAddress, head: &Parts) -> Handshake {
    let mut headers = String::new();
    for (name, value) in &head.headers {
        // Writing into a String does not fail.
        let _ = writeln!(headers, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Handshake {
        sid,
        peer: engine.0.proxies.client(peer, &head.headers),
        issued_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        url: head.uri.path_and_query().map_or("/", |target| target.as_str()).into(),
        headers: headers.into_boxed_str(),
    }
}
