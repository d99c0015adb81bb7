//! Who is in which room, in one namespace of one worker. No I/O.
//!
//! Every socket is in the room of its own id without an entry here: that room is found by [`Rooms::own`].

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;

use super::SocketId;
use crate::protocol::batch::Batch;
pub use crate::protocol::membership::Member;

/// The most rooms that one socket can be in: what a client can make an application join is bounded.
///
/// ```
/// # use roomd_worker::socketio::*;
/// assert_eq!(MAX_ROOMS_PER_SOCKET, 1000);
/// ```
pub const MAX_ROOMS_PER_SOCKET: usize = 1000;

/// The longest name of a room that a socket can join, in bytes: names are kept, here and on the bus, and clients choose them.
///
/// ```
/// # use roomd_worker::socketio::*;
/// let app = App::new().namespace("/", |namespace| {
///     namespace.on("join", async |socket: Socket, Args(room): Args<String>, ack: Ack| {
///         let fits = room.len() <= MAX_ROOM_NAME_BYTES;
///         ack.send(fits && socket.join(&room))
///     })
/// });
/// # assert!(app.check().is_ok());
/// ```
pub const MAX_ROOM_NAME_BYTES: usize = 1024;

/// So many rooms of one interval are remembered as such that were sent to.
const MAX_TOUCHED: usize = 65_536;

/// The rooms of a namespace.
///
/// A member knows its place in each of its rooms, so a room is a plain list: four bytes for a member, no allocation for a
/// small room, and no hashing to come or go.
#[derive(Default)]
pub struct Rooms {
    names: FxHashMap<Rc<str>, u32>,
    rooms: Slab<Room>,
    own: FxHashMap<SocketId, Member>,
    /// By [`Member`], which are places in a slab and so dense.
    members: Vec<Option<Joined>>,
    /// Raised for each selection, so that marks of earlier ones mean nothing.
    epoch: Cell<u32>,
    /// For all sockets.
    batch: BatchSlot,
    /// Packets to all sockets that [`Rooms::take_sent`] has not told yet.
    sent: Cell<u64>,
    /// Rooms that something was sent to since then.
    touched: RefCell<Vec<u32>>,
}

/// The last batch that was sent to all members of a room, as long as they are its members.
#[derive(Default)]
pub struct BatchSlot(Cell<Weak<Batch>>);

impl BatchSlot {
    /// The batch, if it still waits for somebody.
    pub fn get(&self) -> Option<Rc<Batch>> {
        let last = self.0.take();
        let batch = last.upgrade();
        self.0.set(last);
        batch
    }

    /// Remembers a batch.
    pub fn set(&self, batch: &Rc<Batch>) {
        self.0.set(Rc::downgrade(batch));
    }

    /// The members have changed.
    fn clear(&self) {
        self.0.take();
    }
}

struct Room {
    name: Rc<str>,
    /// As many as fit into the space of a pointer and a capacity.
    members: SmallVec<[Member; 4]>,
    batch: BatchSlot,
    /// Packets to its members that [`Rooms::take_sent`] has not told yet.
    sent: Cell<u64>,
}

#[derive(Default)]
struct Joined {
    rooms: SmallVec<[Place; 2]>,
    /// The selection that has seen this socket last.
    mark: Cell<u32>,
}

/// Where a member is in a room's list.
#[derive(Clone, Copy)]
struct Place {
    room: u32,
    at: u32,
}

/// What a change of membership did to the room as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// The room began with it.
    Created,
    /// It joined or left a room that was there before and is there still.
    Moved,
    /// The room ended with it.
    Deleted,
    /// It was so already.
    Nothing,
    /// It is in [`MAX_ROOMS_PER_SOCKET`] rooms, or the name is longer than [`MAX_ROOM_NAME_BYTES`].
    Refused,
}

impl Rooms {
    /// A socket is there, in the room of its own id.
    pub fn add(&mut self, member: Member, id: SocketId) {
        self.batch.clear();
        self.own.insert(id, member);
        let at = member as usize;
        if self.members.len() <= at {
            self.members.resize_with(at + 1, || None);
        }
        self.members[at] = Some(Joined::default());
    }

    /// A socket is gone. Calls back with each room that ended with it.
    pub fn remove(&mut self, member: Member, id: SocketId, mut deleted: impl FnMut(&str)) {
        self.batch.clear();
        self.own.remove(&id);
        let Some(joined) = self.members.get_mut(member as usize).and_then(Option::take) else { return };
        for place in joined.rooms {
            self.leave_place(place, &mut deleted);
        }
        if self.own.is_empty() {
            *self = Rooms { epoch: self.epoch.clone(), ..Rooms::default() };
        }
    }

