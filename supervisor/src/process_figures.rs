//! What the kernel tells of a process: memory, CPU time, threads, descriptors.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

/// The kernel's figures of a process, as far as it tells them.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessFigures {
    /// CPU time that it has used, in user mode and in the kernel, in seconds.
    pub cpu_s: Option<f64>,
    /// Resident memory, in bytes.
    pub resident_bytes: Option<u64>,
    /// Virtual memory, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// When it started, in seconds since 1970.
    pub started_unix_s: Option<f64>,
    /// Descriptors that are open; only of this process.
    pub open_fds: Option<u64>,
    /// The most that there may be; only of this process. A worker has the same limit.
    pub max_fds: Option<u64>,
}

impl ProcessFigures {
    /// Of a process.
    pub fn of(pid: u32) -> Self {
        let folder = Path::new("/proc").join(pid.to_string());
        fs::read_to_string(folder.join("stat")).map(|stat| parse(&stat)).unwrap_or_default()
    }

    /// Of this process.
    pub fn own() -> Self {
        let mut own = Self::of(std::process::id());
        let (clock, ticks) = (fs::read_to_string("/proc/stat").unwrap_or_default(), started_ticks());
        own.started_unix_s = boot_time(&clock).zip(ticks).map(|(boot, ticks)| boot + ticks / ticks_per_second());
        own.open_fds = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
        own.max_fds = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        own
    }
}

/// Out of `/proc/PID/stat`: see proc(5).
fn parse(stat: &str) -> ProcessFigures {
    let Some(fields) = fields(stat) else { return ProcessFigures::default() };
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let cpu = number(11).zip(number(12)).map(|(user, system)| (user + system) as f64 / ticks_per_second());
    ProcessFigures {
        cpu_s: cpu,
        threads: number(17),
        virtual_bytes: number(20),
        resident_bytes: number(21).map(|pages| pages * rustix::param::page_size() as u64),
        ..ProcessFigures::default()
    }
}

/// What follows the name, which can hold spaces and parentheses itself. The first is the third of proc(5).
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().collect())
}

fn started_ticks() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    fields(&stat)?.get(19)?.parse().ok()
}

/// When the machine started, in seconds since 1970.
fn boot_time(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat =
            "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 0 0 250 150 0 0 20 0 3 0 12345 1000000 25 18446744073709551615";
        let figures = parse(stat);
        assert_eq!((figures.threads, figures.virtual_bytes), (Some(3), Some(1_000_000)));
        assert_eq!(figures.cpu_s, Some(400.0 / ticks_per_second()));
        assert_eq!(figures.resident_bytes, Some(25 * rustix::param::page_size() as u64));
        assert_eq!(parse("nothing"), ProcessFigures::default());
        assert_eq!(parse("1 (x) S 1"), ProcessFigures::default());
    }

    #[test]
    fn this_process_is_known_and_one_that_is_not_there_is_not() {
        let own = ProcessFigures::own();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        assert!(own.started_unix_s.is_some_and(|started| (now - 3600.0..now + 2.0).contains(&started)), "{own:?}");
        assert!(own.open_fds < own.max_fds && own.resident_bytes > Some(1 << 20), "{own:?}");
        assert_eq!(ProcessFigures::of(u32::MAX), ProcessFigures::default());
    }
}
