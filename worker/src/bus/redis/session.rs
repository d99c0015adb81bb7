//! One pair of connections, from its opening to its end.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, split},
    sync::Notify,
};

use super::{
    client::Inner,
    connect::Connection,
    error::RedisError,
    queue::Answer,
    resp::{Item, Parsed, Reply, command, parse},
    subscriptions::Active,
};

/// How much is asked for in one read.
const READ_BYTES: usize = 64 * 1024;

/// A buffer that grew larger than this is not kept.
pub const SPARE_BYTES: usize = 256 * 1024;

/// How long it may take until everything is subscribed to again.
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(10);

/// Long enough for the loop to read what has come.
const READ_PAUSE: Duration = Duration::from_millis(50);

/// Two connections in use.
struct Session<'a> {
    inner: &'a Inner,
    /// When either connection last said something.
    publisher_heard: Cell<Instant>,
    subscriber_heard: Cell<Instant>,
    /// A refused message was told of.
    refusal_told: Cell<bool>,
    /// All that is wanted is subscribed to.
    subscribed: Notify,
}

/// Makes both connections, serves until one of them ends, and says why it did.
pub async fn run(inner: &Inner) -> RedisError {
    let pair = async { Ok((inner.target.open().await?, inner.target.open().await?)) };
    let (publisher, subscriber) = match pair.await {
        Ok(pair) => pair,
        Err(error) => return error,
    };
    let (publisher_heard, subscriber_heard) = (Cell::new(Instant::now()), Cell::new(Instant::now()));
    let (refusal_told, subscribed) = (Cell::new(false), Notify::new());
    Session { inner, publisher_heard, subscriber_heard, refusal_told, subscribed }.serve(publisher, subscriber).await
}

