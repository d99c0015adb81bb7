//! Questions and orders from one server to all: JSON, or MessagePack where clients' packets travel.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Flags, Packet, ReadError, Room, Selector, WriteError,
    broadcast::write_event,
    error::read_message,
    target::{room_list_from_json, write_options},
};
use crate::protocol::{Data, msgpack::Writer};

/// Names that a server's own machinery uses, and `error`, which ends a Node server that has no listener for it.
const RESERVED_SERVER_EVENTS: [&str; 4] = ["connect", "connection", "new_namespace", "error"];

/// A message of the request channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Who asks; the emitter and hand-made requests leave it out.
    pub uid: Option<String>,
    /// What the answer must name; `None` where no answer is wanted.
    pub request_id: Option<String>,
    /// What is asked.
    pub body: RequestBody,
}

/// What a request is about. The number is its type on the wire.
#[derive(Debug, Clone, PartialEq)]
pub enum RequestBody {
    /// 0: which sockets are in these rooms? (Old servers ask it.)
    Sockets {
        /// The rooms; all sockets where empty.
        rooms: Vec<Room>,
    },
    /// 1: which rooms are there?
    AllRooms,
    /// 2: sockets join rooms.
    Join {
        /// Which sockets.
        target: Selector,
        /// Which rooms.
        rooms: Vec<Room>,
    },
    /// 2, old form, which wants an answer: one socket joins one room.
    JoinOne {
        /// The socket's id.
        sid: String,
        /// The room.
        room: Room,
    },
    /// 3: sockets leave rooms.
    Leave {
        /// Which sockets.
        target: Selector,
        /// Which rooms.
        rooms: Vec<Room>,
    },
    /// 3, old form, which wants an answer.
    LeaveOne {
        /// The socket's id.
        sid: String,
        /// The room.
        room: Room,
    },
    /// 4: sockets are disconnected.
    Disconnect {
        /// Which sockets.
        target: Selector,
        /// Whether their sessions are closed too.
        close: bool,
    },
    /// 4, old form, which wants an answer.
    DisconnectOne {
        /// The socket's id.
        sid: String,
        /// Whether its session is closed too.
        close: bool,
    },
    /// 5: tell about these sockets.
    Fetch {
        /// Which sockets.
        target: Selector,
    },
    /// 6: an event for the servers themselves: an array of name and arguments. Answered if there is a request id.
    ServerSideEmit {
        /// Name and arguments.
        data: Data,
    },
    /// 7: a broadcast whose acks are wanted.
    Broadcast {
        /// What to send.
        packet: Packet,
        /// To whom.
        target: Selector,
        /// How.
        flags: Flags,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming<'a> {
    #[serde(borrow)]
    uid: Option<&'a RawValue>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    opts: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "room_list_from_json")]
    rooms: Option<Vec<Room>>,
    #[serde(borrow)]
    close: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    packet: Option<&'a RawValue>,
    #[serde(borrow)]
    sid: Option<&'a RawValue>,
    room: Option<Room>,
}

#[derive(Deserialize)]
struct IncomingPacket<'a> {
    #[serde(rename = "type")]
    kind: Option<u64>,
    nsp: Option<String>,
    id: Option<u64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct IncomingFlags {
    volatile: Option<bool>,
    compress: Option<bool>,
    timeout: Option<f64>,
    #[serde(rename = "expectSingleResponse")]
    expect_single_response: Option<bool>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Outgoing<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opts: Option<&'a Selector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [Room]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a Room>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl Request {
    /// Reads a message of the request channel.
    ///
    /// # Errors
    /// Where Node ignores it or would end over it.
    pub fn decode(message: &Bytes) -> Result<Self, ReadError> {
        let (json, attachments) = text_of(message)?;
        let fields: Incoming = serde_json::from_str(&json).map_err(|_| ReadError::Malformed("JSON"))?;
        let kind: u64 = read(fields.kind).ok_or(ReadError::Field("type"))?;
        let sid = read::<String>(fields.sid);
        let close = read(fields.close).unwrap_or(false);
        let target = match fields.opts {
            Some(opts) => Some(serde_json::from_str::<Selector>(opts.get()).map_err(|_| ReadError::Field("opts"))?),
            None => None,
        };
        let body = match (kind, target) {
            (0, _) => RequestBody::Sockets { rooms: fields.rooms.unwrap_or_default() },
            (1, _) => RequestBody::AllRooms,
            (2, Some(target)) => RequestBody::Join { target, rooms: fields.rooms.ok_or(ReadError::Field("rooms"))? },
            (3, Some(target)) => RequestBody::Leave { target, rooms: fields.rooms.ok_or(ReadError::Field("rooms"))? },
            (4, Some(target)) => RequestBody::Disconnect { target, close },
            (2..=4, None) => {
                let sid = sid.ok_or(ReadError::Field("sid"))?;
                let room = fields.room.ok_or(ReadError::Field("room"));
                match kind {
                    2 => RequestBody::JoinOne { sid, room: room? },
                    3 => RequestBody::LeaveOne { sid, room: room? },
                    _ => RequestBody::DisconnectOne { sid, close },
                }
            }
            (5, Some(target)) => RequestBody::Fetch { target },
            (6, _) => RequestBody::ServerSideEmit { data: server_event(fields.data, attachments)? },
            (7, Some(target)) => {
                let packet = packet(fields.packet, attachments)?;
                RequestBody::Broadcast { packet, target, flags: flags(fields.opts) }
            }
            (5 | 7, None) => return Err(ReadError::Field("opts")),
            _ => return Err(ReadError::UnknownType(kind)),
        };
        Ok(Self { uid: read(fields.uid), request_id: read(fields.request_id), body })
    }

    /// The message for the request channel.
    ///
    /// # Errors
    /// Where an event is none, has a name that servers reserve, or the message is too long.
    pub fn encode(&self) -> Result<Vec<u8>, WriteError> {
        let message = match &self.body {
            RequestBody::Broadcast { packet, target, flags } => self.encode_broadcast(packet, target, *flags)?,
            body => self.encode_json(body)?,
        };
        if message.len() > super::MAX_MESSAGE_BYTES {
            return Err(WriteError::TooLong(message.len()));
        }
        #[cfg(debug_assertions)]
        super::poison::assert_harmless_request(&message);
        Ok(message)
    }

    fn encode_broadcast(&self, packet: &Packet, target: &Selector, flags: Flags) -> Result<Vec<u8>, WriteError> {
        let data = packet.data.as_ref().ok_or(WriteError::NotAnEvent)?;
        let mut writer = Writer::with_capacity(data.json().len() + 128);
        writer.map(5 - usize::from(self.uid.is_none()) - usize::from(self.request_id.is_none()));
        for (key, value) in [("uid", &self.uid), ("requestId", &self.request_id)] {
            if let Some(value) = value {
                writer.text(key);
                writer.text(value);
            }
        }
        writer.text("type");
        writer.unsigned(7);
        writer.text("packet");
        write_event(&mut writer, &packet.nsp, data)?;
        writer.text("opts");
        write_options(&mut writer, target, flags);
        Ok(writer.bytes)
    }

    fn encode_json(&self, body: &RequestBody) -> Result<Vec<u8>, WriteError> {
        let data;
        let mut fields =
            Outgoing { uid: self.uid.as_deref(), request_id: self.request_id.as_deref(), ..Outgoing::default() };
        match body {
            RequestBody::Sockets { rooms } => fields.rooms = Some(rooms),
            RequestBody::AllRooms => fields.kind = 1,
            RequestBody::Join { target, rooms } => {
                fields = Outgoing { kind: 2, opts: Some(target), rooms: Some(rooms), ..fields };
            }
            RequestBody::JoinOne { sid, room } => {
                fields = Outgoing { kind: 2, sid: Some(sid), room: Some(room), ..fields };
            }
            RequestBody::Leave { target, rooms } => {
                fields = Outgoing { kind: 3, opts: Some(target), rooms: Some(rooms), ..fields };
            }
            RequestBody::LeaveOne { sid, room } => {
                fields = Outgoing { kind: 3, sid: Some(sid), room: Some(room), ..fields };
            }
            RequestBody::Disconnect { target, close } => {
                fields = Outgoing { kind: 4, opts: Some(target), close: Some(*close), ..fields };
            }
            RequestBody::DisconnectOne { sid, close } => {
                fields = Outgoing { kind: 4, sid: Some(sid), close: Some(*close), ..fields };
            }
            RequestBody::Fetch { target } => fields = Outgoing { kind: 5, opts: Some(target), ..fields },
            RequestBody::ServerSideEmit { data: event } => {
                data = checked_server_event(event)?;
                fields = Outgoing { kind: 6, data: Some(&data), ..fields };
            }
            RequestBody::Broadcast { .. } => return Err(WriteError::NotAnEvent),
        }
        Ok(serde_json::to_vec(&fields).expect("texts, numbers and arrays always serialize"))
    }
}

fn checked_server_event(event: &Data) -> Result<Box<RawValue>, WriteError> {
    // Names that are reserved towards clients are no matter here, but the array's form is.
    let first = event.elements().next().ok_or(WriteError::NotAnEvent)?;
    let name: String = serde_json::from_str(first).map_err(|_| WriteError::NotAnEvent)?;
    if RESERVED_SERVER_EVENTS.contains(&name.as_str()) {
        return Err(WriteError::ReservedServerEvent(name));
    }
    RawValue::from_string(event.plain_json().into_owned()).map_err(|_| WriteError::NotAnEvent)
}

/// The message as JSON text, whichever form it has: Node tells them apart by the first byte.
pub(super) fn text_of(message: &Bytes) -> Result<(String, Vec<Bytes>), ReadError> {
    if message.len() > super::MAX_MESSAGE_BYTES {
        return Err(ReadError::TooMuch("bytes"));
    }
    if message.first() == Some(&b'{') {
        Ok((String::from_utf8_lossy(message).into_owned(), Vec::new()))
    } else {
        Ok(read_message(message)?.into_parts())
    }
}

/// A field of the type that is asked for, else nothing.
pub(super) fn read<'a, T: Deserialize<'a>>(field: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(field?.get()).ok()
}

/// An argument or payload with the attachments of its message.
pub(super) fn data(field: &RawValue, attachments: Vec<Bytes>) -> Result<Data, ReadError> {
    Data::new(field.get().to_owned(), attachments).map_err(|_| ReadError::Field("data"))
}

fn server_event(field: Option<&RawValue>, attachments: Vec<Bytes>) -> Result<Data, ReadError> {
    let event = data(field.ok_or(ReadError::Field("data"))?, attachments)?;
    let name = event.elements().next().ok_or(ReadError::Field("data"))?;
    if name.starts_with(['"', '-']) || name.starts_with(|character: char| character.is_ascii_digit()) {
        Ok(event)
    } else {
        Err(ReadError::Field("data"))
    }
}

fn packet(field: Option<&RawValue>, attachments: Vec<Bytes>) -> Result<Packet, ReadError> {
    let fields: IncomingPacket = read(field).ok_or(ReadError::Field("packet"))?;
    let payload = fields.data.map(|field| data(field, attachments)).transpose()?;
    Packet::new(fields.kind, fields.nsp, fields.id, payload)
}

fn flags(opts: Option<&RawValue>) -> Flags {
    #[derive(Deserialize)]
    struct Opts {
        flags: Option<IncomingFlags>,
    }
    let fields = read::<Opts>(opts).and_then(|opts| opts.flags).unwrap_or_default();
    Flags {
        volatile: fields.volatile.unwrap_or(false),
        compress: fields.compress,
        timeout_ms: fields.timeout.filter(|timeout| *timeout >= 0.0).map(|timeout| timeout as u64),
        expect_single_response: fields.expect_single_response.unwrap_or(false),
    }
}
