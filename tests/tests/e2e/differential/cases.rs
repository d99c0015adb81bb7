//! The conversations.

use std::time::Duration;

use super::recorder::{Recorder, SESSION, frame, get, post, upgrade};

/// A conversation, and its name.
pub type Case = (&'static str, fn(&mut Recorder));

const WS: &str = "EIO=4&transport=websocket";
const UPGRADE: &str = "EIO=4&transport=websocket&sid=SID";

/// A session on WebSocket with its main namespace.
fn socket(talk: &mut Recorder) -> usize {
    let socket = talk.websocket(WS);
    talk.frames(socket, 1);
    talk.text(socket, "40");
    talk.frames(socket, 2);
    socket
}

/// Sends one frame's text on an open socket and notes what comes back.
fn says(talk: &mut Recorder, text: &str, frames: usize) {
    let socket = socket(talk);
    talk.text(socket, text);
    talk.frames(socket, frames);
}

/// Sends one payload by polling, and notes whether the session lives on.
fn posts(talk: &mut Recorder, body: &str) {
    talk.connected();
    talk.post(SESSION, body);
    // Whatever it did is told by an echo behind it: as an answer, or as a session that is gone.
    talk.post(SESSION, "42[\"echo\"]");
    talk.poll();
}

/// With default options.
pub const DEFAULTS: &[Case] = &[
    ("handshake", |talk| talk.handshake()),
    ("transport missing", |talk| talk.get("EIO=4")),
    ("no query", |talk| talk.request("GET /socket.io/ HTTP/1.1\r\nHost: test\r\n\r\n")),
    ("transport unknown", |talk| talk.get("EIO=4&transport=foo")),
    ("transport inherited", |talk| talk.get("EIO=4&transport=constructor")),
    ("webtransport", |talk| talk.get("EIO=4&transport=webtransport")),
    ("sid unknown", |talk| talk.get("EIO=4&transport=polling&sid=abc")),
    ("sid empty", |talk| talk.get("EIO=4&transport=polling&sid=")),
    ("sid unknown, of our form", |talk| talk.get("EIO=4&transport=polling&sid=AQAAAAAAAAABl8iJTN9gsBVpkdtJCiGP")),
    ("post without sid", |talk| talk.post("EIO=4&transport=polling", "40")),
    ("options without cors", |talk| talk.request(&get("EIO=4&transport=polling").replacen("GET", "OPTIONS", 1))),
    ("websocket by plain get", |talk| talk.get(WS)),
    ("revision 3", |talk| talk.get("EIO=3&transport=polling")),
    ("revision missing", |talk| talk.get("transport=polling")),
    ("revision 5", |talk| talk.get("EIO=5&transport=polling")),
    ("revision 04", |talk| talk.get("EIO=04&transport=polling")),
    ("keys twice", |talk| talk.get("EIO=3&EIO=4&transport=foo&transport=polling")),
    ("keys escaped", |talk| talk.get("%45IO=%34&transport=poll%69ng")),
    ("more path", |talk| talk.request("GET /socket.io/a/b?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\n\r\n")),
    ("binary unsupported", |talk| talk.get("EIO=4&transport=polling&b64=1")),
    ("http 1.0", |talk| talk.request("GET /socket.io/?EIO=4&transport=polling HTTP/1.0\r\n\r\n")),
    ("connection close", |talk| {
        talk.request("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    }),
    ("bad origin", |talk| {
        talk.request("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\nOrigin: caf\u{e9}\r\n\r\n")
    }),
    ("control character in a header", |talk| {
        talk.request("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\nX: a\u{1}b\r\n\r\n")
    }),
    ("other methods", |talk| {
        talk.handshake();
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
            talk.request(&get(SESSION).replacen("GET", method, 1));
        }
    }),
    ("connect and poll", |talk| talk.connected()),
    ("websocket's transport for a polling session", |talk| {
        talk.handshake();
        talk.get(UPGRADE);
    }),
    ("revision 3 for a session of revision 4", |talk| {
        talk.handshake();
        talk.get("EIO=3&transport=polling&sid=SID");
    }),
    ("several packets in one payload", |talk| {
        posts(talk, "42[\"a\",1]\u{1e}451-[\"b\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQL/");
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
    ("text beyond ascii", |talk| posts(talk, "42[\"grüße\",\"€ 💜 \\u0000\"]")),
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
    ("posts: empty", |talk| posts(talk, "")),
    ("posts: separator at the end", |talk| posts(talk, "42[\"a\"]\u{1e}")),
    ("posts: unknown packet", |talk| posts(talk, "9x")),
    ("posts: garbage behind a good packet", |talk| posts(talk, "42[\"a\"]\u{1e}x")),
    ("posts: ping", |talk| posts(talk, "2")),
    ("posts: pong", |talk| posts(talk, "3")),
    ("posts: upgrade", |talk| posts(talk, "5")),
    ("posts: noop", |talk| posts(talk, "6")),
    ("posts: open", |talk| posts(talk, "0")),
    ("posts: message without a packet", |talk| posts(talk, "4")),
    ("posts: bad base64", |talk| posts(talk, "b!!!")),
    ("posts: bytes nobody announced", |talk| posts(talk, "bAQL/")),
    ("posts: unknown socket packet", |talk| posts(talk, "47")),
    ("posts: bad json", |talk| posts(talk, "42[\"a\"")),
    ("posts: no array", |talk| posts(talk, "42{\"a\":1}")),
    ("posts: empty array", |talk| posts(talk, "42[]")),
    ("posts: no name", |talk| posts(talk, "42")),
    ("posts: name is a number", |talk| posts(talk, "42[1,2]")),
    ("posts: name is null", |talk| posts(talk, "42[null]")),
    ("posts: name is reserved", |talk| posts(talk, "42[\"connect\"]")),
    ("posts: name is reserved, too", |talk| posts(talk, "42[\"disconnecting\"]")),
    ("posts: name of a listener's event", |talk| posts(talk, "42[\"newListener\"]")),
    ("posts: ack that was not asked for", |talk| posts(talk, "437[1]")),
    ("posts: ack without an id", |talk| posts(talk, "43[1]")),
    ("posts: connect error from a client", |talk| posts(talk, "44{\"message\":\"x\"}")),
    ("posts: connect twice", |talk| posts(talk, "40")),
    ("posts: connect with a text", |talk| posts(talk, "40\"x\"")),
    ("posts: unknown namespace", |talk| posts(talk, "40/unknown,")),
    ("posts: event for a namespace not joined", |talk| posts(talk, "42/guarded,[\"a\"]")),
    ("posts: disconnect", |talk| posts(talk, "41")),
    ("posts: disconnect with data", |talk| posts(talk, "41{\"a\":1}")),
    ("posts: attachments without bytes", |talk| posts(talk, "451-[\"a\",{\"_placeholder\":true,\"num\":0}]")),
    ("posts: attachments no number", |talk| posts(talk, "45x-[\"a\"]")),
    ("posts: attachments none", |talk| posts(talk, "450-[\"a\"]")),
    ("posts: too many attachments", |talk| posts(talk, "4511-[\"a\"]")),
    ("posts: placeholder out of range", |talk| {
        posts(talk, "451-[\"a\",{\"_placeholder\":true,\"num\":3}]\u{1e}bAQL/");
    }),
    ("posts: placeholder no number", |talk| {
        posts(talk, "451-[\"a\",{\"_placeholder\":true,\"num\":\"x\"}]\u{1e}bAQL/");
    }),
    ("posts: placeholder in a text event", |talk| posts(talk, "42[\"a\",{\"_placeholder\":true,\"num\":0}]")),
    ("posts: text between attachments", |talk| {
        posts(talk, "451-[\"a\",{\"_placeholder\":true,\"num\":0}]\u{1e}42[\"b\"]");
    }),
    ("posts: event with an ack", |talk| posts(talk, "4212[\"a\",1,{\"b\":null}]")),
    ("posts: event with an ack and no arguments", |talk| posts(talk, "420[\"a\"]")),
    ("posts: ack number with a zero in front", |talk| posts(talk, "4207[\"a\"]")),
    ("posts: ack number too large", |talk| posts(talk, "4299999999999999999999[\"a\"]")),
    ("posts: bytes to be answered", |talk| {
        posts(talk, "451-3[\"a\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQL/");
    }),
    ("posts: numbers as they were written", |talk| posts(talk, "42[\"a\",1.0,1e3,-0,0.1]")),
    ("posts: spaces in the json", |talk| posts(talk, "42[ \"a\" , { \"b\" : 1 } ]")),
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
    ("websocket: connect", |talk| _ = socket(talk)),
    ("websocket: connect with auth", |talk| {
        let socket = talk.websocket(WS);
        talk.frames(socket, 1);
        talk.text(socket, "40{\"token\":\"x\",\"n\":[1,null]}");
        talk.frames(socket, 2);
    }),
    ("websocket: event", |talk| says(talk, "42[\"a\",{\"b\":[1,2]}]", 1)),
    ("websocket: event with an ack", |talk| says(talk, "4217[\"a\",1]", 1)),
    ("websocket: bytes", |talk| {
        let socket = socket(talk);
        talk.text(socket, "452-[\"a\",{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}]");
        talk.send_bytes(socket, &frame(0x82, &[1, 2]));
        talk.send_bytes(socket, &frame(0x82, &[]));
        talk.frames(socket, 3);
    }),
    ("websocket: bytes as text", |talk| {
        let socket = socket(talk);
        talk.text(socket, "451-[\"a\",{\"_placeholder\":true,\"num\":0}]");
        talk.text(socket, "bAQL/");
        talk.frames(socket, 2);
    }),
    ("websocket: a frame in pieces", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0x01, b"42[\"a"));
        talk.send_bytes(socket, &frame(0x89, b"between"));
        talk.send_bytes(socket, &frame(0x00, b"b"));
        talk.send_bytes(socket, &frame(0x80, b"c\"]"));
        talk.frames(socket, 2);
    }),
    ("websocket: ping frame", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0x89, b"hello"));
        talk.frames(socket, 1);
    }),
    ("websocket: pong frame nobody asked for", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0x8a, b"hello"));
        talk.text(socket, "42[\"a\"]");
        talk.frames(socket, 1);
    }),
    ("websocket: close", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0x88, &[0x03, 0xe8]));
        talk.frames(socket, 2);
    }),
    ("websocket: close without a code", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0x88, &[]));
        talk.frames(socket, 2);
    }),
    ("websocket: close with a code of the application", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0x88, &[0x0f, 0xa0, b'b', b'y', b'e']));
        talk.frames(socket, 2);
    }),
    ("websocket: close with a bad code", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0x88, &[0x03, 0xed]));
        talk.frames(socket, 2);
    }),
    ("websocket: unmasked", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, b"\x81\x02ab");
        talk.frames(socket, 2);
    }),
    ("websocket: reserved bit", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0xc1, b"42[\"a\"]"));
        talk.frames(socket, 2);
    }),
    ("websocket: reserved opcode", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0x83, b"x"));
        talk.frames(socket, 2);
    }),
    ("websocket: continuation of nothing", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0x80, b"x"));
        talk.frames(socket, 2);
    }),
    ("websocket: control frame in pieces", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0x09, b"x"));
        talk.frames(socket, 2);
    }),
    ("websocket: control frame too long", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0x89, &[b'x'; 126]));
        talk.frames(socket, 2);
    }),
    ("websocket: no utf-8", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0x81, b"42[\"\xff\"]"));
        talk.frames(socket, 2);
    }),
    ("websocket: too large", |talk| {
        let socket = socket(talk);
        talk.text(socket, &format!("42[\"{}\"]", "x".repeat(1_000_000)));
        talk.frames(socket, 2);
    }),
    ("websocket: as large as can be", |talk| {
        let socket = socket(talk);
        talk.text(socket, &format!("42[\"a\",\"{}\"]", "x".repeat(1_000_000 - 10)));
        talk.frames(socket, 1);
    }),
    ("websocket: ping packet from the client", |talk| says(talk, "2", 2)),
    ("websocket: pong packet nobody asked for", |talk| {
        let socket = socket(talk);
        talk.text(socket, "3");
        talk.text(socket, "42[\"a\"]");
        talk.frames(socket, 1);
    }),
    ("websocket: packets of other transports", |talk| {
        let socket = socket(talk);
        for packet in ["1", "5", "6"] {
            talk.text(socket, packet);
        }
        talk.text(socket, "42[\"a\"]");
        talk.frames(socket, 1);
    }),
    ("websocket: unknown packet", |talk| says(talk, "9", 2)),
    ("websocket: empty frame", |talk| says(talk, "", 2)),
    ("websocket: message without a packet", |talk| says(talk, "4", 2)),
    ("websocket: bad json", |talk| says(talk, "42[\"a\"", 2)),
    ("websocket: bytes nobody announced", |talk| {
        let socket = socket(talk);
        talk.send_bytes(socket, &frame(0x82, &[1, 2]));
        talk.frames(socket, 2);
    }),
    ("websocket: disconnect", |talk| {
        let socket = socket(talk);
        talk.text(socket, "41");
        // The official server handles packets of one turn of its loop as if all had come before the first.
        talk.silence(socket, Duration::from_millis(100));
        talk.text(socket, "42[\"a\"]");
        talk.frames(socket, 2);
    }),
    ("websocket: unknown namespace", |talk| says(talk, "40/unknown,", 1)),
    ("websocket: server disconnects the namespace", |talk| says(talk, "42[\"kick me\"]", 1)),
    ("websocket: server closes the session", |talk| says(talk, "42[\"close me\"]", 2)),
    ("websocket: polling with its session", |talk| {
        let socket = talk.websocket(WS);
        talk.frames(socket, 1);
        talk.poll();
        talk.post(SESSION, "40");
    }),
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

