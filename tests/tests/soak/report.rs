//! What was seen, as tables for a person.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use roomd_tests::Cluster;
use serde_json::Value;

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// So many rows has the table of memory at the most.
const ROWS: usize = 13;

/// Memory at one moment, in bytes.
struct Memory {
    at: Duration,
    supervisor: u64,
    workers: u64,
    processes: usize,
}

pub(crate) struct Report {
    begin: Instant,
    memory: Vec<Memory>,
    healed: BTreeMap<&'static str, Vec<Duration>>,
}

impl Report {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let mut report = Report { begin: Instant::now(), memory: Vec::new(), healed: BTreeMap::new() };
        report.look(cluster);
        report
    }

    /// Waits, and looks at the memory meanwhile.
    pub(crate) fn quiet_for(&mut self, time: Duration, cluster: &Cluster) {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            thread::sleep(left.min(LOOK_EVERY));
            self.look(cluster);
        }
    }

    pub(crate) fn healed(&mut self, kind: &'static str, after: Duration) {
        self.healed.entry(kind).or_default().push(after);
    }

    fn look(&mut self, cluster: &Cluster) {
        let status = cluster.status();
        let workers = status["workers"].as_array().unwrap();
        self.memory.push(Memory {
            at: self.begin.elapsed(),
            supervisor: status["supervisor"]["rss_bytes"].as_u64().unwrap_or(0),
            workers: workers.iter().filter_map(|worker| worker["rss_bytes"].as_u64()).sum(),
            processes: workers.len(),
        });
    }

    /// The figures of the clients, and what was seen here.
    pub(crate) fn write(&self, figures: &Value, seed: u64) -> String {
        let mut text = String::new();
        let number = |key: &str| figures[key].as_f64().unwrap_or(0.0);
        let _ = writeln!(text, "{:.0} clients, {:.0} s, seed {seed}\n", number("clients"), number("elapsedMs") / 1e3);
        let _ = writeln!(text, "| clients and messages | |\n| --- | ---: |");
        for (name, value) in [
            ("time that clients were in their rooms", format!("{:.3} %", number("thereShare") * 100.0)),
            ("the longest that one was away", format!("{:.1} s", number("longestAwayMs") / 1e3)),
            ("messages sent", figures["sent"].to_string()),
            ("deliveries due", figures["expected"].to_string()),
            ("delivered", figures["delivered"].to_string()),
            ("delivered twice", figures["duplicates"].to_string()),
            ("delivered out of order", figures["reordered"].to_string()),
            ("time on the way, half below", format!("{} ms", figures["latencyMs"]["p50"])),
            ("99 % below", format!("{} ms", figures["latencyMs"]["p99"])),
            ("99.9 % below", format!("{} ms", figures["latencyMs"]["p999"])),
        ] {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        for (title, key) in [
            ("deliveries missed, by cause", "lost"),
            ("connections ended, by cause", "left"),
            ("failed attempts to connect again", "errors"),
        ] {
            let _ = writeln!(text, "\n| {title} | |\n| --- | ---: |");
            for (cause, count) in figures[key].as_object().into_iter().flatten() {
                let _ = writeln!(text, "| {cause} | {count} |");
            }
        }
        let _ = writeln!(
            text,
            "\n| fault | times | all well again after, median | longest |\n| --- | ---: | ---: | ---: |"
        );
        for (kind, times) in &self.healed {
            let mut times = times.clone();
            times.sort();
            let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
            let _ = writeln!(text, "| {kind} | {} | {median:.1?} | {longest:.1?} |", times.len());
        }
        let _ =
            writeln!(text, "\n| after | supervisor | workers together | processes |\n| ---: | ---: | ---: | ---: |");
        for memory in self.memory.iter().step_by(self.memory.len().div_ceil(ROWS)).chain(self.memory.last()) {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let _ = writeln!(
                text,
                "| {:.0} s | {:.1} MiB | {:.1} MiB | {} |",
                memory.at.as_secs_f64(),
                mib(memory.supervisor),
                mib(memory.workers),
                memory.processes
            );
        }
        text
    }
}
