//! What a server that echoes gets and sends.

use std::{thread::sleep, time::Duration};

use tungstenite::Message;

use crate::Case;

pub const CASES: &[Case] = &[
    ("a payload of one text", |server| {
        let session = server.poll();
        assert_eq!(session.post("4hello"), "ok");
        assert_eq!(session.get(), "4hello");
    }),
    ("a payload of several texts", |server| {
        let session = server.poll();
        assert_eq!(session.post("4test1\x1e4test2\x1e4test3"), "ok");
        assert_eq!(session.get(), "4test1\x1e4test2\x1e4test3");
    }),
    ("a payload of texts and bytes", |server| {
        let session = server.poll();
        assert_eq!(session.post("4hello\x1ebAQIDBA=="), "ok");
        assert_eq!(session.get(), "4hello\x1ebAQIDBA==");
    }),
    ("a payload that is none ends the session", |server| {
        let session = server.poll();
        session.offend("abc");
        session.assert_gone();
    }),
    ("two polls at once end the session", |server| {
        let session = server.poll();
        let mut first = session.begin();
        sleep(Duration::from_millis(20));
        assert_eq!(session.answer().status, 400);
        let first = first.answer().unwrap();
        assert_eq!((first.status, first.body.as_str()), (200, "1"));
    }),
    ("a poll that is given up ends the session", |server| {
        let session = server.poll();
        let poll = session.begin();
        sleep(Duration::from_millis(20));
        drop(poll);
        sleep(Duration::from_millis(20));
        session.assert_gone();
    }),
    ("a text by WebSocket", |server| {
        let mut socket = server.open();
        socket.say("4hello");
        assert_eq!(socket.text(), "4hello");
    }),
    ("bytes by WebSocket", |server| {
        let mut socket = server.open();
        socket.say_bytes(&[1, 2, 3, 4]);
        assert_eq!(socket.message(), Message::binary(vec![1, 2, 3, 4]));
    }),
    ("texts and bytes by WebSocket", |server| {
        let mut socket = server.open();
        socket.say("4hello");
        socket.say_bytes(&[1, 2, 3, 4]);
        socket.say("4again");
        assert_eq!(socket.text(), "4hello");
        assert_eq!(socket.message(), Message::binary(vec![1, 2, 3, 4]));
        assert_eq!(socket.text(), "4again");
    }),
    ("what is no packet ends the session", |server| {
        let mut socket = server.open();
        socket.say("abc");
        socket.assert_closed();
    }),
];
