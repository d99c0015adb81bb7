//! As process 1, the supervisor inherits every orphan of its container, and has to reap it.

use std::{collections::HashSet, io, mem::MaybeUninit};

use nix::libc;
use rustix::process::{Pid, WaitOptions, waitpid};

/// Reaps what has ended and is no worker. The runtime waits for the workers by itself, and a bare `waitpid(-1)` would take them
/// away from it: so this only looks first, and stops at the first of `ours` (the kernel shows the same one until it is reaped).
pub fn reap_orphans(ours: &HashSet<u32>) {
    loop {
        match look() {
            Ok(Some(pid)) if !ours.contains(&pid.as_raw_pid().cast_unsigned()) => reap(pid),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // None has ended, or there is none.
            Ok(_) | Err(_) => return,
        }
    }
}

/// A child that has ended, if there is one; it is left as it is.
///
/// By hand: nix cannot express an end by a real-time signal and gives an error without the process in its place, rustix does not
/// tell the process.
#[allow(unsafe_code)]
fn look() -> io::Result<Option<Pid>> {
    let mut ended = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the system writes one siginfo_t, into this one, which is ours until the call returns.
    if unsafe { libc::waitid(libc::P_ALL, 0, ended.as_mut_ptr(), options) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is plain data, all zero before the call; si_pid is what the call fills in, and stays zero where no child has ended.
    let pid = unsafe { ended.assume_init().si_pid() };
    Ok(Pid::from_raw(pid))
}

fn reap(pid: Pid) {
    match waitpid(Some(pid), WaitOptions::NOHANG) {
        Ok(status) => tracing::debug!(?status, "reaped an orphan"),
        Err(error) => tracing::debug!(%pid, %error, "an orphan was not reaped"),
    }
}
