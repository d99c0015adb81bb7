//! Engine.IO: what clients send by polling and by WebSocket.

use std::ops::ControlFlow;

use roomd_worker::protocol::{
    deflate::{Agreement, Inflater},
    engine_packet::{Packet, packets, payload_text, push_binary, push_text},
    frames::{FrameError, FrameReader, Rules},
};

/// The largest message where there is a limit.
const MAX: usize = 700;

/// Packets of a payload are those that were put into it.
pub fn payload(bytes: &[u8]) {
    let text = payload_text(bytes);
    let read: Vec<_> = packets(&text).collect();
    let wrong = read.iter().filter(|packet| packet.is_err()).count();
    assert!(wrong == 0 || wrong == 1 && read.last().is_some_and(Result::is_err), "it ends at the first bad packet");
    let mut again = Vec::new();
    let sound: Vec<_> = read.into_iter().flatten().collect();
    for packet in &sound {
        match packet {
            Packet::Open => push_text(&mut again, b"0"),
            Packet::Close => push_text(&mut again, b"1"),
            Packet::Ping(data) => push_text(&mut again, &[b"2", data.as_bytes()].concat()),
            Packet::Pong => push_text(&mut again, b"3"),
            Packet::Message(data) => push_text(&mut again, &[b"4", data.as_bytes()].concat()),
            Packet::Binary(data) => push_binary(&mut again, data),
            Packet::Upgrade => push_text(&mut again, b"5"),
            Packet::Noop => push_text(&mut again, b"6"),
        }
    }
    if !sound.is_empty() {
        let again = String::from_utf8(again).unwrap();
        assert_eq!(packets(&again).collect::<Vec<_>>(), sound.into_iter().map(Ok).collect::<Vec<_>>());
    }
}

/// Messages are the same however the bytes are split, and what is kept of them is bounded.
pub fn frames(bytes: &[u8]) {
    for compressed in [false, true] {
        let whole = read_frames(&[bytes], compressed);
        let middle = bytes.len() / 2;
        assert_eq!(read_frames(&[&bytes[..middle], &bytes[middle..]], compressed), whole);
        assert_eq!(read_frames(&bytes.chunks(1).collect::<Vec<_>>(), compressed), whole);
        assert_eq!(read_frames(&bytes.chunks(7).collect::<Vec<_>>(), compressed), whole);
    }
}

fn read_frames(pieces: &[&[u8]], compressed: bool) -> (Vec<String>, Result<(), FrameError>) {
    let mut inflater = Inflater::default();
    let mut reader = FrameReader::default();
    let mut seen = Vec::new();
    for piece in pieces {
        let mut rules = Rules { max: MAX, left: usize::MAX, inflater: compressed.then_some(&mut inflater) };
        let result = reader.read(&mut piece.to_vec(), &mut rules, &mut |incoming| {
            seen.push(format!("{incoming:?}"));
            ControlFlow::Continue(())
        });
        // A vector grows to twice what it needs.
        assert!(reader.owned_bytes() <= 4 * (MAX + piece.len() + 14), "{} bytes kept", reader.owned_bytes());
        if result.is_err() {
            return (seen, result);
        }
    }
    (seen, Ok(()))
}

/// Frames of every kind, with a mask.
pub fn frame_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for head in [0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8a, 0xc1, 0xc2, 0x41] {
        for payload in
            [&b""[..], b"42[\"a\",1]", b"\x03\xe8bye", "\u{e9}\u{1f600}".as_bytes(), &[b'x'; 125], &[b'y'; 300]]
        {
            let payload = if head & 0x40 == 0 { payload.to_vec() } else { deflated(payload) };
            let mut frame = vec![head];
            match payload.len() {
                short @ ..126 => frame.push(0x80 | short as u8),
                long => frame.extend([0xfe, (long >> 8) as u8, long as u8]),
            }
            frame.extend([1, 2, 3, 4]);
            frame.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
            seeds.push(frame);
        }
    }
    seeds
}

/// What was compressed comes out again, what was not does not grow without bound, and one message leaves nothing for the next.
pub fn deflate(bytes: &[u8]) {
    let mut inflater = Inflater::default();
    let first = inflater.inflate(bytes, MAX).map(<[u8]>::to_vec);
    assert!(first.as_ref().is_ok_and(|message| message.len() <= MAX) || first.is_err());
    let compressed = deflated(bytes);
    assert_eq!(inflater.inflate(&compressed, bytes.len()), Ok(bytes));
    if !bytes.is_empty() {
        assert!(inflater.inflate(&compressed, bytes.len() - 1).is_err(), "larger than it may be");
    }
    // Of two things that are wrong, it depends on the size of the buffer which one is found first.
    assert_eq!(inflater.inflate(bytes, MAX).map(<[u8]>::to_vec).ok(), first.ok(), "the second time");
}

/// As a client compresses a message: without the four bytes that each has at its end.
fn deflated(message: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::with_capacity(message.len() + 64);
    let mut stream = flate2::Compress::new(flate2::Compression::fast(), false);
    stream.compress_vec(message, &mut compressed, flate2::FlushCompress::Sync).unwrap();
    compressed.truncate(compressed.len() - 4);
    compressed
}

/// What we agree to is itself an offer that we would agree to.
pub fn offer(bytes: &[u8]) {
    if let Ok(Some(agreement)) = Agreement::on(bytes) {
        assert!((8..=15).contains(&agreement.window.bits()));
        assert!(agreement.answer.is_ascii() && agreement.answer.len() < 200, "{:?}", agreement.answer);
        let again = Agreement::on(agreement.answer.as_bytes()).unwrap().unwrap();
        assert_eq!(again.window, agreement.window);
    }
}

/// Offers of browsers, and odd ones.
pub fn offer_seeds() -> Vec<Vec<u8>> {
    [
        "permessage-deflate", "permessage-deflate; client_max_window_bits", "x-webkit-deflate-frame, permessage-deflate",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits=\"12\"",
        "permessage-deflate; server_max_window_bits=8, permessage-deflate", "foo; bar=\"a\\\"b\"; baz",
    ]
    .map(|offer| offer.as_bytes().to_vec())
    .into()
}
