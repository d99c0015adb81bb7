//! From Rust values to arguments and back.
//!
//! serde's data model tells a tuple from a sequence, and so do we: a tuple is several arguments, a `Vec` one.

use std::fmt::{self, Display};

use bytes::Bytes;
use serde::{
    Deserializer, Serialize,
    de::{DeserializeOwned, DeserializeSeed, SeqAccess, Visitor},
    ser::{self, Impossible, Serializer},
};
use thiserror::Error;

use super::{
    Data, MAX_ATTACHMENTS, binary,
    data::count_placeholders,
    is_reserved_event,
    json::{self, Elements, JsonError},
    json_write,
};

/// Why arguments cannot be sent.
///
/// ```
/// # use roomd_worker::socketio::*;
/// use std::collections::HashMap;
///
/// let no_json = Data::event("said", &HashMap::from([((1, 2), 3)]));
/// assert!(matches!(no_json, Err(EncodeError::Json(_))));
/// let reserved = Data::event("connect", "hello").unwrap_err();
/// assert_eq!(reserved.to_string(), r#"emit an event with the reserved name "connect""#);
/// ```
#[derive(Debug, Error)]
pub enum EncodeError {
    /// A value has no JSON form, as a map whose keys are not text.
    #[error("write the arguments as JSON")]
    Json(#[from] serde_json::Error),
    /// Arrays and objects nest too deep.
    #[error("send arguments")]
    Depth(#[from] JsonError),
    /// More byte strings than one packet may have, see [`Parser::max_attachments`](super::Parser::max_attachments).
    #[error("send more than {0} byte strings in one packet")]
    TooManyAttachments(usize),
    /// An object that looks like the placeholder of an attachment, beside real ones: a client would be misled.
    #[error("send an object with the key `_placeholder` beside byte strings")]
    FakePlaceholder,
    /// The event's name means something else to clients.
    #[error("emit an event with the reserved name {0:?}")]
    ReservedEvent(String),
}

/// Why arguments are not what a listener asked for.
///
/// ```
/// # use roomd_worker::socketio::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let error: DecodeError = Data::event("said", "hello")?.event_args::<u32>().unwrap_err();
/// assert_eq!(error.to_string(), "read the arguments");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[error("read the arguments")]
pub struct DecodeError(#[from] serde_json::Error);

pub(super) fn encode_event(
    name: &str,
    args: &(impl Serialize + ?Sized),
    max_attachments: usize,
) -> Result<Data, EncodeError> {
    if is_reserved_event(name) {
        return Err(EncodeError::ReservedEvent(name.to_owned()));
    }
    encode_named(name, args, max_attachments)
}

/// Whatever the name.
pub(super) fn encode_named(
    name: &str,
    args: &(impl Serialize + ?Sized),
    max_attachments: usize,
) -> Result<Data, EncodeError> {
    let mut head = String::with_capacity(128);
    head.push('[');
    json_write::push_string(&mut head, name);
    encode(args, head, max_attachments)
}

pub(super) fn encode_args(args: &(impl Serialize + ?Sized), max_attachments: usize) -> Result<Data, EncodeError> {
    encode(args, String::new(), max_attachments)
}

pub(super) fn encode_value(value: &(impl Serialize + ?Sized)) -> Result<Data, EncodeError> {
    let (json, attachments) = binary::collecting(|| serde_json::to_string(value));
    finish(json?, attachments, MAX_ATTACHMENTS)
}

/// Writes the arguments behind `head`, which is an array begun with its first element, or nothing.
fn encode(args: &(impl Serialize + ?Sized), head: String, max_attachments: usize) -> Result<Data, EncodeError> {
    let mut text = head.into_bytes();
    let start = text.len();
    let shape = shape_of(args);
    match shape {
        Shape::Unit | Shape::Single if start == 0 => text.push(b'['),
        Shape::Single => text.push(b','),
        Shape::Unit | Shape::Tuple => {}
    }
    let mut attachments = Vec::new();
    if shape != Shape::Unit {
        let (written, collected) = binary::collecting(|| serde_json::to_writer(&mut text, args));
        written?;
        attachments = collected;
    }
    match shape {
        Shape::Unit | Shape::Single => text.push(b']'),
        // A tuple is written as an array of its own: joined with the head, its bracket turns into a comma.
        Shape::Tuple if start == 0 => {}
        Shape::Tuple if text.ends_with(b"[]") && text.len() == start + 2 => {
            text.remove(start);
        }
        Shape::Tuple => text[start] = b',',
    }
    let text = String::from_utf8(text).map_err(ser::Error::custom).map_err(EncodeError::Json)?;
    finish(text, attachments, max_attachments)
}

fn finish(json: String, attachments: Vec<Bytes>, max_attachments: usize) -> Result<Data, EncodeError> {
    if attachments.len() > max_attachments {
        return Err(EncodeError::TooManyAttachments(max_attachments));
    }
    if attachments.is_empty() {
        json::validate(&json)?;
    } else if count_placeholders(&json, attachments.len()).ok() != Some(attachments.len()) {
        json::validate(&json)?;
        return Err(EncodeError::FakePlaceholder);
    }
    Ok(Data::checked(json, attachments))
}

pub(super) fn decode_value<T: DeserializeOwned>(json: &str, attachments: &[Bytes]) -> Result<T, DecodeError> {
    Ok(binary::resolving(attachments, || serde_json::from_str(json))?)
}

/// Reads the elements of the array `json` from the one at `skip` on.
pub(super) fn decode_args<T: DeserializeOwned>(
    json: &str,
    skip: usize,
    attachments: &[Bytes],
) -> Result<T, DecodeError> {
    let mut elements = json::elements(json);
    for _ in 0..skip {
        elements.next();
    }
    Ok(binary::resolving(attachments, || T::deserialize(Args { elements }))?)
}

/// How a value becomes arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Unit,
    Tuple,
    Single,
}

impl Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shape of arguments")
    }
}

