//! Each target for a moment, with the same bytes each time.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use roomd_fuzz::{Mutator, TARGETS};

/// So often, unless it takes longer than it may.
const TIMES: usize = 20_000;
const AT_MOST: Duration = Duration::from_millis(800);

#[test]
fn nothing_that_reads_a_peers_bytes_minds_odd_ones() {
    for target in TARGETS {
        let (mut mutator, end) = (Mutator::new(0, target.seeds()), Instant::now() + AT_MOST);
        for _ in 0..TIMES {
            if Instant::now() > end {
                break;
            }
            let bytes = mutator.draw();
            let told = std::panic::catch_unwind(|| target.check(&bytes));
            assert!(told.is_ok(), "{} with \"{}\"", target.name, bytes.escape_ascii());
        }
    }
}

#[test]
fn sound_bytes_are_there_to_begin_with() {
    for target in TARGETS {
        assert!(target.seeds().len() > 1, "{}", target.name);
        target.seeds().iter().for_each(|seed| target.check(seed));
    }
}
