//! Typed messages with descriptors over a `SOCK_SEQPACKET` socket: one packet is one message and what it carries.

use std::{
    cell::RefCell,
    io::{self, IoSlice, IoSliceMut},
    marker::PhantomData,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::readiness::Readiness;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Serialize, de::DeserializeOwned};

/// The largest encoded message. A packet goes through the socket's buffer as a whole, so this stays well below the
/// kernel's default for that (208 KiB).
pub const MAX_MESSAGE_BYTES: usize = 96 * 1024;

/// The most descriptors a message carries.
pub const MAX_DESCRIPTORS: usize = 4;

/// One end of a control socket: sends `Out`, receives `In`.
pub struct Link<Out, In> {
    socket: Readiness,
    types: PhantomData<fn(Out) -> In>,
}

/// Why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The system refused.
    #[error("use the control socket")]
    Io(#[from] io::Error),
    /// The message is larger than [`MAX_MESSAGE_BYTES`].
    #[error("send a message of {0} bytes: {MAX_MESSAGE_BYTES} is the most")]
    TooLarge(usize),
    /// The message could not be encoded.
    #[error("encode a message")]
    Encode(#[from] rmp_serde::encode::Error),
    /// What came is not a message of the version spoken here.
    #[error("understand a message of the other side (is it of another version?)")]
    Decode(#[from] rmp_serde::decode::Error),
}

impl<Out: Serialize, In: DeserializeOwned> Link<Out, In> {
    /// Both ends of a new control socket, close-on-exec; this end as a link, the other as a descriptor to pass to a child.
    /// Must be called inside a tokio runtime.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self::new(ours)?, theirs))
    }

    /// A link over a connected `SOCK_SEQPACKET` socket. Must be called inside a tokio runtime.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Link { socket: Readiness::new(socket)?, types: PhantomData })
    }

    /// Sends a message with descriptors, which stay the caller's; waits while the other side's buffer is full.
    pub async fn send(&self, message: &Out, descriptors: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        let packet = encode(message)?;
        Ok(self.socket.when_writable(|| send_packet(self.as_fd(), &packet, descriptors)).await?)
    }

    /// Sends a message with descriptors, which stay the caller's, if that is possible without waiting; an error of kind
    /// `WouldBlock` says that the other side's buffer is full.
    pub fn try_send(&self, message: &Out, descriptors: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        let packet = encode(message)?;
        // Straight to the system: the runtime's remembered readiness can be older than the truth.
        Ok(send_packet(self.as_fd(), &packet, descriptors)?)
    }

    /// The next message and the descriptors it carried; `None` when the other side is gone. Cancelling loses nothing.
    ///
    /// If this process has no descriptor left, the message comes without those that it carried: they are lost.
    pub async fn recv(&self) -> Result<Option<(In, Vec<OwnedFd>)>, LinkError> {
        self.socket.when_readable(|| receive_packet(self.as_fd(), decode)).await?
    }

    /// As [`Link::recv`] if a message is there already; an error of kind `WouldBlock` says that none is. Reads what a dead
    /// peer still said.
    pub fn try_recv(&self) -> Result<Option<(In, Vec<OwnedFd>)>, LinkError> {
        receive_packet(self.as_fd(), decode)?
    }
}

impl<Out, In> AsFd for Link<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<Out, In> std::fmt::Debug for Link<Out, In> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("socket", &self.socket.as_fd()).finish()
    }
}

impl LinkError {
    /// Whether the socket was full (sending) or empty (receiving), and nothing else.
    pub fn is_would_block(&self) -> bool {
        matches!(self, LinkError::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Sends a message from outside of a runtime, where a thread has no [`Link`] but its socket, if that is possible without waiting. The
/// socket is one that a link uses: each packet is sent as a whole.
///
/// # Errors
/// Where the message is too large, the other side's buffer is full, or the system refuses.
pub fn send_now<M: Serialize>(socket: BorrowedFd<'_>, message: &M) -> Result<(), LinkError> {
    Ok(send_packet(socket, &encode(message)?, &[])?)
}

fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, LinkError> {
    let packet = rmp_serde::to_vec_named(message)?;
    if packet.len() > MAX_MESSAGE_BYTES {
        return Err(LinkError::TooLarge(packet.len()));
    }
    Ok(packet)
}

/// No message is empty, so nothing read is the end of the file.
fn decode<M: DeserializeOwned>(
    packet: &[u8],
    descriptors: Vec<OwnedFd>,
) -> Result<Option<(M, Vec<OwnedFd>)>, LinkError> {
    if packet.is_empty() {
        return Ok(None);
    }
    Ok(Some((rmp_serde::from_slice(packet)?, descriptors)))
}

fn send_packet(socket: BorrowedFd<'_>, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} descriptors in one message", descriptors.len()),
        ));
    }
    match sendmsg(socket, &[IoSlice::new(packet)], &mut ancillary, SendFlags::NOSIGNAL) {
        Ok(_) => Ok(()),
        // Too many descriptors are under way to one process: as good as a full buffer.
        Err(rustix::io::Errno::TOOMANYREFS) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

thread_local! {
    /// Where packets are read to, before their size is known. The pages of it that no packet has needed take no memory.
    static PACKET: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_MESSAGE_BYTES]);
}

