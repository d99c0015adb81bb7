//! The shell: sockets and time around the decisions.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

use roomd_wire::{ConnectionId, Network, PeerAddress, Readiness, SidHome, WorkerId};
use rustc_hash::FxBuildHasher;
use tokio::{sync::watch, task::spawn_local};

use crate::{
    backends::Backends,
    handover::{Held, Outbox, Sent, WorkerLink},
    head::{BadHead, Head},
    limits::{LimitPassed, Limits},
    listener::Listener,
    peek::{Peeked, peek_head, peek_now},
    refuse::{self, Refusal},
};

/// A connection that so many workers died with, each before it acknowledged, is given up.
const MAX_TRIES: u8 = 4;
/// How long accepting rests when no descriptor is left.
const DESCRIPTOR_REST: Duration = Duration::from_millis(50);
/// How many refused clients are waited for at the same time; further ones are answered and closed at once.
const MAX_LINGERING: usize = 256;

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
    /// Connections given to another worker because the first died before it acknowledged.
    pub handed_over_again: u64,
    /// Connections moved from one worker to another.
    pub moved: u64,
    /// Connections that were answered here, by cause.
    pub refused: Vec<(Refusal, u64)>,
}

/// Accepts connections and hands them to workers. One per supervisor, on its one thread, inside a `LocalSet`.
pub struct Balancer {
    config: BalancerConfig,
    state: RefCell<State>,
    /// How often a worker became ready; `None` once stopped.
    ready: watch::Sender<Option<u64>>,
    /// Given up to answer a client when no other descriptor is left.
    reserve: RefCell<Option<File>>,
    lingering: Cell<usize>,
}

struct State {
    backends: Backends,
    limits: Limits,
    outboxes: HashMap<WorkerId, Rc<Outbox>>,
    held: HashMap<ConnectionId, Held, FxBuildHasher>,
    peers: HashMap<ConnectionId, PeerAddress, FxBuildHasher>,
    next_id: u64,
    stats: BalancerStats,
    refused: [u64; Refusal::ALL.len()],
}

impl Balancer {
    /// No listeners and no workers yet.
    pub fn new(config: BalancerConfig) -> Rc<Balancer> {
        let limits =
            Limits::new(config.max_connections, config.max_connections_per_address, config.trusted_proxies.clone());
        let state = State {
            backends: Backends::new(config.host),
            limits,
            outboxes: HashMap::new(),
            held: HashMap::default(),
            peers: HashMap::default(),
            next_id: 1,
            stats: BalancerStats::default(),
            refused: [0; Refusal::ALL.len()],
        };
        Rc::new(Balancer {
            config,
            state: state.into(),
            ready: watch::Sender::new(Some(0)),
            reserve: File::open("/dev/null").ok().into(),
            lingering: Cell::new(0),
        })
    }

