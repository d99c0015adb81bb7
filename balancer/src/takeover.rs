//! The balancer stops for a moment and goes on in another process, with all that it has in hand: no client is refused for it.
//!
//! ```text
//! freeze ─► carried ─► (the other process) rejoin_worker ─► resume ─► adopt ─► add_worker
//!    └──── thaw, if there is none
//! ```

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    rc::Rc,
};

use roomd_wire::{ConnectionId, PeerAddress, WorkerId};
use socket2::SockRef;
use tokio::task::yield_now;

use crate::{
    balancer::{Balancer, Mode, now},
    handover::{Held, Outbox, WorkerLink},
    peek::{Peeked, peek_now},
    router::Carried as Place,
};

/// How many turns of the loop the tasks that wait for heads may take to stop.
const TURNS: usize = 100;

/// A connection that no worker has acknowledged. `S` is its socket: a number while it is only told of, the descriptor itself where
/// it goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Carried<S> {
    /// Its number, which it keeps.
    pub id: ConnectionId,
    /// Where the client is.
    pub peer: PeerAddress,
    /// The client's socket.
    pub socket: S,
    /// The worker that it was sent to.
    pub sent_to: Option<WorkerId>,
    /// Another worker has moved it.
    pub moved: bool,
    /// Whose session it is for, of one that was moved.
    pub home: Option<WorkerId>,
    /// What was read from it before it was moved.
    pub read: Vec<u8>,
}

impl Balancer {
    /// Stops accepting and deciding, until [`Balancer::thaw`]. Who connects waits in the kernel.
    pub async fn freeze(&self) {
        self.mode.send_replace(Mode::Frozen);
        for _ in 0..TURNS {
            if self.has_all_heads() {
                return;
            }
            yield_now().await;
        }
    }

    fn has_all_heads(&self) -> bool {
        let state = self.state.borrow();
        state.router.figures().waiting_for_head <= state.heads.len() as u64
    }

    /// What a frozen balancer has in hand. The sockets stay its own.
    pub fn carried(&self) -> Vec<Carried<RawFd>> {
        let state = self.state.borrow();
        let heads = state.heads.iter().map(|(id, socket, peer)| Carried {
            id: *id,
            peer: *peer,
            socket: socket.as_raw_fd(),
            sent_to: None,
            moved: false,
            home: None,
            read: Vec::new(),
        });
        let held = state.held.iter().map(|(id, held)| {
            let sent_to = state.router.sent_to(*id);
            // What is still in the queue will not be sent from here.
            let queued = |to: &WorkerId| state.outboxes.get(to).is_none_or(|outbox| outbox.has(*id));
            Carried {
                id: *id,
                peer: held.peer,
                socket: held.socket.as_raw_fd(),
                sent_to: sent_to.filter(|to| !queued(to)),
                moved: held.moved,
                home: state.router.home_of_waiting(*id).or(sent_to).filter(|_| held.moved),
                read: held.read.clone(),
            }
        });
        heads.chain(held).collect()
    }

    /// Goes on here.
    pub fn thaw(self: &Rc<Self>) {
        let heads = std::mem::take(&mut self.state.borrow_mut().heads);
        self.mode.send_if_modified(|mode| std::mem::replace(mode, Mode::Accepting) != Mode::Accepting);
        for (id, socket, peer) in heads {
            self.look(id, socket, peer);
        }
    }

    /// Connections are numbered from here, none as an earlier supervisor did.
    pub fn number_from(&self, first: u64) {
        self.state.borrow_mut().router.number_from(first);
    }

    /// A worker lives that another supervisor has started. [`Balancer::adopt`] and then [`Balancer::add_worker`] follow.
    pub fn rejoin_worker(self: &Rc<Self>, id: WorkerId, link: Rc<WorkerLink>) {
        self.change(|state| {
            state.outboxes.insert(id, Outbox::new(link));
            state.router.rejoin_worker(id);
        });
    }

    /// A worker tells what it holds.
    pub fn adopt(self: &Rc<Self>, worker: WorkerId, connections: &[(ConnectionId, PeerAddress)]) {
        self.change(|state| {
            state.router.adopt(worker, connections);
            for (connection, _) in connections {
                state.held.remove(connection);
            }
        });
    }

    /// Takes on what another supervisor's balancer had in hand. Its workers are there already ([`Balancer::rejoin_worker`]).
    pub fn resume(self: &Rc<Self>, carried: Vec<Carried<OwnedFd>>) {
        for Carried { id, peer, socket, sent_to, moved, home, read } in carried {
            let place = sent_to.map_or(Place::Unplaced, Place::SentTo);
            let mut state = self.state.borrow_mut();
            state.router.carry(id, peer, place);
            let sent = state.router.sent_to(id).is_some();
            drop(state);
            match (sent, moved) {
                (true, _) => self.hold(id, Held { socket: socket.into(), peer, moved, read, since: None }),
                (false, false) => self.look(id, socket, peer),
                (false, true) => {
                    self.hold(id, Held { socket: socket.into(), peer, moved, read, since: None });
                    self.change(|state| state.router.place_carried(id, home, now()));
                }
            }
        }
    }

    /// A worker gives away a connection that this supervisor does not know yet: one that came before [`Balancer::adopt`].
    pub(crate) fn moved_unknown(self: &Rc<Self>, from: WorkerId, to: Option<WorkerId>, read: Vec<u8>, socket: OwnedFd) {
        if !self.state.borrow().router.is_joining(from) {
            return;
        }
        // Nobody is left who saw where it was accepted from.
        let peer = peer_of(&socket).unwrap_or(PeerAddress::Unix);
        self.change(|state| {
            let id = state.router.carry_moved(peer);
            state.held.insert(id, Held { socket: socket.into(), peer, moved: true, read, since: None });
            state.router.place_carried(id, to, now());
        });
    }

    fn hold(&self, id: ConnectionId, held: Held) {
        self.state.borrow_mut().held.insert(id, held);
    }

    /// Nothing was read from it: its head is looked at as if it had just come.
    fn look(self: &Rc<Self>, id: ConnectionId, socket: OwnedFd, peer: PeerAddress) {
        match peek_now(socket.as_fd(), 0) {
            Ok(Peeked::Partial(seen)) => self.wait_for_head(id, socket, peer, now(), seen),
            peeked => self.decide(id, socket, peer, now(), peeked),
        }
    }
}

fn peer_of(socket: &OwnedFd) -> io::Result<PeerAddress> {
    let address = SockRef::from(socket).peer_addr()?;
    Ok(address.as_socket().map_or(PeerAddress::Unix, |peer| PeerAddress::Ip(peer.ip().to_canonical(), peer.port())))
}
