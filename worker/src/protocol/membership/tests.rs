//! The rules one by one, then random histories against what must always hold.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    protocol::{PacketType, session::CloseReason},
    seeds,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(45);

/// What happens to a session. Namespaces are numbers; the socket meant is the last that was made there.
#[derive(Clone, Copy, Debug)]
enum Event {
    Connect(NamespaceIndex),
    Agree(NamespaceIndex),
    Refuse(NamespaceIndex),
    Packet(PacketType, NamespaceIndex),
    Disconnect(NamespaceIndex, bool),
    Close(Cause),
    Ended(CloseReason),
    /// So many seconds pass.
    Pass(u64),
}

use Event::*;

/// What comes of it: what a method answers, and the actions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Consider(SocketKey),
    Admit(SocketKey),
    Refuse(SocketKey),
    /// A packet is for this socket.
    Hand(SocketKey),
    Do(Action),
}

/// A session, and what its shell knows.
struct Bench {
    membership: Membership,
    now: Instant,
    /// The last socket of each namespace. Never the same one twice, so that late decisions are seen.
    sockets: BTreeMap<NamespaceIndex, Member>,
    made: Member,
}

impl Bench {
    fn new() -> Bench {
        let now = Instant::now();
        Bench { membership: Membership::open(now, CONNECT_TIMEOUT), now, sockets: BTreeMap::new(), made: 0 }
    }

    fn key(&self, namespace: NamespaceIndex) -> SocketKey {
        SocketKey { namespace, member: self.sockets.get(&namespace).copied().unwrap_or(Member::MAX) }
    }

    fn happens(&mut self, event: Event) -> Vec<Told> {
        let (membership, mut out) = (&mut self.membership, Actions::new());
        let told = match event {
            Connect(namespace) => {
                let key = SocketKey { namespace, member: self.made };
                membership.connect(key, &mut out).then(|| {
                    self.sockets.insert(namespace, self.made);
                    self.made += 1;
                    Told::Consider(key)
                })
            }
            Agree(namespace) => {
                let key = self.key(namespace);
                self.membership.agree(key).then_some(Told::Admit(key))
            }
            Refuse(namespace) => {
                let key = self.key(namespace);
                self.membership.refuse(key).then_some(Told::Refuse(key))
            }
            Packet(kind, namespace) => membership.packet(kind, |index| index == namespace, &mut out).map(Told::Hand),
            Disconnect(namespace, close) => {
                let key = self.key(namespace);
                self.membership.disconnect(key, close, &mut out);
                None
            }
            Close(cause) => {
                membership.close(cause, &mut out);
                None
            }
            Ended(reason) => {
                membership.ended(reason, &mut out);
                None
            }
            Pass(seconds) => {
                self.now += Duration::from_secs(seconds);
                membership.expire(self.now, &mut out);
                None
            }
        };
        out.into_iter().map(Told::Do).chain(told).collect()
    }

    /// The same in words: a namespace's number stands for its socket.
    fn words(&mut self, event: Event) -> Vec<String> {
        let words = |told| match told {
            Told::Consider(key) => format!("consider {}", key.namespace),
            Told::Admit(key) => format!("admit {}", key.namespace),
            Told::Refuse(key) => format!("refuse {}", key.namespace),
            Told::Hand(key) => format!("to {}", key.namespace),
            Told::Do(Action::Forget(key)) => format!("forget {}", key.namespace),
            Told::Do(Action::SendDisconnect(key)) => format!("send disconnect {}", key.namespace),
            Told::Do(Action::Leave(key, reason)) => format!("leave {}: {}", key.namespace, reason.as_str()),
            Told::Do(Action::Close(cause)) => format!("close: {cause:?}"),
        };
        self.happens(event).into_iter().map(words).collect()
    }
}