/// Reads one packet, in one call of the system: there are two or three for each connection.
fn receive_packet<R>(socket: BorrowedFd<'_>, read: impl FnOnce(&[u8], Vec<OwnedFd>) -> R) -> io::Result<R> {
    PACKET.with_borrow_mut(|packet| {
        let received = match receive_into(socket, packet) {
            // The other side left something unread when it was closed. That is told once, and before what it still said.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => receive_into(socket, packet),
            received => received,
        };
        let (length, descriptors) = received?;
        Ok(read(&packet[..length], descriptors))
    })
}

fn receive_into(socket: BorrowedFd<'_>, packet: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(packet)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.flags.contains(ReturnFlags::TRUNC) {
        let reason = format!("a message of more than {MAX_MESSAGE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        // Some would be worse than none: nobody could tell which.
        descriptors.clear();
    }
    Ok((received.bytes, descriptors))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::message::{ConnectionId, PeerAddress, ToSupervisor, ToWorker};

    type SupervisorEnd = Link<ToWorker, ToSupervisor>;
    type WorkerEnd = Link<ToSupervisor, ToWorker>;

    fn pair() -> (SupervisorEnd, WorkerEnd) {
        let (ours, theirs) = SupervisorEnd::pair().unwrap();
        (ours, WorkerEnd::new(theirs).unwrap())
    }

    fn connection(read: Vec<u8>) -> ToWorker {
        ToWorker::Connection {
            id: ConnectionId(u64::MAX),
            peer: PeerAddress::Ip([127, 0, 0, 1].into(), 80),
            moved: false,
            read,
        }
    }

    #[tokio::test]
    async fn a_message_arrives_whole_with_its_descriptor() {
        let (supervisor, worker) = pair();
        let file = tempfile::tempfile().unwrap();
        for size in [0, 1, 900, 5000, 80_000] {
            let message = connection(vec![7; size]);
            supervisor.send(&message, &[file.as_fd()]).await.unwrap();
            let (got, descriptors) = worker.recv().await.unwrap().unwrap();
            assert_eq!(got, message);
            assert_eq!(rustix::fs::fstat(&descriptors[0]).unwrap().st_ino, rustix::fs::fstat(&file).unwrap().st_ino);
        }
    }

    #[tokio::test]
    async fn what_a_dead_peer_said_is_read_before_the_end_of_file() {
        let (supervisor, worker) = pair();
        for id in 0..10 {
            worker.try_send(&ToSupervisor::Accepted { id: ConnectionId(id) }, &[]).unwrap();
        }
        drop(worker);
        for id in 0..10 {
            let (message, _) = supervisor.recv().await.unwrap().unwrap();
            assert_eq!(message, ToSupervisor::Accepted { id: ConnectionId(id) });
        }
        assert!(supervisor.recv().await.unwrap().is_none());
    }

    /// A process that is killed leaves unread what was on its way to it, and the system tells that first.
    #[tokio::test]
    async fn what_a_dead_peer_said_is_read_although_it_did_not_read_all() {
        let (supervisor, worker) = pair();
        supervisor.try_send(&ToWorker::Ping { nonce: 1 }, &[]).unwrap();
        worker.try_send(&ToSupervisor::Accepted { id: ConnectionId(1) }, &[]).unwrap();
        drop(worker);
        let (message, _) = supervisor.recv().await.unwrap().unwrap();
        assert_eq!(message, ToSupervisor::Accepted { id: ConnectionId(1) });
        assert!(supervisor.recv().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_full_socket_is_would_block_and_loses_nothing() {
        let (supervisor, worker) = pair();
        let mut sent = 0;
        while supervisor.try_send(&connection(vec![0; 1000]), &[]).map_err(|e| assert!(e.is_would_block())).is_ok() {
            sent += 1;
        }
        assert!(sent > 10);
        let last = supervisor.send(&ToWorker::Ping { nonce: 1 }, &[]);
        let drain = async {
            for _ in 0..sent {
                worker.recv().await.unwrap().unwrap();
            }
            worker.recv().await.unwrap().unwrap().0
        };
        let (last, message) = tokio::join!(last, drain);
        last.unwrap();
        assert_eq!(message, ToWorker::Ping { nonce: 1 });
    }

    #[tokio::test]
    async fn an_oversize_message_is_refused_by_its_sender() {
        let (supervisor, _worker) = pair();
        let error = supervisor.send(&connection(vec![0; MAX_MESSAGE_BYTES]), &[]).await.unwrap_err();
        assert!(matches!(error, LinkError::TooLarge(size) if size > MAX_MESSAGE_BYTES));
    }

    #[tokio::test]
    async fn an_oversize_packet_is_an_error_and_not_half_a_message() {
        let (supervisor, worker) = pair();
        send_packet(worker.as_fd(), &vec![0xc0; MAX_MESSAGE_BYTES + 1], &[]).unwrap();
        assert!(
            matches!(supervisor.recv().await, Err(LinkError::Io(error)) if error.kind() == io::ErrorKind::InvalidData)
        );
    }

    #[tokio::test]
    async fn a_packet_that_is_no_message_is_an_error_and_not_a_panic() {
        let (supervisor, worker) = pair();
        for packet in [&b"\xc1"[..], b"\x81\xa5Never\xc0", &[0xdf; 64]] {
            send_packet(worker.as_fd(), packet, &[]).unwrap();
            assert!(matches!(supervisor.recv().await, Err(LinkError::Decode(_))));
        }
    }
}
