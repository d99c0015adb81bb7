//! Passing connections to one worker, in order, however slowly it takes them.

use std::{cell::RefCell, collections::VecDeque, os::fd::AsFd, rc::Rc};

use roomd_wire::{ConnectionId, Link, PeerAddress, ToSupervisor, ToWorker};

/// The control socket of a worker, as the supervisor holds it.
pub type WorkerLink = Link<ToWorker, ToSupervisor>;

/// A connection that no worker has acknowledged yet. The descriptor is the balancer's duplicate.
#[derive(Debug)]
pub struct Held {
    /// The client's socket.
    pub socket: Rc<std::os::fd::OwnedFd>,
    /// Where the client is.
    pub peer: PeerAddress,
    /// Another worker moved it: to be answered where it goes, whatever its session.
    pub moved: bool,
    /// What was read from it before it was moved.
    pub read: Vec<u8>,
    /// How many workers it was given to.
    pub tries: u8,
}

/// What is on its way to one worker.
pub struct Outbox {
    link: Rc<WorkerLink>,
    waiting: RefCell<VecDeque<(ToWorker, Rc<std::os::fd::OwnedFd>)>>,
}

impl Outbox {
    /// Nothing on its way.
    pub fn new(link: Rc<WorkerLink>) -> Self {
        Outbox { link, waiting: RefCell::default() }
    }

    /// Sends a connection, or queues it while the worker's side is full: then the caller runs [`Outbox::drain`]. The queue is
    /// bounded by the limit on connections.
    #[must_use = "a queue that began must be drained"]
    pub fn send(&self, id: ConnectionId, held: &Held) -> Sent {
        let message = ToWorker::Connection { id, peer: held.peer, moved: held.moved, read: held.read.clone() };
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.is_empty() {
            waiting.push_back((message, held.socket.clone()));
            return Sent::Queued;
        }
        match self.link.try_send(&message, &[held.socket.as_fd()]) {
            Err(error) if error.is_would_block() => {
                waiting.push_back((message, held.socket.clone()));
                Sent::QueueBegan
            }
            // An error: the worker is gone. What it did not acknowledge goes to another once its end has been noticed.
            Ok(()) | Err(_) => Sent::Done,
        }
    }

    /// Sends what is queued as the worker takes it. Ends when nothing is, or the worker is gone.
    pub async fn drain(&self) {
        loop {
            // The front stays in the queue while it is sent, so that nothing overtakes it.
            let Some((message, socket)) = self.waiting.borrow().front().cloned() else { return };
            if self.link.send(&message, &[socket.as_fd()]).await.is_err() {
                self.waiting.borrow_mut().clear();
                return;
            }
            self.waiting.borrow_mut().pop_front();
        }
    }
}

/// What became of a connection that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is in the worker's socket.
    Done,
    /// It waits behind others.
    Queued,
    /// It is the first that waits.
    QueueBegan,
}
