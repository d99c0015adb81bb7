//! How a socket comes into its namespace, and how it leaves. The rules are in `protocol::membership`; here is what follows from
//! them for middleware, handlers, rooms and the client.
//!
//! ```text
//! CONNECT ─► apart ─ middleware agrees ─► in its rooms ─ disconnecting ─► apart ─ disconnect ─► gone
//!              └─ refused, or the session ends ─► gone
//! ```

use std::rc::Rc;

use serde_json::Value;
use smallvec::SmallVec;

use super::{
    ConnectError, Io, Rejection, Socket, SocketId,
    apart::Apart,
    backlog::Waits,
    call::{ConnectCall, ConnectingCall, DisconnectCall},
    handler::Work,
    handlers,
    namespaces::{MAX_NAMESPACES_PER_SESSION, Nsp},
    parents::Wish,
    server::{Session, SocketState},
    socket::no_auth,
};
use crate::{
    engine::{CloseReason, SessionKey},
    protocol::membership::{Action, Actions, Cause, Member, Membership, Reason, SocketKey},
};

impl Io {
    /// Tells the rules what happens to a session, and does what comes of it.
    pub(super) fn with_membership(&self, session: SessionKey, tell: impl FnOnce(&mut Membership, &mut Actions)) {
        let mut out = Actions::new();
        if let Some(session) = self.0.state.borrow_mut().sessions.get_mut(&session) {
            tell(&mut session.membership, &mut out);
        }
        self.act(session, out);
    }

    /// Does what the rules say.
    pub(super) fn act(&self, session: SessionKey, actions: Actions) {
        for action in actions {
            match action {
                Action::Forget(key) => self.forget(key),
                Action::SendDisconnect(SocketKey { namespace, .. }) => {
                    if let Some(members) = self.0.state.borrow().namespaces.at(namespace) {
                        self.0.engine.send(session, &self.0.parser.disconnect(&members.nsp.name));
                    }
                }
                Action::Leave(key, reason) => self.leave(key, reason),
                Action::Close(cause) => {
                    tracing::debug!(%cause, "a session is closed");
                    self.0.engine.close(session, CloseReason::ForcedClose);
                }
            }
        }
    }

    /// A client asks to join a namespace; `text` is its `auth`.
    pub(super) fn connect(&self, session: SessionKey, nsp: &str, text: Option<&str>) {
        let auth: Option<Value> = text.and_then(|auth| serde_json::from_str(auth).ok());
        let wish = Wish { session, auth, bytes: text.map_or(0, str::len) };
        let found = {
            let state = &mut *self.0.state.borrow_mut();
            if !state.undecided.is_empty() {
                // The last wish counts.
                state.undecided.remove(&(session, nsp.into()));
            }
            state.namespaces.find(nsp).filter(|nsp| nsp.handlers().is_some()).cloned()
        };
        match found {
            Some(nsp) => self.join_namespace(&nsp, wish),
            None => self.ask_parents(nsp, wish),
        }
    }

    /// Whether a client is in as many namespaces as it may be to join a child.
    pub(super) fn is_in_most_namespaces(&self, session: SessionKey) -> bool {
        let is_full = |session: &Session| session.membership.sockets() >= MAX_NAMESPACES_PER_SESSION;
        self.0.state.borrow().sessions.get(&session).is_some_and(is_full)
    }

