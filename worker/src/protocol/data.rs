//! The canonical form of arguments in a worker.

use std::{borrow::Cow, fmt::Write, ops::Range};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::{
    args::{self, DecodeError, EncodeError},
    is_reserved_event,
    json::{self, JsonError, Object, Placeholder, Sink},
    json_write,
};

/// Most attachments of a packet: the official parser refuses more since its version 4.2.6, on both sides.
pub const MAX_ATTACHMENTS: usize = 10;

/// Most byte strings of a packet in MessagePack, whose official parser knows no limit. Each costs some 64 bytes here, whatever
/// its length, where a message may have one in each two bytes.
pub const MAX_BYTE_STRINGS: usize = 4096;

/// JSON text, and the byte strings that its placeholders (`{"_placeholder":true,"num":k}`) stand for.
///
/// For an event it is the array of name and arguments, for an ack the array of arguments. The text is valid, not too
/// deep, and names only attachments that are there. Without attachments, an object that looks like a placeholder is
/// an ordinary object, as in the official parser.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use roomd::Data;
///
/// let event = Data::event("said", &("hello", 7))?;
/// assert_eq!(event.json(), r#"["said","hello",7]"#);
/// let (text, number): (String, u32) = event.event_args()?;
/// assert_eq!((text.as_str(), number), ("hello", 7));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    json: String,
    attachments: Vec<Bytes>,
}

/// Why text and attachments do not fit together.
///
/// ```
/// # use roomd_worker::socketio::*;
/// assert!(matches!(Data::from_json("[1,".to_owned()), Err(DataError::Json(_))));
/// assert!(matches!(Data::new(r#"[{"_placeholder":true,"num":1}]"#.to_owned(), vec!["a".into()]), Err(DataError::Placeholder)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DataError {
    /// The text is not valid JSON.
    #[error("read the JSON of arguments")]
    Json(#[from] JsonError),
    /// A placeholder names an attachment that is not there.
    #[error("find the attachment that a placeholder names")]
    Placeholder,
}

impl Data {
    /// Text without attachments.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let event = Data::from_json(r#"["said","hello"]"#.to_owned())?;
    /// assert_eq!(event.event_args::<String>()?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where it is not valid JSON.
    pub fn from_json(json: String) -> Result<Self, DataError> {
        json::validate(&json)?;
        Ok(Self { json, attachments: Vec::new() })
    }

    /// Text and the attachments that its placeholders name.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let picture = Data::new(r#"["picture",{"_placeholder":true,"num":0}]"#.to_owned(), vec![b"PNG".as_slice().into()])?;
    /// assert_eq!(&*picture.event_args::<Binary>()?, b"PNG");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the text is not valid JSON, or names an attachment that is not there.
    pub fn new(json: String, attachments: Vec<Bytes>) -> Result<Self, DataError> {
        if attachments.is_empty() {
            return Self::from_json(json);
        }
        count_placeholders(&json, attachments.len())?;
        Ok(Self { json, attachments })
    }

    /// Text that a caller has checked, as [`SocketPacket::parse`](super::SocketPacket::parse) does.
    pub(crate) fn checked(json: String, attachments: Vec<Bytes>) -> Self {
        debug_assert!(Self::new(json.clone(), attachments.clone()).is_ok(), "{json}");
        Self { json, attachments }
    }

    /// An event: its name and arguments. A tuple gives several arguments, `()` none, everything else is one. An array of fixed
    /// length is a tuple to serde; a slice or `Vec` is not. For the default parser: another may take more byte strings.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(Data::event("ready", &())?.json(), r#"["ready"]"#);
    /// assert_eq!(Data::event("said", "hello")?.json(), r#"["said","hello"]"#);
    /// assert_eq!(Data::event("moved", &(3, 4))?.json(), r#"["moved",3,4]"#);
    /// assert_eq!(Data::event("all", &vec![3, 4])?.json(), r#"["all",[3,4]]"#);
    /// // An array whose length is known is a tuple to serde.
    /// assert_eq!(Data::event("moved", &[3, 4])?.json(), r#"["moved",3,4]"#);
    /// assert!(matches!(Data::event("disconnect", &()), Err(EncodeError::ReservedEvent(_))));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form, there are too many attachments, or the name is reserved.
    pub fn event(name: &str, args: &(impl Serialize + ?Sized)) -> Result<Self, EncodeError> {
        args::encode_event(name, args, MAX_ATTACHMENTS)
    }

