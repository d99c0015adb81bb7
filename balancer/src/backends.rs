//! Which workers there are, how many connections each holds, and which one a connection goes to. No I/O.

use roomd_wire::{SidHome, WorkerId};

/// A worker that has left so many connections unacknowledged gets no new session while another has fewer: it hangs, most
/// likely, and until that is certain (its heartbeat has to run out first) its clients would only wait.
const STALLED: usize = 128;

/// The workers that take connections.
#[derive(Debug)]
pub struct Backends {
    host: u16,
    backends: Vec<Backend>,
    /// Where the search for the least loaded begins, so that ties are spread.
    turn: usize,
}

#[derive(Debug)]
struct Backend {
    id: WorkerId,
    draining: bool,
    /// Connections assigned to it that have not ended.
    live: usize,
    /// Those of them that it has not acknowledged yet.
    unacknowledged: usize,
    /// It was taken over from another supervisor, and has not told yet what it holds.
    joining: bool,
    /// It could not take the last one, having no descriptor left for it, and none of its others has ended since.
    full: bool,
}

impl Backends {
    /// No workers yet. `host` is this host's part of a session id: ids of other hosts name no worker here.
    pub fn new(host: u16) -> Self {
        Backends { host, backends: Vec::new(), turn: 0 }
    }

    /// A worker is ready.
    pub fn add(&mut self, id: WorkerId) {
        match self.find_mut(id) {
            Some(known) => known.joining = false,
            None => self.push(id, false),
        }
    }

    /// A worker lives that has not told yet what it holds: it gets what its sessions ask, and new sessions once it is added.
    pub fn rejoin(&mut self, id: WorkerId) {
        if self.find(id).is_none() {
            self.push(id, true);
        }
    }

    /// Whether a worker has not told yet what it holds.
    pub fn is_joining(&self, id: WorkerId) -> bool {
        self.find(id).is_some_and(|backend| backend.joining)
    }

    fn push(&mut self, id: WorkerId, joining: bool) {
        self.backends.push(Backend { id, draining: false, live: 0, unacknowledged: 0, joining, full: false });
    }

    /// A worker gets no new sessions any more; requests of its sessions still go there.
    pub fn drain(&mut self, id: WorkerId) {
        if let Some(backend) = self.find_mut(id) {
            backend.draining = true;
        }
    }

    /// A worker is gone, and its count with it.
    pub fn remove(&mut self, id: WorkerId) {
        self.backends.retain(|backend| backend.id != id);
    }

    /// The worker for a connection: the one that its session was born in while that lives, else the present one of that
    /// slot, else the one with the fewest live connections. `None` when no worker takes new sessions.
    pub fn choose(&mut self, home: Option<SidHome>) -> Option<WorkerId> {
        let home = home.filter(|home| home.host == self.host).map(|home| home.worker);
        // A full one is better than none: it may have room again. One without connections cannot tell by the end of one.
        let order = |backend: &Backend| Some(backend.full && backend.live > 0);
        home.and_then(|home| self.at_home(home)).or_else(|| self.least_loaded(order))
    }

    /// The worker for a connection that another one could not take.
    pub fn choose_with_room(&mut self) -> Option<WorkerId> {
        self.least_loaded(|backend| (!backend.full).then_some(false))
    }

    fn at_home(&self, home: WorkerId) -> Option<WorkerId> {
        let of_birth = self.find(home);
        let present = || self.backends.iter().filter(|b| b.id.slot == home.slot && !b.draining).max_by_key(|b| b.id);
        of_birth.or_else(present).map(|backend| backend.id)
    }

    /// The one with the fewest connections among those that `order` puts first; `None` leaves one out.
    fn least_loaded(&mut self, order: impl Fn(&Backend) -> Option<bool>) -> Option<WorkerId> {
        self.turn = self.turn.wrapping_add(1);
        let count = self.backends.len();
        let in_turn = (0..count).map(|step| &self.backends[self.turn.wrapping_add(step) % count]);
        let takes_new = in_turn.filter(|backend| !backend.draining && !backend.joining);
        let ordered = takes_new.filter_map(|backend| Some((order(backend)?, backend)));
        ordered.min_by_key(|(order, b)| (*order, b.unacknowledged >= STALLED, b.live)).map(|(_, backend)| backend.id)
    }

    /// The home that sessions of a worker of this host name.
    pub fn home_of(&self, worker: WorkerId) -> SidHome {
        SidHome { host: self.host, worker }
    }

    /// One more connection has been assigned to the worker.
    pub fn assign(&mut self, id: WorkerId) {
        if let Some(backend) = self.find_mut(id) {
            backend.live += 1;
            backend.unacknowledged += 1;
        }
    }

    /// The worker has acknowledged one.
    pub fn acknowledge(&mut self, id: WorkerId) {
        if let Some(backend) = self.find_mut(id) {
            backend.unacknowledged = backend.unacknowledged.saturating_sub(1);
            backend.full = false;
        }
    }

