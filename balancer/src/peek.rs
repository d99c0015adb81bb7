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
    /// At most the beginning of a head.
    Partial,
    /// The client has ended its side before its head was whole.
    Closed,
}

/// Looks at what is there now.
pub fn peek_now(socket: BorrowedFd<'_>) -> io::Result<Peeked> {
    BUFFER.with_borrow_mut(|buffer| {
        let length = match recv(socket, &mut **buffer, RecvFlags::PEEK) {
            Ok((_, 0)) => return Ok(Peeked::Closed),
            Ok((_, length)) => length,
            Err(rustix::io::Errno::AGAIN) => return Ok(Peeked::Partial),
            Err(error) => return Err(error.into()),
        };
        Ok(match head::examine(&buffer[..length]) {
            Head::Incomplete => Peeked::Partial,
            head => Peeked::Head(head),
        })
    })
}

/// Waits until there is enough to decide. The caller bounds the time.
pub async fn peek_head(watched: &Readiness) -> io::Result<Peeked> {
    watched
        .when_readable(|| match peek_now(watched.as_fd())? {
            // The bytes stay in place, so the runtime goes on believing the socket readable: only WouldBlock tells it better.
            // That belief is never cleared for a read side that is closed, so this has to be decided now.
            Peeked::Partial if read_side_closed(watched.as_fd())? => Ok(Peeked::Closed),
            Peeked::Partial => Err(io::ErrorKind::WouldBlock.into()),
            decided => Ok(decided),
        })
        .await
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
        tokio::time::timeout(Duration::from_secs(5), peek_head(&watched)).await.unwrap().unwrap()
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
        for sent in [0, 10, HEAD.len() - 1] {
            let (mut client, server) = UnixStream::pair().unwrap();
            client.write_all(&HEAD[..sent]).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(peek(server).await, Peeked::Closed, "{sent} bytes");
        }
    }

    #[tokio::test]
    async fn a_client_that_waits_costs_no_turns_of_the_loop() {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.write_all(&HEAD[..20]).unwrap();
        let before = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let watched = Readiness::new(server.into()).unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(300), peek_head(&watched)).await;
        let after = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        assert!(waited.is_err());
        let used = (after.tv_sec - before.tv_sec) * 1_000_000_000 + after.tv_nsec - before.tv_nsec;
        assert!(used < 100_000_000, "the task spun: {used} ns of CPU in 300 ms");
    }
}
