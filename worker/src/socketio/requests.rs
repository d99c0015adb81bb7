//! What other servers ask and order through the adapter, and the answers (`wire.md` 4.3).

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::Bytes;
use serde_json::{Map, Value};
use smallvec::SmallVec;
use tokio::sync::mpsc;

use super::{
    Io, ServerAck, SocketId,
    ack::Awaited,
    call::ServerSideCall,
    handlers,
    namespaces::Nsp,
    pending,
    publish::names,
    server::{SocketState, count},
    waiting::Waiting,
};
use crate::{
    adapter::codec::{
        self, Flags, Packet, RemoteHandshake, Request, RequestBody, Response, ResponseBody, Room, Selector, WriteError,
    },
    engine::Handshake,
    protocol::Data,
};

/// How long this server goes on passing answers of its clients to a request that names no time.
const PASS_ANSWERS_FOR: Duration = Duration::from_secs(60);

/// The same for a request that names a long time: whoever sends many of them must not fill the memory here.
const MAX_PASS_ANSWERS_FOR: Duration = Duration::from_secs(600);

/// How many requests of others can wait for clients' answers at once, for the same reason.
pub(super) const MAX_PASSED_REQUESTS: usize = 1000;

/// How many handlers of other servers' events can wait at once. Further events are dropped: whoever wants an answer gets none from
/// here.
pub(super) const MAX_SERVER_EVENTS: usize = 10_000;

/// The same in bytes of the events, which their handlers keep.
pub(super) const MAX_SERVER_EVENT_BYTES: usize = 256 << 20;

/// Answers of this server's own clients to a broadcast.
pub(super) struct Here {
    answers: mpsc::UnboundedReceiver<Option<Data>>,
    _awaited: Awaited,
}

impl Here {
    /// The next client's answer; `None` when none can come any more.
    pub(super) async fn next(&mut self) -> Option<Option<Data>> {
        self.answers.recv().await
    }
}

impl Io {
    /// A request came from the bus.
    pub(super) fn requested(&self, nsp: &Rc<Nsp>, message: &Bytes) {
        let request = match Request::decode(message) {
            Ok(request) => request,
            Err(error) => {
                count(&self.0.counters.bus_malformed);
                return tracing::debug!(%error, "a request from the bus was not understood");
            }
        };
        let own = request.uid.as_deref() == Some(&*nsp.uid);
        let asked_here = request.request_id.as_ref().is_some_and(|id| {
            let state = self.0.state.borrow();
            state.namespaces.of(nsp).is_some_and(|members| members.pending.contains_key(id))
        });
        // What this server wants done it has done here already.
        if !own && !asked_here {
            self.carry_out(nsp, request);
        }
    }

    /// Does what another server asks, or this one wants done here too.
    pub(super) fn carry_out(&self, nsp: &Rc<Nsp>, request: Request) {
        let Request { request_id, body, .. } = request;
        let respond = |body| self.respond(nsp, request_id.as_deref(), body);
        match body {
            RequestBody::Sockets { rooms } => {
                let target = Selector { rooms, except: Vec::new() };
                let ids = self.selected(nsp, &target).iter().map(SocketId::to_string).collect();
                respond(ResponseBody::SocketIds(ids));
            }
            RequestBody::AllRooms => respond(ResponseBody::Rooms(self.all_rooms_here(nsp))),
            RequestBody::Join { target, rooms } => self.join_here(nsp, &target, &rooms),
            RequestBody::Leave { target, rooms } => self.leave_here(nsp, &target, &rooms),
            RequestBody::Disconnect { target, close } => self.disconnect_here(nsp, &target, close),
            RequestBody::JoinOne { sid, room } => {
                self.with_one(nsp, &sid, respond, |target| self.join_here(nsp, target, &[room]));
            }
            RequestBody::LeaveOne { sid, room } => {
                self.with_one(nsp, &sid, respond, |target| self.leave_here(nsp, target, &[room]));
            }
            RequestBody::DisconnectOne { sid, close } => {
                self.with_one(nsp, &sid, respond, |target| self.disconnect_here(nsp, target, close));
            }
            RequestBody::Fetch { target } => respond(ResponseBody::Sockets(self.fetch_here(nsp, &target))),
            RequestBody::ServerSideEmit { data } => self.server_event(nsp, request_id, &data),
            RequestBody::Broadcast { packet, target, flags } => match packet.into_event(self.0.parser) {
                Some(packet) => self.broadcast_for_another(nsp, request_id, &packet, &target, flags),
                None => count(&self.0.counters.bus_malformed),
            },
        }
    }

    /// The old forms: about one socket, answered by the server that has it.
    fn with_one(&self, nsp: &Rc<Nsp>, sid: &str, respond: impl FnOnce(ResponseBody), act: impl FnOnce(&Selector)) {
        let target = Selector { rooms: vec![Room::from(sid)], except: Vec::new() };
        let here = SocketId::parse(sid).is_some_and(|id| {
            let state = self.0.state.borrow();
            state.namespaces.of(nsp).is_some_and(|members| members.rooms.own(&id).is_some())
        });
        if here {
            act(&target);
            respond(ResponseBody::Done);
        }
    }

