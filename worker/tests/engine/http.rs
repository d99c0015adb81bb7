//! Answers against those of the official server, as captured in `tests/vectors/engineio_http.json`.

use std::rc::Rc;

use roomd_wire::{CorsConfig, CorsOrigin, SocketIoConfig};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::harness::{Cluster, Reply, Worker, eventually, get, options, post, read_reply, read_to_end, run};

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/engineio_http.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A captured answer in our form.
fn captured(case: &Value) -> Reply {
    let mut headers: Vec<String> = case["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap().split_once(": ").unwrap())
        .map(|(name, value)| format!("{}: {value}", name.to_lowercase()))
        .collect();
    headers.sort();
    let status = case["status"].as_str().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, headers, body: case["body"].as_str().unwrap().to_owned() }
}

/// Our answer with what differs on purpose or by chance made equal: ids, and so the lengths of open packets.
fn comparable(mut reply: Reply) -> Reply {
    if reply.body.starts_with("0{") {
        let json: Value = serde_json::from_str(&reply.body[1..]).unwrap();
        assert_eq!(reply.header("content-length").unwrap(), reply.body.len().to_string());
        reply.body = reply.body.replace(json["sid"].as_str().unwrap(), "SID");
        reply.headers.retain(|line| !line.starts_with("content-length: "));
    }
    reply
}

fn with_origin(request: &str, origin: &str) -> String {
    request.replacen("Host: x\r\n", &format!("Host: x\r\nOrigin: {origin}\r\n"), 1)
}

fn upgrade(query: &str) -> String {
    format!(
        "GET /socket.io/?{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

fn official() -> SocketIoConfig {
    SocketIoConfig::default()
}

async fn compare(worker: &Worker, vectors: &Value, name: &str, request: &str) {
    let ours = comparable(worker.request(request).await);
    let mut theirs = comparable(captured(&vectors["cases"][name]));
    if theirs.status == 204 {
        // RFC 9110 forbids it there, and hyper obeys.
        theirs.headers.retain(|line| line != "content-length: 0");
    }
    assert_eq!(ours, theirs, "{name}");
}

#[test]
fn answers_are_those_of_the_official_server() {
    let vectors = vectors();
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, official()).await;
        let sid = worker.handshake().await;
        for (name, request) in [
            ("defaults_handshake", get("EIO=4&transport=polling")),
            ("err_unknown_transport", get("EIO=4&transport=foo")),
            ("err_missing_transport", get("EIO=4")),
            ("err_transport_webtransport", get("EIO=4&transport=webtransport")),
            ("err_unknown_sid", get("EIO=4&transport=polling&sid=abc")),
            ("err_post_without_sid", post("EIO=4&transport=polling", "4x")),
            ("err_options_no_cors", get("EIO=4&transport=polling").replace("GET", "OPTIONS")),
            ("err_ws_transport_plain_get", get("EIO=4&transport=websocket")),
            ("err_eio3", get("EIO=3&transport=polling")),
            ("err_eio_missing", get("transport=polling")),
            ("err_eio5", get("EIO=5&transport=polling")),
            ("err_duplicate_EIO_last_wins", get("EIO=3&EIO=4&transport=polling")),
            ("path_without_trailing_slash", get("EIO=4&transport=polling").replace("io/?", "io?")),
            ("path_prefix_extra", get("EIO=4&transport=polling").replace("io/?", "io/foo/bar?")),
            ("err_transport_mismatch", get(&format!("EIO=4&transport=websocket&sid={sid}"))),
            ("err_protocol_mismatch", get(&format!("EIO=3&transport=polling&sid={sid}"))),
            ("put_with_sid", get(&format!("EIO=4&transport=polling&sid={sid}")).replace("GET", "PUT")),
            ("post_connect", post(&format!("EIO=4&transport=polling&sid={sid}"), "4x")),
            ("client_js_404_when_unknown", get("x").replace("io/?x", "io/nothing.js")),
        ] {
            compare(&worker, &vectors, name, &request).await;
        }
        // 13 of the above are refusals; the supervisor hears of them.
        eventually("refusals are counted", || worker.stats.borrow().counters.refused_requests == 13).await;
    });
}