    /// An event for other servers, in the same way. Which names are reserved there is the adapter's matter.
    ///
    /// # Errors
    /// Where a value has no JSON form, or there are too many attachments.
    pub fn server_event(name: &str, args: &(impl Serialize + ?Sized)) -> Result<Self, EncodeError> {
        args::encode_named(name, args, MAX_ATTACHMENTS)
    }

    /// The arguments of an ack, in the same way.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(Data::ack("ok")?.json(), r#"["ok"]"#);
    /// assert_eq!(Data::ack(&("ok", 2))?.json(), r#"["ok",2]"#);
    /// assert_eq!(Data::ack(&())?.json(), "[]");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form, or there are too many attachments.
    pub fn ack(args: &(impl Serialize + ?Sized)) -> Result<Self, EncodeError> {
        args::encode_args(args, MAX_ATTACHMENTS)
    }

    /// One value as it is.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(Data::value(&vec![1, 2])?.json(), "[1,2]");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where it has no JSON form, or there are too many attachments.
    pub fn value(value: &(impl Serialize + ?Sized)) -> Result<Self, EncodeError> {
        args::encode_value(value)
    }

    /// The arguments of an event, without its name. `T` is a tuple for several, `()` for none; every other type gets
    /// the first. What is missing reads as `null`, what is too much is left out.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let moved = Data::event("moved", &(3, 4))?;
    /// assert_eq!(moved.event_args::<(u32, u32)>()?, (3, 4));
    /// // The first, and one that is missing:
    /// assert_eq!(moved.event_args::<u32>()?, 3);
    /// assert_eq!(moved.event_args::<(u32, u32, Option<u32>)>()?, (3, 4, None));
    /// assert!(moved.event_args::<String>().is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where an argument is not what `T` asks for.
    pub fn event_args<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        args::decode_args(&self.json, 1, &self.attachments)
    }

    /// The arguments of an ack, in the same way.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let answer = Data::ack(&("ok", 2))?;
    /// assert_eq!(answer.ack_args::<(String, u32)>()?, ("ok".to_owned(), 2));
    /// assert_eq!(answer.ack_args::<String>()?, "ok");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where an argument is not what `T` asks for.
    pub fn ack_args<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        args::decode_args(&self.json, 0, &self.attachments)
    }

    /// The whole value.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(Data::value(&vec![1, 2])?.decode::<Vec<u32>>()?, [1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where it is not what `T` asks for.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        args::decode_value(&self.json, &self.attachments)
    }

    /// The first element of the array, as a value of its own; `None` where there is none. This is what travels of an
    /// ack to another server.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let answer = Data::ack(&("ok", 2))?;
    /// assert_eq!(answer.first(), Some(Data::value("ok")?));
    /// assert_eq!(Data::ack(&())?.first(), None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn first(&self) -> Option<Data> {
        let json = json::elements(&self.json).next()?;
        Some(Self { json: json.to_owned(), attachments: self.attachments.clone() })
    }

    /// The arguments of an event without its name, as the array of an ack. For passing on what came as it came.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(Data::event("moved", &(3, 4))?.without_name(), Data::ack(&(3, 4))?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn without_name(&self) -> Data {
        let rest = json::split_first(&self.json).map_or("", |(_, rest)| rest);
        Self { json: format!("[{rest}]"), attachments: self.attachments.clone() }
    }

    /// An event with this name, whose arguments are the elements of this array.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let moved = Data::event("move", &(3, 4))?.without_name().with_name("moved")?;
    /// assert_eq!(moved, Data::event("moved", &(3, 4))?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the name is reserved.
    pub fn with_name(&self, name: &str) -> Result<Data, EncodeError> {
        if is_reserved_event(name) {
            return Err(EncodeError::ReservedEvent(name.to_owned()));
        }
        let mut json = String::with_capacity(self.json.len() + name.len() + 3);
        json.push('[');
        json_write::push_string(&mut json, name);
        if let Some((first, rest)) = json::split_first(&self.json) {
            for part in [first, rest].into_iter().filter(|part| !part.is_empty()) {
                json.push(',');
                json.push_str(part);
            }
        }
        json.push(']');
        Ok(Self::checked(json, self.attachments.clone()))
    }

    /// The texts of the array's elements.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let event = Data::event("said", &("hello", [1, 2]))?;
    /// assert_eq!(event.elements().collect::<Vec<_>>(), [r#""said""#, r#""hello""#, "[1,2]"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn elements(&self) -> impl Iterator<Item = &str> {
        json::elements(&self.json)
    }

    /// The text, with placeholders.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let event = Data::event("picture", &Binary::from(b"PNG".to_vec()))?;
    /// assert_eq!(event.json(), r#"["picture",{"_placeholder":true,"num":0}]"#);
    /// # Ok(())
    /// # }
    /// ```
    pub fn json(&self) -> &str {
        &self.json
    }

    /// What the placeholders stand for.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let event = Data::event("picture", &Binary::from(b"PNG".to_vec()))?;
    /// assert_eq!(event.attachments(), [b"PNG".as_slice()]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// How much both take, in bytes.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(Data::event("said", "hello")?.bytes(), r#"["said","hello"]"#.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn bytes(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// Both, taken apart.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (json, attachments) = Data::event("said", "hello")?.into_parts();
    /// assert_eq!((json.as_str(), attachments.len()), (r#"["said","hello"]"#, 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_parts(self) -> (String, Vec<Bytes>) {
        (self.json, self.attachments)
    }

    /// The text with each attachment written out as `JSON.stringify` writes a Node buffer, for messages that cannot
    /// carry bytes.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let event = Data::event("picture", &Binary::from(vec![1, 255]))?;
    /// assert_eq!(event.plain_json(), r#"["picture",{"type":"Buffer","data":[1,255]}]"#);
    /// # Ok(())
    /// # }
    /// ```
    pub fn plain_json(&self) -> Cow<'_, str> {
        if self.attachments.is_empty() {
            return Cow::Borrowed(&self.json);
        }
        let mut spans = Vec::new();
        let read = json::read(&self.json, &mut Placeholders { attachments: self.attachments.len(), spans: &mut spans });
        debug_assert!(read.is_ok(), "the text was valid when it came in");
        let mut plain = String::with_capacity(self.json.len());
        let mut start = 0;
        for (index, span) in spans {
            plain.push_str(&self.json[start..span.start]);
            push_node_buffer(&mut plain, &self.attachments[index]);
            start = span.end;
        }
        plain.push_str(&self.json[start..]);
        Cow::Owned(plain)
    }
}

