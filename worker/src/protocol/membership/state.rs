//! The state machine.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::{Action, Actions, Cause, NamespaceIndex, Reason, SocketKey};
use crate::protocol::{PacketType, session::CloseReason};

/// A session's membership; see the module's documentation.
#[derive(Debug)]
pub struct Membership {
    /// Those that are in, in the order they came in; those that wait stand between them. Nearly every client has one.
    sockets: SmallVec<[Entry; 2]>,
    /// When it is closed, unless something was joined.
    join_by: Option<Instant>,
    /// This server has closed the session, or it has ended: nobody comes in any more.
    closing: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    namespace: NamespaceIndex,
    stage: Stage,
    member: super::Member,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Middleware considers it.
    Waiting,
    /// It is in its namespace.
    In,
}

impl Entry {
    fn key(self) -> SocketKey {
        SocketKey { namespace: self.namespace, member: self.member }
    }
}

impl Membership {
    /// Of a session that begins now.
    pub fn open(now: Instant, connect_timeout: Duration) -> Self {
        Membership { sockets: SmallVec::new(), join_by: Some(now + connect_timeout), closing: false }
    }

    /// How many sockets it has, those among them that middleware considers.
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// When [`Membership::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.join_by
    }

    /// Closes the session if nothing was joined in time. A namespace that was left again counts.
    pub fn expire(&mut self, now: Instant, out: &mut Actions) {
        if self.join_by.is_some_and(|due| now >= due) {
            self.close(Cause::NothingJoined, out);
        }
    }

    /// The client sent CONNECT for a namespace that there is. True if `key`'s socket is to be made, before anything else, and
    /// middleware asked, which answers with [`Membership::agree`] or [`Membership::refuse`].
    pub fn connect(&mut self, key: SocketKey, out: &mut Actions) -> bool {
        if self.closing {
            return false;
        }
        match self.sockets.iter().position(|entry| entry.namespace == key.namespace) {
            Some(at) if self.sockets[at].stage == Stage::Waiting => {
                out.push(Action::Forget(self.sockets.remove(at).key()))
            }
            Some(_) => {
                self.close(Cause::SecondConnect, out);
                return false;
            }
            None => {}
        }
        self.sockets.push(Entry { namespace: key.namespace, stage: Stage::Waiting, member: key.member });
        true
    }

    /// Middleware lets a socket in. True if it still waits: then it joins its rooms, CONNECT is sent, and its handler is called.
    pub fn agree(&mut self, key: SocketKey) -> bool {
        let Some(mut entry) = self.decided(key) else { return false };
        entry.stage = Stage::In;
        self.sockets.push(entry);
        self.join_by = None;
        true
    }

    /// Middleware refuses a socket. True if it still waits: then CONNECT_ERROR is sent and it is forgotten.
    pub fn refuse(&mut self, key: SocketKey) -> bool {
        self.decided(key).is_some()
    }

    /// Another packet came, for the namespace that `is` tells. The socket to hand it to, if it is an event or an answer.
    pub fn packet(
        &mut self,
        kind: PacketType,
        is: impl Fn(NamespaceIndex) -> bool,
        out: &mut Actions,
    ) -> Option<SocketKey> {
        if self.closing {
            return None;
        }
        let Some(at) = self.sockets.iter().position(|entry| entry.stage == Stage::In && is(entry.namespace)) else {
            self.close(Cause::NotJoined, out);
            return None;
        };
        match kind {
            PacketType::Event | PacketType::Ack => return Some(self.sockets[at].key()),
            PacketType::Disconnect => out.push(Action::Leave(self.sockets.remove(at).key(), Reason::Client)),
            PacketType::Connect => self.close(Cause::SecondConnect, out),
            PacketType::ConnectError => self.close(Cause::ServersPacket, out),
        }
        None
    }

    /// The application disconnects a socket; with `close` all that are in, and the session. Nothing happens, as in the official
    /// server, if it is not in: while middleware considers it, or once it leaves.
    pub fn disconnect(&mut self, key: SocketKey, close: bool, out: &mut Actions) {
        if !self.sockets.iter().any(|entry| entry.stage == Stage::In && entry.key() == key) {
            return;
        }
        self.sockets.retain(|entry| {
            let leaves = entry.stage == Stage::In && (close || entry.key() == key);
            if leaves {
                out.extend([Action::SendDisconnect(entry.key()), Action::Leave(entry.key(), Reason::Server)]);
            }
            !leaves
        });
        if close {
            self.close(Cause::Application, out);
        }
    }

    /// This server closes the session. Its sockets stay until that has ended.
    pub fn close(&mut self, cause: Cause, out: &mut Actions) {
        self.join_by = None;
        if !std::mem::replace(&mut self.closing, true) {
            out.push(Action::Close(cause));
        }
    }

    /// The session has ended.
    pub fn ended(&mut self, reason: CloseReason, out: &mut Actions) {
        self.join_by = None;
        self.closing = true;
        out.extend(self.sockets.drain(..).map(|entry| match entry.stage {
            Stage::Waiting => Action::Forget(entry.key()),
            Stage::In => Action::Leave(entry.key(), Reason::Session(reason)),
        }));
    }

    /// Takes out a socket that waits. In a session that is closing it stays, to be forgotten with it.
    fn decided(&mut self, key: SocketKey) -> Option<Entry> {
        let waits = |entry: &Entry| entry.stage == Stage::Waiting && entry.key() == key;
        let at = self.sockets.iter().position(waits).filter(|_| !self.closing)?;
        Some(self.sockets.remove(at))
    }
}