    fn respond(&self, nsp: &Rc<Nsp>, request_id: Option<&str>, body: ResponseBody) {
        if let Err(error) = self.try_respond(nsp, request_id, body) {
            unanswered(&error);
        }
    }

    /// Publishes an answer. Where it is too long, whoever asked is told that, as far as it understands.
    fn try_respond(&self, nsp: &Rc<Nsp>, request_id: Option<&str>, body: ResponseBody) -> Result<(), WriteError> {
        let (Some(request_id), Some(bus)) = (request_id, self.0.bus.get()) else { return Ok(()) };
        let from = Some(self.0.name_on_bus(nsp));
        let encode = |body| Response { request_id: request_id.to_owned(), from: from.clone(), body }.encode();
        let answer = encode(body);
        let message = match &answer {
            Ok(message) => message,
            Err(WriteError::TooLong(bytes)) => &encode(ResponseBody::TooLong { bytes: *bytes as u64 })?,
            Err(_) => return answer.map(drop),
        };
        bus.publish(nsp.channels.response(), message);
        self.0.engine.schedule_flush();
        answer.map(drop)
    }

    /// A response came from the bus. Every server gets every response.
    pub(super) fn responded(&self, nsp: &Rc<Nsp>, message: &Bytes) {
        let state = &mut *self.0.state.borrow_mut();
        let Some(members) = state.namespaces.of_mut(nsp).filter(|members| !members.pending.is_empty()) else { return };
        match Response::decode(message) {
            Ok(response) => {
                if let Some(pending) = members.pending.get_mut(&response.request_id) {
                    pending.answer(response, message.len());
                }
            }
            Err(error) => {
                count(&self.0.counters.bus_malformed);
                tracing::debug!(%error, "a response from the bus was not understood");
            }
        }
    }

    fn server_event(&self, nsp: &Rc<Nsp>, request_id: Option<String>, data: &Data) {
        let Ok((name,)) = data.ack_args::<(String,)>() else { return count(&self.0.counters.bus_malformed) };
        let handler = nsp.handlers().and_then(|handlers| handlers.server_events.get(&name));
        let Some(handler) = handler else { return };
        let Some(place) = self.0.server_events.enter(data.bytes()) else { return };
        let (io, here) = (self.clone(), nsp.clone());
        let ack = ServerAck(request_id.map(|id| -> Box<dyn FnOnce(Option<Data>)> {
            Box::new(move |answer| io.respond(&here, Some(&id), ResponseBody::ServerSideEmit(answer)))
        }));
        let call = ServerSideCall { io: self, data, ack: Cell::new(Some(ack)) };
        let begin = || {
            handler(&call).unwrap_or_else(|error| {
                count(&self.0.counters.bad_events);
                tracing::debug!(%error, event = name, "an event of another server is of the wrong shape");
                Box::pin(std::future::ready(()))
            })
        };
        handlers::run(&self.0.failures, &name, begin, || place);
    }

