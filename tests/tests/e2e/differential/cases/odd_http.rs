//! HTTP as no client of Socket.IO speaks it, but proxies, probes and attackers do.

use std::time::Duration;

use super::{
    super::recorder::{Recorder, SESSION, UPGRADE, WS, get, post, upgrade},
    Case,
};

const HANDSHAKE: &str = "EIO=4&transport=polling";

pub const CASES: &[Case] = &[
    ("odd: no host", |talk| talk.request(&without_host(&get(HANDSHAKE)))),
    ("odd: no host, elsewhere", |talk| talk.request("GET /nothing HTTP/1.1\r\n\r\n")),
    ("odd: no host on a post", |talk| {
        talk.connected();
        talk.request(&without_host(&post(SESSION, "42[\"a\"]")));
        talk.post(SESSION, "42[\"echo\"]");
        talk.poll();
    }),
    ("odd: no host, then another request", |talk| {
        let connection = talk.open(&format!("{}{}", without_host(&get(HANDSHAKE)), get(HANDSHAKE)));
        talk.answer(connection);
        talk.answer(connection);
    }),
    ("odd: no host for a websocket", |talk| {
        let socket = talk.open(&without_host(&upgrade(WS)));
        talk.answer(socket);
        talk.frames(socket, 1);
    }),
    ("odd: host without a name", |talk| talk.request(&get(HANDSHAKE).replace("Host: test", "Host:"))),
    ("odd: host twice", |talk| talk.request(&with(&get(HANDSHAKE), "Host: other"))),
    ("odd: target with a scheme", |talk| talk.request(&get(HANDSHAKE).replace("GET /", "GET http://test/"))),
    ("odd: target beyond ascii", |talk| talk.get("EIO=4&transport=polling&x=caf\u{e9}")),
    ("odd: bare line feeds", |talk| talk.request(&get(HANDSHAKE).replace("\r\n", "\n"))),
    ("odd: http 2.0", |talk| talk.request(&get(HANDSHAKE).replace("HTTP/1.1", "HTTP/2.0"))),
    ("odd: http 1.2", |talk| talk.request(&get(HANDSHAKE).replace("HTTP/1.1", "HTTP/1.2"))),
    ("odd: no version", |talk| talk.request(&get(HANDSHAKE).replace(" HTTP/1.1", ""))),
    ("odd: no http", |talk| talk.request("hello world\r\n\r\n")),
    ("odd: unknown method", |talk| talk.request(&get(HANDSHAKE).replacen("GET", "FETCH", 1))),
    ("odd: method in small letters", |talk| talk.request(&get(HANDSHAKE).replacen("GET", "get", 1))),
    ("odd: upgrade to h2c", |talk| {
        talk.request(&with(
            &get(HANDSHAKE),
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA",
        ));
    }),
    ("odd: expectation", |talk| {
        talk.connected();
        let connection = talk.open(&with(&post(SESSION, "42[\"a\"]"), "Expect: 100-continue"));
        talk.answer(connection);
        talk.answer(connection);
    }),
    ("odd: expectation without a body", |talk| talk.request(&with(&get(HANDSHAKE), "Expect: 100-Continue"))),
    ("odd: expectation that nobody knows", |talk| talk.request(&with(&get(HANDSHAKE), "Expect: the best"))),
    ("odd: expectation of a body that is too large", |talk| {
        talk.connected();
        let length = "Content-Length: 2000000\r\nExpect: 100-continue";
        talk.request(&post(SESSION, "").replace("Content-Length: 0", length));
    }),
    ("odd: request and the connection's end", |talk| {
        let connection = talk.open(&get(HANDSHAKE));
        talk.finish(connection);
        talk.answer(connection);
        for body in ["40", "42[\"a\"]"] {
            let connection = talk.open(&post(SESSION, body));
            talk.finish(connection);
            talk.answer(connection);
        }
        talk.poll();
    }),
    ("odd: poll and the connection's end", |talk| {
        talk.handshake();
        let connection = talk.open(&get(SESSION));
        talk.finish(connection);
        talk.answer(connection);
        talk.poll();
    }),
    ("odd: body that breaks off", |talk| {
        talk.connected();
        let connection = talk.open(&post(SESSION, "42[\"a\"]").replace("Content-Length: 7", "Content-Length: 70"));
        talk.finish(connection);
        talk.answer(connection);
        talk.poll();
    }),
    ("odd: length and chunks", |talk| {
        for headers in
            ["Content-Length: 7\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 7"]
        {
            talk.connected();
            let connection =
                talk.open(&chunked("7\r\n42[\"a\"]\r\n0\r\n\r\n").replace("Transfer-Encoding: chunked", headers));
            talk.answer(connection);
            talk.answer(connection);
        }
    }),
    ("odd: unknown coding", |talk| {
        talk.connected();
        talk.request(&post(SESSION, "42[\"a\"]").replace("Content-Length: 7", "Transfer-Encoding: foo"));
        talk.post(SESSION, "42[\"echo\"]");
        talk.poll();
    }),
    ("odd: two codings", |talk| {
        talk.connected();
        talk.request(&chunked("7\r\n42[\"a\"]\r\n0\r\n\r\n").replace("chunked", "gzip, chunked"));
        talk.poll();
    }),
    ("odd: chunk without a length", |talk| bad_chunks(talk, "zz\r\n42[\"a\"]\r\n0\r\n\r\n")),
    ("odd: second chunk without a length", |talk| bad_chunks(talk, "3\r\n42[\r\nzz\r\n\"a\"]\r\n0\r\n\r\n")),
    ("odd: chunk that is too long", |talk| bad_chunks(talk, "3\r\n42[\"a\"]\r\n0\r\n\r\n")),
    ("odd: length twice", |talk| {
        talk.connected();
        talk.request(&with(&post(SESSION, "42[\"a\"]"), "Content-Length: 7"));
        talk.poll();
    }),
    ("odd: two lengths", |talk| bad_length(talk, "7\r\nContent-Length: 8")),
    ("odd: length that is no number", |talk| bad_length(talk, "seven")),
    ("odd: length below zero", |talk| bad_length(talk, "-1")),
    ("odd: length of 2 to the 64th", |talk| bad_length(talk, "18446744073709551616")),
    ("odd: length of 2 to the 64th less one", |talk| bad_length(talk, "18446744073709551615")),
    ("odd: length too large, and nothing behind it", |talk| {
        talk.connected();
        let connection = talk.open(&post(SESSION, "").replace("Content-Length: 0", "Content-Length: 2000000"));
        talk.answer(connection);
        talk.silence(connection, Duration::from_millis(100));
    }),
    ("odd: body too large, and another request behind it", |talk| {
        talk.connected();
        let large = "x".repeat(10_000_000);
        for request in [post(SESSION, &large), chunked(&format!("989680\r\n{large}\r\n0\r\n\r\n"))] {
            let connection = talk.open(&format!("{request}{}", post(SESSION, "42[\"a\"]")));
            talk.answer(connection);
            talk.answer(connection);
        }
        talk.poll();
    }),
    ("odd: chunks too large, and no end", |talk| {
        talk.connected();
        let connection = talk.open(&chunked(&format!("ffffffff\r\n{}", "x".repeat(2_000_000))));
        talk.answer(connection);
        talk.silence(connection, Duration::from_millis(100));
        talk.post(SESSION, "42[\"a\"]");
        talk.poll();
    }),
    ("odd: body for nobody, and another request behind it", |talk| {
        let large = post("EIO=4&transport=polling&sid=abc", &"x".repeat(3_000_000));
        let connection = talk.open(&format!("{large}{}", get(HANDSHAKE)));
        talk.answer(connection);
        talk.answer(connection);
    }),
    ("odd: websocket with two keys", |talk| {
        talk.request(&with(&upgrade(WS), "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="));
    }),
    ("odd: websocket with two versions", |talk| talk.request(&with(&upgrade(WS), "Sec-WebSocket-Version: 13"))),
    ("odd: websocket without key and version", |talk| {
        let request = upgrade(WS).replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "");
        talk.request(&request.replace("Version: 13", "Version: 12"));
    }),
    ("odd: websocket by post", |talk| {
        talk.handshake();
        talk.request(&upgrade(UPGRADE).replacen("GET", "POST", 1));
    }),
    ("odd: websocket with two upgrades", |talk| talk.request(&with(&upgrade(WS), "Upgrade: websocket"))),
    ("odd: websocket as one of several upgrades", |talk| {
        talk.request(&upgrade(WS).replace("Upgrade: websocket", "Upgrade: foo, websocket"));
    }),
    ("odd: websocket with protocols in two lines", |talk| {
        talk.request(&with(&upgrade(WS), "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b"));
    }),
    ("odd: websocket with a protocol twice", |talk| {
        talk.request(&with(&upgrade(WS), "Sec-WebSocket-Protocol: a, b, a"));
    }),
    ("odd: websocket with protocols that are no names", |talk| {
        for protocols in ["", "a,,b", "a b", ",a", "a,", "\"a\""] {
            talk.request(&with(&upgrade(WS), &format!("Sec-WebSocket-Protocol: {protocols}")));
        }
    }),
];

fn without_host(request: &str) -> String {
    request.replace("Host: test\r\n", "")
}

/// With more header lines.
fn with(request: &str, lines: &str) -> String {
    request.replacen("Host: test\r\n", &format!("Host: test\r\n{lines}\r\n"), 1)
}

/// A POST to the session whose body comes in chunks.
fn chunked(chunks: &str) -> String {
    post(SESSION, "").replace("Content-Length: 0", "Transfer-Encoding: chunked") + chunks
}

/// Sends what breaks the rules of chunks, and notes whether the session lives on.
fn bad_chunks(talk: &mut Recorder, chunks: &str) {
    talk.connected();
    talk.request(&chunked(chunks));
    talk.post(SESSION, "42[\"echo\"]");
}

/// Sends a payload under a length, and notes whether the session lives on.
fn bad_length(talk: &mut Recorder, length: &str) {
    talk.connected();
    talk.request(&post(SESSION, "42[\"a\"]").replace("Content-Length: 7", &format!("Content-Length: {length}")));
    talk.post(SESSION, "42[\"echo\"]");
    talk.poll();
}
