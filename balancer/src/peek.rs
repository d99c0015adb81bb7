//! Waits for a request head without consuming a byte of it (design D1).

use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use roomd_wire::Readiness;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvFlags, recv},
};

use crate::head::{self, Head, MAX_HEAD_BYTES};

thread_local! {
    /// One buffer for all connections: between two peeks nothing is kept, the bytes stay in the kernel.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_HEAD_BYTES].into());
}

/// What a client has sent so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peeked {
    /// Enough to decide.
    Head(Head),
    /// At most the beginning of a head, of so many bytes.
    Partial(usize),
    /// The client has ended its side without a byte.
    Closed,
    /// The client has ended its side within a head.
    Broken,
}

/// Looks at what is there now; `seen` is the length of the beginning that was there the last time.
pub fn peek_now(socket: BorrowedFd<'_>, seen: usize) -> io::Result<Peeked> {
    BUFFER.with_borrow_mut(|buffer| {
        let length = match recv(socket, &mut **buffer, RecvFlags::PEEK) {
            Ok((_, 0)) => return Ok(Peeked::Closed),
            Ok((_, length)) => length,
            Err(rustix::io::Errno::AGAIN) => return Ok(Peeked::Partial(0)),
            Err(error) => return Err(error.into()),
        };
        Ok(match head::examine_more(&buffer[..length], seen) {
            Head::Incomplete => Peeked::Partial(length),
            head => Peeked::Head(head),
        })
    })
}

/// Waits until there is enough to decide. The caller bounds the time.
pub async fn peek_head(watched: &Readiness, mut seen: usize) -> io::Result<Peeked> {
    let peek = || {
        let peeked = peek_now(watched.as_fd(), seen)?;
        let Peeked::Partial(length) = peeked else { return Ok(peeked) };
        seen = length;
        // That the read side is closed would never be cleared from what the runtime believes, so this has to be decided now.
        // The rest of the head may have come together with the end: after it, nothing can.
        if read_side_closed(watched.as_fd())? {
            return Ok(match peek_now(watched.as_fd(), 0)? {
                Peeked::Partial(_) => Peeked::Broken,
                decided => decided,
            });
        }
        // The bytes stay in place, so the runtime goes on believing the socket readable: only this tells it better.
        Err(io::ErrorKind::WouldBlock.into())
    };
    watched.when_readable(peek).await
}

fn read_side_closed(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let closed = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    let mut asked = [PollFd::from_borrowed_fd(socket, closed)];
    poll(&mut asked, Some(&Timespec::default()))?;
    Ok(asked[0].revents().intersects(closed))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{io::Write, os::unix::net::UnixStream, time::Duration};

    use super::*;

    const HEAD: &[u8] = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n";

    async fn peek(server: UnixStream) -> Peeked {
        let watched = Readiness::new(server.into()).unwrap();
        tokio::time::timeout(Duration::from_secs(5), peek_head(&watched, 0)).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_head_in_any_number_of_segments_is_seen_and_left_in_place() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let copy = server.try_clone().unwrap();
        let sending = tokio::task::spawn_blocking(move || {
            for &byte in HEAD {
                client.write_all(&[byte]).unwrap();
                std::thread::yield_now();
            }
            client
        });
        assert_eq!(peek(server).await, Peeked::Head(Head::Complete(None)));
        let _client = sending.await.unwrap();
        let mut buffer = [0; 200];
        let (_, length) = recv(&copy, &mut buffer[..], RecvFlags::empty()).unwrap();
        assert_eq!(&buffer[..length], HEAD);
    }

    #[tokio::test]
    async fn a_client_that_leaves_in_the_middle_is_noticed_at_once() {
        for (sent, expected) in [
            (0, Peeked::Closed),
            (10, Peeked::Broken),
            (HEAD.len() - 1, Peeked::Broken),
            (HEAD.len(), Peeked::Head(Head::Complete(None))),
        ] {
            let (mut client, server) = UnixStream::pair().unwrap();
            client.write_all(&HEAD[..sent]).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(peek(server).await, expected, "{sent} bytes");
        }
    }

    #[tokio::test]
    async fn a_client_that_waits_costs_no_turns_of_the_loop() {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.write_all(&HEAD[..20]).unwrap();
        let before = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let watched = Readiness::new(server.into()).unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(300), peek_head(&watched, 0)).await;
        let after = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        assert!(waited.is_err());
        let used = (after.tv_sec - before.tv_sec) * 1_000_000_000 + after.tv_nsec - before.tv_nsec;
        assert!(used < 100_000_000, "the task spun: {used} ns of CPU in 300 ms");
    }
}
