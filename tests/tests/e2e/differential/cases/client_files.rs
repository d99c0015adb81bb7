//! The official client's files.

use super::{Case, odd_heads::with};

/// With the same folder served.
pub const CASES: &[Case] = &[
    ("client files: each", |talk| {
        for name in NAMES {
            talk.request(&file("GET", name));
        }
    }),
    ("client files: known by the client", |talk| {
        // The version is that of the installed package: the first answer tells it.
        talk.request(&file("GET", NAMES[0]));
        let etag = talk.lines.iter().find_map(|line| line.strip_prefix("0: etag: ")).expect("an etag").to_owned();
        for known in [&etag, &format!("W/{etag}"), "\"1.0.0\"", etag.trim_matches('"'), "*", &format!("{etag}, \"1\"")]
        {
            talk.request(&with(&file("GET", NAMES[0]), &format!("If-None-Match: {known}")));
        }
    }),
    ("client files: compressed", |talk| {
        for likes in ["gzip, deflate, br, zstd", "deflate", "br;q=0.5, gzip", "identity", "gzip;q=0"] {
            talk.request(&with(&file("GET", NAMES[0]), &format!("Accept-Encoding: {likes}")));
        }
    }),
    ("client files: br alone", |talk| {
        talk.request(&with(&file("GET", NAMES[0]), "Accept-Encoding: br"));
    }),
    ("client files: other methods", |talk| {
        for method in ["POST", "PUT", "DELETE"] {
            talk.request(&file(method, NAMES[0]));
        }
    }),
    ("client files: head", |talk| {
        let connection = talk.open(&file("HEAD", NAMES[0]).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
        talk.head(connection);
    }),
    ("client files: with a query", |talk| talk.request(&file("GET", "socket.io.min.js?EIO=4&transport=polling"))),
    ("client files: two on one connection", |talk| {
        let connection = talk.open(&file("GET", NAMES[0]));
        talk.answer(connection);
        talk.send(connection, &file("GET", NAMES[1]));
        talk.answer(connection);
    }),
    ("client files: others", |talk| {
        for name in ["socket.io.msgpack.js", "socket.io", "socket.io.js/", "../package.json", "Socket.io.js", ""] {
            talk.request(&file("GET", name));
        }
    }),
];

/// With cross-origin requests allowed, too.
pub const FROM_ELSEWHERE: &[Case] = &[("client files: preflight", |talk| {
    let header = "Origin: http://a.example\r\nAccess-Control-Request-Method: GET";
    talk.request(&with(&file("OPTIONS", NAMES[0]), header));
    talk.request(&with(&file("GET", NAMES[0]), "Origin: http://b.example"));
    talk.request(&with(&file("GET", NAMES[0]), "Origin: http://c.example"));
})];

const NAMES: [&str; 8] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

fn file(method: &str, name: &str) -> String {
    format!("{method} /socket.io/{name} HTTP/1.1\r\nHost: test\r\n\r\n")
}
