//! One sleep for the deadlines of all sessions.

use std::time::{Duration, Instant};

use super::server::{Engine, mark};

/// The most by which a deadline comes up late, so that those of about the same time share a wake: at most 20 a second. Pings
/// are seconds apart, and the networks they go through are no more exact.
pub(super) const GRAIN: Duration = Duration::from_millis(50);

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
