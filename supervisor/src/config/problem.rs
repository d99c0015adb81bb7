//! What is wrong with a configuration, and how it is shown: the place, the line with a caret, the way out.

use std::{fmt, ops::Range};

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What is wrong, in one line: names the key, the value and the limit.
    pub message: String,
    /// What to do about it.
    pub way_out: Option<String>,
    /// The place in the file. None for what came from a flag, the environment, or the whole of the file.
    pub span: Option<Range<usize>>,
    /// A second place that has to do with it, and what is there.
    pub related: Option<(Range<usize>, String)>,
}

/// Everything that is wrong with a configuration, in the order of the file. Its `Display` is what `roomd check` prints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems {
    /// How the file is called in messages: as it was named by the user.
    file: String,
    /// Its text.
    text: String,
    list: Vec<Problem>,
}

impl Problem {
    /// A problem at a place in the file.
    pub fn at(span: Option<Range<usize>>, message: impl Into<String>, way_out: impl Into<String>) -> Problem {
        Problem { message: message.into(), way_out: Some(way_out.into()), span, related: None }
    }

    /// Points to a second place.
    pub fn and(mut self, span: Option<Range<usize>>, label: impl Into<String>) -> Problem {
        self.related = span.map(|span| (span, label.into()));
        self
    }
}

impl Problems {
    /// Puts what was found into the order of the file.
    pub fn new(file: String, text: String, mut list: Vec<Problem>) -> Problems {
        list.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
        Problems { file, text, list }
    }

    /// A single problem with no place in a file.
    pub fn one(file: &str, message: impl Into<String>, way_out: impl Into<String>) -> Problems {
        Problems { file: file.into(), text: String::new(), list: vec![Problem::at(None, message, way_out)] }
    }

    /// How many there are; never 0.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The first in one line, with its place.
    pub fn first(&self) -> String {
        self.list.first().map_or_else(String::new, |problem| self.headline(problem))
    }

    /// All of it in one line, if it is a single problem that has no place in the file.
    pub fn in_one_line(&self) -> Option<String> {
        match self.list.as_slice() {
            [Problem { span: None, message, way_out: Some(way_out), .. }] => Some(format!("{message}: {way_out}")),
            _ => None,
        }
    }

    fn headline(&self, problem: &Problem) -> String {
        match &problem.span {
            Some(span) => {
                let place = Place::of(&self.text, span);
                format!("{}:{}:{}: {}", self.file, place.line, place.column, problem.message)
            }
            None => problem.message.clone(),
        }
    }

    fn snippet(&self, f: &mut fmt::Formatter<'_>, span: &Range<usize>, label: &str) -> fmt::Result {
        let place = Place::of(&self.text, span);
        let gutter = place.line.to_string();
        let blank = " ".repeat(gutter.len());
        writeln!(f, " {gutter} | {}", without_passwords(place.content))?;
        let label = if label.is_empty() { String::new() } else { format!(" {label}") };
        writeln!(f, " {blank} | {}{}{label}", place.indent, "^".repeat(place.width))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            writeln!(f, "{}", self.headline(problem))?;
            if let Some(span) = &problem.span {
                self.snippet(f, span, "")?;
            }
            if let Some((span, label)) = &problem.related {
                self.snippet(f, span, label)?;
            }
            if let Some(way_out) = &problem.way_out {
                writeln!(f, "   = {way_out}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A span in terms of lines and columns, both counted from 1; columns count characters.
struct Place<'a> {
    line: usize,
    column: usize,
    content: &'a str,
    /// What stands before the caret: tabs kept, so that the caret stands below its place.
    indent: String,
    width: usize,
}

impl<'a> Place<'a> {
    fn of(text: &'a str, span: &Range<usize>) -> Place<'a> {
        let start = floor_char_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_char_boundary(text, span.end).clamp(start, line_end);
        let before = &text[line_start..start];
        Place {
            line: text[..start].matches('\n').count() + 1,
            column: before.chars().count() + 1,
            content: text[line_start..line_end].trim_end_matches('\r'),
            indent: before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect(),
            width: text[start..end].chars().count().max(1),
        }
    }
}

/// Where a span begins, both counted from 1.
pub fn line_and_column(text: &str, span: &Range<usize>) -> (usize, usize) {
    let place = Place::of(text, span);
    (place.line, place.column)
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// A line of the file as it may be shown: of one that may hold a Redis URL, and so a password, or a token, only the key. Asterisks keep the
/// line's length, so that the caret stands right.
fn without_passwords(line: &str) -> String {
    let key = line.split('=').next().unwrap_or_default().trim().trim_start_matches('#');
    let mistyped = nearest(key, ["token"]).is_some();
    if !mistyped && !["url", "redis:", "rediss:", "@", "token"].iter().any(|word| line.contains(word)) {
        return line.into();
    }
    let is_key = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_ \t#".contains(c));
    let value = line.find('=').filter(|at| is_key(&line[..*at])).map_or(0, |at| at + 1);
    let masked = line[value..].chars().map(|c| if matches!(c, ' ' | '"' | '\'') { c } else { '*' });
    line[..value].chars().chain(masked).collect()
}

/// The candidate that a mistyped word most likely meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_place_the_line_a_caret_and_the_way_out() {
        let text = "a = 1\n\tbé = \"x\"\r\n";
        let at = text.find("\"x\"").unwrap_or_default();
        let problems = Problems::new(
            "dir/cluster.toml".into(),
            text.into(),
            vec![
                Problem::at(None, "ROOMD_LISTEN is bad", "mend it"),
                Problem::at(Some(at..at + 3), "`b` is bad", "mend it").and(Some(0..1), "this is larger"),
            ],
        );
        assert_eq!(
            problems.to_string(),
            "dir/cluster.toml:2:7: `b` is bad\n 2 | \tbé = \"x\"\n   | \t     ^^^\n 1 | a = 1\n   | ^ this is larger\n   = mend it\n\n\
             ROOMD_LISTEN is bad\n   = mend it\n"
        );
    }

    #[test]
    fn spans_at_and_past_the_end_do_no_harm() {
        for (text, span) in [("", 0..0), ("é", 1..2), ("a\n", 2..2), ("a", 7..9)] {
            let _ = Problems::new("f".into(), text.into(), vec![Problem::at(Some(span), "m", "w")]).to_string();
        }
    }

    #[test]
    fn a_near_miss_is_suggested_and_a_far_one_is_not() {
        let keys = ["workers", "listen", "ping_interval", "ping_timeout"];
        assert_eq!(nearest("worker", keys), Some("workers"));
        assert_eq!(nearest("pingInterval", keys), Some("ping_interval"));
        assert_eq!(nearest("lisen", keys), Some("listen"));
        assert_eq!(nearest("colour", keys), None);
    }
}
