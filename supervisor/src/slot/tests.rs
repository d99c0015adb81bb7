//! What the fleet does, event by event.

use std::time::{Duration, Instant};

use roomd_wire::{Generation, Slot as Place, WorkerId};

use super::{
    Action::{self, *},
    Exit, Fleet, Outcome, Pause, Phase, RunEvent, Timing,
    backoff::HEALTHY_AFTER,
    state::{FAILED_AFTER, FAILED_PAUSE, GIVE_UP_AFTER},
};
use crate::status::{DeathCause, WorkerState};

const START: Duration = Duration::from_secs(30);
const HANG: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(20);
const CONFIRM: Duration = Duration::from_secs(2);
const KILLED: Exit = Exit::Signal(9, "SIGKILL");

/// A fleet with a clock, driven by hand.
struct Hand {
    fleet: Fleet,
    now: Instant,
}

fn id(slot: u16, generation: u32) -> WorkerId {
    WorkerId { slot: Place(slot), generation: Generation(generation) }
}

impl Hand {
    /// So many slots, whose workers have just been started.
    fn new(workers: u16) -> Hand {
        let fleet = Fleet::new(Timing::new(START, HANG, GRACE), fastrand::Rng::with_seed(1));
        let mut hand = Hand { fleet, now: Instant::now() };
        hand.fleet.resize(workers, hand.now);
        let spawned: Vec<_> = (0..workers).map(|slot| Spawn(id(slot, 1))).collect();
        assert_eq!(hand.actions(), spawned);
        hand
    }

    /// The same, and all are ready.
    fn ready(workers: u16) -> Hand {
        let mut hand = Hand::new(workers);
        for slot in 0..workers {
            assert_eq!(hand.say(id(slot, 1), RunEvent::Ready), [AddToBalancer(id(slot, 1))]);
        }
        hand.outcomes();
        hand
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.fleet.poll_action()).collect()
    }

    fn outcomes(&mut self) -> Vec<Outcome> {
        std::iter::from_fn(|| self.fleet.poll_outcome()).collect()
    }

    fn say(&mut self, id: WorkerId, event: RunEvent) -> Vec<Action> {
        self.fleet.handle(id, event, self.now);
        self.actions()
    }

    fn exit(&mut self, id: WorkerId, exit: Exit) -> Vec<Action> {
        self.say(id, RunEvent::Exited(exit))
    }

    /// Time passes in small steps, and nobody answers; the actions but pings.
    fn silence(&mut self, time: Duration) -> Vec<Action> {
        let until = self.now + time;
        while self.now < until {
            self.now += Duration::from_millis(100);
            self.fleet.tick(self.now);
        }
        self.actions().into_iter().filter(|action| !matches!(action, SendPing(_))).collect()
    }

    /// The same, but everybody answers at once.
    fn pass(&mut self, time: Duration) -> Vec<Action> {
        let until = self.now + time;
        let mut others = Vec::new();
        while self.now < until {
            self.now += Duration::from_millis(100);
            self.fleet.tick(self.now);
            for action in self.actions() {
                match action {
                    SendPing(id) => self.fleet.handle(id, RunEvent::Pong, self.now),
                    other => others.push(other),
                }
            }
        }
        others
    }

    fn phases(&self, slot: u16) -> Vec<(u32, Phase)> {
        let slot = self.fleet.slot(Place(slot)).into_iter();
        slot.flat_map(|slot| slot.runs()).map(|run| (run.id().generation.0, run.phase())).collect()
    }

    fn died(&self, slot: u16, cause: DeathCause) -> u64 {
        self.fleet.slot(Place(slot)).and_then(|slot| slot.restarts().get(&cause).copied()).unwrap_or(0)
    }
}

fn pauses(actions: &[Action]) -> Vec<&Pause> {
    let pauses = actions.iter().filter_map(|action| if let ReportPause(pause) = action { Some(pause) } else { None });
    pauses.collect()
}

