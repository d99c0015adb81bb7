//! Answers that the balancer gives itself, in a way that the client really receives.
//!
//! The request was only peeked at. A `close` with unread bytes makes the kernel send a reset, which overtakes the answer: so
//! they are consumed, the answer is written, the write side shut, and what still comes read for a moment.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use roomd_wire::Readiness;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use crate::refusal::Refusal;

/// How long a refused client is listened to, so that it gets its answer.
pub const LINGER: Duration = Duration::from_secs(2);
/// How many bytes of it are read at the most.
const LINGER_BYTES: usize = 1024 * 1024;

/// Answers without waiting for the client: for when there is neither time nor a descriptor to do better.
pub fn answer_now(client: &OwnedFd, refusal: Refusal) {
    consume(client);
    // Whether this succeeds is the client's affair: it gets the answer or finds its connection closed.
    let _ = send(client, refusal.response().as_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    let _ = shutdown(client, Shutdown::Write);
}

/// Answers, and stays until the client has gone or the time is over.
pub async fn answer(client: OwnedFd, refusal: Refusal, linger: Duration) {
    // As above: there is nobody to tell.
    let _ = tokio::time::timeout(linger, answer_and_linger(client, refusal)).await;
}

async fn answer_and_linger(client: OwnedFd, refusal: Refusal) -> io::Result<()> {
    let client = Readiness::new(client)?;
    let mut consumed = consume(&client);
    let response = refusal.response();
    client.when_writable(|| Ok(send(client.as_fd(), response.as_bytes(), SendFlags::NOSIGNAL)?)).await?;
    shutdown(&client, Shutdown::Write)?;
    let mut buffer = [0; 4096];
    while consumed <= LINGER_BYTES {
        match client.when_readable(|| Ok(recv(client.as_fd(), &mut buffer[..], RecvFlags::empty())?.1)).await? {
            0 => break,
            length => consumed += length,
        }
    }
    Ok(())
}

/// Reads what is there, without waiting for more. Gives the number of bytes.
fn consume(client: impl AsFd) -> usize {
    let mut buffer = [0; 4096];
    let mut consumed = 0;
    while consumed <= LINGER_BYTES
        && let Ok((_, length @ 1..)) = recv(&client, &mut buffer[..], RecvFlags::DONTWAIT)
    {
        consumed += length;
    }
    consumed
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[tokio::test]
    async fn a_client_that_goes_on_sending_still_receives_its_answer() {
        for refusal in Refusal::ALL {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            client.write_all(&[b'x'; 50_000]).unwrap();
            let received = tokio::task::spawn_blocking(move || {
                for _ in 0..20 {
                    if client.write_all(&[b'y'; 1000]).is_err() {
                        break;
                    }
                }
                client.shutdown(std::net::Shutdown::Write).unwrap();
                let mut answer = String::new();
                client.read_to_string(&mut answer).unwrap();
                answer
            });
            answer(server.into(), refusal, LINGER).await;
            assert_eq!(received.await.unwrap(), refusal.response());
        }
    }

    #[test]
    fn a_client_that_has_sent_all_receives_even_an_answer_in_passing() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(&[b'x'; 20_000]).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        // The end has come, so all of it has.
        let mut all = [0; 20_001];
        while server.peek(&mut all).unwrap() < 20_000 {}
        answer_now(&server.into(), Refusal::HeadTooLarge);
        assert_eq!(std::io::read_to_string(client).unwrap(), Refusal::HeadTooLarge.response());
    }
}
