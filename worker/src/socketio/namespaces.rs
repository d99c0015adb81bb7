//! The namespaces of a worker: those that the application declared, and the children that came of its patterns and functions.
//!
//! A child begins when the first client is let into it, or when this worker asks the other servers something in it, and ends when
//! neither is so any more: nothing of it is kept that its parent has not. Whoever holds the address of one that has ended holds its
//! name, and finds what has that name when it is used: never another, whoever has its place in the list since.

use std::{
    cell::{Cell, OnceCell},
    collections::HashMap,
    rc::Rc,
};

use slab::Slab;

use super::{
    namespace::Namespace,
    server::{Inner, Members},
};
use crate::{
    adapter::codec::Channels,
    bus::{Bus, Routing},
    protocol::membership::NamespaceIndex,
};

/// How many child namespaces a worker has at once: their names are of the clients' choice. Who asks for one more is refused.
///
/// ```
/// # use roomd_worker::socketio::*;
/// assert_eq!(MAX_CHILD_NAMESPACES, 10_000);
/// ```
pub const MAX_CHILD_NAMESPACES: usize = 10_000;

/// In how many namespaces a session can be and still join a child: with each packet its namespace is looked for among them, and one
/// client alone is not to take all places.
///
/// ```
/// # use roomd_worker::socketio::*;
/// assert_eq!(MAX_NAMESPACES_PER_SESSION, 256);
/// ```
pub const MAX_NAMESPACES_PER_SESSION: usize = 256;

/// The longest name of a child namespace, in bytes.
///
/// ```
/// # use roomd_worker::socketio::*;
/// assert_eq!(MAX_CHILD_NAME_BYTES, 255);
/// ```
pub const MAX_CHILD_NAME_BYTES: usize = 255;

/// What every channel's name begins with, as the official adapter's option `key` has it.
pub(super) const CHANNEL_PREFIX: &str = "socket.io";

/// In no place of the list.
const NOWHERE: NamespaceIndex = NamespaceIndex::MAX;

/// A namespace, for all that have its address: what of it never changes, and where its sockets are.
pub(super) struct Nsp {
    pub(super) name: Rc<str>,
    pub(super) channels: Channels,
    pub(super) uid: Rc<str>,
    /// Nobody's before a parent is known to want it: a function is only asked for clients.
    handlers: OnceCell<Rc<Namespace>>,
    /// Its place in the list, while it has one.
    index: Cell<NamespaceIndex>,
    pub(super) is_child: bool,
    /// What others publish is known to come here.
    pub(super) is_heard: Cell<bool>,
}

/// All that have a place, by their index.
#[derive(Default)]
pub(super) struct Namespaces {
    list: Slab<Members>,
    names: HashMap<Rc<str>, NamespaceIndex>,
    children: usize,
}

/// A namespace that has a place for as long as this is kept.
pub(super) struct Present<'a> {
    inner: &'a Inner,
    pub(super) nsp: Rc<Nsp>,
}

/// There are [`MAX_CHILD_NAMESPACES`].
pub(super) struct TooMany;

impl Nsp {
    pub(super) fn new(name: &str, uid: Rc<str>, handlers: Option<Rc<Namespace>>, is_child: bool) -> Rc<Nsp> {
        Rc::new(Nsp {
            name: name.into(),
            channels: Channels::new(CHANNEL_PREFIX, name, &uid),
            uid,
            handlers: handlers.map_or_else(OnceCell::new, OnceCell::from),
            index: Cell::new(NOWHERE),
            is_child,
            is_heard: Cell::new(false),
        })
    }

    /// Its handlers, if it is open to clients.
    pub(super) fn handlers(&self) -> Option<&Namespace> {
        self.handlers.get().map(Rc::as_ref)
    }

    /// Opens it to clients, with the handlers of a parent that wants it, unless it is open.
    pub(super) fn open(&self, handlers: &Rc<Namespace>) {
        self.handlers.get_or_init(|| handlers.clone());
    }

    /// Its place in the list; of one without a place, one where there is none.
    pub(super) fn index(&self) -> NamespaceIndex {
        self.index.get()
    }
}

impl Namespaces {
    /// What is in a namespace, if it has a place.
    pub(super) fn of(&self, nsp: &Nsp) -> Option<&Members> {
        self.at(nsp.index())
    }

    pub(super) fn of_mut(&mut self, nsp: &Nsp) -> Option<&mut Members> {
        self.at_mut(nsp.index())
    }

    pub(super) fn at(&self, index: NamespaceIndex) -> Option<&Members> {
        self.list.get(usize::from(index))
    }

    pub(super) fn at_mut(&mut self, index: NamespaceIndex) -> Option<&mut Members> {
        self.list.get_mut(usize::from(index))
    }

