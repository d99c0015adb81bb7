//! Handlers that hear what is sent to clients: `socket.onAnyOutgoing` in Node.

use std::rc::Rc;

use super::{Io, Rejection, Socket, call::OutgoingCall, handler::Work, handlers, namespaces::Nsp};
use crate::{
    adapter::envelope::Names,
    protocol::{
        Data, Encoded, Parser,
        assembly::{Assembly, Text},
        msgpack,
    },
};

/// How many handlers that hear what is sent, or of rooms, can wait at once in a worker. Nobody waits for them, and each broadcast
/// calls one for each client: so they are not to pile up.
pub const MAX_WAITING_HEARERS: usize = 10_000;

/// How much the events that they hear of can keep in memory.
pub(super) const MAX_WAITING_HEARER_BYTES: usize = 64 << 20;

impl Io {
    /// Calls a handler of rooms, or of what is sent, which keeps so many `bytes` for as long as it waits. One too many that waits
    /// ends there.
    pub(super) fn call_hearer(
        &self,
        what: &'static str,
        bytes: usize,
        handler: impl FnOnce() -> Result<Work, Rejection>,
    ) {
        let begin = || {
            handler().unwrap_or_else(|Rejection(error)| {
                self.0.failures.note_error(what, &error);
                Box::pin(std::future::ready(()))
            })
        };
        handlers::run_bounded(&self.0.failures, what, begin, || self.0.hearers.enter(bytes));
    }

    /// Whether somebody wants to hear what is sent in a namespace.
    pub(super) fn hears_outgoing(&self, nsp: &Rc<Nsp>) -> bool {
        nsp.handlers().is_some_and(|handlers| !handlers.any_outgoing.is_empty())
    }

    /// An event is about to be sent to one socket.
    pub(super) fn tell_outgoing(&self, socket: &Socket, event: &Data) {
        for handler in socket.namespace.handlers().iter().flat_map(|handlers| &handlers.any_outgoing) {
            let call = || handler(&OutgoingCall { socket, data: event });
            self.call_hearer("any outgoing event", event.bytes(), call);
        }
    }

    /// An event is about to be sent to the sockets here that are selected: each is told of.
    pub(super) fn tell_outgoing_to_all(&self, nsp: &Rc<Nsp>, rooms: &[&str], except: &[&str], event: &Data) {
        let sockets: Vec<_> = {
            let state = self.0.state.borrow();
            let Some(members) = state.namespaces.of(nsp) else { return };
            members.rooms.select(rooms, except).map(|member| members.sockets[member as usize].id).collect()
        };
        for id in sockets {
            self.tell_outgoing(&Socket { io: self.clone(), namespace: nsp.clone(), id }, event);
        }
    }

    /// Sends a packet to the sockets here; whoever wants to hear of it does so first.
    pub(super) fn deliver(
        &self,
        nsp: &Rc<Nsp>,
        rooms: &Names<'_>,
        except: &Names<'_>,
        volatile: bool,
        packet: &Encoded,
    ) {
        if self.hears_outgoing(nsp)
            && let Some(event) = event_of(packet, self.0.parser)
        {
            self.tell_outgoing_to_all(nsp, rooms, except, &event);
        }
        self.0.deliver(nsp, rooms, except, volatile, packet);
    }
}

/// The event in a packet that came ready-made from another worker.
fn event_of(packet: &Encoded, parser: Parser) -> Option<Data> {
    if parser == Parser::Msgpack {
        let message = packet.wire().slice_ref(packet.parts().next()?.payload);
        return msgpack::packet::decode(&message).ok()?.data;
    }
    let mut assembly = Assembly::default();
    let mut parts = packet.parts();
    let text = std::str::from_utf8(parts.next()?.payload.get(1..)?).ok()?;
    if let Text::Whole(packet) = assembly.text(text).ok()? {
        return packet.json.map(|json| Data::checked(json.to_owned(), Vec::new()));
    }
    for part in parts {
        if let Some(complete) = assembly.binary(bytes::Bytes::copy_from_slice(part.payload)).ok()? {
            return complete.data;
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::protocol::Binary;

    #[test]
    fn the_event_is_found_in_the_frames() {
        for data in [
            Data::event("plain", &(1, "two")).unwrap(),
            Data::event("bytes", &(Binary::from(vec![1, 2]), "x", Binary::from(vec![]))).unwrap(),
        ] {
            for (nsp, id) in [("/", None), ("/chat", Some(3))] {
                for parser in [Parser::Json, Parser::Msgpack] {
                    assert_eq!(event_of(&parser.event(nsp, id, &data), parser).unwrap(), data);
                }
            }
        }
        assert_eq!(event_of(&Encoded::disconnect("/"), Parser::Json), None);
    }
}
