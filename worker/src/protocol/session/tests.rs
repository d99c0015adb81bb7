//! The rules one by one, then random histories against what must always hold.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use super::*;
use crate::{
    protocol::{Encoded, engine_packet::Packet, heartbeat::Rhythm},
    seeds,
};

const SETTINGS: Settings = Settings {
    rhythm: Rhythm { interval: Duration::from_millis(25_000), timeout: Duration::from_millis(20_000) },
    upgrade_timeout: Duration::from_millis(10_000),
    max_queue_bytes: 100,
};

/// A session and its clock.
struct Bench {
    session: Session,
    now: Instant,
    out: Vec<Action>,
}

impl Bench {
    fn new(transport: Transport) -> Bench {
        let now = Instant::now();
        Bench { session: Session::open(transport, now, &SETTINGS), now, out: Vec::new() }
    }

    fn polling() -> Bench {
        Bench::new(Transport::Polling)
    }

    /// A polling session whose WebSocket has answered the probe.
    fn probed() -> Bench {
        let mut bench = Bench::polling();
        assert!(bench.session.upgrade_opened(bench.now, &SETTINGS));
        assert_eq!(bench.probe("2probe"), Probe::Answer);
        bench
    }

    fn later(&mut self, millis: u64) -> bool {
        self.now += Duration::from_millis(millis);
        self.session.expire(self.now, &SETTINGS, &mut self.out)
    }

    fn send(&mut self, text: &str) -> Sent {
        self.session.send(Encoded::engine(text), &SETTINGS, &mut self.out)
    }

    fn poll(&mut self) -> bool {
        self.session.poll_opened(&mut self.out)
    }

    fn packet(&mut self, text: &str) -> bool {
        self.session.packet(&Packet::from_text(text).unwrap(), self.now, &SETTINGS, &mut self.out)
    }

    fn probe(&mut self, text: &str) -> Probe {
        let packet = Packet::from_text(text).ok();
        self.session.probe_packet(packet.as_ref(), self.now, &SETTINGS, &mut self.out)
    }

    fn close(&mut self, reason: CloseReason) {
        self.session.close(reason, self.now, &mut self.out);
    }

    fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out)
    }
}

#[test]
fn a_second_poll_ends_the_session_and_the_first_one_is_told() {
    let mut bench = Bench::polling();
    assert!(bench.poll());
    assert!(!bench.poll());
    assert_eq!(bench.actions(), [Action::AnswerPoll(Answer::Close), Action::Ended(CloseReason::TransportError)]);
    assert!(bench.session.is_gone());
}

#[test]
fn a_second_post_ends_the_session_and_the_first_one_is_reset() {
    let mut bench = Bench::polling();
    assert!(bench.session.post_started(&mut bench.out));
    assert!(!bench.session.post_started(&mut bench.out));
    assert_eq!(bench.actions(), [Action::AbortPost, Action::Ended(CloseReason::TransportError)]);
}

#[test]
fn get_and_post_overlap_each_other_freely() {
    let mut bench = Bench::polling();
    assert!(bench.poll());
    assert!(bench.session.post_started(&mut bench.out));
    bench.session.post_ended();
    assert!(bench.session.post_started(&mut bench.out));
    assert_eq!(bench.actions(), []);
}

#[test]
fn packets_wait_for_a_poll_and_leave_together() {
    let mut bench = Bench::polling();
    assert_eq!((bench.send("4a"), bench.send("4b")), (Sent::Queued, Sent::Queued));
    bench.session.flush_poll(&mut bench.out);
    assert_eq!(bench.actions(), []);
    assert!(bench.poll());
    assert_eq!(bench.actions(), [Action::AnswerPoll(Answer::Packets)]);
    assert!(!bench.session.takes_now(false));
}

#[test]
fn a_dropped_poll_or_post_ends_the_session() {
    let mut bench = Bench::polling();
    assert!(bench.poll());
    bench.session.poll_aborted(&mut bench.out);
    assert_eq!(bench.actions(), [Action::Ended(CloseReason::TransportError)]);
    let mut bench = Bench::polling();
    assert!(bench.session.post_started(&mut bench.out));
    bench.session.post_failed(&mut bench.out);
    assert_eq!(bench.actions(), [Action::Ended(CloseReason::TransportError)]);
}

#[test]
fn a_client_that_closes_gets_its_pending_poll_back() {
    let mut bench = Bench::polling();
    assert!(bench.poll());
    assert!(!bench.packet("1"));
    assert_eq!(bench.actions(), [Action::AnswerPoll(Answer::Noop), Action::Ended(CloseReason::TransportClose)]);
}

