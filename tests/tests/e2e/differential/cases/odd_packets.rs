//! Payloads as no client of Socket.IO sends them.

use super::{super::recorder::SESSION, Case};

pub const CASES: &[Case] = &[
    ("odd: event, and no packet", |talk| talk.posts("42[\"a\"]\u{1e}9")),
    ("odd: event, and a ping", |talk| talk.posts("42[\"a\"]\u{1e}2")),
    ("odd: event, and a goodbye", |talk| talk.posts("42[\"a\"]\u{1e}1")),
    ("odd: event between goodbyes", |talk| talk.posts("1\u{1e}42[\"a\"]\u{1e}1")),
    ("odd: event with an ack, and no packet", |talk| talk.posts("421[\"a\"]\u{1e}9")),
    ("odd: no packet, and an event", |talk| talk.posts("9\u{1e}42[\"a\"]")),
    ("odd: ping, and an event", |talk| talk.posts("2\u{1e}42[\"a\"]")),
    ("odd: event, and bad json", |talk| talk.posts("42[\"a\"]\u{1e}42[\"b\"")),
    ("odd: event, bad json, and an event", |talk| talk.posts("42[\"a\"]\u{1e}42[\"b\"\u{1e}42[\"c\"]")),
    ("odd: event, and an unknown socket packet", |talk| talk.posts("42[\"a\"]\u{1e}49")),
    ("odd: bad json, and an event", |talk| talk.posts("42[\"b\"\u{1e}42[\"a\"]")),
    ("odd: events around a disconnect", |talk| talk.posts("42[\"a\"]\u{1e}41\u{1e}42[\"b\"]")),
    ("odd: connect and event in one post", |talk| {
        talk.handshake();
        talk.post(SESSION, "40\u{1e}42[\"a\"]");
        talk.poll();
        talk.post(SESSION, "42[\"echo\"]");
    }),
    ("odd: placeholder of half a number", |talk| placeholder(talk, "0.5")),
    ("odd: placeholder with a fraction of zero", |talk| placeholder(talk, "0.0")),
    ("odd: placeholder with an exponent", |talk| placeholder(talk, "0e0")),
    ("odd: placeholder of minus zero", |talk| placeholder(talk, "-0")),
    ("odd: placeholder of minus one", |talk| placeholder(talk, "-1")),
];

fn placeholder(talk: &mut super::Recorder, number: &str) {
    talk.posts(&format!("451-[\"a\",{{\"_placeholder\":true,\"num\":{number}}}]\u{1e}bAQL/"));
}