/// A name, what happens before, and what happens last with what comes of it.
type Rule<'a> = (&'a str, &'a [Event], Event, &'a [&'a str]);

const EVENT: PacketType = PacketType::Event;

#[rustfmt::skip]
const RULES: &[Rule<'_>] = &[
    ("a namespace is joined when middleware agrees", &[Connect(1)], Agree(1), &["admit 1"]),
    ("who was refused may ask again", &[Connect(1), Refuse(1)], Connect(1), &["consider 1"]),
    ("middleware refuses", &[Connect(1)], Refuse(1), &["refuse 1"]),
    ("middleware decides once: agreed", &[Connect(1), Agree(1)], Refuse(1), &[]),
    ("middleware decides once: refused", &[Connect(1), Refuse(1)], Agree(1), &[]),
    ("the main namespace need not come first, and several can wait", &[Connect(2), Connect(1)], Agree(1), &["admit 1"]),
    ("a second CONNECT closes", &[Connect(1), Agree(1)], Connect(1), &["close: SecondConnect"]),
    ("while the first is considered it takes that one's place", &[Connect(1)], Connect(1), &["forget 1", "consider 1"]),
    ("and is decided on by itself", &[Connect(1), Connect(1)], Agree(1), &["admit 1"]),
    ("events are handed on", &[Connect(1), Agree(1)], Packet(EVENT, 1), &["to 1"]),
    ("answers are handed on", &[Connect(1), Agree(1)], Packet(PacketType::Ack, 1), &["to 1"]),
    ("an event without a namespace closes", &[], Packet(EVENT, 1), &["close: NotJoined"]),
    ("an event for another namespace closes", &[Connect(1), Agree(1)], Packet(EVENT, 2), &["close: NotJoined"]),
    ("an event while middleware considers closes", &[Connect(1)], Packet(EVENT, 1), &["close: NotJoined"]),
    ("a goodbye while middleware considers closes", &[Connect(1)], Packet(PacketType::Disconnect, 1), &["close: NotJoined"]),
    ("an event after the goodbye closes", &[Connect(1), Agree(1), Packet(PacketType::Disconnect, 1)], Packet(EVENT, 1), &["close: NotJoined"]),
    ("CONNECT_ERROR is the server's", &[Connect(1), Agree(1)], Packet(PacketType::ConnectError, 1), &["close: ServersPacket"]),
    ("the client leaves", &[Connect(1), Agree(1)], Packet(PacketType::Disconnect, 1), &["leave 1: client namespace disconnect"]),
    ("and may come again", &[Connect(1), Agree(1), Packet(PacketType::Disconnect, 1)], Connect(1), &["consider 1"]),
    ("the application sends it away", &[Connect(1), Agree(1)], Disconnect(1, false), &["send disconnect 1", "leave 1: server namespace disconnect"]),
    ("once", &[Connect(1), Agree(1), Disconnect(1, false)], Disconnect(1, true), &[]),
    ("others stay", &[Connect(1), Agree(1), Connect(2), Agree(2), Disconnect(1, false)], Packet(EVENT, 2), &["to 2"]),
    ("with close all that are in leave, in the order they came in, and what waits is forgotten at the end",
        &[Connect(1), Connect(2), Connect(3), Agree(3), Agree(1)], Disconnect(1, true),
        &["send disconnect 3", "leave 3: server namespace disconnect", "send disconnect 1", "leave 1: server namespace disconnect", "close: Application"]),
    ("then the end is nobody's but the waiting one's",
        &[Connect(1), Connect(2), Agree(1), Disconnect(1, true)], Ended(CloseReason::ForcedClose), &["forget 2"]),
    ("in middleware a disconnect does nothing", &[Connect(1)], Disconnect(1, false), &[]),
    ("in middleware a disconnect with close does nothing", &[Connect(2), Agree(2), Connect(1)], Disconnect(1, true), &[]),
    ("the end is heard in the order they came in",
        &[Connect(1), Connect(2), Connect(3), Agree(2), Agree(3), Agree(1)], Ended(CloseReason::PingTimeout),
        &["leave 2: ping timeout", "leave 3: ping timeout", "leave 1: ping timeout"]),
    ("an end while middleware considers is not heard", &[Connect(1)], Ended(CloseReason::TransportClose), &["forget 1"]),
    ("and what it decides then is nothing: agreed", &[Connect(1), Ended(CloseReason::TransportClose)], Agree(1), &[]),
    ("and what it decides then is nothing: refused", &[Connect(1), Ended(CloseReason::TransportClose)], Refuse(1), &[]),
    ("the end comes once", &[Connect(1), Agree(1), Ended(CloseReason::TransportClose)], Ended(CloseReason::ForcedClose), &[]),
    ("nothing begins after the end", &[Ended(CloseReason::TransportClose)], Connect(1), &[]),
    ("nobody is let in while the session closes", &[Connect(1), Packet(EVENT, 1)], Agree(1), &[]),
    ("nor refused", &[Connect(1), Packet(EVENT, 1)], Refuse(1), &[]),
    ("nor asked for", &[Close(Cause::Unreadable)], Connect(1), &[]),
    ("nor heard", &[Connect(1), Agree(1), Close(Cause::Unreadable)], Packet(EVENT, 1), &[]),
    ("the close is told once", &[Close(Cause::Unreadable)], Close(Cause::TooFast), &[]),
    ("a rule that is broken is heard with the session's end",
        &[Connect(1), Agree(1), Connect(1)], Ended(CloseReason::ForcedClose), &["leave 1: forced close"]),
    ("the application can still send it away", &[Connect(1), Agree(1), Connect(1)], Disconnect(1, false), &["send disconnect 1", "leave 1: server namespace disconnect"]),
    ("before the time is over nothing happens", &[], Pass(44), &[]),
    ("who joins nothing in time is closed", &[Pass(44)], Pass(1), &["close: NothingJoined"]),
    ("once", &[Pass(45)], Pass(45), &[]),
    ("middleware's time counts", &[Connect(1)], Pass(45), &["close: NothingJoined"]),
    ("a refusal does not stop the time", &[Connect(1), Refuse(1)], Pass(45), &["close: NothingJoined"]),
    ("who has joined is not closed", &[Connect(1), Agree(1)], Pass(450), &[]),
    ("nor who has left again", &[Connect(1), Agree(1), Packet(PacketType::Disconnect, 1)], Pass(450), &[]),
    ("nor who has gone", &[Ended(CloseReason::TransportClose)], Pass(450), &[]),
];

#[test]
fn every_rule_of_coming_in_and_leaving() {
    for (name, before, last, expected) in RULES {
        let mut bench = Bench::new();
        for event in *before {
            bench.happens(*event);
        }
        assert_eq!(bench.words(*last), *expected, "{name}");
    }
}

#[test]
fn a_waiting_time_is_known_until_it_matters_no_more() {
    let mut bench = Bench::new();
    assert_eq!(bench.membership.deadline(), Some(bench.now + CONNECT_TIMEOUT));
    bench.happens(Connect(1));
    assert!(bench.membership.deadline().is_some());
    bench.happens(Agree(1));
    assert_eq!(bench.membership.deadline(), None);
}

#[test]
fn a_session_with_two_sockets_owns_no_memory_but_its_own() {
    assert!(size_of::<Membership>() <= 48, "{}", size_of::<Membership>());
}

/// How far a socket is, as its handlers and its client see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    Considered,
    In,
    Gone,
}

