//! What goes into a session and what comes out.

use std::{fmt, time::Duration};

use crate::protocol::heartbeat::Rhythm;

/// The WebSocket close code of a server that leaves.
pub const GOING_AWAY: u16 = 1001;

/// How a session exchanges packets.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{Socket, Transport};
///
/// fn interval_ms(socket: &Socket) -> u64 {
///     match socket.transport() {
///         Some(Transport::WebSocket) => 50,
///         Some(Transport::Polling) | None => 500,
///     }
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// HTTP long polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

/// Why a session ended, in the official server's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The client closed it or its connection.
    TransportClose,
    /// The client broke the transport's rules, or was too slow.
    TransportError,
    /// No pong came in time.
    PingTimeout,
    /// A packet of unknown type.
    ParseError,
    /// This server closed it.
    ForcedClose,
    /// This server closed it because it leaves.
    ServerShuttingDown,
}

/// What is the same for all sessions of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The heartbeat's.
    pub rhythm: Rhythm,
    /// From the second transport's opening to packet `5`.
    pub upgrade_timeout: Duration,
    /// How many bytes may wait for a client.
    pub max_queue_bytes: usize,
}

/// What the shell must do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Answer the poll that is pending.
    AnswerPoll(Answer),
    /// Reset the connection of the POST under way.
    AbortPost,
    /// Close the WebSocket that would have become the transport.
    CloseProbe,
    /// Close the session's WebSocket.
    CloseSocket(Ending),
    /// Tell the layer above. Comes exactly once in a session's life.
    Ended(CloseReason),
}

/// What a poll is answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// All packets that wait.
    Packets,
    /// `6`, so that the client may go on.
    Noop,
    /// `1`: the session is closed.
    Close,
    /// `6` and `1`: the session was closed before this poll came.
    NoopClose,
}

/// How a WebSocket is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// After what waits, with a close frame without a code.
    Orderly,
    /// After what waits, with this code.
    Code(u16),
    /// At once, without a word: the client takes no more.
    Abrupt,
}

/// What came of a packet for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It waits to be written.
    Queued,
    /// The session has ended, or a volatile packet could not go now.
    Dropped,
    /// The client was too slow: its session has ended over it.
    Overflow,
}

/// What a packet on the probing WebSocket means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// Answer `3probe`.
    Answer,
    /// That WebSocket is the session's transport now.
    Switched,
    /// Close that WebSocket; the session lives on.
    Refused,
}

impl CloseReason {
    /// All reasons, for figures by reason.
    pub const ALL: [CloseReason; 6] = [
        CloseReason::TransportClose,
        CloseReason::TransportError,
        CloseReason::PingTimeout,
        CloseReason::ParseError,
        CloseReason::ForcedClose,
        CloseReason::ServerShuttingDown,
    ];

    /// The official server's name of the reason.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::TransportClose => "transport close",
            CloseReason::TransportError => "transport error",
            CloseReason::PingTimeout => "ping timeout",
            CloseReason::ParseError => "parse error",
            CloseReason::ForcedClose => "forced close",
            CloseReason::ServerShuttingDown => "server shutting down",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Transport {
    /// The name in requests and in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Polling => "polling",
            Transport::WebSocket => "websocket",
        }
    }
}
