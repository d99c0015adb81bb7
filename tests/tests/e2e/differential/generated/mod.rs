//! Conversations drawn at random, had with the official server and with ours: what a client can tell is to be the same.
//!
//! | file | holds |
//! | --- | --- |
//! | `case` | what a client does, as data |
//! | `generate` | draws it |
//! | `talk` | does it |
//! | `answer`, `plain`, `json` | what came back, in a form that can be compared |
//! | `minimise` | cuts a conversation down to what makes the difference |
//!
//! The same conversations each time. `ROOMD_FUZZ_SECONDS=600` has new ones for so long, `ROOMD_SEED` says from which on, and a
//! failure names the seed of its conversation: `ROOMD_SEED=5 cargo test -p roomd-tests --test e2e -- generated`.
//!
//! A server is given a while to answer a step, and a difference counts only if it is there each time with ever longer
//! whiles, alone: what depends on time alone is not told.

mod answer;
mod case;
mod generate;
mod json;
mod minimise;
mod plain;
mod talk;

use std::{
    net::SocketAddr,
    sync::{
        RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::allowed;
use case::Case;
use fastrand::Rng;
use roomd_tests::{Cluster, Node};
use serde_json::json;
use talk::Quiet;

/// Conversations that are had at the same time: most of the time each waits.
const AT_ONCE: usize = 16;
/// Conversations of a run that nobody has asked to be longer, and the seconds after which it is long enough.
const CASES: u64 = 1500;
const SECONDS: u64 = 30;
const QUIET: Quiet = Quiet(Duration::from_millis(12));
/// Whiles in which a difference must be there as well.
const AGAIN: [Quiet; 3] =
    [Quiet(Duration::from_millis(40)), Quiet(Duration::from_millis(100)), Quiet(Duration::from_millis(300))];
const MINIMISING: usize = 40;

/// The two servers.
#[derive(Clone, Copy)]
struct Pair {
    official: SocketAddr,
    ours: SocketAddr,
}

/// What each of the two said that the other did not, if anything.
type Difference = Option<[Vec<String>; 2]>;

impl Pair {
    fn difference(self, case: &Case, quiet: Quiet) -> Difference {
        let both = thread::scope(|scope| {
            [self.official, self.ours]
                .map(|server| scope.spawn(move || talk::talk(server, case, quiet)))
                .map(|one| one.join().unwrap())
        });
        let [mut official, mut ours] = [Vec::new(), Vec::new()];
        for (number, expected) in &both[0] {
            let [expected, actual] = [expected, &both[1][number]].map(|received| plain::lines(*number, received));
            if !case.closes(*number) && !allowed::is_left_unanswered(&expected, &actual) {
                official.extend(expected);
                ours.extend(actual);
            }
        }
        (official != ours).then_some([official, ours])
    }
}

#[test]
fn generated_conversations() {
    let mut official = Node::start("echo.mjs", &[&json!({"maxHttpBufferSize": generate::LIMIT}).to_string()]);
    let port = official.line()["port"].as_u64().unwrap();
    let config = format!("[socketio]\nmax_payload = \"{}B\"\n", generate::LIMIT);
    let ours = Cluster::build(2).program("test_app").config(&config).start();
    let pair = Pair { official: SocketAddr::from(([127, 0, 0, 1], port as u16)), ours: ours.address() };

    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let (first, seconds) = (number("ROOMD_SEED"), number("ROOMD_FUZZ_SECONDS"));
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    let last = match (first, seconds) {
        (_, Some(_)) => u64::MAX,
        (Some(seed), None) => seed + 1,
        (None, None) => CASES,
    };
    let next = AtomicU64::new(first.unwrap_or(0));
    // Alone: what else goes on is no reason for a difference then.
    let report = RwLock::new(Vec::<String>::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while Instant::now() < end {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        break;
                    }
                    let case = generate::case(&mut Rng::with_seed(seed));
                    let among_others = report.read().unwrap();
                    let differs = [QUIET, AGAIN[0]].iter().all(|quiet| pair.difference(&case, *quiet).is_some());
                    drop(among_others);
                    if differs {
                        let mut report = report.write().unwrap();
                        if let Some(difference) = confirmed(pair, &case) {
                            let told = tell(pair, seed, case, difference);
                            println!("{told}");
                            report.push(told);
                        }
                    }
                }
            });
        }
    });
    let report = report.into_inner().unwrap();
    println!("{} conversations", next.load(Ordering::Relaxed).min(last) - first.unwrap_or(0));
    assert!(
        report.is_empty(),
        "{} conversations differ, - is what the official server says, + ours:\n{}",
        report.len(),
        report.concat()
    );
}

/// The difference, if it is there each time.
fn confirmed(pair: Pair, case: &Case) -> Difference {
    let mut difference = None;
    for quiet in AGAIN {
        difference = Some(pair.difference(case, quiet)?);
    }
    difference
}

/// A difference in as few words as it takes.
fn tell(pair: Pair, seed: u64, case: Case, difference: [Vec<String>; 2]) -> String {
    let small = minimise::minimise(case.clone(), MINIMISING, |case| {
        pair.difference(case, QUIET).is_some() && pair.difference(case, AGAIN[1]).is_some()
    });
    // Cut down too far, if a difference was a matter of time after all.
    let (small, [official, ours]) = match pair.difference(&small, AGAIN[2]) {
        Some(difference) => (small, difference),
        None => (case, difference),
    };
    let mut told = format!("ROOMD_SEED={seed}\n{small}");
    for line in official.iter().filter(|line| !ours.contains(line)) {
        told += &format!("  - {line}\n");
    }
    for line in ours.iter().filter(|line| !official.contains(line)) {
        told += &format!("  + {line}\n");
    }
    told
}
