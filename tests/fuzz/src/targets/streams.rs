//! Streams: Redis's answers, the hub's frames, messages on control sockets.

use roomd_wire::{
    ConnectionId, PeerAddress, ToSupervisor, ToWorker,
    hub::{HubBuffer, HubFrame, HubFrameError, HubOp},
};
use roomd_worker::bus::resp::{Parsed, parse};
use serde::{Serialize, de::DeserializeOwned};

/// While an answer is not whole it asks for no more than it lacks, and what is behind it does not matter.
pub fn redis(bytes: &[u8]) {
    let Ok(Parsed::Whole(reply, length)) = parse(bytes) else { return };
    assert!((1..=bytes.len()).contains(&length));
    assert_eq!(parse(&bytes[..length]).unwrap(), Parsed::Whole(reply, length));
    for cut in 0..length {
        match parse(&bytes[..cut]) {
            Ok(Parsed::Lacks(lacking)) => {
                assert!(lacking > 0 && cut + lacking <= length, "{lacking} behind {cut} of {length}")
            }
            other => panic!("{other:?} in the first {cut} bytes"),
        }
    }
}

/// What Redis sends to a subscriber and to a publisher.
pub fn redis_seeds() -> Vec<Vec<u8>> {
    [
        "*4\r\n$8\r\npmessage\r\n$12\r\nsocket.io#*\r\n\r\n$5\r\nhello\r\n$3\r\na\r\n\r\n",
        "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
        ":42\r\n",
        "+OK\r\n",
        "-ERR unknown command\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n$1\r\nc\r\n:-7\r\n",
    ]
    .map(|answer| answer.as_bytes().to_vec())
    .into()
}

/// Frames are the same however they come, and reading them takes no memory that they do not need.
pub fn hub(bytes: &[u8]) {
    let whole = read_hub(&[bytes]);
    assert_eq!(read_hub(&bytes.chunks(1).collect::<Vec<_>>()), whole);
    assert_eq!(read_hub(&bytes.chunks(10).collect::<Vec<_>>()), whole);
    let mut again = Vec::new();
    for (op, channel, payload) in &whole.0 {
        HubFrame { op: *op, channel, payload }.encode(&mut again).unwrap();
    }
    assert!(bytes.starts_with(&again), "written again they are the very bytes that came");
}

type HubFrames = (Vec<(HubOp, Vec<u8>, Vec<u8>)>, Option<HubFrameError>);

fn read_hub(pieces: &[&[u8]]) -> HubFrames {
    let mut buffer = HubBuffer::default();
    let mut frames = Vec::new();
    for piece in pieces {
        match buffer.make_room() {
            Ok(room) => room.extend_from_slice(piece),
            Err(error) => return (frames, Some(error)),
        }
        loop {
            match buffer.scan() {
                Ok(Some(frame)) => frames.push((frame.op, frame.channel.to_vec(), frame.payload.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        buffer.consume(buffer.scanned());
    }
    (frames, None)
}

/// Frames of some kinds.
pub fn hub_seeds() -> Vec<Vec<u8>> {
    let frame = |op, channel: &[u8], payload: &[u8]| {
        let mut bytes = Vec::new();
        HubFrame { op, channel, payload }.encode(&mut bytes).unwrap();
        bytes
    };
    vec![
        frame(HubOp::Publish, b"socket.io#/#", b"payload"),
        frame(HubOp::Subscribe, b"c", b""),
        frame(HubOp::Publish, b"", &[7; 300]),
    ]
}

/// A message to a worker.
pub fn to_worker(bytes: &[u8]) {
    message::<ToWorker>(bytes);
}

/// A message to the supervisor.
pub fn to_supervisor(bytes: &[u8]) {
    message::<ToSupervisor>(bytes);
}

/// A message that was read reads the same when it is written again.
fn message<M: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(message) = rmp_serde::from_slice::<M>(bytes) else { return };
    let bytes = rmp_serde::to_vec_named(&message).unwrap();
    let again: M = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(rmp_serde::to_vec_named(&again).unwrap(), bytes);
}

/// Messages of some kinds.
pub fn to_worker_seeds() -> Vec<Vec<u8>> {
    let peer = PeerAddress::Ip([127, 0, 0, 1].into(), 80);
    let connection = ToWorker::Connection { id: ConnectionId(u64::MAX), peer, moved: true, read: b"GET /".to_vec() };
    [connection, ToWorker::Ping { nonce: 7 }].map(|message| rmp_serde::to_vec_named(&message).unwrap()).into()
}

/// Messages of some kinds.
pub fn to_supervisor_seeds() -> Vec<Vec<u8>> {
    [ToSupervisor::Accepted { id: ConnectionId(1) }, ToSupervisor::Closed { id: ConnectionId(u64::MAX) }]
        .map(|message| rmp_serde::to_vec_named(&message).unwrap())
        .into()
}
