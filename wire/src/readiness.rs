//! Waiting until a descriptor of any kind is ready, in the runtime's own poll.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// A non-blocking descriptor that the runtime watches for something to read. What is done with it is up to the caller's own
/// system calls.
///
/// Room to write is watched only while somebody waits for it: a Unix socket tells of new room each time its other side has
/// read anything, so that watching always would wake the writer once more for each message.
#[derive(Debug)]
pub struct Readiness(AsyncFd<OwnedFd>);

impl Readiness {
    /// Watches the descriptor, which becomes non-blocking. Must be called inside a tokio runtime.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        watch(descriptor, Interest::READABLE).map(Readiness)
    }

    /// Calls until the result is not `WouldBlock`, each time after there was something new to read. Calls at first only
    /// when the runtime believes that there is.
    pub async fn when_readable<R>(&self, mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        self.0.async_io(Interest::READABLE, |_| call()).await
    }

    /// Calls at once, and then until the result is not `WouldBlock`, each time after there was room to write.
    pub async fn when_writable<R>(&self, mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
        // A descriptor of its own: one can be in the poll only once.
        let room = watch(self.0.get_ref().try_clone()?, Interest::WRITABLE)?;
        room.async_io(Interest::WRITABLE, |_| call()).await
    }

    /// Ends the watch and gives the descriptor back.
    pub fn into_descriptor(self) -> OwnedFd {
        self.0.into_inner()
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

#[expect(deprecated, reason = "what it warns of, a descriptor closed while it is watched, an OwnedFd rules out")]
fn watch(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, interest)
}