    pub(super) fn find(&self, name: &str) -> Option<&Rc<Nsp>> {
        Some(&self.at(*self.names.get(name)?)?.nsp)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Members> {
        self.list.iter().map(|(_, members)| members)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Members> {
        self.list.iter_mut().map(|(_, members)| members)
    }

    /// The children that have a place.
    pub(super) fn children(&self) -> impl Iterator<Item = &Rc<Nsp>> {
        self.iter().map(|members| &members.nsp).filter(|nsp| nsp.is_child)
    }

    /// Gives a place to a namespace whose name is nobody's.
    pub(super) fn insert(&mut self, nsp: &Rc<Nsp>) -> Result<(), TooMany> {
        debug_assert!(!self.names.contains_key(&nsp.name), "two namespaces with one name");
        if nsp.is_child && self.children >= MAX_CHILD_NAMESPACES {
            return Err(TooMany);
        }
        let place = self.list.vacant_entry();
        let index = NamespaceIndex::try_from(place.key()).ok().filter(|&index| index != NOWHERE).ok_or(TooMany)?;
        place.insert(Members::new(nsp.clone()));
        self.names.insert(nsp.name.clone(), index);
        self.children += usize::from(nsp.is_child);
        nsp.index.set(index);
        Ok(())
    }

    /// Takes a child's place, if it has one and nobody is there. False if it stays.
    fn remove_idle(&mut self, nsp: &Nsp, keep_empty: bool) -> bool {
        let idle = self.of(nsp).is_some_and(|members| {
            let open_and_kept = keep_empty && nsp.handlers().is_some();
            nsp.is_child && members.sockets.is_empty() && members.needed == 0 && !open_and_kept
        });
        if idle {
            self.list.remove(usize::from(nsp.index.replace(NOWHERE)));
            self.names.remove(&nsp.name);
            self.children -= 1;
            if self.children == 0 {
                self.names.shrink_to_fit();
                self.list.shrink_to_fit();
            }
        }
        idle
    }
}

impl Inner {
    /// The namespace of that name, if it has a place.
    pub(super) fn namespace(&self, name: &str) -> Option<Rc<Nsp>> {
        self.state.borrow().namespaces.find(name).cloned()
    }

    /// The namespace that has an address' name now: mostly the address itself.
    pub(super) fn current(&self, nsp: &Rc<Nsp>) -> Rc<Nsp> {
        if nsp.index() != NOWHERE {
            return nsp.clone();
        }
        self.namespace(&nsp.name).unwrap_or_else(|| nsp.clone())
    }

    /// The namespace for as long as it is needed: a child that has no place gets one.
    pub(super) fn present(&self, nsp: &Rc<Nsp>) -> Result<Present<'_>, TooMany> {
        let nsp = self.current(nsp);
        self.begin(&nsp)?;
        if let Some(members) = self.state.borrow_mut().namespaces.of_mut(&nsp) {
            members.needed += 1;
        }
        Ok(Present { inner: self, nsp })
    }

    /// A child of that name for clients, with the handlers of a parent that wants it.
    pub(super) fn child(&self, name: &str, handlers: &Rc<Namespace>) -> Result<Rc<Nsp>, TooMany> {
        let nsp = self.namespace(name).unwrap_or_else(|| Nsp::new(name, self.uid.clone(), None, true));
        self.begin(&nsp)?;
        nsp.open(handlers);
        Ok(nsp)
    }

    /// Gives a place to one that has none, and hears what is published for it.
    fn begin(&self, nsp: &Rc<Nsp>) -> Result<(), TooMany> {
        if nsp.index() != NOWHERE {
            return Ok(());
        }
        self.state.borrow_mut().namespaces.insert(nsp)?;
        if let Some(bus) = self.bus.get() {
            subscribe(&**bus, nsp);
            // What is asked on the same stream comes after; Redis has several connections.
            nsp.is_heard.set(bus.routing() == Routing::Exact);
            self.engine.schedule_flush();
        }
        Ok(())
    }

    /// Somebody has left a namespace, or never came: a child ends with the last.
    pub(super) fn end_if_idle(&self, nsp: &Nsp) {
        if self.state.borrow_mut().namespaces.remove_idle(nsp, self.keep_empty_children)
            && let Some(bus) = self.bus.get()
        {
            unsubscribe(&**bus, nsp);
            self.engine.schedule_flush();
        }
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        if let Some(members) = self.inner.state.borrow_mut().namespaces.of_mut(&self.nsp) {
            members.needed -= 1;
        }
        self.inner.end_if_idle(&self.nsp);
    }
}

/// Whether a client, or the application, may have a child of this name. On the bus `#` ends a name: with one in it, what is meant for
/// a room of another namespace would come here.
pub(super) fn may_be_child(name: &str) -> bool {
    name.len() <= MAX_CHILD_NAME_BYTES && !name.contains('#')
}

/// Wants all that is always wanted of a namespace.
pub(super) fn subscribe(bus: &dyn Bus, Nsp { channels, .. }: &Nsp) {
    match bus.routing() {
        Routing::Pattern => bus.subscribe_prefix(channels.broadcast()),
        Routing::Exact => bus.subscribe(channels.broadcast()),
    }
    bus.subscribe(channels.request());
    bus.subscribe(channels.response());
    bus.subscribe(channels.own_response());
}

fn unsubscribe(bus: &dyn Bus, Nsp { channels, .. }: &Nsp) {
    match bus.routing() {
        Routing::Pattern => bus.unsubscribe_prefix(channels.broadcast()),
        Routing::Exact => bus.unsubscribe(channels.broadcast()),
    }
    bus.unsubscribe(channels.request());
    bus.unsubscribe(channels.response());
    bus.unsubscribe(channels.own_response());
}
