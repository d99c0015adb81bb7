//! The requests of polling sessions.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, SET_COOKIE, USER_AGENT},
    request::Parts,
};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use roomd_wire::PeerAddress;
use tokio::sync::oneshot;

use super::{
    body::{Reset, ResponseBody},
    compression::Coding,
    handler::SessionKey,
    handshake::pack_handshake,
    http::{malformed, plain, success},
    server::Engine,
    websocket::TURN,
};
use crate::protocol::{
    Encoded,
    engine_packet::{CLOSE, NOOP, SEPARATOR, packets, payload_len, payload_text, push_encoded, push_text},
    frames::MESSAGE_COST,
    queue::Queue,
    session::{Answer, Transport},
};

/// What the engine answers a poll with: the payload.
#[derive(Debug)]
pub(super) struct PollAnswer {
    payload: Bytes,
    /// One of its packets may be compressed.
    compress: bool,
}

impl PollAnswer {
    pub(super) fn new(answer: Answer, queue: &mut Queue) -> PollAnswer {
        let mut compress = false;
        let payload = match answer {
            Answer::Packets => {
                compress = queue.iter().any(Encoded::may_compress);
                let mut payload = Vec::with_capacity(queue.iter().map(payload_len).sum());
                queue.take().iter().for_each(|packet| push_encoded(&mut payload, packet));
                payload.into()
            }
            Answer::Noop => Bytes::from_static(NOOP.as_bytes()),
            Answer::Close => Bytes::from_static(CLOSE.as_bytes()),
            Answer::NoopClose => {
                let mut payload = NOOP.as_bytes().to_vec();
                push_text(&mut payload, CLOSE.as_bytes());
                payload.into()
            }
        };
        PollAnswer { payload, compress }
    }
}

/// Begins a session.
pub(super) fn open(engine: &Engine, peer: PeerAddress, head: &Parts) -> Response<ResponseBody> {
    let (sid, packet) = match engine.open_packet(Transport::Polling) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(%error, "no random bytes for a session id");
            return plain(StatusCode::INTERNAL_SERVER_ERROR, ResponseBody::chunked(Bytes::new()));
        }
    };
    let key = engine.open_session(sid, Transport::Polling, None);
    engine.tell_opened(key, pack_handshake(engine, sid, peer, head));
    let answer = PollAnswer { payload: packet.into(), compress: true };
    let mut response = payload(engine, head, answer);
    if let Some(cookie) = engine.0.cookie.as_ref().and_then(|cookie| cookie.value(&sid)) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    engine.change_headers(response.headers_mut(), peer, head, true);
    response
}

/// Waits for packets.
pub(super) async fn get(
    engine: &Engine,
    key: SessionKey,
    peer: PeerAddress,
    head: &Parts,
) -> Result<Response<ResponseBody>, Reset> {
    let (poll, answer) = oneshot::channel();
    let accepted = engine.with_session(key, |entry, _, _, out| {
        let accepted = entry.session.poll_opened(out);
        if accepted {
            entry.polling.get_or_insert_default().poll = Some(poll);
        }
        accepted
    });
    if accepted != Some(true) {
        return Ok(plain(StatusCode::BAD_REQUEST, ResponseBody::chunked(Bytes::new())));
    }
    let mut pending = PendingPoll { engine, key, answer: Some(answer) };
    let answer = match &mut pending.answer {
        Some(answer) => answer.await,
        None => return Err(Reset),
    };
    pending.answer = None;
    // The sender is dropped without a word only with its session.
    let mut response = payload(engine, head, answer.map_err(|_| Reset)?);
    engine.change_headers(response.headers_mut(), peer, head, false);
    Ok(response)
}

