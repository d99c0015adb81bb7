//! Where the application has a say: it is asked by headers of the requests.

use super::{
    super::recorder::{Recorder, SESSION, UPGRADE, WS, get, post, upgrade},
    Case,
    odd_heads::{HANDSHAKE, with},
};

pub const CASES: &[Case] = &[
    ("hooks: not allowed", |talk| allowed(talk, "no")),
    ("hooks: not allowed, with words", |talk| allowed(talk, "no \"you\"")),
    ("hooks: not allowed after a while", |talk| allowed(talk, "wait")),
    ("hooks: no decision", |talk| allowed(talk, "panic")),
    ("hooks: allowed", |talk| allowed(talk, "yes")),
    ("hooks: requests of a session are nobody's affair", |talk| {
        talk.connected();
        talk.request(&with(&post(SESSION, "42[\"a\"]"), "X-Allow: no"));
        talk.request(&with(&get(SESSION), "X-Allow: no"));
        talk.request(&with(&upgrade(UPGRADE), "X-Allow: no"));
    }),
    ("hooks: asked before the revision is looked at", |talk| {
        talk.request(&with(&get("EIO=3&transport=polling"), "X-Allow: no"));
        talk.request(&with(&get("EIO=3&transport=polling"), "X-Allow: yes"));
        talk.request(&with(&upgrade("EIO=3&transport=websocket"), "X-Allow: no"));
        talk.request(&with(&upgrade("EIO=4&transport=polling"), "X-Allow: no"));
    }),
    ("hooks: not asked about what is refused before", |talk| {
        talk.request(&with(&get("EIO=4&transport=foo"), "X-Allow: no"));
        talk.request(&with(&get(WS), "X-Allow: no"));
        talk.request(&with(&post(HANDSHAKE, ""), "X-Allow: no"));
        talk.request(&with(&upgrade("EIO=4&transport=websocket&sid=none"), "X-Allow: no"));
    }),
    ("hooks: headers", |talk| {
        talk.request(&with(&get(HANDSHAKE), "X-Headers: 1"));
        talk.request(&with(&post(SESSION, "40"), "X-Headers: 1"));
        talk.request(&with(&get(SESSION), "X-Headers: 1"));
        talk.request(&with(&get("EIO=4&transport=polling&sid=none"), "X-Headers: 1"));
        talk.request(&with(&upgrade(UPGRADE), "X-Headers: 1"));
        talk.request(&with(&upgrade(WS), "X-Headers: 1"));
        talk.request(&with(&upgrade("EIO=4&transport=foo"), "X-Headers: 1"));
    }),
    ("hooks: what was refused", |talk| {
        // On one connection, so that one worker has refused all.
        let connection = talk.open(&with(&get(HANDSHAKE), "X-Refused: 1"));
        talk.answer(connection);
        for request in [
            get("EIO=4"),
            get("EIO=4&transport=foo"),
            get("EIO=4&transport=polling&sid=none"),
            post(HANDSHAKE, ""),
            get(WS),
            get("EIO=3&transport=polling"),
            with(&get(HANDSHAKE), "X-Allow: no"),
            with(&get(HANDSHAKE), "X-Allow: wait"),
            with(&get(HANDSHAKE), "X-Refused: 1"),
        ] {
            talk.send(connection, &with(&request, "X-Tell: 1"));
            talk.answer(connection);
        }
    }),
    ("hooks: what was refused of a session", |talk| {
        let connection = talk.open(&with(&get(HANDSHAKE), "X-Refused: 1"));
        talk.answer(connection);
        for request in [
            get("EIO=4&transport=websocket&sid=SID"),
            get("EIO=3&transport=polling&sid=SID"),
            with(&post(SESSION, "40"), "X-Refused: 1"),
        ] {
            talk.send(connection, &with(&request, "X-Tell: 1"));
            talk.answer(connection);
        }
    }),
];

/// A session asked for by polling and by WebSocket.
fn allowed(talk: &mut Recorder, header: &str) {
    let header = format!("X-Allow: {header}");
    talk.request(&with(&get(HANDSHAKE), &header));
    talk.request(&with(&upgrade(WS), &header));
}
