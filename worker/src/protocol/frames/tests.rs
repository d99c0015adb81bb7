//! Frames as clients send them, sound and otherwise.

use super::*;

const MAX: usize = 1000;

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first];
    match payload.len() {
        0..126 => frame.push(0x80 | payload.len() as u8),
        126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((payload.len() as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn read(reader: &mut FrameReader, bytes: &[u8], seen: &mut Vec<String>) -> Result<(), FrameError> {
    reader.read(&mut bytes.to_vec(), &mut Rules { max: MAX, left: usize::MAX, inflater: None }, &mut |incoming| {
        seen.push(format!("{incoming:?}"));
        ControlFlow::Continue(())
    })
}

/// Everything a client may send, in one row.
fn stream() -> (Vec<u8>, Vec<String>) {
    let long = "é".repeat(400);
    let bytes = [
        frame(0x81, b"hello"),
        frame(0x82, &[0, 255, 1]),
        frame(0x81, b""),
        frame(0x89, b"ping"),
        frame(0x01, "h\u{e9}".as_bytes().split_at(2).0),
        frame(0x8a, b""),
        frame(0x00, "h\u{e9}".as_bytes().split_at(2).1),
        frame(0x89, b""),
        frame(0x80, b"!"),
        frame(0x81, long.as_bytes()),
        frame(0x88, &[3, 232, b'x']),
    ]
    .concat();
    let expected = [
        "Text(\"hello\")".to_owned(),
        "Binary([0, 255, 1])".to_owned(),
        "Text(\"\")".to_owned(),
        format!("Ping({:?})", b"ping"),
        "Pong".to_owned(),
        "Ping([])".to_owned(),
        "Text(\"hé!\")".to_owned(),
        format!("Text({long:?})"),
        "Close(Some(1000))".to_owned(),
    ];
    (bytes, expected.into())
}

#[test]
fn messages_are_the_same_wherever_the_bytes_are_split() {
    let (bytes, expected) = stream();
    for at in 0..=bytes.len() {
        let (mut reader, mut seen) = (FrameReader::default(), Vec::new());
        read(&mut reader, &bytes[..at], &mut seen).unwrap();
        read(&mut reader, &bytes[at..], &mut seen).unwrap();
        assert_eq!(seen, expected, "split at {at}");
        assert_eq!(reader.owned_bytes(), 0);
    }
    let (mut reader, mut seen) = (FrameReader::default(), Vec::new());
    for byte in &bytes {
        read(&mut reader, &[*byte], &mut seen).unwrap();
    }
    assert_eq!(seen, expected);
}

#[test]
fn hostile_frames_are_refused() {
    let invalid = FrameError::Invalid;
    let mut unmasked = frame(0x81, b"");
    unmasked[1] = 0;
    for (bytes, error) in [
        (frame(0xc1, b"compressed"), invalid),
        (frame(0xa1, b"rsv2"), invalid),
        (frame(0x91, b"rsv3"), invalid),
        (frame(0x83, b"reserved"), invalid),
        (frame(0x8b, b"reserved"), invalid),
        (unmasked, invalid),
        (frame(0x80, b"continues nothing"), invalid),
        ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), invalid),
        (frame(0x09, b"fragmented ping"), invalid),
        (frame(0x89, &[0; 126]), invalid),
        (frame(0x88, &[3]), invalid),
        (frame(0x88, &[3, 237]), invalid),
        (frame(0x88, &[0, 1]), invalid),
        (frame(0x88, &[3, 232, 0xff]), FrameError::NotText),
        (frame(0x81, &[0xff]), FrameError::NotText),
        ([frame(0x01, &[0xc3]), frame(0x80, b"x")].concat(), FrameError::NotText),
        (frame(0x82, &[0; MAX + 1]), FrameError::TooLarge),
        (vec![0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], FrameError::TooLarge),
        ([frame(0x02, &[0; MAX]), frame(0x80, &[0])].concat(), FrameError::TooLarge),
    ] {
        let whole = read(&mut FrameReader::default(), &bytes, &mut Vec::new());
        assert_eq!(whole, Err(error), "{bytes:x?}");
        let mut reader = FrameReader::default();
        let bytewise = bytes.iter().try_for_each(|byte| read(&mut reader, &[*byte], &mut Vec::new()));
        assert_eq!(bytewise, Err(error), "{bytes:x?} byte by byte");
    }
}

#[test]
fn exactly_the_limit_passes_also_in_fragments() {
    let (mut reader, mut seen) = (FrameReader::default(), Vec::new());
    let bytes = [frame(0x82, &[7; MAX]), frame(0x02, &[7; MAX - 1]), frame(0x80, &[7])].concat();
    read(&mut reader, &bytes, &mut seen).unwrap();
    assert_eq!(seen, [format!("Binary({:?})", [7u8; MAX]), format!("Binary({:?})", [7u8; MAX])]);
}

#[test]
fn an_announced_length_costs_no_memory() {
    let mut reader = FrameReader::default();
    let head = &frame(0x82, &[0; MAX])[..9];
    read(&mut reader, head, &mut Vec::new()).unwrap();
    assert!(reader.owned_bytes() < 64);
}

#[test]
fn random_bytes_never_panic() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut reader = FrameReader::default();
        for _ in 0..50 {
            let mut bytes: Vec<u8> = (0..rng.usize(1..40)).map(|_| rng.u8(..)).collect();
            if rng.bool() {
                bytes = frame(*rng.choice(&[0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89]).unwrap(), &bytes);
            }
            if read(&mut reader, &bytes, &mut Vec::new()).is_err() {
                break;
            }
            assert!(reader.owned_bytes() <= 4 * MAX, "seed {seed}");
        }
    }
}

