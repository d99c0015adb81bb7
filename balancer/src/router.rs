//! The life of every connection that was accepted, as decisions without I/O: what happens goes in with the time, what is to be
//! done comes out.
//!
//! ```text
//!            open                    place                        acknowledged
//!  (limits) ──────► head not seen ───────────► assigned to a worker ──────────► the worker's
//!                        │             │          ▲     │                           │
//!                 refuse │             ▼          │     │ the worker died           │ closed, moved,
//!                 or gone│          waiting ──────┘     ▼ or is full                ▼ the worker died
//!                        ▼             │  a worker    placed again, at most      ended
//!                      ended           ▼  is ready    MAX_TRIES times
//!                                    refused
//! ```
//!
//! At each moment a connection is in exactly one of these places, and counted there.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use roomd_wire::{ConnectionId, PeerAddress, SidHome, WorkerId};
use rustc_hash::FxBuildHasher;

use crate::{
    backends::Backends,
    limits::{LimitPassed, Limits},
    refusal::Refusal,
};

#[cfg(test)]
mod simulation;
mod takeover;
#[cfg(test)]
mod tests;

pub use takeover::Carried;

/// A connection that so many workers died with, each before it acknowledged, is given up.
pub const MAX_TRIES: u8 = 4;

/// Where each connection is, and what is to be done with it.
#[derive(Debug)]
pub struct Router {
    limits: Limits,
    backends: Backends,
    connections: HashMap<ConnectionId, Connection, FxBuildHasher>,
    /// In the order they came, which is the order in which their time ends.
    waiting: VecDeque<Waiting>,
    wait: Duration,
    max_waiting: usize,
    stopped: bool,
    next_id: u64,
    actions: VecDeque<Action>,
    figures: Figures,
}

/// What the shell has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send the connection to the worker, and keep a duplicate until it is acknowledged.
    HandOver {
        /// Which.
        connection: ConnectionId,
        /// To whom.
        to: WorkerId,
    },
    /// Answer it here, and close it. It is counted no more.
    Refuse {
        /// Which.
        connection: ConnectionId,
        /// Why.
        refusal: Refusal,
    },
}

/// What was counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Figures {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that a worker acknowledged.
    pub handed_over: u64,
    /// Connections taken back because the worker died before it acknowledged, or had no descriptor left.
    pub taken_back: u64,
    /// Connections moved from one worker to another.
    pub moved: u64,
    /// Connections whose head is not there yet, now.
    pub waiting_for_head: u64,
    /// Connections answered here, by the number of their [`Refusal`].
    pub refused: [u64; Refusal::ALL.len()],
}

#[derive(Debug)]
struct Connection {
    peer: PeerAddress,
    /// How many workers it was assigned to since it came (or was moved).
    tries: u8,
    /// It is for a session, which one worker has: no other would do.
    has_home: bool,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    HeadNotSeen,
    Waiting,
    Assigned { to: WorkerId, acknowledged: bool },
}

#[derive(Debug)]
struct Waiting {
    connection: ConnectionId,
    home: Option<SidHome>,
    until: Instant,
}

impl Router {
    /// No connections and no workers. A connection waits for a ready worker at most for `wait`, and at most `max_waiting` do.
    pub fn new(limits: Limits, host: u16, wait: Duration, max_waiting: usize) -> Self {
        Router {
            limits,
            backends: Backends::new(host),
            connections: HashMap::default(),
            waiting: VecDeque::new(),
            wait,
            max_waiting,
            stopped: false,
            next_id: 1,
            actions: VecDeque::new(),
            figures: Figures::default(),
        }
    }

    /// Other limits, under which the present connections count, and other waits: those that wait now do so no longer than anyone
    /// who comes after them.
    pub fn reconfigure(&mut self, mut limits: Limits, wait: Duration, max_waiting: usize, now: Instant) {
        self.connections.values().for_each(|connection| limits.count_in(connection.peer));
        self.limits = limits;
        (self.wait, self.max_waiting) = (wait, max_waiting);
        self.waiting.iter_mut().for_each(|waiting| waiting.until = waiting.until.min(now + wait));
    }

    /// A connection was accepted: from now on it counts. If it would pass a limit, it is to be refused by the caller and does
    /// not count.
    pub fn open(&mut self, peer: PeerAddress) -> Result<ConnectionId, Refusal> {
        self.figures.accepted += 1;
        if let Err(passed) = self.limits.open(peer) {
            let refusal = match passed {
                LimitPassed::InAll => Refusal::Limit,
                LimitPassed::PerAddress => Refusal::AddressLimit,
            };
            self.count_refusal(refusal);
            return Err(refusal);
        }
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        self.connections.insert(id, Connection { peer, tries: 0, has_home: false, place: Place::HeadNotSeen });
        self.figures.waiting_for_head += 1;
        Ok(id)
    }

