//! What a worker writes to its standard output and error: line by line into the log, and the last lines kept.

use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

use roomd_wire::{Readiness, WorkerId};
use rustix::buffer::spare_capacity;

use crate::{last_words::LastWords, logging};

/// Longer lines are cut into pieces.
const LINE_BYTES: usize = 8 * 1024;
/// How much is read in one go.
const CHUNK_BYTES: usize = 16 * 1024;
/// A worker that writes faster than a chunk in this time waits for it: a flood must not fill the supervisor's turn.
const PAUSE: Duration = Duration::from_millis(2);

/// Cuts a stream of bytes into lines.
#[derive(Default, Debug)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes more of the stream; gives each line that is whole, or too long, without its end.
    fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let room = LINE_BYTES - self.begun.len();
            let end = bytes.iter().take(room).position(|&byte| byte == b'\n');
            let (part, rest) = bytes.split_at(end.map_or(room.min(bytes.len()), |end| end + 1));
            self.begun.extend_from_slice(part);
            bytes = rest;
            if end.is_some() || self.begun.len() == LINE_BYTES {
                self.end(&mut each);
            }
        }
    }

    /// The stream has ended; gives what had no end.
    fn finish(&mut self, mut each: impl FnMut(&str)) {
        if !self.begun.is_empty() {
            self.end(&mut each);
        }
    }

    fn end(&mut self, each: &mut impl FnMut(&str)) {
        each(String::from_utf8_lossy(&self.begun).trim_end());
        self.begun.clear();
    }
}

/// One of a worker's two streams of output: the end of a pipe that the worker writes to.
#[derive(Debug)]
pub struct Output {
    pipe: Readiness,
    lines: RefCell<Lines>,
}

impl Output {
    /// Must be called inside a tokio runtime.
    pub fn new(pipe: OwnedFd) -> io::Result<Output> {
        Ok(Output { pipe: Readiness::new(pipe)?, lines: RefCell::default() })
    }

    /// Reads to the end of the stream.
    pub async fn read(self: Rc<Self>, id: WorkerId, last_words: Rc<RefCell<LastWords>>) {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let mut log = String::new();
        loop {
            chunk.clear();
            let read = self.pipe.when_readable(|| read_some(&self.pipe, &mut chunk)).await.unwrap_or(0);
            let each = |line: &str| {
                last_words.borrow_mut().push(line);
                logging::format_worker_line(&mut log, id, line);
            };
            match read {
                0 => self.lines.borrow_mut().finish(each),
                _ => self.lines.borrow_mut().push(&chunk, each),
            }
            logging::write_lines(&log);
            log.clear();
            match read {
                0 => return,
                CHUNK_BYTES => tokio::time::sleep(PAUSE).await,
                _ => {}
            }
        }
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Fills the chunk as far as the pipe does.
fn read_some(pipe: &Readiness, chunk: &mut Vec<u8>) -> io::Result<usize> {
    Ok(rustix::io::read(pipe, spare_capacity(chunk))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |line| found.push(line.to_owned()));
        }
        lines.finish(|line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn lines_are_whole_however_they_are_cut() {
        for (pieces, expected) in [
            (&[&b"one\ntwo\n"[..]][..], &["one", "two"][..]),
            (&[b"on", b"e\nt", b"wo", b"\n"], &["one", "two"]),
            (&[b"one\r\n\n", b"without end"], &["one", "", "without end"]),
            (&[b"\xff\xfe\n"], &["\u{fffd}\u{fffd}"]),
            (&[], &[]),
        ] {
            assert_eq!(lines(pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut() {
        let long = [b"x".repeat(2 * LINE_BYTES + 10), b"\nafter\n".to_vec()].concat();
        for piece in [1, 7, 1000, LINE_BYTES, long.len()] {
            let found = lines(&long.chunks(piece).collect::<Vec<_>>());
            let lengths: Vec<_> = found.iter().map(String::len).collect();
            assert_eq!(lengths, [LINE_BYTES, LINE_BYTES, 10, 5], "pieces of {piece}");
        }
    }
}
