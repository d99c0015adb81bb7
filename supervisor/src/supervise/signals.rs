//! The signals that mean something to a supervisor.

use std::{io, task::Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal to the supervisor means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Received {
    Stop,
    Reload,
    ChildEnded,
}

/// All of them.
pub(super) struct Signals([(Signal, Received); 5]);

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Signals([
            (signal(SignalKind::terminate())?, Received::Stop),
            (signal(SignalKind::interrupt())?, Received::Stop),
            (signal(SignalKind::hangup())?, Received::Reload),
            (signal(SignalKind::user_defined2())?, Received::Reload),
            (signal(SignalKind::child())?, Received::ChildEnded),
        ]))
    }

    pub(super) async fn next(&mut self) -> Received {
        std::future::poll_fn(|cx| {
            for (signal, meaning) in &mut self.0 {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(*meaning);
                }
            }
            Poll::Pending
        })
        .await
    }
}