/// Checks the text, and that its placeholders name attachments below `attachments`. Gives the number of placeholders.
pub(crate) fn count_placeholders(json: &str, attachments: usize) -> Result<usize, DataError> {
    let mut spans = Vec::with_capacity(attachments);
    json::read(json, &mut Placeholders { attachments, spans: &mut spans })?;
    Ok(spans.len())
}

/// Finds the placeholders in a text and checks what they name.
struct Placeholders<'a> {
    attachments: usize,
    spans: &'a mut Vec<(usize, Range<usize>)>,
}

impl Sink for Placeholders<'_> {
    type Error = DataError;
    type Mark = ();

    fn end_object(&mut self, (): (), object: Object) -> Result<(), DataError> {
        match object.placeholder {
            Placeholder::No => Ok(()),
            Placeholder::Index(index) if index < self.attachments => {
                // What stands inside a placeholder is replaced with it.
                while self.spans.pop_if(|(_, inner)| inner.start > object.span.start).is_some() {}
                self.spans.push((index, object.span));
                Ok(())
            }
            Placeholder::Index(_) | Placeholder::Illegal => Err(DataError::Placeholder),
        }
    }
}

/// `JSON.stringify` of a Node buffer.
fn push_node_buffer(json: &mut String, bytes: &[u8]) {
    json.push_str("{\"type\":\"Buffer\",\"data\":[");
    for (at, byte) in bytes.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing into a String does not fail.
        let _ = write!(json, "{comma}{byte}");
    }
    json.push_str("]}");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn two() -> Vec<Bytes> {
        vec![Bytes::from_static(&[1, 255]), Bytes::new()]
    }

    #[test]
    fn placeholders_must_name_attachments_that_are_there() {
        for good in [
            r#"["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            r#"["a",{"num":1,"_placeholder":true},{"_placeholder":true,"num":1}]"#,
            r#"["a",{"_placeholder":false,"num":7},{"_placeholder":1},{"x":{"_placeholder":true,"num":0}}]"#,
            r#"["a"]"#,
        ] {
            assert!(Data::new(good.to_owned(), two()).is_ok(), "{good}");
        }
        for bad in [
            r#"["a",{"_placeholder":true,"num":2}]"#,
            r#"["a",{"_placeholder":true,"num":-1}]"#,
            r#"["a",{"_placeholder":true,"num":"0"}]"#,
            r#"["a",{"_placeholder":true,"num":0.5}]"#,
            r#"["a",{"_placeholder":true}]"#,
            r#"["a",{"\u005fplaceholder":true,"num":9}]"#,
            r#"["a",{"_placeholder":false,"num":0,"_placeholder":true,"num":9}]"#,
        ] {
            assert_eq!(Data::new(bad.to_owned(), two()), Err(DataError::Placeholder), "{bad}");
            assert!(Data::from_json(bad.to_owned()).is_ok(), "without attachments it is an object: {bad}");
        }
    }

    #[test]
    fn where_bytes_cannot_travel_they_are_written_as_node_does() {
        let json = r#"["a",{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1}},2]"#;
        let data = Data::new(json.to_owned(), two()).unwrap();
        assert_eq!(data.plain_json(), r#"["a",{"type":"Buffer","data":[1,255]},{"b":{"type":"Buffer","data":[]}},2]"#);
    }

    #[test]
    fn the_first_argument_of_an_ack_keeps_its_attachments() {
        let data = Data::new(r#"[{"_placeholder":true,"num":1},2]"#.to_owned(), two()).unwrap();
        assert_eq!(data.first(), Some(Data::new(r#"{"_placeholder":true,"num":1}"#.to_owned(), two()).unwrap()));
        assert_eq!(Data::from_json("[]".to_owned()).unwrap().first(), None);
    }

    #[test]
    fn arguments_are_passed_on_under_another_name() {
        for (event, arguments, renamed) in [
            (
                r#"["a",{"_placeholder":true,"num":1},2]"#,
                r#"[{"_placeholder":true,"num":1},2]"#,
                r#"["b",{"_placeholder":true,"num":1},2]"#,
            ),
            (r#"["a"]"#, "[]", r#"["b"]"#),
            (r#"["a" , [1] ]"#, "[ [1] ]", r#"["b",[1]]"#),
        ] {
            let event = Data::new(event.to_owned(), two()).unwrap();
            assert_eq!(event.without_name(), Data::new(arguments.to_owned(), two()).unwrap());
            assert_eq!(event.without_name().with_name("b").unwrap(), Data::new(renamed.to_owned(), two()).unwrap());
        }
        assert!(Data::from_json("[]".to_owned()).unwrap().with_name("connect").is_err());
    }
}
