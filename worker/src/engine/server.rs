//! The engine's handle: what the layer above calls, and what connections tell it.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use roomd_wire::{ConnectionId, NotANetwork, PeerAddress, Sid, SidHome, SocketIoConfig, WorkerConfig};
use slab::Slab;
use tokio::sync::Notify;

use super::{
    client_files::{ClientFiles, NotClientFiles},
    compression::Compressor,
    cookie::Cookie,
    cors::{Cors, NotCors},
    counters::{Counters, add},
    deadlines::GRAIN,
    deflate::Deflate,
    flush::Turn,
    handler::{Handshake, SessionHandler, SessionKey},
    hooks::{Hooks, Rate},
    polling::PollAnswer,
    proxies::Proxies,
    relay::Pool,
    service::HttpService,
    sessions::{Entry, Sessions},
    socket::Socket,
};
use crate::{
    control::Outbox,
    protocol::{
        Encoded, Parser,
        batch::Batch,
        deadlines::Deadlines,
        drain_order::Moment,
        engine_packet::{OpenPacket, Packet, PacketError},
        heartbeat::Rhythm,
        queue::Item,
        session::{Action, CloseReason, Sent, Session, Settings, Transport},
    },
};

/// A configuration that was not checked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// An address of a trusted proxy is none.
    #[error(transparent)]
    Proxy(#[from] NotANetwork),
    /// What is wrong with the cross-origin headers.
    #[error("take the cross-origin headers: {0}")]
    Cors(#[from] NotCors),
    /// The client's files cannot be served.
    #[error("read the client's files: {0}")]
    ClientFiles(#[from] NotClientFiles),
}

/// A worker's Engine.IO server. A clone is another handle to it.
#[derive(Clone)]
pub struct Engine(pub(super) Rc<Inner>);

pub(super) struct Inner {
    pub(super) settings: Settings,
    pub(super) options: SocketIoConfig,
    pub(super) home: SidHome,
    pub(super) cors: Cors,
    pub(super) cookie: Option<Cookie>,
    pub(super) compressor: Compressor,
    /// If they are served.
    pub(super) client_files: Option<ClientFiles>,
    /// If messages may be compressed.
    pub(super) deflate: Option<Deflate>,
    pub(super) proxies: Proxies,
    pub(super) outbox: Outbox,
    pub(super) counters: Rc<Counters>,
    pub(super) state: RefCell<State>,
    /// The connections that are open, and where their clients are.
    pub(super) open: RefCell<Slab<(ConnectionId, PeerAddress)>>,
    pub(super) turn: Turn,
    /// Told when a deadline comes before all others.
    pub(super) sooner: Notify,
    pub(super) draining: Cell<bool>,
    /// What [`Moment`]s are counted from.
    begun: Instant,
    pub(super) relays: Pool,
    pub(super) hooks: OnceCell<Hooks>,
    pub(super) refusals_told: Rate,
    handler: OnceCell<Rc<dyn SessionHandler>>,
    service: OnceCell<HttpService>,
}

/// What changes. Never borrowed while the layer above is called.
pub(super) struct State {
    pub(super) sessions: Sessions,
    /// Sessions with something to write, each once.
    pub(super) dirty: Vec<SessionKey>,
    /// Ends that the layer above has not been told of.
    pub(super) ended: Vec<(SessionKey, CloseReason)>,
    pub(super) deadlines: Deadlines<SessionKey>,
    /// Kept for its memory.
    pub(super) actions: Vec<Action>,
}

impl Engine {
    /// The server of one worker. Its tasks are started by [`Engine::start`].
    ///
    /// # Errors
    /// Where the configuration holds what the supervisor would have refused.
    pub fn new(config: &WorkerConfig, outbox: Outbox) -> Result<Engine, EngineError> {
        let options = config.socketio.clone();
        let settings = Settings {
            rhythm: Rhythm {
                interval: Duration::from_millis(options.ping_interval_ms),
                timeout: Duration::from_millis(options.ping_timeout_ms),
            },
            upgrade_timeout: Duration::from_millis(options.upgrade_timeout_ms),
            max_queue_bytes: usize::try_from(options.max_queue_bytes).unwrap_or(usize::MAX),
        };
        Ok(Engine(Rc::new(Inner {
            settings,
            home: SidHome { host: config.host, worker: config.id },
            cors: Cors::new(options.cors.as_ref())?,
            compressor: Compressor::default(),
            client_files: options.client_files.as_deref().map(ClientFiles::read).transpose()?,
            cookie: options.cookie.as_ref().map(Cookie::new),
            deflate: options.per_message_deflate.as_ref().map(Deflate::new),
            proxies: Proxies::parse(&config.trusted_proxies)?,
            options,
            outbox,
            counters: Rc::default(),
            open: RefCell::default(),
            state: RefCell::new(State {
                sessions: Sessions::default(),
                dirty: Vec::new(),
                ended: Vec::new(),
                deadlines: Deadlines::new(Instant::now(), GRAIN),
                actions: Vec::new(),
            }),
            turn: Turn::default(),
            sooner: Notify::new(),
            draining: Cell::new(false),
            begun: Instant::now(),
            relays: Pool::default(),
            hooks: OnceCell::new(),
            refusals_told: Rate::default(),
            handler: OnceCell::new(),
            service: OnceCell::new(),
        })))
    }

    /// The form of packets, which is for the layer above.
    pub fn parser(&self) -> Parser {
        self.0.options.parser.into()
    }

    /// Names the layer above, once, and starts the tasks. Must be called inside a `LocalSet`.
    pub fn start(&self, handler: Rc<dyn SessionHandler>, service: HttpService) {
        let first = self.0.handler.set(handler).is_ok() && self.0.service.set(service).is_ok();
        debug_assert!(first, "an engine is started once");
        tokio::task::spawn_local(super::flush::run(self.clone()));
        tokio::task::spawn_local(super::deadlines::run(self.clone()));
    }

    /// Sends a packet to a session. It is written at the end of this turn of the loop. Dropped if the session has ended.
    pub fn send(&self, session: SessionKey, packet: &Encoded) {
        self.send_many([session], packet);
    }

    /// Sends a packet to many sessions.
    pub fn send_many(&self, sessions: impl IntoIterator<Item = SessionKey>, packet: &Encoded) {
        self.0.turn.note_sent();
        let state = &mut *self.0.state.borrow_mut();
        for key in sessions {
            self.send_one(state, key, packet.clone().into());
        }
    }

    /// Sends a packet to many sessions, as the first of a batch for exactly these.
    pub fn send_batch(&self, sessions: impl IntoIterator<Item = SessionKey>, packet: &Encoded) -> Rc<Batch> {
        self.0.turn.note_sent();
        let state = &mut *self.0.state.borrow_mut();
        let batch = Batch::new(packet);
        let recipients =
            sessions.into_iter().filter(|key| self.send_one(state, *key, Item::Batch(batch.clone()))).count();
        batch.set_recipients(recipients);
        batch
    }

    /// Sends a packet to the sessions that a batch was sent to. False if one of them has been sent something else meanwhile, or
    /// has read the batch: then another is due.
    pub fn append(&self, batch: &Batch, packet: &Encoded) -> bool {
        let appended = batch.append(packet);
        if appended {
            self.0.turn.note_sent();
            add(&self.0.counters.packets_out, batch.recipients());
        }
        appended
    }

    /// Sends a packet if it can be written in this turn, else drops it.
    pub fn send_volatile(&self, session: SessionKey, packet: &Encoded) {
        self.send_many_volatile([session], packet);
    }

    /// Sends a packet to those sessions that can take it in this turn.
    pub fn send_many_volatile(&self, sessions: impl IntoIterator<Item = SessionKey>, packet: &Encoded) {
        self.0.turn.note_sent();
        let state = &mut *self.0.state.borrow_mut();
        for key in sessions {
            let takes = state.sessions.get(key).is_some_and(|entry| {
                entry.session.takes_now(entry.socket.as_ref().is_some_and(|socket| socket.is_blocked()))
            });
            if takes {
                self.send_one(state, key, packet.clone().into());
            }
        }
    }

    /// Closes a session, in order: what was sent before still goes out. The layer above is told later in this turn.
    pub fn close(&self, session: SessionKey, reason: CloseReason) {
        self.with_session(session, |entry, now, _, out| entry.session.close(reason, now, out));
    }

    /// How long a session may live without a namespace, which the layer above sees to.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.0.options.connect_timeout_ms)
    }

    /// Whether child namespaces end with their last socket, which the layer above sees to.
    pub fn cleans_up_empty_child_namespaces(&self) -> bool {
        self.0.options.cleanup_empty_child_namespaces
    }

    /// How a session exchanges packets; `None` if it has ended.
    pub fn transport(&self, session: SessionKey) -> Option<Transport> {
        let state = self.0.state.borrow();
        state.sessions.get(session).filter(|entry| entry.session.is_open()).map(|entry| entry.session.transport())
    }

    /// How many bytes wait for a session.
    pub fn queued_bytes(&self, session: SessionKey) -> usize {
        self.0.state.borrow_mut().sessions.get_mut(session).map_or(0, |entry| entry.session.queue().bytes())
    }

    /// How many sessions are there.
    pub fn session_count(&self) -> usize {
        self.0.state.borrow().sessions.len()
    }

    /// How many client connections are open.
    pub fn connection_count(&self) -> u64 {
        self.0.open.borrow().len() as u64
    }

    /// The client connections that are open, and where their clients are.
    pub fn connections(&self) -> Vec<(ConnectionId, PeerAddress)> {
        self.0.open.borrow().iter().map(|(_, open)| *open).collect()
    }

    /// Writes the engine's figures into the worker's.
    pub fn report(&self, into: &mut roomd_wire::WorkerStats) {
        into.connections = self.connection_count();
        into.sessions = self.session_count() as u64;
        self.0.counters.report(into);
    }

    /// Now, and the packets sent so far, if the broadcast that begins now is to be timed: one of each turn of the loop is.
    pub fn begin_fanout(&self) -> Option<(Instant, u64)> {
        self.0.turn.times_next().then(|| (Instant::now(), self.0.counters.packets_out.get()))
    }

    /// The broadcast that [`Engine::begin_fanout`] was asked for is in the queues of all its recipients. Without any, it does not
    /// count.
    pub fn end_fanout(&self, begun: Option<(Instant, u64)>) {
        if let Some((begin, packets)) = begun
            && self.0.counters.packets_out.get() > packets
        {
            self.0.counters.fanned_out(begin);
        }
    }

    /// Registers what is to happen once a turn before clients are written to: the bus's flush.
    pub fn on_flush(&self, hook: Rc<dyn Fn()>) {
        self.0.turn.add_hook(hook);
    }

    /// Asks for a flush at the end of this turn though no client has something to send: the bus has.
    pub fn schedule_flush(&self) {
        self.0.turn.schedule();
    }

    pub(super) fn handler(&self) -> &Rc<dyn SessionHandler> {
        self.0.handler.get().expect("connections come after the start")
    }

    /// What answers requests that are not the Socket.IO server's.
    pub(super) fn service(&self) -> &HttpService {
        self.0.service.get().expect("connections come after the start")
    }

    /// The longest message that a client may send, in bytes.
    pub fn max_payload(&self) -> usize {
        usize::try_from(self.0.options.max_payload_bytes).unwrap_or(usize::MAX)
    }

    /// The id of a session to come, and its open packet.
    pub(super) fn open_packet(&self, transport: Transport) -> Result<(Sid, String), getrandom::Error> {
        let mut random = [0; 15];
        getrandom::fill(&mut random)?;
        let sid = Sid::new(self.0.home, random);
        let websocket = self.0.options.transports.websocket && self.0.options.allow_upgrades;
        let upgrades = transport == Transport::Polling && websocket;
        let open = OpenPacket {
            sid: sid.as_str(),
            upgrades: if upgrades { &["websocket"] } else { &[] },
            ping_interval: self.0.settings.rhythm.interval,
            ping_timeout: self.0.settings.rhythm.timeout,
            max_payload: self.max_payload(),
        };
        Ok((sid, open.encode()))
    }

    /// Begins a session. The layer above is told with [`Engine::tell_opened`].
    pub(super) fn open_session(&self, sid: Sid, transport: Transport, socket: Option<Rc<Socket>>) -> SessionKey {
        let session = Session::open(transport, Instant::now(), &self.0.settings);
        let key = self.0.state.borrow_mut().sessions.insert(sid, session);
        add(&self.0.counters.sessions_opened, 1);
        self.with_session(key, |entry, now, _, _| {
            entry.socket = socket;
            entry.active = self.moment(now);
        });
        key
    }

    /// Tells the layer above of a new session.
    pub(super) fn tell_opened(&self, key: SessionKey, handshake: Handshake) {
        self.handler().opened(key, Rc::new(handshake));
    }

    /// The session of a client's id; its own and living ones only.
    pub(super) fn find(&self, sid: &Sid) -> Option<(SessionKey, Transport)> {
        let state = self.0.state.borrow();
        let key = state.sessions.find(sid)?;
        state.sessions.get(key).map(|entry| (key, entry.session.transport()))
    }

    /// The session of a text from a client.
    pub(super) fn find_text(&self, sid: &str) -> Option<(SessionKey, Transport)> {
        self.find(&Sid::parse(sid.as_bytes())?)
    }

    /// A packet came on a session's transport. False if the session takes no more: one that is ending still takes the client's
    /// own close.
    pub(super) fn incoming(&self, key: SessionKey, packet: Result<Packet<'_>, PacketError>) -> bool {
        add(&self.0.counters.packets_in, 1);
        let deliver = match &packet {
            Ok(packet) => self.with_session(key, |entry, now, settings, out| {
                let deliver = entry.session.packet(packet, now, settings, out);
                if deliver {
                    entry.active = self.moment(now);
                }
                deliver
            }),
            Err(_) => self.with_session(key, |entry, _, _, out| {
                entry.session.bad_packet(out);
                false
            }),
        };
        match packet {
            _ if deliver != Some(true) => {}
            Ok(Packet::Message(text)) => self.handler().text(key, text),
            Ok(Packet::Binary(bytes)) => self.handler().binary(key, Bytes::from(bytes.into_owned())),
            _ => {}
        }
        self.0.state.borrow().sessions.get(key).is_some()
    }

    /// Runs `change` on a living session, then does what it asked for. `None` if there is no such session.
    pub(super) fn with_session<R>(
        &self,
        key: SessionKey,
        change: impl FnOnce(&mut Entry, Instant, &Settings, &mut Vec<Action>) -> R,
    ) -> Option<R> {
        let state = &mut *self.0.state.borrow_mut();
        let mut actions = std::mem::take(&mut state.actions);
        let result =
            state.sessions.get_mut(key).map(|entry| change(entry, Instant::now(), &self.0.settings, &mut actions));
        if result.is_some() {
            self.settle(state, key, &mut actions);
        }
        actions.clear();
        state.actions = actions;
        result
    }

    /// A time as sessions keep it.
    pub(super) fn moment(&self, now: Instant) -> Moment {
        Moment::after(now.saturating_duration_since(self.0.begun))
    }

    /// Puts a session on the list of those to flush.
    pub(super) fn mark_dirty(&self, key: SessionKey) {
        let state = &mut *self.0.state.borrow_mut();
        if let Some(entry) = state.sessions.get_mut(key) {
            mark(entry, key, &mut state.dirty, &self.0.turn);
        }
    }

    /// True if it is queued.
    fn send_one(&self, state: &mut State, key: SessionKey, item: Item) -> bool {
        let Some(entry) = state.sessions.get_mut(key) else { return false };
        match entry.session.send(item, &self.0.settings, &mut state.actions) {
            Sent::Queued => {
                add(&self.0.counters.packets_out, 1);
                entry.active = Moment::THIS_TURN;
                mark(entry, key, &mut state.dirty, &self.0.turn);
                return true;
            }
            Sent::Dropped => {}
            Sent::Overflow => {
                add(&self.0.counters.slow_clients, 1);
                tracing::debug!(session = ?key, "a client read too slowly and is closed");
                let mut actions = std::mem::take(&mut state.actions);
                self.settle(state, key, &mut actions);
                state.actions = actions;
            }
        }
        false
    }

    /// Does what a session asked for, arms its next deadline, and removes it when nothing more can come of it.
    pub(super) fn settle(&self, state: &mut State, key: SessionKey, actions: &mut Vec<Action>) {
        let Some(entry) = state.sessions.get_mut(key) else { return };
        for action in actions.drain(..) {
            match action {
                Action::AnswerPoll(answer) => {
                    if let Some(poll) = entry.polling.as_mut().and_then(|links| links.poll.take()) {
                        // Its client may just have gone; the session learns it from the request's guard.
                        let _ = poll.send(PollAnswer::new(answer, entry.session.queue()));
                    }
                }
                Action::AbortPost => {
                    if let Some(links) = &mut entry.polling {
                        links.post = None;
                    }
                }
                Action::CloseProbe => {
                    if let Some(socket) = entry.socket.take() {
                        socket.end(crate::protocol::session::Ending::Orderly, Default::default());
                    }
                }
                Action::CloseSocket(ending) => {
                    let rest = entry.session.queue().take();
                    if let Some(socket) = entry.socket.take() {
                        socket.end(ending, rest);
                    }
                }
                Action::Ended(reason) => {
                    state.ended.push((key, reason));
                    self.0.turn.schedule();
                }
            }
        }
        if entry.session.is_gone() {
            state.sessions.remove(key);
            return;
        }
        if let Some(due) = entry.session.deadline()
            && state.deadlines.arm(key, due, &mut entry.armed)
        {
            self.0.sooner.notify_one();
        }
    }
}

pub(super) fn mark(entry: &mut Entry, key: SessionKey, dirty: &mut Vec<SessionKey>, turn: &Turn) {
    if !entry.dirty {
        entry.dirty = true;
        dirty.push(key);
        turn.schedule();
    }
}
