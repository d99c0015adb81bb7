//! The last lines that a worker wrote, for whoever asks why it died.

use std::collections::VecDeque;

/// How many lines are kept.
const LINES: usize = 20;
/// How much of a line is kept, in bytes.
const LINE_BYTES: usize = 500;

/// The last lines of one worker's output. The frames of a backtrace are not kept: they would push out what was said.
#[derive(Clone, Debug, Default)]
pub struct LastWords {
    lines: VecDeque<String>,
    in_backtrace: bool,
}

impl LastWords {
    /// Keeps a line, and drops the oldest.
    pub fn push(&mut self, line: &str) {
        self.in_backtrace = line == "stack backtrace:" || (self.in_backtrace && is_frame(line));
        if self.in_backtrace {
            return;
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        let end = (0..=LINE_BYTES.min(line.len())).rev().find(|&end| line.is_char_boundary(end)).unwrap_or(0);
        self.lines.push_back(line[..end].to_owned());
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    /// The line that tells most.
    pub fn telling(&self) -> Option<&str> {
        telling(self.lines.iter().map(String::as_str))
    }
}

/// A function of a backtrace, or where that is: `   3: roomd::run`, `             at src/lib.rs:1:2`.
fn is_frame(line: &str) -> bool {
    let text = line.trim_start();
    let number = text.split_once(": ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    text.len() < line.len() && (number || text.starts_with("at "))
}

/// The line that tells most of why it died: a panic's message where there is one, since hints and a backtrace follow it, else
/// the last line that says something.
pub fn telling<'a>(lines: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (mut last, mut panic, mut message_follows) = (None, None, false);
    for line in lines.filter(|line| !line.trim().is_empty()) {
        last = Some(line);
        if std::mem::replace(&mut message_follows, line.starts_with("thread '") && line.contains(" panicked at ")) {
            panic = last;
        }
    }
    panic.or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_and_cut_between_characters() {
        let mut words = LastWords::default();
        for number in 0..50 {
            words.push(&format!("line {number}"));
        }
        words.push(&"é".repeat(LINE_BYTES));
        words.push("  ");
        let lines = words.lines();
        assert_eq!((lines.len(), lines[0].as_str()), (LINES, "line 32"));
        assert_eq!(lines[LINES - 2], "é".repeat(LINE_BYTES / 2));
        assert!(words.telling().is_some_and(|line| line.starts_with('é')));
    }

    #[test]
    fn a_backtrace_does_not_push_out_what_was_said() {
        let mut words = LastWords::default();
        for line in ["  1: before", "thread 'main' (7) panicked at src/main.rs:1:2:", "no database", "stack backtrace:"]
        {
            words.push(line);
        }
        for number in 0..100 {
            words.push(&format!("{number:4}: roomd::run"));
            words.push("             at src/lib.rs:67:43");
        }
        words.push("note: some details are omitted");
        words.push("   1: after");
        assert_eq!(words.telling(), Some("no database"));
        let lines = words.lines();
        assert_eq!(lines.len(), 5, "{lines:?}");
        assert!(lines[0].ends_with("before") && lines[4].ends_with("after"), "{lines:?}");
    }

    #[test]
    fn a_panic_tells_more_than_what_follows_it() {
        let panic = [
            "started",
            "thread 'main' (7) panicked at src/main.rs:1:2:",
            "no database",
            "note: run with `RUST_BACKTRACE=1`",
        ];
        for (lines, expected) in [
            (&panic[..], Some("no database")),
            (&panic[..2], Some(panic[1])),
            (&["one", "two", " "], Some("two")),
            (&[], None),
        ] {
            assert_eq!(telling(lines.iter().copied()), expected, "{lines:?}");
        }
    }
}
