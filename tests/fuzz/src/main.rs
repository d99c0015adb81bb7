//! Runs targets for some time each.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use roomd_fuzz::{Mutator, TARGETS, Target};

/// Feeds odd bytes to all that reads a peer's bytes.
#[derive(Parser)]
struct Arguments {
    /// How long, each of them.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Which bytes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only this one.
    #[arg(long)]
    target: Option<String>,
    /// Writes the bytes to begin with into a folder for each target, for `cargo fuzz`, and does nothing else.
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Checks these files' bytes, and no others.
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut failed = false;
    for target in TARGETS.iter().filter(|target| arguments.target.as_deref().is_none_or(|name| name == target.name)) {
        if let Some(corpus) = &arguments.corpus {
            write(target, &corpus.join(target.name));
        } else if arguments.files.is_empty() {
            failed |= !run(target, arguments.seed, Duration::from_secs(arguments.seconds));
        } else {
            arguments.files.iter().for_each(|file| target.check(&fs::read(file).unwrap()));
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Whether all held.
fn run(target: &Target, seed: u64, time: Duration) -> bool {
    let mut mutator = Mutator::new(seed, target.seeds());
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < time {
        let bytes = mutator.draw();
        count += 1;
        if catch_unwind(AssertUnwindSafe(|| target.check(&bytes))).is_err() {
            let file = std::env::temp_dir().join(format!("roomd-fuzz-{}", target.name));
            fs::write(&file, &bytes).unwrap();
            println!("{}: FAILED with \"{}\", kept as {}", target.name, bytes.escape_ascii(), file.display());
            return false;
        }
    }
    println!("{}: {count} times", target.name);
    true
}

fn write(target: &Target, folder: &std::path::Path) {
    fs::create_dir_all(folder).unwrap();
    for (number, seed) in target.seeds().into_iter().enumerate() {
        fs::write(folder.join(number.to_string()), seed).unwrap();
    }
}
