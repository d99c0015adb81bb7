//! One connection from its arrival to its end: HTTP requests first, and then perhaps a WebSocket.

use std::{cell::RefCell, future::poll_fn, io, os::fd::OwnedFd, rc::Rc, task::Poll, time::Duration};

use bytes::Bytes;
use http::request::Parts;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use roomd_wire::{ConnectionId, PeerAddress, ToSupervisor, WorkerId};
use rustix::net::Shutdown;
use tokio::{io::AsyncReadExt, sync::oneshot};

use super::{
    counters::add,
    handshake,
    http::{Requests, Service, Source},
    http_io::HttpIo,
    server::Engine,
    stream::Stream,
    websocket,
};

/// The largest request head, and so hyper's buffer.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long a connection may stay without a whole request head: also what bounds an idle one. Longer than reverse proxies
/// keep theirs (60 s in nginx), so that it is they who close.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a closed connection waits for the client to close its side. Closing at once could make what it has not yet
/// read vanish, the answer to a refused request for one.
const LINGER: Duration = Duration::from_secs(2);
/// How much of what a client still sends is read meanwhile.
const LINGER_BYTES: usize = 1024 * 1024;

/// A client's connection as the balancer hands it over.
#[derive(Debug)]
pub struct Incoming {
    /// Its name between supervisor and worker.
    pub id: ConnectionId,
    /// The client's address.
    pub peer: PeerAddress,
    /// It must be answered here, whatever its session.
    pub moved: bool,
    /// What was already read from it.
    pub read: Vec<u8>,
    /// The connection.
    pub socket: OwnedFd,
}

/// How the HTTP part of a connection ended.
enum HttpEnd {
    /// With a request for a WebSocket, which is not answered yet.
    Upgrade(Box<Parts>, Stream, Bytes),
    /// In order, or with an answer that the client should still read.
    Over(Stream),
    /// Without a word to say.
    Broken,
}

/// Why HTTP is no longer served.
enum Served {
    /// A request for a WebSocket is next.
    Upgrade,
    /// The client takes too long to read an answer.
    Unread,
    Ended(hyper::Result<()>),
}

impl Engine {
    /// Takes a client's connection and serves it to its end.
    pub fn accept(&self, incoming: Incoming) {
        let engine = self.clone();
        let known = self.0.outbox.send_tracked(ToSupervisor::Accepted { id: incoming.id });
        let open = Open::new(self, incoming.id, incoming.peer);
        tokio::task::spawn_local(async move {
            // Not a byte is read before the supervisor has let go: until then the connection may be given to another worker.
            if let Some(known) = known {
                Box::pin(sent(known)).await;
            }
            serve(engine, open, incoming).await;
        });
    }

    /// Serves requests that another worker relays: of sessions, or one that begins a session of a client at this address.
    pub fn accept_relay(&self, socket: OwnedFd, newcomer: Option<PeerAddress>) {
        let engine = self.clone();
        tokio::task::spawn_local(async move {
            if let Ok(stream) = Stream::new(socket) {
                Box::pin(serve_http(engine, Source::Relay { newcomer }, stream, Bytes::new())).await;
            }
        });
    }
}

async fn sent(known: oneshot::Receiver<()>) {
    // An error says that the supervisor is gone, and so is soon this worker.
    let _ = known.await;
}

async fn serve(engine: Engine, open: Open, incoming: Incoming) {
    let Incoming { id: _, peer, moved, read, socket } = incoming;
    let stream = match Stream::new(socket) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "a connection could not be taken into the loop"),
    };
    let source = Source::Client { peer };
    // Boxed, and done with, before the part that lasts: an idle WebSocket must not carry hyper's state along.
    let end = Box::pin(serve_http(engine.clone(), source, stream, read.into())).await;
    match end {
        HttpEnd::Upgrade(head, stream, rest) => {
            let request = handshake::Request { peer, moved, head, stream, rest };
            if let Some(accepted) = Box::pin(handshake::answer(&engine, request, &open)).await {
                websocket::serve(engine, accepted).await;
            }
        }
        HttpEnd::Over(stream) => Box::pin(linger(stream)).await,
        HttpEnd::Broken => {}
    }
}

