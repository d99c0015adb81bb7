//! The supervisor's side of the hub: starting it, giving it workers, hearing of those that hang.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use roomd_wire::WorkerId;
use rustix::{
    event::{EventfdFlags, eventfd},
    net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt::set_socket_send_buffer_size},
};
use tokio::sync::mpsc;

use super::{
    event_loop::{EventLoop, Stopped, create_poll},
    peer::Peer,
};

/// What a socket may hold each way; the system may grant less. Room for a burst while the other side's turn lasts.
const SOCKET_BYTES: usize = 256 * 1024;

/// The embedded bus's hub; see [`Hub::start`].
pub struct Hub;

/// The supervisor's access to the hub. Dropping it ends the hub's thread.
pub struct HubHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) thread: Option<JoinHandle<Stopped>>,
}

/// What the hub reports. [`HubEvents::next`] gives `None` once the hub's thread has ended, which it does by itself only
/// when the system refuses to poll: the bus is then gone for good.
pub struct HubEvents(mpsc::UnboundedReceiver<HubEvent>);

/// A worker that can no longer be served: it is to be killed and replaced. Its stream is closed already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HubEvent {
    /// It did not read what was sent to it, until its queue was full.
    WorkerStalled(WorkerId),
    /// It wrote what is no frame, or its socket failed.
    WorkerBroken(WorkerId, String),
}

/// The hub's figures since its start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct HubStats {
    /// Workers connected now.
    pub workers: u64,
    /// Channels and prefixes that someone is subscribed to now.
    pub channels: u64,
    /// Messages that came.
    pub published: u64,
    /// Messages handed to workers: each counts once per recipient.
    pub delivered: u64,
    /// Bytes that wait for workers now.
    pub queued_bytes: u64,
    /// Workers given up since they did not read or wrote no frames.
    pub given_up: u64,
}

/// What both threads see.
pub(super) struct Shared {
    pub commands: Mutex<Vec<Command>>,
    pub wake: OwnedFd,
    pub counters: Counters,
}

/// What the supervisor wants of the hub.
pub(super) enum Command {
    Add(Peer),
    Remove(WorkerId),
    Stop,
}

/// As [`HubStats`].
#[derive(Default)]
pub(super) struct Counters {
    pub workers: AtomicU64,
    pub channels: AtomicU64,
    pub published: AtomicU64,
    pub delivered: AtomicU64,
    pub queued_bytes: AtomicU64,
    pub given_up: AtomicU64,
}

impl Hub {
    /// Starts the hub's thread.
    pub fn start() -> io::Result<(HubHandle, HubEvents)> {
        let (mut handle, events, event_loop) = Hub::prepare()?;
        handle.run(event_loop)?;
        Ok((handle, events))
    }

    /// A hub whose loop is for the caller to run, on whatever thread: all that can fail is done.
    pub(super) fn prepare() -> io::Result<(HubHandle, HubEvents, impl FnOnce() -> EventLoop + Send)> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared { commands: Mutex::default(), wake, counters: Counters::default() });
        let (sender, receiver) = mpsc::unbounded_channel();
        let (epoll, for_loop) = (create_poll(&shared)?, shared.clone());
        let event_loop = move || EventLoop::new(for_loop, sender, epoll);
        Ok((HubHandle { shared, thread: None }, HubEvents(receiver), event_loop))
    }
}

impl HubHandle {
    /// Connects a worker: gives the worker's end of its stream (close-on-exec).
    pub fn add_worker(&self, id: WorkerId) -> io::Result<OwnedFd> {
        self.add(Some(id))
    }

    /// Connects the supervisor itself, for its own health check: as a worker, but no event ever names it.
    pub fn add_observer(&self) -> io::Result<OwnedFd> {
        self.add(None)
    }

    /// Disconnects a worker that has ended. What it had published by then is still delivered.
    pub fn remove_worker(&self, id: WorkerId) {
        self.shared.command(Command::Remove(id));
    }

    /// The figures at this moment.
    pub fn stats(&self) -> HubStats {
        let counters = &self.shared.counters;
        HubStats {
            workers: counters.workers.load(Relaxed),
            channels: counters.channels.load(Relaxed),
            published: counters.published.load(Relaxed),
            delivered: counters.delivered.load(Relaxed),
            queued_bytes: counters.queued_bytes.load(Relaxed),
            given_up: counters.given_up.load(Relaxed),
        }
    }

    pub(super) fn run(&mut self, event_loop: impl FnOnce() -> EventLoop + Send + 'static) -> io::Result<()> {
        self.thread = Some(thread::Builder::new().name("hub".into()).spawn(move || {
            let mut event_loop = event_loop();
            if let Err(error) = event_loop.run() {
                tracing::error!(%error, "the embedded bus's hub has ended: failed to poll");
            }
            event_loop.stop()
        })?);
        Ok(())
    }

    fn add(&self, id: Option<WorkerId>) -> io::Result<OwnedFd> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_send_buffer_size(&ours, SOCKET_BYTES)?;
        set_socket_send_buffer_size(&theirs, SOCKET_BYTES)?;
        self.shared.command(Command::Add(Peer::new(id, ours, &theirs)?));
        Ok(theirs)
    }
}

impl Drop for HubHandle {
    fn drop(&mut self) {
        self.shared.command(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            drop(thread.join());
        }
    }
}

impl HubEvents {
    /// The next event; `None` once the hub's thread has ended.
    pub async fn next(&mut self) -> Option<HubEvent> {
        self.0.recv().await
    }
}

impl Shared {
    pub(super) fn forget_stop(&self) {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.retain(|command| !matches!(command, Command::Stop));
    }

    pub(super) fn command(&self, command: Command) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(command);
        // It can fail only by a counter at its maximum, and then the thread is awake.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}