/// What must hold whatever happens.
#[derive(Default)]
struct Model {
    /// All sockets ever made.
    seen: BTreeMap<Member, (NamespaceIndex, Seen)>,
    /// Those that are in, in the order they came in.
    order: Vec<SocketKey>,
    admitted: usize,
    heard: usize,
    closed: bool,
    ended: bool,
}

impl Model {
    fn step(&mut self, bench: &mut Bench, event: Event, rng: &mut fastrand::Rng) {
        let open = !self.closed && !self.ended;
        let in_there = |namespace| self.order.iter().copied().find(|key| key.namespace == namespace);
        let hand = match event {
            Packet(EVENT | PacketType::Ack, namespace) if open => in_there(namespace),
            _ => None,
        };
        let (reason, leave) = match event {
            Ended(reason) => (Some(Reason::Session(reason)), self.order.clone()),
            Packet(PacketType::Disconnect, namespace) if open => {
                (Some(Reason::Client), in_there(namespace).into_iter().collect())
            }
            Disconnect(namespace, close) => match in_there(namespace) {
                Some(_) if close => (Some(Reason::Server), self.order.clone()),
                one => (Some(Reason::Server), one.into_iter().collect()),
            },
            _ => (None, Vec::new()),
        };
        self.ended |= matches!(event, Ended(_));
        let told = bench.happens(event);
        let handed = told.iter().find_map(|told| if let Told::Hand(key) = told { Some(*key) } else { None });
        assert_eq!(handed, hand, "{event:?}: who gets the packet");
        let left =
            told.iter().filter_map(|told| if let Told::Do(Action::Leave(key, _)) = told { Some(*key) } else { None });
        assert_eq!(left.collect::<Vec<_>>(), leave, "{event:?}: who leaves, in the order they came in");
        // Nothing reaches them from here on, even where their handlers have not heard it yet.
        self.order.retain(|key| !leave.contains(key));
        let mut goodbye = None;
        for told in told {
            self.obey(told, event, open, reason, &mut goodbye);
            if matches!(told, Told::Do(Action::Leave(..))) && rng.u8(..4) == 0 {
                // A handler disconnects somebody, while the rest of the actions waits.
                self.step(bench, Disconnect(rng.u16(..3), rng.u8(..4) == 0), rng);
            }
        }
        assert_eq!(goodbye, None, "a DISCONNECT packet for a socket that stays");
    }

