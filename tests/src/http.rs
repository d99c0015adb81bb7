//! Raw HTTP/1.1 over one connection, with no more cleverness than a test can follow.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    time::Duration,
};

/// A connection to a server.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// For a test that expects silence.
    silent: Option<bool>,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// As it was before it was compressed, if it was.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Connection {
    /// Connects.
    pub fn open(server: SocketAddr) -> Connection {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream, buffer: Vec::new(), silent: None }
    }

    /// Over a socket that is connected already, of any family.
    pub fn over(socket: impl Into<OwnedFd>) -> Connection {
        // Reading and writing are the same for every kind of stream socket.
        let stream = TcpStream::from(socket.into());
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Connection { stream, buffer: Vec::new(), silent: None }
    }

    /// Waits for so long from now on, and takes more as an end that [`Connection::was_silent`] tells from others.
    pub fn expect_silence(&mut self, within: Duration) {
        self.stream.set_read_timeout(Some(within)).unwrap();
        self.silent = Some(false);
    }

    /// Whether nothing came in time.
    pub fn was_silent(&mut self) -> bool {
        self.silent.replace(false) == Some(true)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes unless the connection has ended.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Option<()> {
        self.stream.write_all(bytes.as_ref()).ok()
    }

    /// The stream itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a GET and takes the answer.
    pub fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.answer().expect("an answer")
    }

    /// Sends a POST and takes the answer.
    pub fn post(&mut self, target: &str, body: &str) -> Answer {
        let length = body.len();
        self.send(format!(
            "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        self.answer().expect("an answer")
    }

    /// The next answer; `None` where the connection ends first.
    pub fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.read() {
                return None;
            }
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        let headers: Vec<_> = lines.filter_map(header).collect();
        let mut answer = Answer { status, headers, body: String::new() };
        let body = if has_no_body(status) {
            Vec::new()
        } else if answer.header("transfer-encoding") == Some("chunked") {
            self.chunks()
        } else if let Some(length) = answer.header("content-length") {
            self.take(length.parse().unwrap())
        } else {
            while self.read() {}
            std::mem::take(&mut self.buffer)
        };
        let body = match answer.header("content-encoding") {
            Some("gzip") => decoded(flate2::read::GzDecoder::new(&*body)),
            Some("deflate") => decoded(flate2::read::ZlibDecoder::new(&*body)),
            _ => body,
        };
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Some(answer)
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            while !self.buffer.windows(2).any(|window| window == b"\r\n") {
                assert!(self.read(), "a chunk's length");
            }
            let end = self.buffer.windows(2).position(|window| window == b"\r\n").unwrap();
            let length = usize::from_str_radix(std::str::from_utf8(&self.buffer[..end]).unwrap(), 16).unwrap();
            self.buffer.drain(..end + 2);
            let chunk = self.take(length + 2);
            if length == 0 {
                return body;
            }
            body.extend(&chunk[..length]);
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.read(), "a body of {length} bytes");
        }
        self.buffer.drain(..length).collect()
    }

    fn read(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(length) => {
                self.buffer.extend(&bytes[..length]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && self.silent.is_some() => {
                self.silent = Some(true);
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The next WebSocket frame of a server: its first byte and its payload. `None` where the connection ends first.
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        while self.buffer.len() < 2 {
            if !self.read() {
                return None;
            }
        }
        let head = self.take(2);
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let number = |bytes: Vec<u8>| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        let length = match head[1] {
            126 => number(self.take(2)),
            127 => number(self.take(8)),
            length => length.into(),
        };
        Some((head[0], self.take(length)))
    }

    /// All that still comes until the connection ends.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.read() {}
        std::mem::take(&mut self.buffer)
    }
}

fn decoded(mut body: impl Read) -> Vec<u8> {
    let mut plain = Vec::new();
    body.read_to_end(&mut plain).unwrap();
    plain
}

/// RFC 9112 6.3: such an answer ends with its head, whatever its headers say.
fn has_no_body(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

/// The target of a polling request of a session.
pub fn polling(sid: &str) -> String {
    format!("/socket.io/?EIO=4&transport=polling&sid={sid}")
}

/// The target of a polling handshake.
pub const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";

/// The sid in the answer to a polling handshake.
pub fn sid(answer: &Answer) -> String {
    let open: serde_json::Value = serde_json::from_str(&answer.body[1..]).unwrap_or_else(|_| panic!("{answer:?}"));
    open["sid"].as_str().unwrap().to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn answers_without_a_body_end_with_their_head() {
        for status in [100, 101, 103, 204, 304] {
            let (client, mut server) = UnixStream::pair().unwrap();
            let mut client = Connection::over(client);
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
            server.write_all(format!("{head}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").as_bytes()).unwrap();
            let bodies = [(); 2].map(|()| client.answer().map(|answer| (answer.status, answer.body)));
            assert_eq!(bodies, [Some((status, String::new())), Some((200, "ok".into()))]);
        }
    }
}
