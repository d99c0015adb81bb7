//! What servers ask each other through the adapter: asked here, and answered here (`wire.md` 4.3).

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use smallvec::SmallVec;
use std::time::Duration;
use tokio::sync::mpsc;

use super::{
    Io, ServerAck, SocketId,
    ack::{Answers, RequestError, Waiting},
    handlers,
    pending::{self, Pending},
    publish::names,
    server::{NamespaceIndex, SocketState, count},
};
use crate::{
    adapter::codec::{
        Flags, Packet, RemoteHandshake, RemoteSocket, Request, RequestBody, Response, ResponseBody, Room, Selector,
        WriteError, js_date, random_id,
    },
    engine::Handshake,
    protocol::{Data, EncodeError, PacketType},
};

/// How long this server goes on passing answers of its clients to a request that names no time.
const PASS_ANSWERS_FOR: Duration = Duration::from_secs(60);

impl Io {
    /// A request came from the bus.
    pub(super) fn requested(&self, namespace: NamespaceIndex, message: &Bytes) {
        let request = match Request::decode(message) {
            Ok(request) => request,
            Err(error) => {
                count(&self.0.counters.bus_malformed);
                return tracing::debug!(%error, "a request from the bus was not understood");
            }
        };
        let own = request.uid.as_deref() == Some(self.0.declared(namespace).uid.as_str());
        let asked_here = request
            .request_id
            .as_ref()
            .is_some_and(|id| self.0.state.borrow().namespaces[usize::from(namespace)].pending.contains_key(id));
        // What this server wants done it has done here already.
        if !own && !asked_here {
            self.carry_out(namespace, request);
        }
    }

    fn carry_out(&self, namespace: NamespaceIndex, request: Request) {
        let Request { request_id, body, .. } = request;
        let respond = |body| self.respond(namespace, request_id.as_deref(), body);
        match body {
            RequestBody::Sockets { rooms } => {
                let target = Selector { rooms, except: Vec::new() };
                let ids = self.selected(namespace, &target).iter().map(SocketId::to_string).collect();
                respond(ResponseBody::SocketIds(ids));
            }
            RequestBody::AllRooms => respond(ResponseBody::Rooms(self.all_rooms_here(namespace))),
            RequestBody::Join { target, rooms } => self.join_here(namespace, &target, &rooms),
            RequestBody::Leave { target, rooms } => self.leave_here(namespace, &target, &rooms),
            RequestBody::Disconnect { target, close } => self.disconnect_here(namespace, &target, close),
            RequestBody::JoinOne { sid, room } => {
                self.with_one(namespace, &sid, respond, |target| self.join_here(namespace, target, &[room]));
            }
            RequestBody::LeaveOne { sid, room } => {
                self.with_one(namespace, &sid, respond, |target| self.leave_here(namespace, target, &[room]));
            }
            RequestBody::DisconnectOne { sid, close } => {
                self.with_one(namespace, &sid, respond, |target| self.disconnect_here(namespace, target, close));
            }
            RequestBody::Fetch { target } => respond(ResponseBody::Sockets(self.fetch_here(namespace, &target))),
            RequestBody::ServerSideEmit { data } => self.server_event(namespace, request_id, &data),
            RequestBody::Broadcast { packet, target, flags } => {
                self.broadcast_for_another(namespace, request_id, &packet, &target, flags);
            }
        }
    }

    /// The old forms: about one socket, answered by the server that has it.
    fn with_one(
        &self,
        namespace: NamespaceIndex,
        sid: &str,
        respond: impl FnOnce(ResponseBody),
        act: impl FnOnce(&Selector),
    ) {
        let target = Selector { rooms: vec![Room::from(sid)], except: Vec::new() };
        let here = SocketId::parse(sid)
            .is_some_and(|id| self.0.state.borrow().namespaces[usize::from(namespace)].rooms.own(&id).is_some());
        if here {
            act(&target);
            respond(ResponseBody::Done);
        }
    }

    fn respond(&self, namespace: NamespaceIndex, request_id: Option<&str>, body: ResponseBody) {
        let (Some(request_id), Some(bus)) = (request_id, self.0.bus.get()) else { return };
        match (Response { request_id: request_id.to_owned(), body }).encode() {
            Ok(message) => bus.publish(self.0.declared(namespace).channels.response(), &message),
            Err(error) => return tracing::warn!(%error, "a request of another server stays without an answer"),
        }
        self.0.engine.schedule_flush();
    }

