//! Both sides of the control socket over real sockets, with a small stand-in for the supervise loop.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;
use roomd_wire::Slot;
use roomd_worker::bus::PublishError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{protocol::MAX_REQUEST_BYTES, socket::SocketError, *};
use crate::{
    command::{Command, CommandError, Commands, Killed, Published, Reloaded, Scaled, Undrained},
    emit::{Kind, MAX_ORDER_BYTES},
    logging::{Filters, LogOrder, LogStatus},
    status::{Status, sample},
};

/// Answers commands in the supervise loop's place.
async fn answer(mut commands: tokio::sync::mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Status(reply) => drop(reply.send(sample())),
            Command::Reload(_, reply) => drop(reply.send(Ok(Reloaded { replaced: 2 }))),
            Command::Drain { slot, reply, .. } => drop(reply.send(Err(CommandError::LastReady { slot }))),
            Command::Undrain(slot, reply) => drop(reply.send(Ok(Undrained { slot: slot.0 }))),
            Command::Upgrade { reply, .. } => {
                drop(reply.send(Err(CommandError::NotUpgraded { reason: "as tested".into() })))
            }
            Command::Scale(to, reply) => drop(reply.send(Ok(Scaled { from: 2, to }))),
            Command::Log(order, reply) => {
                let mut filters = Filters::default();
                filters.order(&order, std::time::Instant::now());
                drop(reply.send(Ok(filters.status(std::time::Instant::now()))));
            }
            Command::Stop(reply) => {
                drop(reply.send(Ok(())));
                return;
            }
            Command::Kill { slot: Slot(0), signal: Signal::SIGKILL, reply } => {
                drop(reply.send(Ok(Killed { pid: 4711 })))
            }
            Command::Publish(what, reply) => drop(reply.send(match what.channel.as_str() {
                "socket.io#/down#" => Err(CommandError::Publish(PublishError::Down("refused".into()))),
                _ => Ok(()),
            })),
            Command::Kill { slot, reply, .. } => drop(reply.send(Err(CommandError::NoSuchSlot { slot, slots: 2 }))),
        }
    }
}

struct Running {
    path: PathBuf,
    _folder: tempfile::TempDir,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn running() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/control.sock");
    let socket = ControlSocket::bind(&path).unwrap();
    let (commands, receiver) = Commands::channel();
    tokio::spawn(answer(receiver));
    Running { path, _folder: folder, server: tokio::spawn(serve(socket, commands)) }
}

#[tokio::test]
async fn every_command_goes_there_and_back() {
    let running = running().await;
    let mut client = Client::connect(&running.path).await.unwrap();
    assert_eq!(client.ask::<Status>(Ask::Status).await.unwrap(), sample());
    assert_eq!(client.ask_long::<Reloaded>(Ask::Reload { parallel: None }).await.unwrap(), Reloaded { replaced: 2 });
    assert_eq!(client.ask_long::<Scaled>(Ask::Scale { workers: 4 }).await.unwrap(), Scaled { from: 2, to: 4 });
    for signal in ["KILL", "sigkill", "9"] {
        let killed: Killed = client.ask(Ask::Kill { slot: 0, signal: signal.into() }).await.unwrap();
        assert_eq!(killed.pid, 4711);
    }
    let order = LogOrder { filter: Some("debug".into()), slot: Some(1), ..LogOrder::default() };
    let log: LogStatus = client.ask(Ask::Log(order)).await.unwrap();
    assert_eq!((log.filter.as_str(), log.slots[0].filter.as_str()), ("info", "debug"));
    // The largest order, of bytes that take two each in the request line.
    let mut body = "{\"event\":\"x\",\"args\":[\"".to_owned();
    body.push_str(&"\\\\".repeat((MAX_ORDER_BYTES - body.len() - 3) / 2));
    body.push_str("\"]}");
    let published: Published = client.ask(Ask::Publish { order: Kind::Emit, body }).await.unwrap();
    assert!(published.published);
    client.ask::<()>(Ask::Stop).await.unwrap();

    // The connection ends with the process, not with the server.
    let end = tokio::spawn(client.wait_for_the_end());
    running.server.abort();
    assert!(running.server.await.unwrap_err().is_cancelled());
    tokio::task::yield_now().await;
    assert!(!end.is_finished());
}

#[tokio::test]
async fn many_half_requests_do_not_keep_a_command_out() {
    let running = running().await;
    let mut half = Vec::new();
    for _ in 0..server::MAX_CONNECTIONS + 8 {
        let mut stream = tokio::net::UnixStream::connect(&running.path).await.unwrap();
        stream.write_all(b"{\"v\":").await.unwrap();
        half.push(stream);
    }
    let asked = async { Client::connect(&running.path).await.unwrap().ask::<Status>(Ask::Status).await.unwrap() };
    let limit = std::time::Duration::from_secs(5);
    assert_eq!(tokio::time::timeout(limit, asked).await.unwrap(), sample());
}

