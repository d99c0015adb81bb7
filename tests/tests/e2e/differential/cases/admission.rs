//! Which requests are let in, and what the others are told.

use super::{
    super::recorder::{SESSION, UPGRADE, WS, get},
    Case,
};

pub const CASES: &[Case] = &[
    ("handshake", |talk| talk.handshake()),
    ("transport missing", |talk| talk.get("EIO=4")),
    ("no query", |talk| talk.request("GET /socket.io/ HTTP/1.1\r\nHost: test\r\n\r\n")),
    ("transport unknown", |talk| talk.get("EIO=4&transport=foo")),
    ("transport inherited", |talk| talk.get("EIO=4&transport=constructor")),
    ("webtransport", |talk| talk.get("EIO=4&transport=webtransport")),
    ("sid unknown", |talk| talk.get("EIO=4&transport=polling&sid=abc")),
    ("sid empty", |talk| talk.get("EIO=4&transport=polling&sid=")),
    ("sid unknown, of our form", |talk| talk.get("EIO=4&transport=polling&sid=AQAAAAAAAAABl8iJTN9gsBVpkdtJCiGP")),
    ("post without sid", |talk| talk.post("EIO=4&transport=polling", "40")),
    ("options without cors", |talk| talk.request(&get("EIO=4&transport=polling").replacen("GET", "OPTIONS", 1))),
    ("websocket by plain get", |talk| talk.get(WS)),
    ("revision 3", |talk| talk.get("EIO=3&transport=polling")),
    ("revision missing", |talk| talk.get("transport=polling")),
    ("revision 5", |talk| talk.get("EIO=5&transport=polling")),
    ("revision 04", |talk| talk.get("EIO=04&transport=polling")),
    ("keys twice", |talk| talk.get("EIO=3&EIO=4&transport=foo&transport=polling")),
    ("keys escaped", |talk| talk.get("%45IO=%34&transport=poll%69ng")),
    ("more path", |talk| talk.request("GET /socket.io/a/b?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\n\r\n")),
    ("binary unsupported", |talk| talk.get("EIO=4&transport=polling&b64=1")),
    ("http 1.0", |talk| talk.request("GET /socket.io/?EIO=4&transport=polling HTTP/1.0\r\n\r\n")),
    ("connection close", |talk| {
        talk.request("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    }),
    ("bad origin", |talk| {
        talk.request("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\nOrigin: caf\u{e9}\r\n\r\n")
    }),
    ("control character in a header", |talk| {
        talk.request("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\nX: a\u{1}b\r\n\r\n")
    }),
    ("other methods", |talk| {
        talk.handshake();
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
            talk.request(&get(SESSION).replacen("GET", method, 1));
        }
    }),
    ("connect and poll", |talk| talk.connected()),
    ("websocket's transport for a polling session", |talk| {
        talk.handshake();
        talk.get(UPGRADE);
    }),
    ("revision 3 for a session of revision 4", |talk| {
        talk.handshake();
        talk.get("EIO=3&transport=polling&sid=SID");
    }),
];