    /// A response came from the bus. Every server gets every response.
    pub(super) fn responded(&self, namespace: NamespaceIndex, message: &Bytes) {
        let members = &mut self.0.state.borrow_mut().namespaces[usize::from(namespace)];
        if members.pending.is_empty() {
            return;
        }
        match Response::decode(message) {
            Ok(response) => {
                if let Some(pending) = members.pending.get_mut(&response.request_id) {
                    pending.answer(response.body);
                }
            }
            Err(error) => {
                count(&self.0.counters.bus_malformed);
                tracing::debug!(%error, "a response from the bus was not understood");
            }
        }
    }

    fn server_event(&self, namespace: NamespaceIndex, request_id: Option<String>, data: &Data) {
        let Ok((name,)) = data.ack_args::<(String,)>() else { return count(&self.0.counters.bus_malformed) };
        let Some(handler) = self.0.declared(namespace).handlers.server_events.get(&name) else { return };
        let io = self.clone();
        let ack = ServerAck(request_id.map(|id| -> Box<dyn FnOnce(Option<Data>)> {
            Box::new(move |answer| io.respond(namespace, Some(&id), ResponseBody::ServerSideEmit(answer)))
        }));
        handlers::run(&self.0.panics, &name, || match handler(self.clone(), data, ack) {
            Ok(work) => work,
            Err(error) => {
                count(&self.0.counters.bad_events);
                tracing::debug!(%error, event = name, "an event of another server is of the wrong shape");
                Box::pin(std::future::ready(()))
            }
        });
    }

    /// Another server's broadcast whose answers it wants: first how many clients get it here, then each answer.
    fn broadcast_for_another(
        &self,
        namespace: NamespaceIndex,
        request_id: Option<String>,
        packet: &Packet,
        target: &Selector,
        flags: Flags,
    ) {
        let (clients, mut answers) = self.deliver_with_ack(namespace, packet, target, flags);
        self.respond(namespace, request_id.as_deref(), ResponseBody::ClientCount(clients as u64));
        let within = flags.timeout_ms.map_or(PASS_ANSWERS_FOR, Duration::from_millis);
        let (io, deadline) = (self.clone(), pending::deadline(within));
        if clients > 0 {
            tokio::task::spawn_local(async move {
                while let Some(answer) = pending::next(&mut answers, deadline).await {
                    io.respond(namespace, request_id.as_deref(), ResponseBody::Ack(answer));
                }
            });
        }
    }

    /// Sends a packet to the sockets here under a new number; how many there are, and where their answers come out.
    fn deliver_with_ack(
        &self,
        namespace: NamespaceIndex,
        packet: &Packet,
        target: &Selector,
        flags: Flags,
    ) -> (usize, mpsc::UnboundedReceiver<Option<Data>>) {
        let ids = self.selected(namespace, target);
        let (sender, answers) = mpsc::unbounded_channel();
        let ack = {
            let members = &mut self.0.state.borrow_mut().namespaces[usize::from(namespace)];
            let ack = members.next_ack;
            members.next_ack += 1;
            if !ids.is_empty() {
                members.waiting.insert(ack, Waiting::Many(ids.iter().copied().collect(), sender));
            }
            ack
        };
        if let Some((rooms, except)) = names(target) {
            self.0.deliver(namespace, &rooms, &except, flags.volatile, &packet.encode(Some(ack)));
        }
        (ids.len(), answers)
    }

    /// The ids of the sockets here that a selector means.
    fn selected(&self, namespace: NamespaceIndex, target: &Selector) -> SmallVec<[SocketId; 4]> {
        let state = self.0.state.borrow();
        let members = &state.namespaces[usize::from(namespace)];
        let Some((rooms, except)) = names(target) else { return SmallVec::new() };
        members.rooms.select(&rooms, &except).map(|member| members.sockets[member as usize].id).collect()
    }

    fn join_here(&self, namespace: NamespaceIndex, target: &Selector, rooms: &[Room]) {
        for id in self.selected(namespace, target) {
            for room in rooms.iter().filter_map(Room::text) {
                // Refused ones are in the log.
                let _ = self.0.join(namespace, id, room);
            }
        }
    }

