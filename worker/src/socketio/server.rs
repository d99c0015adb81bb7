//! The server's state and the way of a packet from a client.
//!
//! State is borrowed shortly, and never while the application is called. The engine may be called with state borrowed: it
//! never calls back from inside a call.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use bytes::Bytes;
use roomd_wire::{WorkerId, WorkerStats};
use rustc_hash::FxHashMap;
use serde_json::Value;
use slab::Slab;
use smallvec::SmallVec;

use super::{
    Ack, Io, Socket, SocketId,
    app::{App, Namespace},
    handlers::{self, Panics},
    heard::Heard,
    pending::Pending,
    rooms::{Member, Rooms},
    waiting::Waiting,
};
use crate::{
    adapter::codec::{Channels, random_id},
    bus::{Bus, Routing},
    engine::{CloseReason, Engine, Handshake, SessionHandler, SessionKey},
    protocol::{
        Data, Encoded, PacketType,
        assembly::{Assembly, Complete, Text},
    },
};

/// What every channel's name begins with, as the official adapter's option `key` has it.
const CHANNEL_PREFIX: &str = "socket.io";

/// How many handlers of one client's events can wait at once. A client that sends on regardless is closed: each of them keeps
/// what it was sent in memory.
pub const MAX_WAITING_HANDLERS: u32 = 1000;

/// Place of a namespace in the list of those that the application declared.
pub(super) type NamespaceIndex = u16;

/// The Socket.IO server of one worker.
pub(super) struct Inner {
    pub(super) engine: Engine,
    pub(super) worker: WorkerId,
    pub(super) bus: OnceCell<Rc<dyn Bus>>,
    pub(super) namespaces: Vec<Declared>,
    index: HashMap<String, NamespaceIndex>,
    pub(super) state: RefCell<State>,
    pub(super) panics: Panics,
    pub(super) counters: Counters,
    pub(super) rng: RefCell<fastrand::Rng>,
    /// Numbers this worker's own broadcasts.
    pub(super) sequence: Cell<u64>,
    pub(super) heard: RefCell<Heard>,
    /// How many broadcasts of other servers wait for answers of clients here.
    pub(super) passing: Cell<usize>,
    /// There were too many of them, and the log has said so; until none is left.
    pub(super) passing_full: Cell<bool>,
}

/// A namespace as the application declared it. Never changes.
pub(super) struct Declared {
    pub(super) name: Rc<str>,
    pub(super) handlers: Namespace,
    pub(super) channels: Channels,
    pub(super) uid: String,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) sessions: FxHashMap<SessionKey, Session>,
    /// In the order of [`Inner::namespaces`].
    pub(super) namespaces: Vec<Members>,
}

/// What is known of a session here.
pub(super) struct Session {
    pub(super) handshake: Rc<Handshake>,
    assembly: Assembly,
    /// Its sockets; nearly every client has one.
    pub(super) sockets: SmallVec<[(NamespaceIndex, Member); 2]>,
    /// Handlers of its events that have begun and wait for something.
    handlers: u32,
}

