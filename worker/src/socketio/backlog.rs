//! What one client's events hold in memory while their handlers, or middleware, wait for something, and when that is too much.

use super::Io;
use crate::{engine::SessionKey, protocol::membership::Cause};

/// How many handlers of one client's events can wait at once, middleware among them. A client that sends on regardless is closed: each of them keeps
/// what it was sent in memory.
///
/// ```
/// # use roomd_worker::socketio::*;
/// # use roomd_worker::socketio::MAX_WAITING_HANDLERS;
/// assert_eq!(MAX_WAITING_HANDLERS, 1000);
/// ```
pub const MAX_WAITING_HANDLERS: u32 = 1000;

/// How much they can keep, in messages of the largest size (`max_payload`, or 1 MB where that is less). One event is never more
/// than eleven of them, with all its attachments.
///
/// ```
/// # use roomd_worker::socketio::*;
/// assert_eq!(MAX_WAITING_PAYLOADS, 16);
/// ```
pub const MAX_WAITING_PAYLOADS: usize = 16;

/// The size of a message that is always allowed for.
const SMALLEST_PAYLOAD_BYTES: usize = 1_000_000;

/// What waits of a session.
#[derive(Default)]
pub(super) struct Backlog {
    handlers: u32,
    bytes: usize,
}

/// A handler that waits, and what it was sent. Dropped when it is done.
pub(super) struct Waits {
    io: Io,
    session: SessionKey,
    bytes: usize,
}

impl Waits {
    /// A handler has begun to wait. Closes the session if that is one too many.
    pub(super) fn begin(io: &Io, session: SessionKey, bytes: usize) -> Self {
        let most = MAX_WAITING_PAYLOADS.saturating_mul(io.0.engine.max_payload().max(SMALLEST_PAYLOAD_BYTES));
        let too_much = io.0.state.borrow_mut().sessions.get_mut(&session).is_some_and(|session| {
            let backlog = &mut session.backlog;
            backlog.handlers += 1;
            backlog.bytes += bytes;
            backlog.handlers > MAX_WAITING_HANDLERS || backlog.bytes > most
        });
        if too_much {
            io.with_membership(session, |membership, out| membership.close(Cause::TooFast, out));
        }
        Waits { io: io.clone(), session, bytes }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(session) = self.io.0.state.borrow_mut().sessions.get_mut(&self.session) {
            session.backlog.handlers -= 1;
            session.backlog.bytes -= self.bytes;
        }
    }
}
