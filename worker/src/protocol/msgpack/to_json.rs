//! MessagePack to arguments: the JSON text that Node would send to clients for the same message.

use std::ops::Range;

use bytes::Bytes;

use super::{Reader, Token, Unreadable};
use crate::protocol::{
    Data, MAX_BYTE_STRINGS, MAX_DEPTH, date,
    json_write::{push_number, push_string},
};

/// Reads one value. Attachments share the message's memory.
pub(crate) fn read_data(reader: &mut Reader<'_>, message: &Bytes) -> Result<Data, Unreadable> {
    let mut writer = JsonWriter { reader, message, json: String::new(), attachments: Vec::new(), claims: false };
    if !writer.value(MAX_DEPTH)? {
        writer.json.push_str("null");
    }
    if writer.claims && !writer.attachments.is_empty() {
        // Beside real placeholders it would pass for one, and a client would close the connection over it.
        return Err(Unreadable::FakePlaceholder);
    }
    Ok(Data::checked(writer.json, writer.attachments))
}

/// Reads a message that is one value.
pub(crate) fn read_message(message: &Bytes) -> Result<Data, Unreadable> {
    let mut reader = Reader::new(message);
    let data = read_data(&mut reader, message)?;
    reader.end()?;
    Ok(data)
}

struct JsonWriter<'a, 'r> {
    reader: &'a mut Reader<'r>,
    message: &'a Bytes,
    json: String,
    attachments: Vec<Bytes>,
    /// A map was seen that claims to be a placeholder.
    claims: bool,
}

impl JsonWriter<'_, '_> {
    /// Writes the next value, whose arrays and objects may nest `depth` levels. `false` where it is `undefined`, which
    /// has no JSON; nothing is written then.
    fn value(&mut self, depth: usize) -> Result<bool, Unreadable> {
        let token = self.reader.token()?;
        self.written(token, depth)
    }

    fn written(&mut self, token: Token<'_>, depth: usize) -> Result<bool, Unreadable> {
        match token {
            Token::Nil => self.json.push_str("null"),
            Token::Undefined => return Ok(false),
            Token::Boolean(value) => self.json.push_str(if value { "true" } else { "false" }),
            Token::Unsigned(number) => self.json.push_str(&number.to_string()),
            Token::Signed(number) => self.json.push_str(&number.to_string()),
            Token::Float(number) => push_number(&mut self.json, number),
            Token::Text(text) => push_string(&mut self.json, &text),
            Token::Date(ms) => match date::iso_text(ms) {
                Some(text) => push_string(&mut self.json, &text),
                None => self.json.push_str("null"),
            },
            Token::Binary(range) => self.attachment(range, depth)?,
            Token::Extension(kind, range) => {
                let depth = deeper(depth)?;
                self.json.push_str(&format!("[{kind},"));
                self.attachment(range, depth)?;
                self.json.push(']');
            }
            Token::Array(count) => self.array(count, deeper(depth)?)?,
            Token::Map(count) => self.map(count, deeper(depth)?)?,
        }
        Ok(true)
    }

    fn attachment(&mut self, range: Range<usize>, depth: usize) -> Result<(), Unreadable> {
        deeper(depth)?;
        if self.attachments.len() == MAX_BYTE_STRINGS {
            return Err(Unreadable::TooMuch("byte strings"));
        }
        self.json.push_str(&format!("{{\"_placeholder\":true,\"num\":{}}}", self.attachments.len()));
        self.attachments.push(self.message.slice(range));
        Ok(())
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<(), Unreadable> {
        self.json.push('[');
        for index in 0..count {
            if index > 0 {
                self.json.push(',');
            }
            if !self.value(depth)? {
                self.json.push_str("null");
            }
        }
        self.json.push(']');
        Ok(())
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<(), Unreadable> {
        self.json.push('{');
        let mut first = true;
        for _ in 0..count {
            let start = self.json.len();
            let key = self.reader.key()?;
            if !first {
                self.json.push(',');
            }
            push_string(&mut self.json, &key);
            self.json.push(':');
            let token = self.reader.token()?;
            self.claims |= key == "_placeholder" && token == Token::Boolean(true);
            if self.written(token, depth)? {
                first = false;
            } else {
                self.json.truncate(start);
            }
        }
        self.json.push('}');
        Ok(())
    }
}

fn deeper(depth: usize) -> Result<usize, Unreadable> {
    depth.checked_sub(1).ok_or(Unreadable::TooMuch("depth"))
}