#[test]
fn each_way_to_die_has_its_cause_and_the_first_restart_is_at_once() {
    let failed = || RunEvent::Failed("no database".into());
    let stalled = || RunEvent::Unusable(DeathCause::Hang, "it does not read from the bus".into());
    // What it said before, how it ended, and what that is called.
    let cases: [(&[RunEvent], Exit, DeathCause, &str); 11] = [
        (&[], Exit::Code(1), DeathCause::Start, "exit status 1"),
        (&[], Exit::Signal(11, "SIGSEGV"), DeathCause::Start, "signal SEGV"),
        (&[failed()], Exit::Code(1), DeathCause::Start, "no database"),
        (&[failed()], KILLED, DeathCause::Start, "no database"),
        (&[RunEvent::Ready], KILLED, DeathCause::Kill, "signal KILL"),
        (&[RunEvent::Ready], Exit::Signal(15, "SIGTERM"), DeathCause::Kill, "signal TERM"),
        (&[RunEvent::Ready], Exit::Signal(6, "SIGABRT"), DeathCause::Crash, "signal ABRT"),
        (&[RunEvent::Ready], Exit::Code(101), DeathCause::Crash, "exit status 101"),
        (&[RunEvent::Ready], Exit::Code(0), DeathCause::Crash, "exit status 0"),
        (&[RunEvent::Ready, stalled()], KILLED, DeathCause::Hang, "it does not read from the bus"),
        // It had crashed, and that is why it seemed to hang.
        (&[RunEvent::Ready, stalled()], Exit::Signal(11, "SIGSEGV"), DeathCause::Crash, "signal SEGV"),
    ];
    for (said, exit, cause, detail) in cases {
        let mut hand = Hand::new(1);
        for event in said {
            hand.say(id(0, 1), event.clone());
        }
        let actions = hand.exit(id(0, 1), exit);
        let [RemoveFromBalancer(removed), Report(ended), Spawn(next)] = &actions[..] else {
            panic!("{said:?} {exit:?}: {actions:?}");
        };
        assert_eq!((*removed, ended.id, *next), (id(0, 1), id(0, 1), id(0, 2)));
        assert_eq!(ended.death, Some((cause, detail.to_owned())), "{said:?}");
        assert_eq!(hand.died(0, cause), 1);
    }
}

#[test]
fn a_worker_that_is_not_ready_in_time_is_killed() {
    let mut hand = Hand::new(1);
    assert_eq!(hand.silence(START - Duration::from_secs(1)), []);
    assert_eq!(hand.silence(Duration::from_secs(1)), [DrainInBalancer(id(0, 1)), KillGroup(id(0, 1))]);
    assert_eq!(hand.say(id(0, 1), RunEvent::Ready), [], "too late");
    let actions = hand.exit(id(0, 1), KILLED);
    let late = |action: &Action| matches!(action, Report(ended) if ended.death == Some((DeathCause::Start, "not ready within 30s (`start_timeout`)".into())));
    assert!(actions.iter().any(late), "{actions:?}");
}

#[test]
fn a_worker_that_does_not_answer_is_killed_and_one_that_does_is_not() {
    let mut hand = Hand::ready(2);
    assert_eq!(hand.pass(HEALTHY_AFTER * 2), []);
    let last_ping = Duration::from_secs(1);
    assert_eq!(hand.silence(HANG - last_ping), []);
    // One answer is enough, to whichever ping.
    hand.say(id(1, 1), RunEvent::Pong);
    assert_eq!(hand.silence(last_ping * 2), [DrainInBalancer(id(0, 1)), KillGroup(id(0, 1))]);
    assert_eq!(hand.phases(1), [(1, Phase::Ready)]);
}

#[test]
fn every_second_has_its_ping_until_one_is_answered() {
    let mut hand = Hand::ready(1);
    let mut pings = 0;
    for _ in 0..50 {
        hand.now += Duration::from_millis(100);
        hand.fleet.tick(hand.now);
        pings += hand.actions().len();
    }
    assert_eq!(pings, 5, "a lost ping costs nobody its life");
}

