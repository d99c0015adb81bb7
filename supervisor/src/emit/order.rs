//! From an order's text to what is published.

use roomd_worker::{
    adapter::codec::{self, Channels, Flags, MAX_ROOMS, Request, RequestBody, Room, Selector, WriteError},
    protocol::{Data, DataError, is_reserved_event},
    socketio::MAX_ROOM_NAME_BYTES,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fields::Fields;

/// The longest order. Clients, too, send 1 MB at most unless they are told otherwise.
pub const MAX_ORDER_BYTES: usize = 1_000_000;

/// The official adapter's option `key`, as it is if nothing else is said; workers have the same.
const PREFIX: &str = "socket.io";

/// Who publishes. Servers pass over what has their own uid, and none has this one: theirs are six random characters.
const UID: &str = "roomd-emit";

/// The longest name of an event or a namespace, in bytes: as for rooms, more is a mistake.
const MAX_NAME_BYTES: usize = MAX_ROOM_NAME_BYTES;

const NAMES: &str = "a list of names, such as [\"room\"]";
const SWITCH: &str = "true or false";

/// What is ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An event for clients: `namespace`, `event`, `args`, `to`, `except`, `volatile`.
    Emit,
    /// Sockets join rooms: `namespace`, `rooms`, `in`, `all`.
    Join,
    /// Sockets leave rooms: the same.
    Leave,
    /// Sockets are disconnected: `namespace`, `in`, `all`, `close`.
    Disconnect,
}

impl Kind {
    /// The command that orders it.
    pub fn command(self) -> &'static str {
        match self {
            Kind::Emit => "emit",
            Kind::Join => "sockets join",
            Kind::Leave => "sockets leave",
            Kind::Disconnect => "sockets disconnect",
        }
    }
}

