//! Polling sessions: one GET and one POST at a time, and what breaks the rules.

use std::{io::Write, time::Duration};

use roomd_wire::SocketIoConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Cluster, LARGE, Worker, eventually, get, options, post, read_reply, read_to_end, run};

fn query(sid: &str) -> String {
    format!("EIO=4&transport=polling&sid={sid}")
}

async fn last_heard(worker: &Worker, expected: &str) {
    eventually(expected, || worker.heard().last().is_some_and(|heard| heard == expected)).await;
}

#[test]
fn messages_go_both_ways() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        // One connection for all, as a browser does.
        let mut client = worker.connect().await;
        let request = |text: &str| text.replace("Connection: close\r\n", "");
        client.write_all(request(&post(&query(&sid), "4a\u{1e}4é\u{1e}bAQL/\u{1e}3")).as_bytes()).await.unwrap();
        let ok = read_reply(&mut client).await;
        assert_eq!((ok.status, &*ok.body), (200, "ok"));
        client.write_all(request(&get(&query(&sid))).as_bytes()).await.unwrap();
        let reply = read_reply(&mut client).await;
        assert_eq!(reply.body, "4a\u{1e}4é\u{1e}451-[\"b\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQL/");
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=UTF-8"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        client.write_all(request(&get(&query(&sid))).as_bytes()).await.unwrap();
        worker.post(&query(&sid), "4later").await;
        assert_eq!(read_reply(&mut client).await.body, "4later");
    });
}

#[test]
fn overlapping_polls_end_the_session() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        let mut first = worker.connect().await;
        first.write_all(get(&query(&sid)).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let second = worker.get(&query(&sid)).await;
        assert_eq!((second.status, &*second.body), (400, ""));
        assert_eq!(read_reply(&mut first).await.body, "1");
        last_heard(&worker, "closed transport error").await;
        let next = worker.get(&query(&sid)).await;
        assert_eq!(next.body, "{\"code\":1,\"message\":\"Session ID unknown\"}");
    });
}

#[test]
fn overlapping_posts_end_the_session_and_reset_the_first() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        let mut first = worker.connect().await;
        let begun = post(&query(&sid), "4half").replace("4half", "4h");
        first.write_all(begun.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let second = worker.post(&query(&sid), "4x").await;
        assert_eq!((second.status, &*second.body), (400, ""));
        assert_eq!(read_to_end(&mut first).await, b"");
        last_heard(&worker, "closed transport error").await;
    });
}

#[test]
fn a_dropped_poll_or_post_ends_the_session() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        for request in [get, |query: &str| post(query, "4half").replace("4half", "4h")] {
            let sid = worker.handshake().await;
            let mut client = worker.connect().await;
            client.write_all(request(&query(&sid)).as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(worker.engine.session_count(), 1);
            drop(client);
            eventually("the session is gone", || worker.engine.session_count() == 0).await;
            last_heard(&worker, "closed transport error").await;
        }
    });
}

#[test]
fn a_client_that_closes_gets_its_poll_back() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        let mut poll = worker.connect().await;
        poll.write_all(get(&query(&sid)).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(worker.post(&query(&sid), "1").await.body, "ok");
        assert_eq!(read_reply(&mut poll).await.body, "6");
        last_heard(&worker, "closed transport close").await;
    });
}

#[test]
fn fatal_packets_are_answered_all_the_same() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        for (body, reason) in
            [("2", "transport error"), ("garbage", "parse error"), ("", "parse error"), ("4x\u{1e}", "parse error")]
        {
            let sid = worker.handshake().await;
            let reply = worker.post(&query(&sid), body).await;
            assert_eq!((reply.status, &*reply.body), (200, "ok"), "{body:?}");
            last_heard(&worker, &format!("closed {reason}")).await;
            assert_eq!(worker.get(&query(&sid)).await.status, 400);
        }
        assert!(worker.heard().contains(&"text x".to_owned()), "packets before the bad one count");
    });
}

#[test]
fn closing_by_the_server_reaches_the_next_polls() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        worker.post(&query(&sid), "4close").await;
        last_heard(&worker, "closed forced close").await;
        assert_eq!(worker.get(&query(&sid)).await.body, "4bye");
        assert_eq!(worker.get(&query(&sid)).await.body, "6\u{1e}1");
        assert_eq!(worker.get(&query(&sid)).await.status, 400);
    });
}

#[test]
fn a_body_over_the_limit_is_refused_and_the_session_lives_on() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        let long = "4".repeat(100_001);
        assert_eq!(worker.post(&query(&sid), &long).await.status, 413);
        // Unannounced too.
        let mut client = worker.connect().await;
        let chunked = format!(
            "POST /socket.io/?{} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
            query(&sid),
            long.len()
        );
        client.write_all(chunked.as_bytes()).await.unwrap();
        assert_eq!(read_reply(&mut client).await.status, 413);
        assert_eq!(worker.post(&query(&sid), &long[1..]).await.body, "ok");
        assert_eq!(worker.engine.session_count(), 1);
    });
}

