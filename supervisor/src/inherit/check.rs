//! The dry run: whether a program can take over, said by itself before anything is touched.

use std::{
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use roomd_wire::Readiness;
use rustix::{
    buffer::spare_capacity,
    fs::{MemfdFlags, SeekFrom, memfd_create, seek},
};

use super::{TakeoverCheck, private_variables};
use crate::{last_words::telling, process::Process};

/// How long it may take. It only reads.
const WITHIN: Duration = Duration::from_secs(15);
/// How much of what it writes is read.
const MOST_BYTES: usize = 64 * 1024;

/// Asks a program whether it can take over from this process, with the same command line and this state; gives its version, or
/// its own words.
pub async fn check(program: &Path, state: &[u8]) -> Result<String, String> {
    match tokio::time::timeout(WITHIN, ask(program, state)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(format!("cannot start {}: {error}", program.display())),
        Err(_) => Err(format!("{} does not say within {WITHIN:?} that it can take over", program.display())),
    }
}

/// Ends it if nobody waits for it any more.
struct Asked(Process);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.signal_group(Signal::SIGKILL);
    }
}

async fn ask(program: &Path, state: &[u8]) -> io::Result<Result<String, String>> {
    let given = memfd_create("roomd-state", MemfdFlags::CLOEXEC)?;
    let mut rest = state;
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(&given, rest)?..];
    }
    seek(&given, SeekFrom::Start(0))?;
    let [(stdout, to_stdout), (stderr, to_stderr)] = [io::pipe()?, io::pipe()?];
    let mut command = Command::new(program);
    for variable in private_variables() {
        command.env_remove(variable);
    }
    command
        .arg0(OsStr::new("roomd"))
        .args(["takeover", "--"])
        .args(std::env::args_os().skip(1))
        .stdin(Stdio::from(given))
        .stdout(to_stdout)
        .stderr(to_stderr);
    let asked = Asked(Process::start(&mut command)?);
    drop(command);
    let (said, complained) = tokio::try_join!(read(stdout.into()), read(stderr.into()))?;
    let exit = asked.0.ended().await;
    let answer = said.lines().rev().find_map(|line| serde_json::from_str::<TakeoverCheck>(line).ok());
    Ok(match (exit, answer) {
        (crate::slot::Exit::Code(0), Some(answer)) => Ok(answer.takeover),
        (exit, _) => {
            let program = program.display();
            Err(match telling(complained.lines()).or(telling(said.lines())) {
                Some(words) => format!("{program} says: {}", words.trim_start_matches("roomd: ")),
                None => format!("{program} does not say that it can ({exit})"),
            })
        }
    })
}

async fn read(pipe: OwnedFd) -> io::Result<String> {
    let (pipe, mut all) = (Readiness::new(pipe)?, Vec::new());
    loop {
        all.reserve(4096);
        let read = pipe.when_readable(|| Ok(rustix::io::read(&pipe, spare_capacity(&mut all))?)).await?;
        if read == 0 || all.len() > MOST_BYTES {
            return Ok(String::from_utf8_lossy(&all).into_owned());
        }
    }
}