#[test]
fn refused_websockets_get_the_bare_text() {
    let vectors = vectors();
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, official()).await;
        for (name, query) in [
            ("ws_err_unknown_sid", "EIO=4&transport=websocket&sid=abc"),
            ("ws_err_unknown_transport", "EIO=4&transport=foo"),
            ("ws_upgrade_with_transport_polling", "EIO=4&transport=polling"),
        ] {
            let case = &vectors["cases"][name];
            let mut client = worker.connect().await;
            client.write_all(upgrade(query).as_bytes()).await.unwrap();
            let ours = read_to_end(&mut client).await;
            let lines: Vec<&str> = [case["status"].as_str().unwrap()]
                .into_iter()
                .chain(case["headers"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()))
                .collect();
            let head = format!("{}\r\n\r\n", lines.join("\r\n"));
            let body = if name == "ws_upgrade_with_transport_polling" {
                &[0x88, 0][..]
            } else {
                case["body"].as_str().unwrap().as_bytes()
            };
            assert_eq!(ours, [head.as_bytes(), body].concat(), "{name}: {}", String::from_utf8_lossy(&ours));
        }
        // Here we are better than the official server, which says so only after the 101.
        let mut client = worker.connect().await;
        client.write_all(upgrade("EIO=3&transport=websocket").as_bytes()).await.unwrap();
        let ours = String::from_utf8(read_to_end(&mut client).await).unwrap();
        assert!(ours.starts_with("HTTP/1.1 400 ") && ours.ends_with("\r\n\r\nUnsupported protocol version"), "{ours}");
        let mut client = worker.connect().await;
        client
            .write_all(upgrade("EIO=4&transport=websocket").replace("/socket.io", "/other").as_bytes())
            .await
            .unwrap();
        assert_eq!(read_to_end(&mut client).await, b"");
        for broken in ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="] {
            let mut client = worker.connect().await;
            let request = upgrade("EIO=4&transport=websocket").replace(broken, "X-Nothing: 1");
            client.write_all(request.as_bytes()).await.unwrap();
            let ours = String::from_utf8(read_to_end(&mut client).await).unwrap();
            assert!(ours.starts_with("HTTP/1.1 400 "), "{ours}");
        }
        eventually("no connection is left", || cluster.all_closed()).await;
    });
}

#[test]
fn cors_headers_are_on_every_answer() {
    let vectors = vectors();
    for (origins, cases) in [
        (
            &["*"][..],
            &[("cors_star_get", "http://c.example", "GET"), ("cors_star_preflight", "http://a.example", "OPTIONS")][..],
        ),
        (
            &["http://a.example", "http://b.example"],
            &[("cors_list_match", "http://b.example", "GET"), ("cors_list_miss", "http://c.example", "GET")],
        ),
    ] {
        run(|| async {
            let cluster = Cluster::new();
            let mut options = official();
            let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
            options.cors = Some(CorsConfig { origin: CorsOrigin::of_list(origins), ..CorsConfig::default() });
            let worker = cluster.worker(0, options).await;
            for (name, origin, method) in cases {
                let request = get("EIO=4&transport=polling").replace("GET", method);
                compare(&worker, &vectors, name, &with_origin(&request, origin)).await;
            }
            let refused = worker.request(&with_origin(&get("EIO=4"), "http://b.example")).await;
            assert_eq!(refused.status, 400);
            assert!(refused.header("access-control-allow-origin").is_some());
            let mut client = worker.connect().await;
            let request = with_origin(&upgrade("EIO=4&transport=websocket"), "http://b.example");
            client.write_all(request.as_bytes()).await.unwrap();
            let switched = read_reply(&mut client).await;
            assert_eq!(switched.status, 101);
            assert!(switched.header("access-control-allow-origin").is_some());
        });
    }
}

#[test]
fn other_paths_are_the_application_s() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let page = worker.request("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert_eq!((page.status, &*page.body), (200, "a page"));
        assert_eq!(worker.request("GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.status, 404);
    });
}

#[test]
fn what_is_no_http_is_answered_and_closed() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        for (request, status) in [
            ("nonsense\r\n\r\n".to_owned(), "400"),
            (format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000)), "431"),
            (format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200)), "431"),
        ] {
            let mut client = worker.connect().await;
            client.write_all(request.as_bytes()).await.unwrap();
            let answer = String::from_utf8(read_to_end(&mut client).await).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
        eventually("no connection is left", || cluster.all_closed()).await;
    });
}

#[test]
fn a_pipelined_upgrade_comes_after_the_answers_before_it() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let mut client = worker.connect().await;
        let page = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3);
        // A frame behind the head: a client need not wait.
        let mut bytes = format!("{page}{}", upgrade("EIO=4&transport=websocket")).into_bytes();
        bytes.extend_from_slice(&[0x81, 0x82, 0, 0, 0, 0, b'4', b'x']);
        client.write_all(&bytes).await.unwrap();
        for _ in 0..3 {
            assert_eq!(read_reply(&mut client).await.body, "a page");
        }
        assert_eq!(read_reply(&mut client).await.status, 101);
        eventually("the message behind the head was read", || worker.heard().contains(&"text x".to_owned())).await;
    });
}

#[test]
fn the_handshake_keeps_the_request_and_the_client_s_address() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let request = get("EIO=4&transport=polling&token=1")
            .replace("Host: x\r\n", "Host: x\r\nX-Forwarded-For: 203.0.113.9\r\nCookie: a=b\r\n");
        assert_eq!(worker.request(&request).await.status, 200);
        let handshake = Rc::clone(&worker.handshakes.borrow()[0]);
        assert_eq!(handshake.raw_query(), "EIO=4&transport=polling&token=1");
        assert_eq!(handshake.header("cookie"), Some("a=b"));
        assert_eq!(handshake.peer.to_string(), "203.0.113.9:0");
    });
}
