//! What comes out of a session's membership.

use smallvec::SmallVec;
use thiserror::Error;

use crate::protocol::session::CloseReason;

/// Place of a namespace in the list of those that the application declared.
pub type NamespaceIndex = u16;

/// Names a socket inside its namespace, for as long as it is there.
pub type Member = u32;

/// Names a socket inside its worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SocketKey {
    /// Its namespace.
    pub namespace: NamespaceIndex,
    /// Which one there.
    pub member: Member,
}

/// What the shell must do, in this order. Nearly never more than two things.
pub type Actions = SmallVec<[Action; 2]>;

/// One thing that the shell must do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Forget the socket without a word, and whatever middleware decides: another one takes its place, or its session has ended.
    Forget(SocketKey),
    /// Send DISCONNECT.
    SendDisconnect(SocketKey),
    /// The socket leaves: its handlers hear the reason, its rooms are left, then it is forgotten. Comes exactly once for each
    /// that came in.
    Leave(SocketKey, Reason),
    /// Close the session, with the reason [`CloseReason::ForcedClose`]; its end comes back by
    /// [`ended`](super::Membership::ended). Comes at most once.
    Close(Cause),
}

/// Why a socket leaves, as its handlers hear it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The client sent DISCONNECT.
    Client,
    /// The application disconnected it.
    Server,
    /// Its session has ended.
    Session(CloseReason),
}

/// Why this server closes a session, for the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Cause {
    /// CONNECT for a namespace that the session is in.
    #[error("the client joins a namespace twice")]
    SecondConnect,
    /// Another packet for a namespace that the session is not in.
    #[error("the client sends a packet for a namespace that it is not in")]
    NotJoined,
    /// A packet that only a server sends.
    #[error("the client sends a packet that only a server sends")]
    ServersPacket,
    /// What came is no packet.
    #[error("the client sends what is no packet")]
    Unreadable,
    /// The connect timeout is over.
    #[error("the client joins no namespace in time")]
    NothingJoined,
    /// More events than may wait to be handled.
    #[error("the client sends faster than its events are handled")]
    TooFast,
    /// The application wants it.
    #[error("the application closes it")]
    Application,
    /// A socket could not be made.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl Reason {
    /// The official server's name of the reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Client => "client namespace disconnect",
            Reason::Server => "server namespace disconnect",
            Reason::Session(reason) => reason.as_str(),
        }
    }
}