    fn leave_here(&self, namespace: NamespaceIndex, target: &Selector, rooms: &[Room]) {
        for id in self.selected(namespace, target) {
            rooms.iter().filter_map(Room::text).for_each(|room| self.0.leave_room(namespace, id, room));
        }
    }

    fn disconnect_here(&self, namespace: NamespaceIndex, target: &Selector, close: bool) {
        for id in self.selected(namespace, target) {
            self.disconnect(namespace, id, close);
        }
    }

    fn all_rooms_here(&self, namespace: NamespaceIndex) -> Vec<Room> {
        let state = self.0.state.borrow();
        let members = &state.namespaces[usize::from(namespace)];
        let own = members.rooms.select::<&str>(&[], &[]).map(|member| members.sockets[member as usize].id.to_string());
        members.rooms.names().map(|name| Room::from(&**name)).chain(own.map(Room::from)).collect()
    }

    fn fetch_here(&self, namespace: NamespaceIndex, target: &Selector) -> Vec<RemoteSocket> {
        let state = self.0.state.borrow();
        let members = &state.namespaces[usize::from(namespace)];
        let Some((rooms, except)) = names(target) else { return Vec::new() };
        let told = |member| {
            let socket: &SocketState = members.sockets.get(member as usize)?;
            let session = state.sessions.get(&socket.session)?;
            let rooms = members.rooms.of(member).map(|room| Room::from(&**room));
            Some(RemoteSocket {
                id: socket.id.to_string(),
                handshake: handshake(&session.handshake, socket.auth.as_deref()),
                rooms: std::iter::once(Room::from(socket.id.as_str())).chain(rooms).collect(),
                data: socket.data.as_deref().and_then(|data| Data::value(data).ok()).unwrap_or_else(no_data),
            })
        };
        members.rooms.select(&rooms, &except).filter_map(told).collect()
    }

    /// See [`super::Broadcast::sockets_join`].
    pub(super) fn sockets_join(
        &self,
        namespace: NamespaceIndex,
        target: Selector,
        rooms: &[Room],
        local: bool,
    ) -> Result<(), WriteError> {
        self.join_here(namespace, &target, rooms);
        self.order(namespace, RequestBody::Join { target, rooms: rooms.to_vec() }, local)
    }

    /// See [`super::Broadcast::sockets_leave`].
    pub(super) fn sockets_leave(
        &self,
        namespace: NamespaceIndex,
        target: Selector,
        rooms: &[Room],
        local: bool,
    ) -> Result<(), WriteError> {
        self.leave_here(namespace, &target, rooms);
        self.order(namespace, RequestBody::Leave { target, rooms: rooms.to_vec() }, local)
    }

    /// See [`super::Broadcast::disconnect_sockets`].
    pub(super) fn disconnect_sockets(
        &self,
        namespace: NamespaceIndex,
        target: Selector,
        close: bool,
        local: bool,
    ) -> Result<(), WriteError> {
        // First elsewhere: a handler that runs here may change who is meant.
        let result = self.order(namespace, RequestBody::Disconnect { target: target.clone(), close }, local);
        self.disconnect_here(namespace, &target, close);
        result
    }

    /// Publishes what needs no answer.
    fn order(&self, namespace: NamespaceIndex, body: RequestBody, local: bool) -> Result<(), WriteError> {
        if !local {
            self.publish_request(namespace, None, body)?;
        }
        Ok(())
    }

    fn publish_request(
        &self,
        namespace: NamespaceIndex,
        request_id: Option<String>,
        body: RequestBody,
    ) -> Result<(), WriteError> {
        let declared = self.0.declared(namespace);
        let message = Request { uid: Some(declared.uid.clone()), request_id, body }.encode()?;
        if let Some(bus) = self.0.bus.get() {
            bus.publish(declared.channels.request(), &message);
            self.0.engine.schedule_flush();
        }
        Ok(())
    }

    /// How many servers there are, this one among them.
    async fn count_servers(&self, namespace: NamespaceIndex, local: bool) -> Result<usize, crate::bus::BusError> {
        let asked = match self.0.bus.get().filter(|_| !local) {
            Some(bus) => bus.count_subscribers(self.0.declared(namespace).channels.request()),
            None => return Ok(1),
        };
        self.0.engine.schedule_flush();
        Ok(usize::try_from(asked.await?).unwrap_or(usize::MAX).max(1))
    }

