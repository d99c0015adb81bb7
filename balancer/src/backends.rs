//! Which workers there are, what each holds, and which one a connection goes to. No I/O.

use std::collections::HashMap;

use roomd_wire::{ConnectionId, SidHome, WorkerId};
use rustc_hash::FxBuildHasher;

/// The workers that take connections, and the connections they hold.
#[derive(Debug)]
pub struct Backends {
    host: u16,
    backends: Vec<Backend>,
    assigned: HashMap<ConnectionId, Assigned, FxBuildHasher>,
    /// Where the search for the least loaded begins, so that ties are spread.
    turn: usize,
}

#[derive(Debug)]
struct Backend {
    id: WorkerId,
    draining: bool,
    live: usize,
}

#[derive(Debug, Clone, Copy)]
struct Assigned {
    to: WorkerId,
    acknowledged: bool,
}

impl Backends {
    /// No workers yet. `host` is this host's part of a session id: ids of other hosts name no worker here.
    pub fn new(host: u16) -> Self {
        Backends { host, backends: Vec::new(), assigned: HashMap::default(), turn: 0 }
    }

    /// A worker is ready.
    pub fn add(&mut self, id: WorkerId) {
        if self.find(id).is_none() {
            self.backends.push(Backend { id, draining: false, live: 0 });
        }
    }

    /// A worker gets no new sessions any more; requests of its sessions still go there.
    pub fn drain(&mut self, id: WorkerId) {
        if let Some(backend) = self.backends.iter_mut().find(|backend| backend.id == id) {
            backend.draining = true;
        }
    }

    /// A worker is gone. Returns the connections that it never acknowledged, which live, and those it took with it.
    pub fn remove(&mut self, id: WorkerId) -> Removed {
        self.backends.retain(|backend| backend.id != id);
        let mut removed = Removed::default();
        self.assigned.retain(|&connection, assigned| {
            if assigned.to != id {
                return true;
            }
            match assigned.acknowledged {
                true => removed.ended.push(connection),
                false => removed.unacknowledged.push(connection),
            }
            false
        });
        // In the order they came: the longest waiting first.
        removed.unacknowledged.sort_unstable();
        self.check_invariants();
        removed
    }

    /// The worker for a connection: the one that its session was born in while that lives, else the present one of that
    /// slot, else the one with the fewest live connections. `None` when no worker takes new sessions.
    pub fn choose(&mut self, home: Option<SidHome>) -> Option<WorkerId> {
        let home = home.filter(|home| home.host == self.host).map(|home| home.worker);
        home.and_then(|home| self.home(home)).or_else(|| self.least_loaded())
    }

    fn home(&self, home: WorkerId) -> Option<WorkerId> {
        let of_birth = self.find(home);
        let present = || self.backends.iter().filter(|b| b.id.slot == home.slot && !b.draining).max_by_key(|b| b.id);
        of_birth.or_else(present).map(|backend| backend.id)
    }

    fn least_loaded(&mut self) -> Option<WorkerId> {
        self.turn = self.turn.wrapping_add(1);
        let count = self.backends.len();
        let in_turn = (0..count).map(|step| &self.backends[(self.turn.wrapping_add(step)) % count]);
        in_turn.filter(|backend| !backend.draining).min_by_key(|backend| backend.live).map(|backend| backend.id)
    }

    /// Counts a connection to a worker from now on, and no longer to the one that had it before.
    pub fn assign(&mut self, connection: ConnectionId, to: WorkerId) {
        self.forget(connection);
        if let Some(backend) = self.backends.iter_mut().find(|backend| backend.id == to) {
            backend.live += 1;
            self.assigned.insert(connection, Assigned { to, acknowledged: false });
        }
        self.check_invariants();
    }

    /// A worker has taken a connection over. False if it was not (any more) that worker's.
    pub fn acknowledge(&mut self, connection: ConnectionId, by: WorkerId) -> bool {
        match self.assigned.get_mut(&connection) {
            Some(assigned) if assigned.to == by => {
                assigned.acknowledged = true;
                true
            }
            _ => false,
        }
    }

