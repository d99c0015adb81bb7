//! The state machine.

use std::time::{Duration, Instant};

use super::{Action, Answer, CloseReason, Ending, GOING_AWAY, Probe, Sent, Settings, Transport};
use crate::protocol::{
    Encoded,
    engine_packet::{PROBE, Packet},
    heartbeat::{Beat, Heartbeat},
    queue::{Item, Overflow, Queue},
};

/// How long an orderly end waits for a poll.
const FAREWELL: Duration = Duration::from_secs(30);
/// How often a pending poll is ended while the client waits for it to upgrade.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// A session's state; see the module's documentation.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    heartbeat: Heartbeat,
    queue: Queue,
}

#[derive(Debug)]
enum Phase {
    WebSocket,
    Polling { poll: bool, post: bool, upgrade: Upgrade },
    Farewell { until: Instant, upgrade: Upgrade },
    Ended,
}

#[derive(Clone, Copy, Debug)]
enum Upgrade {
    None,
    /// A WebSocket has opened.
    Probing {
        until: Instant,
    },
    /// Its probe was answered; the client ends its polling now.
    Probed {
        until: Instant,
        noop: Instant,
    },
}

impl Upgrade {
    /// When it must be done; `None` where none is under way.
    fn until(self) -> Option<Instant> {
        match self {
            Upgrade::None => None,
            Upgrade::Probing { until } | Upgrade::Probed { until, .. } => Some(until),
        }
    }
}

impl Session {
    /// A session that begins now.
    pub fn open(transport: Transport, now: Instant, settings: &Settings) -> Session {
        let phase = match transport {
            Transport::WebSocket => Phase::WebSocket,
            Transport::Polling => Phase::Polling { poll: false, post: false, upgrade: Upgrade::None },
        };
        Session { phase, heartbeat: Heartbeat::new(now, &settings.rhythm), queue: Queue::default() }
    }

    /// The transport that requests with its id must name.
    pub fn transport(&self) -> Transport {
        match self.phase {
            Phase::WebSocket | Phase::Ended => Transport::WebSocket,
            Phase::Polling { .. } | Phase::Farewell { .. } => Transport::Polling,
        }
    }

