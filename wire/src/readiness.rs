//! Waiting until a descriptor of any kind is ready, in the runtime's own poll.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use tokio::{io::Interest, net::UnixStream};

/// A non-blocking descriptor that the runtime watches. What is done with it is up to the caller's own system calls.
///
/// It borrows the place of a Unix stream, because tokio's own wrapper for any descriptor needs `unsafe` to be built.
#[derive(Debug)]
pub struct Readiness(UnixStream);

impl Readiness {
    /// Watches the descriptor, which becomes non-blocking. Must be called inside a tokio runtime.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let stream = std::os::unix::net::UnixStream::from(descriptor);
        stream.set_nonblocking(true)?;
        Ok(Readiness(UnixStream::from_std(stream)?))
    }

    /// Calls until the result is not `WouldBlock`, each time after the descriptor has become ready. Calls at first only
    /// when the runtime believes it ready.
    pub async fn io<R>(&self, interest: Interest, call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        self.0.async_io(interest, call).await
    }

    /// Ends the watch and gives the descriptor back.
    pub fn into_descriptor(self) -> io::Result<OwnedFd> {
        Ok(self.0.into_std()?.into())
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