    /// A connection has ended before its head was there: with the answer that the caller gives, or by itself.
    pub fn end(&mut self, connection: ConnectionId, refusal: Option<Refusal>) {
        if self.forget(connection)
            && let Some(refusal) = refusal
        {
            self.count_refusal(refusal);
        }
    }

    /// A connection's head is there; it belongs where `home` says.
    pub fn place(&mut self, connection: ConnectionId, home: Option<SidHome>, now: Instant) {
        if let Some(known) = self.connections.get_mut(&connection).filter(|known| known.place == Place::HeadNotSeen) {
            known.has_home = home.is_some();
            self.figures.waiting_for_head -= 1;
            self.assign(connection, home, now);
        }
        self.check_invariants();
    }

    /// As [`Router::place`] for a connection that belongs to a worker of this host.
    pub fn place_at(&mut self, connection: ConnectionId, worker: WorkerId, now: Instant) {
        self.place(connection, Some(self.backends.home_of(worker)), now);
    }

    /// The worker that a new session should go to now, for one that comes by another way than a connection.
    pub fn for_new_session(&mut self) -> Option<WorkerId> {
        self.backends.choose(None)
    }

    /// A worker is ready: those that wait need not any longer.
    pub fn add_worker(&mut self, id: WorkerId) {
        self.backends.add(id);
        // Once round, so that nothing is looked at twice even if none of them could be placed.
        for waiting in std::mem::take(&mut self.waiting) {
            match self.backends.choose(waiting.home) {
                Some(to) => self.assign_to(waiting.connection, to),
                None => self.waiting.push_back(waiting),
            }
        }
        self.check_invariants();
    }

    /// A worker gets no new sessions any more; requests of its sessions still go there.
    pub fn drain_worker(&mut self, id: WorkerId) {
        self.backends.drain(id);
    }

    /// A worker is gone, and all that it still said has been told: what it did not acknowledge goes to others, the rest has
    /// ended.
    pub fn remove_worker(&mut self, id: WorkerId, now: Instant) {
        self.backends.remove(id);
        let mut ended = Vec::new();
        let mut taken_back = Vec::new();
        for (&connection, known) in &self.connections {
            match known.place {
                Place::Assigned { to, acknowledged: true } if to == id => ended.push(connection),
                Place::Assigned { to, acknowledged: false } if to == id => taken_back.push((connection, known.tries)),
                _ => {}
            }
        }
        for connection in ended {
            self.forget(connection);
        }
        // In the order they came: the longest waiting first.
        taken_back.sort_unstable();
        self.figures.taken_back += taken_back.len() as u64;
        for (connection, tries) in taken_back {
            match tries < MAX_TRIES {
                // Its home, if it had one, was the worker that is gone.
                true => self.assign(connection, None, now),
                false => self.refuse(connection, Refusal::NoWorker),
            }
        }
        self.check_invariants();
    }

    /// A worker has taken a connection over: the duplicate may go. False if it was not (any more) that worker's.
    pub fn acknowledge(&mut self, by: WorkerId, connection: ConnectionId) -> bool {
        let Some(known) = self.connections.get_mut(&connection) else { return false };
        match known.place {
            Place::Assigned { to, acknowledged } if to == by => {
                known.place = Place::Assigned { to, acknowledged: true };
                if !acknowledged {
                    self.backends.acknowledge(by);
                    self.figures.handed_over += 1;
                }
                true
            }
            _ => false,
        }
    }

    /// A worker's connection has ended: its duplicate, if there still is one, may go. False if it was not (any more) that
    /// worker's, or if the duplicate is still needed: a worker that ends what it never acknowledged could not take it, because
    /// it has no descriptor left. Another one gets it, or else the client an answer.
    pub fn close(&mut self, by: WorkerId, connection: ConnectionId) -> bool {
        let Some(known) = self.connections.get(&connection) else { return false };
        let Place::Assigned { to, acknowledged } = known.place else { return false };
        if to != by {
            return false;
        }
        if acknowledged {
            self.forget(connection);
        } else {
            let elsewhere = !known.has_home && known.tries < MAX_TRIES;
            self.backends.refuse(by);
            match elsewhere.then(|| self.backends.choose_with_room()).flatten() {
                Some(to) => {
                    self.figures.taken_back += 1;
                    self.assign_to(connection, to);
                }
                None => self.refuse(connection, Refusal::OutOfDescriptors),
            }
        }
        self.check_invariants();
        acknowledged
    }

    /// A worker gives a connection to another one; where it goes is for [`Router::place`] to say, which follows. Gives where the client is; none if the connection was not (any more) that worker's.
    pub fn take_for_move(&mut self, from: WorkerId, connection: ConnectionId) -> Option<PeerAddress> {
        if !self.is_of(connection, from) {
            return None;
        }
        let known = self.connections.get_mut(&connection)?;
        if let Place::Assigned { to, acknowledged } = known.place {
            self.backends.release(to, acknowledged);
        }
        self.figures.moved += 1;
        self.figures.waiting_for_head += 1;
        // As if its head had just come; `place` follows.
        known.place = Place::HeadNotSeen;
        known.tries = 0;
        Some(known.peer)
    }