/// A message for the bus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// Where it goes.
    pub channel: String,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// Why an order is refused. Each text is a sentence for the person who gave it, and names the key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OrderError {
    /// Longer than [`MAX_ORDER_BYTES`].
    #[error("the order has more than {MAX_ORDER_BYTES} bytes: send less at once")]
    TooLong,
    /// Not a JSON object.
    #[error("the order is no JSON object: {0}")]
    NoObject(String),
    /// A key that the order does not have.
    #[error("unknown key `{key}`: {way_out}")]
    UnknownKey {
        /// The key.
        key: String,
        /// What it may have been meant for.
        way_out: String,
    },
    /// A value of the wrong type.
    #[error("`{key}` cannot be this: give {expected}")]
    Shape {
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A key that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A namespace without its slash.
    #[error("`namespace` cannot be {0:?}: it begins with a slash, such as \"/chat\"")]
    Namespace(String),
    /// A name that is empty, as of a variable that is not set.
    #[error("a name in `{0}` is empty")]
    EmptyName(&'static str),
    /// A name that no room can have.
    #[error("a name in `{0}` has more than {MAX_NAME_BYTES} bytes")]
    LongName(&'static str),
    /// Too many rooms for one message.
    #[error("`{0}` names more than {MAX_ROOMS} rooms: give several orders")]
    TooManyRooms(&'static str),
    /// No room to join or leave.
    #[error("`rooms` names no room to join or leave")]
    NoRooms,
    /// An event that clients would close the connection for.
    #[error("`event` cannot be {0:?}: Socket.IO uses this name itself")]
    ReservedEvent(String),
    /// Arguments that a client could not read.
    #[error("`args` cannot be sent: {0}")]
    Args(String),
    /// Sockets are to be chosen, and nothing says which.
    #[error("neither does `in` name a room nor is `all` set: say `all` if every socket of the namespace is meant")]
    Nobody,
    /// Both rooms and all.
    #[error("`in` names rooms and `all` is set: say one of the two")]
    RoomsAndAll,
    /// The message would be too long for the bus.
    #[error("failed to {0}")]
    Message(String),
}

/// Reads an order and makes the message of it.
pub fn read(kind: Kind, text: &str) -> Result<Publication, OrderError> {
    if text.len() > MAX_ORDER_BYTES {
        return Err(OrderError::TooLong);
    }
    let mut fields = Fields::read(text)?;
    let namespace = namespace(&mut fields)?;
    match kind {
        Kind::Emit => emit(&namespace, fields),
        Kind::Join | Kind::Leave => {
            let rooms = names(&mut fields, "rooms")?;
            let target = chosen(&mut fields)?;
            fields.finish()?;
            if rooms.is_empty() {
                return Err(OrderError::NoRooms);
            }
            request(
                &namespace,
                match kind {
                    Kind::Join => RequestBody::Join { target, rooms },
                    _ => RequestBody::Leave { target, rooms },
                },
            )
        }
        Kind::Disconnect => {
            let target = chosen(&mut fields)?;
            let close = fields.take("close", SWITCH)?.unwrap_or(false);
            fields.finish()?;
            request(&namespace, RequestBody::Disconnect { target, close })
        }
    }
}

fn emit(namespace: &str, mut fields: Fields<'_>) -> Result<Publication, OrderError> {
    let event: Option<String> = fields.take("event", "the event's name, a text")?;
    let args: Vec<&RawValue> = fields.take("args", "a list of values")?.unwrap_or_default();
    let rooms = names(&mut fields, "to")?;
    let except = names(&mut fields, "except")?;
    let volatile = fields.take("volatile", SWITCH)?.unwrap_or(false);
    fields.finish()?;
    let event = event.ok_or(OrderError::Missing("event"))?;
    check_name("event", &event)?;
    if is_reserved_event(&event) {
        return Err(OrderError::ReservedEvent(event));
    }
    let data = event_data(&event, &args)?;
    let target = Selector { rooms, except };
    let flags = Flags { volatile, ..Flags::default() };
    let payload = codec::encode_broadcast(UID, namespace, &data, &target, flags).map_err(message)?;
    let channels = channels(namespace);
    let channel = match &*target.rooms {
        [Room::Text(room)] => channels.room(room),
        _ => channels.broadcast().to_owned(),
    };
    Ok(Publication { channel, payload })
}

/// Name and arguments as one array. The arguments' own text is kept: nothing is rounded on the way.
fn event_data(event: &str, args: &[&RawValue]) -> Result<Data, OrderError> {
    let mut json = String::from("[");
    json.push_str(&serde_json::Value::from(event).to_string());
    for arg in args {
        json.push(',');
        json.push_str(arg.get());
    }
    json.push(']');
    Data::from_json(json).map_err(|error| match error {
        // Its own words say that they are nested too deep.
        DataError::Json(error) => OrderError::Args(error.to_string()),
        error @ DataError::Placeholder => OrderError::Args(format!("failed to {error}")),
    })
}

fn request(namespace: &str, body: RequestBody) -> Result<Publication, OrderError> {
    let request = Request { uid: Some(UID.to_owned()), request_id: None, body };
    let payload = request.encode().map_err(message)?;
    Ok(Publication { channel: channels(namespace).request().to_owned(), payload })
}

fn channels(namespace: &str) -> Channels {
    Channels::new(PREFIX, namespace, UID)
}

fn message(error: WriteError) -> OrderError {
    OrderError::Message(error.to_string())
}

fn namespace(fields: &mut Fields<'_>) -> Result<String, OrderError> {
    let namespace: String = fields.take("namespace", "a text, such as \"/chat\"")?.unwrap_or_else(|| "/".to_owned());
    check_name("namespace", &namespace)?;
    if namespace.starts_with('/') { Ok(namespace) } else { Err(OrderError::Namespace(namespace)) }
}

/// The sockets an order is for. That it is all of them must be said: a variable that is not set, or a mistyped key, would else
/// mean everybody.
fn chosen(fields: &mut Fields<'_>) -> Result<Selector, OrderError> {
    let rooms = names(fields, "in")?;
    let all = fields.take("all", SWITCH)?.unwrap_or(false);
    match (rooms.is_empty(), all) {
        (true, false) => Err(OrderError::Nobody),
        (false, true) => Err(OrderError::RoomsAndAll),
        _ => Ok(Selector { rooms, except: Vec::new() }),
    }
}

fn names(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<Room>, OrderError> {
    let names: Vec<String> = fields.take(key, NAMES)?.unwrap_or_default();
    if names.len() > MAX_ROOMS {
        return Err(OrderError::TooManyRooms(key));
    }
    names.iter().try_for_each(|name| check_name(key, name))?;
    Ok(names.into_iter().map(Room::from).collect())
}

fn check_name(key: &'static str, name: &str) -> Result<(), OrderError> {
    match name.len() {
        0 => Err(OrderError::EmptyName(key)),
        1..=MAX_NAME_BYTES => Ok(()),
        _ => Err(OrderError::LongName(key)),
    }
}
