//! CPU time and memory of processes, as the kernel accounts them.

use std::{fs, io, time::Duration};

/// User and system time that the processes have used so far.
pub fn cpu_time(pids: &[u32]) -> io::Result<Duration> {
    let ticks_per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100) as u64;
    let mut ticks = 0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name is in parentheses and may hold anything; utime and stime are the 12th and 13th fields behind it.
        let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<u64> = behind_name.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        ticks += fields.get(11).zip(fields.get(12)).map_or(0, |(user, system)| user + system);
    }
    Ok(Duration::from_micros(ticks * 1_000_000 / ticks_per_second))
}

/// Proportional set size of the processes in bytes: shared pages are counted once, divided among their users.
pub fn pss_bytes(pids: &[u32]) -> io::Result<u64> {
    let mut kib = 0;
    for pid in pids {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("");
        kib += line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
    }
    Ok(kib * 1024)
}

/// The process and all its descendants.
pub fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        next += 1;
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    found
}
