//! The pieces of MessagePack, as notepack writes and reads them (2.2 with clients, 3.0 between servers).

use std::{borrow::Cow, ops::Range};

use super::Unreadable;
use crate::protocol::json_write;

const MALFORMED: Unreadable = Unreadable::Malformed;

/// Writes values one after the other, each in its shortest form.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    fn tagged(&mut self, tag: u8, rest: &[u8]) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(rest);
    }

    pub(crate) fn nil(&mut self) {
        self.bytes.push(0xc0);
    }

    /// JavaScript's `undefined`, as notepack 2 writes it.
    pub(crate) fn undefined(&mut self) {
        self.bytes.extend_from_slice(&[0xd4, 0, 0]);
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.bytes.push(if value { 0xc3 } else { 0xc2 });
    }

    pub(crate) fn unsigned(&mut self, value: u64) {
        match value {
            0..0x80 => self.bytes.push(value as u8),
            0x80..0x100 => self.tagged(0xcc, &[value as u8]),
            0x100..0x1_0000 => self.tagged(0xcd, &(value as u16).to_be_bytes()),
            0x1_0000..0x1_0000_0000 => self.tagged(0xce, &(value as u32).to_be_bytes()),
            _ => self.tagged(0xcf, &value.to_be_bytes()),
        }
    }

    pub(crate) fn signed(&mut self, value: i64) {
        match value {
            0.. => self.unsigned(value.unsigned_abs()),
            -0x20..0 => self.bytes.push(value as u8),
            -0x80..-0x20 => self.tagged(0xd0, &[value as u8]),
            -0x8000..-0x80 => self.tagged(0xd1, &(value as i16).to_be_bytes()),
            -0x8000_0000..-0x8000 => self.tagged(0xd2, &(value as i32).to_be_bytes()),
            _ => self.tagged(0xd3, &value.to_be_bytes()),
        }
    }

    /// A JavaScript number: as an integer where it is one that fits, else as a float64.
    ///
    /// Integers beyond 64 bits are floats here; notepack would write their lowest 64 bits, another number.
    pub(crate) fn number(&mut self, value: f64) {
        const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;
        if value.trunc() != value || !(-TWO_POW_63..2.0 * TWO_POW_63).contains(&value) {
            self.tagged(0xcb, &value.to_be_bytes());
        } else if value >= 0.0 {
            self.unsigned(value as u64);
        } else {
            self.signed(value as i64);
        }
    }

    pub(crate) fn text(&mut self, text: &str) {
        match text.len() {
            len @ 0..0x20 => self.bytes.push(0xa0 | len as u8),
            len @ 0x20..0x100 => self.tagged(0xd9, &[len as u8]),
            len @ 0x100..0x1_0000 => self.tagged(0xda, &(len as u16).to_be_bytes()),
            len => self.tagged(0xdb, &(len as u32).to_be_bytes()),
        }
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        match bytes.len() {
            len @ 0..0x100 => self.tagged(0xc4, &[len as u8]),
            len @ 0x100..0x1_0000 => self.tagged(0xc5, &(len as u16).to_be_bytes()),
            len => self.tagged(0xc6, &(len as u32).to_be_bytes()),
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn array(&mut self, count: usize) {
        let at = self.begin();
        self.end_array(at, count);
    }

    pub(crate) fn map(&mut self, count: usize) {
        let at = self.begin();
        self.end_map(at, count);
    }

    /// Leaves room for the head of an array or map whose count is not known yet.
    pub(crate) fn begin(&mut self) -> usize {
        self.bytes.push(0);
        self.bytes.len() - 1
    }

    /// Fills in the head of an array begun at `at`.
    pub(crate) fn end_array(&mut self, at: usize, count: usize) {
        self.head(at, count, 0x90, 0xdc);
    }

    /// Fills in the head of a map begun at `at`.
    pub(crate) fn end_map(&mut self, at: usize, count: usize) {
        self.head(at, count, 0x80, 0xde);
    }

    fn head(&mut self, at: usize, count: usize, short: u8, long: u8) {
        match count {
            0..0x10 => self.bytes[at] = short | count as u8,
            0x10..0x1_0000 => {
                self.bytes[at] = long;
                self.bytes.splice(at + 1..at + 1, (count as u16).to_be_bytes());
            }
            _ => {
                self.bytes[at] = long + 1;
                self.bytes.splice(at + 1..at + 1, (count as u32).to_be_bytes());
            }
        }
    }
}

/// One value, or the head of an array or map whose elements follow.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token<'a> {
    Nil,
    /// notepack 2 wrote JavaScript's `undefined` so.
    Undefined,
    Boolean(bool),
    Unsigned(u64),
    /// A negative number.
    Signed(i64),
    Float(f64),
    Text(Cow<'a, str>),
    /// Where the bytes are.
    Binary(Range<usize>),
    /// How many elements follow.
    Array(usize),
    /// How many pairs follow.
    Map(usize),
    /// Milliseconds since 1970.
    Date(f64),
    /// An extension of this type, which JavaScript sees as an array of type and bytes.
    Extension(i8, Range<usize>),
}

impl Token<'_> {
    /// A whole number that is not negative. JavaScript sees no difference between 2 and 2.0.
    pub(crate) fn index(&self) -> Option<u64> {
        match *self {
            Token::Unsigned(number) => Some(number),
            Token::Float(number) if number.trunc() == number && (0.0..9e15).contains(&number) => Some(number as u64),
            _ => None,
        }
    }
}

