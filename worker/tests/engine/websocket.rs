//! WebSocket sessions.

use std::{net::TcpStream as StdStream, time::Duration};

use tungstenite::{
    Message, WebSocket,
    client::IntoClientRequest,
    error::Error,
    protocol::frame::{CloseFrame, coding::CloseCode},
};

use crate::harness::{Cluster, Worker, eventually, options, run, sid_of};

pub type Client = WebSocket<StdStream>;

/// Runs a blocking client on a connection to this worker.
pub async fn with_client<R: Send + 'static>(
    worker: &Worker,
    query: &str,
    client: impl FnOnce(Client) -> R + Send + 'static,
) -> R {
    let stream = worker.connect().await.into_std().unwrap();
    let url = format!("ws://localhost/socket.io/?{query}");
    let run = move || {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (socket, _) = tungstenite::client(url.into_client_request().unwrap(), stream).unwrap();
        client(socket)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Runs a client with a session of its own; its open packet has been read.
pub async fn with_session<R: Send + 'static>(
    worker: &Worker,
    client: impl FnOnce(&mut Client) -> R + Send + 'static,
) -> R {
    with_client(worker, "EIO=4&transport=websocket", |mut socket| {
        let open = text(&mut socket);
        assert!(open.starts_with("0{\"sid\":\""), "{open}");
        client(&mut socket)
    })
    .await
}

pub fn text(socket: &mut Client) -> String {
    match socket.read().unwrap() {
        Message::Text(text) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

pub fn say(socket: &mut Client, text: &str) {
    socket.send(Message::text(text)).unwrap();
}

/// The close frame that comes; `None` is one without a code.
pub fn close_frame(socket: &mut Client) -> Option<CloseFrame> {
    loop {
        match socket.read() {
            Ok(Message::Close(frame)) => return frame,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn messages_go_both_ways() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        with_session(&worker, |socket| {
            say(socket, "4hello");
            assert_eq!(text(socket), "4hello");
            socket.send(Message::binary(vec![1, 2, 255])).unwrap();
            assert_eq!(text(socket), "451-[\"b\",{\"_placeholder\":true,\"num\":0}]");
            assert_eq!(socket.read().unwrap(), Message::binary(vec![1, 2, 255]));
            say(socket, "bAQI=");
            assert_eq!(text(socket), "451-[\"b\",{\"_placeholder\":true,\"num\":0}]");
            assert_eq!(socket.read().unwrap(), Message::binary(vec![1, 2]));
            for ignored in ["1", "5", "6", "3"] {
                say(socket, ignored);
            }
            say(socket, "4still here");
            assert_eq!(text(socket), "4still here");
            socket.send(Message::Ping(vec![7].into())).unwrap();
            assert_eq!(socket.read().unwrap(), Message::Pong(vec![7].into()));
            socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).unwrap();
            assert_eq!(close_frame(socket).unwrap().code, CloseCode::Normal);
        })
        .await;
        eventually("the connection's end is told", || cluster.all_closed()).await;
        assert!(cluster.all_accepted());
        eventually("the session's end too", || worker.heard().last().unwrap() == "closed transport close").await;
        assert_eq!((worker.engine.session_count(), worker.engine.connection_count()), (0, 0));
    });
}

#[test]
fn the_open_packet_is_the_official_one() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let open = with_client(&worker, "EIO=4&transport=websocket", |mut socket| text(&mut socket)).await;
        let sid = sid_of(&open);
        assert_eq!(
            open,
            format!(
                "0{{\"sid\":\"{sid}\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":100000}}"
            )
        );
    });
}

#[test]
fn a_burst_arrives_whole_and_in_order() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        with_session(&worker, |socket| {
            say(socket, "4repeat 5000");
            for number in 0..5000 {
                assert_eq!(text(socket), format!("4{number:0100}"));
            }
            say(socket, "4big 900000");
            assert_eq!(text(socket).len(), 900_001);
        })
        .await;
    });
}

