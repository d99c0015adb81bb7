//! How a socket comes into its namespace, and how it leaves. The rules are in `protocol::membership`; here is what follows from
//! them for middleware, handlers, rooms and the client.
//!
//! ```text
//! CONNECT ─► apart ─ middleware agrees ─► in its rooms ─ disconnecting ─► apart ─ disconnect ─► gone
//!              └─ refused, or the session ends ─► gone
//! ```

use serde_json::Value;
use smallvec::SmallVec;

use super::{
    ConnectError, Io, Rejection, Socket, SocketId,
    apart::Apart,
    backlog::Waits,
    call::{ConnectCall, ConnectingCall, DisconnectCall},
    handler::Work,
    handlers,
    server::SocketState,
    socket::no_auth,
};
use crate::{
    engine::{CloseReason, SessionKey},
    protocol::{
        Encoded,
        membership::{Action, Actions, Cause, Member, Membership, NamespaceIndex, Reason, SocketKey},
    },
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
                    self.0.engine.send(session, &Encoded::disconnect(&self.0.declared(namespace).name));
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
        let Some(namespace) = self.0.namespace(nsp) else {
            return self.0.engine.send(session, &Encoded::connect_error(nsp, "Invalid namespace", None));
        };
        let mut random = [0; 15];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::error!(%error, "the system gives no random numbers");
            return self.with_membership(session, |membership, out| membership.close(Cause::NoRandomness, out));
        }
        let id = SocketId::new(random);
        let auth: Option<Value> = text.and_then(|auth| serde_json::from_str(auth).ok());
        let mut considered = false;
        let mut out = Actions::new();
        {
            let state = &mut *self.0.state.borrow_mut();
            let Some(known) = state.sessions.get_mut(&session) else { return };
            let members = &mut state.namespaces[usize::from(namespace)];
            let place = members.sockets.vacant_entry();
            let member = place.key() as Member;
            if known.membership.connect(SocketKey { namespace, member }, &mut out) {
                place.insert(SocketState { id, session, auth: auth.clone().map(Box::new), data: None });
                members.apart.insert(id, Apart::waiting(member));
                considered = true;
            }
        }
        self.act(session, out);
        if considered {
            let bytes = text.map_or(0, str::len);
            self.consider(session, Socket { io: self.clone(), namespace, id }, auth, bytes);
        }
    }

    /// Asks middleware, if there is some, which keeps so many `bytes` for as long as it waits.
    fn consider(&self, session: SessionKey, socket: Socket, auth: Option<Value>, bytes: usize) {
        let namespace = socket.namespace;
        if self.0.declared(namespace).handlers.middlewares.is_empty() {
            return self.accept(socket);
        }
        let io = self.clone();
        let undecided = Undecided(socket.clone());
        let begin = || -> Work {
            Box::pin(async move {
                let _undecided = undecided;
                let handlers = &io.0.declared(namespace).handlers;
                let auth = auth.unwrap_or_else(no_auth);
                for middleware in &handlers.middlewares {
                    let decision = match middleware(&ConnectingCall { socket: &socket, auth: &auth }) {
                        Ok(work) => work.await,
                        Err(Rejection(error)) => Err(error.into()),
                    };
                    if let Err(error) = decision {
                        return io.refuse(&socket, error);
                    }
                }
                io.accept(socket);
            })
        };
        handlers::run_with(&self.0.failures, "middleware", begin, || Waits::begin(self, session, bytes));
    }

    /// Nothing speaks against it: the socket is in the namespace.
    fn accept(&self, socket: Socket) {
        let Socket { namespace, id, .. } = socket;
        let Some((session, key)) = self.decided(&socket, Membership::agree) else { return };
        let (apart, created) = {
            let members = &mut self.0.state.borrow_mut().namespaces[usize::from(namespace)];
            let created = !members.rooms.has(id.as_str());
            members.rooms.add(key.member, id);
            (members.apart.remove(&id), created)
        };
        self.0.want_room(namespace, id.as_str());
        self.tell_joined(namespace, id, id.as_str(), created);
        for room in apart.iter().flat_map(Apart::rooms) {
            self.join_room(namespace, id, room);
        }
        let declared = self.0.declared(namespace);
        self.0.engine.send(session, &Encoded::connect(&declared.name, id.as_str()));
        if let Some(handler) = &declared.handlers.connect {
            self.call("connect", || handler(&ConnectCall { socket: &socket }));
        }
    }

    fn refuse(&self, socket: &Socket, error: ConnectError) {
        let Some((session, key)) = self.decided(socket, Membership::refuse) else { return };
        self.forget(key);
        let name = &self.0.declared(socket.namespace).name;
        let data = error.data.map(|data| data.to_string());
        self.0.engine.send(session, &Encoded::connect_error(name, &error.message, data.as_deref()));
    }

    /// Middleware has decided. `None` if that does not matter any more.
    fn decided(
        &self,
        socket: &Socket,
        decision: impl FnOnce(&mut Membership, SocketKey) -> bool,
    ) -> Option<(SessionKey, SocketKey)> {
        let state = &mut *self.0.state.borrow_mut();
        let members = &state.namespaces[usize::from(socket.namespace)];
        let member = members.apart.get(&socket.id)?.member;
        let session = members.sockets.get(member as usize)?.session;
        // It may have ended in this turn of the loop: then it is about to be told here.
        self.0.engine.transport(session)?;
        let key = SocketKey { namespace: socket.namespace, member };
        decision(&mut state.sessions.get_mut(&session)?.membership, key).then_some((session, key))
    }

    /// Makes a socket leave its namespace, or its session end.
    pub(super) fn disconnect(&self, namespace: NamespaceIndex, id: SocketId, close: bool) {
        let found = {
            let members = &self.0.state.borrow().namespaces[usize::from(namespace)];
            members.member(&id).and_then(|member| Some((member, members.sockets.get(member as usize)?.session)))
        };
        let Some((member, session)) = found else { return };
        let key = SocketKey { namespace, member };
        self.with_membership(session, |membership, out| membership.disconnect(key, close, out));
    }

    /// A socket leaves its namespace.
    fn leave(&self, key: SocketKey, reason: Reason) {
        let SocketKey { namespace, member } = key;
        let Some(id) = self.0.state.borrow().socket(key).map(|socket| socket.id) else { return };
        let (handlers, reason) = (&self.0.declared(namespace).handlers, reason.as_str());
        let socket = Socket { io: self.clone(), namespace, id };
        let call = DisconnectCall { socket: &socket, reason };
        if let Some(handler) = &handlers.disconnecting {
            self.call("disconnecting", || handler(&call));
        }
        self.leave_rooms(namespace, id, member);
        if let Some(handler) = &handlers.disconnect {
            self.call("disconnect", || handler(&call));
        }
        self.forget(key);
    }

    /// Calls a handler that nobody waits for.
    fn call(&self, what: &'static str, handler: impl FnOnce() -> Result<Work, Rejection>) {
        call_alone(self, what, handler);
    }

    fn leave_rooms(&self, namespace: NamespaceIndex, id: SocketId, member: Member) {
        let mut deleted: SmallVec<[String; 2]> = SmallVec::new();
        // All of them only if somebody wants to hear of them; in Node that of the own id is the first.
        let mut left = Vec::new();
        {
            let members = &mut self.0.state.borrow_mut().namespaces[usize::from(namespace)];
            if !self.0.declared(namespace).handlers.rooms.is_empty() {
                left = members.rooms.of(member).cloned().collect();
                left.insert(0, id.as_str().into());
            }
            members.rooms.remove(member, id, |room| deleted.push(room.to_owned()));
            members.apart.insert(id, Apart::leaving(member));
        }
        deleted.iter().filter(|room| *room != id.as_str()).for_each(|room| self.0.drop_room(namespace, room));
        self.0.drop_room(namespace, id.as_str());
        left.iter().for_each(|room| self.tell_left(namespace, id, room));
    }

    /// A socket that is in no room any more, or never was, is gone, and so is whatever waits for its answers.
    fn forget(&self, SocketKey { namespace, member }: SocketKey) {
        let members = &mut self.0.state.borrow_mut().namespaces[usize::from(namespace)];
        if let Some(socket) = members.sockets.try_remove(member as usize) {
            members.apart.remove(&socket.id);
            members.waiting.left(socket.id);
        }
    }
}

/// Calls a handler that nobody waits for.
pub(super) fn call_alone(io: &Io, what: &'static str, handler: impl FnOnce() -> Result<Work, Rejection>) {
    let begin = || {
        handler().unwrap_or_else(|Rejection(error)| {
            io.0.failures.note_error(what, &error);
            Box::pin(std::future::ready(()))
        })
    };
    handlers::run(&io.0.failures, what, begin);
}

/// A socket that middleware considers. Refused if that ends, by a panic, without a decision; nothing happens after one.
struct Undecided(Socket);

impl Drop for Undecided {
    fn drop(&mut self) {
        self.0.io.refuse(&self.0, ConnectError::new("internal error"));
    }
}
