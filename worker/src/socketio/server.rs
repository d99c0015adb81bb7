//! The server's state.
//!
//! State is borrowed shortly, and never while the application is called. The engine may be called with state borrowed: it
//! never calls back from inside a call.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    time::Instant,
};

use roomd_wire::{WorkerId, WorkerStats};
use rustc_hash::FxHashMap;
use serde_json::Value;
use slab::Slab;

use super::{
    SocketId,
    apart::Apart,
    app::App,
    backlog::Backlog,
    bound::Bound,
    busy::Busiest,
    call::{OnStart, OnStop},
    handler::Erased,
    handlers::Failures,
    heard::Heard,
    joining::Joining,
    namespaces::{Namespaces, Nsp, subscribe},
    outgoing::{MAX_WAITING_HEARER_BYTES, MAX_WAITING_HEARERS},
    packets::Held,
    parents::Parent,
    pending::Pending,
    requests::{MAX_PASSED_REQUESTS, MAX_SERVER_EVENT_BYTES, MAX_SERVER_EVENTS},
    rooms::Rooms,
    states::States,
    waiting::Waiting,
};
use crate::{
    adapter::codec::random_id,
    bus::{Bus, Routing, worker_name},
    engine::{Engine, Handshake, SessionKey},
    protocol::{
        Data, Parser,
        assembly::Assembly,
        membership::{Member, Membership, SocketKey},
    },
};

/// The Socket.IO server of one worker.
pub(super) struct Inner {
    pub(super) engine: Engine,
    pub(super) worker: WorkerId,
    /// The form of all packets from and to clients.
    pub(super) parser: Parser,
    pub(super) bus: OnceCell<Rc<dyn Bus>>,
    /// In the order of their declaration.
    pub(super) parents: Vec<Parent>,
    /// Children stay when the last has left them.
    pub(super) keep_empty_children: bool,
    /// This server's name on the bus.
    pub(super) uid: Rc<str>,
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
    /// Handlers that hear of rooms or of what is sent, and wait for something.
    pub(super) hearers: Rc<Bound>,
    busiest: RefCell<Busiest>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) sessions: FxHashMap<SessionKey, Session>,
    /// Those of them that have joined nothing yet.
    pub(super) joining: Joining,
    /// Events behind those of the same socket whose middleware waits.
    pub(super) held: FxHashMap<SocketId, Held>,
    pub(super) namespaces: Namespaces,
    /// Wishes to join a namespace that a function has not decided on yet, by the last one's number.
    pub(super) undecided: FxHashMap<(SessionKey, Rc<str>), u64>,
    pub(super) wishes: u64,
}

/// What is known of a session here.
pub(super) struct Session {
    pub(super) handshake: Rc<Handshake>,
    pub(super) assembly: Assembly,
    pub(super) membership: Membership,
    pub(super) backlog: Backlog,
}

/// The sockets of one namespace.
pub(super) struct Members {
    pub(super) nsp: Rc<Nsp>,
    /// Questions to the other servers that are under way: a child stays for them.
    pub(super) needed: usize,
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
    pub(super) events_out: Cell<u64>,
    pub(super) bad_events: Cell<u64>,
    pub(super) bus_malformed: Cell<u64>,
    pub(super) ended_sessions: Cell<u64>,
    pub(super) refused_namespaces: Cell<u64>,
}

impl Inner {
    pub(super) fn new(engine: Engine, worker: WorkerId, app: App, mut rng: fastrand::Rng) -> Self {
        let uid: Rc<str> = random_id(&mut rng).into();
        let mut declared = app.namespaces;
        // As in Node, where clients can always join it.
        declared.entry("/".to_owned()).or_default();
        let mut declared: Vec<_> = declared.into_iter().collect();
        declared.sort_by(|a, b| a.0.cmp(&b.0));
        let mut namespaces = Namespaces::default();
        for (name, handlers) in declared {
            let nsp = Nsp::new(&name, uid.clone(), Some(handlers.into()), false);
            if namespaces.insert(&nsp).is_err() {
                tracing::error!(namespace = name, "the application declares more namespaces than can be");
            }
        }
        Inner {
            keep_empty_children: !engine.cleans_up_empty_child_namespaces(),
            parser: engine.parser(),
            engine,
            worker,
            bus: OnceCell::new(),
            parents: app.parents,
            uid,
            state: State { namespaces, ..State::default() }.into(),
            failures: Failures::default(),
            states: app.states,
            start: app.start,
            stop: app.stop,
            once: app.once,
            counters: Counters::default(),
            busiest: Busiest::new(Instant::now()).into(),
            rng: rng.into(),
            sequence: Cell::new(0),
            heard: RefCell::default(),
            passing: Bound::new("broadcasts of other servers wait for answers", MAX_PASSED_REQUESTS, usize::MAX),
            server_events: Bound::new("events of other servers wait", MAX_SERVER_EVENTS, MAX_SERVER_EVENT_BYTES),
            hearers: Bound::new(
                "handlers of rooms and of outgoing events wait",
                MAX_WAITING_HEARERS,
                MAX_WAITING_HEARER_BYTES,
            ),
        }
    }