#[test]
fn pauses_grow_until_the_slot_is_failed_and_it_is_tried_on() {
    let mut hand = Hand::ready(1);
    for death in 1..=FAILED_AFTER + 3 {
        let actions = hand.exit(id(0, death), Exit::Code(1));
        let state = if death >= FAILED_AFTER { WorkerState::Failed } else { WorkerState::Backoff };
        match &pauses(&actions)[..] {
            [] => assert_eq!(death, 1, "only the first restart is at once"),
            [pause] => {
                assert_eq!((pause.state, pause.deaths), (state, death));
                assert!(death < FAILED_AFTER || pause.pause >= FAILED_PAUSE, "{pause:?}");
                assert_eq!(hand.fleet.slot(Place(0)).map(|slot| slot.empty_state()), Some(state));
                let waited = hand.silence(pause.pause + Duration::from_millis(100));
                assert_eq!(waited, [Spawn(id(0, death + 1))]);
            }
            more => panic!("{more:?}"),
        }
    }
    // A healthy minute, and all is forgotten.
    hand.say(id(0, FAILED_AFTER + 4), RunEvent::Ready);
    hand.pass(HEALTHY_AFTER);
    let actions = hand.exit(id(0, FAILED_AFTER + 4), Exit::Code(1));
    assert_eq!(actions.last(), Some(&Spawn(id(0, FAILED_AFTER + 5))));
}

#[test]
fn when_no_worker_ever_starts_there_is_no_hope() {
    let mut hand = Hand::new(2);
    for generation in 1..=GIVE_UP_AFTER as u32 {
        for slot in 0..2 {
            assert!(!hand.fleet.hopeless());
            hand.exit(id(slot, generation), Exit::Code(1));
        }
        hand.silence(Duration::from_secs(1));
    }
    assert!(hand.fleet.hopeless());
    let mut hand = Hand::new(2);
    hand.say(id(1, 1), RunEvent::Ready);
    for generation in 1..=GIVE_UP_AFTER as u32 {
        hand.exit(id(0, generation), Exit::Code(1));
        hand.pass(Duration::from_secs(1));
    }
    assert!(!hand.fleet.hopeless(), "one of them serves");
}

#[test]
fn a_stop_goes_from_drain_to_term_to_kill() {
    let mut hand = Hand::ready(1);
    hand.fleet.stop(hand.now);
    assert_eq!(hand.actions(), [DrainInBalancer(id(0, 1)), SendDrain(id(0, 1), GRACE)]);
    assert_eq!(hand.pass(GRACE), []);
    assert_eq!(hand.pass(Duration::from_secs(1)), [DrainInBalancer(id(0, 1)), TermGroup(id(0, 1))]);
    assert_eq!(hand.pass(Duration::from_secs(1)), [DrainInBalancer(id(0, 1)), KillGroup(id(0, 1))]);
    assert!(!hand.fleet.has_ended());
    assert_eq!(hand.exit(id(0, 1), KILLED).len(), 2, "removed and reported, not restarted");
    assert!(hand.fleet.has_ended());
    assert_eq!(hand.fleet.poll_timeout(), None);
}

#[test]
fn a_stop_does_not_wait_for_a_hung_worker_longer_than_for_an_answer() {
    let mut hand = Hand::ready(1);
    hand.fleet.stop(hand.now);
    let actions = hand.silence(HANG + Duration::from_secs(2));
    assert_eq!(actions.last(), Some(&KillGroup(id(0, 1))), "{actions:?}");
    let Some(Report(ended)) = hand.exit(id(0, 1), KILLED).pop() else { panic!("no report") };
    assert!(matches!(ended.death, Some((DeathCause::Hang, _))), "{ended:?}");
}

#[test]
fn a_second_stop_kills_at_once_and_so_does_one_in_the_middle_of_anything() {
    let mut hand = Hand::ready(3);
    hand.fleet.replace(Place(1), hand.now);
    hand.exit(id(2, 1), Exit::Code(1));
    hand.exit(id(2, 2), Exit::Code(1));
    hand.actions();
    hand.fleet.kill_all(hand.now);
    let mut killed = hand.actions();
    killed.retain(|action| matches!(action, KillGroup(_)));
    assert_eq!(killed, [KillGroup(id(0, 1)), KillGroup(id(1, 2)), KillGroup(id(1, 1))], "slot 2 was in backoff");
    for id in [id(0, 1), id(1, 2), id(1, 1)] {
        hand.exit(id, KILLED);
    }
    assert!(hand.fleet.has_ended());
}

