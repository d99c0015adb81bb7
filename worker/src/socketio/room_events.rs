//! Rooms that begin and end, and who comes and goes: what the adapter's events `create-room`, `join-room`, `leave-room` and
//! `delete-room` are in Node. Each worker tells of its own rooms, as each server does there.

use std::rc::Rc;

use super::{
    FromCall, Io, Rejection, Socket, SocketId,
    call::{RoomCall, RoomMemberCall},
    handler::Erased,
    namespaces::Nsp,
};

/// Handlers of rooms that begin or end.
pub enum OnRoom {}

/// Handlers of sockets that join or leave rooms.
pub enum OnRoomMember {}

/// The name of the room that a handler of rooms hears of.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Room};
///
/// let app = App::new().namespace("/", |namespace| {
///     namespace.on_create_room(async |Room(room): Room| println!("{room} begins"))
/// });
/// # assert!(app.check().is_ok());
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room(pub String);

/// The handlers of a namespace that hear of its rooms.
#[derive(Default, Clone)]
pub(super) struct RoomHandlers {
    pub(super) create: Vec<Erased<OnRoom>>,
    pub(super) delete: Vec<Erased<OnRoom>>,
    pub(super) join: Vec<Erased<OnRoomMember>>,
    pub(super) leave: Vec<Erased<OnRoomMember>>,
}

impl RoomHandlers {
    /// Whether nobody wants to hear of rooms, as usual.
    pub(super) fn is_empty(&self) -> bool {
        self.create.is_empty() && self.delete.is_empty() && self.join.is_empty() && self.leave.is_empty()
    }
}

impl FromCall<OnRoom> for Room {
    fn from_call(call: &RoomCall<'_>) -> Result<Self, Rejection> {
        Ok(Room(call.room.to_owned()))
    }
}

impl FromCall<OnRoomMember> for Room {
    fn from_call(call: &RoomMemberCall<'_>) -> Result<Self, Rejection> {
        Ok(Room(call.room.to_owned()))
    }
}

impl Io {
    /// A socket has joined a room, which may have begun with it.
    pub(super) fn tell_joined(&self, nsp: &Rc<Nsp>, id: SocketId, room: &str, created: bool) {
        let handlers = nsp.handlers().map(|handlers| &handlers.rooms);
        let Some(handlers) = handlers.filter(|handlers| !handlers.is_empty()) else { return };
        if created {
            self.tell_room("create-room", &handlers.create, room);
        }
        self.tell_member("join-room", &handlers.join, nsp, id, room);
    }

    /// A socket has left a room, which may have ended with it.
    pub(super) fn tell_left(&self, nsp: &Rc<Nsp>, id: SocketId, room: &str) {
        let handlers = nsp.handlers().map(|handlers| &handlers.rooms);
        let Some(handlers) = handlers.filter(|handlers| !handlers.is_empty()) else { return };
        self.tell_member("leave-room", &handlers.leave, nsp, id, room);
        let is_left = self.0.state.borrow().namespaces.of(nsp).is_some_and(|members| members.rooms.has(room));
        if !is_left {
            self.tell_room("delete-room", &handlers.delete, room);
        }
    }

    fn tell_room(&self, what: &'static str, handlers: &[Erased<OnRoom>], room: &str) {
        for handler in handlers {
            self.call_hearer(what, room.len(), || handler(&RoomCall { io: self, room }));
        }
    }

    fn tell_member(
        &self,
        what: &'static str,
        handlers: &[Erased<OnRoomMember>],
        nsp: &Rc<Nsp>,
        id: SocketId,
        room: &str,
    ) {
        if handlers.is_empty() {
            return;
        }
        let socket = Socket { io: self.clone(), namespace: nsp.clone(), id };
        for handler in handlers {
            self.call_hearer(what, room.len(), || handler(&RoomMemberCall { socket: &socket, room }));
        }
    }
}
