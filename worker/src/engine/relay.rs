//! Requests of other workers' sessions: passed to the owner over a stream between the two, so that a session that lives
//! is always reached (design D3). So are new sessions that come to a worker that leaves, to one that stays.

use std::{cell::RefCell, rc::Rc};

use http::{
    HeaderMap, Request, Response, Version,
    header::{CONNECTION, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use roomd_wire::{PeerAddress, ToSupervisor, WorkerId};
use rustc_hash::FxHashMap;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::{body::ResponseBody, http::malformed, server::Engine, stream::Stream};

/// How many idle streams to one owner are kept.
const MAX_IDLE: usize = 8;
/// Headers that belong to one connection and not to the request.
const HOP_BY_HOP: [&str; 4] = ["keep-alive", "proxy-connection", "te", "trailer"];

/// Idle streams to other workers.
#[derive(Clone, Default)]
pub(super) struct Pool(Rc<RefCell<FxHashMap<WorkerId, Vec<SendRequest<Incoming>>>>>);

/// Has the owner answer a request. `None`: it does not live, or ended the session over this request.
/// A body that breaks the rules of HTTP is answered here.
pub(super) async fn relay(
    engine: &Engine,
    owner: WorkerId,
    head: Parts,
    body: Incoming,
) -> Option<Response<ResponseBody>> {
    let mut request = relayed(head, body);
    while let Some(mut sender) = engine.0.relays.take(owner) {
        match sender.try_send_request(request).await {
            Ok(response) => return Some(finish(engine, owner, sender, response)),
            Err(error) if error.error().is_user() => return Some(malformed()),
            // It had closed meanwhile, and the request was not begun.
            Err(mut error) => request = error.take_message()?,
        }
    }
    let mut sender = open(engine, ToSupervisor::OpenRelay { to: owner }).await?;
    match sender.send_request(request).await {
        Ok(response) => Some(finish(engine, owner, sender, response)),
        Err(error) => error.is_user().then(malformed),
    }
}

/// Has another worker begin a session. `None`: there is none that takes new sessions, or it ended over this request.
pub(super) async fn relay_newcomer(
    engine: &Engine,
    peer: PeerAddress,
    head: Parts,
    body: Incoming,
) -> Option<Response<ResponseBody>> {
    let mut sender = open(engine, ToSupervisor::RelayNewcomer { peer }).await?;
    let response = sender.send_request(relayed(head, body)).await.ok()?;
    Some(answered(response))
}

fn relayed(head: Parts, body: Incoming) -> Request<Incoming> {
    let mut request = Request::from_parts(head, body);
    *request.version_mut() = Version::HTTP_11;
    strip(request.headers_mut());
    request
}

/// A new stream to a worker; the supervisor, which `message` tells to whom, hands the other end over.
async fn open(engine: &Engine, message: ToSupervisor) -> Option<SendRequest<Incoming>> {
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.inspect_err(|error| tracing::warn!(%error, "no stream to another worker")).ok()?;
    engine.0.outbox.send_with(message, theirs);
    let stream = Stream::new(ours).ok()?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    tokio::task::spawn_local(async move {
        // What goes wrong is told to the request.
        let _ = connection.await;
    });
    Some(sender)
}

/// The owner's answer; when its body has been passed on, the stream is idle again.
fn finish(
    engine: &Engine,
    owner: WorkerId,
    mut sender: SendRequest<Incoming>,
    response: Response<Incoming>,
) -> Response<ResponseBody> {
    let pool = engine.0.relays.clone();
    tokio::task::spawn_local(async move {
        if sender.ready().await.is_ok() {
            pool.put(owner, sender);
        }
    });
    answered(response)
}

fn answered(response: Response<Incoming>) -> Response<ResponseBody> {
    let mut response = response.map(ResponseBody::relayed);
    strip(response.headers_mut());
    response
}

fn strip(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

impl Pool {
    fn take(&self, owner: WorkerId) -> Option<SendRequest<Incoming>> {
        let mut pool = self.0.borrow_mut();
        let idle = pool.get_mut(&owner)?;
        while let Some(sender) = idle.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        pool.remove(&owner);
        None
    }

    fn put(&self, owner: WorkerId, sender: SendRequest<Incoming>) {
        let mut pool = self.0.borrow_mut();
        // Streams to workers that have been replaced are closed: nothing else would take them out.
        for idle in pool.values_mut() {
            idle.retain(|sender| !sender.is_closed());
        }
        pool.retain(|_, idle| !idle.is_empty());
        let idle = pool.entry(owner).or_default();
        if idle.len() < MAX_IDLE {
            idle.push(sender);
        }
    }
}
