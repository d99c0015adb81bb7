//! Passing connections to one worker, in order, however slowly it takes them.

use std::{
    cell::RefCell,
    collections::VecDeque,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    time::Instant,
};

use roomd_wire::{ConnectionId, Link, PeerAddress, ToSupervisor, ToWorker};
use tokio::task::{AbortHandle, spawn_local};

/// The control socket of a worker, as the supervisor holds it.
pub type WorkerLink = Link<ToWorker, ToSupervisor>;

/// A connection that no worker has acknowledged yet. The descriptor is the balancer's duplicate.
#[derive(Debug)]
pub struct Held {
    /// The client's socket. Shared with the queue of a worker that is slow to take it.
    pub socket: Rc<OwnedFd>,
    /// Where the client is.
    pub peer: PeerAddress,
    /// Another worker moved it: to be answered where it goes, whatever its session.
    pub moved: bool,
    /// What was read from it before it was moved.
    pub read: Vec<u8>,
    /// When it was accepted, and when its head was there; not of one that was moved.
    pub since: Option<(Instant, Instant)>,
}

/// What is on its way to one worker.
pub struct Outbox {
    link: Rc<WorkerLink>,
    /// What did not fit into the link. Bounded by the limit on connections: each is one of them.
    queue: RefCell<VecDeque<(ToWorker, Rc<OwnedFd>)>>,
    /// Empties the queue, while there is one.
    drainer: RefCell<Option<AbortHandle>>,
}

impl Outbox {
    /// Nothing on its way.
    pub fn new(link: Rc<WorkerLink>) -> Rc<Self> {
        Rc::new(Outbox { link, queue: RefCell::default(), drainer: RefCell::default() })
    }

    /// Sends a connection, or queues it while the worker's side is full. Must be called inside a `LocalSet`.
    pub fn send(self: &Rc<Self>, id: ConnectionId, held: &Held) {
        let message = ToWorker::Connection { id, peer: held.peer, moved: held.moved, read: held.read.clone() };
        let mut queue = self.queue.borrow_mut();
        let must_wait = !queue.is_empty()
            || match self.link.try_send(&message, &[held.socket.as_fd()]) {
                Ok(()) => false,
                Err(error) if error.is_would_block() => true,
                Err(error) => {
                    // The worker is gone: what it did not acknowledge goes to another once its end has been noticed.
                    tracing::debug!(%error, "a connection could not be handed over");
                    false
                }
            };
        if must_wait {
            queue.push_back((message, held.socket.clone()));
            let mut drainer = self.drainer.borrow_mut();
            if drainer.is_none() {
                *drainer = Some(spawn_local(self.clone().drain()).abort_handle());
            }
        }
    }

    /// The worker is gone: nothing is sent to it any more, and its queue lets go of its connections. (The other end of the
    /// link can be held open by what the worker's application has started, so an error need not come.)
    pub fn close(&self) {
        self.queue.borrow_mut().clear();
        if let Some(drainer) = self.drainer.borrow_mut().take() {
            drainer.abort();
        }
    }

    /// Whether a connection waits to be sent.
    pub fn has(&self, id: ConnectionId) -> bool {
        let is = |message: &ToWorker| matches!(message, ToWorker::Connection { id: queued, .. } if *queued == id);
        self.queue.borrow().iter().any(|(message, _)| is(message))
    }

    async fn drain(self: Rc<Self>) {
        // The front stays in the queue while it is sent, so that nothing overtakes it.
        while let Some((message, socket)) = self.front() {
            if let Err(error) = self.link.send(&message, &[socket.as_fd()]).await {
                tracing::debug!(%error, "queued connections could not be handed over");
                self.queue.borrow_mut().clear();
            }
            self.queue.borrow_mut().pop_front();
        }
        self.drainer.borrow_mut().take();
    }

    fn front(&self) -> Option<(ToWorker, Rc<OwnedFd>)> {
        self.queue.borrow().front().cloned()
    }
}