    /// A client is to join a namespace that there is.
    pub(super) fn join_namespace(&self, nsp: &Rc<Nsp>, Wish { session, auth, bytes }: Wish) {
        if nsp.is_child && self.is_in_most_namespaces(session) {
            return self.too_many_namespaces(session, &nsp.name);
        }
        let mut random = [0; 15];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::error!(%error, "the system gives no random numbers");
            return self.with_membership(session, |membership, out| membership.close(Cause::NoRandomness, out));
        }
        let id = SocketId::new(random);
        let mut considered = false;
        let mut out = Actions::new();
        {
            let state = &mut *self.0.state.borrow_mut();
            let Some(known) = state.sessions.get_mut(&session) else { return };
            let Some(members) = state.namespaces.of_mut(nsp) else { return };
            let place = members.sockets.vacant_entry();
            let member = place.key() as Member;
            if known.membership.connect(SocketKey { namespace: nsp.index(), member }, &mut out) {
                place.insert(SocketState { id, session, auth: auth.clone().map(Box::new), data: None });
                members.apart.insert(id, Apart::waiting(member));
                considered = true;
            }
        }
        self.act(session, out);
        if considered {
            self.consider(session, Socket { io: self.clone(), namespace: nsp.clone(), id }, auth, bytes);
        }
    }

    /// Asks middleware, if there is some, which keeps so many `bytes` for as long as it waits.
    fn consider(&self, session: SessionKey, socket: Socket, auth: Option<Value>, bytes: usize) {
        if socket.namespace.handlers().is_none_or(|handlers| handlers.middlewares.is_empty()) {
            return self.accept(&socket);
        }
        let io = self.clone();
        let undecided = Undecided(socket.clone());
        let begin = || -> Work {
            Box::pin(async move {
                let _undecided = undecided;
                let auth = auth.unwrap_or_else(no_auth);
                for middleware in socket.namespace.handlers().iter().flat_map(|handlers| &handlers.middlewares) {
                    let decision = match middleware(&ConnectingCall { socket: &socket, auth: &auth }) {
                        Ok(work) => work.await,
                        Err(Rejection(error)) => Err(error.into()),
                    };
                    if let Err(error) = decision {
                        return io.refuse(&socket, error);
                    }
                }
                io.accept(&socket);
            })
        };
        handlers::run(&self.0.failures, "middleware", begin, || Waits::begin(self, session, bytes));
    }

    /// Nothing speaks against it: the socket is in the namespace.
    fn accept(&self, socket: &Socket) {
        let Socket { namespace: nsp, id, .. } = socket;
        let Some((session, key)) = self.decided(socket, Membership::agree) else { return };
        let (apart, created) = {
            let state = &mut *self.0.state.borrow_mut();
            let Some(members) = state.namespaces.of_mut(nsp) else { return };
            let created = !members.rooms.has(id.as_str());
            members.rooms.add(key.member, *id);
            (members.apart.remove(id), created)
        };
        self.0.want_room(nsp, id.as_str());
        self.tell_joined(nsp, *id, id.as_str(), created);
        for room in apart.iter().flat_map(Apart::rooms) {
            self.join_room(nsp, *id, room);
        }
        self.0.engine.send(session, &self.0.parser.connect(&nsp.name, id.as_str()));
        if let Some(handler) = nsp.handlers().and_then(|handlers| handlers.connect.as_ref()) {
            self.call("connect", session, || handler(&ConnectCall { socket }));
        }
    }

    fn refuse(&self, socket: &Socket, error: ConnectError) {
        let Some((session, key)) = self.decided(socket, Membership::refuse) else { return };
        self.forget(key);
        let data = error.data.map(|data| data.to_string());
        self.0
            .engine
            .send(session, &self.0.parser.connect_error(&socket.namespace.name, &error.message, data.as_deref()));
    }

    /// Middleware has decided. `None` if that does not matter any more.
    fn decided(
        &self,
        socket: &Socket,
        decision: impl FnOnce(&mut Membership, SocketKey) -> bool,
    ) -> Option<(SessionKey, SocketKey)> {
        let state = &mut *self.0.state.borrow_mut();
        let members = state.namespaces.of(&socket.namespace)?;
        let member = members.apart.get(&socket.id)?.member;
        let session = members.sockets.get(member as usize)?.session;
        // It may have ended in this turn of the loop: then it is about to be told here.
        self.0.engine.transport(session)?;
        let key = SocketKey { namespace: socket.namespace.index(), member };
        decision(&mut state.sessions.get_mut(&session)?.membership, key).then_some((session, key))
    }

    /// Makes a socket leave its namespace, or its session end.
    pub(super) fn disconnect(&self, nsp: &Nsp, id: SocketId, close: bool) {
        let found = self.0.state.borrow().namespaces.of(nsp).and_then(|members| {
            let member = members.member(&id)?;
            Some((member, members.sockets.get(member as usize)?.session))
        });
        let Some((member, session)) = found else { return };
        let key = SocketKey { namespace: nsp.index(), member };
        self.with_membership(session, |membership, out| membership.disconnect(key, close, out));
    }

    /// A socket leaves its namespace.
    fn leave(&self, key: SocketKey, reason: Reason) {
        let Some(socket) = self.socket(key) else { return };
        let Some(session) = self.0.state.borrow().socket(key).map(|socket| socket.session) else { return };
        let Socket { namespace: nsp, id, .. } = &socket;
        let call = DisconnectCall { socket: &socket, reason: reason.as_str() };
        if let Some(handler) = nsp.handlers().and_then(|handlers| handlers.disconnecting.as_ref()) {
            self.call("disconnecting", session, || handler(&call));
        }
        self.leave_rooms(nsp, *id, key.member);
        if let Some(handler) = nsp.handlers().and_then(|handlers| handlers.disconnect.as_ref()) {
            self.call("disconnect", session, || handler(&call));
        }
        self.forget(key);
    }

    /// Calls a handler that nobody waits for. A client that comes and goes faster than its handlers is closed.
    fn call(&self, what: &'static str, session: SessionKey, handler: impl FnOnce() -> Result<Work, Rejection>) {
        let begin = || {
            handler().unwrap_or_else(|Rejection(error)| {
                self.0.failures.note_error(what, &error);
                Box::pin(std::future::ready(()))
            })
        };
        handlers::run(&self.0.failures, what, begin, || Waits::begin(self, session, 0));
    }

    fn leave_rooms(&self, nsp: &Rc<Nsp>, id: SocketId, member: Member) {
        let mut deleted: SmallVec<[String; 2]> = SmallVec::new();
        // All of them only if somebody wants to hear of them; in Node that of the own id is the first.
        let mut left = Vec::new();
        if let Some(members) = self.0.state.borrow_mut().namespaces.of_mut(nsp) {
            if nsp.handlers().is_some_and(|handlers| !handlers.rooms.is_empty()) {
                left = members.rooms.of(member).cloned().collect();
                left.insert(0, id.as_str().into());
            }
            members.rooms.remove(member, id, |room| deleted.push(room.to_owned()));
            members.apart.insert(id, Apart::leaving(member));
        }
        deleted.iter().filter(|room| *room != id.as_str()).for_each(|room| self.0.drop_room(nsp, room));
        self.0.drop_room(nsp, id.as_str());
        left.iter().for_each(|room| self.tell_left(nsp, id, room));
    }

    /// A socket that is in no room any more, or never was, is gone, and so is whatever waits for its answers.
    fn forget(&self, SocketKey { namespace, member }: SocketKey) {
        let last_of = {
            let state = &mut *self.0.state.borrow_mut();
            let Some(members) = state.namespaces.at_mut(namespace) else { return };
            if let Some(socket) = members.sockets.try_remove(member as usize) {
                members.apart.remove(&socket.id);
                members.waiting.left(socket.id);
            }
            members.sockets.is_empty().then(|| members.nsp.clone())
        };
        if let Some(nsp) = last_of {
            self.0.end_if_idle(&nsp);
        }
    }

    /// The address of a socket.
    pub(super) fn socket(&self, key: SocketKey) -> Option<Socket> {
        let state = self.0.state.borrow();
        let id = state.socket(key)?.id;
        Some(Socket { io: self.clone(), namespace: state.namespaces.at(key.namespace)?.nsp.clone(), id })
    }
}

/// A socket that middleware considers. Refused if that ends, by a panic, without a decision; nothing happens after one.
struct Undecided(Socket);

impl Drop for Undecided {
    fn drop(&mut self) {
        self.0.io.refuse(&self.0, ConnectError::new("internal error"));
    }
}
