//! From polling to WebSocket.

use std::time::Duration;

use super::{
    super::recorder::{SESSION, UPGRADE, get},
    Case,
};

pub const CASES: &[Case] = &[
    ("upgrade", |talk| {
        talk.connected();
        let socket = talk.websocket(UPGRADE);
        talk.text(socket, "2probe");
        talk.frames(socket, 1);
        talk.text(socket, "5");
        talk.text(socket, "42[\"a\"]");
        talk.frames(socket, 1);
        talk.poll();
        talk.post(SESSION, "42[\"b\"]");
    }),
    ("upgrade while a poll waits", |talk| {
        talk.connected();
        let poll = talk.open(&get(SESSION));
        let socket = talk.websocket(UPGRADE);
        talk.text(socket, "2probe");
        talk.frames(socket, 1);
        talk.answer(poll);
        talk.post(SESSION, "42[\"a\"]");
        talk.text(socket, "5");
        talk.frames(socket, 1);
    }),
    ("upgrade before the first poll", |talk| {
        talk.handshake();
        let socket = talk.websocket(UPGRADE);
        talk.text(socket, "2probe");
        talk.frames(socket, 1);
        talk.text(socket, "5");
        talk.text(socket, "40");
        talk.frames(socket, 2);
    }),
    ("upgrade without a probe", |talk| {
        talk.connected();
        let socket = talk.websocket(UPGRADE);
        talk.text(socket, "5");
        talk.text(socket, "42[\"a\"]");
        talk.frames(socket, 1);
    }),
    ("upgrade with a wrong first packet", |talk| {
        talk.connected();
        let socket = talk.websocket(UPGRADE);
        talk.text(socket, "42[\"a\"]");
        talk.frames(socket, 2);
        talk.post(SESSION, "42[\"b\"]");
        talk.poll();
    }),
    ("upgrade with a bare ping", |talk| {
        talk.connected();
        let socket = talk.websocket(UPGRADE);
        talk.text(socket, "2");
        talk.frames(socket, 2);
        talk.post(SESSION, "42[\"b\"]");
        talk.poll();
    }),
    ("upgrade that dies", |talk| {
        talk.connected();
        let socket = talk.websocket(UPGRADE);
        talk.text(socket, "2probe");
        talk.frames(socket, 1);
        talk.close(socket);
        talk.post(SESSION, "42[\"b\"]");
        talk.poll();
    }),
    ("upgrade while the server closes the session", |talk| {
        talk.connected();
        let poll = talk.open(&get(SESSION));
        let socket = talk.websocket(UPGRADE);
        talk.text(socket, "2probe");
        talk.frames(socket, 1);
        talk.answer(poll);
        talk.post(SESSION, "42[\"close me\"]");
        talk.silence(socket, Duration::from_millis(200));
        talk.text(socket, "5");
        talk.frames(socket, 3);
        talk.poll();
    }),
    ("upgrade while the server closes the session, and a poll waits", |talk| {
        talk.connected();
        let poll = talk.open(&get(SESSION));
        let socket = talk.websocket(UPGRADE);
        talk.text(socket, "2probe");
        talk.frames(socket, 1);
        talk.answer(poll);
        let poll = talk.open(&get(SESSION));
        talk.answer(poll);
        talk.post(SESSION, "42[\"close me\"]");
        talk.poll();
        talk.text(socket, "5");
        talk.frames(socket, 3);
        talk.poll();
    }),
    ("upgrade while the server closes the session, before the probe", |talk| {
        talk.connected();
        let socket = talk.websocket(UPGRADE);
        talk.post(SESSION, "42[\"close me\"]");
        talk.text(socket, "2probe");
        talk.frames(socket, 1);
        talk.poll();
        talk.text(socket, "5");
        talk.frames(socket, 3);
        talk.poll();
    }),
    ("upgrade twice at once", |talk| {
        talk.connected();
        let first = talk.websocket(UPGRADE);
        talk.text(first, "2probe");
        talk.frames(first, 1);
        let second = talk.websocket(UPGRADE);
        talk.frames(second, 2);
        talk.text(first, "5");
        talk.text(first, "42[\"a\"]");
        talk.frames(first, 1);
        let third = talk.websocket(UPGRADE);
        talk.frames(third, 2);
    }),
];
