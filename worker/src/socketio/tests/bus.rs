//! A bus between the workers of a test: messages arrive in order, in a later turn of the loop, at their sender too.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::{BTreeSet, VecDeque},
    rc::Rc,
};

use bytes::Bytes;
use roomd_wire::{BusHealth, Generation, Slot, WorkerId};
use tokio::sync::Notify;

use crate::bus::{Bus, BusCounters, BusError, BusHandler, LocalFuture, Members, Routing, worker_name};

/// What the workers of a test share.
#[derive(Default)]
pub(super) struct Hub {
    buses: RefCell<Vec<Rc<MemoryBus>>>,
    queue: RefCell<VecDeque<(String, Bytes)>>,
    queued: Notify,
    /// Nothing passes, and nobody can be counted.
    pub(super) down: Cell<bool>,
    /// Everything that was published, for the test to look at.
    pub(super) published: RefCell<Vec<(String, Bytes)>>,
    /// Each message arrives twice.
    pub(super) doubling: Cell<bool>,
    /// Subscribers of request channels that never answer.
    pub(super) silent: Cell<u64>,
}

/// One worker's access.
pub(super) struct MemoryBus {
    hub: Rc<Hub>,
    routing: Routing,
    handler: OnceCell<Rc<dyn BusHandler>>,
    pub(super) channels: RefCell<BTreeSet<String>>,
    prefixes: RefCell<BTreeSet<String>>,
    /// So often it is not said that this worker has subscribed to anything.
    pub(super) unconfirmed: Cell<u64>,
}

impl Hub {
    /// Must be made inside a `LocalSet`.
    pub(super) fn new() -> Rc<Hub> {
        let hub = Rc::new(Hub::default());
        let pump = hub.clone();
        tokio::task::spawn_local(async move {
            loop {
                pump.queued.notified().await;
                pump.pump();
            }
        });
        hub
    }

    pub(super) fn join(self: &Rc<Self>, routing: Routing, handler: Rc<dyn BusHandler>) -> Rc<MemoryBus> {
        let bus = Rc::new(MemoryBus {
            hub: self.clone(),
            routing,
            handler: OnceCell::from(handler),
            channels: RefCell::default(),
            prefixes: RefCell::default(),
            unconfirmed: Cell::new(0),
        });
        self.buses.borrow_mut().push(bus.clone());
        bus
    }

    /// A message of a stranger.
    pub(super) fn inject(&self, channel: &str, payload: &[u8]) {
        self.queue.borrow_mut().push_back((channel.to_owned(), Bytes::copy_from_slice(payload)));
        self.queued.notify_one();
    }

    fn pump(&self) {
        loop {
            let Some((channel, payload)) = self.queue.borrow_mut().pop_front() else { return };
            let buses = self.buses.borrow().clone();
            for bus in buses.iter().filter(|bus| bus.wants(&channel)) {
                for _ in 0..=u8::from(self.doubling.get()) {
                    bus.handler.get().unwrap().message(&channel, payload.clone());
                }
            }
        }
    }
}

impl MemoryBus {
    /// All that is subscribed to.
    pub(super) fn wanted(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        (self.channels.borrow().clone(), self.prefixes.borrow().clone())
    }

    fn wants(&self, channel: &str) -> bool {
        self.channels.borrow().contains(channel)
            || self.prefixes.borrow().iter().any(|prefix| channel.starts_with(prefix))
    }
}

impl Bus for MemoryBus {
    fn publish(&self, channel: &str, payload: &[u8]) {
        if !self.hub.down.get() {
            self.hub.published.borrow_mut().push((channel.to_owned(), Bytes::copy_from_slice(payload)));
            self.hub.inject(channel, payload);
        }
    }

    fn subscribe(&self, channel: &str) {
        self.channels.borrow_mut().insert(channel.to_owned());
    }

    fn unsubscribe(&self, channel: &str) {
        assert!(self.channels.borrow_mut().remove(channel), "{channel} was not subscribed to");
    }

    fn subscribe_prefix(&self, prefix: &str) {
        self.prefixes.borrow_mut().insert(prefix.to_owned());
    }

    fn unsubscribe_prefix(&self, prefix: &str) {
        assert!(self.prefixes.borrow_mut().remove(prefix), "{prefix} was not subscribed to");
    }

    fn count_subscribers(&self, channel: &str) -> LocalFuture<Result<u64, BusError>> {
        let subscribed = |bus: &&Rc<MemoryBus>| bus.channels.borrow().contains(channel);
        let count = self.hub.buses.borrow().iter().filter(subscribed).count() as u64 + self.hub.silent.get();
        let down = self.hub.down.get();
        if let Some(left) = self.unconfirmed.get().checked_sub(1) {
            self.unconfirmed.set(left);
            return Box::pin(async { Ok(0) });
        }
        Box::pin(async move { if down { Err(BusError::Down("as tested".into())) } else { Ok(count) } })
    }

    fn members(&self, channel: &str, named_by: &str) -> LocalFuture<Result<Members, BusError>> {
        let count = self.count_subscribers(channel);
        let (buses, named_by) = (self.hub.buses.borrow().clone(), named_by.to_owned());
        let name = |channel: &String| Some(channel.strip_prefix(&named_by)?.strip_suffix('#')?.to_owned());
        let names = match self.routing {
            Routing::Pattern => {
                buses.iter().flat_map(|bus| bus.channels.borrow().iter().filter_map(name).collect::<Vec<_>>()).collect()
            }
            Routing::Exact => (0..)
                .zip(&buses)
                .filter(|(_, bus)| bus.channels.borrow().contains(channel))
                .map(|(slot, _)| worker_name(WorkerId { slot: Slot(slot), generation: Generation(1) }))
                .collect(),
        };
        Box::pin(async move { Ok(Members { count: count.await?, names }) })
    }

    fn routing(&self) -> Routing {
        self.routing
    }

    fn health(&self) -> BusHealth {
        BusHealth::default()
    }

    fn flush(&self) {}

    fn counters(&self) -> BusCounters {
        BusCounters::default()
    }
}
