//! How a socket comes into its namespace, and how it leaves.
//!
//! ```text
//! CONNECT ─► apart ─ middleware agrees ─► in its own room ─ disconnecting ─► apart ─ disconnect ─► gone
//!              └─ refused, or the client leaves ─► gone
//! ```

use serde_json::Value;
use smallvec::SmallVec;

use super::{
    ConnectError, Connecting, Io, Socket, SocketId, handlers,
    rooms::Member,
    server::{NamespaceIndex, SocketState},
};
use crate::{
    engine::{CloseReason, SessionKey},
    protocol::Encoded,
};

impl Io {
    /// A client asks to join a namespace.
    pub(super) fn connect(&self, key: SessionKey, nsp: &str, auth: Option<&str>) {
        let Some(namespace) = self.0.namespace(nsp) else {
            return self.0.engine.send(key, &Encoded::connect_error(nsp, "Invalid namespace", None));
        };
        let mut random = [0; 15];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::error!(%error, "the system gives no random numbers");
            return self.0.engine.close(key, CloseReason::ForcedClose);
        }
        let id = SocketId::new(random);
        let auth: Option<Value> = auth.and_then(|auth| serde_json::from_str(auth).ok());
        {
            let state = &mut *self.0.state.borrow_mut();
            let Some(session) = state.sessions.get_mut(&key) else { return };
            if session.sockets.iter().any(|(joined, _)| *joined == namespace) {
                // Neither is a second time in a namespace, as in the official server.
                return self.0.engine.close(key, CloseReason::ForcedClose);
            }
            let members = &mut state.namespaces[usize::from(namespace)];
            let socket = SocketState { id, session: key, auth: auth.clone().map(Box::new), data: None };
            let member = members.sockets.insert(socket) as Member;
            members.apart.insert(id, member);
            session.sockets.push((namespace, member));
        }
        let socket = Socket { io: self.clone(), namespace, id };
        if self.0.declared(namespace).handlers.middlewares.is_empty() {
            return self.accept(socket);
        }
        let io = self.clone();
        let undecided = Undecided(socket.clone());
        handlers::run(&self.0.panics, "middleware", || {
            Box::pin(async move {
                let _undecided = undecided;
                let handlers = &io.0.declared(namespace).handlers;
                for middleware in &handlers.middlewares {
                    let connecting = Connecting { socket: socket.clone(), auth: auth.clone().unwrap_or_default() };
                    if let Err(error) = middleware(connecting).await {
                        return io.refuse(&socket, error);
                    }
                }
                io.accept(socket);
            })
        });
    }

    /// Nothing speaks against it: the socket is in the namespace.
    fn accept(&self, socket: Socket) {
        let Socket { namespace, id, .. } = socket;
        let session = {
            let state = &mut *self.0.state.borrow_mut();
            let members = &mut state.namespaces[usize::from(namespace)];
            // The client may have gone while middleware considered.
            let Some(member) = members.apart.remove(&id) else { return };
            members.rooms.add(member, id);
            members.sockets[member as usize].session
        };
        self.0.want_room(namespace, id.as_str());
        self.0.engine.joined(session);
        let declared = self.0.declared(namespace);
        self.0.engine.send(session, &Encoded::connect(&declared.name, id.as_str()));
        if let Some(handler) = &declared.handlers.connect {
            handlers::run(&self.0.panics, "connect", || handler(socket));
        }
    }

    fn refuse(&self, socket: &Socket, error: ConnectError) {
        let state = &mut *self.0.state.borrow_mut();
        let members = &mut state.namespaces[usize::from(socket.namespace)];
        let Some(member) = members.apart.remove(&socket.id) else { return };
        let key = members.sockets.remove(member as usize).session;
        if let Some(session) = state.sessions.get_mut(&key) {
            session.sockets.retain(|(namespace, _)| *namespace != socket.namespace);
        }
        let name = &self.0.declared(socket.namespace).name;
        let data = error.data.map(|data| data.to_string());
        self.0.engine.send(key, &Encoded::connect_error(name, &error.message, data.as_deref()));
    }

    /// A socket leaves its namespace: the handlers, its rooms, and what waits for its answers.
    pub(super) fn leave(&self, key: SessionKey, namespace: NamespaceIndex, id: SocketId, reason: &'static str) {
        {
            let mut state = self.0.state.borrow_mut();
            let Some(session) = state.sessions.get_mut(&key) else { return };
            let before = session.sockets.len();
            session.sockets.retain(|(joined, _)| *joined != namespace);
            if session.sockets.len() == before {
                return;
            }
        }
        let declared = self.0.declared(namespace);
        let socket = Socket { io: self.clone(), namespace, id };
        let was_in = self.0.state.borrow().namespaces[usize::from(namespace)].rooms.own(&id).is_some();
        if let Some(handler) = declared.handlers.disconnecting.as_ref().filter(|_| was_in) {
            handlers::run(&self.0.panics, "disconnecting", || handler(socket.clone(), reason));
        }
        self.leave_rooms(namespace, id);
        if let Some(handler) = declared.handlers.disconnect.as_ref().filter(|_| was_in) {
            handlers::run(&self.0.panics, "disconnect", || handler(socket, reason));
        }
        let members = &mut self.0.state.borrow_mut().namespaces[usize::from(namespace)];
        if let Some(member) = members.apart.remove(&id) {
            members.sockets.remove(member as usize);
        }
    }

    fn leave_rooms(&self, namespace: NamespaceIndex, id: SocketId) {
        let mut deleted: SmallVec<[String; 2]> = SmallVec::new();
        {
            let members = &mut self.0.state.borrow_mut().namespaces[usize::from(namespace)];
            let Some(member) = members.rooms.own(&id) else { return };
            members.rooms.remove(member, id, |room| deleted.push(room.to_owned()));
            members.apart.insert(id, member);
            members.waiting.left(id);
        }
        deleted.iter().filter(|room| *room != id.as_str()).for_each(|room| self.0.drop_room(namespace, room));
        self.0.drop_room(namespace, id.as_str());
    }
}

/// A socket that middleware considers. Refused if that ends, by a panic, without a decision; nothing happens after one.
struct Undecided(Socket);

impl Drop for Undecided {
    fn drop(&mut self) {
        self.0.io.refuse(&self.0, ConnectError::new("internal error"));
    }
}
