//! Seeds of tests that draw random histories. `ROOMD_SEED` repeats the one that failed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use fastrand::Rng;

/// Runs `check` with many seeds, the same ones each time, and tells which one failed.
pub(crate) fn each(count: u64, check: impl Fn(&mut Rng)) {
    let seeds = given().map_or(0..count, |seed| seed..seed + 1);
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&mut Rng::with_seed(seed)))) {
            eprintln!("ROOMD_SEED={seed} repeats this history");
            resume_unwind(panic);
        }
    }
}

/// A new seed each time, which is printed: for a history that is long by itself.
pub(crate) fn new() -> u64 {
    let seed = given().unwrap_or_else(|| fastrand::u64(..));
    println!("ROOMD_SEED={seed}");
    seed
}

fn given() -> Option<u64> {
    let seed = std::env::var("ROOMD_SEED").ok()?;
    Some(seed.parse().unwrap_or_else(|_| panic!("ROOMD_SEED={seed} is no number")))
}
