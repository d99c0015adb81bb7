//! Broadcasts: to the sockets here, and over the bus to those elsewhere.

use std::rc::Rc;

use bytes::Bytes;
use roomd_wire::BusHealth;

use super::{
    Io, MAX_ROOM_NAME_BYTES,
    namespaces::{CHANNEL_PREFIX, Nsp},
    rooms::BatchSlot,
    server::{Inner, count},
};
use crate::{
    adapter::{
        codec::{self, Flags, Incoming, Room, Selector},
        envelope::{self, Names},
    },
    bus::{BusHandler, Routing},
    protocol::{Data, Encoded},
};

impl Inner {
    /// Sends an event to the sockets here at once, and to the bus.
    pub(super) fn broadcast(
        &self,
        nsp: &Rc<Nsp>,
        rooms: &[&str],
        except: &[&str],
        flags: Flags,
        local: bool,
        event: &Data,
    ) {
        count(&self.counters.events_out);
        let begun = self.engine.begin_fanout();
        let packet = self.parser.event(&nsp.name, None, event).compress(flags.may_compress());
        // First here: clients of this worker never wait for the bus.
        self.deliver(nsp, rooms, except, flags.volatile, &packet);
        self.engine.end_fanout(begun);
        if !local {
            self.publish(nsp, rooms, except, flags, event, &packet);
        }
    }

    /// Sends a packet to the sockets here.
    pub(super) fn deliver(&self, nsp: &Nsp, rooms: &[&str], except: &[&str], volatile: bool, packet: &Encoded) {
        let state = self.state.borrow();
        let Some(members) = state.namespaces.of(nsp) else { return };
        members.rooms.note_sent(rooms);
        let slot = members.rooms.batch(rooms, except).filter(|_| !volatile);
        if let Some(last) = slot.and_then(BatchSlot::get)
            && self.engine.append(&last, packet)
        {
            return;
        }
        let sessions = members.rooms.select(rooms, except).map(|member| members.sockets[member as usize].session);
        match slot {
            Some(slot) => slot.set(&self.engine.send_batch(sessions, packet)),
            None if volatile => self.engine.send_many_volatile(sessions, packet),
            None => self.engine.send_many(sessions, packet),
        }
    }

    fn publish(&self, nsp: &Nsp, rooms: &[&str], except: &[&str], flags: Flags, event: &Data, packet: &Encoded) {
        let Some(bus) = self.bus.get() else { return };
        let exact = bus.routing() == Routing::Exact;
        if exact && !rooms.is_empty() && rooms.iter().all(|room| room.len() > MAX_ROOM_NAME_BYTES) {
            // Nobody can be there. Node servers have no such limit, but they are not on this bus.
            return;
        }
        let sequence = self.sequence.get() + 1;
        self.sequence.set(sequence);
        let own =
            exact.then(|| envelope::encode(self.worker, sequence, flags.volatile, rooms, except, packet)).flatten();
        let message = own
            .map_or_else(|| codec::encode_broadcast(&nsp.uid, &nsp.name, event, &selector(rooms, except), flags), Ok);
        match (message, rooms) {
            (Ok(message), [room]) => bus.publish(&nsp.channels.room(room), &message),
            (Ok(message), _) => bus.publish(nsp.channels.broadcast(), &message),
            (Err(error), _) => return tracing::warn!(%error, "a broadcast stayed on this worker"),
        }
        self.engine.schedule_flush();
    }
}

impl Io {
    /// A broadcast came from elsewhere.
    fn hear(&self, nsp: &Rc<Nsp>, room: Option<&str>, message: &Bytes) {
        // Most are for rooms that have no member here: those are not read.
        let has = |room| self.0.state.borrow().namespaces.of(nsp).is_some_and(|members| members.rooms.has(room));
        if room.is_some_and(|room| !has(room)) {
            return;
        }
        let begun = self.0.engine.begin_fanout();
        self.deliver_heard(nsp, message);
        self.0.engine.end_fanout(begun);
    }

    fn deliver_heard(&self, nsp: &Rc<Nsp>, message: &Bytes) {
        if envelope::is_envelope(message) {
            // Over Redis, where anybody can publish, nobody may hand us frames.
            let trusted = self.0.bus.get().is_some_and(|bus| bus.routing() == Routing::Exact);
            let Some(envelope) = envelope::decode(message, self.0.parser).ok().filter(|_| trusted) else {
                return count(&self.0.counters.bus_malformed);
            };
            let own = envelope.origin == self.0.worker;
            if !own && self.0.heard.borrow_mut().is_new(envelope.origin, envelope.sequence) {
                self.deliver(nsp, &envelope.rooms, &envelope.except, envelope.volatile, &envelope.packet);
            }
            return;
        }
        if codec::sender(message).is_some_and(|uid| *uid == *nsp.uid) {
            return;
        }
        match codec::Broadcast::decode(message) {
            Ok(broadcast) if broadcast.packet.nsp == *nsp.name => {
                let Some(packet) = broadcast.packet.into_event(self.0.parser) else {
                    return count(&self.0.counters.bus_malformed);
                };
                let Some((rooms, except)) = names(&broadcast.target) else { return };
                let packet = packet.encode(self.0.parser, None).compress(broadcast.flags.may_compress());
                self.deliver(nsp, &rooms, &except, broadcast.flags.volatile, &packet);
            }
            Ok(_of_another_namespace) => {}
            Err(error) => {
                count(&self.0.counters.bus_malformed);
                tracing::debug!(%error, "a broadcast from the bus was not understood");
            }
        }
    }
}

fn selector(rooms: &[&str], except: &[&str]) -> Selector {
    let rooms_of = |names: &[&str]| names.iter().map(|&name| Room::from(name)).collect();
    Selector { rooms: rooms_of(rooms), except: rooms_of(except) }
}

/// The names in a selector. `None` where it names rooms of which none can have members here: then it is for nobody, and not for
/// all.
pub(super) fn names(target: &Selector) -> Option<(Names<'_>, Names<'_>)> {
    let rooms: Names<'_> = target.rooms.iter().filter_map(Room::name).collect();
    let except = target.except.iter().filter_map(Room::name).collect();
    (!rooms.is_empty() || target.rooms.is_empty()).then_some((rooms, except))
}

impl BusHandler for Io {
    fn message(&self, channel: &str, payload: Bytes) {
        let Some(nsp) = codec::namespace_of(CHANNEL_PREFIX, channel).and_then(|name| self.0.namespace(name)) else {
            return;
        };
        match nsp.channels.classify(channel) {
            Some(Incoming::Broadcast { room }) => self.hear(&nsp, room, &payload),
            Some(Incoming::Request) => self.requested(&nsp, &payload),
            Some(Incoming::Response) => self.responded(&nsp, &payload),
            None => {}
        }
    }

    fn health_changed(&self, health: &BusHealth) {
        // The supervisor hears of it, and says it once for all workers.
        tracing::debug!(up = health.up, error = %health.reason, "the bus has changed");
    }

    fn resubscribe(&self) {
        self.0.resubscribe();
    }
}