    /// The socket with this id.
    pub fn own(&self, id: &SocketId) -> Option<Member> {
        self.own.get(id).copied()
    }

    /// A socket joins a room.
    pub fn join(&mut self, member: Member, id: SocketId, name: &str) -> Change {
        if name.as_bytes() == id.as_bytes() {
            return Change::Nothing;
        }
        let Some(Some(joined)) = self.members.get_mut(member as usize) else { return Change::Nothing };
        let known = self.names.get(name).copied();
        if known.is_some_and(|room| joined.rooms.iter().any(|place| place.room == room)) {
            return Change::Nothing;
        }
        if joined.rooms.len() >= MAX_ROOMS_PER_SOCKET || name.len() > MAX_ROOM_NAME_BYTES {
            return Change::Refused;
        }
        let (room, change) = match known {
            Some(room) => (room, Change::Moved),
            None => {
                let name: Rc<str> = name.into();
                let room = self.rooms.insert(Room {
                    name: name.clone(),
                    members: SmallVec::new(),
                    batch: BatchSlot::default(),
                    sent: Cell::new(0),
                }) as u32;
                self.names.insert(name, room);
                (room, Change::Created)
            }
        };
        let Room { members, batch, .. } = &mut self.rooms[room as usize];
        batch.clear();
        joined.rooms.push(Place { room, at: members.len() as u32 });
        members.push(member);
        change
    }

    /// A socket leaves a room. The room of its own id is not left.
    pub fn leave(&mut self, member: Member, name: &str) -> Change {
        let Some(&room) = self.names.get(name) else { return Change::Nothing };
        let Some(Some(joined)) = self.members.get_mut(member as usize) else { return Change::Nothing };
        let Some(at) = joined.rooms.iter().position(|place| place.room == room) else { return Change::Nothing };
        let place = joined.rooms.swap_remove(at);
        let mut change = Change::Moved;
        self.leave_place(place, &mut |_| change = Change::Deleted);
        change
    }

    fn leave_place(&mut self, Place { room, at }: Place, deleted: &mut impl FnMut(&str)) {
        let Room { members, batch, .. } = &mut self.rooms[room as usize];
        batch.clear();
        members.swap_remove(at as usize);
        if let Some(&moved) = members.get(at as usize) {
            // The last one has taken the free place.
            let places = self.members[moved as usize].iter_mut().flat_map(|joined| &mut joined.rooms);
            places.filter(|place| place.room == room).for_each(|place| place.at = at);
        } else if members.is_empty() {
            let room = self.rooms.remove(room as usize);
            self.names.remove(&room.name);
            deleted(&room.name);
        }
    }

    fn joined(&self, member: Member) -> Option<&Joined> {
        self.members.get(member as usize)?.as_ref()
    }

    /// The rooms a socket is in, but for that of its own id.
    pub fn of(&self, member: Member) -> impl Iterator<Item = &Rc<str>> {
        let rooms = self.joined(member).map_or(&[][..], |joined| &joined.rooms);
        rooms.iter().map(|place| &self.rooms[place.room as usize].name)
    }

