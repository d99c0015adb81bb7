//! Compressed messages, with `perMessageDeflate` switched on without context takeover.

use flate2::{Compress, Compression, FlushCompress};

use super::{
    super::recorder::{Recorder, WS, frame, upgrade},
    Case,
};

pub const CASES: &[Case] = &[
    ("deflate: offers", |talk| OFFERS.iter().for_each(|offer| talk.request(&offered(offer)))),
    ("deflate: no offer", |talk| {
        let socket = talk.websocket(WS);
        talk.frames(socket, 1);
        talk.text(socket, "40");
        talk.frames(socket, 2);
        talk.text(socket, &event(2000));
        talk.frames(socket, 1);
        talk.send_bytes(socket, &frame(0xc1, &deflated(b"42[\"a\"]")));
        talk.frames(socket, 2);
    }),
    ("deflate: offers in two lines", |talk| {
        let offers = "x; a\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=11";
        talk.request(&offered(offers));
    }),
    ("deflate: bad offer of a session that is unknown", |talk| {
        talk.request(&offered(";").replace("transport=websocket", "transport=websocket&sid=abc"));
    }),
    ("deflate: bad offer, and a bad protocol", |talk| {
        talk.request(&offered(";\r\nSec-WebSocket-Protocol: ,"));
    }),
    ("deflate: event", |talk| says(talk, &frame(0xc1, &deflated(b"42[\"a\"]")), 1)),
    ("deflate: event that is not compressed", |talk| says(talk, &frame(0x81, b"42[\"a\"]"), 1)),
    ("deflate: event without a flush", |talk| says(talk, &frame(0xc1, &finished(b"42[\"a\"]")), 1)),
    ("deflate: event without a flush, and more behind it", |talk| {
        let message = [finished(b"42[\"a\"]"), finished(b"42[\"b\"]"), b"noise".to_vec()].concat();
        says(talk, &frame(0xc1, &message), 1);
    }),
    ("deflate: event in several flushes", |talk| {
        let message = [deflated(b"42[\"a\",").as_slice(), &[0, 0, 0xff, 0xff], &deflated(b"1]")].concat();
        says(talk, &frame(0xc1, &message), 1);
    }),
    ("deflate: event that was stored", |talk| {
        says(talk, &frame(0xc1, b"\x00\x07\x00\xf8\xff42[\"a\"]\x00"), 1);
    }),
    ("deflate: event that ends in the middle", |talk| {
        // What can be read of it is no packet of Socket.IO.
        let message = deflated(event(500).as_bytes());
        says(talk, &frame(0xc1, &message[..message.len() - 4]), 2);
    }),
    ("deflate: event in pieces", |talk| {
        let message = deflated(b"42[\"a\",1,2,3]");
        let (first, rest) = message.split_at(5);
        let pieces = [frame(0x41, first), frame(0x89, b"ping"), frame(0x00, &[]), frame(0x80, rest)];
        says(talk, &pieces.concat(), 2);
    }),
    ("deflate: bytes", |talk| {
        let head = br#"451-["a",{"_placeholder":true,"num":0}]"#;
        says(talk, &[frame(0xc1, &deflated(head)), frame(0xc2, &deflated(&[7; 20]))].concat(), 2);
    }),
    ("deflate: long bytes", |talk| {
        let head = br#"451-["a",{"_placeholder":true,"num":0}]"#;
        says(talk, &[frame(0x81, head), frame(0xc2, &deflated(&[7; 20_000]))].concat(), 2);
    }),
    ("deflate: nothing", |talk| says(talk, &frame(0xc1, &[]), 2)),
    ("deflate: nothing, flushed", |talk| says(talk, &frame(0xc1, &[0]), 2)),
    ("deflate: answers around the threshold", |talk| {
        let events: Vec<u8> = (1020..1028).flat_map(|length| frame(0x81, event(length).as_bytes())).collect();
        says(talk, &events, 8);
    }),
    ("deflate: long event", |talk| says(talk, &frame(0xc1, &deflated(event(100_000).as_bytes())), 1)),
    ("deflate: long event for a small window", |talk| {
        for bits in 8..=15 {
            let socket = open(talk, &format!("permessage-deflate; server_max_window_bits={bits}"));
            talk.text(socket, &event(100_000));
            talk.frames(socket, 1);
        }
    }),
    ("deflate: as large as can be", |talk| says(talk, &frame(0xc1, &deflated(event(1_000_000).as_bytes())), 1)),
    ("deflate: too large", |talk| says(talk, &frame(0xc1, &deflated(event(1_000_001).as_bytes())), 2)),
    ("deflate: bomb", |talk| says(talk, &frame(0xc2, &deflated(&vec![0; 50_000_000])), 2)),
    ("deflate: bomb in pieces", |talk| {
        let bomb = deflated(&vec![0; 50_000_000]);
        let (first, rest) = bomb.split_at(bomb.len() / 2);
        says(talk, &[frame(0x42, first), frame(0x80, rest)].concat(), 2);
    }),
    ("deflate: too large before it is decompressed", |talk| says(talk, &frame(0xc2, &vec![0; 1_000_001]), 2)),
    ("deflate: not deflate", |talk| says(talk, &frame(0xc1, b"42[\"a\"]"), 2)),
    ("deflate: no utf-8", |talk| says(talk, &frame(0xc1, &deflated(b"42[\"\xff\"]")), 2)),
    ("deflate: context taken over", |talk| says(talk, &frame(0xc1, &[0xf2, 0x00, 0x11, 0x00, 0x00]), 2)),
    ("deflate: continuation that says it", |talk| says(talk, &[frame(0x41, &[]), frame(0xc0, &[0])].concat(), 2)),
    ("deflate: ping that says it", |talk| says(talk, &frame(0xc9, &[]), 2)),
    ("deflate: close that says it", |talk| says(talk, &frame(0xc8, &[]), 2)),
    ("deflate: second reserved bit", |talk| says(talk, &frame(0xe1, &deflated(b"42[\"a\"]")), 2)),
];