    /// A worker's connection has ended. False if it was not (any more) that worker's.
    pub fn close(&mut self, connection: ConnectionId, by: WorkerId) -> bool {
        let was = self.assigned.get(&connection).is_some_and(|assigned| assigned.to == by);
        if was {
            self.forget(connection);
        }
        was
    }

    fn forget(&mut self, connection: ConnectionId) {
        let Some(assigned) = self.assigned.remove(&connection) else { return };
        if let Some(backend) = self.backends.iter_mut().find(|backend| backend.id == assigned.to) {
            backend.live -= 1;
        }
    }

    /// Live connections of a worker.
    pub fn live(&self, id: WorkerId) -> usize {
        self.find(id).map_or(0, |backend| backend.live)
    }

    /// Whether the worker lives, draining or not.
    pub fn lives(&self, id: WorkerId) -> bool {
        self.find(id).is_some()
    }

    /// Whether any worker takes new sessions.
    pub fn any_ready(&self) -> bool {
        self.backends.iter().any(|backend| !backend.draining)
    }

    fn find(&self, id: WorkerId) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.id == id)
    }

    /// Every assigned connection is counted once, with a worker that lives. Too slow for large numbers, so only small ones are
    /// checked, and only in debug builds.
    fn check_invariants(&self) {
        if cfg!(debug_assertions) && self.assigned.len() < 64 {
            for backend in &self.backends {
                let held = self.assigned.values().filter(|assigned| assigned.to == backend.id).count();
                debug_assert_eq!(held, backend.live, "live connections of {}", backend.id);
            }
            debug_assert!(
                self.assigned.values().all(|assigned| self.lives(assigned.to)),
                "a connection of a dead worker"
            );
        }
    }
}

