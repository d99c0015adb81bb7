//! The way of a message from a client: to a packet, to the socket it is for, to a handler.

use std::{borrow::Cow, cell::Cell, rc::Rc, time::Instant};

use bytes::Bytes;

use super::{
    Ack, Io, Rejection, Socket, SocketId,
    backlog::{Backlog, Waits},
    call::{EventCall, OnEvent},
    handler::Erased,
    handlers,
    namespace::Namespace,
    namespaces::Nsp,
    packets::{Event, Refused},
    server::{Session, count},
};
use crate::{
    engine::{CloseReason, Handshake, SessionHandler, SessionKey},
    protocol::{
        Data, PacketType, Parser,
        assembly::{Assembly, Complete, Text, Violation},
        membership::{Actions, Cause, Membership},
        msgpack,
    },
};

impl Io {
    /// A packet has come whole.
    fn packet(&self, session: SessionKey, packet: Whole<'_>) {
        if packet.kind == PacketType::Connect {
            // Bytes in it have a form in JSON, too.
            let auth = packet.json.map(Cow::Borrowed).or_else(|| packet.data.map(Data::plain_json));
            return self.connect(session, packet.nsp, auth.as_deref());
        }
        let mut out = Actions::new();
        let to = {
            let state = &mut *self.0.state.borrow_mut();
            let Some(Session { membership, .. }) = state.sessions.get_mut(&session) else { return };
            let namespaces = &state.namespaces;
            let is = |namespace| namespaces.at(namespace).is_some_and(|members| *members.nsp.name == *packet.nsp);
            membership.packet(packet.kind, is, &mut out).and_then(|key| {
                let members = namespaces.at(key.namespace)?;
                Some((members.nsp.clone(), members.sockets.get(key.member as usize)?.id))
            })
        };
        self.act(session, out);
        match to {
            Some((nsp, id)) if packet.kind == PacketType::Event => self.event(session, &nsp, id, packet),
            Some((nsp, id)) => self.answered(&nsp, id, packet),
            None => {}
        }
    }

    /// An event, for all who listen to any and then for the handler of its name.
    fn event(&self, session: SessionKey, nsp: &Rc<Nsp>, id: SocketId, packet: Whole<'_>) {
        count(&self.0.counters.events_in);
        let Some(event) = packet.event else { return };
        let Some(Namespace { any, events, packets, .. }) = nsp.handlers() else { return };
        let own = events.get(event);
        if any.is_empty() && own.is_none() && packets.is_empty() {
            return tracing::debug!(event, namespace = &*nsp.name, "an event came that nobody listens to");
        }
        let Some(data) = packet.data() else { return };
        // Without listeners, as usual, there is nobody to share this with.
        let answered = (!any.is_empty()).then(|| Rc::new(Cell::new(false)));
        let socket = Socket { io: self.clone(), namespace: nsp.clone(), id };
        let event = Event { session, socket, name: event, data, id: packet.id, answered };
        // What is refused is heard by these all the same, as in Node.
        let own = if packets.is_empty() { own } else { None };
        for handler in any.iter().chain(own) {
            // The one before may have sent the client away.
            if event.answered.is_some() && !event.socket.is_connected() {
                return;
            }
            self.call_event(handler, &event);
        }
        if !packets.is_empty() && (event.answered.is_none() || event.socket.is_connected()) {
            self.judge(event);
        }
    }

    /// Calls a handler of an event.
    pub(super) fn call_event(&self, handler: &Erased<OnEvent>, event: &Event<impl AsRef<str>>) {
        let Event { session, socket, name, data, id, answered } = event;
        let call = EventCall { socket, data, id: *id, answered: answered.as_ref() };
        let begin = || {
            handler(&call).unwrap_or_else(|Rejection(error)| {
                let bad = &self.0.counters.bad_events;
                count(bad);
                // Whoever wrote the application wants to know, but clients must not fill its log.
                if bad.get().is_power_of_two() {
                    let (event, namespace) = (name.as_ref(), socket.namespace());
                    tracing::warn!(
                        event,
                        namespace,
                        error,
                        count = bad.get(),
                        "an event came that its handler does not take"
                    );
                }
                // An error has a JSON form.
                let _ = Ack::new(socket, *id, answered.as_ref()).send(Refused { error });
                Box::pin(std::future::ready(()))
            })
        };
        handlers::run(&self.0.failures, name.as_ref(), begin, || Waits::begin(self, *session, data.bytes()));
    }

    /// A client's answer.
    fn answered(&self, nsp: &Nsp, id: SocketId, packet: Whole<'_>) {
        if let (Some(number), Some(data)) = (packet.id, packet.data())
            && let Some(members) = self.0.state.borrow_mut().namespaces.of_mut(nsp)
        {
            members.waiting.answer(id, number, data);
        }
    }

    /// What came is no packet.
    fn unreadable(&self, session: SessionKey, violation: &Violation) {
        tracing::debug!(error = %violation, "a client sent what is no packet");
        self.with_membership(session, |membership, out| membership.close(Cause::Unreadable, out));
    }
}

/// A packet with all that belongs to it, borrowed where it came in one message.
#[derive(Clone, Copy)]
struct Whole<'a> {
    kind: PacketType,
    nsp: &'a str,
    id: Option<u64>,
    event: Option<&'a str>,
    json: Option<&'a str>,
    data: Option<&'a Data>,
}

impl Whole<'_> {
    fn data(&self) -> Option<Data> {
        self.data.cloned().or_else(|| self.json.map(|json| Data::checked(json.to_owned(), Vec::new())))
    }
}

impl SessionHandler for Io {
    fn opened(&self, key: SessionKey, handshake: Rc<Handshake>) {
        let membership = Membership::open(Instant::now(), self.0.engine.connect_timeout());
        let session = Session { handshake, assembly: Assembly::default(), membership, backlog: Backlog::default() };
        self.0.state.borrow_mut().sessions.insert(key, session);
        self.expect_to_join(key);
    }

    fn text(&self, key: SessionKey, message: &str) {
        if self.0.parser == Parser::Msgpack {
            return self.unreadable(key, &Violation::TextNotMsgpack);
        }
        let read = {
            let mut state = self.0.state.borrow_mut();
            let Some(session) = state.sessions.get_mut(&key) else { return };
            session.assembly.text(message)
        };
        match read {
            Ok(Text::Begun) => {}
            Ok(Text::Whole(packet)) => {
                let event = packet.event.as_ref().map(|name| name.as_str());
                let whole =
                    Whole { kind: packet.kind, nsp: packet.nsp, id: packet.id, event, json: packet.json, data: None };
                self.packet(key, whole);
            }
            Err(violation) => self.unreadable(key, &violation),
        }
    }

    fn binary(&self, key: SessionKey, message: Bytes) {
        let read = match self.0.parser {
            Parser::Msgpack => msgpack::packet::decode(&message).map(Some),
            Parser::Json => {
                let mut state = self.0.state.borrow_mut();
                let Some(session) = state.sessions.get_mut(&key) else { return };
                session.assembly.binary(message)
            }
        };
        match read {
            Ok(None) => {}
            Ok(Some(Complete { kind, nsp, id, event, data })) => {
                let whole = Whole { kind, nsp: &nsp, id, event: event.as_deref(), json: None, data: data.as_ref() };
                self.packet(key, whole);
            }
            Err(violation) => self.unreadable(key, &violation),
        }
    }

    fn closed(&self, key: SessionKey, reason: CloseReason) {
        self.with_membership(key, |membership, out| membership.ended(reason, out));
        self.0.state.borrow_mut().forget(key);
        count(&self.0.counters.ended_sessions);
    }
}
