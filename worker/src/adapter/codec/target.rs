//! Whom an operation is for.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IgnoredAny, SeqAccess, Visitor},
};

use super::ReadError;
use crate::protocol::msgpack::{Reader, Token, Writer};

/// Most rooms that one message may name: each costs more memory here than in the message.
pub const MAX_ROOMS: usize = 1 << 16;

/// A room as it stands in a message.
///
/// JavaScript tells the number 42 from the text "42", and so do messages. Rooms here have texts for names: what a Node server says of
/// the number's room is meant for the text's, whose channel is the same.
#[derive(Debug, Clone, PartialEq)]
pub enum Room {
    /// The usual form.
    Text(String),
    /// A number, and its text: see [`Room::number`].
    Number(f64, String),
    /// Anything else: no room has such a name, yet it counts as one, so that "only there" does not become "everywhere".
    Other,
}

impl Room {
    /// The room whose name is a number, with the text that JavaScript has for it where that is without an exponent.
    pub fn number(number: f64) -> Self {
        // Its minus zero is the same room as zero.
        Room::Number(number, (number + 0.0).to_string())
    }

    /// The room's name here, if it can have one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Room::Text(name) | Room::Number(_, name) => Some(name),
            Room::Other => None,
        }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        match self {
            Room::Text(text) => writer.text(text),
            Room::Number(number, _) => writer.number(*number),
            Room::Other => writer.nil(),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let mut after = reader.clone();
        let room = match after.token()? {
            Token::Text(text) => Room::Text(text.into_owned()),
            Token::Unsigned(number) => Room::number(number as f64),
            Token::Signed(number) => Room::number(number as f64),
            Token::Float(number) => Room::number(number),
            _ => Room::Other,
        };
        reader.skip()?;
        Ok(room)
    }
}

impl From<&str> for Room {
    fn from(text: &str) -> Self {
        Room::Text(text.to_owned())
    }
}

impl From<String> for Room {
    fn from(text: String) -> Self {
        Room::Text(text)
    }
}

/// Which sockets: those in any of `rooms` (all where it is empty), without those in any of `except`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Selector {
    /// The rooms; a socket's id is a room too.
    #[serde(default, deserialize_with = "rooms_from_json")]
    pub rooms: Vec<Room>,
    /// The rooms left out.
    #[serde(default, deserialize_with = "rooms_from_json")]
    pub except: Vec<Room>,
}

/// How a broadcast is sent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Flags {
    /// May be dropped for a client that cannot take it now.
    pub volatile: bool,
    /// Whether to compress it; not set means yes.
    pub compress: Option<bool>,
    /// How long to wait for acks, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// The sender wants the one answer itself, not a list. Only he heeds it.
    pub expect_single_response: bool,
}

impl Flags {
    /// Whether it may be compressed on its way.
    pub fn may_compress(self) -> bool {
        self.compress.unwrap_or(true)
    }
}

pub(super) fn write_rooms(writer: &mut Writer, rooms: &[Room]) {
    writer.array(rooms.len());
    for room in rooms {
        room.write(writer);
    }
}

/// Writes the map of rooms, except and flags.
pub(super) fn write_options(writer: &mut Writer, selector: &Selector, flags: Flags) {
    writer.map(3);
    writer.text("rooms");
    write_rooms(writer, &selector.rooms);
    writer.text("except");
    write_rooms(writer, &selector.except);
    writer.text("flags");
    let Flags { volatile, compress, timeout_ms, expect_single_response } = flags;
    writer.map(
        [volatile, compress.is_some(), timeout_ms.is_some(), expect_single_response].iter().filter(|set| **set).count(),
    );
    if expect_single_response {
        writer.text("expectSingleResponse");
        writer.boolean(true);
    }
    if volatile {
        writer.text("volatile");
        writer.boolean(true);
    }
    if let Some(compress) = compress {
        writer.text("compress");
        writer.boolean(compress);
    }
    if let Some(timeout) = timeout_ms {
        writer.text("timeout");
        writer.unsigned(timeout);
    }
}

/// Reads the map of rooms, except and flags. Each may be missing.
pub(super) fn read_options(reader: &mut Reader<'_>) -> Result<(Selector, Flags), ReadError> {
    let Token::Map(count) = reader.token()? else {
        return Err(ReadError::Field("opts"));
    };
    let mut selector = Selector::default();
    let mut flags = Flags::default();
    for _ in 0..count {
        match &*reader.key()? {
            "rooms" => selector.rooms = read_rooms(reader)?,
            "except" => selector.except = read_rooms(reader)?,
            "flags" => flags = read_flags(reader)?,
            _ => reader.skip()?,
        }
    }
    Ok((selector, flags))
}

