//! Single events, one after the other.

#![allow(clippy::unwrap_used)]

use roomd_wire::{Generation, Slot};

use super::*;

const WAIT: Duration = Duration::from_secs(10);

fn worker(slot: u16) -> WorkerId {
    WorkerId { slot: Slot(slot), generation: Generation(1) }
}

fn router(max_waiting: usize) -> Router {
    Router::new(Limits::new(100, 100, vec![]), 1, WAIT, max_waiting)
}

fn arrive(router: &mut Router, now: Instant) -> ConnectionId {
    let id = router.open(PeerAddress::Unix).unwrap();
    router.place(id, None, now);
    id
}

fn actions(router: &mut Router) -> Vec<Action> {
    std::iter::from_fn(|| router.poll_action()).collect()
}

fn hand_over(connection: ConnectionId, to: WorkerId) -> Action {
    Action::HandOver { connection, to }
}

fn no_worker(connection: ConnectionId) -> Action {
    Action::Refuse { connection, refusal: Refusal::NoWorker }
}

#[test]
fn connections_wait_for_the_first_worker_in_their_order() {
    let (mut router, now) = (router(3), Instant::now());
    let ids: Vec<_> = (0..3).map(|_| arrive(&mut router, now)).collect();
    assert_eq!(actions(&mut router), []);
    let one_too_many = arrive(&mut router, now);
    assert_eq!(actions(&mut router), [no_worker(one_too_many)]);
    router.add_worker(worker(0));
    assert_eq!(actions(&mut router), ids.iter().map(|&id| hand_over(id, worker(0))).collect::<Vec<_>>());
    assert_eq!(router.live(worker(0)), 3);
    assert_eq!(router.poll_timeout(), None);
}

#[test]
fn a_wait_in_vain_ends_with_a_refusal_at_its_time() {
    let (mut router, now) = (router(10), Instant::now());
    let first = arrive(&mut router, now);
    let second = arrive(&mut router, now + WAIT / 2);
    assert_eq!(router.poll_timeout(), Some(now + WAIT));
    router.expire(now + WAIT - Duration::from_nanos(1));
    assert_eq!(actions(&mut router), []);
    router.expire(now + WAIT);
    assert_eq!(actions(&mut router), [no_worker(first)]);
    router.stop();
    assert_eq!(actions(&mut router), [no_worker(second)]);
    let late = arrive(&mut router, now);
    assert_eq!(actions(&mut router), [no_worker(late)]);
    assert_eq!(router.open_connections(), 0);
}

#[test]
fn what_a_dead_worker_did_not_acknowledge_goes_to_others_but_not_for_ever() {
    let (mut router, now) = (router(10), Instant::now());
    router.add_worker(worker(0));
    let taken = arrive(&mut router, now);
    router.acknowledge(worker(0), taken);
    let unlucky = arrive(&mut router, now);
    actions(&mut router);
    for slot in 1..u16::from(MAX_TRIES) {
        router.add_worker(worker(slot));
        router.remove_worker(worker(slot - 1), now);
        assert_eq!(actions(&mut router), [hand_over(unlucky, worker(slot))]);
        // A late word of the former owner changes nothing.
        assert!(!router.acknowledge(worker(slot - 1), unlucky));
        assert!(!router.close(worker(slot - 1), unlucky));
    }
    router.add_worker(worker(9));
    router.remove_worker(worker(u16::from(MAX_TRIES) - 1), now);
    assert_eq!(actions(&mut router), [no_worker(unlucky)]);
    assert_eq!(router.open_connections(), 0);
}

