//! Reads JSON text without building anything from it.
//!
//! Arguments of events travel through a worker as text: what a client sent is validated once, then passed on as it is.
//! This reader checks the grammar as `JSON.parse` does, bounds the depth, recognises attachment placeholders, and
//! tells a [`Sink`] what it sees. serde_json has two gaps here: it ignores values without a limit on their depth
//! (notepack in a Node peer recurses, so a deep value would end every Node server), and it refuses the escaped lone
//! surrogates that `JSON.stringify` writes.

use std::{borrow::Cow, ops::Range};

use thiserror::Error;

/// How deep arrays and objects may nest. One less than serde_json's own limit, so that what passes here can be
/// deserialized by a listener.
pub const MAX_DEPTH: usize = 126;

/// Why a text is not the JSON we accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JsonError {
    /// The grammar is violated at this byte.
    #[error("invalid JSON at byte {0}")]
    Syntax(usize),
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    #[error("JSON nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// What an object says about being the placeholder of an attachment (`{"_placeholder":true,"num":k}`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// An ordinary object.
    No,
    /// Stands for the attachment with this index.
    Index(usize),
    /// Claims to be a placeholder but its `num` is no index.
    Illegal,
}

/// What a [`Sink`] is told at the end of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// How many members it has.
    pub(crate) count: usize,
    /// Whether it stands for an attachment.
    pub(crate) placeholder: Placeholder,
    /// Where it is in the text.
    pub(crate) span: Range<usize>,
}

/// Receives the parts of a JSON text in their order.
pub(crate) trait Sink {
    /// What reading may end with.
    type Error: From<JsonError>;
    /// What the sink remembers between begin and end of an array or object.
    type Mark: Copy + Default;

    fn null(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
    fn boolean(&mut self, _value: bool) -> Result<(), Self::Error> {
        Ok(())
    }
    /// A number as it is written.
    fn number(&mut self, _text: &str) -> Result<(), Self::Error> {
        Ok(())
    }
    /// A string or a key.
    fn string(&mut self, _text: RawText<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
    fn begin(&mut self) -> Self::Mark {
        Self::Mark::default()
    }
    fn end_array(&mut self, _mark: Self::Mark, _count: usize) -> Result<(), Self::Error> {
        Ok(())
    }
    fn end_object(&mut self, _mark: Self::Mark, _object: Object) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A string as it stands between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawText<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> RawText<'a> {
    /// The text it stands for. A lone surrogate becomes U+FFFD.
    pub(crate) fn unescape(self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut text = String::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some(at) = rest.find('\\') {
            text.push_str(&rest[..at]);
            let (character, used) = unescape_one(&rest[at..]);
            text.push(character);
            rest = &rest[at + used..];
        }
        text.push_str(rest);
        Cow::Owned(text)
    }
}

/// The character at the head of `text`, which starts with a checked escape sequence, and its length in bytes.
fn unescape_one(text: &str) -> (char, usize) {
    let character = match text.as_bytes()[1] {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unescape_unicode(text),
        other => char::from(other),
    };
    (character, 2)
}

fn unescape_unicode(text: &str) -> (char, usize) {
    let unit = |at: usize| -> Option<u32> {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let first = unit(0).unwrap_or(0xfffd);
    if (0xd800..0xdc00).contains(&first)
        && let Some(second) = unit(6).filter(|unit| (0xdc00..0xe000).contains(unit))
    {
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(code).unwrap_or('\u{fffd}'), 12);
    }
    (char::from_u32(first).unwrap_or('\u{fffd}'), 6)
}

/// A position in a JSON text.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The byte at the position.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips white space.
    pub(crate) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Skips `byte` if it is next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Refuses anything but white space up to the end.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { self.fail() }
    }