impl Session<'_> {
    /// What was not written or not answered at the end is dropped and counted.
    async fn serve(&self, publisher: Connection, subscriber: Connection) -> RedisError {
        let inner = self.inner;
        inner.subscriber.open();
        inner.subscriber.push_if_open(|bytes| {
            inner.wanted.borrow().subscribe_all(bytes);
            command(bytes, &[b"SUBSCRIBE", inner.health_channel.as_bytes()]);
        });
        let (from_publisher, to_publisher) = split(publisher);
        let (from_subscriber, to_subscriber) = split(subscriber);
        let error = tokio::select! {
            error = inner.subscriber.write_to(to_subscriber) => error,
            error = self.read_messages(from_subscriber) => error,
            error = inner.publisher.write_to(to_publisher) => error,
            error = self.read_answers(from_publisher) => error,
            error = self.watch_health() => error,
            error = self.watch_subscribing() => error,
        };
        inner.subscriber.close();
        let lost = inner.publisher.close();
        inner.common.count(|counters| counters.dropped += lost);
        error
    }

    /// Messages and confirmations.
    async fn read_messages(&self, mut from: impl AsyncRead + Unpin) -> RedisError {
        let (mut active, mut bytes) = (Active::default(), Vec::new());
        loop {
            let read =
                read(&mut from, &mut bytes, &self.subscriber_heard, |reply| self.handle_message(reply, &mut active));
            if let Err(error) = read.await {
                return error;
            }
        }
    }

    fn handle_message(&self, reply: &Reply<'_>, active: &mut Active) -> Result<(), RedisError> {
        let items = match reply {
            Reply::One(Item::Error(answer)) => return Err(RedisError::refused("SUBSCRIBE", answer)),
            Reply::One(_) => return Ok(()),
            Reply::Many(items) => items.as_slice(),
        };
        match *items {
            [Item::Bytes(b"message"), Item::Bytes(channel), Item::Bytes(payload)] => self.deliver(channel, payload),
            [Item::Bytes(b"pmessage"), Item::Bytes(pattern), Item::Bytes(channel), Item::Bytes(payload)]
                if active.counts(pattern, channel) =>
            {
                self.deliver(channel, payload);
            }
            [Item::Bytes(kind), Item::Bytes(name), Item::Number(_)] => {
                active.confirm(kind, name);
                if kind == b"subscribe" && name == self.inner.health_channel.as_bytes() {
                    self.all_subscribed();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn deliver(&self, channel: &[u8], payload: &[u8]) {
        if channel == self.inner.health_channel.as_bytes() {
            if let Ok(number) = payload.try_into() {
                self.inner.update_health(|health, now| health.handle_probe(u64::from_le_bytes(number), now));
            }
            return;
        }
        self.inner.common.deliver(channel, payload);
    }

    fn all_subscribed(&self) {
        self.subscribed.notify_one();
        self.inner.publisher.open();
        self.inner.common.count(|counters| counters.connects += 1);
        self.inner.update_health(|health, now| health.handle_connected(now));
    }

    /// Answers to what was published and asked.
    async fn read_answers(&self, mut from: impl AsyncRead + Unpin) -> RedisError {
        let mut bytes = Vec::new();
        loop {
            let read = read(&mut from, &mut bytes, &self.publisher_heard, |reply| self.handle_answer(reply));
            if let Err(error) = read.await {
                return error;
            }
        }
    }

    fn handle_answer(&self, reply: &Reply<'_>) -> Result<(), RedisError> {
        let answer = self.inner.publisher.answered().ok_or(RedisError::Protocol("an answer to no question"))?;
        match (answer, reply) {
            (Answer::Publish, Reply::One(Item::Number(_))) => {
                self.inner.common.count(|counters| counters.published += 1)
            }
            (Answer::Probe, Reply::One(Item::Number(_))) => {}
            (Answer::Count(asker), Reply::Many(items)) => {
                if let [_, Item::Number(count)] = items.as_slice() {
                    // Whoever asked may have given up.
                    let _ = asker.send(u64::try_from(*count).unwrap_or(0));
                }
            }
            (Answer::Channels(asker), Reply::Many(items)) => {
                let text = |item: &Item<'_>| match item {
                    Item::Bytes(name) => String::from_utf8(name.to_vec()).ok(),
                    _ => None,
                };
                let _ = asker.send(items.iter().filter_map(text).collect());
            }
            // Who may not list channels can do without names.
            (Answer::Channels(asker), Reply::One(Item::Error(_))) => drop(asker.send(Vec::new())),
            (Answer::Info(asker), Reply::One(Item::Bytes(text))) => {
                let _ = asker.send(Ok(String::from_utf8_lossy(text).into_owned()));
            }
            // Who may not ask for it can do without.
            (Answer::Info(asker), Reply::One(Item::Error(text))) => {
                let _ = asker.send(Err(String::from_utf8_lossy(text).into_owned()));
            }
            (answer, Reply::One(Item::Error(text))) => {
                let error = RedisError::refused("PUBLISH", text);
                if matches!(answer, Answer::Publish) {
                    self.inner.common.count(|counters| counters.dropped += 1);
                }
                if !self.refusal_told.replace(true) {
                    tracing::warn!(%error, "redis refuses messages: they are dropped and counted");
                }
                self.inner.update_health(|health, _| health.handle_error(format!("failed to {error}")));
            }
            _ => return Err(RedisError::Protocol("an answer of the wrong kind")),
        }
        Ok(())
    }

    /// Sends probes in their time. One that is missed by a silent server ends the session: a connection can be dead without
    /// knowing it. While the server talks it is only slow, and a new connection would not help. Probes take the publisher
    /// connection out and the subscriber connection back; that the publisher's answers still come is looked at besides.
    async fn watch_health(&self) -> RedisError {
        let deadline = self.inner.timing.deadline;
        loop {
            match self.inner.common.report.timeout() {
                None => self.inner.health_changed.notified().await,
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => {
                        let missed = self.inner.update_health(|health, now| health.handle_timeout(now));
                        let heard = self.publisher_heard.get().min(self.subscriber_heard.get());
                        if missed && heard.elapsed() >= deadline {
                            return RedisError::Silent(deadline);
                        }
                    }
                    () = self.inner.health_changed.notified() => {}
                },
            }
            if self.publisher_owes(deadline) {
                // After a pause of this process the answers lie there unread.
                tokio::time::sleep(READ_PAUSE).await;
                if self.publisher_owes(deadline) {
                    return RedisError::Silent(deadline);
                }
            }
        }
    }

    /// Whether an answer is due on the publisher connection, which has been silent for so long since.
    fn publisher_owes(&self, deadline: Duration) -> bool {
        let due = self.inner.publisher.due_since();
        due.is_some_and(|due| due.max(self.publisher_heard.get()).elapsed() >= deadline)
    }

    /// Ends the session if the server does not confirm the subscriptions.
    async fn watch_subscribing(&self) -> RedisError {
        if tokio::time::timeout(SUBSCRIBE_WITHIN, self.subscribed.notified()).await.is_err() {
            return RedisError::Silent(SUBSCRIBE_WITHIN);
        }
        std::future::pending().await
    }
}

/// Reads once and hands on every whole answer there is then.
async fn read(
    from: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    heard: &Cell<Instant>,
    mut handle: impl FnMut(&Reply<'_>) -> Result<(), RedisError>,
) -> Result<(), RedisError> {
    if from.read_buf(bytes).await.map_err(RedisError::Broken)? == 0 {
        return Err(RedisError::Closed);
    }
    heard.set(Instant::now());
    let mut done = 0;
    let lacking = loop {
        match parse(&bytes[done..])? {
            Parsed::Whole(reply, len) => {
                handle(&reply)?;
                done += len;
            }
            Parsed::Lacks(lacking) => break lacking,
        }
    };
    bytes.drain(..done);
    if bytes.is_empty() && bytes.capacity() > SPARE_BYTES {
        *bytes = Vec::new();
    }
    // A large message's memory is made once, in its final size.
    match lacking > READ_BYTES {
        true => bytes.reserve_exact(lacking),
        false => bytes.reserve(READ_BYTES),
    }
    Ok(())
}
