//! The embedded bus: a client of the hub in the supervisor, over one stream.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::Future,
    io,
    os::fd::OwnedFd,
    rc::Rc,
    time::{Duration, Instant},
};

use roomd_wire::{
    BusHealth, Histogram, Readiness,
    hub::{HubBuffer, HubFrame, HubOp, MAX_HUB_BODY_BYTES, decode_count},
};
use rustix::{
    buffer::spare_capacity,
    net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown},
};
use tokio::sync::{Notify, oneshot, watch};

use super::{
    Bus, BusCounters, BusError, BusHandler, LocalFuture, Members, Routing,
    common::Common,
    health::{Health, HealthTiming},
    worker_name,
};

/// Probes go out on this channel; nobody can subscribe to it, since the hub sends them back to their sender alone.
const HEALTH_CHANNEL: &[u8] = b"roomd-health";

/// What is queued for the hub leaves without waiting for the end of the turn from this size on.
const WRITE_FROM_BYTES: usize = 64 * 1024;

/// The most that may wait for the hub: it empties its sockets all the time, so this is seconds of its being gone. Messages are
/// dropped then.
const MAX_QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// The same for subscriptions, which clients' rooms make: beyond it this worker gives its stream up.
const MAX_QUEUE_BYTES_WITH_SUBSCRIPTIONS: usize = MAX_QUEUE_BYTES + MAX_QUEUE_BYTES / 2;

/// A buffer that grew larger than this is not kept.
const SPARE_BYTES: usize = 256 * 1024;

/// How many batches are read before other tasks of the loop get their turn.
const BATCHES: usize = 4;

/// A worker's access to the hub.
pub struct EmbeddedBus {
    /// Replaced when another supervisor, with a hub of its own, takes this worker over.
    socket: RefCell<Rc<Readiness>>,
    next_stream: Cell<Option<OwnedFd>>,
    rejoined: Notify,
    common: Common,
    output: RefCell<Output>,
    /// The hub's side was full when something was to be written last.
    blocked: Cell<bool>,
    /// Wakes the driver: something waits to be written.
    queued: Notify,
    questions: RefCell<HashMap<u64, oneshot::Sender<Members>>>,
    next_question: Cell<u64>,
}

/// What waits for the hub.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    written: usize,
    /// The stream has ended: nothing is queued any more.
    ended: bool,
    /// Messages are being dropped since the queue is full; said once.
    full: bool,
}

impl EmbeddedBus {
    /// The bus over a stream that the hub gave, and the future that drives it: to be spawned, it lasts as long as the bus. Must be
    /// called inside a tokio runtime.
    pub fn new(
        stream: OwnedFd,
        timing: HealthTiming,
        handler: Rc<dyn BusHandler>,
    ) -> io::Result<(Rc<Self>, impl Future<Output = ()> + use<>)> {
        let bus = Rc::new(EmbeddedBus {
            socket: RefCell::new(Rc::new(Readiness::new(stream)?)),
            next_stream: Cell::default(),
            rejoined: Notify::new(),
            blocked: Cell::new(false),
            common: Common::new(timing, handler),
            output: RefCell::default(),
            queued: Notify::new(),
            questions: RefCell::default(),
            next_question: Cell::new(0),
        });
        Ok((bus.clone(), async move { bus.drive().await }))
    }

    /// Told when the bus comes up or goes down.
    pub fn health_changes(&self) -> watch::Receiver<BusHealth> {
        self.common.report.watch()
    }

    /// Goes on over another stream: there is another hub, which knows of no subscription.
    pub fn rejoin(&self, stream: OwnedFd) {
        self.next_stream.set(Some(stream));
        self.rejoined.notify_one();
    }

    async fn drive(&self) {
        loop {
            let ended = self.drive_stream().await;
            self.left(&ended);
            let Some(stream) = self.next_stream().await else { return };
            *self.socket.borrow_mut() = stream;
            *self.output.borrow_mut() = Output::default();
            self.blocked.set(false);
            self.common.resubscribe();
        }
    }

