//! `roomd emit` and `roomd sockets …`: from the command line to an order.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{args::Place, failure::Failure};
use crate::emit::{self, Kind};

/// `roomd emit`.
#[derive(Args)]
pub(super) struct EmitArguments {
    /// The event's name
    #[arg(value_name = "EVENT")]
    event: String,
    /// An argument: JSON if it can be read as JSON, else a text; 5 is a number, '"5"' and five are texts
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    args: Vec<String>,
    /// The namespace
    #[arg(long, value_name = "NAME", default_value = "/")]
    namespace: String,
    /// To the sockets in this room only; may be repeated (a socket's id is a room too)
    #[arg(long, value_name = "ROOM")]
    to: Vec<String>,
    /// Not to the sockets in this room; may be repeated
    #[arg(long, value_name = "ROOM")]
    except: Vec<String>,
    /// May be dropped for a client that cannot take it now
    #[arg(long)]
    volatile: bool,
    #[command(flatten)]
    place: Place,
}

/// `roomd sockets`.
#[derive(Subcommand)]
pub(super) enum Sockets {
    /// Make sockets join rooms
    Join(Rooms),
    /// Make sockets leave rooms
    Leave(Rooms),
    /// Disconnect sockets
    Disconnect {
        /// Close their connections too, with their sockets in other namespaces
        #[arg(long)]
        close: bool,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        place: Place,
    },
}

/// What rooms, for which sockets.
#[derive(Args)]
pub(super) struct Rooms {
    /// The room; may be several
    #[arg(value_name = "ROOM", required = true)]
    rooms: Vec<String>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    place: Place,
}

/// Which sockets.
#[derive(Args)]
pub(super) struct Which {
    /// The namespace
    #[arg(long, value_name = "NAME", default_value = "/")]
    namespace: String,
    /// The sockets in this room; may be repeated (a socket's id is a room too)
    #[arg(long = "in", value_name = "ROOM", required_unless_present = "all")]
    within: Vec<String>,
    /// Every socket of the namespace
    #[arg(long, conflicts_with = "within")]
    all: bool,
}

/// An order that has been checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Order {
    /// What is ordered.
    pub kind: Kind,
    /// As JSON.
    pub body: String,
}

#[derive(Serialize)]
struct EmitBody {
    namespace: String,
    event: String,
    args: Vec<Box<RawValue>>,
    to: Vec<String>,
    except: Vec<String>,
    volatile: bool,
}

#[derive(Serialize)]
struct SocketsBody<'a> {
    namespace: &'a str,
    #[serde(rename = "in")]
    within: &'a [String],
    all: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rooms: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    close: bool,
}

impl EmitArguments {
    pub fn order(self) -> Result<(Place, Order), Failure> {
        let EmitArguments { event, args, namespace, to, except, volatile, place } = self;
        let args = args.into_iter().map(argument).collect::<Result<_, _>>()?;
        let order = Order::new(Kind::Emit, &EmitBody { namespace, event, args, to, except, volatile })?;
        Ok((place, order))
    }
}

impl Sockets {
    pub fn order(self) -> Result<(Place, Order), Failure> {
        let (kind, rooms, which, close, place) = match self {
            Sockets::Join(Rooms { rooms, which, place }) => (Kind::Join, rooms, which, false, place),
            Sockets::Leave(Rooms { rooms, which, place }) => (Kind::Leave, rooms, which, false, place),
            Sockets::Disconnect { close, which, place } => (Kind::Disconnect, Vec::new(), which, close, place),
        };
        let Which { namespace, within, all } = which;
        let body = SocketsBody { namespace: &namespace, within: &within, all, rooms: &rooms, close };
        Ok((place, Order::new(kind, &body)?))
    }
}

impl Order {
    /// Checks it here already: a mistake of the command line is told as such, whether a cluster runs or not.
    fn new(kind: Kind, body: &impl Serialize) -> Result<Order, Failure> {
        let body = serde_json::to_string(body).map_err(Failure::runtime)?;
        emit::read(kind, &body).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Order { kind, body })
    }
}

/// JSON as it stands, with all its digits; everything else as a text.
fn argument(word: String) -> Result<Box<RawValue>, Failure> {
    match serde_json::from_str::<&RawValue>(&word) {
        Ok(json) => Ok(json.to_owned()),
        Err(_) => to_raw_value(&word).map_err(Failure::runtime),
    }
}