    /// For good: nobody waits for a worker any more.
    pub fn stop(&mut self) {
        self.stopped = true;
        for waiting in std::mem::take(&mut self.waiting) {
            self.refuse(waiting.connection, Refusal::NoWorker);
        }
    }

    /// Refuses those whose wait has ended.
    pub fn expire(&mut self, now: Instant) {
        while let Some(waiting) = self.waiting.front().filter(|waiting| waiting.until <= now) {
            let connection = waiting.connection;
            self.waiting.pop_front();
            self.refuse(connection, Refusal::NoWorker);
        }
        self.check_invariants();
    }

    /// When [`Router::expire`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.until)
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A client was refused that was never opened here.
    pub fn count_refusal(&mut self, refusal: Refusal) {
        self.figures.refused[refusal as usize] += 1;
    }

    /// Live connections of a worker.
    pub fn live(&self, id: WorkerId) -> usize {
        self.backends.live(id)
    }

    /// Connections open now, in all workers and here.
    pub fn open_connections(&self) -> usize {
        self.connections.len()
    }

    /// Connections that wait for a ready worker.
    pub fn waiting_for_worker(&self) -> usize {
        self.waiting.len()
    }

    /// What was counted.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    fn assign(&mut self, connection: ConnectionId, home: Option<SidHome>, now: Instant) {
        match self.backends.choose(home) {
            Some(to) => self.assign_to(connection, to),
            None if self.stopped || self.waiting.len() >= self.max_waiting => {
                self.refuse(connection, Refusal::NoWorker);
            }
            None => {
                self.set_place(connection, Place::Waiting);
                self.waiting.push_back(Waiting { connection, home, until: now + self.wait });
            }
        }
    }

    fn assign_to(&mut self, connection: ConnectionId, to: WorkerId) {
        let Some(known) = self.connections.get_mut(&connection) else { return };
        known.tries += 1;
        known.place = Place::Assigned { to, acknowledged: false };
        self.backends.assign(to);
        self.actions.push_back(Action::HandOver { connection, to });
    }

    fn refuse(&mut self, connection: ConnectionId, refusal: Refusal) {
        // It is in no list any more that `forget` would have to correct.
        self.set_place(connection, Place::Waiting);
        self.forget(connection);
        self.count_refusal(refusal);
        self.actions.push_back(Action::Refuse { connection, refusal });
    }

    fn set_place(&mut self, connection: ConnectionId, place: Place) {
        if let Some(known) = self.connections.get_mut(&connection) {
            known.place = place;
        }
    }

    /// The connection counts nowhere any more. False if it did not.
    fn forget(&mut self, connection: ConnectionId) -> bool {
        let Some(known) = self.connections.remove(&connection) else { return false };
        self.limits.close(known.peer);
        match known.place {
            Place::HeadNotSeen => self.figures.waiting_for_head -= 1,
            Place::Waiting => {}
            Place::Assigned { to, acknowledged } => self.backends.release(to, acknowledged),
        }
        true
    }

    fn is_of(&self, connection: ConnectionId, worker: WorkerId) -> bool {
        let place = self.connections.get(&connection).map(|known| known.place);
        matches!(place, Some(Place::Assigned { to, .. }) if to == worker)
    }

    /// Every connection is counted once, where it is, and with a worker only while that lives. Too slow for large numbers, so
    /// only small ones are checked, and only in debug builds.
    fn check_invariants(&self) {
        if !cfg!(debug_assertions) || self.connections.len() >= 64 {
            return;
        }
        let count =
            |wanted: &dyn Fn(Place) -> bool| self.connections.values().filter(|known| wanted(known.place)).count();
        let heads = count(&|place| place == Place::HeadNotSeen);
        debug_assert_eq!(heads as u64, self.figures.waiting_for_head, "heads that are not seen");
        debug_assert_eq!(count(&|place| place == Place::Waiting), self.waiting.len(), "waiting for a worker");
        debug_assert_eq!(self.connections.len(), self.limits.count(), "counted by the limits");
        let mut with_workers = 0;
        for id in self.backends.ids() {
            let held = count(&|place| matches!(place, Place::Assigned { to, .. } if to == id));
            let unacknowledged = count(&|place| place == Place::Assigned { to: id, acknowledged: false });
            debug_assert_eq!(held, self.backends.live(id), "live connections of {id}");
            debug_assert_eq!(unacknowledged, self.backends.unacknowledged(id), "unacknowledged ones of {id}");
            with_workers += held;
        }
        let assigned = count(&|place| matches!(place, Place::Assigned { .. }));
        debug_assert_eq!(assigned, with_workers, "connections of workers that are gone");
    }
}
