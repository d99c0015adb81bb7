//! The shell: sockets and time around the decisions.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

use roomd_wire::{ConnectionId, Histogram, MAX_MESSAGE_BYTES, Network, PeerAddress, Readiness, WorkerId};
use rustc_hash::FxBuildHasher;
use tokio::{
    sync::watch,
    task::{spawn_local, yield_now},
    time::Instant,
};

use crate::{
    accept::{self, Reserve},
    handover::{Held, Outbox, WorkerLink},
    head::{BadHead, Head},
    limits::Limits,
    listener::Listener,
    peek::{Peeked, peek_head, peek_now},
    refusal::Refusal,
    refuse,
    router::{Action, Router},
};

/// How many refused clients are waited for at the same time; further ones are answered and closed at once.
const MAX_LINGERING: usize = 256;
/// The most bytes that a moved connection's message to its new worker has room for, besides what else it says.
const MAX_READ: usize = MAX_MESSAGE_BYTES - 1024;

/// What the balancer goes by.
#[derive(Clone, Debug)]
pub struct BalancerConfig {
    /// This host's part of session ids.
    pub host: u16,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections from one address.
    pub max_connections_per_address: usize,
    /// Peers that the limit per address does not apply to.
    pub trusted_proxies: Vec<Network>,
    /// How long a client may take for its request head.
    pub head_timeout: Duration,
    /// How long a connection waits for a ready worker.
    pub worker_wait: Duration,
    /// How many wait at the most.
    pub max_waiting: usize,
}

/// What the balancer has counted since its start, and what it holds now.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct BalancerStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now, in all workers and here.
    pub open: u64,
    /// Connections whose head is not there yet.
    pub waiting_for_head: u64,
    /// Connections that wait for a ready worker.
    pub waiting_for_worker: u64,
    /// Connections that a worker acknowledged.
    pub handed_over: u64,
    /// Connections taken back, to be given to another worker, because the first died before it acknowledged, or had no
    /// descriptor left.
    pub handed_over_again: u64,
    /// Connections moved from one worker to another.
    pub moved: u64,
    /// Connections that were answered here, by cause.
    pub refused: Vec<(Refusal, u64)>,
    /// From `accept` to the word of a worker that it has taken the connection over: what the client took to send its head, too.
    pub accept_to_ready: Histogram,
    /// From the moment at which the head was there to that word.
    pub handover: Histogram,
}

/// Accepts connections and hands them to workers. One per supervisor, on its one thread, inside a `LocalSet`.
pub struct Balancer {
    head_timeout: Cell<Duration>,
    pub(crate) state: RefCell<State>,
    pub(crate) mode: watch::Sender<Mode>,
    reserve: Reserve,
    lingering: Cell<usize>,
    /// Whether a task sleeps until the first wait for a worker ends.
    watching_waits: Cell<bool>,
    accept_to_ready: RefCell<Histogram>,
    handover: RefCell<Histogram>,
}

/// Whether clients are accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Accepting,
    /// Not at the moment; nobody is turned away.
    Frozen,
    /// Not any more.
    Stopped,
}

pub(crate) struct State {
    pub(crate) router: Router,
    pub(crate) outboxes: HashMap<WorkerId, Rc<Outbox>>,
    /// The sockets of connections that wait for a worker or that none has acknowledged.
    pub(crate) held: HashMap<ConnectionId, Held, FxBuildHasher>,
    /// While frozen, those whose head is not there.
    pub(crate) heads: Vec<(ConnectionId, OwnedFd, PeerAddress)>,
}

impl Balancer {
    /// No listeners and no workers yet.
    pub fn new(config: BalancerConfig) -> Rc<Balancer> {
        let limits = Limits::new(config.max_connections, config.max_connections_per_address, config.trusted_proxies);
        let state = State {
            router: Router::new(limits, config.host, config.worker_wait, config.max_waiting),
            outboxes: HashMap::new(),
            held: HashMap::default(),
            heads: Vec::new(),
        };
        Rc::new(Balancer {
            head_timeout: config.head_timeout.into(),
            state: state.into(),
            mode: watch::Sender::new(Mode::Accepting),
            reserve: Reserve::new(),
            lingering: Cell::new(0),
            watching_waits: Cell::new(false),
            accept_to_ready: RefCell::default(),
            handover: RefCell::default(),
        })
    }

