//! Which form packets have for clients. Not negotiated: a server and all its clients use the same.

use roomd_wire::ParserConfig;
use serde::Serialize;

use super::{
    Data, Encoded, MAX_ATTACHMENTS, MAX_BYTE_STRINGS, PacketType,
    args::{self, EncodeError},
    msgpack,
};

/// A form of packets, as the option `parser` of the official programs chooses it. Nothing above it depends on which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parser {
    /// Text, and bytes in messages of their own: socket.io-parser, which all programs use unless told otherwise.
    #[default]
    Json,
    /// One binary message a packet: socket.io-msgpack-parser.
    Msgpack,
}

impl From<ParserConfig> for Parser {
    fn from(config: ParserConfig) -> Self {
        match config {
            ParserConfig::Json => Parser::Json,
            ParserConfig::Msgpack => Parser::Msgpack,
        }
    }
}

impl Parser {
    /// How many byte strings a packet may have.
    pub const fn max_attachments(self) -> usize {
        match self {
            Parser::Json => MAX_ATTACHMENTS,
            Parser::Msgpack => MAX_BYTE_STRINGS,
        }
    }

    /// An event's name and arguments, as [`Data::event`] takes them.
    ///
    /// # Errors
    /// Where a value has no JSON form, there are too many byte strings, or the name is reserved.
    pub fn event_data(self, name: &str, args: &(impl Serialize + ?Sized)) -> Result<Data, EncodeError> {
        args::encode_event(name, args, self.max_attachments())
    }

    /// The arguments of an ack, as [`Data::ack`] takes them.
    ///
    /// # Errors
    /// Where a value has no JSON form, or there are too many byte strings.
    pub fn ack_data(self, args: &(impl Serialize + ?Sized)) -> Result<Data, EncodeError> {
        args::encode_args(args, self.max_attachments())
    }

    /// A packet from its pieces. Only events and acks may have attachments.
    pub fn packet(self, kind: PacketType, nsp: &str, id: Option<u64>, data: Option<&Data>) -> Encoded {
        match self {
            Parser::Json => {
                let (json, attachments) = data.map_or((None, &[][..]), |data| (Some(data.json()), data.attachments()));
                Encoded::packet(kind, nsp, id, json, attachments)
            }
            Parser::Msgpack => msgpack::packet::encode(kind, nsp, id, data),
        }
    }

    /// An event; with an id if an answer is wanted. `data` is the array of its name and arguments.
    pub fn event(self, nsp: &str, id: Option<u64>, data: &Data) -> Encoded {
        self.packet(PacketType::Event, nsp, id, Some(data))
    }

    /// The answer to a client's event. `data` is the array of its arguments.
    pub fn ack(self, nsp: &str, id: u64, data: &Data) -> Encoded {
        self.packet(PacketType::Ack, nsp, Some(id), Some(data))
    }

    /// Tells a client that it has joined the namespace, and its socket's id there.
    pub fn connect(self, nsp: &str, sid: &str) -> Encoded {
        match self {
            Parser::Json => Encoded::connect(nsp, sid),
            Parser::Msgpack => msgpack::packet::connect(nsp, sid),
        }
    }

    /// Tells a client that it may not join the namespace. `data` is JSON with details for it.
    pub fn connect_error(self, nsp: &str, message: &str, data: Option<&str>) -> Encoded {
        match self {
            Parser::Json => Encoded::connect_error(nsp, message, data),
            Parser::Msgpack => msgpack::packet::connect_error(nsp, message, data),
        }
    }

    /// Tells a client that its socket has left the namespace.
    pub fn disconnect(self, nsp: &str) -> Encoded {
        self.packet(PacketType::Disconnect, nsp, None, None)
    }
}
