//! Talks to a server in raw bytes, and writes down what it says in a form in which two servers can be compared.

use std::{io::Read, net::SocketAddr, time::Duration};

use roomd_tests::http::{Answer, Connection};

/// How long a server may take for what it says at all.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A conversation with one server.
pub struct Recorder {
    server: SocketAddr,
    connections: Vec<Connection>,
    sid: String,
    /// What it said so far.
    pub lines: Vec<String>,
}

impl Recorder {
    pub fn new(server: SocketAddr) -> Recorder {
        Recorder { server, connections: Vec::new(), sid: String::new(), lines: Vec::new() }
    }

    /// Opens a connection and sends bytes; `SID` stands for the last session's id. Its number.
    pub fn open(&mut self, bytes: &str) -> usize {
        let mut connection = Connection::open(self.server);
        connection.expect_silence(PATIENCE);
        self.connections.push(connection);
        let number = self.connections.len() - 1;
        self.send(number, bytes);
        number
    }

    /// Sends text.
    pub fn send(&mut self, connection: usize, bytes: &str) {
        let bytes = bytes.replace("SID", &self.sid);
        self.send_bytes(connection, bytes.as_bytes());
    }

    /// Sends bytes.
    pub fn send_bytes(&mut self, connection: usize, bytes: &[u8]) {
        // A server may have ended the connection over what came before; then its answer tells.
        self.connections[connection].try_send(bytes);
    }

    /// Closes a connection.
    pub fn close(&mut self, connection: usize) {
        self.connections[connection].stream().shutdown(std::net::Shutdown::Both).unwrap();
    }