    /// From now on it goes by this, all but the host's number: session ids have that in them. Connections that are there stay, also
    /// where there are more than there may be now.
    pub fn reconfigure(&self, config: BalancerConfig) {
        self.head_timeout.set(config.head_timeout);
        let limits = Limits::new(config.max_connections, config.max_connections_per_address, config.trusted_proxies);
        self.state.borrow_mut().router.reconfigure(limits, config.worker_wait, config.max_waiting, now());
    }

    /// Accepts from a listener until [`Balancer::stop`]. The listener is closed when this ends or is dropped; then those who still
    /// wait there are turned away, unless somebody keeps it for them ([`Listener::keep`]).
    pub async fn serve(self: Rc<Self>, mut listener: Listener) {
        listener.begin();
        let mut mode = self.mode.subscribe();
        loop {
            let stopped = tokio::select! {
                biased;
                changed = mode.wait_for(|mode| *mode != Mode::Accepting) => !changed.is_ok_and(|mode| *mode == Mode::Frozen),
                () = accept::accept_all(&self, &listener) => return,
            };
            if stopped {
                if !listener.is_kept() {
                    accept::turn_away(&self, &listener);
                }
                return;
            }
            let _ = mode.wait_for(|mode| *mode != Mode::Frozen).await;
        }
    }

    /// A worker is ready.
    pub fn add_worker(self: &Rc<Self>, id: WorkerId, link: Rc<WorkerLink>) {
        self.change(|state| {
            // One that was taken over has its own already, and perhaps something in it.
            state.outboxes.entry(id).or_insert_with(|| Outbox::new(link));
            state.router.add_worker(id);
        });
    }

    /// A worker gets no new sessions any more; requests of its sessions still go there.
    pub fn drain_worker(&self, id: WorkerId) {
        self.state.borrow_mut().router.drain_worker(id);
    }

    /// A worker is gone, and all that it still said has been read: what it did not acknowledge goes to others.
    pub fn remove_worker(self: &Rc<Self>, id: WorkerId) {
        self.change(|state| {
            if let Some(outbox) = state.outboxes.remove(&id) {
                outbox.close();
            }
            state.router.remove_worker(id, now());
        });
    }

    /// A worker has taken a connection over.
    pub fn accepted(&self, by: WorkerId, connection: ConnectionId) {
        let mut state = self.state.borrow_mut();
        if state.router.acknowledge(by, connection)
            && let Some(Held { since: Some((accepted, seen)), .. }) = state.held.remove(&connection)
        {
            let now = now();
            self.accept_to_ready.borrow_mut().record(now.saturating_duration_since(accepted));
            self.handover.borrow_mut().record(now.saturating_duration_since(seen));
        }
    }

    /// A worker's connection has ended. One that it never acknowledged it could not take: another one gets it, or the client is
    /// answered here.
    pub fn closed(self: &Rc<Self>, by: WorkerId, connection: ConnectionId) {
        self.change(|state| {
            if state.router.close(by, connection) {
                state.held.remove(&connection);
            }
        });
    }

    /// The worker that a new session should go to now.
    pub fn for_new_session(&self) -> Option<WorkerId> {
        self.state.borrow_mut().router.for_new_session()
    }

    /// A worker gives a connection to another one: an upgrade of that one's session, or a new session if none is named. `read`
    /// is what it has read of it. If the other does not live, the present worker of its slot gets it, or else any, to be answered
    /// there.
    pub fn moved(
        self: &Rc<Self>,
        from: WorkerId,
        connection: ConnectionId,
        to: Option<WorkerId>,
        read: Vec<u8>,
        socket: OwnedFd,
    ) {
        let too_much = read.len() > MAX_READ;
        let (mut refused, mut unknown) = (None, None);
        self.change(|state| {
            let Some(peer) = state.router.take_for_move(from, connection) else {
                unknown = Some((read, socket));
                return;
            };
            if too_much {
                state.router.end(connection, Some(Refusal::HeadTooLarge));
                refused = Some(socket);
                return;
            }
            state.held.insert(connection, Held { socket: socket.into(), peer, moved: true, read, since: None });
            match to {
                Some(worker) => state.router.place_at(connection, worker, now()),
                None => state.router.place(connection, None, now()),
            }
        });
        if let Some(client) = refused {
            self.answer(client, Refusal::HeadTooLarge);
        }
        if let Some((read, socket)) = unknown.filter(|_| !too_much) {
            self.moved_unknown(from, to, read, socket);
        }
    }

