//! One line of the log, before it has a form.

use std::{error::Error, fmt, fmt::Write as _};

use serde_json::{Map, Value};
use tracing::{
    Level,
    field::{Field, Visit},
};
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

/// Stands before a record in a worker's output: the record separator of JSON text sequences (RFC 7464). What has none is what the
/// application printed.
pub const MARK: char = '\u{1e}';

/// The levels by their names.
pub const LEVELS: [(&str, Level); 5] = [
    ("ERROR", Level::ERROR),
    ("WARN", Level::WARN),
    ("INFO", Level::INFO),
    ("DEBUG", Level::DEBUG),
    ("TRACE", Level::TRACE),
];

/// The longest text of one field; longer ones are cut. A line must not fill a screen, nor a pipe.
const MAX_TEXT_BYTES: usize = 2048;
/// All texts of one line together; further fields are left out.
const MAX_LINE_BYTES: usize = 5000;

/// Keys that a record has by itself. A field of that name gets another.
const OWN_KEYS: [&str; 4] = ["timestamp", "level", "target", "message"];

/// One event.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// When: RFC 3339, in UTC, with microseconds.
    pub timestamp: String,
    /// How bad.
    pub level: Level,
    /// The module it is from.
    pub target: String,
    /// What.
    pub message: String,
    /// With what, in the order of the program.
    pub fields: Map<String, Value>,
}

impl Record {
    /// A record of this moment, without fields.
    pub fn now(level: Level, target: &str, message: String) -> Record {
        let mut timestamp = String::new();
        // Writing to a text cannot fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
        Record { timestamp, level, target: target.into(), message, fields: Map::new() }
    }

    /// One JSON object with flat fields, in one line.
    pub fn to_json(&self) -> String {
        let mut all = Map::with_capacity(OWN_KEYS.len() + self.fields.len());
        all.insert("timestamp".into(), self.timestamp.as_str().into());
        all.insert("level".into(), self.level.as_str().into());
        all.insert("target".into(), self.target.as_str().into());
        all.insert("message".into(), self.message.as_str().into());
        all.extend(self.fields.iter().map(|(key, value)| (key.clone(), value.clone())));
        Value::Object(all).to_string()
    }

    /// Reads what [`Record::to_json`] wrote.
    pub fn from_json(line: &str) -> Option<Record> {
        let mut fields: Map<String, Value> = serde_json::from_str(line).ok()?;
        let mut text = |key| match fields.shift_remove(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (timestamp, level, target, message) =
            (text("timestamp")?, text("level")?, text("target")?, text("message")?);
        let in_time = |byte: u8| byte.is_ascii_digit() || b"-:.TZ".contains(&byte);
        if !timestamp.ends_with('Z') || timestamp.len() > 32 || !timestamp.bytes().all(in_time) {
            return None;
        }
        for value in fields.values_mut().filter(|value| value.is_object() || value.is_array()) {
            *value = value.to_string().into();
        }
        let (_, level) = LEVELS.into_iter().find(|(name, _)| *name == level)?;
        Some(Record { timestamp, level, target, message, fields })
    }
}

/// Collects the fields of an event or of a span.
pub(super) struct Collect<'a> {
    message: &'a mut String,
    fields: &'a mut Map<String, Value>,
    room: usize,
}

impl<'a> Collect<'a> {
    pub(super) fn new(message: &'a mut String, fields: &'a mut Map<String, Value>) -> Self {
        Collect { message, fields, room: MAX_LINE_BYTES }
    }

    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        // What the `log` crate's records carry beside their words.
        if name.starts_with("log.") {
            return;
        }
        let name = if OWN_KEYS.contains(&name) { format!("field_{name}") } else { name.to_owned() };
        self.room = self.room.saturating_sub(name.len() + 8);
        if self.room > 0 {
            self.fields.insert(name, value);
        }
    }

    fn text(&mut self, field: &Field, value: impl fmt::Display) {
        let mut cut = Cut { text: String::new(), room: MAX_TEXT_BYTES.min(self.room) };
        if write!(cut, "{value}").is_err() {
            cut.text.push('…');
        }
        self.room = self.room.saturating_sub(cut.text.len());
        match field.name() {
            "message" => *self.message = cut.text,
            _ => self.put(field, cut.text.into()),
        }
    }
}

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    /// With what caused it, and what caused that.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.text(field, text);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// A text that takes no more than it has room for.
struct Cut {
    text: String,
    room: usize,
}

impl fmt::Write for Cut {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = self.room - self.text.len();
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        let end = (0..=room).rev().find(|&end| more.is_char_boundary(end)).unwrap_or(0);
        self.text.push_str(&more[..end]);
        self.room = self.text.len();
        Err(fmt::Error)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_of_json_and_comes_back_as_it_was() {
        let mut record = Record::now(Level::WARN, "roomd::x", "two\nlines \u{1b}[31m \"q\" é".into());
        record.fields.insert("pid".into(), 7.into());
        record.fields.insert("error".into(), "a\u{0}b".into());
        let json = record.to_json();
        assert!(!json.contains(['\n', '\u{1b}', '\u{0}']), "{json}");
        assert!(
            json.starts_with("{\"timestamp\":\"2") && json.contains("Z\",\"level\":\"WARN\",\"target\":\"roomd::x\"")
        );
        assert_eq!(Record::from_json(&json).unwrap(), record);
        let nested = json.replace(r#""pid":7"#, r#""pid":{"a":[1]}"#);
        assert_eq!(Record::from_json(&nested).unwrap().fields["pid"], r#"{"a":[1]}"#);
        let forged = json.replacen("\"timestamp\":\"2", "\"timestamp\":\"x", 1);
        for no in [
            &forged[..],
            "",
            "{}",
            "[1]",
            "null",
            r#"{"timestamp":1,"level":"WARN","target":"","message":""}"#,
            &json[1..],
        ] {
            assert_eq!(Record::from_json(no), None, "{no}");
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let mut cut = Cut { text: String::new(), room: 5 };
        assert!(write!(cut, "ab").is_ok() && write!(cut, "ééé").is_err());
        assert_eq!(cut.text, "abé");
        assert!(write!(cut, "x").is_err(), "nothing more after it");
    }
}
