//! Requests as no Socket.IO client sends them: what is refused and how, and that the answer arrives.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Cluster, Worker, eventually, get, options, post, read_reply, read_to_end, run};

fn query(sid: &str) -> String {
    format!("EIO=4&transport=polling&sid={sid}")
}

/// A request that leaves its connection open.
fn kept(request: &str) -> String {
    request.replace("Connection: close\r\n", "")
}

/// The head of a POST with another length than it has.
fn announcing(query: &str, length: &str) -> String {
    kept(&post(query, "")).replace("Content-Length: 0", &format!("Content-Length: {length}"))
}

fn chunked(query: &str, chunks: &str) -> String {
    kept(&post(query, "")).replace("Content-Length: 0", "Transfer-Encoding: chunked") + chunks
}

async fn begun(worker: &Worker, request: &str) -> TcpStream {
    let mut client = worker.connect().await;
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

#[test]
fn what_http_leaves_to_the_server_is_decided_so() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let handshake = get("EIO=4&transport=polling");
        let with = |line: &str| handshake.replace("Host: x\r\n", &format!("Host: x\r\n{line}\r\n"));
        for (request, status) in [
            (handshake.replace("GET /", "GET http://x/"), 200),
            (handshake.replace("polling", "polling&x=caf\u{e9}"), 200),
            (handshake.replace("\r\n", "\n"), 200),
            (with("Host: y"), 200),
            (with("Upgrade: h2c"), 200),
            (with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c"), 200),
            (with("Expect: 100-continue"), 200),
            (with("Expect: the best"), 417),
            (with("Content-Length: 0\r\nContent-Length: 0"), 200),
            (with("Content-Length: 0\r\nContent-Length: 1"), 400),
            (with("Content-Length: 18446744073709551615"), 431),
            (with("Transfer-Encoding: foo"), 400),
            (with("Transfer-Encoding: chunked, chunked"), 400),
            (with("Transfer-Encoding: chunked").replace("1.1", "1.0"), 400),
            (handshake.replace("polling", "polling&x=\""), 400),
            (handshake.replace("GET /", "GET  /"), 400),
            (with(&["X: y"; 101].join("\r\n")), 431),
            (handshake.replace("Host: x\r\n", ""), 400),
            (handshake.replace("Host: x\r\n", "").replace("1.1", "1.0"), 200),
            (handshake.replace("GET", "get"), 400),
        ] {
            let answer = read_to_end(&mut begun(&worker, &request).await).await;
            let answer = String::from_utf8(answer).unwrap();
            assert_eq!(answer.split(' ').nth(1), Some(&*status.to_string()), "{request}{answer}");
        }
        let twice =
            "EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: foo, websocket\r\n";
        let keys = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let mut client = begun(&worker, &format!("GET /socket.io/?{twice}{keys}\r\n")).await;
        assert_eq!(read_reply(&mut client).await.status, 101);
    });
}

#[test]
fn requests_of_one_connection_are_served_one_after_the_other() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        let posts = kept(&post(&query(&sid), "4x")).repeat(3);
        let mut client = begun(&worker, &format!("{posts}{}", kept(&get(&query(&sid))))).await;
        for _ in 0..3 {
            assert_eq!(read_reply(&mut client).await.body, "ok");
        }
        assert_eq!(read_reply(&mut client).await.body, "4x\u{1e}4x\u{1e}4x");
    });
}

#[test]
fn a_length_that_is_too_large_is_answered_before_the_body_comes() {
    run(|| async {
        let cluster = Cluster::new();
        let home = cluster.worker(0, options()).await;
        let other = cluster.worker(1, options()).await;
        let sid = home.handshake().await;
        for worker in [&home, &other] {
            let length = 10_000_000;
            let mut client = begun(worker, &announcing(&query(&sid), &length.to_string())).await;
            assert_eq!(read_reply(&mut client).await.status, 413);
            // Nobody is hurt by a client that sends it all the same.
            client.write_all(&vec![b'x'; length]).await.unwrap();
            client.write_all(kept(&post(&query(&sid), "4x")).as_bytes()).await.unwrap();
            assert_eq!(read_reply(&mut client).await.body, "ok");
        }
        assert_eq!(home.heard(), ["opened", "text x", "text x"]);
    });
}

#[test]
fn a_client_that_sends_all_before_it_reads_gets_its_answer() {
    run(|| async {
        let cluster = Cluster::new();
        let home = cluster.worker(0, options()).await;
        let other = cluster.worker(1, options()).await;
        let sid = home.handshake().await;
        let large = "x".repeat(20_000_000);
        for worker in [&home, &other] {
            for (request, status) in [
                (post(&query(&sid), &large), 413),
                (chunked(&query(&sid), &format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len())), 413),
                (post("EIO=4&transport=polling&sid=abc", &large), 400),
                (post("EIO=4&transport=polling", &large).replace("/socket.io", "/elsewhere"), 404),
            ] {
                assert_eq!(worker.request(&request).await.status, status);
            }
        }
        assert_eq!(home.engine.session_count(), 1);
    });
}

#[test]
fn a_client_that_asks_before_it_sends_too_much_is_told_and_the_connection_ends() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        let asking = |length| announcing(&query(&sid), length).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
        let refused = read_reply(&mut begun(&worker, &asking("200000")).await).await;
        assert_eq!((refused.status, refused.header("connection")), (413, Some("close")));
        let mut client = begun(&worker, &asking("2")).await;
        assert_eq!(read_reply(&mut client).await.status, 100);
        client.write_all(b"4x").await.unwrap();
        assert_eq!(read_reply(&mut client).await.body, "ok");
    });
}

#[test]
fn a_body_that_is_no_http_ends_its_session_and_is_told_so() {
    run(|| async {
        let cluster = Cluster::new();
        let home = cluster.worker(0, options()).await;
        let other = cluster.worker(1, options()).await;
        for worker in [&home, &other] {
            for chunks in ["zz\r\n4x\r\n0\r\n\r\n", "2\r\n4x\r\nzz\r\n", "1\r\n4x\r\n0\r\n\r\n"] {
                let sid = home.handshake().await;
                let mut client = begun(worker, &chunked(&query(&sid), chunks)).await;
                let answer = read_reply(&mut client).await;
                assert_eq!((answer.status, &*answer.body), (400, ""), "{chunks:?}");
                assert_eq!(answer.header("connection"), Some("close"));
                assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
                // Another worker may have met the error before it had passed anything on.
                if worker.id == home.id {
                    eventually("the session is gone", || home.engine.session_count() == 0).await;
                }
            }
        }
        assert!(!home.heard().iter().any(|heard| heard.starts_with("text")));
    });
}

#[test]
fn a_client_that_ends_its_side_behind_a_request_is_answered_but_not_waited_for() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        for request in
            [kept(&get("EIO=4&transport=polling")), kept(&post(&query(&sid), "4x")), kept(&get(&query(&sid)))]
        {
            let mut client = begun(&worker, &request).await;
            client.shutdown().await.unwrap();
            assert_eq!(read_reply(&mut client).await.status, 200, "{request}");
        }
        assert_eq!(worker.engine.session_count(), 2);
        let mut client = begun(&worker, &kept(&get(&query(&sid)))).await;
        client.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut client).await, b"");
        eventually("the session is gone", || worker.engine.session_count() == 1).await;
    });
}