#[test]
fn the_old_worker_leaves_only_when_the_new_one_is_ready() {
    let mut hand = Hand::ready(1);
    assert!(hand.fleet.replace(Place(0), hand.now));
    assert_eq!(hand.actions(), [Spawn(id(0, 2))]);
    assert_eq!(hand.pass(Duration::from_secs(5)), []);
    let actions = hand.say(id(0, 2), RunEvent::Ready);
    assert_eq!(actions, [AddToBalancer(id(0, 2)), DrainInBalancer(id(0, 1)), SendDrain(id(0, 1), GRACE)]);
    assert_eq!(hand.outcomes(), [Outcome::Confirmed(id(0, 2))]);
    assert_eq!(hand.phases(0), [(2, Phase::Ready), (1, Phase::Draining)]);
    hand.exit(id(0, 1), Exit::Code(0));
    assert_eq!(hand.phases(0), [(2, Phase::Ready)]);
    assert_eq!(hand.outcomes(), []);
    assert!(!hand.fleet.replace(Place(7), hand.now), "there is no such slot");
}

/// One slot whose worker is being replaced by one that was ready just now, but is not trusted yet.
fn unconfirmed() -> Hand {
    let mut hand = Hand::ready(1);
    hand.fleet.set_timing(Timing { confirm: CONFIRM, ..Timing::new(START, HANG, GRACE) });
    hand.fleet.replace(Place(0), hand.now);
    hand.actions();
    assert_eq!(hand.say(id(0, 2), RunEvent::Ready), [AddToBalancer(id(0, 2))]);
    hand
}

#[test]
fn the_old_worker_keeps_its_clients_until_the_new_one_is_trusted() {
    let mut hand = unconfirmed();
    assert_eq!(hand.pass(CONFIRM - Duration::from_millis(100)), []);
    assert_eq!(hand.phases(0), [(1, Phase::Ready), (2, Phase::Ready)]);
    assert_eq!(hand.outcomes(), []);
    assert_eq!(hand.pass(Duration::from_millis(100)), [DrainInBalancer(id(0, 1)), SendDrain(id(0, 1), GRACE)]);
    assert_eq!(hand.phases(0), [(2, Phase::Ready), (1, Phase::Draining)]);
    assert_eq!(hand.outcomes(), [Outcome::Confirmed(id(0, 2))]);
    assert_eq!(hand.pass(HEALTHY_AFTER.min(GRACE)), [], "it is said once");
}

#[test]
fn a_new_worker_that_crashes_before_it_is_trusted_leaves_the_old_one_as_it_was() {
    let mut hand = unconfirmed();
    hand.pass(Duration::from_millis(500));
    hand.exit(id(0, 2), Exit::Code(101));
    let [Outcome::Died { id: died, cause: Some(DeathCause::Crash), ready_for: Some(ready_for), .. }] =
        hand.outcomes()[..]
    else {
        panic!("it is told how")
    };
    assert_eq!((died, ready_for), (id(0, 2), Duration::from_millis(500)));
    assert_eq!(hand.phases(0), [(1, Phase::Ready)]);
    assert_eq!(hand.pass(HEALTHY_AFTER), [], "and nothing is started");
}

#[test]
fn a_replacement_that_is_called_off_ends_its_clients_and_the_old_worker_stays() {
    let mut hand = unconfirmed();
    hand.fleet.call_off(Place(0), hand.now);
    assert_eq!(hand.actions(), [DrainInBalancer(id(0, 2)), SendDrain(id(0, 2), GRACE)]);
    assert_eq!(hand.phases(0), [(1, Phase::Ready), (2, Phase::Draining)]);
    // One that only starts has no clients.
    let mut hand = Hand::ready(1);
    hand.fleet.replace(Place(0), hand.now);
    hand.actions();
    hand.fleet.call_off(Place(0), hand.now);
    assert_eq!(hand.actions(), [DrainInBalancer(id(0, 2)), TermGroup(id(0, 2))]);
    hand.exit(id(0, 2), Exit::Code(0));
    assert_eq!((hand.phases(0), hand.outcomes()), (vec![(1, Phase::Ready)], vec![]));
}