/// With a ping interval of 300 ms, a timeout of 200 ms, an upgrade timeout of 300 ms, and a connect timeout of 400 ms.
pub const QUICK: &[Case] = &[
    ("quick: handshake", |talk| talk.handshake()),
    ("quick: ping without a pong", |talk| {
        let socket = socket(talk);
        talk.frames(socket, 3);
    }),
    ("quick: ping and pong", |talk| {
        let socket = socket(talk);
        for _ in 0..3 {
            talk.frames(socket, 1);
            talk.text(socket, "3");
        }
        talk.frames(socket, 1);
    }),
    ("quick: ping by polling", |talk| {
        talk.connected();
        talk.poll();
        talk.post(SESSION, "3");
        talk.poll();
        talk.poll();
        talk.poll();
    }),
    ("quick: no namespace in time", |talk| {
        let socket = talk.websocket(WS);
        talk.frames(socket, 2);
        talk.text(socket, "3");
        talk.frames(socket, 2);
    }),
    ("quick: upgrade that is not finished", |talk| {
        talk.connected();
        let socket = talk.websocket(UPGRADE);
        talk.text(socket, "2probe");
        talk.frames(socket, 1);
        talk.poll();
        talk.post(SESSION, "3");
        talk.frames(socket, 2);
    }),
];

