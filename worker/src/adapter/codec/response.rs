//! What servers answer to a request. A response does not say who sent it.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};

use super::{
    ReadError, Room, WriteError,
    error::MAX_MESSAGE_BYTES,
    request::{data, read, text_of},
};
use crate::protocol::{
    Data,
    msgpack::{Writer, from_json},
};

/// A message of a response channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Which request it answers.
    pub request_id: String,
    /// Which server answers, as the bus names it. Roomd's own: the official adapter does not say it, and passes over it.
    pub from: Option<String>,
    /// The answer.
    pub body: ResponseBody,
}

/// An answer. The wire tells most of them apart only by the request they belong to.
#[derive(Debug, Clone, PartialEq)]
pub enum ResponseBody {
    /// To the old forms of join, leave and disconnect: done. Also any answer without a known field.
    Done,
    /// To `Sockets`: their ids.
    SocketIds(Vec<String>),
    /// To `Fetch`; an empty list of either kind reads as this one.
    Sockets(Vec<RemoteSocket>),
    /// To `AllRooms`.
    Rooms(Vec<Room>),
    /// To `ServerSideEmit`: the first argument that the listener answered with, if any.
    ServerSideEmit(Option<Data>),
    /// First to `Broadcast`: how many clients got it, zero included.
    ClientCount(u64),
    /// Then to `Broadcast`: the first argument of one client's ack, if any.
    Ack(Option<Data>),
    /// To any: there is an answer, but it has this many bytes, which is more than travels. Roomd's own: the official adapter has
    /// no answer for it, so that a Node server, which passes over this one, waits until its time is over.
    TooLong {
        /// How many.
        bytes: u64,
    },
}

/// What a server tells of one of its sockets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoteSocket {
    /// The socket's id.
    pub id: String,
    /// The request it began with.
    #[serde(default)]
    pub handshake: RemoteHandshake,
    /// The rooms it is in, its own id among them.
    #[serde(default)]
    pub rooms: Vec<Room>,
    /// What the application keeps with it.
    #[serde(default = "no_data", serialize_with = "write_json", deserialize_with = "read_json")]
    pub data: Data,
}

/// The request a socket began with, as servers tell each other. What is missing or odd reads as empty.
///
/// ```
/// # use roomd_worker::socketio::*;
/// # async fn example(io: Io) -> Result<(), RequestError<RemoteSocket>> {
/// for socket in io.fetch_sockets().await?.answers {
///     let handshake = socket.handshake();
///     println!("{} at {} since {}", handshake.headers["user-agent"], handshake.address, handshake.time);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoteHandshake {
    /// Headers, names in lower case; a value is a text, or an array of texts.
    #[serde(deserialize_with = "lenient")]
    pub headers: Map<String, Value>,
    /// When, as JavaScript writes dates.
    #[serde(deserialize_with = "lenient")]
    pub time: String,
    /// The client's address.
    #[serde(deserialize_with = "lenient")]
    pub address: String,
    /// Whether there was an `Origin` header.
    #[serde(deserialize_with = "lenient")]
    pub xdomain: bool,
    /// Whether it came over TLS.
    #[serde(deserialize_with = "lenient")]
    pub secure: bool,
    /// When, in milliseconds since 1970.
    #[serde(deserialize_with = "lenient")]
    pub issued: u64,
    /// The request target.
    #[serde(deserialize_with = "lenient")]
    pub url: String,
    /// The target's query.
    #[serde(deserialize_with = "lenient")]
    pub query: Map<String, Value>,
    /// What the client sent to join the namespace.
    #[serde(deserialize_with = "lenient")]
    pub auth: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    request_id: Option<String>,
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    #[serde(borrow)]
    sockets: Option<&'a RawValue>,
    #[serde(borrow)]
    rooms: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    client_count: Option<&'a RawValue>,
    #[serde(borrow)]
    packet: Option<&'a RawValue>,
    /// Instead of `requestId`, which Node servers look at: they pass over it.
    unanswered: Option<String>,
    #[serde(borrow)]
    bytes: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outgoing<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<u8>,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<Sockets<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [Room]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_count: Option<u64>,
}

