//! The hub from outside, with plain blocking clients that speak its frames.
#![allow(clippy::unwrap_used)]

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use roomd_wire::{
    Generation, Slot, WorkerId,
    hub::{HubFrame, HubOp, decode_count},
};

use super::{Hub, HubEvent, HubEvents, HubHandle, MAX_QUEUE_BYTES};

struct Client {
    stream: UnixStream,
    unread: Vec<u8>,
}

fn worker(slot: u16) -> WorkerId {
    WorkerId { slot: Slot(slot), generation: Generation(1) }
}

fn connect(hub: &HubHandle, slot: u16) -> Client {
    let stream = UnixStream::from(hub.add_worker(worker(slot)).unwrap());
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    Client { stream, unread: Vec::new() }
}

fn frame(op: HubOp, channel: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    HubFrame { op, channel: channel.as_bytes(), payload }.encode(&mut bytes).unwrap();
    bytes
}

impl Client {
    fn send(&mut self, op: HubOp, channel: &str, payload: &[u8]) {
        self.stream.write_all(&frame(op, channel, payload)).unwrap();
    }

    /// The next frame's op, channel and payload.
    fn receive(&mut self) -> (HubOp, String, Vec<u8>) {
        loop {
            if let Some(frame) = HubFrame::decode(&self.unread).unwrap() {
                let (op, len) = (frame.op, frame.len());
                let (channel, payload) = (String::from_utf8(frame.channel.to_vec()).unwrap(), frame.payload.to_vec());
                self.unread.drain(..len);
                return (op, channel, payload);
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("the hub closed the stream"),
                Ok(read) => self.unread.extend_from_slice(&chunk[..read]),
                // Tests beside this one, in the same process, have children that end.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until the hub has applied all that was sent before: an echo takes the same way.
    fn settle(&mut self) {
        self.send(HubOp::Echo, "settle", b"");
        assert_eq!(self.receive(), (HubOp::Echo, "settle".into(), vec![]));
    }

    fn count(&mut self, channel: &str) -> u64 {
        self.send(HubOp::Count, channel, &9u64.to_le_bytes());
        let (op, _, payload) = self.receive();
        assert_eq!(op, HubOp::Counted);
        let (asked, count) = decode_count(&payload).unwrap();
        assert_eq!(asked, 9);
        count
    }
}

fn next_event(events: &mut HubEvents) -> Option<HubEvent> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), events.next()).await }).unwrap()
}

#[test]
fn a_message_reaches_its_subscribers_alone_in_order() {
    let (hub, _events) = Hub::start().unwrap();
    let (mut one, mut two, mut three) = (connect(&hub, 1), connect(&hub, 2), connect(&hub, 3));
    one.send(HubOp::Subscribe, "room", b"");
    two.send(HubOp::SubscribePrefix, "ro", b"");
    three.send(HubOp::Subscribe, "other", b"");
    one.settle();
    two.settle();
    three.settle();
    for number in 0..1000u32 {
        three.send(HubOp::Publish, "room", &number.to_le_bytes());
    }
    for number in 0..1000u32 {
        assert_eq!(one.receive(), (HubOp::Publish, "room".into(), number.to_le_bytes().to_vec()));
        assert_eq!(two.receive(), (HubOp::Publish, "room".into(), number.to_le_bytes().to_vec()));
    }
    // Nothing came back to the sender nor to who did not ask.
    three.settle();
    assert_eq!((one.count("room"), one.count("ro"), one.count("other")), (1, 0, 1));
    let stats = hub.stats();
    assert_eq!((stats.workers, stats.channels, stats.published, stats.delivered), (3, 3, 1000, 2000));
}