/// With cross-origin requests allowed, from all or from two origins.
pub const CROSS_ORIGIN: &[Case] = &[
    ("cross origin: get", |talk| cross_origin(talk, "GET", "EIO=4&transport=polling")),
    ("cross origin: preflight", |talk| cross_origin(talk, "OPTIONS", "EIO=4&transport=polling")),
    ("cross origin: refusal", |talk| cross_origin(talk, "GET", "EIO=4&transport=foo")),
    ("cross origin: post and poll", |talk| {
        talk.handshake();
        cross_origin(talk, "GET", "EIO=4&transport=websocket&sid=SID");
    }),
    ("cross origin: websocket", |talk| {
        for origin in ORIGINS {
            talk.request(&upgrade(WS).replace("\r\nHost: test", &format!("\r\nHost: test\r\nOrigin: {origin}")));
        }
    }),
    ("cross origin: websocket refused", |talk| {
        let request = upgrade("EIO=4&transport=foo");
        talk.request(&request.replace("\r\nHost: test", "\r\nHost: test\r\nOrigin: http://a.example"));
    }),
];

const ORIGINS: [&str; 3] = ["http://a.example", "http://b.example", "http://c.example"];

fn cross_origin(talk: &mut Recorder, method: &str, query: &str) {
    for origin in ORIGINS {
        let headers = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-one, x-two";
        let head = format!("\r\nHost: test\r\nOrigin: {origin}\r\n{headers}");
        talk.request(&get(query).replacen("GET", method, 1).replace("\r\nHost: test", &head));
    }
    // And one of the same origin.
    talk.request(&get(query).replacen("GET", method, 1));
}
