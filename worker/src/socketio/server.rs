//! The server's state.
//!
//! State is borrowed shortly, and never while the application is called. The engine may be called with state borrowed: it
//! never calls back from inside a call.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use roomd_wire::{WorkerId, WorkerStats};
use rustc_hash::FxHashMap;
use serde_json::Value;
use slab::Slab;

use super::{
    SocketId,
    apart::Apart,
    app::{App, Namespace},
    backlog::Backlog,
    bound::Bound,
    call::{OnStart, OnStop},
    handler::Erased,
    handlers::Failures,
    heard::Heard,
    joining::Joining,
    packets::Held,
    pending::Pending,
    requests::{MAX_PASSED_REQUESTS, MAX_SERVER_EVENT_BYTES, MAX_SERVER_EVENTS},
    rooms::Rooms,
    states::States,
    waiting::Waiting,
};
use crate::{
    adapter::codec::{Channels, random_id},
    bus::{Bus, Routing},
    engine::{Engine, Handshake, SessionKey},
    protocol::{
        Data, Encoded,
        assembly::Assembly,
        membership::{Member, Membership, NamespaceIndex, SocketKey},
    },
};

/// What every channel's name begins with, as the official adapter's option `key` has it.
const CHANNEL_PREFIX: &str = "socket.io";

/// The Socket.IO server of one worker.
pub(super) struct Inner {
    pub(super) engine: Engine,
    pub(super) worker: WorkerId,
    pub(super) bus: OnceCell<Rc<dyn Bus>>,
    pub(super) namespaces: Vec<Declared>,
    index: HashMap<String, NamespaceIndex>,
    pub(super) state: RefCell<State>,
    pub(super) failures: Failures,
    pub(super) states: States,
    pub(super) start: Vec<Erased<OnStart, Option<String>>>,
    pub(super) stop: Vec<Erased<OnStop>>,
    pub(super) once: Vec<Erased<OnStart, Option<String>>>,
    pub(super) counters: Counters,
    pub(super) rng: RefCell<fastrand::Rng>,
    /// Numbers this worker's own broadcasts.
    pub(super) sequence: Cell<u64>,
    pub(super) heard: RefCell<Heard>,
    /// Broadcasts of other servers that wait for answers of clients here.
    pub(super) passing: Rc<Bound>,
    /// Events of other servers whose handlers wait for something.
    pub(super) server_events: Rc<Bound>,
}

/// A namespace as the application declared it. Never changes.
pub(super) struct Declared {
    pub(super) name: Rc<str>,
    pub(super) handlers: Namespace,
    pub(super) channels: Channels,
    pub(super) uid: String,
}

/// A socket whose events are held.
pub(super) type HeldKey = (NamespaceIndex, SocketId);

#[derive(Default)]
pub(super) struct State {
    pub(super) sessions: FxHashMap<SessionKey, Session>,
    /// Those of them that have joined nothing yet.
    pub(super) joining: Joining,
    /// Events behind those of the same socket whose middleware waits.
    pub(super) held: FxHashMap<HeldKey, Held>,
    /// In the order of [`Inner::namespaces`].
    pub(super) namespaces: Vec<Members>,
}

/// What is known of a session here.
pub(super) struct Session {
    pub(super) handshake: Rc<Handshake>,
    pub(super) assembly: Assembly,
    pub(super) membership: Membership,
    pub(super) backlog: Backlog,
}

/// The sockets of one namespace.
#[derive(Default)]
pub(super) struct Members {
    pub(super) sockets: Slab<SocketState>,
    pub(super) rooms: Rooms,
    /// Sockets that are in no room.
    pub(super) apart: FxHashMap<SocketId, Apart>,
    pub(super) waiting: Waiting,
    pub(super) pending: FxHashMap<String, Pending>,
}

/// One client in one namespace.
pub(super) struct SocketState {
    pub(super) id: SocketId,
    pub(super) session: SessionKey,
    pub(super) auth: Option<Box<Value>>,
    /// Shared so that the application's own code reads it without a borrow of ours.
    pub(super) data: Option<Rc<Value>>,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) events_in: Cell<u64>,
    pub(super) bad_events: Cell<u64>,
    pub(super) bus_malformed: Cell<u64>,
    pub(super) ended_sessions: Cell<u64>,
}

impl Inner {
    pub(super) fn new(engine: Engine, worker: WorkerId, app: App, mut rng: fastrand::Rng) -> Self {
        let mut declared = app.namespaces;
        // As in Node, where clients can always join it.
        declared.entry("/".to_owned()).or_default();
        let mut namespaces: Vec<_> = declared.into_iter().collect();
        namespaces.sort_by(|a, b| a.0.cmp(&b.0));
        let namespaces: Vec<_> = namespaces
            .into_iter()
            .map(|(name, handlers)| {
                let uid = random_id(&mut rng);
                let channels = Channels::new(CHANNEL_PREFIX, &name, &uid);
                Declared { name: name.into(), handlers, channels, uid }
            })
            .collect();
        let index = (0..).zip(&namespaces).map(|(index, declared)| (declared.name.to_string(), index)).collect();
        let members = namespaces.iter().map(|_| Members::default()).collect();
        Inner {
            engine,
            worker,
            bus: OnceCell::new(),
            namespaces,
            index,
            state: State { namespaces: members, ..State::default() }.into(),
            failures: Failures::default(),
            states: app.states,
            start: app.start,
            stop: app.stop,
            once: app.once,
            counters: Counters::default(),
            rng: rng.into(),
            sequence: Cell::new(0),
            heard: RefCell::default(),
            passing: Bound::new("broadcasts of other servers wait for answers", MAX_PASSED_REQUESTS, usize::MAX),
            server_events: Bound::new("events of other servers wait", MAX_SERVER_EVENTS, MAX_SERVER_EVENT_BYTES),
        }
    }