/// Deflated, and without the flush's tail.
fn deflated(message: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(message.len() + 100);
    let mut stream = flate2::Compress::new(flate2::Compression::fast(), false);
    stream.compress_vec(message, &mut output, flate2::FlushCompress::Sync).unwrap();
    output.truncate(output.len() - 4);
    output
}

fn read_deflated(reader: &mut FrameReader, bytes: &[u8], seen: &mut Vec<String>) -> Result<(), FrameError> {
    let mut inflater = Inflater::default();
    let mut rules = Rules { max: MAX, left: usize::MAX, inflater: Some(&mut inflater) };
    reader.read(&mut bytes.to_vec(), &mut rules, &mut |incoming| {
        seen.push(format!("{incoming:?}"));
        ControlFlow::Continue(())
    })
}

#[test]
fn compressed_messages_and_others_come_mixed_and_in_any_pieces() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let (text, compressed) = (rng.bool(), if rng.bool() { 0x40 } else { 0 });
            let message: Vec<u8> = (0..rng.usize(..=MAX)).map(|_| rng.u8(b'a'..b'e')).collect();
            expected.push(match text {
                true => format!("{:?}", Incoming::Text(std::str::from_utf8(&message).unwrap())),
                false => format!("{:?}", Incoming::Binary(&message)),
            });
            let payload = if compressed != 0 { deflated(&message) } else { message };
            let mut first = compressed | if text { 1 } else { 2 };
            let mut rest = &payload[..];
            while rng.bool() {
                let (piece, after) = rest.split_at(rng.usize(..=rest.len()));
                bytes.extend(frame(first, piece));
                bytes.extend(frame(0x8a, b"pong"));
                expected.insert(expected.len() - 1, "Pong".to_owned());
                (first, rest) = (0, after);
            }
            bytes.extend(frame(0x80 | first, rest));
        }
        let (mut reader, mut seen) = (FrameReader::default(), Vec::new());
        while !bytes.is_empty() {
            let rest = bytes.split_off(rng.usize(1..=bytes.len()));
            read_deflated(&mut reader, &bytes, &mut seen).unwrap();
            bytes = rest;
        }
        assert_eq!(seen, expected, "seed {seed}");
        assert_eq!(reader.owned_bytes(), 0);
    }
}

#[test]
fn only_the_first_frame_of_a_message_says_that_it_is_compressed() {
    for (bytes, error) in [
        (frame(0xc9, b""), FrameError::Invalid),
        (frame(0xc8, b""), FrameError::Invalid),
        ([frame(0x41, b""), frame(0xc0, b"")].concat(), FrameError::Invalid),
        (frame(0xe1, b""), FrameError::Invalid),
        (frame(0xc1, b"hello"), FrameError::Corrupt),
        (frame(0xc1, &deflated(&[0xff])), FrameError::NotText),
        (frame(0xc2, &deflated(&[0; MAX + 1])), FrameError::TooLarge),
        (frame(0xc2, &[0; MAX + 1]), FrameError::TooLarge),
    ] {
        let read = read_deflated(&mut FrameReader::default(), &bytes, &mut Vec::new());
        assert_eq!(read, Err(error), "{bytes:x?}");
    }
}

#[test]
fn what_a_turn_has_no_time_for_comes_in_the_next_ones_and_in_order() {
    let (bytes, expected) = stream();
    let bomb = frame(0xc2, &deflated(&[7; MAX]));
    let mut inflater = Inflater::default();
    for size in [1, 7, 64, bytes.len()] {
        let (mut reader, mut seen, mut turns) = (FrameReader::default(), Vec::new(), 0);
        let mut turn = |reader: &mut FrameReader, seen: &mut Vec<String>, input: &[u8]| {
            turns += 1;
            let mut rules = Rules { max: MAX, left: 1, inflater: Some(&mut inflater) };
            let mut messages = 0;
            let read = reader.read(&mut input.to_vec(), &mut rules, &mut |incoming| {
                messages += 1;
                seen.push(format!("{incoming:?}"));
                ControlFlow::Continue(())
            });
            assert_eq!(read, Ok(()));
            assert!(messages <= 1, "one message is a turn's share");
        };
        let row = [&bomb[..], &bomb, &bytes].concat();
        for piece in row.chunks(size) {
            turn(&mut reader, &mut seen, piece);
        }
        while reader.is_paused() {
            turn(&mut reader, &mut seen, &[]);
        }
        assert_eq!(seen[2..], expected, "{size}");
        assert_eq!(reader.owned_bytes(), 0);
        assert!(turns >= seen.len());
    }
}

#[test]
fn reading_stops_where_it_is_told_to() {
    let (mut reader, mut count) = (FrameReader::default(), 0);
    let mut bytes = [frame(0x81, b"a"), frame(0x81, b"b")].concat();
    reader
        .read(&mut bytes, &mut Rules { max: MAX, left: usize::MAX, inflater: None }, &mut |_| {
            count += 1;
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(count, 1);
}