#[test]
fn a_drained_slot_stays_without_a_worker_until_it_is_undrained() {
    let mut hand = Hand::ready(2);
    hand.fleet.drain(Place(1), hand.now);
    assert_eq!(hand.actions(), [DrainInBalancer(id(1, 1)), SendDrain(id(1, 1), GRACE)]);
    hand.exit(id(1, 1), Exit::Code(0));
    hand.outcomes();
    let slot =
        |hand: &Hand| hand.fleet.slot(Place(1)).map(|slot| (slot.is_drained(), slot.is_gone(), slot.empty_state()));
    assert_eq!(slot(&hand), Some((true, false, WorkerState::Drained)));
    assert_eq!((hand.fleet.wanted(), hand.pass(HEALTHY_AFTER)), (1, vec![]));
    // Neither a reload nor another number of workers starts it.
    assert!(!hand.fleet.replace(Place(1), hand.now));
    hand.fleet.resize(3, hand.now);
    assert_eq!(hand.actions(), [Spawn(id(2, 1))]);
    hand.fleet.drain(Place(1), hand.now);
    assert_eq!(hand.actions(), [], "twice is once");
    hand.fleet.undrain(Place(1), hand.now);
    assert_eq!(hand.actions(), [Spawn(id(1, 2))]);
    hand.fleet.undrain(Place(1), hand.now);
    assert_eq!((hand.actions(), hand.fleet.wanted()), (vec![], 3));
}

#[test]
fn a_drained_slot_that_is_taken_away_is_a_usual_one_when_it_comes_back() {
    let mut hand = Hand::ready(2);
    hand.fleet.drain(Place(1), hand.now);
    hand.exit(id(1, 1), Exit::Code(0));
    hand.fleet.resize(1, hand.now);
    assert!(hand.fleet.slot(Place(1)).is_some_and(|slot| slot.is_gone()));
    hand.actions();
    hand.fleet.resize(2, hand.now);
    assert_eq!(hand.actions(), [Spawn(id(1, 2))]);
}

/// Its clients lost their sessions without a word: that is told as any other death, but the slot has its worker.
#[test]
fn a_worker_that_dies_amid_its_drain_has_not_ended_as_asked() {
    for (act, cause) in [
        (
            &(|hand: &mut Hand| drop(hand.exit(id(0, 1), Exit::Signal(11, "SIGSEGV")))) as &dyn Fn(&mut Hand),
            DeathCause::Crash,
        ),
        (&|hand| drop(hand.exit(id(0, 1), KILLED)), DeathCause::Kill),
        (
            &|hand| {
                assert_eq!(hand.silence(HANG + Duration::from_secs(2)).last(), Some(&KillGroup(id(0, 1))));
                hand.exit(id(0, 1), KILLED);
            },
            DeathCause::Hang,
        ),
    ] {
        let mut hand = Hand::ready(1);
        hand.fleet.resize(0, hand.now);
        assert_eq!(hand.actions(), [DrainInBalancer(id(0, 1)), SendDrain(id(0, 1), GRACE)]);
        act(&mut hand);
        assert_eq!((hand.died(0, cause), hand.phases(0)), (1, vec![]), "{cause}");
        assert!(!hand.actions().iter().any(|action| matches!(action, Spawn(_) | ReportPause(_))));
    }
}

#[test]
fn a_new_worker_that_dies_leaves_the_old_one_as_it_was() {
    let mut hand = Hand::ready(1);
    hand.fleet.replace(Place(0), hand.now);
    hand.say(id(0, 2), RunEvent::Failed("no database".into()));
    hand.exit(id(0, 2), Exit::Code(1));
    let cause = Some(DeathCause::Start);
    assert_eq!(hand.outcomes(), [Outcome::Died { id: id(0, 2), cause, reason: "no database".into(), ready_for: None }]);
    assert_eq!(hand.phases(0), [(1, Phase::Ready)]);
    assert_eq!(hand.pass(HEALTHY_AFTER), [], "and nothing is started");
}