/// Serves HTTP on a connection until it ends or asks for a WebSocket.
async fn serve_http(engine: Engine, source: Source, stream: Stream, unread: Bytes) -> HttpEnd {
    let io = HttpIo::new(stream, unread, engine.0.counters.clone());
    let (unflushed, written) = (io.unflushed(), io.written());
    let upgrade = Rc::new(RefCell::new(None));
    let mut builder = http1::Builder::new();
    // hyper's own bound of a head's number of headers, 100, is as good as any.
    builder.max_buf_size(MAX_HEAD_BYTES).timer(TokioTimer::new());
    builder.header_read_timeout(source.is_client().then_some(HEAD_TIMEOUT));
    let mut idle = Idle::new(&engine);
    let requests = Requests::default();
    let service = Service { engine: engine.clone(), source, upgrade: upgrade.clone(), requests: requests.clone() };
    let mut connection = builder.serve_connection(TokioIo::new(io), service);
    let (mut patience, mut taken) = (None, 0);
    let result = poll_fn(|cx| {
        if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(Served::Ended(result));
        }
        idle.set(source.is_client() && requests.are_answered() && !unflushed.get());
        if unflushed.get() {
            // What is for a session has been taken out of its queue, and must not outlive it by much. All else may go on as
            // long as it is read.
            if std::mem::replace(&mut taken, written.get()) != written.get() && !requests.are_of_session() {
                patience = None;
            }
            let patience =
                patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(engine.0.settings.rhythm.patience())));
            return patience.as_mut().poll(cx).map(|()| Served::Unread);
        }
        patience = None;
        // What hyper still has to write are answers to requests that came before.
        if upgrade.borrow().is_some() { Poll::Ready(Served::Upgrade) } else { Poll::Pending }
    })
    .await;
    drop(idle);
    let parts = connection.into_parts();
    let (stream, unread) = parts.io.into_inner().into_parts();
    match result {
        Served::Upgrade => match upgrade.take() {
            Some(head) => HttpEnd::Upgrade(head, stream, [parts.read_buf, unread].concat().into()),
            None => HttpEnd::Broken,
        },
        Served::Unread => {
            add(&engine.0.counters.slow_clients, 1);
            tracing::debug!("a client did not read its answer and is closed");
            stream.shutdown(Shutdown::Both);
            HttpEnd::Broken
        }
        Served::Ended(Ok(())) => HttpEnd::Over(stream),
        Served::Ended(Err(error)) if error.is_parse() => HttpEnd::Over(stream),
        Served::Ended(Err(error)) => {
            tracing::debug!(%error, "a connection ended");
            stream.shutdown(Shutdown::Both);
            HttpEnd::Broken
        }
    }
}

/// Ends a connection so that what was written to it arrives.
pub(super) async fn linger(mut stream: Stream) {
    stream.shutdown(Shutdown::Write);
    let mut buffer = [0; 1024];
    let drain = async {
        let mut left = LINGER_BYTES;
        while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
            left = left.saturating_sub(bytes);
            if left == 0 {
                break;
            }
        }
    };
    // Over time is as good as done.
    let _ = tokio::time::timeout(LINGER, drain).await;
    stream.shutdown(Shutdown::Both);
}

/// Counts a connection while it waits for another request. Such a one does not keep a leaving worker.
struct Idle {
    engine: Engine,
    idle: bool,
}

impl Idle {
    fn new(engine: &Engine) -> Idle {
        Idle { engine: engine.clone(), idle: false }
    }

    fn set(&mut self, idle: bool) {
        let counter = &self.engine.0.counters.idle_connections;
        match (std::mem::replace(&mut self.idle, idle), idle) {
            (false, true) => counter.set(counter.get() + 1),
            (true, false) => counter.set(counter.get().saturating_sub(1)),
            _ => {}
        }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// A client's connection that is open; tells the supervisor when it no longer is.
pub(super) struct Open {
    engine: Engine,
    id: ConnectionId,
    /// Its place among the engine's open connections.
    place: usize,
    moved: std::cell::Cell<bool>,
}

impl Open {
    fn new(engine: &Engine, id: ConnectionId, peer: PeerAddress) -> Open {
        let place = engine.0.open.borrow_mut().insert((id, peer));
        Open { engine: engine.clone(), id, place, moved: false.into() }
    }

    /// Gives the connection to another worker, or to any that takes new sessions, with what was read from it.
    pub(super) fn move_to(&self, to: Option<WorkerId>, stream: Stream, read: Vec<u8>) -> io::Result<()> {
        let socket = stream.into_fd()?;
        self.moved.set(true);
        add(&self.engine.0.counters.moved_connections, 1);
        self.engine.0.outbox.send_with(ToSupervisor::Move { id: self.id, to, read }, socket);
        Ok(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.engine.0.open.borrow_mut().remove(self.place);
        if !self.moved.get() {
            self.engine.0.outbox.send(ToSupervisor::Closed { id: self.id });
        }
        if std::thread::panicking() {
            tracing::error!(connection = self.id.0, "the task of a connection ended in a panic");
        }
    }
}