#[tokio::test]
async fn refusals_come_as_sentences() {
    let running = running().await;
    let mut client = Client::connect(&running.path).await.unwrap();
    let cases = [
        (
            Ask::Kill { slot: 7, signal: "KILL".into() },
            "no_such_slot",
            "there is no slot 7: this cluster has the slots 0 to 1",
        ),
        (Ask::Kill { slot: 0, signal: "KIL".into() }, "bad_request", "did you mean KILL?"),
        (
            Ask::Log(LogOrder { filter: Some("info,x=loud".into()), ..LogOrder::default() }),
            "bad_request",
            "`x=loud` at character 6 has no level",
        ),
        (Ask::Scale { workers: 0 }, "bad_request", "from 1 to 1024"),
        (Ask::Publish { order: Kind::Disconnect, body: "{}".into() }, "bad_request", "nor is `all` set"),
        (
            Ask::Publish { order: Kind::Emit, body: r#"{"event":"x","namespace":"/down"}"#.into() },
            "bus_down",
            "failed to publish: the bus is down (refused): `roomd status` shows",
        ),
    ];
    for (ask, expected, words) in cases {
        match client.ask::<serde_json::Value>(ask).await.unwrap_err() {
            ClientError::Refused { code, message } if code == expected && message.contains(words) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Sends bytes as they are and returns all that comes back until the end of file or the first line.
async fn raw(path: &Path, bytes: &[u8]) -> String {
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    // The server may have closed before all was written.
    let _ = stream.write_all(bytes).await;
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn bytes_that_are_no_request_are_refused_and_bounded() {
    let running = running().await;
    let too_long = vec![b' '; MAX_REQUEST_BYTES];
    let cases: [(&[u8], &str); 6] = [
        (b"\n", "bad_request"),
        (b"GET / HTTP/1.1\r\n", "bad_request"),
        (b"{\"v\":2,\"command\":\"dance\"}\n", "speaks version 1"),
        (b"{\"v\":1,\"command\":\"dance\"}\n", "unknown variant `dance`"),
        (b"{\"v\":1,\"command\":\"scale\",\"workers\":70000}\n", "bad_request"),
        (&too_long, "at most 2004096 bytes"),
    ];
    for (bytes, expected) in cases {
        let answer = raw(&running.path, bytes).await;
        assert!(answer.starts_with("{\"v\":1,\"error\":{") && answer.contains(expected), "{answer}");
    }
    assert!(
        raw(&running.path, b"{\"v\":1,\"command\":\"status\",\"new\":1}\n").await.contains("\"ok\""),
        "unknown fields are let be"
    );
}

#[tokio::test]
async fn without_a_supervisor_the_client_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let nothing_there = Client::connect(&path).await.unwrap_err();
    assert!(matches!(&nothing_there, ClientError::NotRunning(_)) && nothing_there.to_string().contains("roomd up"));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(
        matches!(Client::connect(&path).await.unwrap_err(), ClientError::NotRunning(_)),
        "a stale file counts as nothing"
    );
}

#[test]
fn only_its_user_reaches_the_socket_and_it_is_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/run/control.sock");
    let socket = ControlSocket::bind(&path).unwrap();
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    drop(socket);
    assert!(!path.exists());
}

#[test]
fn a_second_supervisor_is_refused_and_a_stale_socket_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let first = ControlSocket::bind(&path).unwrap();
    let refused = ControlSocket::bind(&path).unwrap_err();
    assert!(matches!(refused, SocketError::AlreadyRunning(_)) && refused.to_string().contains("roomd stop --control"));
    drop(first);

    // What a killed supervisor leaves: a socket file that nobody listens on.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let second = ControlSocket::bind(&path).unwrap();
    // Another program's socket, without the lock.
    drop(second);
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(matches!(ControlSocket::bind(&path).unwrap_err(), SocketError::AlreadyRunning(_)));
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    fs::write(&path, "dear diary").unwrap();
    assert!(matches!(ControlSocket::bind(&path).unwrap_err(), SocketError::NotASocket(_)));
    assert_eq!(fs::read_to_string(&path).unwrap(), "dear diary");
}

#[test]
fn a_folder_that_others_could_swap_the_socket_in_is_refused_and_our_own_is_tightened() {
    let parent = tempfile::tempdir().unwrap();
    let open = parent.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(ControlSocket::bind(&open.join("c.sock")).unwrap_err(), SocketError::OpenFolder(_)));

    let ours = parent.path().join("roomd-1");
    fs::create_dir(&ours).unwrap();
    fs::set_permissions(&ours, fs::Permissions::from_mode(0o755)).unwrap();
    let _socket = ControlSocket::bind(&ours.join("control.sock")).unwrap();
    assert_eq!(fs::metadata(&ours).unwrap().permissions().mode() & 0o777, 0o700);

    if nix::unistd::Uid::effective().is_root() {
        let foreign = parent.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        std::os::unix::fs::chown(&foreign, Some(12345), None).unwrap();
        let refused = ControlSocket::bind(&foreign.join("c.sock")).unwrap_err();
        assert!(matches!(refused, SocketError::ForeignFolder { owner: 12345, .. }));
    }
}
