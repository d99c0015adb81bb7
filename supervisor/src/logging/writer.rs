//! Writing the log from a thread of its own.
//!
//! Whoever reads standard error may stop reading it (a paused terminal, a collector that hangs), and a write then blocks. The
//! supervisor's loop must go on all the same, so it only puts lines into a buffer; when that is full, lines are lost, and
//! counted.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// What waits at the most. A start, a reload or a crash of all workers writes a fraction of it.
const MAX_WAITING_BYTES: usize = 1024 * 1024;

/// A log that takes lines without ever waiting. A clone is another handle to it.
#[derive(Clone)]
pub struct LogWriter(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// The thread is about to write what it took.
    writing: bool,
    /// Lost and not yet told.
    untold: u64,
    lost: u64,
}

impl LogWriter {
    /// Starts the thread that writes to `target`. `tell_lost` is called there with the number of lines that were lost, once
    /// the target takes some again.
    pub fn start(
        target: impl Write + Send + 'static,
        tell_lost: impl Fn(u64) + Send + 'static,
    ) -> io::Result<LogWriter> {
        let shared = Arc::<Shared>::default();
        let writer = LogWriter(shared.clone());
        thread::Builder::new().name("log".into()).spawn(move || shared.write_all(target, tell_lost))?;
        Ok(writer)
    }

    /// Takes whole lines.
    pub fn push(&self, lines: &[u8]) {
        let mut state = self.0.lock();
        if state.waiting.len() + lines.len() > MAX_WAITING_BYTES {
            let lost = lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
            state.untold += lost;
            state.lost += lost;
        } else {
            state.waiting.extend_from_slice(lines);
            self.0.changed.notify_all();
        }
    }

    /// How many lines were lost since the start.
    pub fn lost(&self) -> u64 {
        self.0.lock().lost
    }

    /// Waits until all is written, but not longer than this.
    pub fn flush(&self, within: Duration) {
        let unwritten = |state: &mut State| state.writing || !state.waiting.is_empty();
        // A thread that panicked writes no more either way.
        let _ = self.0.changed.wait_timeout_while(self.0.lock(), within, unwritten);
    }
}

impl Shared {
    fn write_all(&self, mut target: impl Write, tell_lost: impl Fn(u64)) {
        let mut lines = Vec::new();
        loop {
            let lost = self.take(&mut lines);
            // Without a reader there is nobody to tell of the error.
            let _ = target.write_all(&lines);
            if lost > 0 {
                tell_lost(lost);
            }
        }
    }

    /// Waits for lines and takes them. Tells how many were lost behind them.
    fn take(&self, lines: &mut Vec<u8>) -> u64 {
        lines.clear();
        let mut state = self.lock();
        state.writing = false;
        self.changed.notify_all();
        while state.waiting.is_empty() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writing = true;
        std::mem::swap(&mut state.waiting, lines);
        std::mem::take(&mut state.untold)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for LogWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.push(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        sync::mpsc,
        time::Instant,
    };

    use super::*;

    #[test]
    fn lines_come_in_order_and_a_flush_waits_for_them() {
        let (reader, target) = io::pipe().unwrap();
        let log = LogWriter::start(target, |_| {}).unwrap();
        for number in 0..1000 {
            log.push(format!("line {number}\n").as_bytes());
        }
        log.flush(Duration::from_secs(10));
        let mut lines = BufReader::new(reader).lines();
        for number in 0..1000 {
            assert_eq!(lines.next().unwrap().unwrap(), format!("line {number}"));
        }
    }

    #[test]
    fn a_log_that_nobody_reads_holds_up_nobody_and_its_lost_lines_are_counted() {
        let (reader, target) = io::pipe().unwrap();
        let (tell_lost, lost) = mpsc::channel();
        let log = LogWriter::start(target, move |count| tell_lost.send(count).unwrap()).unwrap();
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        let begin = Instant::now();
        (0..10_000).for_each(|_| log.push(&line));
        log.flush(Duration::from_millis(50));
        assert!(begin.elapsed() < Duration::from_secs(5), "it waited");
        let lines = thread::spawn(move || BufReader::new(reader).lines().count());
        log.flush(Duration::from_secs(10));
        // It may be told in several parts.
        let lost: u64 = lost.try_iter().sum();
        assert!(lost > 10_000 - 3 * (MAX_WAITING_BYTES as u64 / 1000), "{lost}");
        assert!(!lines.is_finished(), "the thread keeps the target open");
    }
}
