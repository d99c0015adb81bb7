//! Arguments to MessagePack, as notepack writes what `JSON.parse` gives.

use bytes::Bytes;

use super::{MAX_MESSAGE_BYTES, WriteError, msgpack::Writer};
use crate::protocol::{
    Data, JsonError,
    json::{self, Object, Placeholder, RawText, Sink},
};

/// Appends `data` with its attachments in place of their placeholders.
pub(super) fn write_data(writer: &mut Writer, data: &Data) -> Result<(), WriteError> {
    let mut sink = DataSink { writer, attachments: data.attachments() };
    match json::read(data.json(), &mut sink) {
        Ok(()) if sink.writer.bytes.len() <= MAX_MESSAGE_BYTES => Ok(()),
        Ok(()) => Err(WriteError::TooLong(writer.bytes.len())),
        Err(Failure::TooLong(bytes)) => Err(WriteError::TooLong(bytes)),
        Err(Failure::Json) => Err(WriteError::NotAnEvent),
    }
}

struct DataSink<'a> {
    writer: &'a mut Writer,
    attachments: &'a [Bytes],
}

enum Failure {
    /// Cannot be: the text of [`Data`] is valid.
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
        if total > MAX_MESSAGE_BYTES {
            return Err(Failure::TooLong(total));
        }
        self.writer.binary(bytes);
        Ok(())
    }
}
