//! Sockets that are in no room: middleware considers them, or they are just leaving.

use super::{
    MAX_ROOM_NAME_BYTES, MAX_ROOMS_PER_SOCKET, SocketId,
    rooms::{Change, Member},
};

/// One of them.
pub(super) struct Apart {
    /// Its place among the sockets of its namespace.
    pub(super) member: Member,
    stage: Stage,
}

enum Stage {
    /// Middleware considers it. The rooms that it is to be in once it is let in, by which nobody reaches it before.
    Waiting { rooms: Vec<Box<str>> },
    /// Its handlers hear that it leaves.
    Leaving,
}

impl Apart {
    /// Middleware begins to consider it.
    pub(super) fn waiting(member: Member) -> Self {
        Apart { member, stage: Stage::Waiting { rooms: Vec::new() } }
    }

    /// It has left its rooms.
    pub(super) fn leaving(member: Member) -> Self {
        Apart { member, stage: Stage::Leaving }
    }

    /// Wants it in a room, within the bounds for those that are in. `None` if it will be in no room any more.
    pub(super) fn join(&mut self, id: &SocketId, name: &str) -> Option<Change> {
        let Stage::Waiting { rooms } = &mut self.stage else { return None };
        if name.as_bytes() == id.as_bytes() || rooms.iter().any(|room| **room == *name) {
            return Some(Change::Nothing);
        }
        if rooms.len() >= MAX_ROOMS_PER_SOCKET || name.len() > MAX_ROOM_NAME_BYTES {
            return Some(Change::Refused);
        }
        rooms.push(name.into());
        Some(Change::Moved)
    }

    /// No longer wants it in a room.
    pub(super) fn leave(&mut self, name: &str) {
        if let Stage::Waiting { rooms } = &mut self.stage {
            rooms.retain(|room| **room != *name);
        }
    }

    /// The rooms that it is to be in.
    pub(super) fn rooms(&self) -> &[Box<str>] {
        match &self.stage {
            Stage::Waiting { rooms } => rooms,
            Stage::Leaving => &[],
        }
    }
}