    /// The worker could not take one, having no descriptor left for it: others come first until it has.
    pub fn refuse(&mut self, id: WorkerId) {
        self.release(id, false);
        if let Some(backend) = self.find_mut(id) {
            backend.full = true;
        }
    }

    /// One of the worker's connections, acknowledged or not, is its no longer.
    pub fn release(&mut self, id: WorkerId, acknowledged: bool) {
        if let Some(backend) = self.find_mut(id) {
            backend.live = backend.live.saturating_sub(1);
            backend.unacknowledged = backend.unacknowledged.saturating_sub(usize::from(!acknowledged));
            backend.full &= !acknowledged;
        }
    }

    /// Live connections of a worker.
    pub fn live(&self, id: WorkerId) -> usize {
        self.find(id).map_or(0, |backend| backend.live)
    }

    /// Connections that a worker has not acknowledged yet.
    pub fn unacknowledged(&self, id: WorkerId) -> usize {
        self.find(id).map_or(0, |backend| backend.unacknowledged)
    }

    /// All workers that live, draining or not.
    pub fn ids(&self) -> impl Iterator<Item = WorkerId> {
        self.backends.iter().map(|backend| backend.id)
    }

    fn find(&self, id: WorkerId) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.id == id)
    }

    fn find_mut(&mut self, id: WorkerId) -> Option<&mut Backend> {
        self.backends.iter_mut().find(|backend| backend.id == id)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roomd_wire::{Generation, Slot};

    use super::*;

    fn worker(slot: u16, generation: u32) -> WorkerId {
        WorkerId { slot: Slot(slot), generation: Generation(generation) }
    }

    fn home(slot: u16, generation: u32) -> Option<SidHome> {
        Some(SidHome { host: 1, worker: worker(slot, generation) })
    }

    fn workers(count: u16) -> Backends {
        let mut backends = Backends::new(1);
        (0..count).for_each(|slot| backends.add(worker(slot, 1)));
        backends
    }

    fn assign(backends: &mut Backends, count: usize) {
        for _ in 0..count {
            let to = backends.choose(None).unwrap();
            backends.assign(to);
            backends.acknowledge(to);
        }
    }

    #[test]
    fn new_sessions_go_where_the_fewest_connections_are() {
        let mut backends = workers(4);
        assign(&mut backends, 400);
        assert!((0..4).all(|slot| backends.live(worker(slot, 1)) == 100));
        (0..50).for_each(|_| backends.release(worker(2, 1), true));
        assign(&mut backends, 50);
        assert!((0..4).all(|slot| backends.live(worker(slot, 1)) == 100));
    }

    #[test]
    fn ties_are_spread_evenly() {
        let mut backends = workers(4);
        let mut chosen = [0; 4];
        (0..4000).for_each(|_| chosen[usize::from(backends.choose(None).unwrap().slot.0)] += 1);
        assert_eq!(chosen, [1000; 4]);
    }

    #[test]
    fn a_session_goes_home_while_its_worker_lives_then_to_its_slot_then_anywhere() {
        let mut backends = workers(2);
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
        let mut backends = workers(1);
        backends.drain(worker(0, 1));
        assert_eq!(backends.choose(None), None);
        assert_eq!(backends.choose(home(3, 1)), None);
        assert_eq!(backends.choose(home(0, 1)), Some(worker(0, 1)));
    }

    #[test]
    fn a_worker_that_has_no_room_comes_last_until_one_of_its_connections_ends() {
        let mut backends = workers(2);
        let (full, other) = (worker(0, 1), worker(1, 1));
        backends.assign(full);
        backends.acknowledge(full);
        backends.assign(full);
        backends.refuse(full);
        assign(&mut backends, 10);
        assert_eq!((backends.live(full), backends.live(other)), (1, 10));
        assert_eq!(backends.choose(home(0, 1)), Some(full), "its own sessions still go there");
        backends.drain(other);
        assert_eq!((backends.choose(None), backends.choose_with_room()), (Some(full), None));
        backends.release(full, true);
        assert_eq!(backends.choose_with_room(), Some(full));
        backends.refuse(full);
        backends.add(worker(2, 1));
        backends.assign(worker(2, 1));
        assert_eq!(backends.choose(None), Some(full), "nothing else could tell that it has room again");
    }

    #[test]
    fn a_worker_that_acknowledges_nothing_is_passed_over_while_another_does() {
        let mut backends = workers(2);
        let hung = worker(0, 1);
        (0..STALLED).for_each(|_| backends.assign(hung));
        for _ in 0..2 * STALLED {
            let to = backends.choose(None).unwrap();
            assert_ne!(to, hung);
            backends.assign(to);
            backends.acknowledge(to);
        }
        assert_eq!(backends.choose(home(0, 1)), Some(hung), "its own sessions still go there");
        backends.drain(worker(1, 1));
        assert_eq!(backends.choose(None), Some(hung), "better than nobody");
    }
}
