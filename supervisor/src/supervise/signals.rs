//! The signals that mean something to a supervisor.

use std::{
    io,
    os::unix::net::UnixStream as Pair,
    pin::Pin,
    task::{Context, Poll},
};

use nix::libc::{SIGINT, SIGTERM};
use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::UnixStream,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::inherit::held_back;

/// What a signal to the supervisor means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Received {
    Stop,
    Reload,
    ChildEnded,
}

/// All of them.
pub(super) struct Signals {
    /// A byte for each TERM and INT. The runtime would tell of two between two turns of the loop as one, but the second one means
    /// another thing than the first. (Those that the kernel itself has made one are one.)
    stops: UnixStream,
    others: [(Signal, Received); 3],
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let (ours, handlers) = Pair::pair()?;
        ours.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, handlers.try_clone()?)?;
        }
        let signals = Signals {
            stops: UnixStream::from_std(ours)?,
            others: [
                (signal(SignalKind::hangup())?, Received::Reload),
                (signal(SignalKind::user_defined2())?, Received::Reload),
                (signal(SignalKind::child())?, Received::ChildEnded),
            ],
        };
        // Held back over an `exec` until there is somebody to hear them.
        held_back().thread_unblock()?;
        Ok(signals)
    }

    /// Whether a signal to stop has come that nobody has looked at: it is taken.
    pub(super) fn take_stop(&self) -> bool {
        matches!(recv(&self.stops, &mut [0u8; 1][..], RecvFlags::DONTWAIT), Ok((_, 1)))
    }

    pub(super) async fn next(&mut self) -> Received {
        std::future::poll_fn(|cx| {
            if self.poll_stop(cx).is_ready() {
                return Poll::Ready(Received::Stop);
            }
            for (signal, meaning) in &mut self.others {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(*meaning);
                }
            }
            Poll::Pending
        })
        .await
    }

    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stops).poll_read(cx, &mut ReadBuf::new(&mut [0]))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use nix::sys::signal::{
        Signal::{SIGHUP, SIGINT, SIGTERM},
        raise,
    };
    use tokio::{runtime, time::timeout};

    use super::{Received, Signals};

    #[test]
    fn two_signals_to_stop_are_two_even_if_none_was_looked_at_between_them() {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut signals = Signals::new().unwrap();
            // A signal to its own thread is delivered before `raise` returns.
            for (first, second) in [(SIGTERM, SIGTERM), (SIGINT, SIGTERM)] {
                raise(first).unwrap();
                raise(second).unwrap();
                assert_eq!(signals.next().await, Received::Stop);
                assert_eq!(signals.next().await, Received::Stop);
                // Children of tests beside this one may end meanwhile.
                let third = async { while signals.next().await == Received::ChildEnded {} };
                assert!(timeout(Duration::from_millis(50), third).await.is_err());
            }
            raise(SIGHUP).unwrap();
            while signals.next().await != Received::Reload {}
        });
    }
}