/// The sockets of one namespace.
#[derive(Default)]
pub(super) struct Members {
    pub(super) sockets: Slab<SocketState>,
    pub(super) rooms: Rooms,
    /// Sockets that are in no room: middleware has not agreed yet, or they are just leaving.
    pub(super) apart: FxHashMap<SocketId, Member>,
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
        let mut namespaces: Vec<_> = app.namespaces.into_iter().collect();
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
            state: State { sessions: FxHashMap::default(), namespaces: members }.into(),
            panics: Panics::default(),
            counters: Counters::default(),
            rng: rng.into(),
            sequence: Cell::new(0),
            heard: RefCell::default(),
            passing: Cell::new(0),
            passing_full: Cell::new(false),
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
        stats.counters.handler_panics = self.panics.get();
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
    /// A session has ended, and its sockets have left. The last one leaves nothing behind.
    fn forget(&mut self, key: SessionKey) {
        self.sessions.remove(&key);
        if self.sessions.is_empty() {
            self.sessions.shrink_to_fit();
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
        self.rooms.own(id).or_else(|| self.apart.get(id).copied())
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

impl Io {
    /// A packet has come whole.
    fn packet(&self, key: SessionKey, packet: Whole<'_>) {
        if packet.kind == PacketType::Connect {
            return self.connect(key, packet.nsp, packet.json);
        }
        let Some((namespace, id)) = self.joined(key, packet.nsp) else {
            return self.violation(key, "a packet for a namespace that was not joined");
        };
        match packet.kind {
            PacketType::Event => self.event(key, namespace, id, packet),
            PacketType::Ack => {
                if let (Some(ack), Some(data)) = (packet.id, packet.data()) {
                    self.answered(namespace, id, ack, data);
                }
            }
            PacketType::Disconnect => self.leave(key, namespace, id, "client namespace disconnect"),
            PacketType::Connect | PacketType::ConnectError => self.violation(key, "a packet that only a server sends"),
        }
    }

    fn joined(&self, key: SessionKey, nsp: &str) -> Option<(NamespaceIndex, SocketId)> {
        let state = self.0.state.borrow();
        let sockets = &state.sessions.get(&key)?.sockets;
        let &(namespace, member) = sockets.iter().find(|(index, _)| &*self.0.declared(*index).name == nsp)?;
        let members = &state.namespaces[usize::from(namespace)];
        let id = members.sockets.get(member as usize)?.id;
        // Middleware has to agree first.
        (members.rooms.own(&id).is_some()).then_some((namespace, id))
    }

    fn event(&self, key: SessionKey, namespace: NamespaceIndex, id: SocketId, packet: Whole<'_>) {
        count(&self.0.counters.events_in);
        let (Some(event), Some(data)) = (packet.event, packet.data()) else { return };
        let handlers = &self.0.declared(namespace).handlers;
        let Some(handler) = handlers.events.get(event).or(handlers.any.as_ref()) else { return };
        let socket = Socket { io: self.clone(), namespace, id };
        let ack = Ack { io: self.clone(), namespace, socket: id, id: packet.id };
        let begin = || match handler(socket, &data, ack) {
            Ok(work) => work,
            Err(error) => {
                count(&self.0.counters.bad_events);
                if let (Some(ack), Ok(answer)) = (packet.id, Data::ack(&BadEvent { error: describe(&error) })) {
                    self.0.answer(namespace, id, ack, &answer);
                }
                Box::pin(std::future::ready(()))
            }
        };
        handlers::run_with(&self.0.panics, event, begin, || Waits::begin(self, key));
    }

    /// Every socket of a session, which may be none.
    pub(super) fn sockets_of(&self, key: SessionKey) -> SmallVec<[(NamespaceIndex, SocketId); 2]> {
        let state = self.0.state.borrow();
        let sockets = state.sessions.get(&key).map_or(&[][..], |session| &session.sockets);
        let id = |&(namespace, member): &(NamespaceIndex, Member)| {
            let socket = state.namespaces[usize::from(namespace)].sockets.get(member as usize)?;
            Some((namespace, socket.id))
        };
        sockets.iter().filter_map(id).collect()
    }

    /// A client's answer.
    fn answered(&self, namespace: NamespaceIndex, id: SocketId, ack: u64, data: Data) {
        let members = &mut self.0.state.borrow_mut().namespaces[usize::from(namespace)];
        members.waiting.answer(id, ack, data);
    }

    fn violation(&self, key: SessionKey, what: &str) {
        tracing::debug!(what, "a client broke the protocol");
        self.0.engine.close(key, CloseReason::ForcedClose);
    }
}

/// A handler of a client's event that waits for something.
struct Waits {
    io: Io,
    session: SessionKey,
}

impl Waits {
    fn begin(io: &Io, session: SessionKey) -> Self {
        let waiting = io.0.state.borrow_mut().sessions.get_mut(&session).map_or(0, |session| {
            session.handlers += 1;
            session.handlers
        });
        if waiting > MAX_WAITING_HANDLERS {
            tracing::debug!(limit = MAX_WAITING_HANDLERS, "a client sends faster than its events are handled");
            io.0.engine.close(session, CloseReason::ForcedClose);
        }
        Waits { io: io.clone(), session }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(session) = self.io.0.state.borrow_mut().sessions.get_mut(&self.session) {
            session.handlers -= 1;
        }
    }
}

/// A packet with all that belongs to it, borrowed where it came in one message.
#[derive(Clone, Copy)]
struct Whole<'a> {
    kind: PacketType,
    nsp: &'a str,
    id: Option<u64>,
    event: Option<&'a str>,
    json: Option<&'a str>,
    data: Option<&'a Data>,
}

impl Whole<'_> {
    fn data(&self) -> Option<Data> {
        self.data.cloned().or_else(|| self.json.map(|json| Data::checked(json.to_owned(), Vec::new())))
    }
}

#[derive(serde::Serialize)]
struct BadEvent {
    error: String,
}

fn describe(error: &dyn std::error::Error) -> String {
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    format!("the event's arguments are of the wrong shape: {cause}")
}

impl SessionHandler for Io {
    fn opened(&self, key: SessionKey, handshake: Rc<Handshake>) {
        let session = Session { handshake, assembly: Assembly::default(), sockets: SmallVec::new(), handlers: 0 };
        self.0.state.borrow_mut().sessions.insert(key, session);
    }

    fn text(&self, key: SessionKey, message: &str) {
        let read = {
            let mut state = self.0.state.borrow_mut();
            let Some(session) = state.sessions.get_mut(&key) else { return };
            session.assembly.text(message)
        };
        match read {
            Ok(Text::Begun) => {}
            Ok(Text::Whole(packet)) => {
                let event = packet.event.as_ref().map(|name| name.as_str());
                let whole =
                    Whole { kind: packet.kind, nsp: packet.nsp, id: packet.id, event, json: packet.json, data: None };
                self.packet(key, whole);
            }
            Err(violation) => self.violation(key, &violation.to_string()),
        }
    }

    fn binary(&self, key: SessionKey, message: Bytes) {
        let read = {
            let mut state = self.0.state.borrow_mut();
            let Some(session) = state.sessions.get_mut(&key) else { return };
            session.assembly.binary(message)
        };
        match read {
            Ok(None) => {}
            Ok(Some(Complete { kind, nsp, id, event, data })) => {
                let whole = Whole { kind, nsp: &nsp, id, event: event.as_deref(), json: None, data: data.as_ref() };
                self.packet(key, whole);
            }
            Err(violation) => self.violation(key, &violation.to_string()),
        }
    }

    fn closed(&self, key: SessionKey, reason: CloseReason) {
        for (namespace, id) in self.sockets_of(key) {
            self.leave(key, namespace, id, reason.as_str());
        }
        self.0.state.borrow_mut().forget(key);
        count(&self.0.counters.ended_sessions);
    }
}
