//! Moves the bytes of the admin endpoints. Few ask here, so everything is bounded tightly.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use super::{answer, dashboard, guard::Guard, order};
use crate::{
    audit::{self, Asker, Audit},
    command::Commands,
    config::SharedToken,
    emit::{self, Kind, MAX_ORDER_BYTES},
    places::Places,
    status::Status,
};

/// Connections at once; for one more, the one that is open for longest is ended.
const MAX_CONNECTIONS: usize = 64;

/// How long a request head may take, and how long a connection may be idle between two requests.
const HEAD: Duration = Duration::from_secs(10);

/// How long a connection may live. Whoever asks for longer connects again.
const LIFE: Duration = Duration::from_secs(120);

/// The largest request head: hyper's least buffer.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// How long the supervise loop may take to tell its status.
const ANSWER: Duration = Duration::from_secs(5);

/// How long the body of an order may take.
const BODY: Duration = Duration::from_secs(10);

/// The admin endpoints' listener.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why the admin endpoints cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Somebody else listens there.
    #[error(
        "cannot listen on {0} for the admin endpoints: another program does: choose another address with --admin, or `--admin off`"
    )]
    InUse(SocketAddr),
    /// The operating system refused.
    #[error(
        "cannot listen on {address} for the admin endpoints: {source}; choose another address with --admin, or `--admin off`"
    )]
    Io {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

impl AsFd for Admin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Admin {
    /// Listens. Must be called inside a tokio runtime.
    pub fn bind(address: SocketAddr) -> Result<Admin, AdminError> {
        let bind = || {
            // The standard library sets SO_REUSEADDR, so that a restart need not wait for old connections to be forgotten.
            let listener = StdListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            let address = listener.local_addr()?;
            Ok(Admin { listener, address })
        };
        bind().map_err(|source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => AdminError::InUse(address),
            _ => AdminError::Io { address, source },
        })
    }

    /// Takes a socket that listens already. Must be called inside a tokio runtime.
    pub fn adopt(socket: OwnedFd) -> io::Result<Admin> {
        let listener = StdListener::from(socket);
        listener.set_nonblocking(true)?;
        // An error for one that is not TCP.
        let address = listener.local_addr()?;
        Ok(Admin { listener: TcpListener::from_std(listener)?, address })
    }

    /// The address it really has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is dropped. Who orders something must show the token, if there is one.
    pub async fn serve(self, commands: Commands, token: SharedToken) -> io::Result<()> {
        let loopback = self.address.ip().to_canonical().is_loopback();
        let places = Places::new(MAX_CONNECTIONS);
        let mut connections = JoinSet::new();
        loop {
            let place = places.take().await;
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "an admin connection's task failed");
                    }
                    continue;
                }
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (commands, token, places) = (commands.clone(), token.clone(), places.clone());
                    connections.spawn(async move {
                        connection(stream, peer, commands, token, loopback, &places).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of descriptors: the connection stays in the queue, and accept would fail again at once.
                    tracing::warn!(%error, "cannot accept an admin connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    commands: Commands,
    token: SharedToken,
    loopback: bool,
    places: &Places,
) {
    let answering = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let answering = Arc::clone(&answering);
        move |request| {
            let (commands, answering) = (commands.clone(), Arc::clone(&answering));
            // By the token as it is at this moment: an old one is of no use on an old connection either.
            let guard = Guard { token: token.get(), loopback };
            async move {
                answering.store(true, Relaxed);
                let answer = serve_one(request, peer, commands, &guard).await;
                answering.store(false, Relaxed);
                answer
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = timeout(LIFE, async {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = places.wanted() => {}
        }
        if answering.load(Relaxed) {
            connection.as_mut().graceful_shutdown();
            return connection.await;
        }
        Ok(())
    });
    match ended.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection"),
        Err(_) => tracing::debug!("an admin connection was closed after {LIFE:?}"),
    }
}

async fn serve_one(
    request: Request<Incoming>,
    peer: SocketAddr,
    commands: Commands,
    guard: &Guard,
) -> Result<Response<String>, Infallible> {
    if let Some(kind) = order::kind_at(request.uri().path()) {
        if let Some(refusal) = order::refusal(guard, &request) {
            return Ok(turned_away(peer, &request, refusal));
        }
        let asker = Asker::Admin { peer, token: guard.shown(&request) };
        let audit = Audit::begin(asker, kind.command(), String::new());
        let answer = carry_out(kind, request.into_body(), &commands).await.unwrap_or_else(|refusal| refusal);
        match answer.status().is_success() {
            true => audit.done(),
            false => audit.failed(answer.body()),
        }
        return Ok(answer);
    }
    if let Some(page) = dashboard::answer(&request) {
        // It holds no figures: it asks for those itself, with the token that it asks its reader for.
        return Ok(page);
    }
    if let Some(refusal) = answer::refusal(&request) {
        return Ok(refusal);
    }
    if !answer::is_open(request.uri().path())
        && let Some(refusal) = guard.read_refusal(&request)
    {
        return Ok(turned_away(peer, &request, refusal));
    }
    let status: Option<Status> = timeout(ANSWER, commands.status()).await.ok().and_then(Result::ok);
    Ok(answer::answer(&request, status.as_ref()))
}

/// Counts and logs somebody who was refused for who they are, or are not.
fn turned_away(peer: SocketAddr, request: &Request<Incoming>, refusal: Response<String>) -> Response<String> {
    if matches!(refusal.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        let reason = if refusal.status() == StatusCode::UNAUTHORIZED { "without the token" } else { "not allowed" };
        let asked = format!("{} {}", request.method(), request.uri().path());
        audit::refused("admin", peer.ip(), &asked, reason);
    }
    refusal
}

/// Reads an order and has it carried out. Either way what comes of it is the answer.
async fn carry_out(kind: Kind, body: Incoming, commands: &Commands) -> Result<Response<String>, Response<String>> {
    let body = match timeout(BODY, Limited::new(body, MAX_ORDER_BYTES).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(order::too_long()),
        _ => return Err(order::no_body()),
    };
    let publication = emit::read(kind, &String::from_utf8_lossy(&body)).map_err(|error| order::mistaken(&error))?;
    Ok(order::outcome(timeout(ANSWER, commands.publish(publication)).await.ok()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{
        command::{Command, CommandError},
        status::sample,
    };
    use roomd_worker::bus::PublishError;

    async fn running() -> SocketAddr {
        running_with(None).await
    }

    async fn running_with(token: Option<&str>) -> SocketAddr {
        let admin = Admin::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = admin.address();
        let (commands, mut receiver) = Commands::channel();
        tokio::spawn(async move {
            while let Some(command) = receiver.recv().await {
                match command {
                    Command::Status(reply) => drop(reply.send(sample())),
                    Command::Publish(what, reply) => {
                        let down = what.channel.starts_with("socket.io#/down#");
                        let outcome = match down {
                            true => Err(CommandError::Publish(PublishError::Down("refused".into()))),
                            false => Ok(()),
                        };
                        drop(reply.send(outcome));
                    }
                    _ => {}
                }
            }
        });
        tokio::spawn(admin.serve(commands, token.map(|token| token.parse::<crate::config::Token>().unwrap()).into()));
        address
    }

    async fn raw(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn the_endpoints_answer_over_http() {
        let address = running().await;
        let get = async |target: &str| {
            raw(address, format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
                .await
        };
        assert!(get("/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(get("/readyz").await.starts_with("HTTP/1.1 503 "));
        assert!(get("/readyz?bus=ignore").await.starts_with("HTTP/1.1 200 "));
        assert!(get("/status").await.contains("\"generation\":1"));
        assert!(get("/metrics").await.contains("content-type: text/plain; version=0.0.4"));
        assert!(get("/nowhere").await.starts_with("HTTP/1.1 404 "));
        let head = raw(address, b"HEAD /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
        let post = raw(
            address,
            b"POST /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
        assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD"), "{post}");
    }

    async fn post(address: SocketAddr, target: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
        );
        raw(address, format!("{head}content-length: {length}\r\n{headers}\r\n{body}").as_bytes()).await
    }

    #[tokio::test]
    async fn orders_are_carried_out_or_refused_with_the_reason() {
        let address = running().await;
        for (target, body, status, words) in [
            ("/emit", r#"{"event":"x"}"#, 202, r#"{"published":true}"#),
            ("/sockets/join", r#"{"rooms":["n"],"in":["r"]}"#, 202, r#"{"published":true}"#),
            ("/sockets/leave", r#"{"rooms":["n"],"in":["r"]}"#, 202, r#"{"published":true}"#),
            ("/sockets/disconnect", r#"{"in":["r"]}"#, 202, r#"{"published":true}"#),
            ("/sockets/disconnect", "{}", 400, r#"{"error":"neither does `in` name a room"#),
            ("/emit", r#"{"event":"x","rooms":[]}"#, 400, r#"{"error":"unknown key `rooms`"#),
            ("/emit", "\u{0}", 400, r#"{"error":"the order is no JSON object"#),
            ("/emit", r#"{"event":"x","namespace":"/down"}"#, 503, "the bus is down (refused)"),
            ("/emit/", "{}", 404, "/emit"),
        ] {
            let answer = post(address, target, "", body).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(words), "{body}: {answer}");
        }
        let foreign = post(address, "/emit", "origin: http://evil\r\n", r#"{"event":"x"}"#).await;
        assert!(foreign.starts_with("HTTP/1.1 403 "), "{foreign}");
        let get = raw(address, b"GET /emit HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        assert!(get.starts_with("HTTP/1.1 405 ") && get.contains("allow: POST"), "{get}");
    }

    #[tokio::test]
    async fn a_body_in_chunks_is_bounded_too() {
        let address = running().await;
        let mut request =
            b"POST /emit HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
                .to_vec();
        request.extend(b"transfer-encoding: chunked\r\n\r\n");
        request.extend(format!("{:x}\r\n", MAX_ORDER_BYTES + 1).bytes());
        request.resize(request.len() + MAX_ORDER_BYTES + 1, b' ');
        let answer = raw(address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }

    #[tokio::test]
    async fn with_a_token_only_who_shows_it_may_order() {
        let address = running_with(Some("0123456789abcdef")).await;
        let order = r#"{"event":"x"}"#;
        assert!(post(address, "/emit", "", order).await.starts_with("HTTP/1.1 401 "));
        let shown = "authorization: Bearer 0123456789abcdef\r\norigin: http://elsewhere\r\n";
        assert!(post(address, "/emit", shown, order).await.starts_with("HTTP/1.1 202 "));
        let get = raw(address, b"GET /healthz HTTP/1.0\r\n\r\n").await;
        assert!(get.starts_with("HTTP/1.0 200 "), "what only tells needs none: {get}");
    }

    #[tokio::test]
    async fn oversize_heads_and_bytes_that_are_no_http_end_the_connection() {
        let address = running().await;
        let mut long = b"GET / HTTP/1.1\r\nx: ".to_vec();
        long.resize(MAX_HEAD_BYTES + 1, b'x');
        assert!(raw(address, &long).await.starts_with("HTTP/1.1 431 "));
        assert!(raw(address, b"\x16\x03\x01\x00\xff\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
        assert!(raw(address, b"GET /healthz HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 "), "still answers");
    }

    #[tokio::test]
    async fn many_half_requests_do_not_keep_a_health_check_out() {
        let address = running().await;
        let mut half = Vec::new();
        for _ in 0..MAX_CONNECTIONS + 8 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /hea").await.unwrap();
            half.push(stream);
        }
        let answer = timeout(HEAD / 2, raw(address, b"GET /healthz HTTP/1.0\r\n\r\n")).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    }

    #[tokio::test]
    async fn an_address_in_use_is_told_with_the_way_out() {
        let first = Admin::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let error = Admin::bind(first.address()).unwrap_err();
        assert!(matches!(error, AdminError::InUse(_)) && error.to_string().contains("--admin"));
    }
}
