//! The supervisor's side of the control socket.

use std::{
    io,
    os::fd::{AsFd as _, IntoRawFd, OwnedFd},
    time::Duration,
};

use nix::unistd::Uid;
use roomd_wire::Slot;
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    task::JoinSet,
    time::timeout,
};

use super::{
    protocol::{Answer, Ask, MAX_REQUEST_BYTES, Outcome, Refusal, Request, VERSION, Versioned},
    socket::ControlSocket,
};
use crate::{
    audit::{self, Asker, Audit},
    cli::parse_signal,
    command::{CommandError, Commands},
    emit,
    logging::check_filter,
    places::Places,
};

/// Connections at once; for one more, the one that is silent for longest is ended.
pub(super) const MAX_CONNECTIONS: usize = 32;

/// How long a connection may be without a request.
const IDLE: Duration = Duration::from_secs(30);

/// How long a request is read that is refused whatever it says.
const LINGER: Duration = Duration::from_secs(1);

/// How long a client may take to read its answer.
const WRITE: Duration = Duration::from_secs(10);

/// Answers on the control socket until it is dropped.
pub async fn serve(mut socket: ControlSocket, commands: Commands) -> io::Result<()> {
    let listener = socket.take_listener()?;
    let places = Places::new(MAX_CONNECTIONS);
    let mut connections = JoinSet::new();
    loop {
        let place = places.take().await;
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a control connection's task failed");
                }
                continue;
            }
        };
        match stream {
            Ok((stream, _)) => {
                let (commands, places) = (commands.clone(), places.clone());
                connections.spawn(async move {
                    if let Err(error) = connection(stream, commands, &places).await {
                        tracing::debug!(%error, "control connection");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors: the connection stays in the queue, and accept would fail again at once.
                tracing::warn!(%error, "cannot accept a control connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, commands: Commands, places: &Places) -> io::Result<()> {
    let credentials = stream.peer_cred()?;
    let (peer, asker) = (credentials.uid(), Asker::of_control(&credentials));
    let mut stream = BufReader::new(stream);
    if peer != Uid::effective().as_raw() && peer != 0 {
        audit::refused("control", format_args!("uid {peer}"), "connect", "the cluster belongs to another user");
        let words = "the cluster belongs to another user: run this as that user, or as root";
        send(&mut stream, refusal("forbidden", words)).await?;
        // Closed with the request unread, it would take the answer back.
        let _ = timeout(LINGER, (&mut stream).take(MAX_REQUEST_BYTES as u64).read_until(b'\n', &mut Vec::new())).await;
        return Ok(());
    }
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut stream).take(MAX_REQUEST_BYTES as u64);
        let read = tokio::select! {
            // A request that has come is answered.
            biased;
            read = timeout(IDLE, bounded.read_until(b'\n', &mut line)) => read,
            () = places.wanted() => return Ok(()),
        };
        match read {
            Err(_) | Ok(Ok(0)) => return Ok(()),
            Ok(result) => result?,
        };
        if line.last() != Some(&b'\n') {
            let message = format!("a request is one line of JSON of at most {MAX_REQUEST_BYTES} bytes");
            return send(&mut stream, refusal("bad_request", &message)).await;
        }
        let (outcome, stops) = match parse(&line) {
            Ok(ask) => {
                let stops = ask == Ask::Stop;
                (audited(ask, &commands, &asker, &stream).await, stops)
            }
            Err(refused) => (refused, false),
        };
        send(&mut stream, outcome).await?;
        if stops {
            // Left open for good: the client takes the end of this connection for the end of this process, so nothing but that
            // end may close it.
            let _ = stream.into_inner().into_std()?.into_raw_fd();
            return Ok(());
        }
    }
}

fn parse(line: &[u8]) -> Result<Ask, Outcome> {
    match serde_json::from_slice(line) {
        Ok(Versioned { v: VERSION }) => {}
        Ok(Versioned { v }) => {
            let message =
                format!("this supervisor speaks version {VERSION} of the control socket, not {v}: use its own `roomd`");
            return Err(refusal("version", &message));
        }
        Err(error) => return Err(refusal("bad_request", &format!("no request: {error}"))),
    }
    serde_json::from_slice::<Request>(line)
        .map(|request| request.ask)
        .map_err(|error| refusal("bad_request", &format!("no request: {error}")))
}

/// Carries out, and logs who asked if it changes something.
async fn audited(ask: Ask, commands: &Commands, asker: &Asker, stream: &BufReader<UnixStream>) -> Outcome {
    let Some((command, detail)) = ask.changes() else { return carry_out(ask, commands, stream).await };
    let audit = Audit::begin(asker.clone(), command, detail);
    let outcome = carry_out(ask, commands, stream).await;
    match &outcome {
        Outcome::Ok(_) => audit.done(),
        Outcome::Error(refusal) => audit.failed(&refusal.message),
    }
    outcome
}

async fn carry_out(ask: Ask, commands: &Commands, stream: &BufReader<UnixStream>) -> Outcome {
    match ask {
        Ask::Status => outcome(commands.status().await),
        Ask::Reload { parallel: Some(0) } => refusal("bad_request", "a reload replaces at least one worker at a time"),
        Ask::Reload { parallel } => outcome(commands.reload(parallel.unwrap_or(1)).await),
        Ask::Drain { slot, force } => outcome(commands.drain(Slot(slot), force).await),
        Ask::Undrain { slot } => outcome(commands.undrain(Slot(slot)).await),
        Ask::Upgrade { binary } => match stream.get_ref().as_fd().try_clone_to_owned() {
            Ok(asker) => outcome(commands.upgrade(binary, asker).await),
            Err(error) => refusal("internal", &format!("this connection cannot be carried over: {error}")),
        },
        Ask::Scale { workers } => match workers {
            1..=crate::config::MAX_WORKERS => outcome(commands.scale(workers).await),
            _ => refusal("bad_request", &format!("a cluster has from 1 to {} workers", crate::config::MAX_WORKERS)),
        },
        Ask::Stop => outcome(commands.stop().await),
        Ask::Kill { slot, signal } => match parse_signal(&signal) {
            Ok(signal) => outcome(commands.kill(Slot(slot), signal).await),
            Err(message) => refusal("bad_request", &message),
        },
        Ask::Log(order) => match order.filter.as_deref().map_or(Ok(()), check_filter) {
            Ok(()) => outcome(commands.log(order).await),
            Err(reason) => refusal("bad_request", &format!("the filter cannot be that: {reason}")),
        },
        Ask::Publish { order, body } => match emit::read(order, &body) {
            Ok(publication) => outcome(commands.publish(publication).await),
            Err(error) => refusal("bad_request", &error.to_string()),
        },
    }
}

fn outcome<T: Serialize>(result: Result<T, CommandError>) -> Outcome {
    match result.map(|value| serde_json::to_value(value)) {
        Ok(Ok(value)) => Outcome::Ok(value),
        Ok(Err(error)) => refusal("internal", &format!("the answer cannot be written as JSON: {error}")),
        Err(error) => refusal(error.code(), &error.to_string()),
    }
}

fn refusal(code: &str, message: &str) -> Outcome {
    Outcome::Error(Refusal { code: code.into(), message: message.into() })
}

/// Answers on a connection that another program has accepted: this process was that one when the request came.
pub async fn answer<T: Serialize>(connection: OwnedFd, result: Result<T, CommandError>) {
    let connection = std::os::unix::net::UnixStream::from(connection);
    let answered = async {
        connection.set_nonblocking(true)?;
        send(&mut BufReader::new(UnixStream::from_std(connection)?), outcome(result)).await
    };
    if let Err(error) = answered.await {
        // Whoever has asked has left, most likely.
        tracing::debug!(%error, "an answer was not sent");
    }
}

async fn send(stream: &mut BufReader<UnixStream>, outcome: Outcome) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Answer { v: VERSION, outcome })?;
    line.push(b'\n');
    timeout(WRITE, stream.write_all(&line)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
