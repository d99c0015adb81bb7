//! The hub's thread.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
};

use roomd_wire::{
    WorkerId,
    hub::{HubFrame, HubOp, encode_count},
};
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
};
use slab::Slab;
use tokio::sync::mpsc;

use super::{
    handle::{Command, HubEvent, Shared},
    peer::{Ended, Outgoing, Peer},
    routes::{PeerKey, Routes},
};

/// The poll's name for the descriptor that commands come with.
const WAKE: u64 = u64::MAX;

/// The state of the hub's thread.
pub struct EventLoop {
    shared: Arc<Shared>,
    events: mpsc::UnboundedSender<HubEvent>,
    epoll: OwnedFd,
    ready: Vec<Event>,
    peers: Slab<Peer>,
    routes: Routes,
    /// Peers with frames to route in the next round, each with how many bytes of them.
    to_route: Vec<(PeerKey, usize)>,
    /// Peers that something was queued for in this round. One may be in it several times.
    to_write: Vec<PeerKey>,
    /// Peers that ended in this round or whose queue did; looked at when it is over.
    to_remove: Vec<PeerKey>,
    recipients: Vec<PeerKey>,
    stopping: bool,
}

/// A loop that stands still, for whatever thread goes on with it.
pub struct Stopped {
    events: mpsc::UnboundedSender<HubEvent>,
    epoll: OwnedFd,
    pub(super) peers: Slab<Peer>,
    pub(super) routes: Routes,
    to_write: Vec<PeerKey>,
    to_remove: Vec<PeerKey>,
}

/// The poll, with the descriptor that commands come with: what can fail is made before the thread starts.
pub fn create_poll(shared: &Shared) -> io::Result<OwnedFd> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &shared.wake, EventData::new_u64(WAKE), EventFlags::IN)?;
    Ok(epoll)
}

impl EventLoop {
    /// With what [`create_poll`] made.
    pub fn new(shared: Arc<Shared>, events: mpsc::UnboundedSender<HubEvent>, epoll: OwnedFd) -> Self {
        EventLoop {
            shared,
            events,
            epoll,
            ready: Vec::new(),
            peers: Slab::new(),
            routes: Routes::default(),
            to_route: Vec::new(),
            to_write: Vec::new(),
            to_remove: Vec::new(),
            recipients: Vec::new(),
            stopping: false,
        }
    }

