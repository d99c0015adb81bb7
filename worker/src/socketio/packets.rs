//! Middleware for each event of a client, which `socket.use` is in Node.
//!
//! While the middleware of one event waits, those behind it of the same client wait their turn, so that their order is kept. What
//! they hold in memory counts as that of waiting handlers (see [`super::MAX_WAITING_HANDLERS`]).

use std::{
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::{
    Ack, Io, Rejection, Socket, SocketId, ack::AnsweredOnce, backlog::Waits, call::PacketCall, handlers, server::count,
};
use crate::{engine::SessionKey, protocol::Data};

/// An event of a client on its way to its handler.
pub(super) struct Event<N = Rc<str>> {
    pub(super) session: SessionKey,
    pub(super) socket: Socket,
    pub(super) name: N,
    pub(super) data: Data,
    pub(super) id: Option<u64>,
    pub(super) answered: Option<AnsweredOnce>,
}

/// Events behind one whose middleware waits.
pub(super) type Held = VecDeque<(Event, Waits)>;

impl Io {
    /// Asks the middleware about an event, or puts it behind those of its client that wait for theirs.
    pub(super) fn judge(&self, event: Event<&str>) {
        let Event { session, socket, name, data, id, answered } = event;
        let event = Event { session, socket, name: Rc::from(name), data, id, answered };
        let key = event.socket.id;
        if self.0.state.borrow().held.contains_key(&key) {
            let waits = Waits::begin(self, event.session, event.data.bytes());
            if let Some(held) = self.0.state.borrow_mut().held.get_mut(&key) {
                held.push_back((event, waits));
            }
            return;
        }
        let (session, bytes) = (event.session, event.data.bytes());
        let mut work = handlers::guarded(&self.0.failures, Box::pin(ask(event)));
        if let Poll::Ready(()) = Pin::new(&mut work).poll(&mut Context::from_waker(Waker::noop())) {
            return;
        }
        self.0.state.borrow_mut().held.insert(key, VecDeque::new());
        let (io, waits) = (self.clone(), Waits::begin(self, session, bytes));
        tokio::task::spawn_local(async move {
            work.await;
            drop(waits);
            while let Some((event, _waits)) = io.next_held(key) {
                handlers::guarded(&io.0.failures, Box::pin(ask(event))).await;
            }
        });
    }

    /// The next event of a socket that waits for its turn; none after the last.
    fn next_held(&self, key: SocketId) -> Option<(Event, Waits)> {
        let held = &mut self.0.state.borrow_mut().held;
        let next = held.get_mut(&key)?.pop_front();
        if next.is_none() {
            held.remove(&key);
        }
        next
    }
}

/// Asks the middleware, one after the other; if none refuses the event, its handler is called.
async fn ask(event: Event) {
    let Event { socket, data, .. } = &event;
    let io = socket.io.clone();
    let Some(handlers) = socket.namespace.handlers() else { return };
    for middleware in &handlers.packets {
        // It may have gone meanwhile: then nothing of it is handled any more, as in Node, which asks the others all the same.
        if !socket.is_connected() {
            return;
        }
        let refused = match middleware(&PacketCall { socket, data }) {
            Ok(work) => work.await,
            Err(Rejection(error)) => Some(error),
        };
        if let Some(error) = refused {
            count(&io.0.counters.bad_events);
            tracing::debug!(event = &*event.name, error, "middleware refused an event");
            // An error has a JSON form.
            let _ = Ack::new(socket, event.id, event.answered.as_ref()).send(Refused { error });
            return;
        }
    }
    if let Some(handler) = handlers.events.get(&*event.name).filter(|_| socket.is_connected()) {
        io.call_event(handler, &event);
    }
}

#[derive(serde::Serialize)]
pub(super) struct Refused {
    pub(super) error: String,
}
