//! What another supervisor had, and goes on here.

use std::time::Instant;

use roomd_wire::{ConnectionId, PeerAddress, WorkerId};

use super::{Connection, Place, Router};

/// A connection of the supervisor that was before, which no worker had acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carried {
    /// It was given to no worker; where its session lives, as far as that is known.
    Unplaced,
    /// It was sent to this worker.
    SentTo(WorkerId),
}

impl Router {
    /// Connections from now on are numbered from here. Those that there are keep their numbers: none may be given twice.
    pub fn number_from(&mut self, first: u64) {
        self.next_id = self.next_id.max(first);
    }

    /// A worker lives that another supervisor has started; what it holds it is yet to tell ([`Router::adopt`]). It gets requests
    /// of its sessions; new ones after [`Router::add_worker`].
    pub fn rejoin_worker(&mut self, id: WorkerId) {
        self.backends.rejoin(id);
    }

    /// Whether a worker has not told yet what it holds.
    pub fn is_joining(&self, id: WorkerId) -> bool {
        self.backends.is_joining(id)
    }

    /// A worker tells what it holds.
    pub fn adopt(&mut self, worker: WorkerId, connections: &[(ConnectionId, PeerAddress)]) {
        for &(connection, peer) in connections {
            if self.connections.contains_key(&connection) {
                self.acknowledge(worker, connection);
                continue;
            }
            self.limits.count_in(peer);
            let place = Place::Assigned { to: worker, acknowledged: true };
            self.connections.insert(connection, Connection { peer, tries: 1, has_home: false, place });
            self.backends.assign(worker);
            self.backends.acknowledge(worker);
        }
        self.check_invariants();
    }

    /// A connection that no worker had acknowledged goes on here. One that is unplaced is as if just accepted.
    pub fn carry(&mut self, connection: ConnectionId, peer: PeerAddress, carried: Carried) {
        if self.connections.contains_key(&connection) {
            return;
        }
        self.limits.count_in(peer);
        let place = match carried {
            Carried::SentTo(to) if self.backends.ids().any(|id| id == to) => {
                self.backends.assign(to);
                Place::Assigned { to, acknowledged: false }
            }
            Carried::SentTo(_) | Carried::Unplaced => {
                self.figures.waiting_for_head += 1;
                Place::HeadNotSeen
            }
        };
        self.connections.insert(connection, Connection { peer, tries: 1, has_home: false, place });
        self.check_invariants();
    }

    /// Whether a connection was given to a worker that has not acknowledged it.
    pub fn sent_to(&self, connection: ConnectionId) -> Option<WorkerId> {
        match self.connections.get(&connection)?.place {
            Place::Assigned { to, acknowledged: false } => Some(to),
            _ => None,
        }
    }

    /// Where a connection that waits for a worker belongs.
    pub fn home_of_waiting(&self, connection: ConnectionId) -> Option<WorkerId> {
        let waiting = self.waiting.iter().find(|waiting| waiting.connection == connection)?;
        Some(waiting.home?.worker)
    }

    /// A worker that has not told yet what it holds gives a connection away, which so is none of those that it will tell: it is
    /// counted, under a number of its own.
    pub fn carry_moved(&mut self, peer: PeerAddress) -> ConnectionId {
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        self.figures.moved += 1;
        self.carry(id, peer, Carried::Unplaced);
        id
    }

    /// As [`Router::place`], or [`Router::place_at`] where it belongs to a worker.
    pub fn place_carried(&mut self, connection: ConnectionId, home: Option<WorkerId>, now: Instant) {
        match home {
            Some(worker) => self.place_at(connection, worker, now),
            None => self.place(connection, None, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use roomd_wire::{Generation, Slot};

    use super::*;
    use crate::{limits::Limits, router::Action};

    const PEER: PeerAddress = PeerAddress::Unix;

    fn worker(slot: u16) -> WorkerId {
        WorkerId { slot: Slot(slot), generation: Generation(1) }
    }

    fn router() -> Router {
        Router::new(Limits::new(100, 2, vec![]), 0, Duration::from_secs(1), 10)
    }

    fn actions(router: &mut Router) -> Vec<Action> {
        std::iter::from_fn(|| router.poll_action()).collect()
    }

    #[test]
    fn what_a_worker_holds_counts_as_before_and_ends_as_ever() {
        let mut router = router();
        let peer = |host| PeerAddress::Ip([10, 0, 0, host].into(), 1);
        router.number_from(1 << 40);
        router.rejoin_worker(worker(0));
        assert!(router.is_joining(worker(0)));
        router.adopt(worker(0), &[(ConnectionId(1), peer(1)), (ConnectionId(2), peer(1)), (ConnectionId(9), peer(1))]);
        assert_eq!((router.live(worker(0)), router.open_connections()), (3, 3));
        // One address has more than it may have by now, and gets no more.
        assert!(router.open(peer(1)).is_err());
        assert_eq!(router.open(peer(2)), Ok(ConnectionId(1 << 40)));
        for id in [1, 2, 9] {
            assert!(router.close(worker(0), ConnectionId(id)));
        }
        assert!(router.open(peer(1)).is_ok());
        assert_eq!(router.live(worker(0)), 0);
    }

    #[test]
    fn new_sessions_wait_until_a_worker_has_told_what_it_holds() {
        let (mut router, now) = (router(), Instant::now());
        router.rejoin_worker(worker(0));
        let new = router.open(PEER).unwrap_or(ConnectionId(0));
        router.place(new, None, now);
        let old = router.open(PEER).unwrap_or(ConnectionId(0));
        router.place_at(old, worker(0), now);
        assert_eq!(actions(&mut router), [Action::HandOver { connection: old, to: worker(0) }], "of its own session");
        assert_eq!(router.home_of_waiting(new), None);
        router.add_worker(worker(0));
        assert_eq!(actions(&mut router), [Action::HandOver { connection: new, to: worker(0) }]);
        assert!(!router.is_joining(worker(0)));
    }

    #[test]
    fn what_was_sent_and_not_acknowledged_is_neither_lost_nor_counted_twice() {
        let (mut router, now) = (router(), Instant::now());
        router.rejoin_worker(worker(0));
        for id in 1..4 {
            router.carry(ConnectionId(id), PEER, Carried::SentTo(worker(0)));
        }
        router.carry(ConnectionId(4), PEER, Carried::SentTo(worker(7)));
        router.carry(ConnectionId(5), PEER, Carried::Unplaced);
        assert_eq!(router.sent_to(ConnectionId(1)), Some(worker(0)));
        assert_eq!(router.sent_to(ConnectionId(4)), None, "that worker is gone: it is placed anew");
        assert!(router.acknowledge(worker(0), ConnectionId(1)));
        router.adopt(worker(0), &[(ConnectionId(1), PEER), (ConnectionId(2), PEER)]);
        assert_eq!((router.live(worker(0)), router.open_connections()), (3, 5));
        // The worker could not take it: another one is to be found.
        assert!(!router.close(worker(0), ConnectionId(3)));
        assert_eq!(router.live(worker(0)), 2);
        // The worker dies: what it had acknowledged ends, what it had not does not.
        router.carry(ConnectionId(6), PEER, Carried::SentTo(worker(0)));
        router.remove_worker(worker(0), now);
        router.add_worker(worker(1));
        for id in [4, 5] {
            router.place_carried(ConnectionId(id), None, now);
        }
        assert_eq!(router.live(worker(1)), 3);
    }
}