    /// Ends one's own side of a connection.
    pub fn finish(&mut self, connection: usize) {
        self.connections[connection].stream().shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Notes the next answer.
    pub fn answer(&mut self, connection: usize) {
        let answer = self.connections[connection].answer();
        self.note(connection, answer);
    }

    /// Notes the head of the last answer on a connection, that to a HEAD.
    pub fn head(&mut self, connection: usize) {
        let rest = String::from_utf8(self.connections[connection].rest()).unwrap();
        let (head, body) = rest.split_once("\r\n\r\n").unwrap_or((&rest, "no end of the head"));
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let mut lines: Vec<_> =
            head.lines().map(|line| header(line).unwrap_or((line.to_owned(), String::new()))).collect();
        lines.sort();
        let lines = lines.into_iter().filter(|(name, _)| name != "date");
        self.lines.extend(lines.map(|(name, value)| format!("{connection}: {name}: {value}")));
        self.lines.push(format!("{connection}: body {body:?}"));
    }

    /// Notes that there is no answer for a while.
    pub fn silence(&mut self, connection: usize, time: Duration) {
        let stream = self.connections[connection].stream();
        stream.set_read_timeout(Some(time)).unwrap();
        let line = match (&*stream).read(&mut [0]) {
            Ok(0) => "end".into(),
            Ok(_) => "something".into(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => "silence".into(),
            Err(error) => error.to_string(),
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.lines.push(format!("{connection}: {line}"));
    }

    /// One request on a connection of its own, and its answer.
    pub fn request(&mut self, bytes: &str) {
        let connection = self.open(bytes);
        self.answer(connection);
    }

    /// A GET by polling, on a connection of its own.
    pub fn get(&mut self, query: &str) {
        self.request(&get(query));
    }

    /// A POST by polling, on a connection of its own.
    pub fn post(&mut self, query: &str, body: &str) {
        self.request(&post(query, body));
    }

    /// Opens a session by polling.
    pub fn handshake(&mut self) {
        self.get("EIO=4&transport=polling");
    }

    /// Opens a session by polling and its main namespace.
    pub fn connected(&mut self) {
        self.handshake();
        self.post(SESSION, "40");
        self.poll();
    }

    /// One poll.
    pub fn poll(&mut self) {
        self.get(SESSION);
    }

    /// Opens a WebSocket, whose answer is noted without its first frame.
    pub fn websocket(&mut self, query: &str) -> usize {
        let connection = self.open(&upgrade(query));
        self.answer(connection);
        connection
    }

    /// Sends a text frame.
    pub fn text(&mut self, connection: usize, text: &str) {
        self.send_bytes(connection, &frame(0x81, text.as_bytes()));
    }

    /// Notes the next frames, to a close frame at the most: how soon the connection ends then is not the protocol's affair.
    pub fn frames(&mut self, connection: usize, count: usize) {
        for _ in 0..count {
            let Some((head, payload)) = self.connections[connection].frame() else {
                let end = self.end(connection);
                return self.lines.push(format!("{connection}: {end}"));
            };
            let shown = match head {
                0x81 => self.plain(&String::from_utf8(payload).unwrap()).chars().take(200).collect(),
                0xc1 => {
                    let text = String::from_utf8(inflated(&payload)).unwrap();
                    format!("compressed, {} bytes {}", text.len(), text.chars().take(200).collect::<String>())
                }
                0xc2 => format!("compressed bytes {:02x?}", inflated(&payload)),
                head => format!("frame {head:02x} {payload:02x?}"),
            };
            self.lines.push(format!("{connection}: {shown}"));
            if head == 0x88 {
                return;
            }
        }
    }

    /// A session on WebSocket with its main namespace; its connection.
    pub fn socket(&mut self) -> usize {
        let socket = self.websocket(WS);
        self.frames(socket, 1);
        self.text(socket, "40");
        self.frames(socket, 2);
        socket
    }

    /// Sends one frame's text on an open WebSocket and notes what comes back.
    pub fn says(&mut self, text: &str, frames: usize) {
        let socket = self.socket();
        self.text(socket, text);
        self.frames(socket, frames);
    }

    /// Sends one payload by polling, and notes whether the session lives on.
    pub fn posts(&mut self, body: &str) {
        self.connected();
        self.post(SESSION, body);
        // Whatever it did is told by an echo behind it: as an answer, or as a session that is gone.
        self.post(SESSION, "42[\"echo\"]");
        self.poll();
    }

    fn note(&mut self, connection: usize, answer: Option<Answer>) {
        let Some(answer) = answer else {
            let end = self.end(connection);
            return self.lines.push(format!("{connection}: {end} instead of an answer"));
        };
        let body = self.plain(&answer.body);
        self.lines.push(format!("{connection}: status {}", answer.status));
        let (length, plain_length) = (answer.body.len().to_string(), body.len().to_string());
        let headers = answer.headers.iter().map(|(name, value)| match name.as_str() {
            "content-length" if *value == length => format!("{name}: {plain_length}"),
            "date" => format!("{name}: now"),
            "set-cookie" | "x-refused" if !self.sid.is_empty() => format!("{name}: {}", value.replace(&self.sid, "ID")),
            _ => format!("{name}: {value}"),
        });
        let mut headers: Vec<_> = headers.collect();
        headers.sort();
        self.lines.extend(headers.into_iter().map(|header| format!("{connection}: {header}")));
        let shown: String = body.chars().take(200).collect();
        self.lines.push(format!("{connection}: body of {} bytes {shown:?}", body.len()));
    }

    /// In which way nothing more came.
    fn end(&mut self, connection: usize) -> &'static str {
        if self.connections[connection].was_silent() { "silence" } else { "end" }
    }

    /// With the ids that each server invents replaced; the one of a session is kept for later requests.
    fn plain(&mut self, text: &str) -> String {
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("\"sid\":\"") {
            let (id, after) = after.split_once('"').unwrap();
            if before.ends_with("0{") && after.starts_with(",\"upgrades\"") {
                self.sid = id.to_owned();
            }
            plain += &format!("{before}\"sid\":\"ID\"");
            rest = after;
        }
        plain + rest
    }
}

/// The query of the last session by polling.
pub const SESSION: &str = "EIO=4&transport=polling&sid=SID";

/// The query of a session by WebSocket.
pub const WS: &str = "EIO=4&transport=websocket";

/// The query of a WebSocket for the last session by polling.
pub const UPGRADE: &str = "EIO=4&transport=websocket&sid=SID";

pub fn get(query: &str) -> String {
    format!("GET /socket.io/?{query} HTTP/1.1\r\nHost: test\r\n\r\n")
}

pub fn post(query: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /socket.io/?{query} HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

pub fn upgrade(query: &str) -> String {
    format!(
        "GET /socket.io/?{query} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// A client's frame, with a mask of zeros.
pub fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![head];
    match payload.len() {
        short @ ..=125 => bytes.push(0x80 | short as u8),
        middle @ ..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// The message in a compressed payload.
fn inflated(payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(2_000_000);
    let input = [payload, &[0, 0, 0xff, 0xff]].concat();
    flate2::Decompress::new(false).decompress_vec(&input, &mut message, flate2::FlushDecompress::Sync).unwrap();
    message
}
