//! The floor: a server that parses nothing it need not and writes one ready-made frame to every member of a room.
//!
//! `floor write FRAME_HEX` makes one write(2) per recipient and message; `floor join FRAME_HEX` joins all that is due to a
//! recipient in one turn of its loop into one write. `pair` behind it makes two processes of it, each with its clients, that
//! tell each other of every message over one socket: the least that two workers can cost.
//! Prints an address for each process, serves until its standard input ends.
//! A client's room is the number behind `room=` in its request; whatever frame it sends is a message to that room.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net,
    },
    process::{Command, ExitCode},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream, UnixStream},
    unix::SourceFd,
};
use roomd_benches::frame::FrameCounter;

const LISTENER: Token = Token(usize::MAX);
const STDIN: Token = Token(usize::MAX - 1);
const OTHER: Token = Token(usize::MAX - 2);
const UPGRADE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x0240";

struct Floor {
    join: bool,
    frame: Vec<u8>,
    /// The frame many times over.
    joined: Vec<u8>,
    poll: Poll,
    listener: TcpListener,
    members: Vec<Member>,
    rooms: HashMap<usize, Vec<usize>>,
    /// Members to whom something is due.
    dirty: Vec<usize>,
    other: Option<Other>,
    scratch: Vec<u8>,
}

struct Member {
    stream: TcpStream,
    frames: FrameCounter,
    room: Option<usize>,
    due: usize,
}

/// The other process of a pair. It is told of messages as eight bytes: a room, and how many came for it.
struct Other {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [mode @ ("write" | "join"), frame] => single(mode, frame),
        [mode @ ("write" | "join"), frame, "pair"] => first_of_pair(mode, frame),
        [mode @ ("write" | "join"), frame, "second"] => second_of_pair(mode, frame),
        _ => {
            eprintln!("usage: floor write|join FRAME_HEX [pair]");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn single(mode: &str, frame: &str) -> io::Result<()> {
    let mut floor = Floor::new(mode, frame)?;
    floor.poll.registry().register(&mut SourceFd(&0), STDIN, Interest::READABLE)?;
    floor.serve()
}

fn first_of_pair(mode: &str, frame: &str) -> io::Result<()> {
    let (ours, theirs) = net::UnixStream::pair()?;
    let second =
        Command::new(std::env::current_exe()?).args([mode, frame, "second"]).stdin(OwnedFd::from(theirs)).spawn();
    let mut floor = Floor::new(mode, frame)?;
    floor.poll.registry().register(&mut SourceFd(&0), STDIN, Interest::READABLE)?;
    floor.join_other(ours)?;
    floor.serve()?;
    // What the second reads has ended with ours.
    drop(floor);
    second?.wait().map(drop)
}

fn second_of_pair(mode: &str, frame: &str) -> io::Result<()> {
    let mut floor = Floor::new(mode, frame)?;
    floor.join_other(io::stdin().as_fd().try_clone_to_owned()?.into())?;
    floor.serve()
}

impl Floor {
    fn new(mode: &str, frame: &str) -> io::Result<Floor> {
        let digits: Vec<u8> = frame.bytes().filter_map(|digit| (digit as char).to_digit(16).map(|d| d as u8)).collect();
        let frame: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        println!("{}", listener.local_addr()?);
        let scratch = vec![0; 64 * 1024];
        Ok(Floor {
            join: mode == "join",
            joined: frame.repeat((scratch.len() / frame.len()).max(1)),
            frame,
            poll,
            listener,
            members: Vec::new(),
            rooms: HashMap::new(),
            dirty: Vec::new(),
            other: None,
            scratch,
        })
    }

    fn join_other(&mut self, stream: net::UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream);
        self.poll.registry().register(&mut stream, OTHER, Interest::READABLE | Interest::WRITABLE)?;
        self.other = Some(Other { stream, input: Vec::new(), output: Vec::new() });
        Ok(())
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            self.poll.poll(&mut events, None)?;
            for event in &events {
                match event.token() {
                    STDIN => return Ok(()),
                    LISTENER => self.accept()?,
                    OTHER if self.read_other()? => {}
                    OTHER => return Ok(()),
                    Token(index) => self.read(index)?,
                }
            }
            self.flush()?;
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((mut stream, _)) = self.listener.accept() {
            stream.set_nodelay(true)?;
            self.poll.registry().register(&mut stream, Token(self.members.len()), Interest::READABLE)?;
            self.members.push(Member { stream, frames: FrameCounter::default(), room: None, due: 0 });
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> io::Result<()> {
        let member = &mut self.members[index];
        let Ok(length @ 1..) = member.stream.read(&mut self.scratch) else {
            return self.poll.registry().deregister(&mut member.stream);
        };
        let Some(room) = member.room else {
            let room = room_of(&self.scratch[..length]);
            member.room = Some(room);
            self.rooms.entry(room).or_default().push(index);
            return member.stream.write_all(UPGRADE);
        };
        let mut messages = 0;
        member.frames.feed(&self.scratch[..length], |seen| messages += usize::from(seen.start == *b"42"));
        if messages > 0
            && let Some(other) = &mut self.other
        {
            other.output.extend((room as u32).to_le_bytes());
            other.output.extend((messages as u32).to_le_bytes());
            if !self.join {
                other.write()?;
            }
        }
        self.send(room, messages)
    }

    /// False when the other process has gone.
    fn read_other(&mut self) -> io::Result<bool> {
        let Some(other) = &mut self.other else { return Ok(true) };
        loop {
            match other.stream.read(&mut self.scratch) {
                Ok(0) => return Ok(false),
                Ok(length) => other.input.extend(&self.scratch[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let input = std::mem::take(&mut other.input);
        let (told, rest) = input.as_chunks::<8>();
        other.input = rest.to_vec();
        for &[a, b, c, d, e, f, g, h] in told {
            self.send(u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize)?;
        }
        Ok(true)
    }

    /// Messages for the members of a room here.
    fn send(&mut self, room: usize, messages: usize) -> io::Result<()> {
        for &index in self.rooms.get(&room).into_iter().flatten() {
            let member = &mut self.members[index];
            if self.join {
                if member.due == 0 && messages > 0 {
                    self.dirty.push(index);
                }
                member.due += messages;
            } else {
                for _ in 0..messages {
                    write(&mut member.stream, &self.frame)?;
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(other) = &mut self.other
            && !other.output.is_empty()
        {
            other.write()?;
        }
        for index in self.dirty.drain(..) {
            let member = &mut self.members[index];
            while member.due > 0 {
                let now = member.due.min(self.joined.len() / self.frame.len());
                write(&mut member.stream, &self.joined[..now * self.frame.len()])?;
                member.due -= now;
            }
        }
        Ok(())
    }
}

impl Other {
    /// Writes what it takes now; each turn of the loop tries again, and one begins when it takes more.
    fn write(&mut self) -> io::Result<()> {
        match self.stream.write(&self.output) {
            Ok(written) => self.output.drain(..written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        Ok(())
    }
}

/// The load is bounded so that a socket's buffer holds it; what does not fit would be a wrong measurement.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    match stream.write(bytes)? {
        written if written == bytes.len() => Ok(()),
        written => Err(io::Error::other(format!("a client took {written} of {} bytes", bytes.len()))),
    }
}

fn room_of(request: &[u8]) -> usize {
    let text = String::from_utf8_lossy(request);
    let digits = text.split("room=").nth(1).unwrap_or("").split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
