//! Namespaces, events and acknowledgements.

use tungstenite::Message;

use crate::{
    Case,
    client::{Server, WebSocket, json},
};

pub const CASES: &[Case] = &[
    ("the main namespace", |server| joins(server, "40", "40", "42[\"auth\",{}]")),
    ("the main namespace with auth", |server| {
        joins(server, "40{\"token\":\"123\"}", "40", "42[\"auth\",{\"token\":\"123\"}]")
    }),
    ("another namespace", |server| joins(server, "40/custom,", "40/custom,", "42/custom,[\"auth\",{}]")),
    ("another namespace with auth", |server| {
        joins(server, "40/custom,{\"token\":\"abc\"}", "40/custom,", "42/custom,[\"auth\",{\"token\":\"abc\"}]");
    }),
    ("a namespace that is not there", |server| {
        let mut socket = server.open();
        socket.say("40/random");
        assert_eq!(socket.text(), "44/random,{\"message\":\"Invalid namespace\"}");
        // The session lives on.
        socket.say("40");
        assert!(socket.text().starts_with("40{"));
    }),
    ("what is no CONNECT ends a session that has joined nothing", |server| ends(server.open(), "4abc")),
    ("a session that joins nothing ends", |server| server.open().assert_closed_answering()),
    ("a namespace is left for itself", |server| {
        let mut socket = server.joined();
        socket.say("40/custom");
        assert!(socket.text().starts_with("40/custom,"));
        assert_eq!(socket.text(), "42/custom,[\"auth\",{}]");
        socket.say("41");
        socket.say("41/custom,");
        // Back again, on the same session.
        socket.say("40");
        assert!(socket.text().starts_with("40{"));
        assert_eq!(socket.text(), "42[\"auth\",{}]");
        socket.say("42[\"message\",\"message to main namespace\"]");
        assert_eq!(socket.text(), "42[\"message-back\",\"message to main namespace\"]");
    }),
    ("one of two namespaces is left", |server| {
        let mut socket = server.joined();
        socket.say("40/custom");
        assert!(socket.text().starts_with("40/custom,"));
        assert_eq!(socket.text(), "42/custom,[\"auth\",{}]");
        socket.say("41/custom");
        socket.say("42[\"message\",\"still here\"]");
        assert_eq!(socket.text(), "42[\"message-back\",\"still here\"]");
    }),
    ("an event", |server| {
        answers(server, "42[\"message\",1,\"2\",{\"3\":[true]}]", "42[\"message-back\",1,\"2\",{\"3\":[true]}]");
    }),
    ("an event with an acknowledgement", |server| {
        answers(server, "42456[\"message-with-ack\",1,\"2\",{\"3\":[false]}]", "43456[1,\"2\",{\"3\":[false]}]");
    }),
    ("an event with bytes", |server| {
        binary(server, "452-[\"message\",PLACES]", "452-[\"message-back\",PLACES]");
    }),
    ("an event with bytes and an acknowledgement", |server| {
        binary(server, "452-789[\"message-with-ack\",PLACES]", "462-789[PLACES]");
    }),
    ("a namespace is joined once", |server| ends(server.joined(), "40")),
    ("an unknown type ends the session", |server| ends(server.joined(), "4abc")),
    ("a payload that is none ends the session", |server| ends(server.joined(), "42{}")),
    ("a number of an acknowledgement that is none ends the session", |server| {
        ends(server.joined(), "42abc[\"message-with-ack\",1,\"2\",{\"3\":[false]}]");
    }),
    ("an event for a namespace that is not joined ends the session", |server| {
        ends(server.joined(), "42/custom,[\"message\"]")
    }),
];

fn joins(server: &Server, request: &str, begin: &str, event: &str) {
    let mut socket = server.open();
    socket.say(request);
    let answer = socket.text();
    let data = json(answer.strip_prefix(begin).unwrap_or_else(|| panic!("{answer}")));
    assert!(data["sid"].is_string() && data.as_object().unwrap().len() == 1, "{data}");
    assert_eq!(socket.text(), event);
}

fn answers(server: &Server, event: &str, answer: &str) {
    let mut socket = server.joined();
    socket.say(event);
    assert_eq!(socket.text(), answer);
}

fn binary(server: &Server, event: &str, answer: &str) {
    let places = "{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}";
    let mut socket = server.joined();
    socket.say(&event.replace("PLACES", places));
    socket.say_bytes(&[1, 2, 3]);
    socket.say_bytes(&[4, 5, 6]);
    assert_eq!(socket.text(), answer.replace("PLACES", places));
    assert_eq!(socket.message(), Message::binary(vec![1, 2, 3]));
    assert_eq!(socket.message(), Message::binary(vec![4, 5, 6]));
}

fn ends(mut socket: WebSocket, words: &str) {
    socket.say(words);
    socket.assert_closed();
}
