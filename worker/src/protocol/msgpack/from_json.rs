//! Arguments to MessagePack, as notepack writes what `JSON.parse` gives.

use bytes::Bytes;

use super::{TooLong, Writer};
use crate::protocol::{
    Data, JsonError,
    json::{self, Object, Placeholder, RawText, Sink},
};

/// Appends `data` with its attachments in place of their placeholders. All that is written may have `max_bytes`.
pub(crate) fn write_data(writer: &mut Writer, data: &Data, max_bytes: usize) -> Result<(), TooLong> {
    write_json(writer, data.json(), data.attachments(), max_bytes)
}

/// Appends a checked text and its attachments, likewise.
pub(super) fn write_json(
    writer: &mut Writer,
    json: &str,
    attachments: &[Bytes],
    max_bytes: usize,
) -> Result<(), TooLong> {
    let mut sink = DataSink { writer, attachments, max_bytes };
    match json::read(json, &mut sink) {
        Err(Failure::TooLong(bytes)) => return Err(TooLong(bytes)),
        read => debug_assert!(read.is_ok(), "the text has been checked: {json}"),
    }
    if writer.bytes.len() > max_bytes { Err(TooLong(writer.bytes.len())) } else { Ok(()) }
}

struct DataSink<'a> {
    writer: &'a mut Writer,
    attachments: &'a [Bytes],
    max_bytes: usize,
}

#[derive(Debug)]
enum Failure {
    /// Cannot be: the text is valid.
    Json,
    TooLong(usize),
}

impl From<JsonError> for Failure {
    fn from(_: JsonError) -> Self {
        Failure::Json
    }
}

impl Sink for DataSink<'_> {
    type Error = Failure;
    type Mark = usize;

    fn null(&mut self) -> Result<(), Failure> {
        self.writer.nil();
        Ok(())
    }

    fn boolean(&mut self, value: bool) -> Result<(), Failure> {
        self.writer.boolean(value);
        Ok(())
    }

    fn number(&mut self, text: &str) -> Result<(), Failure> {
        // Integers keep all their digits, where JavaScript would round beyond 2^53.
        if let Ok(value) = text.parse::<u64>() {
            self.writer.unsigned(value);
        } else if let Ok(value) = text.parse::<i64>() {
            self.writer.signed(value);
        } else {
            self.writer.number(text.parse().map_err(|_| Failure::Json)?);
        }
        Ok(())
    }

    fn string(&mut self, text: RawText<'_>) -> Result<(), Failure> {
        self.writer.text(&text.unescape());
        Ok(())
    }

    fn begin(&mut self) -> usize {
        self.writer.begin()
    }

    fn end_array(&mut self, mark: usize, count: usize) -> Result<(), Failure> {
        self.writer.end_array(mark, count);
        Ok(())
    }

    fn end_object(&mut self, mark: usize, object: Object) -> Result<(), Failure> {
        let attachment = match object.placeholder {
            Placeholder::Index(index) => self.attachments.get(index),
            Placeholder::No | Placeholder::Illegal => None,
        };
        let Some(bytes) = attachment else {
            self.writer.end_map(mark, object.count);
            return Ok(());
        };
        self.writer.bytes.truncate(mark);
        // A text may name one attachment often, which would make a long message of a short one.
        let total = self.writer.bytes.len() + bytes.len();
        if total > self.max_bytes {
            return Err(Failure::TooLong(total));
        }
        self.writer.binary(bytes);
        Ok(())
    }
}