    /// Live connections of a worker.
    pub fn connections(&self, id: WorkerId) -> usize {
        self.state.borrow().router.live(id)
    }

    /// What was counted, and what is held now.
    pub fn stats(&self) -> BalancerStats {
        let router = &self.state.borrow().router;
        let figures = router.figures();
        BalancerStats {
            accepted: figures.accepted,
            open: router.open_connections() as u64,
            waiting_for_head: figures.waiting_for_head,
            waiting_for_worker: router.waiting_for_worker() as u64,
            handed_over: figures.handed_over,
            handed_over_again: figures.taken_back,
            moved: figures.moved,
            refused: Refusal::ALL.into_iter().zip(figures.refused).collect(),
            accept_to_ready: self.accept_to_ready.borrow().clone(),
            handover: self.handover.borrow().clone(),
        }
    }

    /// Stops accepting for good; who waits for a worker is answered with 503.
    pub fn stop(self: &Rc<Self>) {
        self.mode.send_replace(Mode::Stopped);
        self.change(|state| state.router.stop());
    }

    /// A client that was accepted, as a non-blocking descriptor.
    pub(crate) fn admit(self: &Rc<Self>, client: OwnedFd, peer: PeerAddress) {
        let accepted = now();
        let opened = self.state.borrow_mut().router.open(peer);
        let connection = match opened {
            Ok(connection) => connection,
            Err(refusal) => return self.answer(client, refusal),
        };
        // Most heads are there already when their connection is accepted: those need no task and no watch.
        match peek_now(client.as_fd(), 0) {
            Ok(Peeked::Partial(seen)) => self.wait_for_head(connection, client, peer, accepted, seen),
            peeked => self.decide(connection, client, peer, accepted, peeked),
        }
    }

    pub(crate) fn wait_for_head(
        self: &Rc<Self>,
        connection: ConnectionId,
        client: OwnedFd,
        peer: PeerAddress,
        accepted: std::time::Instant,
        seen: usize,
    ) {
        spawn_local(self.clone().await_head(connection, client, peer, accepted, seen));
    }

    /// Answers a client that does not count as a connection.
    pub(crate) fn turn_away(self: &Rc<Self>, client: OwnedFd, refusal: Refusal) {
        self.count_refusal(refusal);
        self.answer(client, refusal);
    }

    /// Counts an answer that was given elsewhere.
    pub(crate) fn count_refusal(&self, refusal: Refusal) {
        self.state.borrow_mut().router.count_refusal(refusal);
    }

    /// What is left when no descriptor is.
    pub(crate) fn reserve(&self) -> &Reserve {
        &self.reserve
    }

    async fn await_head(
        self: Rc<Self>,
        connection: ConnectionId,
        client: OwnedFd,
        peer: PeerAddress,
        accepted: std::time::Instant,
        seen: usize,
    ) {
        let deadline = Instant::from_std(accepted) + self.head_timeout.get();
        // A client on a near network sends its head right after it has connected: a turn of the loop later it is there, and a
        // watch would cost more than looking again.
        yield_now().await;
        let seen = match peek_now(client.as_fd(), seen) {
            Ok(Peeked::Partial(seen)) => seen,
            peeked => return self.decide(connection, client, peer, accepted, peeked),
        };
        let waited = async {
            let watched = Readiness::new(client)?;
            let mut mode = self.mode.subscribe();
            let peeked = tokio::select! {
                peeked = tokio::time::timeout_at(deadline, peek_head(&watched, seen)) => Some(peeked),
                _ = mode.wait_for(|mode| *mode == Mode::Frozen) => None,
            };
            Ok::<_, io::Error>((watched.into_descriptor(), peeked))
        };
        match waited.await {
            Ok((client, Some(Ok(peeked)))) => self.decide(connection, client, peer, accepted, peeked),
            Ok((client, Some(Err(_too_slow)))) => self.refuse_head(connection, client, Refusal::HeadTimeout),
            Ok((client, None)) => self.state.borrow_mut().heads.push((connection, client, peer)),
            Err(error) => {
                tracing::debug!(%error, "a connection could not be watched");
                self.state.borrow_mut().router.end(connection, None);
            }
        }
    }

