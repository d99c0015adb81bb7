//! Connections to a server, without a client's cleverness.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use roomd_tests::http::{Answer, Connection};
use serde_json::Value;
use tungstenite::{Error, Message, WebSocket as Stream};

/// How long a server may take for what it says at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server, and what it has at which path.
pub struct Server {
    address: SocketAddr,
    path: &'static str,
    is_socket_io: bool,
}

/// A session that polls; each request has a connection of its own.
pub struct Polling<'a> {
    server: &'a Server,
    pub sid: String,
}

pub struct WebSocket(Stream<TcpStream>);

impl Server {
    pub fn engine(address: SocketAddr) -> Server {
        Server { address, path: "/engine.io/", is_socket_io: false }
    }

    pub fn socket(address: SocketAddr) -> Server {
        Server { address, path: "/socket.io/", is_socket_io: true }
    }

    pub fn get(&self, query: &str) -> Answer {
        self.request("GET", query, "")
    }

    pub fn request(&self, method: &str, query: &str, body: &str) -> Answer {
        self.begin(method, query, body).answer().expect("an answer")
    }

    /// A request whose answer is for later.
    pub fn begin(&self, method: &str, query: &str, body: &str) -> Connection {
        let mut connection = Connection::open(self.address);
        let (path, length) = (self.path, body.len());
        connection.send(format!(
            "{method} {path}?{query} HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        connection
    }

    /// Opens a session by polling.
    pub fn poll(&self) -> Polling<'_> {
        let open = self.get("EIO=4&transport=polling");
        let sid = json(open.body.strip_prefix('0').unwrap())["sid"].as_str().unwrap().to_owned();
        let session = Polling { server: self, sid };
        if self.is_socket_io {
            // Without a namespace it would not live for long.
            assert_eq!(session.post("40"), "ok");
            let joined = session.get();
            assert!(joined.starts_with("40{"), "{joined}");
            if !joined.contains("42[\"auth\"") {
                session.get();
            }
        }
        session
    }

    /// Asks for a WebSocket.
    pub fn websocket(&self, query: &str) -> Result<WebSocket, Error> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let url = format!("ws://{}{}?{query}", self.address, self.path);
        match tungstenite::client(url, stream) {
            Ok((socket, _)) => Ok(WebSocket(socket)),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
            Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("no answer in time"),
        }
    }

    /// Opens a session by WebSocket; its open packet has been read.
    pub fn open(&self) -> WebSocket {
        let mut socket = self.websocket("EIO=4&transport=websocket").unwrap();
        assert!(socket.text().starts_with('0'));
        socket
    }

    /// The same, and joins the main namespace where there is one.
    pub fn joined(&self) -> WebSocket {
        let mut socket = self.open();
        if self.is_socket_io {
            socket.say("40");
            assert!(socket.text().starts_with("40{"));
            assert_eq!(socket.text(), "42[\"auth\",{}]");
        }
        socket
    }
}

impl Polling<'_> {
    pub fn query(&self) -> String {
        format!("EIO=4&transport=polling&sid={}", self.sid)
    }

    /// A poll, whatever the answer.
    pub fn answer(&self) -> Answer {
        self.server.get(&self.query())
    }

    /// A poll that is to succeed.
    pub fn get(&self) -> String {
        let answer = self.answer();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// A poll whose answer is for later.
    pub fn begin(&self) -> Connection {
        self.server.begin("GET", &self.query(), "")
    }

    pub fn post(&self, body: &str) -> String {
        let answer = self.server.request("POST", &self.query(), body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// A POST that a server may answer in any way, or not at all.
    pub fn offend(&self, body: &str) {
        self.server.begin("POST", &self.query(), body).answer();
    }

    pub fn assert_gone(&self) {
        assert_eq!(self.answer().status, 400);
    }

    /// A WebSocket for this session.
    pub fn websocket(&self) -> WebSocket {
        self.server.websocket(&format!("EIO=4&transport=websocket&sid={}", self.sid)).unwrap()
    }
}

impl WebSocket {
    pub fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    pub fn say_bytes(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).unwrap();
    }

    /// The next message, pings of the protocol apart, which are answered.
    pub fn message(&mut self) -> Message {
        loop {
            match self.0.read().expect("a message") {
                Message::Text(text) if text == "2" => self.say("3"),
                message @ (Message::Text(_) | Message::Binary(_)) => return message,
                Message::Close(_) => panic!("it was closed"),
                _ => {}
            }
        }
    }

    pub fn text(&mut self) -> String {
        self.message().into_text().unwrap().to_string()
    }

    /// The next text, a ping too.
    pub fn raw_text(&mut self) -> String {
        self.0.read().unwrap().into_text().unwrap().to_string()
    }

    /// Waits for its end, and answers nothing.
    pub fn assert_closed(self) {
        self.await_close(false);
    }

    /// Waits for its end, and answers pings.
    pub fn assert_closed_answering(self) {
        self.await_close(true);
    }

    fn await_close(mut self, answering: bool) {
        loop {
            match self.0.read() {
                Ok(Message::Text(ping)) if answering && ping == "2" => self.say("3"),
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::Protocol(_)) => return,
                Err(Error::Io(error)) => {
                    return assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it lives on");
                }
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}