/// [`ResponseBody::TooLong`], as it is written.
#[derive(Serialize)]
struct Unanswered<'a> {
    unanswered: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    bytes: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Sockets<'a> {
    Ids(&'a [String]),
    Full(&'a [RemoteSocket]),
}

impl Response {
    /// Reads a message of a response channel.
    ///
    /// # Errors
    /// Where Node ignores it or would end over it.
    pub fn decode(message: &Bytes) -> Result<Self, ReadError> {
        let (json, attachments) = text_of(message)?;
        let fields: Incoming = serde_json::from_str(&json).map_err(|_| ReadError::Malformed("a response"))?;
        let from = read(fields.from);
        if let Some(request_id) = fields.unanswered {
            let bytes = read(fields.bytes).ok_or(ReadError::Field("bytes"))?;
            return Ok(Self { request_id, from, body: ResponseBody::TooLong { bytes } });
        }
        let request_id = fields.request_id.ok_or(ReadError::Field("requestId"))?;
        let body = match read(fields.kind) {
            Some(6_u64) => ResponseBody::ServerSideEmit(fields.data.map(|field| data(field, attachments)).transpose()?),
            Some(8) => ResponseBody::ClientCount(read(fields.client_count).ok_or(ReadError::Field("clientCount"))?),
            Some(9) => ResponseBody::Ack(fields.packet.map(|field| data(field, attachments)).transpose()?),
            _ => match (fields.sockets, fields.rooms) {
                (Some(sockets), _) => sockets_of(sockets)?,
                (None, Some(rooms)) => ResponseBody::Rooms(read(Some(rooms)).ok_or(ReadError::Field("rooms"))?),
                (None, None) => ResponseBody::Done,
            },
        };
        Ok(Self { request_id, from, body })
    }

    /// The message for a response channel.
    ///
    /// # Errors
    /// Where it is too long.
    pub fn encode(&self) -> Result<Vec<u8>, WriteError> {
        let message = match &self.body {
            ResponseBody::Ack(argument) => self.encode_ack(argument.as_ref())?,
            &ResponseBody::TooLong { bytes } => {
                to_json(&Unanswered { unanswered: &self.request_id, from: self.from.as_deref(), bytes })
            }
            body => self.encode_json(body),
        };
        if message.len() > super::MAX_MESSAGE_BYTES {
            return Err(WriteError::TooLong(message.len()));
        }
        #[cfg(debug_assertions)]
        super::poison::assert_harmless_response(&message);
        Ok(message)
    }

    fn encode_ack(&self, argument: Option<&Data>) -> Result<Vec<u8>, WriteError> {
        let mut writer = Writer::with_capacity(argument.map_or(0, |data| data.json().len()) + 48);
        writer.map(2 + usize::from(self.from.is_some()) + usize::from(argument.is_some()));
        writer.text("type");
        writer.unsigned(9);
        writer.text("requestId");
        writer.text(&self.request_id);
        if let Some(from) = &self.from {
            writer.text("from");
            writer.text(from);
        }
        if let Some(argument) = argument {
            writer.text("packet");
            from_json::write_data(&mut writer, argument, MAX_MESSAGE_BYTES)?;
        }
        Ok(writer.bytes)
    }

    fn encode_json(&self, body: &ResponseBody) -> Vec<u8> {
        let argument;
        let mut fields = Outgoing {
            kind: None,
            request_id: &self.request_id,
            from: self.from.as_deref(),
            sockets: None,
            rooms: None,
            data: None,
            client_count: None,
        };
        match body {
            ResponseBody::Done | ResponseBody::Ack(_) | ResponseBody::TooLong { .. } => {}
            ResponseBody::SocketIds(ids) => fields.sockets = Some(Sockets::Ids(ids)),
            ResponseBody::Sockets(sockets) => fields.sockets = Some(Sockets::Full(sockets)),
            ResponseBody::Rooms(rooms) => fields.rooms = Some(rooms),
            ResponseBody::ServerSideEmit(data) => {
                fields.kind = Some(6);
                argument = data.as_ref().map(raw);
                fields.data = argument.as_deref();
            }
            ResponseBody::ClientCount(count) => {
                fields.kind = Some(8);
                fields.client_count = Some(*count);
            }
        }
        to_json(&fields)
    }
}

fn to_json(fields: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(fields).expect("texts, numbers and maps with text keys always serialize")
}

/// Sockets by id or in full; those that cannot be read are left out, as long as the message is a list.
fn sockets_of(field: &RawValue) -> Result<ResponseBody, ReadError> {
    let sockets: Vec<&RawValue> = read(Some(field)).ok_or(ReadError::Field("sockets"))?;
    Ok(if sockets.first().is_some_and(|first| first.get().starts_with('"')) {
        ResponseBody::SocketIds(sockets.into_iter().filter_map(|socket| read(Some(socket))).collect())
    } else {
        ResponseBody::Sockets(sockets.into_iter().filter_map(|socket| read(Some(socket))).collect())
    })
}

fn raw(data: &Data) -> Box<RawValue> {
    RawValue::from_string(data.plain_json().into_owned()).expect("the text of arguments is valid JSON")
}

fn no_data() -> Data {
    Data::checked("{}".to_owned(), Vec::new())
}

fn write_json<S: Serializer>(data: &Data, serializer: S) -> Result<S::Ok, S::Error> {
    raw(data).serialize(serializer)
}

fn read_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Data, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Data::from_json(raw.get().to_owned()).map_err(serde::de::Error::custom)
}

fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).unwrap_or_default())
}
