//! A record in its style. One event is one line, whatever is in it: what could end a line or steer a terminal is written out.

use std::fmt::Write as _;

use roomd_wire::WorkerId;
use roomd_worker::log::Record;
use serde_json::{Map, Value};
use tracing::Level;

use super::style::Style;

/// The worker that a line is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Which.
    pub id: WorkerId,
    /// Its process.
    pub pid: u32,
    /// Where it wrote to: `stdout`, `stderr`.
    pub stream: &'static str,
}

/// What a line says.
pub enum Line<'a> {
    /// An event.
    Event(&'a Record),
    /// What an application printed.
    Printed(&'a str),
}

/// Adds a line. Without an origin it is the supervisor's.
pub fn render(out: &mut String, style: Style, line: &Line<'_>, origin: Option<&Origin>) {
    match (style, line) {
        (Style::Json { priority }, _) => json(out, priority, line, origin),
        (Style::Records, Line::Event(record)) => {
            let _ = write!(out, "{}{}", roomd_worker::log::MARK, record.to_json());
        }
        (_, Line::Event(record)) => {
            if style == Style::Journal {
                let _ = write!(out, "<{}>", priority_of(record.level));
            }
            mark(out, origin);
            event(out, style, record);
        }
        (_, Line::Printed(text)) => {
            let (priority, text) = priority_in(text);
            if let (Style::Journal, Some((digit, _))) = (style, priority) {
                let _ = write!(out, "<{digit}>");
            }
            mark(out, origin);
            escape(out, text);
        }
    }
    out.push('\n');
}

/// An event in one line, without the time: for last words.
pub fn in_short(record: &Record) -> String {
    let mut text = format!("{} {}: ", record.level, record.target);
    words(&mut text, record, false);
    text
}

fn mark(out: &mut String, origin: Option<&Origin>) {
    if let Some(origin) = origin {
        let _ = write!(out, "[{}] ", origin.id);
    }
}

fn event(out: &mut String, style: Style, record: &Record) {
    let colours = style == Style::Terminal;
    let level = record.level;
    match style {
        Style::Journal => {
            let _ = write!(out, "{}: ", record.target);
        }
        Style::Terminal => {
            let colour = match level {
                Level::ERROR => 31,
                Level::WARN => 33,
                Level::INFO => 32,
                Level::DEBUG => 34,
                Level::TRACE => 35,
            };
            let _ = write!(out, "\u{1b}[2m{}\u{1b}[0m \u{1b}[{colour}m{level:>5}\u{1b}[0m ", record.timestamp);
        }
        _ => {
            let _ = write!(out, "{} {level:>5} {}: ", record.timestamp, record.target);
        }
    }
    words(out, record, colours);
}

fn words(out: &mut String, record: &Record, colours: bool) {
    escape(out, &record.message);
    for (key, value) in &record.fields {
        if !out.ends_with(' ') {
            out.push(' ');
        }
        if colours {
            out.push_str("\u{1b}[3m");
        }
        escape(out, key);
        out.push_str(if colours { "\u{1b}[0m\u{1b}[2m=\u{1b}[0m" } else { "=" });
        match value {
            Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => escape(out, text),
            Value::String(text) => {
                out.push('"');
                escape(out, &text.replace('"', "\\\""));
                out.push('"');
            }
            other => {
                let _ = write!(out, "{other}");
            }
        }
    }
}

fn json(out: &mut String, priority: bool, line: &Line<'_>, origin: Option<&Origin>) {
    let mut record = match line {
        Line::Event(record) => (*record).clone(),
        Line::Printed(text) => {
            let (said, text) = priority_in(text);
            // Of what is printed nobody knows how bad it is.
            let level = said.map_or(Level::INFO, |(_, level)| level);
            Record::now(level, "application", text.to_owned())
        }
    };
    if priority {
        let _ = write!(out, "<{}>", priority_of(record.level));
    }
    let mut fields = Map::new();
    let id = match origin {
        Some(origin) => Some((origin.id.slot.0, origin.id.generation.0)),
        None => record.fields.get("worker").and_then(Value::as_str).and_then(id_in),
    };
    if let Some((slot, generation)) = id {
        fields.insert("worker".into(), format!("{slot}.{generation}").into());
        fields.insert("slot".into(), slot.into());
        fields.insert("generation".into(), generation.into());
    }
    if let Some(origin) = origin {
        fields.insert("pid".into(), origin.pid.into());
        if matches!(line, Line::Printed(_)) {
            fields.insert("stream".into(), origin.stream.into());
        }
    }
    for (key, value) in record.fields {
        // A worker cannot pass for another.
        fields.entry(key).or_insert(value);
    }
    record.fields = fields;
    out.push_str(&record.to_json());
}

/// Slot and generation of `2.1`.
fn id_in(text: &str) -> Option<(u16, u32)> {
    let (slot, generation) = text.split_once('.')?;
    Some((slot.parse().ok()?, generation.parse().ok()?))
}

/// The priority as of syslog.
fn priority_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// The priority that a program for journald puts in front, as `<4>`, and what follows it.
fn priority_in(text: &str) -> (Option<(u8, Level)>, &str) {
    match text.as_bytes() {
        [b'<', digit @ b'0'..=b'7', b'>', ..] => {
            let digit = digit - b'0';
            let level = match digit {
                0..=3 => Level::ERROR,
                4 => Level::WARN,
                5 | 6 => Level::INFO,
                _ => Level::DEBUG,
            };
            (Some((digit, level)), &text[3..])
        }
        _ => (None, text),
    }
}

/// Writes out what is not to be seen: control characters, and what turns the direction of a text around.
fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\t' => out.push('\t'),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(out, "{}", character.escape_unicode());
            }
            _ if character.is_control() => {
                let _ = write!(out, "{}", character.escape_unicode());
            }
            _ => out.push(character),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roomd_wire::{Generation, Slot};

    use super::*;

    const ORIGIN: Origin =
        Origin { id: WorkerId { slot: Slot(2), generation: Generation(7) }, pid: 99, stream: "stdout" };

    fn record(message: &str) -> Record {
        let mut record = Record::now(Level::WARN, "roomd_worker::bus", message.into());
        record.timestamp = "2026-01-02T03:04:05.678901Z".into();
        record.fields.insert("pid".into(), 1.into());
        record.fields.insert("reason".into(), "no \"way\"".into());
        record.fields.insert("cause".into(), "kill".into());
        record
    }

    fn rendered(style: Style, line: Line<'_>, origin: Option<&Origin>) -> String {
        let mut out = String::new();
        render(&mut out, style, &line, origin);
        assert!(out.ends_with('\n') && out.matches('\n').count() == 1, "{out:?}");
        out.trim_end().to_owned()
    }

    #[test]
    fn an_event_has_the_same_words_in_every_style() {
        let record = record("bus down");
        let words = r#"bus down pid=1 reason="no \"way\"" cause=kill"#;
        for (style, line) in [
            (Style::Plain, format!("[2.7] 2026-01-02T03:04:05.678901Z  WARN roomd_worker::bus: {words}")),
            (Style::Journal, format!("<4>[2.7] roomd_worker::bus: {words}")),
        ] {
            assert_eq!(rendered(style, Line::Event(&record), Some(&ORIGIN)), line);
        }
        assert!(rendered(Style::Terminal, Line::Event(&record), None).contains("\u{1b}[33m WARN\u{1b}[0m bus down "));
        assert_eq!(in_short(&record), format!("WARN roomd_worker::bus: {words}"));
    }

    #[test]
    fn json_is_flat_and_says_which_worker_it_is_whatever_the_worker_says() {
        let mut record = record("bus down");
        record.fields.insert("slot".into(), 1.into());
        let line = rendered(Style::Json { priority: true }, Line::Event(&record), Some(&ORIGIN));
        let value: Value = serde_json::from_str(line.strip_prefix("<4>").unwrap()).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "timestamp": "2026-01-02T03:04:05.678901Z", "level": "WARN", "target": "roomd_worker::bus",
                "message": "bus down", "worker": "2.7", "slot": 2, "generation": 7, "pid": 99,
                "reason": "no \"way\"", "cause": "kill",
            })
        );
        let mut own = record.clone();
        own.fields.insert("worker".into(), "3.1".into());
        own.fields.shift_remove("slot");
        let line = rendered(Style::Json { priority: false }, Line::Event(&own), None);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["slot"], &value["generation"], &value["pid"]), (&3.into(), &1.into(), &1.into()));
    }

    #[test]
    fn what_is_printed_is_one_safe_line() {
        let nasty = "a\u{1b}[2J\rb\u{0}\u{202e}\"\u{fffd}\ttab";
        let line = rendered(Style::Plain, Line::Printed(nasty), Some(&ORIGIN));
        assert_eq!(line, "[2.7] a\\u{1b}[2J\\rb\\u{0}\\u{202e}\"\u{fffd}\ttab");
        let line = rendered(Style::Json { priority: false }, Line::Printed(nasty), Some(&ORIGIN));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((value["message"].as_str(), value["stream"].as_str()), (Some(nasty), Some("stdout")));
        assert_eq!((value["level"].as_str(), value["target"].as_str()), (Some("INFO"), Some("application")));
    }

    #[test]
    fn a_priority_that_an_application_prints_is_its_level() {
        for (digit, level) in ["ERROR", "ERROR", "ERROR", "ERROR", "WARN", "INFO", "INFO", "DEBUG"].iter().enumerate() {
            let text = format!("<{digit}>oh");
            assert_eq!(rendered(Style::Journal, Line::Printed(&text), Some(&ORIGIN)), format!("<{digit}>[2.7] oh"));
            let line = rendered(Style::Json { priority: false }, Line::Printed(&text), Some(&ORIGIN));
            let value: Value = serde_json::from_str(&line).unwrap();
            assert_eq!((value["level"].as_str(), value["message"].as_str()), (Some(*level), Some("oh")));
        }
        assert_eq!(priority_in("<8>x").0, None);
        assert_eq!(priority_in("<é>").0, None);
    }
}
