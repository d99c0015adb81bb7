//! Has a generated conversation with one server, and keeps all that it sends.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    answer::Answer,
    case::{Case, Frame, Number, POLLS, Step},
    plain,
};
use crate::differential::recorder;

/// How long a server says nothing before it counts as having answered a step.
#[derive(Clone, Copy, Debug)]
pub struct Quiet(pub Duration);

/// Longer than the official server takes to end a pending poll when a WebSocket probes.
const PROBE: Duration = Duration::from_millis(130);
/// Stands for the id of the question that a server has asked.
pub const QUESTION: &[u8] = b"QUESTION";
const EACH_READ: usize = 64 * 1024;

/// What a server sent on one connection.
#[derive(Default)]
pub struct Received {
    pub bytes: Vec<u8>,
    pub ended: bool,
}

struct Talk {
    server: SocketAddr,
    connections: BTreeMap<Number, (TcpStream, Received)>,
    polls: Vec<Polls>,
}

/// A session that is polled all the time.
struct Polls {
    session: Number,
    /// How much of what was received on the connection for it has been answered by the next poll.
    read: usize,
}

/// Has the conversation; what was received on each connection.
pub fn talk(server: SocketAddr, case: &Case, quiet: Quiet) -> BTreeMap<Number, Received> {
    let mut talk = Talk { server, connections: BTreeMap::new(), polls: Vec::new() };
    for step in &case.0 {
        talk.act(step);
        let probes =
            matches!(step, Step::Frames { frames, .. } if frames.iter().any(|frame| frame.payload == b"2probe"));
        let least = if probes { PROBE } else { Duration::ZERO };
        talk.listen(quiet.0, least);
    }
    talk.listen(quiet.0 * 2, Duration::ZERO);
    talk.connections.into_iter().map(|(number, (_, received))| (number, received)).collect()
}

impl Talk {
    fn act(&mut self, step: &Step) {
        match step {
            Step::Open { number, request } => {
                self.connect(*number);
                let bytes = request.bytes(|bytes| self.with_ids(bytes));
                self.send(*number, &bytes, request.cut);
            }
            Step::Again { number, request } => {
                let bytes = request.bytes(|bytes| self.with_ids(bytes));
                self.send(*number, &bytes, request.cut);
            }
            Step::Frames { number, frames, cut } => {
                // What is sent before the server has agreed would be part of no frame to it.
                if self.connections[number].1.bytes.starts_with(b"HTTP/1.1 101") {
                    let frame = |frame: &Frame| recorder::frame(frame.head, &self.with_ids(&frame.payload));
                    let bytes: Vec<u8> = frames.iter().flat_map(frame).collect();
                    self.send(*number, &bytes, *cut);
                }
            }
            Step::Poll { session } => {
                if !self.connections.contains_key(&(POLLS + session)) {
                    self.connect(POLLS + session);
                    self.polls.push(Polls { session: *session, read: 0 });
                    self.poll(*session);
                }
            }
            Step::Close { number } => {
                // The server may have been first.
                let _ = self.connections[number].0.shutdown(Shutdown::Both);
            }
        }
    }

    fn connect(&mut self, number: Number) {
        let stream = TcpStream::connect(self.server).unwrap();
        stream.set_nodelay(true).unwrap();
        self.connections.insert(number, (stream, Received::default()));
    }

    fn poll(&mut self, session: Number) {
        let request =
            format!("GET /socket.io/?EIO=4&transport=polling&sid=SID{session}. HTTP/1.1\r\nHost: test\r\n\r\n");
        let bytes = self.with_ids(request.as_bytes());
        self.send(POLLS + session, &bytes, None);
    }

    /// Polls again where an answer came, unless it says that there is no more.
    fn poll_again(&mut self) {
        for at in 0..self.polls.len() {
            let Polls { session, read } = self.polls[at];
            let (_, received) = &self.connections[&(POLLS + session)];
            let Some((answer, rest)) = Answer::read(&received.bytes[read..]) else { continue };
            self.polls[at].read = received.bytes.len() - rest.len();
            let closes = answer.body.split(|byte| *byte == 0x1e).any(|packet| packet == b"1");
            if answer.status == 200 && !closes {
                self.poll(session);
            }
        }
    }

    /// As clients do, and the official server waits for it.
    fn close_closed(&self) {
        for (stream, received) in self.connections.values() {
            if !received.ended && plain::is_closed(received) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn send(&mut self, number: Number, bytes: &[u8], cut: Option<usize>) {
        let (stream, _) = &mut self.connections.get_mut(&number).unwrap();
        stream.set_nonblocking(false).unwrap();
        let (first, second) = bytes.split_at(cut.unwrap_or_default().min(bytes.len()));
        for part in [first, second] {
            // A server may have ended the connection; then what it said tells.
            if !part.is_empty() && stream.write_all(part).is_ok() && part.len() < bytes.len() {
                sleep(Duration::from_millis(3));
            }
        }
    }

    /// Reads until nothing has come for a while, and for some time at least. During an upgrade there is no end to it: the official server ends polls with
    /// nothing all the time.
    fn listen(&mut self, quiet: Duration, least: Duration) {
        let begin = Instant::now();
        let mut last = begin;
        while begin.elapsed() < least || last.elapsed() < quiet && begin.elapsed() < quiet * 4 {
            if self.connections.values_mut().any(|(stream, received)| read(stream, received)) {
                last = Instant::now();
                self.poll_again();
                self.close_closed();
            } else {
                sleep(Duration::from_millis(2));
            }
        }
    }

    /// The id of the last question of the server, which is asked only after `ask me`.
    fn question(&self) -> Vec<u8> {
        let mut all = self.connections.values().filter_map(|(_, received)| {
            let end = find(&received.bytes, b"[\"question\"")?;
            let digits = received.bytes[..end].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            // In front of the id there is `42`, and perhaps a namespace.
            let id = &received.bytes[end - digits..end];
            Some(id.strip_prefix(b"42").unwrap_or(id).to_vec())
        });
        all.next_back().unwrap_or_default()
    }

    /// With the ids that a server has invented in place of what stands for them.
    fn with_ids(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        if let Some(at) = find(&bytes, QUESTION) {
            bytes.splice(at..at + QUESTION.len(), self.question());
        }
        for (number, (_, received)) in self.connections.iter().rev() {
            let Some(sid) = session_id(&received.bytes) else { continue };
            let name = format!("SID{number}.");
            while let Some(at) = find(&bytes, name.as_bytes()) {
                bytes.splice(at..at + name.len(), sid.iter().copied());
            }
        }
        bytes
    }
}

/// Reads what is there; whether anything was.
fn read(stream: &mut TcpStream, received: &mut Received) -> bool {
    if received.ended {
        return false;
    }
    stream.set_nonblocking(true).unwrap();
    let mut buffer = [0; EACH_READ];
    match stream.read(&mut buffer) {
        Ok(0) => received.ended = true,
        Ok(length) => received.bytes.extend(&buffer[..length]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
        // Reset: some of what was sent came too late to be read.
        Err(_) => received.ended = true,
    }
    true
}

/// The id of the session that was opened on a connection.
fn session_id(received: &[u8]) -> Option<&[u8]> {
    const BEFORE: &[u8] = b"0{\"sid\":\"";
    let at = find(received, BEFORE)? + BEFORE.len();
    let end = find(&received[at..], b"\",\"upgrades\"")?;
    Some(&received[at..at + end])
}

/// Where a part is.
pub fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