    /// Serves until told to stop, or until the poll itself fails.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.stopping {
            self.round()?;
        }
        Ok(())
    }

    /// Reads what is in the streams at this moment and routes it: nothing but parts of messages is left in hand.
    pub fn stop(mut self) -> Stopped {
        let keys: Vec<PeerKey> = self.peers.iter().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.read(key));
        self.ready.clear();
        self.work();
        let EventLoop { events, epoll, peers, routes, to_write, to_remove, .. } = self;
        Stopped { events, epoll, peers, routes, to_write, to_remove }
    }

    /// Goes on where one stopped.
    pub fn go_on(shared: Arc<Shared>, stopped: Stopped) -> Self {
        let Stopped { events, epoll, peers, routes, to_write, to_remove } = stopped;
        EventLoop { peers, routes, to_write, to_remove, ..EventLoop::new(shared, events, epoll) }
    }

    /// A peer as another process had it.
    pub(super) fn restore(&mut self, peer: Peer, channels: &[Vec<u8>], prefixes: &[Vec<u8>]) {
        let key = self.peers.vacant_key();
        self.add(peer);
        if self.peers.contains(key) {
            channels.iter().for_each(|channel| self.routes.subscribe(key, channel));
            prefixes.iter().for_each(|prefix| self.routes.subscribe_prefix(key, prefix));
            self.to_write.push(key);
            self.write();
        }
    }

    /// One round.
    pub fn round(&mut self) -> io::Result<()> {
        self.poll()?;
        self.work();
        Ok(())
    }

    /// What there is to do after a poll; the module's documentation says why messages are routed a round after they were read.
    pub fn work(&mut self) {
        let mut to_route = std::mem::take(&mut self.to_route);
        let mut ready = std::mem::take(&mut self.ready);
        for event in ready.drain(..) {
            match event.data.u64() {
                WAKE => self.run_commands(),
                key => self.peer_ready(key as PeerKey, event.flags),
            }
        }
        self.ready = ready;
        for (key, bytes) in to_route.drain(..) {
            self.route(key, bytes);
        }
        if self.to_route.is_empty() {
            self.to_route = to_route;
        }
        self.write();
        self.remove_ended();
        self.shared.counters.channels.store(self.routes.len() as u64, Relaxed);
    }

    /// Waits for something to do; not at all while there is something to route.
    pub fn poll(&mut self) -> io::Result<()> {
        // All that is ready must come in one call, else a subscription could be left behind.
        self.ready.clear();
        self.ready.reserve(self.peers.len() + 1);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = (!self.to_route.is_empty() || !self.to_remove.is_empty()).then_some(&at_once);
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), timeout) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn run_commands(&mut self) {
        let mut counter = [0; 8];
        let _ = rustix::io::read(&self.shared.wake, &mut counter);
        let commands = std::mem::take(&mut *self.shared.commands.lock().unwrap_or_else(PoisonError::into_inner));
        for command in commands {
            match command {
                Command::Add(peer) => self.add(peer),
                Command::Remove(id) => self.end(id),
                Command::Stop => self.stopping = true,
            }
        }
    }

    fn add(&mut self, peer: Peer) {
        let entry = self.peers.vacant_entry();
        let (key, id) = (entry.key(), peer.id);
        match epoll::add(&self.epoll, &peer.socket, EventData::new_u64(key as u64), EventFlags::IN) {
            Ok(()) => {
                entry.insert(peer);
                self.shared.counters.workers.fetch_add(u64::from(id.is_some()), Relaxed);
            }
            Err(error) => self.report(id, Ended::Broken(error.to_string())),
        }
    }

    /// The supervisor saw a worker's end. What it still said is in the socket.
    fn end(&mut self, id: WorkerId) {
        let Some(key) = self.peers.iter().find(|(_, peer)| peer.id == Some(id)).map(|(key, _)| key) else { return };
        self.read(key);
        if let Some(peer) = self.peers.get_mut(key) {
            peer.ended.get_or_insert(Ended::Closed);
        }
        self.to_remove.push(key);
    }

    fn peer_ready(&mut self, key: PeerKey, flags: EventFlags) {
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.read(key);
        }
        if flags.contains(EventFlags::OUT) {
            self.to_write.push(key);
        }
    }

    /// Reads a worker's frames and applies its subscriptions; its messages wait for the next round.
    fn read(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.ended.is_none()) else { return };
        peer.read();
        let before = peer.input.scanned();
        let ended = loop {
            match peer.input.scan() {
                Ok(Some(frame)) => match frame.op {
                    HubOp::Subscribe => self.routes.subscribe(key, frame.channel),
                    HubOp::Unsubscribe => self.routes.unsubscribe(key, frame.channel),
                    HubOp::SubscribePrefix => self.routes.subscribe_prefix(key, frame.channel),
                    HubOp::UnsubscribePrefix => self.routes.unsubscribe_prefix(key, frame.channel),
                    HubOp::Publish | HubOp::Echo | HubOp::Count => {}
                    HubOp::Counted => break Some(Ended::Broken("it answered what was not asked".into())),
                },
                Ok(None) => break None,
                Err(error) => break Some(Ended::Broken(format!("failed to {error}"))),
            }
        };
        let new = peer.input.scanned() - before;
        if let Some(ended) = ended {
            peer.ended.get_or_insert(ended);
        }
        if new > 0 {
            self.to_route.push((key, new));
        }
        if peer.ended.is_some() {
            self.to_remove.push(key);
        }
    }

    /// Sends what a worker published, the first so many bytes of its frames, to those that want it.
    fn route(&mut self, key: PeerKey, bytes: usize) {
        // Taken out meanwhile: the frames lie in one peer, the queues they go to in others.
        let Some(input) = self.peers.get_mut(key).map(|peer| std::mem::take(&mut peer.input)) else { return };
        let mut rest = input.frames(bytes);
        // They were scanned: what is there is whole frames.
        while let Ok(Some(frame)) = HubFrame::decode(rest) {
            let (bytes, after) = rest.split_at(frame.len());
            self.route_frame(key, &frame, bytes);
            rest = after;
        }
        if let Some(peer) = self.peers.get_mut(key) {
            peer.input = input;
            peer.input.consume(bytes);
        }
    }

    fn route_frame(&mut self, from: PeerKey, frame: &HubFrame<'_>, bytes: &[u8]) {
        match frame.op {
            HubOp::Publish => {
                self.shared.counters.published.fetch_add(1, Relaxed);
                let mut recipients = std::mem::take(&mut self.recipients);
                self.routes.recipients(frame.channel, from, &mut recipients);
                let mut outgoing = Outgoing::new(bytes);
                for &to in &recipients {
                    self.push(to, &mut outgoing);
                }
                self.shared.counters.delivered.fetch_add(recipients.len() as u64, Relaxed);
                self.recipients = recipients;
            }
            HubOp::Echo => self.push(from, &mut Outgoing::new(bytes)),
            HubOp::Count => {
                let subscribers = self.routes.subscribers(frame.channel);
                let workers = subscribers.iter().filter_map(|&peer| self.peers.get(peer)?.id);
                let payload = encode_count(frame.payload, subscribers.len() as u64, workers);
                let mut answer = Vec::new();
                // The payload is as long as the asker's own, which was in bounds, or a little longer.
                if (HubFrame { op: HubOp::Counted, channel: b"", payload: &payload }).encode(&mut answer).is_ok() {
                    self.push(from, &mut Outgoing::new(&answer));
                }
            }
            HubOp::Subscribe
            | HubOp::Unsubscribe
            | HubOp::SubscribePrefix
            | HubOp::UnsubscribePrefix
            | HubOp::Counted => {}
        }
    }

    fn push(&mut self, to: PeerKey, outgoing: &mut Outgoing<'_>) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        let was_idle = peer.output.len() == 0;
        if !peer.push(outgoing) {
            self.to_remove.push(to);
        } else if was_idle {
            self.to_write.push(to);
        }
    }

    /// Writes what the round queued; a worker whose socket was full before is written to when it has room again.
    fn write(&mut self) {
        for key in self.to_write.drain(..) {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            let all = peer.write();
            if peer.ended.is_some() {
                self.to_remove.push(key);
            } else if peer.awaits_room == all {
                peer.awaits_room = !all;
                let flags = if all { EventFlags::IN } else { EventFlags::IN | EventFlags::OUT };
                let modified = epoll::modify(&self.epoll, &peer.socket, EventData::new_u64(key as u64), flags);
                if let Err(error) = modified {
                    peer.ended = Some(Ended::Broken(error.to_string()));
                    self.to_remove.push(key);
                }
            }
        }
        let queued: usize = self.peers.iter().map(|(_, peer)| peer.output.len()).sum();
        self.shared.counters.queued_bytes.store(queued as u64, Relaxed);
    }

    /// Lets go of workers that ended, once what they published is routed.
    fn remove_ended(&mut self) {
        let mut to_remove = std::mem::take(&mut self.to_remove);
        to_remove.retain(|&key| {
            let Some(ended) = self.peers.get_mut(key).and_then(|peer| peer.ended.clone()) else { return false };
            if self.to_route.iter().any(|(waiting, _)| *waiting == key) {
                return true;
            }
            // Its socket closes with it, which takes it out of the poll: there is no duplicate of our end.
            let peer = self.peers.remove(key);
            self.routes.remove_peer(key);
            self.shared.counters.workers.fetch_sub(u64::from(peer.id.is_some()), Relaxed);
            self.report(peer.id, ended);
            false
        });
        self.to_remove = to_remove;
    }

    fn report(&self, id: Option<WorkerId>, ended: Ended) {
        let event = match (id, ended) {
            (Some(id), Ended::Stalled) => HubEvent::WorkerStalled(id),
            (Some(id), Ended::Broken(reason)) => HubEvent::WorkerBroken(id, reason),
            (None, _) | (_, Ended::Closed) => return,
        };
        self.shared.counters.given_up.fetch_add(1, Relaxed);
        // Nobody listens any more when the supervisor is about to leave.
        let _ = self.events.send(event);
    }
}
