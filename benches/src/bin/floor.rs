//! The floor: a server that parses nothing it need not and writes one ready-made frame to every member of a room.
//!
//! `floor write FRAME_HEX` makes one write(2) per recipient and message; `floor join FRAME_HEX` joins all that is due to a
//! recipient in one turn of its loop into one write. Prints its address, serves until its standard input ends.
//! A client's room is the number behind `room=` in its request; whatever frame it sends is a message to that room.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    process::ExitCode,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
    unix::SourceFd,
};
use roomd_benches::frame::FrameCounter;

const LISTENER: Token = Token(usize::MAX);
const STDIN: Token = Token(usize::MAX - 1);
const UPGRADE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x0240";

struct Member {
    stream: TcpStream,
    frames: FrameCounter,
    room: Option<usize>,
    due: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let (join, frame) = match arguments.get(1).map(String::as_str).zip(arguments.get(2)) {
        Some(("write", frame)) => (false, frame),
        Some(("join", frame)) => (true, frame),
        _ => {
            eprintln!("usage: floor write|join FRAME_HEX");
            return ExitCode::from(2);
        }
    };
    let digits: Vec<u8> = frame.bytes().filter_map(|digit| (digit as char).to_digit(16).map(|d| d as u8)).collect();
    let frame: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    match serve(join, &frame) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(join: bool, frame: &[u8]) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    println!("{}", listener.local_addr()?);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    poll.registry().register(&mut SourceFd(&0), STDIN, Interest::READABLE)?;
    let mut members: Vec<Member> = Vec::new();
    let mut rooms: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut dirty: Vec<usize> = Vec::new();
    let mut scratch = vec![0; 64 * 1024];
    let joined: Vec<u8> =
        frame.iter().copied().cycle().take(frame.len() * (scratch.len() / frame.len()).max(1)).collect();
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                STDIN => return Ok(()),
                LISTENER => {
                    while let Ok((mut stream, _)) = listener.accept() {
                        stream.set_nodelay(true)?;
                        poll.registry().register(&mut stream, Token(members.len()), Interest::READABLE)?;
                        members.push(Member { stream, frames: FrameCounter::default(), room: None, due: 0 });
                    }
                }
                Token(index) => {
                    let Ok(length @ 1..) = members[index].stream.read(&mut scratch) else {
                        poll.registry().deregister(&mut members[index].stream)?;
                        continue;
                    };
                    let Some(room) = members[index].room else {
                        let room = room_of(&scratch[..length]);
                        members[index].room = Some(room);
                        rooms.entry(room).or_default().push(index);
                        members[index].stream.write_all(UPGRADE)?;
                        continue;
                    };
                    let mut messages = 0;
                    members[index]
                        .frames
                        .feed(&scratch[..length], |seen| messages += usize::from(seen.start == *b"42"));
                    for &member in &rooms[&room] {
                        let member_of = &mut members[member];
                        if join {
                            if member_of.due == 0 && messages > 0 {
                                dirty.push(member);
                            }
                            member_of.due += messages;
                        } else {
                            for _ in 0..messages {
                                write(&mut member_of.stream, frame)?;
                            }
                        }
                    }
                }
            }
        }
        for index in dirty.drain(..) {
            let member = &mut members[index];
            while member.due > 0 {
                let now = member.due.min(joined.len() / frame.len());
                write(&mut member.stream, &joined[..now * frame.len()])?;
                member.due -= now;
            }
        }
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