    /// Another server's broadcast whose answers it wants: first how many clients get it here, then each answer.
    fn broadcast_for_another(
        &self,
        nsp: &Rc<Nsp>,
        request_id: Option<String>,
        packet: &Packet,
        target: &Selector,
        flags: Flags,
    ) {
        let Some(place) = self.0.passing.enter(0) else {
            // Whoever asks gets no answer from here, and learns it when its time is over.
            if let Some((rooms, except)) = names(target) {
                let packet = packet.encode(self.0.parser, None).compress(flags.may_compress());
                self.deliver(nsp, &rooms, &except, flags.volatile, &packet);
            }
            return;
        };
        let (clients, mut here) = self.deliver_with_ack(nsp, packet, target, flags);
        self.respond(nsp, request_id.as_deref(), ResponseBody::ClientCount(clients as u64));
        if clients == 0 {
            return;
        }
        let within = flags.timeout_ms.map_or(PASS_ANSWERS_FOR, Duration::from_millis).min(MAX_PASS_ANSWERS_FOR);
        let (io, nsp, deadline) = (self.clone(), nsp.clone(), pending::deadline(within));
        tokio::task::spawn_local(async move {
            let (_place, mut told) = (place, false);
            while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, here.next()).await {
                let passed = io.try_respond(&nsp, request_id.as_deref(), ResponseBody::Ack(answer));
                if let Err(error) = passed
                    && !std::mem::replace(&mut told, true)
                {
                    unanswered(&error);
                }
            }
        });
    }

    /// Sends a packet to the sockets here under a new number; how many there are, and where their answers come out.
    pub(super) fn deliver_with_ack(
        &self,
        nsp: &Rc<Nsp>,
        packet: &Packet,
        target: &Selector,
        flags: Flags,
    ) -> (usize, Here) {
        let ids = self.selected(nsp, target);
        let (question, answers) = match self.0.state.borrow_mut().namespaces.of_mut(nsp) {
            Some(members) => members.waiting.ask_many(ids.iter().copied()),
            None => Waiting::default().ask_many([]),
        };
        if let Some((rooms, except)) = names(target) {
            let packet = packet.encode(self.0.parser, Some(question.number)).compress(flags.may_compress());
            self.deliver(nsp, &rooms, &except, flags.volatile, &packet);
        }
        (ids.len(), Here { answers, _awaited: Awaited { io: self.clone(), namespace: nsp.clone(), question } })
    }

    /// The ids of the sockets here that a selector means.
    fn selected(&self, nsp: &Rc<Nsp>, target: &Selector) -> SmallVec<[SocketId; 4]> {
        let state = self.0.state.borrow();
        let Some(members) = state.namespaces.of(nsp) else { return SmallVec::new() };
        let Some((rooms, except)) = names(target) else { return SmallVec::new() };
        members.rooms.select(&rooms, &except).map(|member| members.sockets[member as usize].id).collect()
    }

    fn join_here(&self, nsp: &Rc<Nsp>, target: &Selector, rooms: &[Room]) {
        for id in self.selected(nsp, target) {
            for room in rooms.iter().filter_map(Room::name) {
                // Refused ones are in the log.
                let _ = self.join_room(nsp, id, room);
            }
        }
    }

    fn leave_here(&self, nsp: &Rc<Nsp>, target: &Selector, rooms: &[Room]) {
        for id in self.selected(nsp, target) {
            rooms.iter().filter_map(Room::name).for_each(|room| self.leave_room(nsp, id, room));
        }
    }

    fn disconnect_here(&self, nsp: &Rc<Nsp>, target: &Selector, close: bool) {
        for id in self.selected(nsp, target) {
            self.disconnect(nsp, id, close);
        }
    }

    pub(super) fn all_rooms_here(&self, nsp: &Rc<Nsp>) -> Vec<Room> {
        let state = self.0.state.borrow();
        let Some(members) = state.namespaces.of(nsp) else { return Vec::new() };
        let own = members.rooms.select::<&str>(&[], &[]).map(|member| members.sockets[member as usize].id.to_string());
        members.rooms.names().map(|name| Room::from(&**name)).chain(own.map(Room::from)).collect()
    }

    pub(super) fn fetch_here(&self, nsp: &Rc<Nsp>, target: &Selector) -> Vec<codec::RemoteSocket> {
        let state = self.0.state.borrow();
        let Some(members) = state.namespaces.of(nsp) else { return Vec::new() };
        let Some((rooms, except)) = names(target) else { return Vec::new() };
        let told = |member| {
            let socket: &SocketState = members.sockets.get(member as usize)?;
            let session = state.sessions.get(&socket.session)?;
            let rooms = members.rooms.of(member).map(|room| Room::from(&**room));
            Some(codec::RemoteSocket {
                id: socket.id.to_string(),
                handshake: handshake(&session.handshake, socket.auth.as_deref()),
                rooms: std::iter::once(Room::from(socket.id.as_str())).chain(rooms).collect(),
                data: socket.data.as_deref().and_then(|data| Data::value(data).ok()).unwrap_or_else(no_data),
            })
        };
        members.rooms.select(&rooms, &except).filter_map(told).collect()
    }
}

/// Tells the log, once for a request.
fn unanswered(error: &WriteError) {
    tracing::warn!(%error, "an answer for another server could not be sent");
}

fn no_data() -> Data {
    Data::checked("{}".to_owned(), Vec::new())
}

/// A handshake as servers tell each other.
fn handshake(request: &Handshake, auth: Option<&Value>) -> RemoteHandshake {
    RemoteHandshake {
        headers: header_map(request),
        time: request.time(),
        address: request.address(),
        xdomain: request.xdomain(),
        secure: request.secure(),
        issued: request.issued(),
        url: request.url().to_owned(),
        query: query_map(request),
        auth: auth.and_then(Value::as_object).cloned().unwrap_or_default(),
    }
}

/// As Node has headers that came more than once: of some the first counts, of others all do, with commas between.
fn header_map(request: &Handshake) -> Map<String, Value> {
    const FIRST: [&str; 16] = [
        "age",
        "authorization",
        "content-length",
        "content-type",
        "etag",
        "expires",
        "from",
        "host",
        "if-modified-since",
        "if-unmodified-since",
        "location",
        "max-forwards",
        "proxy-authorization",
        "referer",
        "server",
        "user-agent",
    ];
    let mut map = Map::new();
    for (name, value) in request.headers() {
        match map.get_mut(name) {
            Some(Value::String(before)) if !FIRST.contains(&name) => {
                before.push_str(if name == "cookie" { "; " } else { ", " });
                before.push_str(value);
            }
            Some(_) => {}
            None => drop(map.insert(name.to_owned(), value.into())),
        }
    }
    map
}

/// As Node has names that came more than once: with the last value.
fn query_map(request: &Handshake) -> Map<String, Value> {
    request.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect()
}
