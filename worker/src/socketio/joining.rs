//! Sessions that have joined nothing yet, and the one sleep that closes those that do not join in time.

use std::{collections::VecDeque, time::Instant};

use rustc_hash::FxHashMap;

use super::{Io, server::Session};
use crate::engine::SessionKey;

/// In the order they began, which is that of their deadlines: all have the same time. Those behind the first may have joined, or
/// gone, since.
#[derive(Default)]
pub(super) struct Joining {
    sessions: VecDeque<SessionKey>,
    /// A task sleeps until the deadline of the first.
    watched: bool,
}

impl Joining {
    /// The first that has joined nothing yet, and when it is closed over it.
    fn first(&mut self, sessions: &FxHashMap<SessionKey, Session>) -> Option<(SessionKey, Instant)> {
        while let Some(key) = self.sessions.front() {
            match sessions.get(key).and_then(|session| session.membership.deadline()) {
                Some(due) => return Some((*key, due)),
                None => drop(self.sessions.pop_front()),
            }
        }
        None
    }

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// There are no sessions any more.
    pub(super) fn clear(&mut self) {
        self.sessions = VecDeque::new();
    }
}

impl Io {
    /// A session has begun: it must join something in time.
    pub(super) fn expect_to_join(&self, session: SessionKey) {
        let state = &mut *self.0.state.borrow_mut();
        // Most join at once, one after the other: so the list stays short.
        state.joining.first(&state.sessions);
        state.joining.sessions.push_back(session);
        if !std::mem::replace(&mut state.joining.watched, true) {
            tokio::task::spawn_local(watch(self.clone()));
        }
    }
}

/// The task. It ends when there is nobody to watch.
async fn watch(io: Io) {
    loop {
        let first = {
            let state = &mut *io.0.state.borrow_mut();
            let first = state.joining.first(&state.sessions);
            state.joining.watched = first.is_some();
            first
        };
        let Some((session, due)) = first else { return };
        tokio::time::sleep_until(due.into()).await;
        io.with_membership(session, |membership, out| membership.expire(Instant::now(), out));
    }
}
