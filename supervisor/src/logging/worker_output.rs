//! What a worker writes to its standard output and error: line by line into the log, and the last lines kept.

use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
    time::{Duration, Instant},
};

use roomd_wire::Readiness;
use roomd_worker::log::{MARK, Record};
use rustix::buffer::spare_capacity;
use tracing::Level;

use super::{
    output::{add_line, count_left_out, lines_per_worker, write_lines},
    pace::Pace,
    render::{Line, Origin, in_short},
};
use crate::last_words::LastWords;

/// Longer lines are cut into pieces.
const LINE_BYTES: usize = 8 * 1024;
/// But not a record, which is of use as a whole only; a worker cuts what is in it, and at the worst each byte takes six in JSON.
const RECORD_BYTES: usize = 64 * 1024;
/// How much is read in one go.
const CHUNK_BYTES: usize = 16 * 1024;
/// A worker that writes faster than a chunk in this time waits for it: a flood must not fill the supervisor's turn.
const PAUSE: Duration = Duration::from_millis(2);
/// The same while nothing of it comes into the log any more.
const LONG_PAUSE: Duration = Duration::from_millis(10);
/// How soon after the last line it is told how many were left out.
const QUIET: Duration = Duration::from_secs(10);

/// Cuts a stream of bytes into lines.
#[derive(Default, Debug)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes more of the stream; gives each line that is whole, or too long, without its end.
    fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&str)) {
        while let Some(&next) = bytes.first() {
            if next == MARK as u8 && !self.begun.is_empty() {
                // What was printed before has no end of its own; a record has no mark within.
                self.end(&mut each);
            }
            let most = if *self.begun.first().unwrap_or(&next) == MARK as u8 { RECORD_BYTES } else { LINE_BYTES };
            let room = most - self.begun.len();
            let end = bytes.iter().take(room).skip(1).position(|&byte| byte == MARK as u8 || byte == b'\n');
            let end =
                if next == b'\n' { Some(1) } else { end.map(|end| end + 1 + usize::from(bytes[end + 1] == b'\n')) };
            let (part, rest) = bytes.split_at(end.unwrap_or(room.min(bytes.len())));
            self.begun.extend_from_slice(part);
            bytes = rest;
            if end.is_some() || self.begun.len() == most {
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

/// What comes of one stream on its way into the log.
struct ToLog {
    origin: Origin,
    last_words: Rc<RefCell<LastWords>>,
    /// What is printed, and the worker's own records: a flood of the one must not hide the other.
    printed: Pace,
    records: Pace,
    log: String,
}

impl ToLog {
    fn line(&mut self, line: &str, rate: u32, now: Instant) {
        // What is marked but is no record was printed.
        let record = line.strip_prefix(MARK).and_then(Record::from_json);
        match &record {
            Some(record) => self.last_words.borrow_mut().push(&in_short(record)),
            None => self.last_words.borrow_mut().push(line),
        }
        let pace = if record.is_some() { &mut self.records } else { &mut self.printed };
        if !pace.admit(line.len(), rate, now) {
            return count_left_out(1);
        }
        let line = record.as_ref().map_or(Line::Printed(line), Line::Event);
        add_line(&mut self.log, &line, Some(&self.origin));
    }

    /// Whether something was left out that has not been told.
    fn owes(&self) -> bool {
        self.printed.owes() || self.records.owes()
    }

    /// Tells what was left out, and writes all.
    fn write(&mut self, now: Instant, end: bool) {
        for (pace, what) in [(&mut self.printed, "that it printed"), (&mut self.records, "of its log")] {
            if let Some(lines) = pace.due(now, end) {
                let words =
                    format!("… {lines} lines {what} suppressed: they came faster than `lines_per_worker` of [log]");
                let mut record = Record::now(Level::WARN, "roomd::logging", words);
                record.fields.insert("suppressed".into(), lines.into());
                add_line(&mut self.log, &Line::Event(&record), Some(&self.origin));
            }
        }
        write_lines(&self.log);
        self.log.clear();
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

    /// The beginning of a line that has come so far, for whoever reads on.
    pub fn begun(&self) -> Vec<u8> {
        self.lines.borrow().begun.clone()
    }

    /// Goes on after the beginning of a line that another process has read.
    pub fn go_on_after(&self, mut begun: Vec<u8>) {
        let most = if begun.first() == Some(&(MARK as u8)) { RECORD_BYTES } else { LINE_BYTES };
        begun.truncate(most - 1);
        self.lines.borrow_mut().begun = begun;
    }

    /// Reads to the end of the stream.
    pub async fn read(self: Rc<Self>, origin: Origin, last_words: Rc<RefCell<LastWords>>) {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let now = Instant::now();
        let (printed, records) = (Pace::new(now), Pace::new(now));
        let mut log = ToLog { origin, last_words, printed, records, log: String::new() };
        loop {
            chunk.clear();
            let reading = self.pipe.when_readable(|| read_some(&self.pipe, &mut chunk));
            let read = match log.owes() {
                false => reading.await,
                true => match tokio::time::timeout(QUIET, reading).await {
                    Ok(read) => read,
                    Err(_) => {
                        log.write(Instant::now(), true);
                        continue;
                    }
                },
            };
            let read = read.unwrap_or(0);
            let (now, rate) = (Instant::now(), lines_per_worker());
            let each = |line: &str| log.line(line, rate, now);
            match read {
                0 => self.lines.borrow_mut().finish(each),
                _ => self.lines.borrow_mut().push(&chunk, each),
            }
            let nothing_written = log.log.is_empty();
            log.write(now, read == 0);
            match read {
                0 => return,
                CHUNK_BYTES if nothing_written => tokio::time::sleep(LONG_PAUSE).await,
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
#[allow(clippy::unwrap_used)]
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
            (&[b"no end\x1e{}\nmore\x1e", b"{}\n"], &["no end", "\u{1e}{}", "more", "\u{1e}{}"]),
            (&[b"\x1e\x1e\n", b"a", b"\x1eb\n"], &["\u{1e}", "\u{1e}", "a", "\u{1e}b"]),
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

    #[test]
    fn a_record_may_be_longer_but_not_without_end() {
        let mut long = vec![MARK as u8];
        long.resize(RECORD_BYTES + 5, b'x');
        for piece in [1, 1000, long.len()] {
            let lengths: Vec<_> = lines(&long.chunks(piece).collect::<Vec<_>>()).iter().map(String::len).collect();
            assert_eq!(lengths, [RECORD_BYTES, 5], "pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn a_line_that_one_process_began_to_read_is_whole_in_the_next() {
        let (reading, mut writing) = io::pipe().unwrap();
        let first = Output::new(reading.try_clone().unwrap().into()).unwrap();
        first.lines.borrow_mut().push(b"whole\nbeg", |line| assert_eq!(line, "whole"));
        let second = Rc::new(Output::new(reading.into()).unwrap());
        second.go_on_after(first.begun());
        io::Write::write_all(&mut writing, b"un\n").unwrap();
        drop(writing);
        let words = Rc::new(RefCell::new(LastWords::default()));
        let id = roomd_wire::WorkerId { slot: roomd_wire::Slot(0), generation: roomd_wire::Generation(1) };
        second.clone().read(Origin { id, pid: 1, stream: "stdout" }, words.clone()).await;
        assert_eq!(words.borrow().lines(), ["begun"]);
        second.go_on_after(vec![b'x'; 10 * LINE_BYTES]);
        assert!(second.begun().len() < LINE_BYTES, "whatever comes from elsewhere");
    }
}
