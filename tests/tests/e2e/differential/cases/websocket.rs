//! WebSockets: their handshake, their frames and the packets in them.

use std::time::Duration;

use super::{
    super::recorder::{SESSION, WS, frame, upgrade},
    Case,
};

pub const CASES: &[Case] = &[
    ("websocket handshake", |talk| {
        let socket = talk.websocket(WS);
        talk.frames(socket, 1);
    }),
    ("websocket: sid unknown", |talk| _ = talk.websocket("EIO=4&transport=websocket&sid=abc")),
    ("websocket: transport unknown", |talk| _ = talk.websocket("EIO=4&transport=foo")),
    ("websocket: transport missing", |talk| _ = talk.websocket("EIO=4")),
    ("websocket: post", |talk| talk.request(&upgrade(WS).replacen("GET", "POST", 1))),
    ("websocket: no key", |talk| {
        talk.request(&upgrade(WS).replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""));
    }),
    ("websocket: bad key", |talk| talk.request(&upgrade(WS).replace("dGhlIHNhbXBsZSBub25jZQ==", "short"))),
    ("websocket: version 12", |talk| talk.request(&upgrade(WS).replace("Version: 13", "Version: 12"))),
    ("websocket: extension offered", |talk| {
        let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nConnection:";
        talk.request(&upgrade(WS).replace("\r\nConnection:", offer));
    }),
    ("websocket: protocol offered", |talk| {
        talk.request(&upgrade(WS).replace("\r\nConnection:", "\r\nSec-WebSocket-Protocol: a, b\r\nConnection:"));
    }),
    ("websocket: transport polling", |talk| {
        let socket = talk.websocket("EIO=4&transport=polling");
        talk.frames(socket, 2);
    }),
    ("websocket: connect", |talk| _ = talk.socket()),
    ("websocket: connect with auth", |talk| {
        let socket = talk.websocket(WS);
        talk.frames(socket, 1);
        talk.text(socket, "40{\"token\":\"x\",\"n\":[1,null]}");
        talk.frames(socket, 2);
    }),
    ("websocket: event", |talk| talk.says("42[\"a\",{\"b\":[1,2]}]", 1)),
    ("websocket: event with an ack", |talk| talk.says("4217[\"a\",1]", 1)),
    ("websocket: bytes", |talk| {
        let socket = talk.socket();
        talk.text(socket, "452-[\"a\",{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}]");
        talk.send_bytes(socket, &frame(0x82, &[1, 2]));
        talk.send_bytes(socket, &frame(0x82, &[]));
        talk.frames(socket, 3);
    }),
    ("websocket: bytes as text", |talk| {
        let socket = talk.socket();
        talk.text(socket, "451-[\"a\",{\"_placeholder\":true,\"num\":0}]");
        talk.text(socket, "bAQL/");
        talk.frames(socket, 2);
    }),
    ("websocket: a frame in pieces", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0x01, b"42[\"a"));
        talk.send_bytes(socket, &frame(0x89, b"between"));
        talk.send_bytes(socket, &frame(0x00, b"b"));
        talk.send_bytes(socket, &frame(0x80, b"c\"]"));
        talk.frames(socket, 2);
    }),
    ("websocket: ping frame", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0x89, b"hello"));
        talk.frames(socket, 1);
    }),
    ("websocket: pong frame nobody asked for", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0x8a, b"hello"));
        talk.text(socket, "42[\"a\"]");
        talk.frames(socket, 1);
    }),
    ("websocket: close", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0x88, &[0x03, 0xe8]));
        talk.frames(socket, 2);
    }),
    ("websocket: close without a code", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0x88, &[]));
        talk.frames(socket, 2);
    }),
    ("websocket: close with a code of the application", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0x88, &[0x0f, 0xa0, b'b', b'y', b'e']));
        talk.frames(socket, 2);
    }),
    ("websocket: close with a bad code", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0x88, &[0x03, 0xed]));
        talk.frames(socket, 2);
    }),
    ("websocket: unmasked", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, b"\x81\x02ab");
        talk.frames(socket, 2);
    }),
    ("websocket: reserved bit", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0xc1, b"42[\"a\"]"));
        talk.frames(socket, 2);
    }),
    ("websocket: reserved opcode", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0x83, b"x"));
        talk.frames(socket, 2);
    }),
    ("websocket: continuation of nothing", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0x80, b"x"));
        talk.frames(socket, 2);
    }),
    ("websocket: control frame in pieces", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0x09, b"x"));
        talk.frames(socket, 2);
    }),
    ("websocket: control frame too long", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0x89, &[b'x'; 126]));
        talk.frames(socket, 2);
    }),
    ("websocket: no utf-8", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0x81, b"42[\"\xff\"]"));
        talk.frames(socket, 2);
    }),
    ("websocket: too large", |talk| {
        let socket = talk.socket();
        talk.text(socket, &format!("42[\"{}\"]", "x".repeat(1_000_000)));
        talk.frames(socket, 2);
    }),
    ("websocket: as large as can be", |talk| {
        let socket = talk.socket();
        talk.text(socket, &format!("42[\"a\",\"{}\"]", "x".repeat(1_000_000 - 10)));
        talk.frames(socket, 1);
    }),
    ("websocket: ping packet from the client", |talk| talk.says("2", 2)),
    ("websocket: pong packet nobody asked for", |talk| {
        let socket = talk.socket();
        talk.text(socket, "3");
        talk.text(socket, "42[\"a\"]");
        talk.frames(socket, 1);
    }),
    ("websocket: packets of other transports", |talk| {
        let socket = talk.socket();
        for packet in ["1", "5", "6"] {
            talk.text(socket, packet);
        }
        talk.text(socket, "42[\"a\"]");
        talk.frames(socket, 1);
    }),
    ("websocket: unknown packet", |talk| talk.says("9", 2)),
    ("websocket: empty frame", |talk| talk.says("", 2)),
    ("websocket: message without a packet", |talk| talk.says("4", 2)),
    ("websocket: bad json", |talk| talk.says("42[\"a\"", 2)),
    ("websocket: bytes nobody announced", |talk| {
        let socket = talk.socket();
        talk.send_bytes(socket, &frame(0x82, &[1, 2]));
        talk.frames(socket, 2);
    }),
    ("websocket: disconnect", |talk| {
        let socket = talk.socket();
        talk.text(socket, "41");
        // The official server handles packets of one turn of its loop as if all had come before the first.
        talk.silence(socket, Duration::from_millis(100));
        talk.text(socket, "42[\"a\"]");
        talk.frames(socket, 2);
    }),
    ("websocket: unknown namespace", |talk| talk.says("40/unknown,", 1)),
    ("websocket: server disconnects the namespace", |talk| talk.says("42[\"kick me\"]", 1)),
    ("websocket: server closes the session", |talk| talk.says("42[\"close me\"]", 2)),
    ("websocket: polling with its session", |talk| {
        let socket = talk.websocket(WS);
        talk.frames(socket, 1);
        talk.poll();
        talk.post(SESSION, "40");
    }),
];
