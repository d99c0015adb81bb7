//! Sessions: how they open, live, end, and change from polling to WebSocket.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Case,
    client::{Server, json},
};

pub const CASES: &[Case] = &[
    ("a session opens by polling", opens_by_polling),
    ("polling without revision 4 is refused", |server| {
        refused(server, &["transport=polling", "EIO=abc&transport=polling"])
    }),
    ("polling without a transport is refused", |server| refused(server, &["EIO=4", "EIO=4&transport=abc"])),
    ("a session is opened by GET alone", |server| {
        for method in ["POST", "PUT"] {
            assert_eq!(server.request(method, "EIO=4&transport=polling", "").status, 400, "{method}");
        }
    }),
    ("a session opens by WebSocket", opens_by_websocket),
    ("a WebSocket without revision 4 is refused", |server| {
        no_websocket(server, &["transport=websocket", "EIO=abc&transport=websocket"]);
    }),
    ("a WebSocket without its transport is refused", |server| no_websocket(server, &["EIO=4", "EIO=4&transport=abc"])),
    ("heartbeats by polling", heartbeats_by_polling),
    ("a session by polling without pongs ends", |server| {
        let session = server.poll();
        sleep(Duration::from_millis(700));
        session.assert_gone();
    }),
    ("heartbeats by WebSocket", heartbeats_by_websocket),
    ("a session by WebSocket without pongs ends", |server| {
        let begin = Instant::now();
        server.joined().assert_closed();
        assert!(begin.elapsed() > Duration::from_millis(400), "{:?}", begin.elapsed());
    }),
    ("a client ends its session by polling", |server| {
        let session = server.poll();
        let mut poll = session.begin();
        // The poll is to be there first.
        sleep(Duration::from_millis(20));
        assert_eq!(session.post("1"), "ok");
        assert_eq!(poll.answer().unwrap().body, "6");
        session.assert_gone();
    }),
    ("a client ends its session by closing its WebSocket", |server| {
        let mut socket = server.open();
        socket.say("1");
        drop(socket);
    }),
    ("a session changes from polling to WebSocket", |server| {
        let session = server.poll();
        let mut socket = session.websocket();
        socket.say("2probe");
        assert_eq!(socket.text(), "3probe");
        socket.say("5");
        socket.say("3");
        // What it is used for then is its WebSocket.
        assert_eq!(socket.raw_text(), "2");
    }),
    ("a session that has changed polls no more", |server| {
        let session = server.poll();
        let mut socket = session.websocket();
        socket.say("2probe");
        assert_eq!(socket.text(), "3probe");
        socket.say("5");
        // A ping tells that the server has read it.
        assert_eq!(socket.raw_text(), "2");
        session.assert_gone();
    }),
    ("a session that has changed takes no second WebSocket", |server| {
        let session = server.poll();
        let mut socket = session.websocket();
        socket.say("2probe");
        assert_eq!(socket.text(), "3probe");
        socket.say("5");
        session.websocket().assert_closed();
    }),
];

fn check_open(open: &Value, upgrades: &Value) {
    assert!(open["sid"].is_string(), "{open}");
    assert_eq!(open["upgrades"], *upgrades);
    assert_eq!(open["pingInterval"], 300);
    assert_eq!(open["pingTimeout"], 200);
    assert_eq!(open["maxPayload"], 1_000_000);
    assert_eq!(open.as_object().unwrap().len(), 5, "{open}");
}

fn opens_by_polling(server: &Server) {
    let open = server.get("EIO=4&transport=polling");
    assert_eq!(open.status, 200);
    check_open(&json(open.body.strip_prefix('0').unwrap()), &json!(["websocket"]));
}

fn opens_by_websocket(server: &Server) {
    let mut socket = server.websocket("EIO=4&transport=websocket").unwrap();
    check_open(&json(socket.text().strip_prefix('0').unwrap()), &json!([]));
}

fn refused(server: &Server, queries: &[&str]) {
    for query in queries {
        assert_eq!(server.get(query).status, 400, "{query}");
    }
}

/// Refused before, or closed behind its answer.
fn no_websocket(server: &Server, queries: &[&str]) {
    for query in queries {
        if let Ok(socket) = server.websocket(query) {
            socket.assert_closed();
        }
    }
}

fn heartbeats_by_polling(server: &Server) {
    let session = server.poll();
    for _ in 0..3 {
        assert_eq!(session.get(), "2");
        assert_eq!(session.post("3"), "ok");
    }
}

fn heartbeats_by_websocket(server: &Server) {
    let mut socket = server.joined();
    for _ in 0..3 {
        assert_eq!(socket.raw_text(), "2");
        socket.say("3");
    }
}