/// Values of `Sec-WebSocket-Extensions`.
const OFFERS: &[&str] = &[
    "",
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; client_max_window_bits=10",
    "permessage-deflate; client_max_window_bits=\"10\"",
    "permessage-deflate; client_max_window_bits=\"1\\0\"",
    "permessage-deflate; client_max_window_bits=\"\\1\\0\"",
    "permessage-deflate; client_max_window_bits=\"1 0\"",
    "permessage-deflate; client_max_window_bits=\"\"",
    "permessage-deflate; client_max_window_bits=\"10",
    "permessage-deflate; client_max_window_bits=1\"0\"",
    "permessage-deflate; client_max_window_bits=\"10\"1",
    "permessage-deflate; client_max_window_bits=\"10\" ; server_max_window_bits=9",
    "permessage-deflate; client_max_window_bits=",
    "permessage-deflate; client_max_window_bits =10",
    "permessage-deflate; client_max_window_bits= 10",
    "permessage-deflate; client_max_window_bits=7",
    "permessage-deflate; client_max_window_bits=16",
    "permessage-deflate; client_max_window_bits=ten",
    "permessage-deflate; client_max_window_bits=8.5",
    "permessage-deflate; client_max_window_bits=8.0",
    "permessage-deflate; client_max_window_bits=010",
    "permessage-deflate; client_max_window_bits=+10",
    "permessage-deflate; client_max_window_bits=-10",
    "permessage-deflate; client_max_window_bits=1e1",
    "permessage-deflate; client_max_window_bits=1E1",
    "permessage-deflate; client_max_window_bits=0xa",
    "permessage-deflate; client_max_window_bits=0XF",
    "permessage-deflate; client_max_window_bits=0x+a",
    "permessage-deflate; client_max_window_bits=+0xa",
    "permessage-deflate; client_max_window_bits=0o12",
    "permessage-deflate; client_max_window_bits=0b1010",
    "permessage-deflate; client_max_window_bits=0x",
    "permessage-deflate; client_max_window_bits=10.",
    "permessage-deflate; client_max_window_bits=.",
    "permessage-deflate; client_max_window_bits=e1",
    "permessage-deflate; client_max_window_bits=1_0",
    "permessage-deflate; client_max_window_bits=Infinity",
    "permessage-deflate; client_max_window_bits=inf",
    "permessage-deflate; client_max_window_bits=NaN",
    "permessage-deflate; client_max_window_bits=266",
    "permessage-deflate; client_max_window_bits=100000000000000000000000000000000000000000000000",
    "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
    "permessage-deflate; client_max_window_bits=12; server_max_window_bits=8",
    "permessage-deflate; server_max_window_bits",
    "permessage-deflate; server_max_window_bits=0",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover",
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover=1",
    "permessage-deflate; server_no_context_takeover=\"x\"",
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
    "permessage-deflate; unknown",
    "permessage-deflate; Client_max_window_bits",
    "permessage-deflate, permessage-deflate; server_max_window_bits=9",
    "permessage-deflate; server_max_window_bits=9, permessage-deflate",
    "permessage-deflate, permessage-deflate; unknown",
    "permessage-deflate; server_max_window_bits=99, permessage-deflate",
    "Permessage-Deflate",
    "x-webkit-deflate-frame",
    "permessage-bzip2; a; a; b=\"c\", permessage-deflate",
    "constructor, __proto__; __proto__, permessage-deflate",
    "permessage-deflate;client_max_window_bits;server_max_window_bits=10,x",
    "permessage-deflate\t;\tclient_max_window_bits\t,\tx",
    ",",
    ";",
    "x,",
    "x;",
    "x,,y",
    "x;;y",
    ",x",
    "x y",
    "x; y z",
    "x; =y",
    "x=y",
    "\"x\"",
    "x; y=\"z\"\"",
    "x; y=z=",
    "x; y=\"\\\"\"",
    "x; y=\"\\",
    "x; y=(z)",
    "x/y",
    "permessage-deflate; \u{e9}",
];

