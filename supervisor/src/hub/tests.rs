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

use super::{Hub, HubEvent, HubEvents, HubHandle, MAX_QUEUE_BYTES, event_loop::EventLoop};

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
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
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
        let (asked, count, workers) = decode_count(&payload).unwrap();
        assert_eq!((asked, workers.len() as u64), (9, count), "all are workers");
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

/// Two workers, and the hub's loop for the test to run by itself.
fn by_hand() -> (HubHandle, EventLoop, Client, Client) {
    let (hub, _events, event_loop) = Hub::prepare().unwrap();
    let mut event_loop = event_loop();
    let (one, two) = (connect(&hub, 1), connect(&hub, 2));
    event_loop.round().unwrap();
    (hub, event_loop, one, two)
}

/// One round, which does not wait even if there is nothing to do.
fn round(hub: &HubHandle, event_loop: &mut EventLoop) {
    let nobody = worker(99);
    hub.remove_worker(nobody);
    event_loop.round().unwrap();
}

/// The hub has polled, which told of worker two alone, but not read yet: now worker one subscribes and then, by a way that the
/// hub does not see, makes the other publish.
fn subscribe_then_publish(
    hub: &HubHandle,
    mut event_loop: EventLoop,
    mut one: Client,
    mut two: Client,
    before: &[Vec<u8>],
) {
    two.send(HubOp::Publish, "noise", b"");
    event_loop.poll().unwrap();
    // Each by itself: it is what the socket counts.
    before.iter().for_each(|frame| one.stream.write_all(frame).unwrap());
    one.send(HubOp::Subscribe, "room", b"");
    two.send(HubOp::Publish, "room", b"after it");
    event_loop.work();
    round(hub, &mut event_loop);
    assert_eq!(one.receive(), (HubOp::Publish, "room".into(), b"after it".to_vec()));
}

#[test]
fn a_subscription_is_seen_by_every_message_published_after_it() {
    let (hub, event_loop, one, two) = by_hand();
    subscribe_then_publish(&hub, event_loop, one, two, &[]);
}

#[test]
fn a_subscription_is_seen_even_at_the_end_of_a_full_socket() {
    let (hub, mut event_loop, mut one, two) = by_hand();
    // How much fits, so that the subscription is the last that does.
    let filler = frame(HubOp::Publish, "nobody", &[0; 15_000]);
    one.stream.set_nonblocking(true).unwrap();
    let fits =
        std::iter::from_fn(|| one.stream.write(&filler).ok()).inspect(|&len| assert_eq!(len, filler.len())).count();
    one.stream.set_nonblocking(false).unwrap();
    assert!(fits * filler.len() > 150_000, "{fits}");
    round(&hub, &mut event_loop);
    round(&hub, &mut event_loop);
    subscribe_then_publish(&hub, event_loop, one, two, &vec![filler; fits - 1]);
}

/// As [`a_subscription_is_seen_by_every_message_published_after_it`], with threads: whatever order the system comes up with.
#[test]
fn subscriptions_are_seen_whatever_runs_first() {
    const ROUNDS: u32 = 2_000;
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

/// Messages that are half written, half read, or queued, and what is subscribed to: nothing of it is lost, nothing is sent twice.
#[test]
fn a_hub_that_stops_goes_on_elsewhere_without_a_message_lost() {
    let (mut hub, _events) = Hub::start().unwrap();
    let (mut one, mut two) = (connect(&hub, 1), connect(&hub, 2));
    two.send(HubOp::Subscribe, "a#room#", b"");
    two.send(HubOp::SubscribePrefix, "b#", b"");
    let whole: Vec<u8> =
        (0..500u32).flat_map(|number| frame(HubOp::Publish, "a#room#", &number.to_le_bytes())).collect();
    let mut rng = fastrand::Rng::with_seed(7);
    // The subscriptions are there before the first message.
    two.send(HubOp::Echo, "x", b"");
    assert_eq!(two.receive().0, HubOp::Echo);
    let (mut written, mut read) = (0, 0);
    for turn in 0..6 {
        let end = if turn == 5 { whole.len() } else { (written + rng.usize(1..3000)).min(whole.len()) };
        one.stream.write_all(&whole[written..end]).unwrap();
        written = end;
        let stopped = hub.stop().unwrap();
        hub = match turn % 2 {
            0 => stopped.go_on().unwrap(),
            _ => {
                // As another process would have them: the same streams under other numbers.
                let duplicate = |number: std::os::fd::RawFd| -> std::io::Result<std::os::fd::OwnedFd> {
                    let path = format!("/proc/self/fd/{number}");
                    assert!(std::fs::symlink_metadata(path).is_ok());
                    stopped.duplicate(number)
                };
                let frozen = stopped.frozen().map(duplicate).unwrap();
                Hub::restore(frozen).unwrap().0
            }
        };
        while read < 80 * turn && read * 30 + 3000 < written {
            assert_eq!(two.receive(), (HubOp::Publish, "a#room#".into(), (read as u32).to_le_bytes().to_vec()));
            read += 1;
        }
    }
    while read < 500 {
        assert_eq!(two.receive(), (HubOp::Publish, "a#room#".into(), (read as u32).to_le_bytes().to_vec()));
        read += 1;
    }
    one.send(HubOp::Publish, "b#other", b"x");
    assert_eq!(two.receive().1, "b#other");
    assert_eq!(hub.stats().workers, 2);
}
