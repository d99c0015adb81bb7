//! Random lives of workers and connections against a plain model. `ROOMD_SEED` replays a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use roomd_wire::{ConnectionId, Generation, PeerAddress, SidHome, Slot, WorkerId};

use super::{Action, MAX_TRIES, Router};
use crate::{limits::Limits, refusal::Refusal};

const HOST: u16 = 1;
const WAIT: Duration = Duration::from_secs(5);
const MAX_WAITING: usize = 8;
const MAX_CONNECTIONS: usize = 60;
const MAX_PER_ADDRESS: usize = 12;

/// Where the model has a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Head,
    Waiting { until: Instant, tries: u8 },
    With { worker: WorkerId, acknowledged: bool, tries: u8 },
}

struct World {
    rng: fastrand::Rng,
    now: Instant,
    router: Router,
    /// Living workers, and whether they drain.
    workers: BTreeMap<WorkerId, bool>,
    connections: BTreeMap<ConnectionId, (PeerAddress, At)>,
    /// Connections that are for a session.
    homed: BTreeSet<ConnectionId>,
    /// Workers that could not take their last connection.
    full: BTreeSet<WorkerId>,
    generations: [u32; 4],
    stopped: bool,
    refused: u64,
    opened: u64,
    ended: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let trusted = vec!["10.0.0.9".parse().expect("an address")];
        World {
            rng: fastrand::Rng::with_seed(seed),
            now: Instant::now(),
            router: Router::new(Limits::new(MAX_CONNECTIONS, MAX_PER_ADDRESS, trusted), HOST, WAIT, MAX_WAITING),
            workers: BTreeMap::new(),
            connections: BTreeMap::new(),
            homed: BTreeSet::new(),
            full: BTreeSet::new(),
            generations: [0; 4],
            stopped: false,
            refused: 0,
            opened: 0,
            ended: 0,
        }
    }

    fn any_worker(&mut self) -> Option<WorkerId> {
        let ids: Vec<_> = self.workers.keys().copied().collect();
        self.rng.choice(ids)
    }

    fn any_connection(&mut self, wanted: impl Fn(At) -> bool) -> Option<(ConnectionId, At)> {
        let all: Vec<_> =
            self.connections.iter().filter(|(_, (_, at))| wanted(*at)).map(|(id, (_, at))| (*id, *at)).collect();
        self.rng.choice(all)
    }

    /// A home that a client could name: of a living worker, a dead one, one that never was, another host's.
    fn any_home(&mut self) -> Option<SidHome> {
        let slot = self.rng.u16(0..5);
        let generation = match self.generations.get(usize::from(slot)) {
            Some(&newest) => newest.saturating_sub(self.rng.u32(0..3)),
            None => 1,
        };
        let worker = WorkerId { slot: Slot(slot), generation: Generation(generation) };
        let host = if self.rng.u8(..10) == 0 { HOST + 1 } else { HOST };
        self.rng.bool().then_some(SidHome { host, worker })
    }

    fn current_of(&self, slot: Slot) -> Option<WorkerId> {
        self.workers.iter().filter(|(id, draining)| id.slot == slot && !**draining).map(|(id, _)| *id).max()
    }

    /// Carries out what the router decided about one connection with this home, and checks that it was right to.
    fn settle(&mut self, connection: ConnectionId, home: Option<SidHome>, tries: u8, action: Option<Action>) {
        let ready = self.workers.values().any(|draining| !draining);
        let home = home.filter(|home| home.host == HOST).map(|home| home.worker);
        let bound = home
            .and_then(|home| self.workers.contains_key(&home).then_some(home).or_else(|| self.current_of(home.slot)));
        match action {
            Some(Action::HandOver { connection: which, to }) => {
                assert_eq!(which, connection);
                assert!(tries < MAX_TRIES, "tried for ever");
                match bound {
                    Some(bound) => assert_eq!(to, bound, "affinity of {home:?}"),
                    None => {
                        assert_eq!(self.workers.get(&to), Some(&false), "a new session for one that is not ready");
                        let load = |id| (self.full.contains(&id) && self.held(id) > 0, self.held(id));
                        let least = self.ready().map(load).min();
                        assert_eq!(Some(load(to)), least, "not the least loaded");
                    }
                }
                self.set(connection, At::With { worker: to, acknowledged: false, tries: tries + 1 });
            }
            Some(Action::Refuse { connection: which, refusal }) => {
                assert_eq!((which, refusal), (connection, Refusal::NoWorker));
                let full = self.waiting() >= MAX_WAITING;
                assert!(
                    tries >= MAX_TRIES || bound.is_none() && !ready && (self.stopped || full),
                    "refused for no reason"
                );
                self.gone(connection);
                self.refused += 1;
            }
            None => {
                assert!(tries < MAX_TRIES, "tried for ever");
                assert!(
                    bound.is_none() && !ready && !self.stopped && self.waiting() < MAX_WAITING,
                    "waits for no reason"
                );
                self.set(connection, At::Waiting { until: self.now + WAIT, tries });
            }
        }
    }

    fn step(&mut self) {
        match self.rng.u8(..100) {
            0..5 => {
                let slot = self.rng.u16(0..4);
                self.generations[usize::from(slot)] += 1;
                let id = WorkerId { slot: Slot(slot), generation: Generation(self.generations[usize::from(slot)]) };
                self.workers.insert(id, false);
                self.router.add_worker(id);
                let waiting: Vec<_> = self
                    .connections
                    .iter()
                    .filter(|(_, (_, at))| matches!(at, At::Waiting { .. }))
                    .map(|(id, _)| *id)
                    .collect();
                for _ in &waiting {
                    let Some(Action::HandOver { connection, to }) = self.router.poll_action() else {
                        panic!("left waiting")
                    };
                    assert!(waiting.contains(&connection));
                    assert_eq!(to, id, "the only one that is ready");
                    let At::Waiting { tries, .. } = self.connections[&connection].1 else { panic!("it did not wait") };
                    self.set(connection, At::With { worker: to, acknowledged: false, tries: tries + 1 });
                }
            }
            5..9 => {
                if let Some(id) = self.any_worker() {
                    self.workers.insert(id, true);
                    self.router.drain_worker(id);
                }
            }
            9..14 => {
                if let Some(id) = self.any_worker() {
                    self.remove(id);
                }
            }
            14..40 => {
                let address = [10, 0, 0, self.rng.u8(7..10)];
                let peer = if self.rng.u8(..4) == 0 { PeerAddress::Unix } else { PeerAddress::Ip(address.into(), 1) };
                let same = self.connections.values().filter(|(other, _)| *other == peer).count();
                let counted = peer != PeerAddress::Unix && address[3] != 9;
                let expected = match () {
                    () if self.connections.len() >= MAX_CONNECTIONS => Err(Refusal::Limit),
                    () if counted && same >= MAX_PER_ADDRESS => Err(Refusal::AddressLimit),
                    () => Ok(()),
                };
                let opened = self.router.open(peer);
                assert_eq!(opened.map(|_| ()), expected);
                self.opened += 1;
                match opened {
                    Ok(id) => assert_eq!(self.connections.insert(id, (peer, At::Head)), None),
                    Err(_) => self.refused += 1,
                }
            }
            40..65 => {
                if let Some((id, _)) = self.any_connection(|at| at == At::Head) {
                    let home = self.any_home();
                    self.place(id, home);
                }
            }
            65..68 => {
                if let Some((id, _)) = self.any_connection(|at| at == At::Head) {
                    let refusal = self.rng.bool().then_some(Refusal::HeadTimeout);
                    self.router.end(id, refusal);
                    self.gone(id);
                    match refusal {
                        Some(_) => self.refused += 1,
                        None => self.ended += 1,
                    }
                }
            }
            68..80 => {
                if let Some((id, At::With { worker, tries, .. })) =
                    self.any_connection(|at| matches!(at, At::With { .. }))
                {
                    assert!(self.router.acknowledge(worker, id));
                    if let At::With { acknowledged: false, .. } = self.connections[&id].1 {
                        self.full.remove(&worker);
                    }
                    self.set(id, At::With { worker, acknowledged: true, tries });
                }
            }
            80..90 => {
                if let Some((id, At::With { worker, acknowledged, tries })) =
                    self.any_connection(|at| matches!(at, At::With { .. }))
                {
                    assert_eq!(self.router.close(worker, id), acknowledged);
                    assert!(!self.router.close(worker, id), "closed twice");
                    if acknowledged {
                        self.full.remove(&worker);
                        self.gone(id);
                        self.ended += 1;
                    } else {
                        self.could_not_take(worker, id, tries);
                    }
                }
            }
            90..94 => {
                let with = self.any_connection(|at| matches!(at, At::With { acknowledged: true, .. }));
                if let (Some((id, At::With { worker, .. })), Some(to)) = (with, self.any_home()) {
                    let peer = self.connections[&id].0;
                    assert_eq!(self.router.take_for_move(worker, id), Some(peer));
                    self.full.remove(&worker);
                    self.set(id, At::Head);
                    self.place(id, Some(to));
                }
            }
            94..97 => {
                // Words about connections that are not, or no longer, the speaker's.
                let id = ConnectionId(self.rng.u64(0..self.opened + 5));
                let liar = WorkerId { slot: Slot(9), generation: Generation(1) };
                assert!(!self.router.acknowledge(liar, id));
                assert!(!self.router.close(liar, id));
                assert_eq!(self.router.take_for_move(liar, id), None);
            }
            97 if self.rng.u8(..50) == 0 => {
                self.stopped = true;
                self.router.stop();
                self.refuse_waiting(|_| true);
            }
            _ => {
                self.now += Duration::from_millis(self.rng.u64(0..3000));
                let now = self.now;
                self.router.expire(now);
                self.refuse_waiting(|until| until <= now);
            }
        }
        self.check();
    }

    fn place(&mut self, connection: ConnectionId, home: Option<SidHome>) {
        match home {
            Some(_) => self.homed.insert(connection),
            None => self.homed.remove(&connection),
        };
        self.router.place(connection, home, self.now);
        let action = self.router.poll_action();
        self.settle(connection, home, 0, action);
    }

    /// A worker had no descriptor for a connection: one that has gets it, unless it is for a session.
    fn could_not_take(&mut self, worker: WorkerId, connection: ConnectionId, tries: u8) {
        self.full.insert(worker);
        self.set(connection, At::Head);
        let with_room = self.ready().filter(|id| !self.full.contains(id)).map(|id| self.held(id)).min();
        let elsewhere = with_room.filter(|_| !self.homed.contains(&connection) && tries < MAX_TRIES);
        match (self.router.poll_action(), elsewhere) {
            (Some(Action::HandOver { connection: which, to }), Some(least)) => {
                assert_eq!((which, self.held(to)), (connection, least));
                assert!(self.workers.get(&to) == Some(&false) && !self.full.contains(&to));
                self.set(connection, At::With { worker: to, acknowledged: false, tries: tries + 1 });
            }
            (Some(Action::Refuse { connection: which, refusal: Refusal::OutOfDescriptors }), None) => {
                assert_eq!(which, connection);
                self.gone(connection);
                self.refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }

    fn ready(&self) -> impl Iterator<Item = WorkerId> {
        self.workers.iter().filter(|(_, draining)| !**draining).map(|(&id, _)| id)
    }

    fn remove(&mut self, id: WorkerId) {
        self.workers.remove(&id);
        self.full.remove(&id);
        let mut orphans = Vec::new();
        self.connections.retain(|connection, (_, at)| match *at {
            At::With { worker, acknowledged: true, .. } if worker == id => {
                self.ended += 1;
                false
            }
            At::With { worker, tries, .. } if worker == id => {
                orphans.push((*connection, tries));
                true
            }
            _ => true,
        });
        self.router.remove_worker(id, self.now);
        for &(connection, _) in &orphans {
            self.set(connection, At::Head);
        }
        let mut actions = BTreeMap::new();
        while let Some(action) = self.router.poll_action() {
            let (Action::HandOver { connection, .. } | Action::Refuse { connection, .. }) = action;
            assert_eq!(actions.insert(connection, action), None, "decided twice");
        }
        for (connection, tries) in orphans {
            // Of those that wait nothing is heard.
            self.settle(connection, None, tries, actions.remove(&connection));
        }
        assert!(actions.is_empty(), "decided about others: {actions:?}");
    }

    fn refuse_waiting(&mut self, ends: impl Fn(Instant) -> bool) {
        let expected: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, (_, at))| matches!(at, At::Waiting { until, .. } if ends(*until)))
            .map(|(id, _)| *id)
            .collect();
        for _ in &expected {
            let Some(Action::Refuse { connection, .. }) = self.router.poll_action() else { panic!("left waiting") };
            assert!(expected.contains(&connection));
            self.gone(connection);
            self.refused += 1;
        }
    }

    fn set(&mut self, connection: ConnectionId, at: At) {
        self.connections.get_mut(&connection).expect("a connection of the model").1 = at;
    }

    fn gone(&mut self, connection: ConnectionId) {
        assert!(self.connections.remove(&connection).is_some());
    }

    fn held(&self, id: WorkerId) -> usize {
        self.connections.values().filter(|(_, at)| matches!(at, At::With { worker, .. } if *worker == id)).count()
    }

    fn waiting(&self) -> usize {
        self.connections.values().filter(|(_, at)| matches!(at, At::Waiting { .. })).count()
    }

    fn check(&mut self) {
        assert_eq!(self.router.poll_action(), None, "an action that nothing called for");
        assert_eq!(self.router.open_connections(), self.connections.len());
        assert_eq!(self.router.waiting_for_worker(), self.waiting());
        for &id in self.workers.keys() {
            assert_eq!(self.router.live(id), self.held(id), "live connections of {id}");
        }
        let first = self.connections.values().filter_map(|(_, at)| match at {
            At::Waiting { until, .. } => Some(*until),
            _ => None,
        });
        assert_eq!(self.router.poll_timeout(), first.min());
        let figures = self.router.figures();
        assert_eq!(figures.refused.iter().sum::<u64>(), self.refused);
        assert_eq!(figures.accepted, self.refused + self.ended + self.connections.len() as u64, "none is lost");
    }
}

#[test]
fn every_connection_is_with_one_living_worker_or_waits_or_was_refused() {
    let given = std::env::var("ROOMD_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = given.map_or_else(|| (0..30).map(|_| fastrand::u64(..)).collect(), |seed| vec![seed]);
    for seed in seeds {
        println!("ROOMD_SEED={seed}");
        let mut world = World::new(seed);
        (0..2000).for_each(|_| world.step());
    }
}
