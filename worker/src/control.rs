//! What the worker tells the supervisor, in order and without making the loop wait.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use roomd_wire::{Link, LinkError, ToSupervisor, ToWorker};
use tokio::sync::{Notify, oneshot};

/// The worker's end of the control socket.
pub type WorkerLink = Link<ToSupervisor, ToWorker>;

/// What may wait for a supervisor that is to come. More is dropped: how things are will be told anew then, and who waits for a word
/// to be sent need not.
const MOST_WAITING_ORPHANED: usize = 1024;

/// Sends to the supervisor. A clone is another handle to it.
#[derive(Clone)]
pub struct Outbox(Rc<Inner>);

struct Inner {
    link: Rc<WorkerLink>,
    /// What did not fit into the socket. At most a few entries per connection.
    waiting: RefCell<VecDeque<Waiting>>,
    /// One that was taken from `waiting` is being sent: others go behind it.
    sending: Cell<bool>,
    grown: Notify,
    broken: Cell<bool>,
    orphaned: Cell<bool>,
}

struct Waiting {
    message: ToSupervisor,
    descriptor: Option<OwnedFd>,
    sent: Option<oneshot::Sender<()>>,
}

impl Outbox {
    /// An outbox over the control socket; [`Outbox::run`] must run beside it.
    pub fn new(link: Rc<WorkerLink>) -> Outbox {
        Outbox(Rc::new(Inner {
            link,
            waiting: RefCell::default(),
            sending: Cell::new(false),
            grown: Notify::new(),
            broken: Cell::new(false),
            orphaned: Cell::new(false),
        }))
    }

    /// Whether there is no supervisor at the moment, and what waits for one is bounded.
    pub fn set_orphaned(&self, orphaned: bool) {
        self.0.orphaned.set(orphaned);
        if orphaned {
            self.0.waiting.borrow_mut().truncate(MOST_WAITING_ORPHANED);
        }
    }

    /// Sends a message, now or as soon as the supervisor takes it.
    pub fn send(&self, message: ToSupervisor) {
        self.post(Waiting { message, descriptor: None, sent: None });
    }

    /// Sends a message with a descriptor.
    pub fn send_with(&self, message: ToSupervisor, descriptor: OwnedFd) {
        self.post(Waiting { message, descriptor: Some(descriptor), sent: None });
    }

    /// Sends a message; `Some` is to be awaited until it is really on its way.
    pub fn send_tracked(&self, message: ToSupervisor) -> Option<oneshot::Receiver<()>> {
        let (sent, tracked) = oneshot::channel();
        self.post(Waiting { message, descriptor: None, sent: Some(sent) }).then_some(tracked)
    }

    /// Whether messages wait for a supervisor that is slow to read.
    pub fn is_behind(&self) -> bool {
        !self.0.waiting.borrow().is_empty()
    }

    /// Sends what waits. Ends when the supervisor is gone.
    pub async fn run(&self) {
        while !self.0.broken.get() {
            let next = self.0.waiting.borrow_mut().pop_front();
            let Some(next) = next else {
                self.0.grown.notified().await;
                continue;
            };
            self.0.sending.set(true);
            let sent = self.0.link.send(&next.message, &descriptors(&next)).await;
            self.0.sending.set(false);
            if let Err(error) = sent {
                self.failed(&error);
            }
        }
    }

    /// True if it has to wait.
    fn post(&self, entry: Waiting) -> bool {
        if self.0.broken.get() {
            return false;
        }
        let mut waiting = self.0.waiting.borrow_mut();
        if waiting.is_empty() && !self.0.sending.get() {
            match self.0.link.try_send(&entry.message, &descriptors(&entry)) {
                Ok(()) => return false,
                Err(error) if error.is_would_block() => {}
                Err(error) => {
                    self.failed(&error);
                    return false;
                }
            }
        }
        if self.0.orphaned.get() && waiting.len() >= MOST_WAITING_ORPHANED {
            return false;
        }
        waiting.push_back(entry);
        self.0.grown.notify_one();
        true
    }

    fn failed(&self, error: &LinkError) {
        // A message that cannot be sent says nothing of the next one; a broken socket does.
        if let LinkError::Io(_) = error {
            self.0.broken.set(true);
            self.0.grown.notify_one();
        }
        tracing::warn!(error = error as &dyn std::error::Error, "a message to the supervisor was lost");
    }
}

fn descriptors(entry: &Waiting) -> Vec<BorrowedFd<'_>> {
    entry.descriptor.iter().map(AsFd::as_fd).collect()
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(sent) = self.sent.take() {
            // Nobody may wait for it any more.
            let _ = sent.send(());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roomd_wire::ConnectionId;

    use super::*;

    type SupervisorEnd = Link<ToWorker, ToSupervisor>;

    #[tokio::test]
    async fn without_a_supervisor_what_waits_is_bounded_and_nobody_waits_for_it() {
        let (supervisor, ours) = SupervisorEnd::pair().unwrap();
        let outbox = Outbox::new(Rc::new(WorkerLink::new(ours).unwrap()));
        outbox.set_orphaned(true);
        let mut waited_for = 0;
        for id in 0..50_000 {
            if let Some(sent) = outbox.send_tracked(ToSupervisor::Closed { id: ConnectionId(id) }) {
                waited_for += 1;
                drop(sent);
            }
        }
        assert!(outbox.is_behind());
        assert_eq!((outbox.0.waiting.borrow().len(), waited_for), (MOST_WAITING_ORPHANED, MOST_WAITING_ORPHANED));
        // The next supervisor finds what was said first, and is told what came of it.
        outbox.set_orphaned(false);
        let told = ToSupervisor::Holding { ready: true, draining: false, connections: vec![], more: false };
        outbox.send(told.clone());
        let read = async {
            let mut words = 0;
            while supervisor.recv().await.unwrap().unwrap().0 != told {
                words += 1;
            }
            words
        };
        let words = tokio::select! {
            words = read => words,
            () = outbox.run() => panic!("the supervisor is there"),
        };
        assert!(words > MOST_WAITING_ORPHANED && words < 50_000, "{words}");
    }
}
