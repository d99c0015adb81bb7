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

    /// The last line that says something.
    pub fn last(&self) -> Option<&str> {
        self.0.iter().rev().map(String::as_str).find(|line| !line.trim().is_empty())
    }
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
        assert!(words.last().is_some_and(|line| line.starts_with('é')));
    }
}
