//! Request heads as no client of Socket.IO sends them, but proxies, probes and attackers do.

use super::{
    super::recorder::{SESSION, UPGRADE, WS, get, post, upgrade},
    Case,
};

pub const HANDSHAKE: &str = "EIO=4&transport=polling";

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
    ("odd: target with quotes", |talk| talk.get("EIO=4&transport=polling&x=\"<>\"")),
    ("odd: jsonp", |talk| talk.get("EIO=4&transport=polling&j=0")),
    ("odd: two spaces", |talk| talk.request(&get(HANDSHAKE).replacen(' ', "  ", 1))),
    ("odd: lines in front", |talk| talk.request(&format!("\r\n\r\n{}", get(HANDSHAKE)))),
    ("odd: folded header", |talk| talk.request(&with(&get(HANDSHAKE), "X: a\r\n b"))),
    ("odd: header without a colon", |talk| talk.request(&with(&get(HANDSHAKE), "X"))),
    ("odd: space in front of a colon", |talk| talk.request(&with(&get(HANDSHAKE), "X : a"))),
    ("odd: large head", |talk| talk.request(&with(&get(HANDSHAKE), &format!("X: {}", "x".repeat(15_000))))),
    ("odd: head that is too large", |talk| talk.request(&with(&get(HANDSHAKE), &format!("X: {}", "x".repeat(17_000))))),
    ("odd: many headers", |talk| talk.request(&with(&get(HANDSHAKE), &["X: y"; 150].join("\r\n")))),
    ("odd: poll, and a post behind it", |talk| {
        talk.connected();
        let connection = talk.open(&format!("{}{}", get(SESSION), post(SESSION, "42[\"a\"]")));
        talk.answer(connection);
        talk.answer(connection);
    }),
    ("odd: post, and another behind it", |talk| {
        talk.connected();
        let connection = talk.open(&post(SESSION, "42[\"a\"]").repeat(2));
        talk.answer(connection);
        talk.answer(connection);
        talk.poll();
    }),
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
    ("odd: websocket with two keys", |talk| {
        talk.request(&with(&upgrade(WS), "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="));
    }),
    ("odd: websocket with a key that has bits left over", |talk| talk.request(&upgrade(WS).replace("ZQ==", "ZR=="))),
    ("odd: websocket with a key of other characters", |talk| talk.request(&upgrade(WS).replace("ZQ==", "Z-=="))),
    ("odd: websocket with version 8", |talk| talk.request(&upgrade(WS).replace("Version: 13", "Version: 8"))),
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
pub fn with(request: &str, lines: &str) -> String {
    request.replacen("Host: test\r\n", &format!("Host: test\r\n{lines}\r\n"), 1)
}
