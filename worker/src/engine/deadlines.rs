//! One sleep for the deadlines of all sessions.

use std::time::Instant;

use super::server::{Engine, mark};

/// The task.
pub(super) async fn run(engine: Engine) {
    loop {
        let next = engine.0.state.borrow().deadlines.next();
        match next {
            None => engine.0.sooner.notified().await,
            Some(next) => {
                tokio::select! {
                    () = tokio::time::sleep_until(next.into()) => engine.expire(Instant::now()),
                    () = engine.0.sooner.notified() => {}
                }
            }
        }
    }
}

impl Engine {
    fn expire(&self, now: Instant) {
        let state = &mut *self.0.state.borrow_mut();
        let mut actions = std::mem::take(&mut state.actions);
        while let Some((key, due)) = state.deadlines.pop(now) {
            let Some(entry) = state.sessions.get_mut(key).filter(|entry| entry.armed == Some(due)) else { continue };
            entry.armed = None;
            if entry.session.deadline().is_some_and(|due| due <= now)
                && entry.session.expire(now, &self.0.settings, &mut actions)
            {
                mark(entry, key, &mut state.dirty, &self.0.turn);
            }
            self.settle(state, key, &mut actions);
        }
        state.actions = actions;
    }
}