/// A handshake that offers extensions.
fn offered(extensions: &str) -> String {
    upgrade(WS).replace("\r\nConnection:", &format!("\r\nSec-WebSocket-Extensions: {extensions}\r\nConnection:"))
}

/// A session with its main namespace that has agreed on compression; its connection.
fn open(talk: &mut Recorder, extensions: &str) -> usize {
    let socket = talk.open(&offered(extensions));
    talk.answer(socket);
    talk.frames(socket, 1);
    talk.text(socket, "40");
    talk.frames(socket, 2);
    socket
}

/// Sends bytes on such a session and notes what comes back.
fn says(talk: &mut Recorder, bytes: &[u8], frames: usize) {
    let socket = open(talk, "permessage-deflate; client_max_window_bits");
    talk.send_bytes(socket, bytes);
    talk.frames(socket, frames);
}

/// An event of so many bytes.
fn event(length: usize) -> String {
    let numbers: String = (0..length).map(|number| format!("{number} ")).take(length / 4).collect();
    let mut text = format!("42[\"a\",\"{numbers}");
    text.truncate(length - 2);
    let rest = "x".repeat(length - 2 - text.len());
    text + &rest + "\"]"
}

/// Compressed as a client does it: flushed, without the flush's tail.
fn deflated(message: &[u8]) -> Vec<u8> {
    let mut output = compressed(message, FlushCompress::Sync);
    output.truncate(output.len() - 4);
    output
}

/// Compressed, with a final block.
fn finished(message: &[u8]) -> Vec<u8> {
    compressed(message, FlushCompress::Finish)
}

fn compressed(message: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut output = Vec::with_capacity(message.len() + 100);
    Compress::new(Compression::default(), false).compress_vec(message, &mut output, flush).unwrap();
    output
}
