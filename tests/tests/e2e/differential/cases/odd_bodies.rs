//! Bodies, and what announces them, as no client of Socket.IO sends them.

use std::time::Duration;

use super::{
    super::recorder::{Recorder, SESSION, get, post},
    Case,
    odd_heads::{HANDSHAKE, with},
};

pub const CASES: &[Case] = &[
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
    ("odd: chunked twice", |talk| {
        for twice in ["chunked, chunked", "chunked\r\nTransfer-Encoding: chunked"] {
            talk.connected();
            talk.request(&chunked("7\r\n42[\"a\"]\r\n0\r\n\r\n").replace("chunked", twice));
        }
        talk.post(SESSION, "42[\"echo\"]");
        talk.poll();
    }),
    ("odd: chunks, and coded otherwise after that", |talk| {
        talk.connected();
        talk.request(&chunked("7\r\n42[\"a\"]\r\n0\r\n\r\n").replace("chunked", "chunked, gzip"));
    }),
    ("odd: chunks with more than their lengths", |talk| {
        talk.connected();
        talk.request(&chunked("007;name=value\r\n42[\"a\"]\r\n0\r\nX: y\r\n\r\n"));
        talk.poll();
    }),
    ("odd: chunks in http 1.0", |talk| {
        talk.connected();
        talk.request(&chunked("7\r\n42[\"a\"]\r\n0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0"));
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
];

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