#[test]
fn closing_with_a_pending_poll_answers_it() {
    let mut bench = Bench::polling();
    assert!(bench.poll());
    bench.close(CloseReason::ForcedClose);
    assert_eq!(bench.actions(), [Action::AnswerPoll(Answer::Close), Action::Ended(CloseReason::ForcedClose)]);
    assert!(bench.session.is_gone());
}

#[test]
fn closing_without_a_poll_waits_for_the_next_one() {
    let mut bench = Bench::polling();
    bench.send("41");
    bench.close(CloseReason::ForcedClose);
    assert_eq!(bench.actions(), [Action::Ended(CloseReason::ForcedClose)]);
    assert!(!bench.session.is_gone() && !bench.session.is_open());
    assert_eq!(bench.send("4late"), Sent::Dropped);
    assert!(bench.poll());
    assert_eq!(bench.actions(), [Action::AnswerPoll(Answer::Packets)]);
    bench.session.queue().take();
    assert!(bench.poll());
    assert_eq!(bench.actions(), [Action::AnswerPoll(Answer::NoopClose)]);
    assert!(bench.session.is_gone());
}

#[test]
fn a_farewell_is_over_when_the_client_closes_too() {
    let mut bench = Bench::polling();
    bench.send("41");
    bench.close(CloseReason::ForcedClose);
    for ignored in ["4late", "2", "3"] {
        assert!(!bench.packet(ignored));
        assert!(!bench.session.is_gone());
    }
    assert!(!bench.packet("1"));
    assert!(bench.session.is_gone());
    assert_eq!(bench.actions(), [Action::Ended(CloseReason::ForcedClose)]);

    let mut bench = Bench::probed();
    bench.close(CloseReason::ForcedClose);
    assert!(!bench.packet("1"));
    assert!(bench.session.is_gone());
    assert_eq!(bench.actions(), [Action::Ended(CloseReason::ForcedClose), Action::CloseProbe]);
}

#[test]
fn a_farewell_that_nobody_fetches_ends_after_thirty_seconds() {
    let mut bench = Bench::polling();
    bench.close(CloseReason::ForcedClose);
    bench.later(29_999);
    assert!(!bench.session.is_gone());
    bench.later(1);
    assert!(bench.session.is_gone());
    assert_eq!(bench.actions(), [Action::Ended(CloseReason::ForcedClose)]);
}

#[test]
fn a_websocket_is_closed_after_what_waits() {
    for (reason, ending) in
        [(CloseReason::ForcedClose, Ending::Orderly), (CloseReason::ServerShuttingDown, Ending::Code(1001))]
    {
        let mut bench = Bench::new(Transport::WebSocket);
        bench.close(reason);
        bench.close(CloseReason::ForcedClose);
        assert_eq!(bench.actions(), [Action::CloseSocket(ending), Action::Ended(reason)]);
    }
}

#[test]
fn an_upgrade_ends_polls_until_the_client_switches() {
    let mut bench = Bench::probed();
    assert!(bench.poll());
    bench.later(99);
    assert_eq!(bench.actions(), []);
    bench.later(1);
    assert_eq!(bench.actions(), [Action::AnswerPoll(Answer::Noop)]);
    bench.send("4waits");
    assert_eq!(bench.probe("5"), Probe::Switched);
    assert_eq!(bench.session.transport(), Transport::WebSocket);
    assert_eq!(bench.session.queue().len(), 1);
    assert!(bench.packet("4hello"));
}

#[test]
fn a_session_closed_while_its_client_upgrades_says_so_on_the_websocket() {
    let mut bench = Bench::probed();
    bench.send("4last");
    bench.close(CloseReason::ForcedClose);
    assert_eq!(bench.actions(), [Action::Ended(CloseReason::ForcedClose)]);
    assert_eq!(bench.probe("5"), Probe::Switched);
    assert_eq!(bench.actions(), [Action::CloseSocket(Ending::Orderly)]);
    assert!(bench.session.is_gone());

    // One whose client polls all the same, and one whose client has gone.
    let mut bench = Bench::probed();
    bench.close(CloseReason::ForcedClose);
    bench.actions();
    assert!(bench.poll());
    assert_eq!(bench.actions(), [Action::AnswerPoll(Answer::NoopClose), Action::CloseProbe]);
    let mut bench = Bench::probed();
    bench.close(CloseReason::ForcedClose);
    bench.actions();
    bench.later(10_000);
    assert_eq!(bench.actions(), [Action::CloseProbe]);
    assert!(!bench.session.is_gone());
}

