//! What a server sent in a form in which two servers can be compared: one line for each thing that a client can tell.
//!
//! Left out is what means the same to a client: how JSON is written, the order of attachments, those that no placeholder names
//! (the official server drops them), ids and times.

use super::{
    answer::Answer,
    case::{Number, POLLS},
    json,
    talk::Received,
};
use crate::differential::allowed;

/// The lines of one connection.
pub fn lines(number: Number, received: &Received) -> Vec<String> {
    let mut reader = Reader { rest: &received.bytes, lines: Vec::new(), number };
    if number >= POLLS {
        reader.polls();
    } else {
        reader.read(received.ended);
    }
    allowed::everywhere(reader.lines)
}

/// Whether what was received ends with a WebSocket's close frame.
pub fn is_closed(received: &Received) -> bool {
    let mut reader = Reader { rest: &received.bytes, lines: Vec::new(), number: 0 };
    match Answer::read(reader.rest) {
        Some((answer, rest)) if answer.status == 101 => {
            reader.rest = rest;
            reader.frames()
        }
        _ => false,
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    lines: Vec<String>,
    number: Number,
}

impl<'a> Reader<'a> {
    fn read(&mut self, ended: bool) {
        while let Some((answer, rest)) = Answer::read(self.rest) {
            self.rest = rest;
            self.head(&answer);
            if answer.status == 101 {
                if self.frames() {
                    // How soon the connection ends behind a close frame is not the protocol's affair.
                    return;
                }
                break;
            }
            self.parts(&parts(&answer.body), "body");
        }
        if !self.rest.is_empty() {
            let rest = self.rest.escape_ascii().to_string();
            self.say(format!("unread {rest}"));
        }
        self.say(if ended { "ended" } else { "open" }.into());
    }

    /// The answers to a client that polls all the time. How packets are spread over them is the server's affair, and so is how
    /// often it has nothing to say.
    fn polls(&mut self) {
        let mut all = Vec::new();
        let mut last = None;
        while let Some((answer, rest)) = Answer::read(self.rest) {
            self.rest = rest;
            if answer.status == 200 {
                all.extend(
                    parts(&answer.body).into_iter().filter(|part| !matches!(part, Part::Text(text) if text == "6")),
                );
            } else if allowed::is_taken_over(&answer.body) {
                all.push(Part::Text("1".into()));
            } else {
                last = Some(answer);
            }
        }
        self.parts(&all, "polled");
        if let Some(answer) = last {
            self.head(&answer);
            self.parts(&parts(&answer.body), "body");
        }
    }

    fn head(&mut self, answer: &Answer) {
        self.say(format!("status {}", answer.status));
        for (name, value) in &answer.headers {
            match name.as_str() {
                "content-length" if *value == answer.body.len().to_string() && !answer.body.is_empty() => {
                    self.say("content-length: of the body".into());
                }
                "date" => self.say("date: now".into()),
                _ => self.say(format!("{name}: {value}")),
            }
        }
    }

    fn say(&mut self, what: String) {
        self.lines.push(format!("{}: {what}", self.number));
    }

    /// The frames; whether the last one closes.
    fn frames(&mut self) -> bool {
        let mut parts = Vec::new();
        let mut closes = None;
        while let Some((head, payload)) = self.frame() {
            match head {
                0x81 => parts.push(Part::Text(String::from_utf8_lossy(payload).into_owned())),
                // In the form that polling has, so that what moves from one to the other reads the same.
                0x82 => parts.push(Part::Binary(base64(payload))),
                0x88 => {
                    // The reason is for people.
                    closes = Some(format!("frame close {:?}", payload.get(..2)));
                    break;
                }
                _ => parts.push(Part::Other(format!("frame {head:02x} \"{}\"", payload.escape_ascii()))),
            }
        }
        self.parts(&parts, "frame");
        let closed = closes.is_some();
        self.lines.extend(closes.map(|close| format!("{}: {close}", self.number)));
        closed
    }

    fn frame(&mut self) -> Option<(u8, &'a [u8])> {
        let [head, length, ..] = *self.rest else { return None };
        let (skip, length) = match length {
            126 => (4, self.rest.get(2..4)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))),
            127 => (10, self.rest.get(2..10)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))),
            length => (2, usize::from(length)),
        };
        let payload = self.rest.get(skip..skip + length)?;
        self.rest = &self.rest[skip + length..];
        Some((head, payload))
    }

    fn parts(&mut self, parts: &[Part], where_: &str) {
        let mut parts = parts.iter();
        while let Some(part) = parts.next() {
            let line = match part {
                Part::Binary(base64) => format!("{where_} bytes {base64}"),
                Part::Other(line) => line.clone(),
                Part::Text(text) => {
                    let mut text = json::plain(text);
                    for index in 0..json::attachments(&text) {
                        let Some(Part::Binary(base64)) = parts.as_slice().first() else { break };
                        parts.next();
                        text = text.replace(&json::placeholder(index), &format!("<{base64}>"));
                    }
                    if json::attachments(&text) > 0 {
                        text = text.trim_start_matches(|first: char| first != '-').to_owned();
                    }
                    format!("{where_} {text}")
                }
            };
            self.say(line.chars().take(300).collect());
        }
    }
}

/// The packets of a polling payload.
fn parts(body: &[u8]) -> Vec<Part> {
    let part = |part: &[u8]| match part.strip_prefix(b"b") {
        Some(base64) => Part::Binary(base64.escape_ascii().to_string()),
        None => Part::Text(String::from_utf8_lossy(part).into_owned()),
    };
    body.split(|byte| *byte == 0x1e).map(part).collect()
}

/// A packet of Engine.IO.
enum Part {
    Text(String),
    Binary(String),
    Other(String),
}

fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}