#[test]
fn what_a_worker_said_before_it_ended_is_delivered_and_its_subscriptions_go() {
    let (hub, _events) = Hub::start().unwrap();
    let (mut one, mut two) = (connect(&hub, 1), connect(&hub, 2));
    one.send(HubOp::Subscribe, "room", b"");
    two.send(HubOp::Subscribe, "room", b"");
    two.settle();
    assert_eq!(one.count("room"), 2);
    two.send(HubOp::Publish, "room", b"last words");
    drop(two);
    hub.remove_worker(worker(2));
    assert_eq!(one.receive(), (HubOp::Publish, "room".into(), b"last words".to_vec()));
    while one.count("room") != 1 {}
    assert_eq!((hub.stats().workers, hub.stats().given_up), (1, 0));
}

#[test]
fn a_worker_that_does_not_read_is_reported_and_harms_nobody() {
    let (hub, mut events) = Hub::start().unwrap();
    let (mut sender, mut hung, mut reader) = (connect(&hub, 1), connect(&hub, 2), connect(&hub, 3));
    for client in [&mut hung, &mut reader] {
        client.send(HubOp::Subscribe, "room", b"");
        client.settle();
    }
    let payload = vec![7; 1_000_000];
    let messages = MAX_QUEUE_BYTES / payload.len() + 3;
    let reading = thread::spawn(move || {
        for _ in 0..messages {
            assert_eq!(reader.receive().2.len(), 1_000_000);
        }
    });
    for _ in 0..messages {
        sender.send(HubOp::Publish, "room", &payload);
    }
    reading.join().unwrap();
    assert_eq!(next_event(&mut events), Some(HubEvent::WorkerStalled(worker(2))));
    assert_eq!(hub.stats().given_up, 1);
    sender.settle();
}

#[test]
fn a_worker_that_writes_no_frames_is_reported() {
    let (hub, mut events) = Hub::start().unwrap();
    let mut broken = connect(&hub, 4);
    broken.stream.write_all(&[0xff; 64]).unwrap();
    match next_event(&mut events) {
        Some(HubEvent::WorkerBroken(id, reason)) => {
            assert_eq!(id, worker(4));
            assert!(reason.contains("is the most"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let ended = broken.stream.read(&mut [0; 8]);
    assert!(
        matches!(&ended, Ok(0)) || ended.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset),
        "{ended:?}"
    );
}

#[test]
fn events_end_with_the_hub() {
    let (hub, mut events) = Hub::start().unwrap();
    let mut client = connect(&hub, 1);
    drop(hub);
    assert_eq!(next_event(&mut events), None);
    assert_eq!(client.stream.read(&mut [0; 8]).unwrap(), 0);
}

/// One worker subscribes and then makes another publish by a way that the hub does not see. The publisher says more than
/// that, so that the hub is often reading from it at the moment of the subscription.
#[test]
fn a_subscription_is_seen_by_every_message_published_after_it() {
    const ROUNDS: u32 = 10_000;
    let (hub, _events) = Hub::start().unwrap();
    let (mut one, mut two) = (connect(&hub, 1), connect(&hub, 2));
    let wanted = Arc::new(AtomicU32::new(0));
    let publisher = thread::spawn({
        let wanted = wanted.clone();
        move || {
            let noise = frame(HubOp::Publish, "noise", &[0; 500]);
            let (mut published, mut noises) = (0, 0);
            while published < ROUNDS {
                // Not more than a little: what is published waits behind it.
                if noises < published * 200 + 200 {
                    two.stream.write_all(&noise).unwrap();
                    noises += 1;
                } else {
                    thread::yield_now();
                }
                if wanted.load(Ordering::Acquire) > published {
                    published += 1;
                    two.send(HubOp::Publish, &format!("room {published}"), &published.to_le_bytes());
                }
            }
        }
    });
    for number in 1..=ROUNDS {
        let room = format!("room {number}");
        one.send(HubOp::Subscribe, &room, b"");
        wanted.store(number, Ordering::Release);
        assert_eq!(one.receive(), (HubOp::Publish, room.clone(), number.to_le_bytes().to_vec()));
        one.send(HubOp::Unsubscribe, &room, b"");
    }
    publisher.join().unwrap();
}