/// Takes packets.
pub(super) async fn post(
    engine: &Engine,
    key: SessionKey,
    peer: PeerAddress,
    head: &Parts,
    body: &mut Incoming,
) -> Result<Response<ResponseBody>, Reset> {
    let (post, mut reset) = oneshot::channel();
    let accepted = engine.with_session(key, |entry, _, _, out| {
        let accepted = entry.session.post_started(out);
        if accepted {
            entry.polling.get_or_insert_default().post = Some(post);
        }
        accepted
    });
    if accepted != Some(true) {
        return Ok(plain(StatusCode::BAD_REQUEST, ResponseBody::chunked(Bytes::new())));
    }
    let mut pending = PendingPost { engine, key, over: false };
    if head.headers.get(CONTENT_TYPE).is_some_and(|value| value == "application/octet-stream") {
        return Ok(plain(StatusCode::BAD_REQUEST, ResponseBody::chunked(Bytes::new())));
    }
    let body = tokio::select! {
        // First, so that what belongs to an ended session is not looked at.
        biased;
        _ = &mut reset => {
            pending.over = true;
            return Err(Reset);
        }
        body = read(body, engine.max_payload()) => body,
    };
    let body = match body {
        // Its client may be gone; one that is there has broken the rules of HTTP.
        Err(NoBody::Broken) => return Ok(malformed()),
        Err(NoBody::TooLarge) => None,
        Ok(body) => Some(body),
    };
    pending.over = true;
    engine.with_session(key, |entry, _, _, _| {
        if let Some(links) = &mut entry.polling {
            links.post = None;
        }
        entry.session.post_ended();
    });
    let Some(body) = body else {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, ResponseBody::chunked(Bytes::new())));
    };
    take(engine, key, body).await;
    let mut response = success("text/html", "ok");
    engine.change_headers(response.headers_mut(), peer, head, false);
    Ok(response)
}

/// Takes the packets of a body. Where they are many, others have their turns meanwhile, and all are taken even if the client does not
/// wait for the answer.
async fn take(engine: &Engine, key: SessionKey, body: Vec<u8>) {
    const MOST_AT_ONCE: usize = TURN / MESSAGE_COST;
    if body.iter().filter(|byte| **byte == SEPARATOR).count() < MOST_AT_ONCE {
        let _ = packets(&payload_text(&body)).all(|packet| engine.incoming(key, packet));
        return;
    }
    let engine = engine.clone();
    let taken = tokio::task::spawn_local(async move {
        let text = payload_text(&body);
        let mut turn = 0;
        for packet in packets(&text) {
            if !engine.incoming(key, packet) {
                return;
            }
            turn += 1;
            if turn == MOST_AT_ONCE {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
    });
    // A panic of the application's is its handler's, and caught there.
    let _ = taken.await;
}

/// Why there is no body.
enum NoBody {
    TooLarge,
    Broken,
}

/// Reads a body, up to where it is too large: as far as that has been announced, not at all.
async fn read(body: &mut Incoming, max: usize) -> Result<Vec<u8>, NoBody> {
    let announced = body.size_hint().lower();
    if announced > max as u64 {
        return Err(NoBody::TooLarge);
    }
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| NoBody::Broken)?.into_data() else { continue };
        if data.len() > max - read.len() {
            return Err(NoBody::TooLarge);
        }
        read.extend_from_slice(&data);
    }
    Ok(read)
}

/// A payload for the client.
fn payload(engine: &Engine, head: &Parts, answer: PollAnswer) -> Response<ResponseBody> {
    let PollAnswer { payload, compress } = answer;
    let threshold = engine.0.options.http_compression.as_ref().map(|on| on.threshold_bytes);
    let long = compress && threshold.is_some_and(|threshold| payload.len() as u64 >= threshold);
    let coding = if long { Coding::of(&head.headers) } else { None };
    let mut response = success("text/plain; charset=UTF-8", payload.clone());
    if let Some(coding) = coding {
        // Chunked, as the official server sends it.
        *response.body_mut() = ResponseBody::chunked(engine.0.compressor.compress(coding, &payload));
        response.headers_mut().insert(CONTENT_ENCODING, coding.header());
    }
    let agent = head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    if agent.contains(";MSIE") || agent.contains("Trident/") {
        response.headers_mut().insert("x-xss-protection", HeaderValue::from_static("0"));
    }
    response
}

/// A GET that waits. hyper drops it when its client goes.
struct PendingPoll<'a> {
    engine: &'a Engine,
    key: SessionKey,
    answer: Option<oneshot::Receiver<PollAnswer>>,
}

impl Drop for PendingPoll<'_> {
    fn drop(&mut self) {
        if let Some(answer) = &mut self.answer
            && matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        {
            self.engine.with_session(self.key, |entry, _, _, out| entry.session.poll_aborted(out));
        }
    }
}

/// A POST that is read.
struct PendingPost<'a> {
    engine: &'a Engine,
    key: SessionKey,
    over: bool,
}

impl Drop for PendingPost<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.engine.with_session(self.key, |entry, _, _, out| entry.session.post_failed(out));
        }
    }
}
