//! The last lines that a worker wrote, for whoever asks why it died.

use std::collections::VecDeque;

/// How many lines are kept.
const LINES: usize = 20;
/// How much of a line is kept, in bytes.
const LINE_BYTES: usize = 500;

/// The last lines of one worker's output.
#[derive(Clone, Debug, Default)]
pub struct LastWords(VecDeque<String>);

impl LastWords {
    /// Keeps a line, and drops the oldest.
    pub fn push(&mut self, line: &str) {
        if self.0.len() == LINES {
            self.0.pop_front();
        }
        let end = (0..=LINE_BYTES.min(line.len())).rev().find(|&end| line.is_char_boundary(end)).unwrap_or(0);
        self.0.push_back(line[..end].to_owned());
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }

    /// The line that tells most.
    pub fn telling(&self) -> Option<&str> {
        telling(self.0.iter().map(String::as_str))
    }
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
