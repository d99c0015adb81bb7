//! Cuts a conversation down to what it takes for the servers to differ.

use std::thread;

use super::case::{Case, Step};

/// How many smaller ones are tried at the same time.
const AT_ONCE: usize = 8;

/// A small conversation for which `differs` holds, as it does for `case`.
pub fn minimise(mut case: Case, mut tries: usize, differs: impl Fn(&Case) -> bool + Sync) -> Case {
    'smaller: while tries > 0 {
        for some in smaller(&case).chunks(AT_ONCE) {
            tries = tries.saturating_sub(1);
            let verdicts = thread::scope(|scope| {
                let tried: Vec<_> = some.iter().map(|case| scope.spawn(|| differs(case))).collect();
                tried.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
            });
            if let Some(at) = verdicts.iter().position(|differs| *differs) {
                case = some[at].clone();
                continue 'smaller;
            }
            if tries == 0 {
                break;
            }
        }
        break;
    }
    case
}

/// The same with one thing less: a step, a frame, a header, a part of some bytes.
fn smaller(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    for at in (0..case.0.len()).rev() {
        let mut without = case.clone();
        without.0.remove(at);
        all.push(without.sound());
    }
    for (at, step) in case.0.iter().enumerate() {
        let mut with = |step: Step| {
            let mut smaller = case.clone();
            smaller.0[at] = step;
            all.push(smaller);
        };
        match step {
            Step::Open { number, request } | Step::Again { number, request } => {
                let mut requests = Vec::new();
                if request.cut.is_some() {
                    let mut whole = request.clone();
                    whole.cut = None;
                    requests.push(whole);
                }
                for body in request.body.iter().flat_map(|body| shorter(body)) {
                    let mut smaller = request.clone();
                    smaller.body = Some(body);
                    requests.push(smaller);
                }
                for request in requests {
                    let number = *number;
                    with(match step {
                        Step::Open { .. } => Step::Open { number, request },
                        _ => Step::Again { number, request },
                    });
                }
            }
            Step::Frames { number, frames, cut } => {
                let number = *number;
                if cut.is_some() {
                    with(Step::Frames { number, frames: frames.clone(), cut: None });
                }
                for index in 0..frames.len() {
                    let mut fewer = frames.clone();
                    fewer.remove(index);
                    if !fewer.is_empty() {
                        with(Step::Frames { number, frames: fewer, cut: None });
                    }
                    for payload in shorter(&frames[index].payload) {
                        let mut shorter = frames.clone();
                        shorter[index].payload = payload;
                        with(Step::Frames { number, frames: shorter, cut: *cut });
                    }
                }
            }
            Step::Close { .. } | Step::Poll { .. } => {}
        }
    }
    all
}

/// The bytes without a part, large parts first.
fn shorter(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut length = bytes.len().div_ceil(2);
    while length > 0 {
        for at in (0..bytes.len()).step_by(length) {
            let mut shorter = bytes.to_vec();
            shorter.drain(at..bytes.len().min(at + length));
            all.push(shorter);
        }
        length /= if length < 8 { length.max(2) } else { 4 };
    }
    all
}