    /// Whether a room has a member here; the room of a socket's own id counts.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains_key(name) || SocketId::parse(name).is_some_and(|id| self.own.contains_key(&id))
    }

    /// How many rooms there are, own ones not counted.
    pub fn count(&self) -> usize {
        self.rooms.len()
    }

    /// The names of all rooms, own ones not counted.
    pub fn names(&self) -> impl Iterator<Item = &Rc<str>> {
        self.names.keys()
    }

    /// Every socket in any of `rooms` (all where there is none) that is in none of `except`, each once.
    pub fn select<'a, N: AsRef<str>>(&'a self, rooms: &'a [N], except: &'a [N]) -> impl Iterator<Item = Member> + 'a {
        let epoch = self.epoch.get().wrapping_add(1).max(1);
        self.epoch.set(epoch);
        // One room and no exception, the usual case, needs no marks.
        let marked = rooms.len() > 1 || !except.is_empty();
        for member in except.iter().flat_map(|name| self.members_of(name.as_ref())) {
            if let Some(joined) = self.joined(member) {
                joined.mark.set(epoch);
            }
        }
        let everybody = (0..).zip(&self.members).filter_map(|(member, joined)| joined.as_ref().map(|_| member));
        let all = rooms.is_empty().then_some(everybody).into_iter().flatten();
        let some = rooms.iter().flat_map(|name| self.members_of(name.as_ref()));
        all.chain(some).filter(move |member| {
            !marked || self.joined(*member).is_some_and(|joined| joined.mark.replace(epoch) != epoch)
        })
    }

    /// Where the last batch for this selection is remembered; only for one room, or all sockets, without exceptions.
    pub fn batch<N: AsRef<str>>(&self, rooms: &[N], except: &[N]) -> Option<&BatchSlot> {
        match (rooms, except) {
            ([], []) => Some(&self.batch),
            // One whose name is a socket's id has that socket for a member too.
            ([name], []) if SocketId::parse(name.as_ref()).is_none() => {
                self.names.get(name.as_ref()).map(|&room| &self.rooms[room as usize].batch)
            }
            _ => None,
        }
    }

    /// A packet goes to the members of these rooms, or to all sockets.
    pub fn note_sent(&self, rooms: &[&str]) {
        if rooms.is_empty() {
            self.sent.set(self.sent.get() + self.own.len() as u64);
        }
        for name in rooms {
            // The rooms of single sockets are none that anybody would look for.
            let Some(&at) = self.names.get(*name) else { continue };
            let room = &self.rooms[at as usize];
            if room.sent.get() == 0 {
                let mut touched = self.touched.borrow_mut();
                if touched.len() >= MAX_TOUCHED {
                    continue;
                }
                touched.push(at);
            }
            room.sent.set(room.sent.get() + room.members.len() as u64);
        }
    }

    /// Calls back with each room that packets went to since the last call, its members, and how many packets: one for each member
    /// that had it. All sockets are a room without name.
    pub fn take_sent(&self, mut each: impl FnMut(&str, usize, u64)) {
        let everybody = self.sent.take();
        if everybody > 0 {
            each("", self.own.len(), everybody);
        }
        for at in self.touched.take() {
            // It can have ended meanwhile, and another one can have its place.
            let Some(room) = self.rooms.get(at as usize) else { continue };
            let packets = room.sent.take();
            if packets > 0 {
                each(&room.name, room.members.len(), packets);
            }
        }
    }

    fn members_of(&self, name: &str) -> impl Iterator<Item = Member> {
        let named = self.names.get(name).map(|&room| &self.rooms[room as usize].members);
        let own = SocketId::parse(name).and_then(|id| self.own(&id));
        // Somebody else can have joined a room of that name, but the one whose id it is need not have.
        named.into_iter().flatten().copied().chain(own)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    impl Rooms {
        /// Each place leads to the member that has it, and every place is somebody's.
        fn check_invariants(&self) {
            let mut places = 0;
            for (member, joined) in (0..).zip(&self.members) {
                for place in joined.iter().flat_map(|joined| &joined.rooms) {
                    assert_eq!(self.rooms[place.room as usize].members[place.at as usize], member);
                    places += 1;
                }
            }
            assert_eq!(places, self.rooms.iter().map(|(_, room)| room.members.len()).sum::<usize>());
        }
    }

    fn id(member: Member) -> SocketId {
        SocketId::parse(&format!("socket-id-{member:010}")).unwrap()
    }

    fn selected(rooms: &Rooms, names: &[&str], except: &[&str]) -> Vec<Member> {
        let mut members: Vec<_> = rooms.select(names, except).collect();
        members.sort_unstable();
        members
    }

    #[test]
    fn a_selection_has_each_socket_once_and_none_of_the_excepted() {
        let mut rooms = Rooms::default();
        (0..4).for_each(|member| rooms.add(member, id(member)));
        for (member, name) in [(0, "a"), (1, "a"), (1, "b"), (2, "b")] {
            rooms.join(member, id(member), name);
        }
        assert_eq!(selected(&rooms, &["a", "b"], &[]), [0, 1, 2]);
        assert_eq!(selected(&rooms, &["a", "b"], &["b"]), [0]);
        assert_eq!(selected(&rooms, &[], &[]), [0, 1, 2, 3]);
        assert_eq!(selected(&rooms, &[], &["a", id(3).as_str()]), [2]);
        assert_eq!(selected(&rooms, &[id(2).as_str()], &[]), [2]);
        assert_eq!(selected(&rooms, &["a", id(0).as_str()], &[]), [0, 1]);
        assert_eq!(selected(&rooms, &["none"], &[]), [0; 0]);
    }

    #[test]
    fn what_was_sent_is_told_once_and_of_rooms_that_are_there() {
        let mut rooms = Rooms::default();
        (0..3).for_each(|member| rooms.add(member, id(member)));
        for (member, name) in [(0, "a"), (1, "a"), (2, "b")] {
            rooms.join(member, id(member), name);
        }
        let taken = |rooms: &Rooms| {
            let mut taken = Vec::new();
            rooms.take_sent(|room, members, packets| taken.push((room.to_owned(), members, packets)));
            taken
        };
        for names in [&["a", "b"][..], &["a"], &[], &["none", id(0).as_str()]] {
            rooms.note_sent(names);
        }
        let expected =
            [("", 3, 3), ("a", 2, 4), ("b", 1, 1)].map(|(room, members, packets)| (room.into(), members, packets));
        assert_eq!(taken(&rooms), expected);
        assert_eq!(taken(&rooms), []);
        rooms.note_sent(&["b"]);
        rooms.leave(2, "b");
        rooms.join(2, id(2), "c");
        rooms.note_sent(&["c"]);
        assert_eq!(taken(&rooms), [("c".to_owned(), 1, 1)]);
    }

    #[test]
    fn rooms_per_socket_and_their_names_are_bounded() {
        let mut rooms = Rooms::default();
        rooms.add(0, id(0));
        for room in 0..MAX_ROOMS_PER_SOCKET {
            assert_eq!(rooms.join(0, id(0), &room.to_string()), Change::Created);
        }
        assert_eq!(rooms.join(0, id(0), "one more"), Change::Refused);
        assert_eq!(rooms.leave(0, "7"), Change::Deleted);
        assert_eq!(rooms.join(0, id(0), &"x".repeat(MAX_ROOM_NAME_BYTES + 1)), Change::Refused);
        assert_eq!(rooms.join(0, id(0), "one more"), Change::Created);
    }

    /// Random joins, leaves and ends against a map of sets.
    #[test]
    fn membership_is_what_a_plain_model_says() {
        let mut rng = fastrand::Rng::with_seed(crate::seeds::new());
        let (mut rooms, mut model) = (Rooms::default(), BTreeMap::<String, BTreeSet<Member>>::new());
        let mut there = BTreeSet::new();
        for step in 0..30_000 {
            let (member, name) = (rng.u32(..20), format!("room{}", rng.u8(..12)));
            match rng.u8(..10) {
                0 if there.insert(member) => rooms.add(member, id(member)),
                1 if there.remove(&member) => {
                    let mut ended = BTreeSet::new();
                    rooms.remove(member, id(member), |name| {
                        ended.insert(name.to_owned());
                    });
                    for members in model.values_mut() {
                        members.remove(&member);
                    }
                    let expected: BTreeSet<_> =
                        model.extract_if(.., |_, members| members.is_empty()).map(|(name, _)| name).collect();
                    assert_eq!(ended, expected, "step {step}");
                }
                2..6 if there.contains(&member) => {
                    let created = !model.contains_key(&name);
                    let joined = model.entry(name.clone()).or_default().insert(member);
                    let expected = if created {
                        Change::Created
                    } else if joined {
                        Change::Moved
                    } else {
                        Change::Nothing
                    };
                    assert_eq!(rooms.join(member, id(member), &name), expected, "step {step}");
                }
                6..9 => {
                    let left = model.get_mut(&name).is_some_and(|members| members.remove(&member));
                    let deleted = model.get(&name).is_some_and(BTreeSet::is_empty);
                    if deleted {
                        model.remove(&name);
                    }
                    let expected = if deleted {
                        Change::Deleted
                    } else if left {
                        Change::Moved
                    } else {
                        Change::Nothing
                    };
                    assert_eq!(rooms.leave(member, &name), expected, "step {step}");
                }
                _ => {
                    let other = format!("room{}", rng.u8(..12));
                    let empty = BTreeSet::new();
                    let (a, b) = (model.get(&name).unwrap_or(&empty), model.get(&other).unwrap_or(&empty));
                    assert_eq!(
                        selected(&rooms, &[&name, &other], &[]),
                        a.union(b).copied().collect::<Vec<_>>(),
                        "step {step}"
                    );
                    assert_eq!(selected(&rooms, &[&name], &[&other]), a.difference(b).copied().collect::<Vec<_>>());
                    assert_eq!(selected(&rooms, &[], &[]), there.iter().copied().collect::<Vec<_>>());
                    assert_eq!(rooms.has(&name), model.contains_key(&name));
                }
            }
            assert_eq!(rooms.count(), model.len());
            rooms.check_invariants();
        }
    }
}