    /// Names the bus, once, and subscribes to all that is always wanted.
    pub(super) fn attach(&self, bus: Rc<dyn Bus>) {
        for Declared { channels, .. } in &self.namespaces {
            match bus.routing() {
                Routing::Pattern => bus.subscribe_prefix(channels.broadcast()),
                Routing::Exact => bus.subscribe(channels.broadcast()),
            }
            bus.subscribe(channels.request());
            bus.subscribe(channels.response());
            bus.subscribe(channels.own_response());
        }
        // Written before this worker says that it is ready: what is published from then on reaches it.
        bus.flush();
        let first = self.bus.set(bus).is_ok();
        debug_assert!(first, "a server has one bus");
        self.engine.schedule_flush();
    }

    pub(super) fn declared(&self, namespace: NamespaceIndex) -> &Declared {
        &self.namespaces[usize::from(namespace)]
    }

    pub(super) fn namespace(&self, name: &str) -> Option<NamespaceIndex> {
        self.index.get(name).copied()
    }

    /// Writes this layer's figures into the worker's.
    pub(super) fn report(&self, stats: &mut WorkerStats) {
        let state = self.state.borrow();
        stats.sockets = state.namespaces.iter().map(|members| members.sockets.len() as u64).sum();
        stats.rooms = state.namespaces.iter().map(|members| members.rooms.count() as u64).sum();
        stats.counters.events_in = self.counters.events_in.get();
        stats.counters.bad_events = self.counters.bad_events.get();
        stats.counters.bus_malformed = self.counters.bus_malformed.get();
        stats.counters.handler_panics = self.failures.panics();
        stats.counters.handler_errors = self.failures.errors();
        if let Some(bus) = self.bus.get() {
            let counters = bus.counters();
            stats.bus = bus.health();
            stats.counters.bus_published = counters.published;
            stats.counters.bus_received = counters.received;
            stats.counters.bus_dropped = counters.dropped;
        }
    }

    /// Answers a client's event.
    pub(super) fn answer(&self, namespace: NamespaceIndex, socket: SocketId, id: u64, data: &Data) {
        let state = self.state.borrow();
        if let Some(member) = state.namespaces[usize::from(namespace)].member(&socket) {
            let session = state.namespaces[usize::from(namespace)].sockets[member as usize].session;
            self.engine.send(session, &Encoded::ack(&self.declared(namespace).name, id, data));
        }
    }

    /// A socket is in a room now: its channel is wanted with the first.
    pub(super) fn want_room(&self, namespace: NamespaceIndex, room: &str) {
        if let Some(bus) = self.bus.get().filter(|bus| bus.routing() == Routing::Exact) {
            bus.subscribe(&self.declared(namespace).channels.room(room));
            self.engine.schedule_flush();
        }
    }

    /// A room, or a socket with the room of its own id, has ended: its channel is no longer wanted, unless there is the other.
    pub(super) fn drop_room(&self, namespace: NamespaceIndex, room: &str) {
        let bus = self.bus.get().filter(|bus| bus.routing() == Routing::Exact);
        if let Some(bus) = bus.filter(|_| !self.state.borrow().namespaces[usize::from(namespace)].rooms.has(room)) {
            bus.unsubscribe(&self.declared(namespace).channels.room(room));
            self.engine.schedule_flush();
        }
    }
}

impl State {
    /// The socket with this key, if it is there.
    pub(super) fn socket(&self, SocketKey { namespace, member }: SocketKey) -> Option<&SocketState> {
        self.namespaces[usize::from(namespace)].sockets.get(member as usize)
    }

    /// A session has ended, and its sockets have left. The last one leaves nothing behind.
    pub(super) fn forget(&mut self, key: SessionKey) {
        self.sessions.remove(&key);
        if self.sessions.is_empty() {
            self.sessions.shrink_to_fit();
            self.joining.clear();
            for members in &mut self.namespaces {
                members.sockets.shrink_to_fit();
                members.apart.shrink_to_fit();
                members.waiting.shrink_to_fit();
            }
        }
    }
}

impl Members {
    /// The socket with this id, wherever it is in its life.
    pub(super) fn member(&self, id: &SocketId) -> Option<Member> {
        self.rooms.own(id).or_else(|| self.apart.get(id).map(|apart| apart.member))
    }

    pub(super) fn socket(&self, id: &SocketId) -> Option<&SocketState> {
        self.sockets.get(self.member(id)? as usize)
    }

    pub(super) fn socket_mut(&mut self, id: &SocketId) -> Option<&mut SocketState> {
        self.sockets.get_mut(self.member(id)? as usize)
    }
}

/// Count one more.
pub(super) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}
