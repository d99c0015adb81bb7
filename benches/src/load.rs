//! Many WebSocket clients in one thread.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::frame::{FrameCounter, client_text};

/// How many connections may be on their way at once.
const CONNECTING_AT_ONCE: usize = 64;
/// No step of a measurement waits longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// A crowd of clients of one server.
pub struct Load {
    poll: Poll,
    events: Events,
    scratch: Box<[u8]>,
    clients: Vec<Client>,
    open: usize,
    delivered: u64,
    sample: Option<Vec<u8>>,
    /// A header that each client sends with its handshake.
    header: &'static str,
}

struct Client {
    stream: TcpStream,
    stage: Stage,
    frames: FrameCounter,
    head: Vec<u8>,
}

#[derive(PartialEq, Clone, Copy)]
enum Stage {
    Connecting,
    AwaitingUpgrade,
    AwaitingSocket,
    Open,
}

impl Load {
    /// No clients yet.
    pub fn new() -> io::Result<Load> {
        Ok(Load {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            scratch: vec![0; 256 * 1024].into(),
            clients: Vec::new(),
            open: 0,
            delivered: 0,
            sample: None,
            header: "",
        })
    }

    /// No clients yet; those to come offer compression if `deflate`.
    pub fn offering(deflate: bool) -> io::Result<Load> {
        let header =
            if deflate { "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" } else { "" };
        Ok(Load { header, ..Load::new()? })
    }

    /// Connects `count` more clients to the addresses by turns and waits until each has its socket; `room_of` tells the place in a room that a
    /// client's request names (the floor programs go by that).
    pub fn connect(
        &mut self,
        addresses: &[SocketAddr],
        count: usize,
        room_of: impl Fn(usize) -> usize,
    ) -> io::Result<()> {
        assert!(addresses.iter().all(|address| address.ip().is_loopback()), "the load goes to this machine only");
        let wanted = self.clients.len() + count;
        let deadline = Instant::now() + PATIENCE;
        while self.open < wanted {
            while self.clients.len() < wanted && self.clients.len() - self.open < CONNECTING_AT_ONCE {
                let index = self.clients.len();
                let server = addresses[index % addresses.len()];
                let mut stream = TcpStream::connect(server)?;
                self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
                let request = format!(
                    "GET /socket.io/?EIO=4&transport=websocket&room={} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
                    room_of(index),
                    self.header,
                );
                self.clients.push(Client {
                    stream,
                    stage: Stage::Connecting,
                    frames: FrameCounter::default(),
                    head: request.into_bytes(),
                });
            }
            self.turn(Duration::from_millis(100))?;
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{} of {wanted} clients connected in time", self.open)));
            }
        }
        Ok(())
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Event frames that have arrived at all clients so far.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The bytes of the last event frame seen whole in one read, for a floor program to write the same.
    pub fn sample(&self) -> Option<&[u8]> {
        self.sample.as_deref()
    }

    /// Sends an event from one client. A client whose socket is full is an error: the load is bounded below that.
    pub fn send(&mut self, client: usize, event: &[u8]) -> io::Result<()> {
        self.clients[client].stream.write_all(event)
    }

    /// Reads what has come, waiting at most `patience` for something.
    pub fn turn(&mut self, patience: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            let client = &mut self.clients[event.token().0];
            if client.stage == Stage::Connecting && event.is_writable() {
                client.stream.write_all(&std::mem::take(&mut client.head))?;
                client.stage = Stage::AwaitingUpgrade;
            }
            loop {
                match client.stream.read(&mut self.scratch) {
                    Ok(0) => return Err(io::Error::other(format!("the server closed client {}", event.token().0))),
                    Ok(length) => {
                        let events = client.take(&self.scratch[..length])?;
                        self.open += usize::from(events.opened);
                        self.delivered += events.delivered;
                        if events.delivered == 1 && self.sample.is_none() && client.stage == Stage::Open {
                            self.sample = Some(self.scratch[..length].to_vec());
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Reads until nothing has come for a while.
    pub fn settle(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < Duration::from_millis(500) && Instant::now() < deadline {
            let before = self.delivered;
            self.turn(Duration::from_millis(100))?;
            if self.delivered != before {
                quiet_since = Instant::now();
            }
        }
        Ok(())
    }

    /// Reads until so many event frames have arrived in all.
    pub fn await_delivered(&mut self, wanted: u64) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.delivered < wanted {
            self.turn(Duration::from_millis(100))?;
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{} of {wanted} messages arrived in time", self.delivered)));
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Taken {
    opened: bool,
    delivered: u64,
}

impl Client {
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<Taken> {
        let mut taken = Taken::default();
        if self.stage == Stage::AwaitingUpgrade {
            self.head.extend(bytes);
            let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(taken) };
            if !self.head.starts_with(b"HTTP/1.1 101") {
                return Err(io::Error::other(format!("no upgrade: {}", String::from_utf8_lossy(&self.head))));
            }
            bytes = &bytes[bytes.len() - (self.head.len() - end - 4)..];
            self.head = Vec::new();
            self.stage = Stage::AwaitingSocket;
            self.stream.write_all(&client_text("40"))?;
        }
        let mut pings = 0;
        self.frames.feed(bytes, |seen| match (seen.opcode, seen.start) {
            // Nothing but events is long enough.
            (1, _) if seen.compressed => taken.delivered += 1,
            (1, [b'4', b'0']) => taken.opened = true,
            (1, [b'4', b'2']) => taken.delivered += 1,
            (1, [b'2', _]) => pings += 1,
            _ => {}
        });
        for _ in 0..pings {
            self.stream.write_all(&client_text("3"))?;
        }
        if taken.opened {
            self.stage = Stage::Open;
        }
        Ok(taken)
    }
}