    pub(crate) fn decide(
        self: &Rc<Self>,
        connection: ConnectionId,
        client: OwnedFd,
        peer: PeerAddress,
        accepted: std::time::Instant,
        peeked: io::Result<Peeked>,
    ) {
        match peeked {
            Ok(Peeked::Head(Head::Complete(home))) => self.change(|state| {
                let (now, read) = (now(), Vec::new());
                let since = Some((accepted, now));
                state.held.insert(connection, Held { socket: client.into(), peer, moved: false, read, since });
                state.router.place(connection, home, now);
            }),
            Ok(Peeked::Head(Head::Refused(BadHead::TooLarge))) => {
                self.refuse_head(connection, client, Refusal::HeadTooLarge);
            }
            Ok(Peeked::Head(_) | Peeked::Broken) => self.refuse_head(connection, client, Refusal::BadRequest),
            // The client has gone: nobody is there to be answered.
            Ok(Peeked::Closed | Peeked::Partial(_)) | Err(_) => self.state.borrow_mut().router.end(connection, None),
        }
    }

    fn refuse_head(self: &Rc<Self>, connection: ConnectionId, client: OwnedFd, refusal: Refusal) {
        self.state.borrow_mut().router.end(connection, Some(refusal));
        self.answer(client, refusal);
    }

    /// Changes the state, and does what the router decides in consequence.
    pub(crate) fn change(self: &Rc<Self>, change: impl FnOnce(&mut State)) {
        let mut state = self.state.borrow_mut();
        change(&mut state);
        while let Some(action) = state.router.poll_action() {
            match action {
                Action::HandOver { connection, to } => state.hand_over(connection, to),
                Action::Refuse { connection, refusal } => {
                    if let Some(held) = state.held.remove(&connection) {
                        self.answer_held(held, refusal);
                    }
                }
            }
        }
        if state.router.poll_timeout().is_some() && !self.watching_waits.replace(true) {
            spawn_local(self.clone().watch_waits());
        }
    }

    /// Ends waits at their time. Ends itself when nobody waits.
    async fn watch_waits(self: Rc<Self>) {
        while let Some(until) = self.first_wait_ends() {
            tokio::time::sleep_until(until.into()).await;
            self.change(|state| state.router.expire(now()));
        }
        self.watching_waits.set(false);
    }

    fn first_wait_ends(&self) -> Option<std::time::Instant> {
        self.state.borrow().router.poll_timeout()
    }

    fn answer_held(self: &Rc<Self>, held: Held, refusal: Refusal) {
        match Rc::try_unwrap(held.socket) {
            Ok(client) => self.answer(client, refusal),
            // On its way to a worker that is gone, this very moment.
            Err(shared) => refuse::answer_now(&shared, refusal),
        }
    }

    fn answer(self: &Rc<Self>, client: OwnedFd, refusal: Refusal) {
        if self.lingering.get() >= MAX_LINGERING {
            return refuse::answer_now(&client, refusal);
        }
        self.lingering.set(self.lingering.get() + 1);
        let balancer = self.clone();
        spawn_local(async move {
            refuse::answer(client, refusal, refuse::LINGER).await;
            balancer.lingering.set(balancer.lingering.get() - 1);
        });
    }
}

impl State {
    fn hand_over(&mut self, connection: ConnectionId, to: WorkerId) {
        // The outbox of a worker comes and goes with its place in the router.
        if let (Some(held), Some(outbox)) = (self.held.get(&connection), self.outboxes.get(&to)) {
            outbox.send(connection, held);
        }
    }
}

/// The runtime's clock, which a test can hold.
pub(crate) fn now() -> std::time::Instant {
    Instant::now().into_std()
}