/// As JavaScript's `new Set(value)`: nothing and the empty text are the empty set, a text is the set of its characters.
fn read_rooms(reader: &mut Reader<'_>) -> Result<Vec<Room>, ReadError> {
    match reader.token()? {
        Token::Nil | Token::Undefined => Ok(Vec::new()),
        Token::Text(text) => characters(&text).ok_or(ReadError::TooMuch("rooms")),
        Token::Array(count) if count > MAX_ROOMS => Err(ReadError::TooMuch("rooms")),
        Token::Array(count) => (0..count).map(|_| Room::read(reader)).collect(),
        _ => Err(ReadError::Field("rooms")),
    }
}

fn characters(text: &str) -> Option<Vec<Room>> {
    (text.len() <= MAX_ROOMS).then(|| text.chars().map(|character| Room::Text(character.to_string())).collect())
}

fn read_flags(reader: &mut Reader<'_>) -> Result<Flags, ReadError> {
    let mut flags = Flags::default();
    let mut after = reader.clone();
    let Token::Map(count) = after.token()? else {
        reader.skip()?;
        return Ok(flags);
    };
    *reader = after;
    for _ in 0..count {
        let key = reader.key()?;
        let value = reader.clone().token()?;
        reader.skip()?;
        match (&*key, value) {
            ("volatile", Token::Boolean(value)) => flags.volatile = value,
            ("compress", Token::Boolean(value)) => flags.compress = Some(value),
            ("timeout", Token::Unsigned(value)) => flags.timeout_ms = Some(value),
            ("timeout", Token::Float(value)) if value >= 0.0 => flags.timeout_ms = Some(value as u64),
            ("expectSingleResponse", Token::Boolean(value)) => flags.expect_single_response = value,
            _ => {}
        }
    }
    Ok(flags)
}

impl Serialize for Room {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Room::Text(text) => serializer.serialize_str(text),
            // As JavaScript writes it: without a fraction where there is none.
            Room::Number(number, _) if number.trunc() == *number && number.abs() < 1e15 => {
                serializer.serialize_i64(*number as i64)
            }
            Room::Number(number, _) => serializer.serialize_f64(*number),
            Room::Other => serializer.serialize_unit(),
        }
    }
}

impl<'de> Deserialize<'de> for Room {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RoomVisitor)
    }
}

struct RoomVisitor;

impl<'de> Visitor<'de> for RoomVisitor {
    type Value = Room;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a room")
    }
    fn visit_str<E>(self, text: &str) -> Result<Room, E> {
        Ok(Room::from(text))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Room, E> {
        Ok(Room::number(number as f64))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Room, E> {
        Ok(Room::number(number as f64))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Room, E> {
        Ok(Room::number(number))
    }
    fn visit_unit<E>(self) -> Result<Room, E> {
        Ok(Room::Other)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Room, E> {
        Ok(Room::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Room, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Room::Other)
    }
    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Room, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Room::Other)
    }
}

fn rooms_from_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Room>, D::Error> {
    deserializer.deserialize_any(RoomsVisitor)
}

/// Rooms to join or leave: a text is one room there, and nothing is no list.
pub(super) fn room_list_from_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Room>>, D::Error> {
    struct ListVisitor;

    impl<'de> Visitor<'de> for ListVisitor {
        type Value = Option<Vec<Room>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            RoomsVisitor.expecting(f)
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(vec![Room::from(text)]))
        }
        fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Self::Value, A::Error> {
            RoomsVisitor.visit_seq(elements).map(Some)
        }
    }

    deserializer.deserialize_any(ListVisitor)
}

struct RoomsVisitor;

impl<'de> Visitor<'de> for RoomsVisitor {
    type Value = Vec<Room>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {MAX_ROOMS} rooms")
    }
    fn visit_unit<E>(self) -> Result<Vec<Room>, E> {
        Ok(Vec::new())
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<Room>, E> {
        characters(text).ok_or_else(|| E::custom("too many rooms"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<Room>, A::Error> {
        let mut rooms = Vec::new();
        while let Some(room) = elements.next_element()? {
            if rooms.len() == MAX_ROOMS {
                return Err(A::Error::custom("too many rooms"));
            }
            rooms.push(room);
        }
        Ok(rooms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_that_is_a_number_has_the_name_that_javascript_gives_it() {
        for (number, name) in [(42.0, "42"), (-0.0, "0"), (1.5, "1.5"), (-7.0, "-7"), (1e20, "100000000000000000000")] {
            assert_eq!(Room::number(number).name(), Some(name));
        }
        assert_eq!(Room::Other.name(), None);
    }
}
