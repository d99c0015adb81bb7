//! As process 1, the supervisor inherits every orphan of its container, and has to reap it.

use std::collections::HashSet;

use nix::{
    errno::Errno,
    sys::wait::{Id, WaitPidFlag, waitid, waitpid},
    unistd::Pid,
};

/// Reaps what has ended and is no worker. The runtime waits for the workers by itself, and a bare `waitpid(-1)` would take them
/// away from it: so this only looks first, and stops at the first of `ours` (the kernel shows the same one until it is reaped).
pub fn reap_orphans(ours: &HashSet<u32>) {
    loop {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let ended = match waitid(Id::All, look) {
            Ok(status) => status.pid(),
            Err(Errno::EINTR) => continue,
            Err(_no_children) => return,
        };
        match ended {
            Some(pid) if !ours.contains(&pid.as_raw().cast_unsigned()) => reap(pid),
            _ => return,
        }
    }
}

fn reap(pid: Pid) {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(status) => tracing::debug!(?status, "reaped an orphan"),
        Err(error) => tracing::debug!(%pid, %error, "an orphan was not reaped"),
    }
}