impl std::error::Error for Shape {}

impl ser::Error for Shape {
    fn custom<T: Display>(_: T) -> Self {
        Shape::Single
    }
}

/// Asks a value for its shape: it is told to serialize itself, and the first thing it says ends the matter.
fn shape_of(value: &(impl Serialize + ?Sized)) -> Shape {
    value.serialize(ShapeSerializer).unwrap_or_else(|shape| shape)
}

struct ShapeSerializer;

macro_rules! single {
    ($($method:ident($($argument:ty),*);)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<Shape, Shape> { Ok(Shape::Single) })*
    };
}

impl Serializer for ShapeSerializer {
    type Ok = Shape;
    type Error = Shape;
    type SerializeSeq = Impossible<Shape, Shape>;
    type SerializeTuple = Impossible<Shape, Shape>;
    type SerializeTupleStruct = Impossible<Shape, Shape>;
    type SerializeTupleVariant = Impossible<Shape, Shape>;
    type SerializeMap = Impossible<Shape, Shape>;
    type SerializeStruct = Impossible<Shape, Shape>;
    type SerializeStructVariant = Impossible<Shape, Shape>;

    single! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_unit(self) -> Result<Shape, Shape> {
        Ok(Shape::Unit)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Shape, Shape> {
        Ok(Shape::Single)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<Shape, Shape> {
        Ok(Shape::Single)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Shape, Shape> {
        Ok(Shape::Single)
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Shape> {
        Err(Shape::Single)
    }
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Shape> {
        Err(Shape::Tuple)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Shape> {
        Err(Shape::Single)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Shape> {
        Err(Shape::Single)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Shape> {
        Err(Shape::Single)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Shape> {
        Err(Shape::Single)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Shape> {
        Err(Shape::Single)
    }
}

/// Arguments as serde sees them: a tuple takes them one by one, anything else is the first of them.
struct Args<'a> {
    elements: Elements<'a>,
}

impl<'a> Args<'a> {
    /// The next argument; what was not sent is `undefined` in JavaScript, and `null` here.
    fn next(&mut self) -> &'a str {
        self.elements.next().unwrap_or("null")
    }
}

macro_rules! forward_to_first {
    ($($method:ident($($name:ident: $argument:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(mut self, $($name: $argument,)* visitor: V) -> Result<V::Value, Self::Error> {
            serde_json::Deserializer::from_str(self.next()).$method($($name,)* visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Args<'de> {
    type Error = serde_json::Error;

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(ArgsAccess { args: self, left: len })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_unit()
    }

    forward_to_first! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }
}

struct ArgsAccess<'a> {
    args: Args<'a>,
    left: usize,
}

impl<'de> SeqAccess<'de> for ArgsAccess<'de> {
    type Error = serde_json::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Self::Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut serde_json::Deserializer::from_str(self.args.next())).map(Some)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::Binary;

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Message {
        text: String,
        file: Option<Binary>,
    }

    #[test]
    fn a_tuple_is_several_arguments_and_everything_else_one() {
        let event = |data: Result<Data, EncodeError>| data.unwrap().json().to_owned();
        assert_eq!(event(Data::event("e", &())), r#"["e"]"#);
        assert_eq!(event(Data::event("e", &(1,))), r#"["e",1]"#);
        assert_eq!(event(Data::event("e", &(1, "x", [2, 3]))), r#"["e",1,"x",[2,3]]"#);
        assert_eq!(event(Data::event("e", &vec![1, 2])), r#"["e",[1,2]]"#);
        assert_eq!(event(Data::event("e", &[0_u8; 0])), r#"["e"]"#);
        assert_eq!(event(Data::event("e", "x")), r#"["e","x"]"#);
        assert_eq!(event(Data::event("e", &None::<u8>)), r#"["e",null]"#);
        assert_eq!(event(Data::event("e", &json!({"a": [1]}))), r#"["e",{"a":[1]}]"#);
        assert_eq!(event(Data::event("é\"", &())), "[\"é\\\"\"]");
        assert_eq!(event(Data::ack(&())), "[]");
        assert_eq!(event(Data::ack(&(1, 2))), "[1,2]");
        assert_eq!(event(Data::ack(&[0_u8; 0])), "[]");
        assert_eq!(event(Data::ack("x")), r#"["x"]"#);
        assert_eq!(event(Data::value(&vec![1])), "[1]");
    }

    #[test]
    fn bytes_become_attachments_and_come_back() {
        let message = Message { text: "a".into(), file: Some(vec![1, 2].into()) };
        let data = Data::event("e", &(&message, Binary::from(vec![3]))).unwrap();
        assert_eq!(
            data.json(),
            r#"["e",{"text":"a","file":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}]"#
        );
        assert_eq!(data.attachments(), [&[1, 2][..], &[3]]);
        let (back, bytes): (Message, Binary) = data.event_args().unwrap();
        assert_eq!((back, &bytes[..]), (message, &[3][..]));
    }

    #[test]
    fn outside_of_arguments_bytes_look_as_node_writes_them() {
        let text = serde_json::to_string(&Binary::from(vec![1, 2])).unwrap();
        assert_eq!(text, r#"{"type":"Buffer","data":[1,2]}"#);
        assert_eq!(serde_json::from_str::<Binary>(&text).unwrap(), Binary::from(vec![1, 2]));
        assert!(serde_json::from_str::<Binary>(r#"{"_placeholder":true,"num":0}"#).is_err());
    }

    #[test]
    fn arguments_are_read_as_the_type_asks() {
        let data = Data::from_json(r#"["e",1,"x",[true]]"#.to_owned()).unwrap();
        assert_eq!(data.event_args::<(u8, String)>().unwrap(), (1, "x".to_owned()));
        assert_eq!(data.event_args::<u8>().unwrap(), 1);
        data.event_args::<()>().unwrap();
        assert_eq!(
            data.event_args::<(u8, String, Vec<bool>, Option<u8>)>().unwrap(),
            (1, "x".to_owned(), vec![true], None)
        );
        assert!(data.event_args::<(String,)>().is_err());
        assert!(data.event_args::<(u8, String, Vec<bool>, u8)>().is_err());
        assert_eq!(data.event_args::<Value>().unwrap(), json!(1));
        let none = Data::from_json(r#"["e"]"#.to_owned()).unwrap();
        assert_eq!(none.event_args::<Option<Message>>().unwrap(), None);
        let ack = Data::from_json(r#"[{"text":"t","file":null}]"#.to_owned()).unwrap();
        assert_eq!(ack.ack_args::<Message>().unwrap(), Message { text: "t".into(), file: None });
        assert_eq!(ack.decode::<Vec<Message>>().unwrap().len(), 1);
    }

    #[test]
    fn what_would_harm_a_client_is_not_encoded() {
        let eleven: Vec<Binary> = vec![Binary::default(); MAX_ATTACHMENTS + 1];
        assert!(matches!(Data::event("e", &eleven), Err(EncodeError::TooManyAttachments(MAX_ATTACHMENTS))));
        assert!(matches!(Data::event("disconnect", &()), Err(EncodeError::ReservedEvent(_))));
        let fake = json!({"_placeholder": true, "num": 0});
        assert!(Data::event("e", &fake).is_ok());
        assert!(matches!(Data::event("e", &(&fake, Binary::default())), Err(EncodeError::FakePlaceholder)));
        let mut deep = json!(1);
        for _ in 0..200 {
            deep = json!([deep]);
        }
        assert!(matches!(Data::event("e", &deep), Err(EncodeError::Depth(_))));
        let keys = BTreeMap::from([(vec![1], 1)]);
        assert!(matches!(Data::event("e", &keys), Err(EncodeError::Json(_))));
    }
}
