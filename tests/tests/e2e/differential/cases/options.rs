//! What options change.

use super::{
    super::recorder::{Recorder, SESSION, UPGRADE, WS, get, upgrade},
    Case,
};

/// With a ping interval of 300 ms, a timeout of 200 ms, an upgrade timeout of 300 ms, and a connect timeout of 400 ms.
pub const QUICK: &[Case] = &[
    ("quick: handshake", |talk| talk.handshake()),
    ("quick: ping without a pong", |talk| {
        let socket = talk.socket();
        talk.frames(socket, 3);
    }),
    ("quick: ping and pong", |talk| {
        let socket = talk.socket();
        for _ in 0..3 {
            talk.frames(socket, 1);
            talk.text(socket, "3");
        }
        talk.frames(socket, 1);
    }),
    ("quick: ping by polling", |talk| {
        talk.connected();
        talk.poll();
        talk.post(SESSION, "3");
        talk.poll();
        talk.poll();
        talk.poll();
    }),
    ("quick: no namespace in time", |talk| {
        let socket = talk.websocket(WS);
        talk.frames(socket, 2);
        talk.text(socket, "3");
        talk.frames(socket, 2);
    }),
    ("quick: upgrade that is not finished", |talk| {
        talk.connected();
        let socket = talk.websocket(UPGRADE);
        talk.text(socket, "2probe");
        talk.frames(socket, 1);
        talk.poll();
        talk.post(SESSION, "3");
        talk.frames(socket, 2);
    }),
];

/// With cross-origin requests allowed, from all or from two origins.
pub const CROSS_ORIGIN: &[Case] = &[
    ("cross origin: get", |talk| cross_origin(talk, "GET", "EIO=4&transport=polling")),
    ("cross origin: preflight", |talk| cross_origin(talk, "OPTIONS", "EIO=4&transport=polling")),
    ("cross origin: refusal", |talk| cross_origin(talk, "GET", "EIO=4&transport=foo")),
    ("cross origin: post and poll", |talk| {
        talk.handshake();
        cross_origin(talk, "GET", "EIO=4&transport=websocket&sid=SID");
    }),
    ("cross origin: websocket", |talk| {
        for origin in ORIGINS {
            talk.request(&upgrade(WS).replace("\r\nHost: test", &format!("\r\nHost: test\r\nOrigin: {origin}")));
        }
    }),
    ("cross origin: websocket refused", |talk| {
        let request = upgrade("EIO=4&transport=foo");
        talk.request(&request.replace("\r\nHost: test", "\r\nHost: test\r\nOrigin: http://a.example"));
    }),
];

/// With a preflight that is not answered with 204.
pub const OTHER_PREFLIGHT: &[Case] = &[
    ("other preflight", |talk| cross_origin(talk, "OPTIONS", "EIO=4&transport=polling")),
    ("other preflight: get", |talk| cross_origin(talk, "GET", "EIO=4&transport=polling")),
];

/// With one transport.
pub const TRANSPORTS: &[Case] = &[
    ("transports: handshake", |talk| talk.handshake()),
    ("transports: websocket", |talk| {
        let socket = talk.websocket(WS);
        talk.frames(socket, 1);
    }),
    ("transports: websocket by plain get", |talk| talk.get(WS)),
    ("transports: upgrade", |talk| {
        talk.handshake();
        talk.websocket(UPGRADE);
    }),
    ("transports: websocket that names polling", |talk| {
        talk.request(&upgrade("EIO=4&transport=polling"));
    }),
    ("transports: websocket elsewhere", |talk| {
        talk.request(&upgrade(WS).replace("/socket.io/", "/other/"));
    }),
];

/// Without upgrades.
pub const UNTOLD: &[Case] = &[
    ("untold: handshake", |talk| talk.handshake()),
    ("untold: upgrade all the same", |talk| {
        talk.connected();
        let socket = talk.websocket(UPGRADE);
        talk.text(socket, "2probe");
        talk.frames(socket, 1);
        talk.text(socket, "5");
        talk.text(socket, "42[\"a\"]");
        talk.frames(socket, 1);
    }),
];

/// Compression of what polls are answered with.
pub const COMPRESSION: &[Case] = &[
    ("compression: none asked for", |talk| accepting(talk, 2000, "")),
    ("compression: gzip", |talk| accepting(talk, 2000, "gzip, deflate, br, zstd")),
    ("compression: deflate", |talk| accepting(talk, 2000, "br, gzip;q=0.5, deflate")),
    ("compression: br alone", |talk| accepting(talk, 2000, "br")),
    ("compression: refused", |talk| accepting(talk, 2000, "gzip;q=0, *;q=0")),
    ("compression: short", |talk| accepting(talk, 1000, "gzip")),
    ("compression: just long enough", |talk| {
        // The echo is 42["a","…"].
        accepting(talk, 1024 - 10, "gzip");
        accepting(talk, 1023 - 10, "gzip");
    }),
    ("compression: large", |talk| accepting(talk, 900_000, "gzip")),
];

/// An echo of a text of so many letters, polled by a client that accepts these codings.
fn accepting(talk: &mut Recorder, letters: usize, codings: &str) {
    talk.connected();
    talk.post(SESSION, &format!("42[\"a\",\"{}\"]", "x".repeat(letters)));
    let header = if codings.is_empty() { String::new() } else { format!("\r\nAccept-Encoding: {codings}") };
    talk.request(&get(SESSION).replace("\r\nHost: test", &format!("\r\nHost: test{header}")));
}

/// With a cookie.
pub const COOKIE: &[Case] = &[
    ("cookie: polling", |talk| {
        talk.connected();
        talk.post(SESSION, "42[\"a\"]");
        talk.poll();
    }),
    ("cookie: websocket", |talk| {
        let socket = talk.websocket(WS);
        talk.frames(socket, 1);
    }),
    ("cookie: refusal", |talk| talk.get("EIO=3&transport=polling")),
];

/// With a path without a slash at its end.
pub const PATH: &[Case] = &[
    ("path: without a slash", |talk| at(talk, "/socket.io")),
    ("path: with a slash", |talk| at(talk, "/socket.io/")),
    ("path: with more", |talk| at(talk, "/socket.iox/y")),
    ("path: another", |talk| at(talk, "/socket.i")),
    ("path: websocket without a slash", |talk| {
        let socket = talk.open(&upgrade(WS).replace("/socket.io/", "/socket.io"));
        talk.answer(socket);
        talk.frames(socket, 1);
    }),
];

fn at(talk: &mut Recorder, path: &str) {
    talk.request(&get("EIO=4&transport=polling").replace("/socket.io/", path));
}

const ORIGINS: [&str; 3] = ["http://a.example", "http://b.example", "http://c.example"];

fn cross_origin(talk: &mut Recorder, method: &str, query: &str) {
    for origin in ORIGINS {
        let headers = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-one, x-two";
        let head = format!("\r\nHost: test\r\nOrigin: {origin}\r\n{headers}");
        talk.request(&get(query).replacen("GET", method, 1).replace("\r\nHost: test", &head));
    }
    // And one of the same origin.
    talk.request(&get(query).replacen("GET", method, 1));
}