#[test]
fn octets_are_refused() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        let request = post(&query(&sid), "4x").replace("text/plain;charset=UTF-8", "application/octet-stream");
        let reply = worker.request(&request).await;
        assert_eq!((reply.status, &*reply.body), (400, ""));
        last_heard(&worker, "closed transport error").await;
    });
}

#[test]
fn volatile_messages_need_a_pending_poll() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        worker.post(&query(&sid), "4volatile lost").await;
        worker.post(&query(&sid), "4kept").await;
        assert_eq!(worker.get(&query(&sid)).await.body, "4kept");
        let mut poll = worker.connect().await;
        poll.write_all(get(&query(&sid)).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        worker.post(&query(&sid), "4volatile seen").await;
        assert_eq!(read_reply(&mut poll).await.body, "4seen");
    });
}

#[test]
fn heartbeats_wait_for_a_poll_and_end_without_a_pong() {
    run(|| async {
        let cluster = Cluster::new();
        let options = SocketIoConfig { ping_interval_ms: 100, ping_timeout_ms: 100, ..options() };
        let worker = cluster.worker(0, options).await;
        let sid = worker.handshake().await;
        assert_eq!(worker.get(&query(&sid)).await.body, "2");
        worker.post(&query(&sid), "3").await;
        assert_eq!(worker.get(&query(&sid)).await.body, "2");
        let mut poll = worker.connect().await;
        poll.write_all(get(&query(&sid)).as_bytes()).await.unwrap();
        assert_eq!(read_reply(&mut poll).await.body, "1");
        last_heard(&worker, "closed ping timeout").await;
    });
}

#[test]
fn http_1_0_and_unix_sockets_are_served() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let (mut client, server) = tokio::net::UnixStream::pair().unwrap();
        worker.hand_over(server.into_std().unwrap().into()).await;
        client.write_all(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.contains("\r\n\r\n0{\"sid\""), "{answer}");
    });
}

#[test]
fn an_answer_that_nobody_reads_is_not_kept() {
    run(|| async {
        let cluster = Cluster::new();
        let mut options = SocketIoConfig { ping_interval_ms: 150, ping_timeout_ms: 150, ..options() };
        options.max_queue_bytes = 2 * LARGE as u64;
        let worker = cluster.worker(0, options).await;
        let sid = worker.handshake().await;
        worker.post(&query(&sid), &format!("4big {LARGE}")).await;
        let mut poll = worker.connect().await;
        poll.write_all(get(&query(&sid)).as_bytes()).await.unwrap();
        eventually("the connection has ended", || cluster.all_closed()).await;
        // Which of the two ends first is not said.
        let closed = || worker.heard().last().is_some_and(|last| last == "closed ping timeout");
        eventually("the session has ended", closed).await;
    });
}

#[test]
fn a_file_is_sent_as_long_as_it_is_read() {
    run(|| async {
        let cluster = Cluster::new();
        let options = SocketIoConfig { ping_interval_ms: 150, ping_timeout_ms: 150, ..options() };
        let worker = cluster.worker(0, options).await;
        let asked = || async {
            let mut client = worker.connect().await;
            client.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            client
        };
        let mut slow = asked().await;
        let (mut read, mut buffer) = (0, vec![0; LARGE / 20]);
        while let bytes @ 1.. = slow.read(&mut buffer).await.unwrap() {
            read += bytes;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        assert!(read > LARGE, "{read}");
        let _silent = asked().await;
        eventually("the connection has ended", || cluster.all_closed()).await;
    });
}

#[test]
fn an_answer_to_a_websocket_handshake_that_nobody_reads_is_given_up() {
    run(|| async {
        let cluster = Cluster::new();
        let options = SocketIoConfig { ping_interval_ms: 150, ping_timeout_ms: 150, ..options() };
        let worker = cluster.worker(0, options).await;
        for transport in ["websocket", "nonsense"] {
            let (mut client, mut server) = std::os::unix::net::UnixStream::pair().unwrap();
            server.set_nonblocking(true).unwrap();
            // There is no room for an answer.
            while server.write(&[b'x'; 4096]).is_ok() {}
            let upgrade =
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
            let head = format!("GET /socket.io/?EIO=4&transport={transport} HTTP/1.1\r\nHost: x\r\n{upgrade}");
            write!(client, "{head}Sec-WebSocket-Version: 13\r\n\r\n").unwrap();
            worker.hand_over(server.into()).await;
            eventually("the connection has ended", || cluster.all_closed()).await;
        }
        assert_eq!(worker.engine.session_count(), 0);
    });
}