    fn fail<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Syntax(self.at))
    }

    /// Reads one value, whose arrays and objects may nest `depth` levels.
    pub(crate) fn value<S: Sink>(&mut self, sink: &mut S, depth: usize) -> Result<(), S::Error> {
        match self.peek() {
            Some(b'"') => {
                let text = self.string()?;
                sink.string(text)
            }
            Some(b'{') => self.object(sink, depth.checked_sub(1).ok_or(JsonError::TooDeep)?),
            Some(b'[') => self.array(sink, depth.checked_sub(1).ok_or(JsonError::TooDeep)?),
            Some(b'-' | b'0'..=b'9') => {
                let text = self.number()?;
                sink.number(text)
            }
            Some(b't') => {
                self.word("true")?;
                sink.boolean(true)
            }
            Some(b'f') => {
                self.word("false")?;
                sink.boolean(false)
            }
            Some(b'n') => {
                self.word("null")?;
                sink.null()
            }
            _ => Ok(self.fail()?),
        }
    }

    fn array<S: Sink>(&mut self, sink: &mut S, depth: usize) -> Result<(), S::Error> {
        self.at += 1;
        let mark = sink.begin();
        let mut count = 0;
        self.space();
        if !self.take(b']') {
            loop {
                self.space();
                self.value(sink, depth)?;
                count += 1;
                self.space();
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    self.fail()?;
                }
            }
        }
        sink.end_array(mark, count)
    }

    fn object<S: Sink>(&mut self, sink: &mut S, depth: usize) -> Result<(), S::Error> {
        let start = self.at;
        self.at += 1;
        let mark = sink.begin();
        let mut count = 0;
        let mut claims = false;
        let mut index = None;
        self.space();
        if !self.take(b'}') {
            loop {
                self.space();
                if self.peek() != Some(b'"') {
                    self.fail()?;
                }
                let key = self.string()?;
                sink.string(key)?;
                self.space();
                if !self.take(b':') {
                    self.fail()?;
                }
                self.space();
                let value = self.at;
                self.value(sink, depth)?;
                count += 1;
                // The last of several equal keys counts, as in JSON.parse.
                match &*key.unescape() {
                    "_placeholder" => claims = &self.text[value..self.at] == "true",
                    "num" => index = self.text[value..self.at].parse().ok(),
                    _ => {}
                }
                self.space();
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    self.fail()?;
                }
            }
        }
        let placeholder = match (claims, index) {
            (false, _) => Placeholder::No,
            (true, Some(index)) => Placeholder::Index(index),
            (true, None) => Placeholder::Illegal,
        };
        sink.end_object(mark, Object { count, placeholder, span: start..self.at })
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            self.fail()
        }
    }

    /// Reads the string whose opening quote is next.
    pub(crate) fn string(&mut self) -> Result<RawText<'a>, JsonError> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += match bytes.get(self.at + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
                        Some(b'u') if is_hex(bytes.get(self.at + 2..self.at + 6)) => 6,
                        _ => return self.fail(),
                    };
                }
                Some(0x20..) => self.at += 1,
                Some(_) | None => return self.fail(),
            }
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        Ok(RawText { raw, escaped })
    }

    /// Reads the number that is next.
    pub(crate) fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { self.fail() }
    }
}

fn is_hex(bytes: Option<&[u8]>) -> bool {
    bytes.is_some_and(|bytes| bytes.iter().all(u8::is_ascii_hexdigit))
}

/// A sink that only wants the grammar checked.
pub(crate) struct Ignore;

impl Sink for Ignore {
    type Error = JsonError;
    type Mark = ();
}

/// Checks that `text` is one JSON value and not too deep.
///
/// # Errors
/// Names the first byte that does not fit, or the depth.
pub fn validate(text: &str) -> Result<(), JsonError> {
    read(text, &mut Ignore)
}

/// Reads the one value of `text` into `sink`.
pub(crate) fn read<S: Sink>(text: &str, sink: &mut S) -> Result<(), S::Error> {
    let mut cursor = Cursor::new(text);
    cursor.space();
    cursor.value(sink, MAX_DEPTH)?;
    Ok(cursor.end()?)
}