    /// `open`: the session was, before the `event`. `reason`: why sockets may leave. `goodbye`: whose client was told so.
    fn obey(&mut self, told: Told, event: Event, open: bool, reason: Option<Reason>, goodbye: &mut Option<SocketKey>) {
        let change = |model: &mut Model, key: SocketKey, from, to| {
            let (namespace, seen) = model.seen.get_mut(&key.member).unwrap();
            assert_eq!((*namespace, *seen), (key.namespace, from), "{told:?}");
            *seen = to;
        };
        match told {
            Told::Consider(key) => {
                let twice = self.seen.values().any(|&(of, seen)| of == key.namespace && seen != Seen::Gone);
                assert!(open && !twice, "two sockets in one namespace");
                assert_eq!(self.seen.insert(key.member, (key.namespace, Seen::Considered)), None);
            }
            Told::Admit(key) => {
                assert!(open);
                change(self, key, Seen::Considered, Seen::In);
                self.order.push(key);
                self.admitted += 1;
            }
            Told::Refuse(key) => {
                assert!(open);
                change(self, key, Seen::Considered, Seen::Gone);
            }
            Told::Hand(key) => assert_eq!(self.seen[&key.member], (key.namespace, Seen::In)),
            Told::Do(Action::Forget(key)) => {
                let replaced = matches!(event, Connect(namespace) if open && namespace == key.namespace);
                assert!(self.ended || replaced);
                change(self, key, Seen::Considered, Seen::Gone);
            }
            Told::Do(Action::SendDisconnect(key)) => assert_eq!(goodbye.replace(key), None),
            Told::Do(Action::Leave(key, why)) => {
                change(self, key, Seen::In, Seen::Gone);
                assert_eq!(Some(why), reason);
                let expected = (why == Reason::Server).then_some(key);
                assert_eq!(goodbye.take(), expected, "the client is told if it was the server");
                self.heard += 1;
            }
            Told::Do(Action::Close(_)) => {
                assert!(!self.ended && !std::mem::replace(&mut self.closed, true), "closed twice");
            }
        }
    }
}

fn history(rng: &mut fastrand::Rng) {
    let (mut bench, mut model) = (Bench::new(), Model::default());
    let (mut ever_in, steps) = (false, rng.usize(..120));
    for _ in 0..steps {
        let namespace = rng.u16(..3);
        let event = match rng.u8(..40) {
            0..12 => Connect(namespace),
            12..22 => Agree(namespace),
            22..24 => Refuse(namespace),
            24..32 if model.order.is_empty() || rng.u8(..20) == 0 => Packet(EVENT, namespace),
            24..32 => Packet(EVENT, rng.choice(&model.order).unwrap().namespace),
            32 | 33 => Packet(PacketType::Disconnect, rng.choice(&model.order).map_or(namespace, |key| key.namespace)),
            34 | 35 => Disconnect(namespace, rng.u8(..8) == 0),
            36 => Pass(rng.u64(..5)),
            37 if rng.u8(..8) == 0 => Close(Cause::Unreadable),
            38 if rng.u8(..8) == 0 => Ended(CloseReason::TransportClose),
            39 if rng.u8(..8) == 0 => Packet(PacketType::ConnectError, namespace),
            _ => Packet(PacketType::Ack, namespace),
        };
        // A client that breaks no rules most of the time: else histories are short.
        let breaks = match event {
            Connect(namespace) => model.order.iter().any(|key| key.namespace == namespace),
            Packet(_, namespace) => !model.order.iter().any(|key| key.namespace == namespace),
            _ => false,
        };
        if breaks && rng.u8(..30) > 0 {
            continue;
        }
        model.step(&mut bench, event, rng);
        // Middleware that still considers one whose place another has taken, or who is in.
        if let Some((&member, &(namespace, seen))) = rng.choice(&model.seen)
            && seen != Seen::Considered
        {
            let key = SocketKey { namespace, member };
            assert!(!bench.membership.agree(key) && !bench.membership.refuse(key), "decided twice");
        }
        ever_in |= model.admitted > 0;
        assert_eq!(bench.membership.deadline().is_some(), !ever_in && !model.closed && !model.ended);
    }
    model.step(&mut bench, Ended(CloseReason::TransportClose), rng);
    // Late decisions, and handlers that still hold a socket.
    for namespace in 0..3 {
        for event in [Agree(namespace), Refuse(namespace), Disconnect(namespace, true), Packet(EVENT, namespace)] {
            assert_eq!(bench.happens(event), []);
        }
    }
    assert_eq!(model.heard, model.admitted, "each that came in hears one end");
    assert!(model.seen.values().all(|&(_, seen)| seen == Seen::Gone), "a socket is left over");
}

#[test]
fn whatever_happens_each_socket_hears_one_end_and_nothing_is_left() {
    seeds::each(3000, history);
}
