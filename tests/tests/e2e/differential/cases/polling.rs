//! The requests of polling sessions.

use std::time::Duration;

use super::{
    super::recorder::{SESSION, get, post},
    Case,
};

pub const CASES: &[Case] = &[
    ("several packets in one payload", |talk| {
        talk.posts("42[\"a\",1]\u{1e}451-[\"b\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQL/");
    }),
    ("attachments in the next post", |talk| {
        talk.connected();
        talk.post(SESSION, "451-[\"b\",{\"_placeholder\":true,\"num\":0}]");
        talk.post(SESSION, "bAQL/");
        talk.poll();
    }),
    ("events wait for a poll", |talk| {
        talk.connected();
        for number in 0..3 {
            talk.post(SESSION, &format!("42[\"echo\",{number}]"));
        }
        talk.poll();
    }),
    ("text beyond ascii", |talk| talk.posts("42[\"grüße\",\"€ 💜 \\u0000\"]")),
    ("octet stream", |talk| {
        talk.connected();
        talk.request(&post(SESSION, "42[\"a\"]").replace("text/plain;charset=UTF-8", "application/octet-stream"));
        talk.poll();
    }),
    ("no content type", |talk| {
        talk.connected();
        talk.request(&post(SESSION, "42[\"a\"]").replace("Content-Type: text/plain;charset=UTF-8\r\n", ""));
        talk.poll();
    }),
    ("chunked post", |talk| {
        talk.connected();
        talk.request(
            "POST /socket.io/?EIO=4&transport=polling&sid=SID HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
             4\r\n42[\"\r\n3\r\na\"]\r\n0\r\n\r\n",
        );
        talk.poll();
    }),
    ("two polls at once", |talk| {
        talk.connected();
        let first = talk.open(&get(SESSION));
        talk.silence(first, Duration::from_millis(100));
        talk.poll();
        talk.answer(first);
        talk.poll();
    }),
    ("two posts at once", |talk| {
        talk.connected();
        let whole = post(SESSION, "42[\"a\"]");
        let first = talk.open(&whole[..whole.len() - 3]);
        talk.silence(first, Duration::from_millis(100));
        talk.post(SESSION, "42[\"b\"]");
        talk.silence(first, Duration::from_secs(1));
        talk.poll();
    }),
    ("a poll that breaks off", |talk| {
        talk.connected();
        let poll = talk.open(&get(SESSION));
        talk.silence(poll, Duration::from_millis(100));
        talk.close(poll);
        std::thread::sleep(Duration::from_millis(100));
        talk.poll();
    }),
    ("a post too large", |talk| {
        talk.connected();
        talk.post(SESSION, &format!("42[\"{}\"]", "x".repeat(1_000_000)));
        talk.post(SESSION, "42[\"echo\"]");
        talk.poll();
    }),
    ("a post as large as can be", |talk| {
        talk.connected();
        talk.post(SESSION, &format!("42[\"a\",\"{}\"]", "x".repeat(1_000_000 - 10)));
        let poll = talk.open(&get(SESSION));
        talk.answer(poll);
        talk.post(SESSION, "42[\"echo\"]");
        talk.poll();
    }),
    ("a client's goodbye", |talk| {
        talk.connected();
        let poll = talk.open(&get(SESSION));
        talk.silence(poll, Duration::from_millis(100));
        talk.post(SESSION, "1");
        talk.answer(poll);
        talk.poll();
    }),
];