/// The elements of the array `text`, each as its own text. Ends early where the text is no array.
pub(crate) fn elements(text: &str) -> Elements<'_> {
    let mut cursor = Cursor::new(text);
    cursor.space();
    let open = cursor.take(b'[');
    Elements { cursor, open }
}

/// The array `text` cut behind its first element: that element, and the elements that follow without their brackets.
/// `None` where there is no element.
pub(crate) fn split_first(text: &str) -> Option<(&str, &str)> {
    let mut elements = elements(text);
    let first = elements.next()?;
    let rest = text[elements.cursor.at..].trim_end_matches([' ', '\n', '\r', '\t']);
    Some((first, if elements.open { rest.strip_suffix(']')? } else { "" }))
}

/// Iterator of [`elements`].
#[derive(Debug, Clone)]
pub(crate) struct Elements<'a> {
    cursor: Cursor<'a>,
    open: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if !self.open {
            return None;
        }
        self.cursor.space();
        let start = self.cursor.at;
        if self.cursor.value(&mut Ignore, MAX_DEPTH).is_err() {
            self.open = false;
            return None;
        }
        let element = &self.cursor.text[start..self.cursor.at];
        self.cursor.space();
        self.open = self.cursor.take(b',');
        Some(element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_that_of_json_parse() {
        for good in [
            "null",
            " [ ] ",
            "{}",
            "0",
            "-0.5e+3",
            "1E2",
            r#""a\u00e9\"\\""#,
            r#"{"a":[1,{"b":null}]}"#,
            r#""\ud800""#,
            "[true,false]",
            "\"\u{7f}\u{2028}\"",
        ] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            " ",
            "[",
            "]",
            "[1,]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "nul",
            "truex",
            "\"a",
            "\"\n\"",
            r#""\x""#,
            r#""\u12g4""#,
            "[1 2]",
            "1 2",
            "NaN",
            "'a'",
            "[1]]",
            "\u{a0}1",
        ] {
            assert!(validate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn depth_is_bounded_where_serde_json_ends_too() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(validate(&nested(MAX_DEPTH)), Ok(()));
        assert!(serde_json::from_str::<serde_json::Value>(&nested(MAX_DEPTH + 1)).is_ok());
        assert_eq!(validate(&nested(MAX_DEPTH + 1)), Err(JsonError::TooDeep));
        assert_eq!(validate(&"[{\"a\":".repeat(500_000)), Err(JsonError::TooDeep));
    }

    #[test]
    fn strings_are_unescaped_as_javascript_does() {
        for (raw, text) in [
            (r#""plain""#, "plain"),
            (r#""\"\\\/\b\f\n\r\t\u0041\u00e9""#, "\"\\/\u{8}\u{c}\n\r\tA\u{e9}"),
            (r#""\ud83d\ude00!""#, "\u{1f600}!"),
            (r#""\ud83d!""#, "\u{fffd}!"),
            (r#""\ude00\ud83d\u0041""#, "\u{fffd}\u{fffd}A"),
        ] {
            let read = Cursor::new(raw).string().map(RawText::unescape);
            assert_eq!(read.as_deref(), Ok(text), "{raw}");
        }
    }

    #[test]
    fn elements_are_the_texts_of_an_array() {
        let all = |text| elements(text).collect::<Vec<_>>();
        assert_eq!(all(r#" [ "a" ,{"b":[1,2]}, 3 ] "#), ["\"a\"", "{\"b\":[1,2]}", "3"]);
        assert_eq!(split_first(" [ 1 ,[2], 3 ] "), Some(("1", "[2], 3 ")));
        assert_eq!(split_first("[1]"), Some(("1", "")));
        assert_eq!(split_first("[]"), None);
        assert!(all("[]").is_empty());
        assert!(all("{}").is_empty());
    }
}