    async fn next_stream(&self) -> Option<Rc<Readiness>> {
        loop {
            if let Some(stream) = self.next_stream.take() {
                let stream = Readiness::new(stream);
                return stream.map(Rc::new).inspect_err(|error| tracing::error!(%error, "cannot join the bus")).ok();
            }
            self.rejoined.notified().await;
        }
    }

    fn socket(&self) -> Rc<Readiness> {
        self.socket.borrow().clone()
    }

    /// Reads, writes and checks health until the stream ends.
    async fn drive_stream(&self) -> io::Error {
        let socket = self.socket();
        self.common.count(|counters| counters.connects += 1);
        self.update_health(|health, now| health.handle_connected(now));
        let mut input = HubBuffer::default();
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        loop {
            let check_at = tokio::time::Instant::from_std(self.common.report.timeout().unwrap_or_else(Instant::now));
            if timer.deadline() != check_at {
                timer.as_mut().reset(check_at);
            }
            let done = tokio::select! {
                done = socket.when_readable(|| self.read(&socket, &mut input)) => done,
                // Mostly the turn's `flush` has been here before.
                () = self.queued.notified() => self.write().map(drop),
                done = socket.when_writable(|| self.output.borrow_mut().write_to(&socket)), if self.blocked.get() => {
                    self.blocked.set(false);
                    done
                }
                () = self.rejoined.notified() => Err(io::Error::other("another supervisor has taken over")),
                () = &mut timer => {
                    self.update_health(|health, now| health.handle_timeout(now));
                    Ok(())
                }
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    /// The stream has ended: what waits for it is dropped.
    fn left(&self, ended: &io::Error) {
        let mut output = self.output.borrow_mut();
        *output = Output { ended: true, ..Output::default() };
        drop(output);
        self.questions.borrow_mut().clear();
        let reason = match ended.kind() {
            io::ErrorKind::UnexpectedEof => "the supervisor's hub closed the stream".to_owned(),
            _ => format!("the stream to the supervisor's hub failed: {ended}"),
        };
        self.update_health(|health, now| health.handle_disconnected(reason, now));
    }

    fn update_health(&self, event: impl FnOnce(&mut Health, Instant)) {
        let duty = self.common.report.update(event);
        if let Some(number) = duty.send_probe {
            // A probe waits behind what is queued, as every message does: that is what it measures.
            self.queue(HubOp::Echo, HEALTH_CHANNEL, &number.to_le_bytes());
        }
    }

    /// Reads some batches. `WouldBlock` tells the runtime that there is no more.
    fn read(&self, socket: &Readiness, input: &mut HubBuffer) -> io::Result<()> {
        for _ in 0..BATCHES {
            let buffer = input.make_room().map_err(io::Error::other)?;
            let room = buffer.capacity() - buffer.len();
            let read = match recv(socket, spare_capacity(buffer), RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((read, _)) => read,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            while let Some(frame) = input.scan().map_err(io::Error::other)? {
                self.handle(&frame);
            }
            input.consume(input.scanned());
            if read < room {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(())
    }

    fn handle(&self, frame: &HubFrame<'_>) {
        match frame.op {
            HubOp::Publish => {
                self.common.deliver(frame.channel, frame.payload);
            }
            HubOp::Echo => {
                if let Ok(number) = frame.payload.try_into() {
                    self.update_health(|health, now| health.handle_probe(u64::from_le_bytes(number), now));
                }
            }
            HubOp::Counted => {
                if let Some((id, count, workers)) = decode_count(frame.payload)
                    && let Some(asker) = self.questions.borrow_mut().remove(&id)
                {
                    // Whoever asked may have given up.
                    let _ = asker.send(Members { count, names: workers.into_iter().map(worker_name).collect() });
                }
            }
            // The hub sends no others.
            HubOp::Subscribe
            | HubOp::Unsubscribe
            | HubOp::SubscribePrefix
            | HubOp::UnsubscribePrefix
            | HubOp::Count => {}
        }
    }

    /// Queues a frame; false if it was dropped.
    fn queue(&self, op: HubOp, channel: &[u8], payload: &[u8]) -> bool {
        let mut output = self.output.borrow_mut();
        if output.ended {
            return false;
        }
        if output.len() > MAX_QUEUE_BYTES_WITH_SUBSCRIPTIONS {
            // A lost subscription would be a lasting fault. A lost stream is not: the supervisor replaces this worker for it.
            tracing::error!(bytes = output.len(), "the hub does not read: leaving the bus");
            *output = Output { ended: true, ..Output::default() };
            // If it is not open any more, the driver has seen that.
            let _ = shutdown(&*self.socket.borrow(), Shutdown::Both);
            return false;
        }
        if output.len() > MAX_QUEUE_BYTES && op == HubOp::Publish {
            if !std::mem::replace(&mut output.full, true) {
                tracing::warn!(bytes = output.len(), "the queue to the hub is full: messages are dropped");
            }
            return false;
        }
        let was_empty = output.len() == 0;
        if let Err(error) = (HubFrame { op, channel, payload }).encode(&mut output.bytes) {
            tracing::warn!(%error, limit = MAX_HUB_BODY_BYTES, "a message for the bus was dropped");
            return false;
        }
        let large = output.len() >= WRITE_FROM_BYTES;
        drop(output);
        if was_empty {
            self.queued.notify_one();
        }
        if large {
            self.flush();
        }
        true
    }

    /// Writes what waits. What does not fit, the driver writes when there is room again.
    fn write(&self) -> io::Result<()> {
        match self.output.borrow_mut().write_to(&self.socket.borrow()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !self.blocked.replace(true) {
                    self.queued.notify_one();
                }
                Ok(())
            }
            done => done,
        }
    }
}

impl Bus for EmbeddedBus {
    fn publish(&self, channel: &str, payload: &[u8]) {
        let queued = self.queue(HubOp::Publish, channel.as_bytes(), payload);
        self.common.count(|counters| match queued {
            true => counters.published += 1,
            false => counters.dropped += 1,
        });
    }

    fn subscribe(&self, channel: &str) {
        self.queue(HubOp::Subscribe, channel.as_bytes(), b"");
    }

    fn unsubscribe(&self, channel: &str) {
        self.queue(HubOp::Unsubscribe, channel.as_bytes(), b"");
    }

    fn subscribe_prefix(&self, prefix: &str) {
        self.queue(HubOp::SubscribePrefix, prefix.as_bytes(), b"");
    }

    fn unsubscribe_prefix(&self, prefix: &str) {
        self.queue(HubOp::UnsubscribePrefix, prefix.as_bytes(), b"");
    }

    fn count_subscribers(&self, channel: &str) -> LocalFuture<Result<u64, BusError>> {
        let members = self.members(channel, "");
        Box::pin(async move { Ok(members.await?.count) })
    }

    fn members(&self, channel: &str, _named_by: &str) -> LocalFuture<Result<Members, BusError>> {
        let id = self.next_question.get();
        self.next_question.set(id.wrapping_add(1));
        let (asker, answer) = oneshot::channel();
        self.questions.borrow_mut().insert(id, asker);
        if !self.queue(HubOp::Count, channel.as_bytes(), &id.to_le_bytes()) {
            self.questions.borrow_mut().remove(&id);
        }
        self.common.answer(answer)
    }

    fn routing(&self) -> Routing {
        Routing::Exact
    }

    fn health(&self) -> BusHealth {
        self.common.report.current()
    }

    fn flush(&self) {
        // An error shows to the driver too, as the stream's end.
        let _ = self.write();
    }

    fn counters(&self) -> BusCounters {
        self.common.counters()
    }

    fn round_trips(&self) -> Histogram {
        self.common.report.round_trips()
    }
}

impl Output {
    fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    fn write_to(&mut self, socket: &Readiness) -> io::Result<()> {
        while self.len() > 0 {
            match send(socket, &self.bytes[self.written..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => self.written += sent,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    // Else the part that is written would grow with each message, as long as the hub is behind.
                    if self.written >= SPARE_BYTES && self.written * 2 >= self.bytes.len() {
                        self.bytes.drain(..self.written);
                        self.written = 0;
                    }
                    return Err(error.into());
                }
            }
        }
        self.written = 0;
        self.full = false;
        self.bytes.clear();
        if self.bytes.capacity() > SPARE_BYTES {
            self.bytes = Vec::new();
        }
        Ok(())
    }
}
