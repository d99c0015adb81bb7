//! Packets, by polling: those of Engine.IO, those of Socket.IO, and what is none.

use std::time::Duration;

use super::{
    super::recorder::{SESSION, get},
    Case,
};

pub const CASES: &[Case] = &[
    ("posts: empty", |talk| talk.posts("")),
    ("posts: separator at the end", |talk| talk.posts("42[\"a\"]\u{1e}")),
    ("posts: unknown packet", |talk| talk.posts("9x")),
    ("posts: garbage behind a good packet", |talk| talk.posts("42[\"a\"]\u{1e}x")),
    ("posts: ping", |talk| talk.posts("2")),
    ("posts: pong", |talk| talk.posts("3")),
    ("posts: upgrade", |talk| talk.posts("5")),
    ("posts: noop", |talk| talk.posts("6")),
    ("posts: open", |talk| talk.posts("0")),
    ("posts: message without a packet", |talk| talk.posts("4")),
    ("posts: bad base64", |talk| talk.posts("b!!!")),
    ("posts: bytes nobody announced", |talk| talk.posts("bAQL/")),
    ("posts: unknown socket packet", |talk| talk.posts("47")),
    ("posts: bad json", |talk| talk.posts("42[\"a\"")),
    ("posts: no array", |talk| talk.posts("42{\"a\":1}")),
    ("posts: empty array", |talk| talk.posts("42[]")),
    ("posts: no name", |talk| talk.posts("42")),
    ("posts: name is a number", |talk| talk.posts("42[1,2]")),
    ("posts: name is null", |talk| talk.posts("42[null]")),
    ("posts: name is reserved", |talk| talk.posts("42[\"connect\"]")),
    ("posts: name is reserved, too", |talk| talk.posts("42[\"disconnecting\"]")),
    ("posts: name of a listener's event", |talk| talk.posts("42[\"newListener\"]")),
    ("posts: ack that was not asked for", |talk| talk.posts("437[1]")),
    ("posts: ack without an id", |talk| talk.posts("43[1]")),
    ("posts: connect error from a client", |talk| talk.posts("44{\"message\":\"x\"}")),
    ("posts: connect twice", |talk| talk.posts("40")),
    ("posts: connect with a text", |talk| talk.posts("40\"x\"")),
    ("posts: unknown namespace", |talk| talk.posts("40/unknown,")),
    ("posts: event for a namespace not joined", |talk| talk.posts("42/guarded,[\"a\"]")),
    ("posts: disconnect", |talk| talk.posts("41")),
    ("posts: disconnect with data", |talk| talk.posts("41{\"a\":1}")),
    ("posts: attachments without bytes", |talk| talk.posts("451-[\"a\",{\"_placeholder\":true,\"num\":0}]")),
    ("posts: attachments no number", |talk| talk.posts("45x-[\"a\"]")),
    ("posts: attachments none", |talk| talk.posts("450-[\"a\"]")),
    ("posts: too many attachments", |talk| talk.posts("4511-[\"a\"]")),
    ("posts: placeholder out of range", |talk| {
        talk.posts("451-[\"a\",{\"_placeholder\":true,\"num\":3}]\u{1e}bAQL/");
    }),
    ("posts: placeholder no number", |talk| {
        talk.posts("451-[\"a\",{\"_placeholder\":true,\"num\":\"x\"}]\u{1e}bAQL/");
    }),
    ("posts: placeholder in a text event", |talk| talk.posts("42[\"a\",{\"_placeholder\":true,\"num\":0}]")),
    ("posts: text between attachments", |talk| {
        talk.posts("451-[\"a\",{\"_placeholder\":true,\"num\":0}]\u{1e}42[\"b\"]");
    }),
    ("posts: event with an ack", |talk| talk.posts("4212[\"a\",1,{\"b\":null}]")),
    ("posts: event with a handler besides the listener of all", |talk| talk.posts("42[\"both\",1]")),
    ("posts: the same with an ack", |talk| talk.posts("427[\"both\",1]")),
    ("posts: event with an ack and no arguments", |talk| talk.posts("420[\"a\"]")),
    ("posts: ack number with a zero in front", |talk| talk.posts("4207[\"a\"]")),
    ("posts: ack number too large", |talk| talk.posts("4299999999999999999999[\"a\"]")),
    ("posts: bytes to be answered", |talk| {
        talk.posts("451-3[\"a\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQL/");
    }),
    ("posts: numbers as they were written", |talk| talk.posts("42[\"a\",1.0,1e3,-0,0.1]")),
    ("posts: spaces in the json", |talk| talk.posts("42[ \"a\" , { \"b\" : 1 } ]")),
    ("guarded: refused", |talk| {
        talk.handshake();
        talk.post(SESSION, "40/guarded,{\"token\":\"nope\"}");
        talk.poll();
        talk.post(SESSION, "42/guarded,[\"a\"]");
        talk.post(SESSION, "40");
        talk.poll();
    }),
    ("guarded: let in", |talk| {
        talk.handshake();
        talk.post(SESSION, "40/guarded,{\"token\":\"open sesame\"}");
        talk.poll();
        talk.post(SESSION, "42/guarded,5[\"a\"]");
        talk.poll();
    }),
    ("guarded: with a query", |talk| {
        talk.handshake();
        talk.post(SESSION, "40/guarded?token=x,{\"token\":\"open sesame\"}");
        talk.poll();
    }),
    ("event before connect", |talk| {
        talk.handshake();
        talk.post(SESSION, "42[\"a\"]");
        talk.poll();
    }),
    ("server disconnects the namespace", |talk| {
        talk.connected();
        talk.post(SESSION, "42[\"kick me\"]");
        talk.poll();
        talk.post(SESSION, "42[\"a\"]");
        talk.post(SESSION, "40");
        talk.poll();
    }),
    ("server closes the session", |talk| {
        talk.connected();
        talk.post(SESSION, "42[\"close me\"]");
        talk.poll();
        talk.poll();
    }),
    // The official client of versions 3 and 4.0 says so as soon as its last namespace is gone.
    ("server closes the session, and then the client", |talk| {
        talk.connected();
        talk.post(SESSION, "42[\"close me\"]");
        talk.poll();
        talk.post(SESSION, "41\x1e1");
        talk.poll();
    }),
    ("server closes the session, and the client goes on", |talk| {
        talk.connected();
        talk.post(SESSION, "42[\"close me\"]");
        talk.poll();
        talk.post(SESSION, "42[\"a\"]\x1e2\x1e:");
        talk.poll();
        talk.poll();
    }),
    ("server closes the session while a poll waits", |talk| {
        talk.connected();
        let poll = talk.open(&get(SESSION));
        talk.silence(poll, Duration::from_millis(100));
        talk.post(SESSION, "42[\"close me\"]");
        talk.answer(poll);
        talk.poll();
    }),
    ("server asks", |talk| {
        talk.connected();
        talk.post(SESSION, "421[\"ask me\",7]");
        talk.poll();
        talk.post(SESSION, "430[\"seven\"]");
        talk.poll();
    }),
];