#[test]
fn events_still_go_by_polling_before_the_switch() {
    let mut bench = Bench::probed();
    assert!(bench.poll());
    bench.send("4a");
    bench.session.flush_poll(&mut bench.out);
    assert_eq!(bench.actions(), [Action::AnswerPoll(Answer::Packets)]);
}

#[test]
fn a_probe_that_goes_wrong_leaves_the_session_alone() {
    for first in ["4hello", "2", "3probe", "6", "x"] {
        let mut bench = Bench::polling();
        assert!(bench.session.upgrade_opened(bench.now, &SETTINGS));
        assert_eq!(bench.probe(first), Probe::Refused, "{first}");
        assert!(bench.session.is_open());
        assert!(bench.session.upgrade_opened(bench.now, &SETTINGS), "it may try again");
    }
}

#[test]
fn a_switch_without_a_probe_is_accepted() {
    let mut bench = Bench::polling();
    assert!(bench.session.upgrade_opened(bench.now, &SETTINGS));
    assert_eq!(bench.probe("5"), Probe::Switched);
}

#[test]
fn a_post_that_an_upgrade_leaves_behind_may_fail() {
    let mut bench = Bench::probed();
    assert!(bench.session.post_started(&mut bench.out));
    assert_eq!(bench.probe("5"), Probe::Switched);
    assert_eq!(bench.actions(), [Action::AbortPost]);
    // Its client drops it before it learns that it is aborted.
    bench.session.post_failed(&mut bench.out);
    assert_eq!(bench.actions(), []);
    assert!(bench.session.is_open());
}

#[test]
fn one_websocket_at_a_time() {
    let mut bench = Bench::probed();
    assert!(!bench.session.upgrade_opened(bench.now, &SETTINGS));
    assert_eq!(bench.probe("5"), Probe::Switched);
    assert!(!bench.session.upgrade_opened(bench.now, &SETTINGS));
}

#[test]
fn an_upgrade_that_takes_too_long_is_given_up() {
    let mut bench = Bench::probed();
    for _ in 0..99 {
        bench.later(100);
    }
    assert_eq!(bench.actions(), []);
    bench.later(100);
    assert_eq!(bench.actions(), [Action::CloseProbe]);
    assert!(bench.session.is_open());
}

#[test]
fn a_session_without_a_pong_times_out() {
    let mut bench = Bench::new(Transport::WebSocket);
    assert!(bench.later(25_000), "a ping is queued");
    bench.later(20_000);
    assert_eq!(bench.actions(), [Action::CloseSocket(Ending::Orderly), Action::Ended(CloseReason::PingTimeout)]);
}

#[test]
fn a_client_s_ping_and_an_unknown_packet_end_the_session() {
    let mut bench = Bench::new(Transport::WebSocket);
    assert!(!bench.packet("2"));
    assert_eq!(bench.actions(), [Action::CloseSocket(Ending::Orderly), Action::Ended(CloseReason::TransportError)]);
    let mut bench = Bench::new(Transport::WebSocket);
    bench.session.bad_packet(&mut bench.out);
    assert_eq!(bench.actions().last(), Some(&Action::Ended(CloseReason::ParseError)));
}

#[test]
fn a_slow_client_is_ended_at_its_limit() {
    let mut bench = Bench::new(Transport::WebSocket);
    assert_eq!(bench.send(&"x".repeat(90)), Sent::Queued);
    assert_eq!(bench.send(&"x".repeat(90)), Sent::Overflow);
    assert_eq!(bench.actions(), [Action::CloseSocket(Ending::Abrupt), Action::Ended(CloseReason::TransportError)]);
    assert_eq!(bench.send("x"), Sent::Dropped);
}

/// What the shell and the client know: enough to tell whether an action makes sense.
#[derive(Default)]
struct Model {
    poll: bool,
    post: bool,
    probe: bool,
    ended: usize,
    sent: u64,
    received: u64,
}