    /// Asks the other servers something, under a new id.
    fn ask(&self, namespace: NamespaceIndex, body: RequestBody) -> Result<Asked, WriteError> {
        let id = random_id(&mut self.0.rng.borrow_mut());
        let (pending, answers) = Pending::new();
        self.0.state.borrow_mut().namespaces[usize::from(namespace)].pending.insert(id.clone(), pending);
        let asked = Asked { io: self.clone(), namespace, id: id.clone(), answers };
        self.publish_request(namespace, Some(id), body)?;
        Ok(asked)
    }

    /// See [`super::Broadcast::fetch_sockets`].
    pub(super) async fn fetch_sockets(
        &self,
        namespace: NamespaceIndex,
        target: Selector,
        local: bool,
        within: Duration,
    ) -> Result<Answers<RemoteSocket>, RequestError<RemoteSocket>> {
        let deadline = pending::deadline(within);
        let servers = self.count_servers(namespace, local).await?;
        let mut found = self.fetch_here(namespace, &target);
        let mut missing = servers - 1;
        if missing > 0 {
            let mut asked = self.ask(namespace, RequestBody::Fetch { target })?;
            while missing > 0 {
                match pending::next(&mut asked.answers, deadline).await {
                    Some(ResponseBody::Sockets(sockets)) => {
                        found.extend(sockets);
                        missing -= 1;
                    }
                    Some(_other_kind) => {}
                    None => {
                        let partial = Answers { answers: found, expected: servers };
                        return Err(RequestError::Timeout { within, partial });
                    }
                }
            }
        }
        Ok(Answers { answers: found, expected: servers })
    }