/// Reads tokens from a message.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Who calls this has bounded the message's length.
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    /// Refuses bytes that are left over, as notepack does.
    pub(crate) fn end(&self) -> Result<(), Unreadable> {
        if self.at == self.message.len() { Ok(()) } else { Err(MALFORMED) }
    }

    fn range(&mut self, len: usize) -> Result<Range<usize>, Unreadable> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.message.len()).ok_or(MALFORMED)?;
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let range = self.range(N)?;
        self.message[range].try_into().map_err(|_| MALFORMED)
    }

    fn u8(&mut self) -> Result<u8, Unreadable> {
        Ok(u8::from_be_bytes(self.fixed()?))
    }

    fn u16(&mut self) -> Result<u16, Unreadable> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    fn u32(&mut self) -> Result<u32, Unreadable> {
        Ok(u32::from_be_bytes(self.fixed()?))
    }

    fn u64(&mut self) -> Result<u64, Unreadable> {
        Ok(u64::from_be_bytes(self.fixed()?))
    }

    /// Reads the length that follows a tag: `width` is 0, 1 or 2 for 8, 16 or 32 bits.
    fn len(&mut self, width: u8) -> Result<usize, Unreadable> {
        Ok(match width {
            0 => usize::from(self.u8()?),
            1 => usize::from(self.u16()?),
            _ => usize::try_from(self.u32()?).map_err(|_| MALFORMED)?,
        })
    }

    /// Reads the next token. A count that cannot be true, because too few bytes follow, is refused here.
    pub(crate) fn token(&mut self) -> Result<Token<'a>, Unreadable> {
        let tag = self.u8()?;
        Ok(match tag {
            0x00..=0x7f => Token::Unsigned(u64::from(tag)),
            0x80..=0x8f => self.map(usize::from(tag & 0x0f))?,
            0x90..=0x9f => self.array(usize::from(tag & 0x0f))?,
            0xa0..=0xbf => self.text(usize::from(tag & 0x1f))?,
            0xc0 => Token::Nil,
            0xc1 => return Err(MALFORMED),
            0xc2 => Token::Boolean(false),
            0xc3 => Token::Boolean(true),
            0xc4..=0xc6 => {
                let len = self.len(tag - 0xc4)?;
                Token::Binary(self.range(len)?)
            }
            0xc7..=0xc9 => {
                let len = self.len(tag - 0xc7)?;
                self.extension(len, tag == 0xc7)?
            }
            0xca => Token::Float(f64::from(f32::from_be_bytes(self.fixed()?))),
            0xcb => Token::Float(f64::from_be_bytes(self.fixed()?)),
            0xcc => Token::Unsigned(u64::from(self.u8()?)),
            0xcd => Token::Unsigned(u64::from(self.u16()?)),
            0xce => Token::Unsigned(u64::from(self.u32()?)),
            0xcf => Token::Unsigned(self.u64()?),
            0xd0 => signed(i64::from(i8::from_be_bytes(self.fixed()?))),
            0xd1 => signed(i64::from(i16::from_be_bytes(self.fixed()?))),
            0xd2 => signed(i64::from(i32::from_be_bytes(self.fixed()?))),
            0xd3 => signed(i64::from_be_bytes(self.fixed()?)),
            0xd4..=0xd8 => self.fixed_extension(tag)?,
            0xd9..=0xdb => {
                let len = self.len(tag - 0xd9)?;
                self.text(len)?
            }
            0xdc | 0xdd => {
                let count = self.len(tag - 0xdc + 1)?;
                self.array(count)?
            }
            0xde | 0xdf => {
                let count = self.len(tag - 0xde + 1)?;
                self.map(count)?
            }
            0xe0..=0xff => Token::Signed(i64::from(tag as i8)),
        })
    }

    fn left(&self) -> usize {
        self.message.len() - self.at
    }

    fn array(&self, count: usize) -> Result<Token<'a>, Unreadable> {
        if count <= self.left() { Ok(Token::Array(count)) } else { Err(MALFORMED) }
    }

    fn map(&self, count: usize) -> Result<Token<'a>, Unreadable> {
        if count <= self.left() / 2 { Ok(Token::Map(count)) } else { Err(MALFORMED) }
    }

    fn text(&mut self, len: usize) -> Result<Token<'a>, Unreadable> {
        let range = self.range(len)?;
        Ok(Token::Text(String::from_utf8_lossy(&self.message[range])))
    }

    /// An extension with a length: type 0 is notepack's form of an ArrayBuffer, type -1 a timestamp of 96 bits (which
    /// notepack knows with an 8-bit length only).
    fn extension(&mut self, len: usize, short: bool) -> Result<Token<'a>, Unreadable> {
        let kind = self.u8()? as i8;
        match kind {
            0 => Ok(Token::Binary(self.range(len)?)),
            -1 if short && len == 12 => {
                let nanos = self.u32()?;
                let seconds = i64::from_be_bytes(self.fixed()?);
                Ok(Token::Date(seconds as f64 * 1e3 + f64::from(nanos) / 1e6))
            }
            -1 if short => Err(MALFORMED),
            _ => Ok(Token::Extension(kind, self.range(len)?)),
        }
    }

    fn fixed_extension(&mut self, tag: u8) -> Result<Token<'a>, Unreadable> {
        let kind = self.u8()? as i8;
        Ok(match (tag, kind) {
            (0xd4, 0) => {
                self.u8()?;
                Token::Undefined
            }
            (0xd6, -1) => Token::Date(f64::from(self.u32()?) * 1e3),
            (0xd7, 0) => Token::Date(i64::from_be_bytes(self.fixed()?) as f64),
            (0xd7, -1) => {
                let both = self.u64()?;
                let (nanos, seconds) = (both >> 34, both & 0x3_ffff_ffff);
                Token::Date(seconds as f64 * 1e3 + nanos as f64 / 1e6)
            }
            _ => Token::Extension(kind, self.range(1 << (tag - 0xd4))?),
        })
    }

    /// Skips one value with all that is in it.
    pub(crate) fn skip(&mut self) -> Result<(), Unreadable> {
        // Each element takes a byte at least, so the sum stays below what a message can hold.
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            match self.token()? {
                Token::Array(count) => left += count,
                Token::Map(count) => left += 2 * count,
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the head of an array.
    pub(crate) fn array_head(&mut self) -> Result<usize, Unreadable> {
        match self.token()? {
            Token::Array(count) => Ok(count),
            _ => Err(MALFORMED),
        }
    }

    /// Reads the key of a pair, as the text that JavaScript makes of it. Arrays, maps and bytes, of which it makes a text
    /// too, are refused: no program of ours or theirs writes them.
    pub(crate) fn key(&mut self) -> Result<Cow<'a, str>, Unreadable> {
        Ok(match self.token()? {
            Token::Text(text) => text,
            Token::Unsigned(number) => number.to_string().into(),
            Token::Signed(number) => number.to_string().into(),
            Token::Float(number) => {
                let mut text = String::new();
                json_write::push_number(&mut text, number);
                text.into()
            }
            Token::Boolean(value) => if value { "true" } else { "false" }.into(),
            Token::Nil => "null".into(),
            Token::Undefined => "undefined".into(),
            _ => return Err(MALFORMED),
        })
    }
}

fn signed(value: i64) -> Token<'static> {
    u64::try_from(value).map_or(Token::Signed(value), Token::Unsigned)
}