    /// How the bus names this server among its members.
    pub(super) fn name_on_bus(&self, nsp: &Nsp) -> String {
        match self.bus.get().map(|bus| bus.routing()) {
            Some(Routing::Exact) => worker_name(self.worker),
            Some(Routing::Pattern) | None => nsp.uid.to_string(),
        }
    }

    /// Names the bus, once, and subscribes to all that is always wanted.
    pub(super) fn attach(&self, bus: Rc<dyn Bus>) {
        for Members { nsp, .. } in self.state.borrow().namespaces.iter() {
            subscribe(&*bus, nsp);
            nsp.is_heard.set(true);
        }
        // Written before this worker says that it is ready: what is published from then on reaches it.
        bus.flush();
        let first = self.bus.set(bus).is_ok();
        debug_assert!(first, "a server has one bus");
        self.engine.schedule_flush();
    }

    /// Wants again all that is wanted: the bus has forgotten it.
    pub(super) fn resubscribe(&self) {
        let Some(bus) = self.bus.get() else { return };
        for Members { nsp, rooms, sockets, .. } in self.state.borrow().namespaces.iter() {
            subscribe(&**bus, nsp);
            if bus.routing() == Routing::Exact {
                let own = sockets.iter().filter(|(_, socket)| rooms.own(&socket.id).is_some());
                own.for_each(|(_, socket)| bus.subscribe(&nsp.channels.room(socket.id.as_str())));
                rooms.names().for_each(|room| bus.subscribe(&nsp.channels.room(room)));
            }
        }
        self.engine.schedule_flush();
    }

    /// Writes this layer's figures into the worker's.
    pub(super) fn report(&self, stats: &mut WorkerStats) {
        let state = self.state.borrow();
        stats.sockets = state.namespaces.iter().map(|members| members.sockets.len() as u64).sum();
        stats.rooms = state.namespaces.iter().map(|members| members.rooms.count() as u64).sum();
        stats.busiest_rooms = self.busiest.borrow_mut().look(&state.namespaces, Instant::now());
        stats.counters.events_in = self.counters.events_in.get();
        stats.counters.events_out = self.counters.events_out.get();
        stats.counters.refused_namespaces = self.counters.refused_namespaces.get();
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
            stats.counters.bus_connects = counters.connects;
            stats.timings.bus_round_trip = bus.round_trips();
        }
    }

    /// Answers a client's event.
    pub(super) fn answer(&self, nsp: &Nsp, socket: SocketId, id: u64, data: &Data) {
        let state = self.state.borrow();
        if let Some(socket) = state.namespaces.of(nsp).and_then(|members| members.socket(&socket)) {
            self.engine.send(socket.session, &self.parser.ack(&nsp.name, id, data));
        }
    }

    /// A socket is in a room now: its channel is wanted with the first.
    pub(super) fn want_room(&self, nsp: &Nsp, room: &str) {
        if let Some(bus) = self.bus.get().filter(|bus| bus.routing() == Routing::Exact) {
            bus.subscribe(&nsp.channels.room(room));
            self.engine.schedule_flush();
        }
    }

    /// A room, or a socket with the room of its own id, has ended: its channel is no longer wanted, unless there is the other.
    pub(super) fn drop_room(&self, nsp: &Nsp, room: &str) {
        let bus = self.bus.get().filter(|bus| bus.routing() == Routing::Exact);
        let is_left = || self.state.borrow().namespaces.of(nsp).is_some_and(|members| members.rooms.has(room));
        if let Some(bus) = bus.filter(|_| !is_left()) {
            bus.unsubscribe(&nsp.channels.room(room));
            self.engine.schedule_flush();
        }
    }
}

impl State {
    /// The socket with this key, if it is there.
    pub(super) fn socket(&self, SocketKey { namespace, member }: SocketKey) -> Option<&SocketState> {
        self.namespaces.at(namespace)?.sockets.get(member as usize)
    }

    /// A session has ended, and its sockets have left. The last one leaves nothing behind.
    pub(super) fn forget(&mut self, key: SessionKey) {
        self.sessions.remove(&key);
        if self.sessions.is_empty() {
            self.sessions.shrink_to_fit();
            self.joining.clear();
            for members in self.namespaces.iter_mut() {
                members.sockets.shrink_to_fit();
                members.apart.shrink_to_fit();
                members.waiting.shrink_to_fit();
            }
        }
    }
}

impl Members {
    /// Of a namespace in which nobody is.
    pub(super) fn new(nsp: Rc<Nsp>) -> Self {
        Members {
            nsp,
            needed: 0,
            sockets: Slab::new(),
            rooms: Rooms::default(),
            apart: FxHashMap::default(),
            waiting: Waiting::default(),
            pending: FxHashMap::default(),
        }
    }

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