    /// Accepts from a listener until [`Balancer::stop`]. The listener is closed when this ends.
    pub async fn serve(self: Rc<Self>, listener: Listener) {
        let mut stopped = self.ready.subscribe();
        let mut short_of_descriptors = false;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped.wait_for(Option::is_none) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((client, peer)) => {
                    if std::mem::take(&mut short_of_descriptors) {
                        tracing::info!("descriptors are available again");
                    }
                    self.admit(client, peer);
                }
                Err(error) if is_shortage(&error) => {
                    if !std::mem::replace(&mut short_of_descriptors, true) {
                        tracing::error!(%error, "cannot accept connections: raise the limit on open files");
                    }
                    self.answer_with_reserve(&listener).await;
                    tokio::time::sleep(DESCRIPTOR_REST).await;
                }
                // A client that left before it was accepted, or a passing fault of its network.
                Err(error) => tracing::debug!(%error, "a connection was not accepted"),
            }
        }
    }

    /// A worker is ready.
    pub fn add_worker(self: &Rc<Self>, id: WorkerId, link: Rc<WorkerLink>) {
        let mut state = self.state.borrow_mut();
        state.backends.add(id);
        state.outboxes.insert(id, Rc::new(Outbox::new(link)));
        drop(state);
        self.ready.send_modify(|ready| *ready = ready.map(|count| count + 1));
    }

    /// A worker gets no new sessions any more; requests of its sessions still go there.
    pub fn drain_worker(&self, id: WorkerId) {
        self.state.borrow_mut().backends.drain(id);
    }

    /// A worker is gone, and all that it still said has been read: what it did not acknowledge goes to others.
    pub fn remove_worker(self: &Rc<Self>, id: WorkerId) {
        let mut state = self.state.borrow_mut();
        state.outboxes.remove(&id);
        let removed = state.backends.remove(id);
        for connection in removed.ended {
            state.release(connection);
        }
        state.stats.handed_over_again += removed.unacknowledged.len() as u64;
        drop(state);
        for connection in removed.unacknowledged {
            let Some(held) = self.state.borrow_mut().held.remove(&connection) else { continue };
            // Its home, if it had one, was the worker that is gone.
            match held.tries < MAX_TRIES {
                true => self.hand_over(connection, held, None),
                false => self.give_up(connection, held, Refusal::NoWorker),
            }
        }
    }

    /// A worker has taken a connection over.
    pub fn accepted(&self, by: WorkerId, connection: ConnectionId) {
        let mut state = self.state.borrow_mut();
        if state.backends.acknowledge(connection, by) && state.held.remove(&connection).is_some() {
            state.stats.handed_over += 1;
        }
    }

    /// A worker's connection has ended.
    pub fn closed(&self, by: WorkerId, connection: ConnectionId) {
        let mut state = self.state.borrow_mut();
        if state.backends.close(connection, by) {
            state.held.remove(&connection);
            state.release(connection);
        }
    }

    /// A worker gives a connection to another one: an upgrade of that one's session.
    pub fn moved(
        self: &Rc<Self>,
        from: WorkerId,
        connection: ConnectionId,
        to: WorkerId,
        read: Vec<u8>,
        socket: OwnedFd,
    ) {
        let mut state = self.state.borrow_mut();
        if !state.backends.close(connection, from) {
            return;
        }
        state.stats.moved += 1;
        state.held.remove(&connection);
        let peer = state.peers.get(&connection).copied().unwrap_or(PeerAddress::Unix);
        drop(state);
        let held = Held { socket: socket.into(), peer, moved: true, read, tries: 0 };
        self.hand_over(connection, held, Some(SidHome { host: self.config.host, worker: to }));
    }

    /// Live connections of a worker.
    pub fn connections(&self, id: WorkerId) -> usize {
        self.state.borrow().backends.live(id)
    }

    /// What was counted, and what is held now.
    pub fn stats(&self) -> BalancerStats {
        let state = self.state.borrow();
        BalancerStats {
            open: state.limits.count() as u64,
            refused: Refusal::ALL.into_iter().zip(state.refused).collect(),
            ..state.stats.clone()
        }
    }

    /// Stops accepting for good; who waits for a worker is answered with 503.
    pub fn stop(&self) {
        self.ready.send_replace(None);
    }

    fn admit(self: &Rc<Self>, client: OwnedFd, peer: PeerAddress) {
        let mut state = self.state.borrow_mut();
        state.stats.accepted += 1;
        match state.limits.open(peer) {
            Ok(()) => {}
            Err(passed) => {
                drop(state);
                return self
                    .refuse(client, if passed == LimitPassed::InAll { Refusal::Limit } else { Refusal::AddressLimit });
            }
        }
        let connection = ConnectionId(state.next_id);
        state.next_id += 1;
        state.peers.insert(connection, peer);
        drop(state);
        // Most heads are there already when their connection is accepted: those need no task and no watch.
        match peek_now(client.as_fd()) {
            Ok(Peeked::Partial) => {
                let balancer = self.clone();
                spawn_local(async move { balancer.await_head(connection, client, peer).await });
            }
            peeked => self.decide(connection, client, peer, peeked),
        }
    }

    async fn await_head(self: Rc<Self>, connection: ConnectionId, client: OwnedFd, peer: PeerAddress) {
        self.state.borrow_mut().stats.waiting_for_head += 1;
        let waited = async {
            let watched = Readiness::new(client)?;
            let peeked = tokio::time::timeout(self.config.head_timeout, peek_head(&watched)).await;
            Ok::<_, io::Error>((watched.into_descriptor(), peeked))
        };
        let waited = waited.await;
        self.state.borrow_mut().stats.waiting_for_head -= 1;
        match waited {
            Ok((client, Ok(peeked))) => self.decide(connection, client, peer, peeked),
            Ok((client, Err(_too_slow))) => {
                self.state.borrow_mut().release(connection);
                self.refuse(client, Refusal::HeadTimeout);
            }
            Err(error) => {
                tracing::debug!(%error, "a connection could not be watched");
                self.state.borrow_mut().release(connection);
            }
        }
    }

    fn decide(
        self: &Rc<Self>,
        connection: ConnectionId,
        client: OwnedFd,
        peer: PeerAddress,
        peeked: io::Result<Peeked>,
    ) {
        let refusal = match peeked {
            Ok(Peeked::Head(Head::Complete(home))) => {
                let held = Held { socket: client.into(), peer, moved: false, read: Vec::new(), tries: 0 };
                return self.hand_over(connection, held, home);
            }
            Ok(Peeked::Head(Head::Refused(BadHead::TooLarge))) => Refusal::HeadTooLarge,
            Ok(Peeked::Head(_)) => Refusal::BadRequest,
            // The client has gone: nobody is there to be answered.
            Ok(Peeked::Closed | Peeked::Partial) | Err(_) => return self.state.borrow_mut().release(connection),
        };
        self.state.borrow_mut().release(connection);
        self.refuse(client, refusal);
    }

    fn hand_over(self: &Rc<Self>, connection: ConnectionId, mut held: Held, home: Option<SidHome>) {
        let mut state = self.state.borrow_mut();
        let Some((to, outbox)) = state.backend_for(home) else {
            drop(state);
            return self.wait_for_worker(connection, held, home);
        };
        held.tries += 1;
        state.backends.assign(connection, to);
        let sent = outbox.send(connection, &held);
        state.held.insert(connection, held);
        drop(state);
        if sent == Sent::QueueBegan {
            spawn_local(async move { outbox.drain().await });
        }
    }

    fn wait_for_worker(self: &Rc<Self>, connection: ConnectionId, held: Held, home: Option<SidHome>) {
        let mut state = self.state.borrow_mut();
        if state.stats.waiting_for_worker >= self.config.max_waiting as u64 || self.ready.borrow().is_none() {
            drop(state);
            return self.give_up(connection, held, Refusal::NoWorker);
        }
        state.stats.waiting_for_worker += 1;
        drop(state);
        let balancer = self.clone();
        let mut ready = self.ready.subscribe();
        spawn_local(async move {
            let any = async {
                // Ends with `false` when the balancer stops.
                while !balancer.state.borrow().backends.any_ready() {
                    if ready.changed().await.is_err() || ready.borrow().is_none() {
                        return false;
                    }
                }
                true
            };
            let in_time = tokio::time::timeout(balancer.config.worker_wait, any).await == Ok(true);
            balancer.state.borrow_mut().stats.waiting_for_worker -= 1;
            match in_time {
                true => balancer.hand_over(connection, held, home),
                false => balancer.give_up(connection, held, Refusal::NoWorker),
            }
        });
    }

    fn give_up(self: &Rc<Self>, connection: ConnectionId, held: Held, refusal: Refusal) {
        self.state.borrow_mut().release(connection);
        match Rc::try_unwrap(held.socket) {
            Ok(client) => self.refuse(client, refusal),
            // Still in the queue of a worker that is gone: a clone serves as well.
            Err(shared) => match shared.try_clone() {
                Ok(client) => self.refuse(client, refusal),
                Err(error) => tracing::debug!(%error, "a client was not answered"),
            },
        }
    }

    fn refuse(self: &Rc<Self>, client: OwnedFd, refusal: Refusal) {
        self.count_refusal(refusal);
        if self.lingering.get() >= MAX_LINGERING {
            return refuse::answer_now(&client, refusal);
        }
        self.lingering.set(self.lingering.get() + 1);
        let balancer = self.clone();
        spawn_local(async move {
            refuse::answer(client, refusal).await;
            balancer.lingering.set(balancer.lingering.get() - 1);
        });
    }

    fn count_refusal(&self, refusal: Refusal) {
        self.state.borrow_mut().refused[refusal as usize] += 1;
    }

    /// Accepts one client with the descriptor that is kept for this, and tells it why it is not served.
    async fn answer_with_reserve(&self, listener: &Listener) {
        drop(self.reserve.borrow_mut().take());
        if let Ok(Ok((client, _))) = tokio::time::timeout(DESCRIPTOR_REST, listener.accept()).await {
            refuse::answer_now(&client, Refusal::OutOfDescriptors);
            self.count_refusal(Refusal::OutOfDescriptors);
        }
        *self.reserve.borrow_mut() = File::open("/dev/null").ok();
    }
}

impl State {
    fn backend_for(&mut self, home: Option<SidHome>) -> Option<(WorkerId, Rc<Outbox>)> {
        let to = self.backends.choose(home)?;
        Some((to, self.outboxes.get(&to)?.clone()))
    }

    /// The connection no longer counts against the limits.
    fn release(&mut self, connection: ConnectionId) {
        if let Some(peer) = self.peers.remove(&connection) {
            self.limits.close(peer);
        }
    }
}

fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| shortages.iter().any(|errno| errno.raw_os_error() == code))
}