    /// Whether packets still count, in both directions.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::WebSocket | Phase::Polling { .. })
    }

    /// Whether nothing more can come of it: not even a farewell is due.
    pub fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// When [`Session::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let upgrade = match self.phase {
            Phase::Ended => return None,
            Phase::Farewell { until, upgrade } => return Some(upgrade.until().map_or(until, |end| end.min(until))),
            Phase::WebSocket | Phase::Polling { upgrade: Upgrade::None, .. } => None,
            Phase::Polling { upgrade: Upgrade::Probing { until }, .. } => Some(until),
            Phase::Polling { upgrade: Upgrade::Probed { until, noop }, .. } => Some(until.min(noop)),
        };
        upgrade.into_iter().chain([self.heartbeat.due()]).min()
    }

    /// Does what is due. True if a packet was queued.
    pub fn expire(&mut self, now: Instant, settings: &Settings, out: &mut Vec<Action>) -> bool {
        match &mut self.phase {
            Phase::Ended => return false,
            Phase::Farewell { until, upgrade } => {
                let over = now >= *until;
                if upgrade.until().is_some_and(|end| over || now >= end) {
                    *upgrade = Upgrade::None;
                    out.push(Action::CloseProbe);
                }
                if over {
                    self.queue.take();
                    self.phase = Phase::Ended;
                }
                return false;
            }
            Phase::Polling { .. } => self.expire_upgrade(now, out),
            Phase::WebSocket => {}
        }
        match self.heartbeat.expire(now, &settings.rhythm) {
            Some(Beat::Ping) => self.send(Encoded::ping(), settings, out) == Sent::Queued,
            Some(Beat::Timeout) => {
                self.end(CloseReason::PingTimeout, Ending::Orderly, Answer::Close, out);
                false
            }
            None => false,
        }
    }

    /// Queues packets for the client.
    pub fn send(&mut self, packets: impl Into<Item>, settings: &Settings, out: &mut Vec<Action>) -> Sent {
        if !self.is_open() {
            return Sent::Dropped;
        }
        match self.queue.push(packets.into(), settings.max_queue_bytes) {
            Ok(()) => Sent::Queued,
            Err(Overflow) => {
                self.end(CloseReason::TransportError, Ending::Abrupt, Answer::Close, out);
                Sent::Overflow
            }
        }
    }

    /// Whether the transport would write a packet in this turn. `blocked`: the WebSocket has not taken an earlier one yet.
    pub fn takes_now(&self, blocked: bool) -> bool {
        match self.phase {
            Phase::WebSocket => !blocked,
            Phase::Polling { poll, .. } => poll,
            Phase::Farewell { .. } | Phase::Ended => false,
        }
    }

    /// What waits to be written; the shell of a WebSocket takes from it what it could write.
    pub fn queue(&mut self) -> &mut Queue {
        &mut self.queue
    }

    /// Answers a pending poll if packets wait.
    pub fn flush_poll(&mut self, out: &mut Vec<Action>) {
        if let Phase::Polling { poll: poll @ true, .. } = &mut self.phase
            && !self.queue.is_empty()
        {
            *poll = false;
            out.push(Action::AnswerPoll(Answer::Packets));
        }
    }

    /// A packet came on the session's transport. True if it is a message to hand on.
    pub fn packet(&mut self, packet: &Packet<'_>, now: Instant, settings: &Settings, out: &mut Vec<Action>) -> bool {
        if !self.is_open() {
            if matches!(packet, Packet::Close) {
                self.farewell_unwanted(out);
            }
            return false;
        }
        match packet {
            Packet::Message(_) | Packet::Binary(_) => {
                self.heartbeat.packet(now, &settings.rhythm);
                return true;
            }
            Packet::Pong => self.heartbeat.pong(now, &settings.rhythm),
            Packet::Ping(_) => self.end(CloseReason::TransportError, Ending::Orderly, Answer::Close, out),
            // On a WebSocket only the WebSocket's own close counts.
            Packet::Close if self.transport() == Transport::Polling => {
                self.end(CloseReason::TransportClose, Ending::Orderly, Answer::Noop, out);
            }
            Packet::Close | Packet::Open | Packet::Upgrade | Packet::Noop => {
                self.heartbeat.packet(now, &settings.rhythm);
            }
        }
        false
    }

    /// The client has closed too: it will not ask for the farewell.
    fn farewell_unwanted(&mut self, out: &mut Vec<Action>) {
        let Phase::Farewell { upgrade, .. } = self.phase else { return };
        self.phase = Phase::Ended;
        if upgrade.until().is_some() {
            out.push(Action::CloseProbe);
        }
    }

    /// What came is no packet.
    pub fn bad_packet(&mut self, out: &mut Vec<Action>) {
        self.end(CloseReason::ParseError, Ending::Orderly, Answer::Close, out);
    }

    /// A GET came. If it is the only one, it is pending now: the shell must be able to answer it before it does the
    /// actions. False: a second one, to be refused; it has ended the session.
    pub fn poll_opened(&mut self, out: &mut Vec<Action>) -> bool {
        match &mut self.phase {
            Phase::Polling { poll: true, .. } => {
                self.end(CloseReason::TransportError, Ending::Orderly, Answer::Close, out);
                false
            }
            Phase::Polling { poll, .. } => {
                *poll = true;
                self.flush_poll(out);
                true
            }
            Phase::WebSocket | Phase::Ended => false,
            Phase::Farewell { upgrade, .. } if self.queue.is_empty() => {
                let upgrade = *upgrade;
                self.phase = Phase::Ended;
                out.push(Action::AnswerPoll(Answer::NoopClose));
                if upgrade.until().is_some() {
                    out.push(Action::CloseProbe);
                }
                true
            }
            Phase::Farewell { .. } => {
                out.push(Action::AnswerPoll(Answer::Packets));
                true
            }
        }
    }

    /// The client dropped the pending GET.
    pub fn poll_aborted(&mut self, out: &mut Vec<Action>) {
        if let Phase::Polling { poll: poll @ true, .. } = &mut self.phase {
            *poll = false;
            self.end(CloseReason::TransportError, Ending::Orderly, Answer::Close, out);
        }
    }

    /// A POST came. False: a second one, to be refused; it has ended the session.
    pub fn post_started(&mut self, out: &mut Vec<Action>) -> bool {
        match &mut self.phase {
            Phase::Polling { post: true, .. } => {
                self.end(CloseReason::TransportError, Ending::Orderly, Answer::Close, out);
                false
            }
            Phase::Polling { post, .. } => {
                *post = true;
                true
            }
            Phase::Farewell { .. } => true,
            Phase::WebSocket | Phase::Ended => false,
        }
    }

    /// The POST has come whole (or was too large, which harms nobody).
    pub fn post_ended(&mut self) {
        if let Phase::Polling { post, .. } = &mut self.phase {
            *post = false;
        }
    }

    /// The client dropped the POST under way, or it is one that no client sends. One that an upgrade has left behind no longer
    /// matters.
    pub fn post_failed(&mut self, out: &mut Vec<Action>) {
        if let Phase::Polling { post: post @ true, .. } = &mut self.phase {
            *post = false;
            self.end(CloseReason::TransportError, Ending::Orderly, Answer::Close, out);
        }
    }

    /// A WebSocket for this session opened. False: it is to be closed at once, the session does not mind.
    pub fn upgrade_opened(&mut self, now: Instant, settings: &Settings) -> bool {
        match &mut self.phase {
            Phase::Polling { upgrade: upgrade @ Upgrade::None, .. }
            | Phase::Farewell { upgrade: upgrade @ Upgrade::None, .. } => {
                *upgrade = Upgrade::Probing { until: now + settings.upgrade_timeout };
                true
            }
            _ => false,
        }
    }

    /// A packet came on that WebSocket (`None`: what came is no packet).
    pub fn probe_packet(
        &mut self,
        packet: Option<&Packet<'_>>,
        now: Instant,
        settings: &Settings,
        out: &mut Vec<Action>,
    ) -> Probe {
        let (poll, post, upgrade) = match &mut self.phase {
            Phase::Polling { poll, post, upgrade } => (*poll, *post, upgrade),
            // A client that was told to switch polls no more: only there can it still learn of the end.
            Phase::Farewell { upgrade, .. } => (false, false, upgrade),
            Phase::WebSocket | Phase::Ended => return Probe::Refused,
        };
        match (packet, *upgrade) {
            (Some(Packet::Ping(PROBE)), Upgrade::Probing { until } | Upgrade::Probed { until, .. }) => {
                *upgrade = Upgrade::Probed { until, noop: now + PROBE_INTERVAL };
                Probe::Answer
            }
            (Some(Packet::Upgrade), Upgrade::Probing { .. } | Upgrade::Probed { .. }) => {
                if poll {
                    out.push(Action::AnswerPoll(Answer::Noop));
                }
                if post {
                    out.push(Action::AbortPost);
                }
                if !self.is_open() {
                    self.phase = Phase::Ended;
                    out.push(Action::CloseSocket(Ending::Orderly));
                    return Probe::Switched;
                }
                self.phase = Phase::WebSocket;
                self.heartbeat.transport_changed(now, &settings.rhythm);
                Probe::Switched
            }
            _ => {
                *upgrade = Upgrade::None;
                Probe::Refused
            }
        }
    }

    /// That WebSocket is gone.
    pub fn probe_closed(&mut self) {
        if let Phase::Polling { upgrade, .. } | Phase::Farewell { upgrade, .. } = &mut self.phase {
            *upgrade = Upgrade::None;
        }
    }

    /// The client closed the session's WebSocket or its connection.
    pub fn socket_closed(&mut self, out: &mut Vec<Action>) {
        self.end(CloseReason::TransportClose, Ending::Orderly, Answer::Close, out);
    }

    /// The client broke the WebSocket's rules; it is told so by this code.
    pub fn socket_failed(&mut self, code: u16, out: &mut Vec<Action>) {
        self.end(CloseReason::TransportError, Ending::Code(code), Answer::Close, out);
    }

    /// This server closes the session, in order: what waits is still sent.
    pub fn close(&mut self, reason: CloseReason, now: Instant, out: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Farewell { .. } | Phase::Ended => {}
            Phase::WebSocket => {
                let ending = match reason {
                    CloseReason::ServerShuttingDown => Ending::Code(GOING_AWAY),
                    _ => Ending::Orderly,
                };
                self.end(reason, ending, Answer::Close, out);
            }
            Phase::Polling { poll: true, .. } if self.queue.is_empty() => {
                self.end(reason, Ending::Orderly, Answer::Close, out);
            }
            Phase::Polling { poll, post, upgrade } => {
                if std::mem::take(poll) {
                    out.push(Action::AnswerPoll(Answer::Packets));
                }
                if std::mem::take(post) {
                    out.push(Action::AbortPost);
                }
                let upgrade = *upgrade;
                self.queue.seal();
                self.phase = Phase::Farewell { until: now + FAREWELL, upgrade };
                out.push(Action::Ended(reason));
            }
        }
    }

    fn expire_upgrade(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Phase::Polling { poll, upgrade, .. } = &mut self.phase else { return };
        match upgrade {
            Upgrade::Probing { until } | Upgrade::Probed { until, .. } if now >= *until => {
                *upgrade = Upgrade::None;
                out.push(Action::CloseProbe);
            }
            Upgrade::Probed { noop, .. } if now >= *noop => {
                *noop = now + PROBE_INTERVAL;
                if std::mem::take(poll) {
                    out.push(Action::AnswerPoll(if self.queue.is_empty() { Answer::Noop } else { Answer::Packets }));
                }
            }
            _ => {}
        }
    }

    /// The end of an open session, at once: a pending poll gets `answer`, a WebSocket `ending`.
    fn end(&mut self, reason: CloseReason, ending: Ending, answer: Answer, out: &mut Vec<Action>) {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::WebSocket => out.push(Action::CloseSocket(ending)),
            Phase::Polling { poll, post, upgrade } => {
                if poll {
                    out.push(Action::AnswerPoll(answer));
                }
                if post {
                    out.push(Action::AbortPost);
                }
                if !matches!(upgrade, Upgrade::None) {
                    out.push(Action::CloseProbe);
                }
            }
            ended @ (Phase::Farewell { .. } | Phase::Ended) => {
                self.phase = ended;
                return;
            }
        }
        out.push(Action::Ended(reason));
    }
}