/// What a dead worker leaves behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Connections that it never acknowledged: they go to another worker.
    pub unacknowledged: Vec<ConnectionId>,
    /// Connections that ended with it.
    pub ended: Vec<ConnectionId>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use roomd_wire::{Generation, Slot};

    fn worker(slot: u16, generation: u32) -> WorkerId {
        WorkerId { slot: Slot(slot), generation: Generation(generation) }
    }

    fn home(slot: u16, generation: u32) -> Option<SidHome> {
        Some(SidHome { host: 1, worker: worker(slot, generation) })
    }

    #[test]
    fn new_sessions_go_where_the_fewest_connections_are() {
        let mut backends = Backends::new(1);
        (0..4).for_each(|slot| backends.add(worker(slot, 1)));
        for id in 0..400 {
            let to = backends.choose(None).unwrap();
            backends.assign(ConnectionId(id), to);
        }
        assert!((0..4).all(|slot| backends.live(worker(slot, 1)) == 100));
    }

    #[test]
    fn a_tie_is_not_always_won_by_the_same() {
        let mut backends = Backends::new(1);
        (0..4).for_each(|slot| backends.add(worker(slot, 1)));
        let chosen: std::collections::HashSet<_> = (0..8).map(|_| backends.choose(None).unwrap()).collect();
        assert_eq!(chosen.len(), 4);
    }

    #[test]
    fn a_session_goes_home_while_its_worker_lives_then_to_its_slot_then_anywhere() {
        let mut backends = Backends::new(1);
        backends.add(worker(0, 1));
        backends.add(worker(1, 1));
        backends.add(worker(1, 2));
        backends.drain(worker(1, 1));
        assert_eq!(backends.choose(home(1, 1)), Some(worker(1, 1)));
        backends.remove(worker(1, 1));
        assert_eq!(backends.choose(home(1, 1)), Some(worker(1, 2)));
        backends.remove(worker(1, 2));
        assert_eq!(backends.choose(home(1, 1)), Some(worker(0, 1)));
        let elsewhere = SidHome { host: 2, worker: worker(7, 7) };
        assert_eq!(backends.choose(Some(elsewhere)), Some(worker(0, 1)));
    }

    #[test]
    fn a_draining_backend_gets_no_new_sessions() {
        let mut backends = Backends::new(1);
        backends.add(worker(0, 1));
        backends.drain(worker(0, 1));
        assert_eq!(backends.choose(None), None);
        assert_eq!(backends.choose(home(3, 1)), None);
        assert_eq!(backends.choose(home(0, 1)), Some(worker(0, 1)));
        assert!(!backends.any_ready());
    }

    #[test]
    fn a_late_word_of_a_former_owner_changes_nothing() {
        let mut backends = Backends::new(1);
        backends.add(worker(0, 1));
        backends.add(worker(1, 1));
        backends.assign(ConnectionId(5), worker(0, 1));
        assert_eq!(backends.remove(worker(0, 1)).unacknowledged, [ConnectionId(5)]);
        backends.assign(ConnectionId(5), worker(1, 1));
        assert!(!backends.acknowledge(ConnectionId(5), worker(0, 1)));
        assert!(!backends.close(ConnectionId(5), worker(0, 1)));
        assert_eq!(backends.live(worker(1, 1)), 1);
    }

    /// Random workers, connections, acknowledgements, ends and deaths against a plain model.
    #[test]
    fn every_connection_is_with_exactly_one_living_worker() {
        let seed =
            std::env::var("ROOMD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
        println!("ROOMD_SEED={seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut backends = Backends::new(1);
        let mut model: HashMap<ConnectionId, (WorkerId, bool)> = HashMap::new();
        let mut living: Vec<(WorkerId, bool)> = Vec::new();
        let (mut next, mut generation) = (0, 0);
        for step in 0..50_000 {
            let any = |rng: &mut fastrand::Rng, model: &HashMap<ConnectionId, (WorkerId, bool)>| {
                let mut ids: Vec<_> = model.keys().copied().collect();
                ids.sort_unstable();
                (!ids.is_empty()).then(|| ids[rng.usize(..ids.len())])
            };
            match rng.u8(..100) {
                0..8 if living.len() < 6 => {
                    generation += 1;
                    let id = worker(rng.u16(..4), generation);
                    backends.add(id);
                    living.push((id, false));
                }
                8..12 if !living.is_empty() => {
                    let at = rng.usize(..living.len());
                    living[at].1 = true;
                    backends.drain(living[at].0);
                }
                12..17 if !living.is_empty() => {
                    let (id, _) = living.swap_remove(rng.usize(..living.len()));
                    let removed = backends.remove(id);
                    let mut expected: Vec<_> =
                        model.iter().filter(|(_, held)| held.0 == id && !held.1).map(|(id, _)| *id).collect();
                    expected.sort_unstable();
                    assert_eq!(removed.unacknowledged, expected, "step {step}");
                    model.retain(|_, held| held.0 != id);
                    for connection in removed.unacknowledged {
                        if let Some(to) = backends.choose(None) {
                            backends.assign(connection, to);
                            model.insert(connection, (to, false));
                        }
                    }
                }
                17..60 => {
                    let home = living.first().filter(|_| rng.bool()).map(|&(id, _)| id);
                    let chosen = backends.choose(home.map(|worker| SidHome { host: 1, worker }));
                    match home {
                        Some(home) => assert_eq!(chosen, Some(home), "step {step}"),
                        None => {
                            assert_eq!(chosen.is_some(), living.iter().any(|(_, draining)| !draining), "step {step}")
                        }
                    }
                    if let Some(to) = chosen {
                        next += 1;
                        backends.assign(ConnectionId(next), to);
                        model.insert(ConnectionId(next), (to, false));
                    }
                }
                60..80 => {
                    if let Some(connection) = any(&mut rng, &model) {
                        let held = model.get_mut(&connection).unwrap();
                        held.1 = true;
                        assert!(backends.acknowledge(connection, held.0), "step {step}");
                    }
                }
                _ => {
                    if let Some(connection) = any(&mut rng, &model) {
                        let (owner, _) = model.remove(&connection).unwrap();
                        assert!(backends.close(connection, owner), "step {step}");
                    }
                }
            }
            for &(id, _) in &living {
                assert_eq!(backends.live(id), model.values().filter(|held| held.0 == id).count(), "step {step}");
            }
        }
    }
}