#[test]
fn when_the_old_worker_dies_first_the_new_one_takes_its_place() {
    let mut hand = Hand::ready(1);
    hand.fleet.replace(Place(0), hand.now);
    hand.actions();
    let actions = hand.exit(id(0, 1), KILLED);
    assert!(!actions.iter().any(|action| matches!(action, Spawn(_))), "one is on its way: {actions:?}");
    assert_eq!(hand.say(id(0, 2), RunEvent::Ready), [AddToBalancer(id(0, 2))]);
}

#[test]
fn fewer_slots_drain_and_more_go_on_with_new_generations() {
    let mut hand = Hand::ready(3);
    hand.fleet.resize(1, hand.now);
    let drained = [1, 2].map(|slot| SendDrain(id(slot, 1), GRACE));
    let actions = hand.actions();
    assert!(drained.iter().all(|drain| actions.contains(drain)) && actions.len() == 4, "{actions:?}");
    // Slot 2 comes back while its old worker still drains.
    hand.exit(id(1, 1), Exit::Code(0));
    hand.fleet.resize(3, hand.now);
    assert_eq!(hand.actions(), [Spawn(id(1, 2)), Spawn(id(2, 2))]);
    assert_eq!(hand.phases(2), [(2, Phase::Starting), (1, Phase::Draining)]);
}

#[test]
fn a_process_that_cannot_be_killed_is_left_behind() {
    let mut hand = Hand::ready(1);
    let killed = hand.silence(HANG + Duration::from_secs(2));
    assert_eq!(killed.last(), Some(&KillGroup(id(0, 1))));
    let again = hand.say(id(0, 1), RunEvent::Unusable(DeathCause::Crash, "its socket failed".into()));
    assert_eq!(again, [], "it has been killed");
    let actions = hand.silence(Duration::from_secs(5));
    assert_eq!(actions.last(), Some(&Spawn(id(0, 2))), "{actions:?}");
    assert_eq!(hand.say(id(0, 2), RunEvent::Ready), [AddToBalancer(id(0, 2))]);
    hand.fleet.stop(hand.now);
    hand.exit(id(0, 2), Exit::Code(0));
    assert!(hand.fleet.has_ended(), "a stop does not wait for it either");
    hand.exit(id(0, 1), KILLED);
    assert_eq!(hand.died(0, DeathCause::Hang), 1, "when it ends after all, it is counted");
}

#[test]
fn a_gap_in_the_supervisors_own_loop_is_held_against_nobody() {
    let hour = Duration::from_secs(3600);
    let mut hand = Hand::ready(2);
    hand.fleet.resize(3, hand.now);
    hand.fleet.replace(Place(1), hand.now);
    hand.say(id(1, 2), RunEvent::Ready);
    hand.silence(Duration::from_secs(2));
    let before = [hand.phases(0), hand.phases(1), hand.phases(2)];
    // Answers lie in the sockets, unread; a start and a drain had no time either.
    hand.now += hour;
    hand.fleet.tick(hand.now);
    assert!(hand.actions().iter().all(|action| matches!(action, SendPing(_))));
    assert_eq!(before, [hand.phases(0), hand.phases(1), hand.phases(2)]);
    // From here on, who does not answer is hung.
    let killed = hand.silence(HANG + Duration::from_millis(200));
    let killed = killed.iter().filter(|action| matches!(action, KillGroup(_))).count();
    assert_eq!(killed, 3, "both ready ones, and the one that drains");
}

#[test]
fn words_of_the_unknown_change_nothing() {
    let mut hand = Hand::ready(1);
    for late in [id(0, 9), id(5, 1)] {
        for event in [
            RunEvent::Ready,
            RunEvent::Pong,
            RunEvent::Exited(KILLED),
            RunEvent::Failed("x".into()),
            RunEvent::SpawnFailed("x".into()),
            RunEvent::Unusable(DeathCause::Hang, "x".into()),
        ] {
            assert_eq!(hand.say(late, event), []);
        }
    }
    assert_eq!(hand.phases(0), [(1, Phase::Ready)]);
}