    /// See [`Namespaced::all_rooms`].
    async fn all_rooms(
        &self,
        namespace: NamespaceIndex,
        within: Duration,
    ) -> Result<Answers<String>, RequestError<String>> {
        let deadline = pending::deadline(within);
        let servers = self.count_servers(namespace, false).await?;
        let text = |room: Room| room.text().map(str::to_owned);
        let mut found: Vec<String> = self.all_rooms_here(namespace).into_iter().filter_map(text).collect();
        let mut missing = servers - 1;
        if missing > 0 {
            let mut asked = self.ask(namespace, RequestBody::AllRooms)?;
            while missing > 0 {
                match pending::next(&mut asked.answers, deadline).await {
                    Some(ResponseBody::Rooms(rooms)) => {
                        found.extend(rooms.into_iter().filter_map(text));
                        missing -= 1;
                    }
                    Some(_other_kind) => {}
                    None => {
                        let partial = Answers { answers: found, expected: servers };
                        return Err(RequestError::Timeout { within, partial });
                    }
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(Answers { answers: found, expected: servers })
    }

    /// See [`super::Broadcast::emit_with_ack`].
    pub(super) async fn broadcast_with_ack(
        &self,
        namespace: NamespaceIndex,
        target: Selector,
        mut flags: Flags,
        local: bool,
        data: Data,
        within: Duration,
    ) -> Result<Answers<Option<Data>>, RequestError<Option<Data>>> {
        let deadline = pending::deadline(within);
        flags.timeout_ms = Some(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let nsp = self.0.declared(namespace).name.to_string();
        let packet = Packet { kind: PacketType::Event, nsp, id: None, data: Some(data) };
        let (mut expected, mut here) = self.deliver_with_ack(namespace, &packet, &target, flags);
        // The clients here have it already, whether or not the bus can be asked.
        let mut missing_servers = self.count_servers(namespace, local).await? - 1;
        let mut asked = match missing_servers {
            0 => None,
            _ => Some(self.ask(namespace, RequestBody::Broadcast { packet, target, flags })?),
        };
        let mut answers = Vec::new();
        while missing_servers > 0 || answers.len() < expected {
            let elsewhere = async {
                match &mut asked {
                    Some(asked) => asked.answers.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(answer) = here.recv() => answers.push(answer),
                Some(body) = elsewhere => match body {
                    ResponseBody::ClientCount(clients) => {
                        expected = expected.saturating_add(usize::try_from(clients).unwrap_or(usize::MAX));
                        missing_servers = missing_servers.saturating_sub(1);
                    }
                    ResponseBody::Ack(answer) => answers.push(answer),
                    _other_kind => {}
                },
                () = tokio::time::sleep_until(deadline) => {
                    return Err(RequestError::Timeout { within, partial: Answers { answers, expected } });
                }
            }
        }
        Ok(Answers { answers, expected })
    }

    async fn server_side_emit_with_ack(
        &self,
        namespace: NamespaceIndex,
        data: Data,
        within: Duration,
    ) -> Result<Answers<Option<Data>>, RequestError<Option<Data>>> {
        let deadline = pending::deadline(within);
        let expected = self.count_servers(namespace, false).await? - 1;
        let mut answers = Vec::new();
        if expected > 0 {
            let mut asked = self.ask(namespace, RequestBody::ServerSideEmit { data })?;
            while answers.len() < expected {
                match pending::next(&mut asked.answers, deadline).await {
                    Some(ResponseBody::ServerSideEmit(answer)) => answers.push(answer),
                    Some(_other_kind) => {}
                    None => return Err(RequestError::Timeout { within, partial: Answers { answers, expected } }),
                }
            }
        }
        Ok(Answers { answers, expected })
    }
}

/// A namespace in the whole cluster, for what concerns no single socket.
pub struct Namespaced<'a> {
    io: &'a Io,
    namespace: NamespaceIndex,
}

impl<'a> Namespaced<'a> {
    pub(super) fn new(io: &'a Io, namespace: NamespaceIndex) -> Self {
        Namespaced { io, namespace }
    }

    /// To the sockets that are selected next.
    pub fn sockets(&self) -> super::Broadcast<'a> {
        super::Broadcast::new(self.io, self.namespace)
    }

    /// The rooms of all servers, those of sockets' own ids among them, each once.
    ///
    /// # Errors
    /// Where not all servers answer in time: then with what those did that answered.
    pub async fn all_rooms(&self) -> Result<Answers<String>, RequestError<String>> {
        self.io.all_rooms(self.namespace, super::broadcast::REQUESTS_TIMEOUT).await
    }

    /// Sends an event to the other servers of the cluster, not to clients.
    ///
    /// # Errors
    /// Where a value has no JSON form, or the name may not be sent.
    pub fn server_side_emit(&self, event: &str, args: impl Serialize) -> Result<(), ServerEmitError> {
        let data = Data::event(event, &args)?;
        Ok(self.io.publish_request(self.namespace, None, RequestBody::ServerSideEmit { data })?)
    }

    /// Sends an event to the other servers, and waits for an answer of each.
    ///
    /// # Errors
    /// Where a value has no JSON form, or not all servers answer in time: then with the answers that came.
    pub async fn server_side_emit_with_ack(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> Result<Answers<Option<Data>>, RequestError<Option<Data>>> {
        let data = Data::event(event, &args)?;
        self.io.server_side_emit_with_ack(self.namespace, data, super::broadcast::REQUESTS_TIMEOUT).await
    }
}

/// Why an event was not sent to the other servers.
#[derive(Debug, thiserror::Error)]
pub enum ServerEmitError {
    /// A value has no JSON form.
    #[error("write the event")]
    Encode(#[from] EncodeError),
    /// The adapter's format does not allow it.
    #[error("write the event")]
    Write(#[from] WriteError),
}

/// A request under way. Dropped, it no longer takes answers.
struct Asked {
    io: Io,
    namespace: NamespaceIndex,
    id: String,
    answers: mpsc::UnboundedReceiver<ResponseBody>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.io.0.state.borrow_mut().namespaces[usize::from(self.namespace)].pending.remove(&self.id);
    }
}

fn no_data() -> Data {
    Data::checked("{}".to_owned(), Vec::new())
}

/// A handshake as servers tell each other.
fn handshake(request: &Handshake, auth: Option<&Value>) -> RemoteHandshake {
    let headers = request.headers().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let query = form_urlencoded::parse(request.query().as_bytes());
    let address = match request.peer {
        roomd_wire::PeerAddress::Ip(ip, _) => ip.to_string(),
        roomd_wire::PeerAddress::Unix => String::new(),
    };
    RemoteHandshake {
        headers,
        time: js_date(request.issued_ms),
        address,
        xdomain: request.header("origin").is_some(),
        secure: false,
        issued: request.issued_ms,
        url: request.url.to_string(),
        query: query.map(|(key, value)| (key.into_owned(), Value::from(value.into_owned()))).collect::<Map<_, _>>(),
        auth: auth.and_then(Value::as_object).cloned().unwrap_or_default(),
    }
}