impl Model {
    fn obey(&mut self, session: &mut Session, out: &mut Vec<Action>) {
        for action in out.drain(..) {
            match action {
                Action::AnswerPoll(answer) => {
                    assert!(std::mem::take(&mut self.poll), "an answer without a poll");
                    if answer == Answer::Packets {
                        assert!(!session.queue().is_empty(), "an empty payload");
                        self.take(session);
                    }
                }
                Action::AbortPost => assert!(std::mem::take(&mut self.post), "an abort without a post"),
                Action::CloseProbe => assert!(std::mem::take(&mut self.probe), "there is no probe"),
                Action::CloseSocket(Ending::Abrupt) => drop(session.queue().take()),
                Action::CloseSocket(_) => self.take(session),
                Action::Ended(_) => self.ended += 1,
            }
        }
        assert!(self.ended <= 1, "the end is told twice");
        assert_eq!(self.ended == 0, session.is_open(), "every end is told");
    }

    /// The client gets what waits, in order and without gaps.
    fn take(&mut self, session: &mut Session) {
        while let Some(packet) = session.queue().pop() {
            let text = String::from_utf8(packet.packets().parts().next().unwrap().payload.to_vec()).unwrap();
            if let Some(number) = text.strip_prefix('4') {
                assert_eq!(number.parse(), Ok(self.received), "lost or doubled");
                self.received += 1;
            }
        }
    }
}

fn history(rng: &mut fastrand::Rng) {
    let transport = if rng.u8(..4) == 0 { Transport::WebSocket } else { Transport::Polling };
    let mut bench = Bench::new(transport);
    let mut model = Model::default();
    for _ in 0..rng.usize(..300) {
        let on_socket = bench.session.is_open() && bench.session.transport() == Transport::WebSocket;
        match rng.u8(..20) {
            0..=4 => match bench.send(&format!("4{}", model.sent)) {
                Sent::Queued => model.sent += 1,
                Sent::Dropped => assert!(!bench.session.is_open()),
                Sent::Overflow => {}
            },
            5..=7 if !on_socket => {
                // A second one is rare: it is the end.
                if (!model.poll || rng.u8(..20) == 0) && bench.poll() {
                    model.poll = true;
                }
            }
            8 if !on_socket && (!model.post || rng.u8(..20) == 0) => {
                let open = bench.session.is_open();
                if bench.session.post_started(&mut bench.out) {
                    model.post = open;
                }
            }
            9 if model.post && rng.u8(..20) == 0 => {
                model.post = false;
                bench.session.post_failed(&mut bench.out);
            }
            9 if model.post => {
                model.post = false;
                bench.session.post_ended();
                bench.packet(rng.choice(["4x", "3", "6", "4y"]).unwrap());
            }
            10 if !on_socket && !model.probe => {
                model.probe = bench.session.upgrade_opened(bench.now, &SETTINGS);
            }
            11..=13 if model.probe => match bench.probe(rng.choice(["2probe", "2probe", "5", "4x"]).unwrap()) {
                Probe::Answer => {}
                Probe::Switched | Probe::Refused => model.probe = false,
            },
            14 if model.probe && rng.bool() => {
                model.probe = false;
                bench.session.probe_closed();
            }
            15 if on_socket => {
                bench.packet(rng.choice(["4x", "3", "1", "5", "6", "4y"]).unwrap());
            }
            16 => {
                let millis = rng.u64(..15_000);
                bench.later(millis);
                if rng.bool() && (on_socket || model.post) {
                    bench.packet("3");
                }
            }
            17 if rng.u8(..20) == 0 => bench.close(CloseReason::ForcedClose),
            18 if model.poll && rng.u8(..10) == 0 => {
                model.poll = false;
                bench.session.poll_aborted(&mut bench.out);
            }
            19 if on_socket && rng.u8(..10) == 0 => bench.session.socket_closed(&mut bench.out),
            _ => {
                // The turn's end.
                bench.session.flush_poll(&mut bench.out);
                if on_socket {
                    model.take(&mut bench.session);
                }
            }
        }
        let mut out = bench.actions();
        model.obey(&mut bench.session, &mut out);
        let queue = bench.session.queue();
        assert!(queue.bytes() <= SETTINGS.max_queue_bytes || queue.len() == 1);
        assert_eq!(bench.session.deadline().is_none(), bench.session.is_gone());
    }
    // A client that is silent from now on is gone in a bounded time.
    for _ in 0..1000 {
        let Some(due) = bench.session.deadline() else { break };
        bench.now = bench.now.max(due);
        bench.session.expire(bench.now, &SETTINGS, &mut bench.out);
        let mut out = bench.actions();
        model.obey(&mut bench.session, &mut out);
    }
    assert!(bench.session.is_gone());
    assert_eq!(model.ended, 1);
}

#[test]
fn whatever_happens_the_rules_hold() {
    seeds::each(3000, history);
}
