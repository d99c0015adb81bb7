//! What a client does in a generated conversation: data, so that it can be cut down and printed.

use std::fmt::{self, Display, Formatter};

/// Names a connection of a conversation, and the session that was opened on it. Stays the same when other steps are left out.
pub type Number = u32;

/// To the number of a session this is added for the connection on which a client polls it all the time.
pub const POLLS: Number = 1000;

/// A conversation's steps, one after the other.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Case(pub Vec<Step>);

/// Something that a client does.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// Opens a connection and sends a request.
    Open { number: Number, request: Request },
    /// Sends a request on a connection that has been open for a while.
    Again { number: Number, request: Request },
    /// Sends WebSocket frames on a connection that has been upgraded, in one write, or in two cut at that byte.
    Frames { number: Number, frames: Vec<Frame>, cut: Option<usize> },
    /// From now on polls a session all the time, as real clients do: when it gets an answer, it asks again.
    Poll { session: Number },
    /// Closes a connection.
    Close { number: Number },
}

/// An HTTP request. `SID3.` in it stands for the id of the session that was opened on connection 3.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Request {
    pub method: String,
    pub query: String,
    pub headers: Vec<String>,
    pub body: Option<Vec<u8>>,
    /// Where it is cut into two writes.
    pub cut: Option<usize>,
}

/// A client's WebSocket frame.
#[derive(Clone, PartialEq, Debug)]
pub struct Frame {
    /// The first byte: final, reserved bits, opcode.
    pub head: u8,
    pub payload: Vec<u8>,
}

impl Step {
    /// The connection that it is about.
    pub fn number(&self) -> Number {
        match self {
            Step::Open { number, .. }
            | Step::Again { number, .. }
            | Step::Frames { number, .. }
            | Step::Close { number }
            | Step::Poll { session: number } => *number,
        }
    }
}

impl Request {
    /// As it is sent.
    pub fn bytes(&self, with_ids: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let body = self.body.as_ref().map(|body| with_ids(body));
        let mut head = format!("{} /socket.io/?{} HTTP/1.1\r\nHost: test\r\n", self.method, self.query);
        for header in &self.headers {
            head += header;
            head += "\r\n";
        }
        if let Some(body) = &body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        let mut bytes = with_ids(head.as_bytes());
        bytes.extend(body.iter().flatten());
        bytes
    }
}

impl Case {
    /// Whether the client closes this connection itself: how far an answer to it had come by then is chance.
    pub fn closes(&self, number: Number) -> bool {
        self.0.iter().any(|step| matches!(step, Step::Close { number: closed } if *closed == number))
    }

    /// Without the steps on connections that it no longer opens.
    pub fn sound(mut self) -> Case {
        let mut open = Vec::new();
        self.0.retain(|step| {
            if matches!(step, Step::Open { .. }) {
                open.push(step.number());
            }
            open.contains(&step.number())
        });
        self
    }
}

impl Display for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            write!(f, "    {}: ", step.number())?;
            match step {
                Step::Open { request, .. } => writeln!(f, "{request}")?,
                Step::Again { request, .. } => writeln!(f, "again {request}")?,
                Step::Poll { .. } => writeln!(f, "is polled from now on")?,
                Step::Close { .. } => writeln!(f, "close")?,
                Step::Frames { frames, cut, .. } => {
                    for frame in frames {
                        write!(f, "frame {:02x} \"{}\" ", frame.head, frame.payload.escape_ascii())?;
                    }
                    writeln!(f, "{}", Cut(*cut))?;
                }
            }
        }
        Ok(())
    }
}

impl Display for Request {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ?{}", self.method, self.query)?;
        for header in &self.headers {
            write!(f, " [{}]", header.escape_default())?;
        }
        if let Some(body) = &self.body {
            write!(f, " body \"{}\"", body.escape_ascii())?;
        }
        write!(f, "{}", Cut(self.cut))
    }
}

struct Cut(Option<usize>);

impl Display for Cut {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |at| write!(f, " (in two writes, cut at {at})"))
    }
}