#[test]
fn a_broadcast_reaches_everybody() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let stream = worker.connect().await.into_std().unwrap();
            clients.spawn_blocking(move || {
                stream.set_nonblocking(false).unwrap();
                let request = "ws://localhost/socket.io/?EIO=4&transport=websocket".into_client_request().unwrap();
                let (mut socket, _) = tungstenite::client(request, stream).unwrap();
                text(&mut socket);
                assert_eq!(text(&mut socket), "4hello");
            });
        }
        eventually("all are there", || worker.engine.session_count() == 10).await;
        with_session(&worker, |socket| say(socket, "4all hello")).await;
        while let Some(result) = clients.join_next().await {
            result.unwrap();
        }
    });
}

#[test]
fn violations_end_the_session_with_the_official_codes() {
    let long = format!("4{}", "x".repeat(100_000));
    for (sent, code, reason) in [
        (Message::text("2"), None, "transport error"),
        (Message::text("9"), None, "parse error"),
        (Message::text(""), None, "parse error"),
        (Message::text(long), Some(1009), "transport error"),
        (Message::text("4close"), None, "forced close"),
    ] {
        run(|| async {
            let cluster = Cluster::new();
            let worker = cluster.worker(0, options()).await;
            with_session(&worker, move |socket| {
                socket.send(sent).unwrap();
                let frame = close_frame(socket);
                assert_eq!(frame.map(|frame| u16::from(frame.code)), code);
            })
            .await;
            eventually("the end is told", || worker.engine.session_count() == 0).await;
            eventually("the end is told", || worker.heard().last().unwrap() == &format!("closed {reason}")).await;
        });
    }
}

#[test]
fn exactly_the_limit_passes() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        with_session(&worker, |socket| {
            let most = format!("4{}", "x".repeat(99_999));
            say(socket, &most);
            assert_eq!(text(socket), most);
        })
        .await;
    });
}

#[test]
fn heartbeats_follow_the_pong_and_end_without_one() {
    let mut options = options();
    options.ping_interval_ms = 100;
    options.ping_timeout_ms = 80;
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options).await;
        with_session(&worker, |socket| {
            for _ in 0..3 {
                assert_eq!(text(socket), "2");
                say(socket, "3");
            }
            assert_eq!(text(socket), "2");
            assert_eq!(close_frame(socket), None);
        })
        .await;
        eventually("the end is told", || worker.heard().last().unwrap() == "closed ping timeout").await;
    });
}

#[test]
fn a_slow_client_is_closed_and_counted() {
    let mut options = options();
    options.max_queue_bytes = 50_000;
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options).await;
        let stream = worker.connect().await.into_std().unwrap();
        let mut socket = tokio::task::spawn_blocking(move || {
            stream.set_nonblocking(false).unwrap();
            let request = "ws://localhost/socket.io/?EIO=4&transport=websocket".into_client_request().unwrap();
            tungstenite::client(request, stream).unwrap().0
        })
        .await
        .unwrap();
        for _ in 0..2000 {
            if worker.engine.session_count() == 0 {
                break;
            }
            say(&mut socket, "4big 40000");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        eventually("the end is told", || worker.heard().last().unwrap() == "closed transport error").await;
        eventually("it is counted", || worker.stats.borrow().counters.slow_clients == 1).await;
    });
}

#[test]
fn a_panic_in_the_layer_above_ends_that_client_only() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        with_session(&worker, |socket| {
            say(socket, "4panic");
            assert!(matches!(socket.read(), Err(Error::Protocol(_) | Error::Io(_) | Error::ConnectionClosed)));
        })
        .await;
        eventually("the connection's end is told", || cluster.all_closed()).await;
        eventually("the session's end too", || worker.heard().last().unwrap() == "closed transport close").await;
        with_session(&worker, |socket| {
            say(socket, "4hello");
            assert_eq!(text(socket), "4hello");
        })
        .await;
    });
}