#[test]
fn what_a_worker_could_not_take_goes_to_one_that_can_or_is_answered_here() {
    let (mut router, now) = (router(10), Instant::now());
    let refuse = |connection| Action::Refuse { connection, refusal: Refusal::OutOfDescriptors };
    router.add_worker(worker(0));
    let id = arrive(&mut router, now);
    assert!(!router.close(worker(0), id), "its duplicate is needed");
    assert_eq!(actions(&mut router), [hand_over(id, worker(0)), refuse(id)]);

    router.add_worker(worker(1));
    let mut arrive_for = |slot| {
        let id = router.open(PeerAddress::Unix).unwrap();
        router.place(id, Some(SidHome { host: 1, worker: worker(slot) }), now);
        id
    };
    let (session, other) = (arrive_for(0), arrive_for(1));
    assert!(router.acknowledge(worker(1), other));
    assert_eq!(actions(&mut router), [hand_over(session, worker(0)), hand_over(other, worker(1))]);
    assert!(!router.close(worker(0), session));
    assert_eq!(actions(&mut router), [refuse(session)], "no other has it");

    let new = arrive(&mut router, now);
    assert!(!router.close(worker(0), new));
    assert_eq!(actions(&mut router), [hand_over(new, worker(0)), hand_over(new, worker(1))]);
    assert!(!router.close(worker(1), new));
    assert_eq!(actions(&mut router), [refuse(new)]);
    assert_eq!((router.live(worker(0)), router.open_connections()), (0, 1));
    assert_eq!(router.figures().taken_back, 1);
}

#[test]
fn a_moved_connection_goes_where_it_was_moved_or_else_to_anyone() {
    let (mut router, now) = (router(10), Instant::now());
    let peer = PeerAddress::Ip([10, 0, 0, 1].into(), 5);
    (0..3).for_each(|slot| router.add_worker(worker(slot)));
    let id = router.open(peer).unwrap();
    router.place(id, Some(SidHome { host: 1, worker: worker(0) }), now);
    assert!(router.acknowledge(worker(0), id));
    assert_eq!(router.take_for_move(worker(1), id), None, "it is not this one's");
    assert_eq!(router.take_for_move(worker(0), id), Some(peer));
    router.place_at(id, worker(2), now);
    assert_eq!(actions(&mut router), [hand_over(id, worker(0)), hand_over(id, worker(2))]);
    assert_eq!((router.live(worker(0)), router.live(worker(2))), (0, 1));
    assert!(!router.close(worker(0), id));
    assert!(router.acknowledge(worker(2), id));
    assert!(router.close(worker(2), id));
    assert_eq!(router.open_connections(), 0);
}

#[test]
fn other_limits_count_the_connections_that_are_there() {
    let mut router = router(10);
    let peer = |last| PeerAddress::Ip(std::net::Ipv4Addr::new(10, 0, 0, last).into(), 1);
    let first = router.open(peer(1)).unwrap();
    let second = router.open(peer(1)).unwrap();
    router.reconfigure(Limits::new(100, 2, vec![]), WAIT, 10, Instant::now());
    assert_eq!(router.open(peer(1)), Err(Refusal::AddressLimit));
    assert!(router.open(peer(2)).is_ok());
    // What is trusted now was counted before, and the other way round: neither is left over.
    router.reconfigure(Limits::new(100, 2, vec!["10.0.0.1".parse().unwrap()]), WAIT, 10, Instant::now());
    let third = router.open(peer(1)).unwrap();
    [first, second].into_iter().for_each(|id| router.end(id, None));
    router.reconfigure(Limits::new(100, 2, vec![]), WAIT, 10, Instant::now());
    assert!(router.open(peer(1)).is_ok(), "with the third it is the second");
    assert_eq!(router.open(peer(1)), Err(Refusal::AddressLimit));
    router.end(third, None);
    assert!(router.open(peer(1)).is_ok());
    router.reconfigure(Limits::new(1, 1, vec![]), WAIT, 10, Instant::now());
    assert_eq!((router.open(peer(9)), router.open_connections()), (Err(Refusal::Limit), 3));
}

#[test]
fn a_shorter_wait_is_a_shorter_one_for_those_who_wait_already() {
    let (mut router, now) = (router(10), Instant::now());
    let first = arrive(&mut router, now);
    router.reconfigure(Limits::new(100, 100, vec![]), WAIT / 5, 10, now);
    let second = arrive(&mut router, now + WAIT / 10);
    assert_eq!(router.poll_timeout(), Some(now + WAIT / 5));
    router.expire(now + WAIT);
    assert_eq!(actions(&mut router), [no_worker(first), no_worker(second)]);
}
