//! The end of a turn of the loop: ends of sessions are told, the bus writes, then each session with something to send is
//! written to, once (design D8).
//!
//! A turn ends when all that was ready has been done and nothing new has come of it, so that an idle worker writes at once;
//! a busy one, to which something new comes all the time, collects for [`LONGEST_TURN`] and then writes more at a time; one that
//! cannot keep up rests between its writes (see [`Pace`]).

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use super::{
    pace::Pace,
    server::{Engine, State},
    socket::Written,
};
use crate::protocol::drain_order::Moment;

/// A turn is over after this, whatever else is ready: the most that collecting can delay a packet.
const LONGEST_TURN: Duration = Duration::from_millis(2);

/// Wakes the one task that flushes, once per turn.
#[derive(Default)]
pub(super) struct Turn {
    scheduled: Cell<bool>,
    /// How often something was sent.
    sent: Cell<u64>,
    /// A broadcast was timed in this turn.
    timed: Cell<bool>,
    task: RefCell<Option<Waker>>,
    hooks: RefCell<Vec<Rc<dyn Fn()>>>,
}

impl Turn {
    /// Has the task run when those that are ready now have run.
    pub(super) fn schedule(&self) {
        self.note_sent();
        if !self.scheduled.replace(true)
            && let Some(task) = &*self.task.borrow()
        {
            task.wake_by_ref();
        }
    }

    /// Something was sent: the turn may not be over yet.
    pub(super) fn note_sent(&self) {
        self.sent.set(self.sent.get().wrapping_add(1));
    }

    /// Whether a broadcast is to be timed: the first of each turn is.
    pub(super) fn times_next(&self) -> bool {
        !self.timed.replace(true)
    }

    pub(super) fn add_hook(&self, hook: Rc<dyn Fn()>) {
        self.hooks.borrow_mut().push(hook);
    }
}

/// The task.
pub(super) async fn run(engine: Engine) {
    let mut scratch = Vec::new();
    let mut pace = Pace::default();
    // Packets that were queued before the last round of writing.
    let mut written = 0;
    loop {
        poll_fn(|cx| {
            let turn = &engine.0.turn;
            if turn.scheduled.replace(false) {
                return Poll::Ready(());
            }
            *turn.task.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        let begin = Instant::now();
        loop {
            let sent = engine.0.turn.sent.get();
            // All that is ready runs now, and the system is asked for more.
            tokio::task::yield_now().await;
            if engine.0.turn.sent.get() == sent || begin.elapsed() >= LONGEST_TURN {
                break;
            }
        }
        if let Some(until) = pace.rest(Instant::now()) {
            tokio::time::sleep_until(until.into()).await;
        }
        engine.0.turn.scheduled.set(false);
        let (sessions, packets) = (engine.0.state.borrow().dirty.len(), engine.0.counters.packets_out.get());
        let begin = Instant::now();
        engine.flush(begin, &mut scratch);
        let end = Instant::now();
        engine.0.turn.timed.set(false);
        if sessions > 0 {
            engine.0.counters.flushed(begin, end);
        }
        pace.wrote(begin, end, sessions, packets - std::mem::replace(&mut written, packets));
    }
}

impl Engine {
    fn flush(&self, now: Instant, scratch: &mut Vec<u8>) {
        self.tell_ends();
        for hook in self.0.turn.hooks.borrow().iter() {
            guarded("the bus's flush", || hook());
        }
        let state = &mut *self.0.state.borrow_mut();
        let moment = self.moment(now);
        let mut dirty = std::mem::take(&mut state.dirty);
        for key in dirty.drain(..) {
            self.flush_session(state, key, moment, scratch);
        }
        if let Some(deflate) = &self.0.deflate {
            deflate.end_turn();
        }
        // Nothing above can have made a session dirty.
        state.dirty = dirty;
    }

    fn tell_ends(&self) {
        loop {
            let ended = std::mem::take(&mut self.0.state.borrow_mut().ended);
            if ended.is_empty() {
                return;
            }
            for (key, reason) in ended {
                self.0.counters.close(reason);
                guarded("the end of a session", || self.handler().closed(key, reason));
            }
        }
    }

    fn flush_session(&self, state: &mut State, key: super::SessionKey, moment: Moment, scratch: &mut Vec<u8>) {
        let Some(entry) = state.sessions.get_mut(key) else { return };
        entry.dirty = false;
        entry.active = entry.active.min(moment);
        let mut actions = std::mem::take(&mut state.actions);
        match (&entry.socket, entry.session.transport()) {
            (Some(socket), super::Transport::WebSocket) => {
                let socket = socket.clone();
                if let (Some(window), Some(deflate)) = (socket.deflates(), &self.0.deflate) {
                    deflate.compress(entry.session.queue(), window);
                }
                if socket.write(entry.session.queue(), scratch, &self.0.counters) == Written::Failed {
                    entry.session.socket_closed(&mut actions);
                }
            }
            _ => entry.session.flush_poll(&mut actions),
        }
        if !actions.is_empty() {
            self.settle(state, key, &mut actions);
        }
        state.actions = actions;
    }
}

/// Runs a call into another layer; its panic must not end the task that serves everybody.
fn guarded(what: &str, call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("{what} ended in a panic");
    }
}
