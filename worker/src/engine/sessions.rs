//! All sessions of a worker: a slab by key, and the keys by session id.

use std::{rc::Rc, time::Instant};

use roomd_wire::Sid;
use rustc_hash::FxHashMap;
use slab::Slab;
use tokio::sync::oneshot;

use super::{handler::SessionKey, polling::PollAnswer, socket::Socket};
use crate::protocol::{drain_order::Moment, session::Session};

/// A session and what it is connected to.
pub(super) struct Entry {
    epoch: u32,
    /// It is on the list of sessions to flush.
    pub(super) dirty: bool,
    /// When its last message came or went; heartbeats are none.
    pub(super) active: Moment,
    pub(super) sid: Sid,
    pub(super) session: Session,
    /// The deadline that is armed for it.
    pub(super) armed: Option<Instant>,
    /// Its WebSocket: the transport, or what may become it.
    pub(super) socket: Option<Rc<Socket>>,
    /// Boxed: a session on WebSocket has none.
    pub(super) polling: Option<Box<PollingLinks>>,
}

/// The requests that a polling session has under way.
#[derive(Default)]
pub(super) struct PollingLinks {
    /// Answers the pending GET.
    pub(super) poll: Option<oneshot::Sender<PollAnswer>>,
    /// Dropped to reset the POST's connection.
    pub(super) post: Option<oneshot::Sender<()>>,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Sessions {
    slab: Slab<Entry>,
    keys: FxHashMap<Sid, SessionKey>,
    next_epoch: u32,
}

impl Sessions {
    pub(super) fn insert(&mut self, sid: Sid, session: Session) -> SessionKey {
        self.next_epoch = self.next_epoch.wrapping_add(1);
        let epoch = self.next_epoch;
        let active = Moment::default();
        let entry = Entry { epoch, dirty: false, active, sid, session, armed: None, socket: None, polling: None };
        // A slab of four billion entries would not fit into memory.
        let index = self.slab.insert(entry) as u32;
        let key = SessionKey { index, epoch };
        self.keys.insert(sid, key);
        key
    }

    pub(super) fn get(&self, key: SessionKey) -> Option<&Entry> {
        self.slab.get(key.index as usize).filter(|entry| entry.epoch == key.epoch)
    }

    pub(super) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Entry> {
        self.slab.get_mut(key.index as usize).filter(|entry| entry.epoch == key.epoch)
    }

    pub(super) fn find(&self, sid: &Sid) -> Option<SessionKey> {
        self.keys.get(sid).copied()
    }

    pub(super) fn remove(&mut self, key: SessionKey) {
        if self.get(key).is_some() {
            let entry = self.slab.remove(key.index as usize);
            self.keys.remove(&entry.sid);
            if self.slab.is_empty() {
                self.slab.shrink_to_fit();
                self.keys.shrink_to_fit();
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// The keys of all sessions.
    pub(super) fn keys(&self) -> impl Iterator<Item = SessionKey> {
        self.slab.iter().map(|(index, entry)| SessionKey { index: index as u32, epoch: entry.epoch })
    }
}
