//! What `roomd status` shows to people.

use std::fmt::Write as _;

use crate::{
    human::{duration, printable},
    status::{BusState, Death, Progress, Status, WorkerState, WorkerStatus},
};

const COLUMNS: [&str; 10] =
    ["SLOT", "GEN", "PID", "STATE", "CONNECTIONS", "SESSIONS", "SOCKETS", "RESTARTS", "UPTIME", "MEMORY"];

/// The status as text: the cluster, a row for each worker, and how workers died.
pub fn table(status: &Status) -> String {
    let mut out = String::new();
    let supervisor = &status.supervisor;
    let memory = supervisor.rss_bytes.map_or_else(String::new, |bytes| format!(", {}", mebibytes(bytes)));
    line(
        &mut out,
        format_args!(
            "roomd {} is {}: pid {}, up {}{memory}",
            supervisor.version,
            supervisor.state,
            supervisor.pid,
            duration(supervisor.uptime_s)
        ),
    );
    line(&mut out, format_args!("listening  {}", status.listeners.join("  ")));
    line(&mut out, format_args!("admin      {}", status.admin.as_deref().unwrap_or("off")));
    line(&mut out, format_args!("control    {}", status.control.display()));
    line(&mut out, format_args!("bus        {}", bus(status)));
    line(&mut out, format_args!("workers    {} of {} ready", status.ready(), supervisor.wanted_workers));
    if let Some(Progress { what, done, of }) = &supervisor.progress {
        line(&mut out, format_args!("under way  {what}: {done} of {of} done"));
    }
    line(&mut out, format_args!(""));

    let rows: Vec<[String; 10]> = status.workers.iter().map(row).collect();
    let widths: [usize; 10] = std::array::from_fn(|i| {
        rows.iter().map(|row| row[i].chars().count()).chain([COLUMNS[i].len()]).max().unwrap_or(0)
    });
    let mut push_row = |cells: [&str; 10]| {
        let padded = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| match COLUMNS[column] {
            "STATE" => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        line(&mut out, format_args!("{}", padded.collect::<Vec<_>>().join("  ").trim_end()));
    };
    push_row(COLUMNS);
    for row in &rows {
        push_row(std::array::from_fn(|i| row[i].as_str()));
    }
    // A slot's last death is told once, however many workers of the slot still drain.
    let mut told = None;
    for worker in &status.workers {
        if let Some(handler) = &worker.busy_with {
            let handler = printable(handler);
            line(&mut out, format_args!("\nslot {}: blocked by the handler of {handler}", worker.slot));
        }
        if worker.recycled > 0 && worker.state != WorkerState::Draining {
            let times = if worker.recycled == 1 { "once".to_owned() } else { format!("{} times", worker.recycled) };
            line(&mut out, format_args!("\nslot {}: recycled {times} for its memory", worker.slot));
        }
        if let Some(death) = &worker.last_death
            && told.replace(worker.slot) != Some(worker.slot)
        {
            describe(&mut out, worker, death);
        }
    }
    out
}

fn row(worker: &WorkerStatus) -> [String; 10] {
    let lives = worker.pid.is_some();
    let if_lives = |text: String| if lives { text } else { "-".into() };
    let state = match (worker.state, worker.retry_in_s) {
        (WorkerState::Backoff, Some(seconds)) => format!("backoff, {}", duration(seconds)),
        (WorkerState::Draining, _) if worker.time_left_s.is_some() => {
            format!("draining, {} left", duration(worker.time_left_s.unwrap_or_default()))
        }
        (state, _) if worker.busy_with.is_some() => format!("{state}, blocked"),
        (state, _) if worker.bus_up == Some(false) => format!("{state}, no bus"),
        (state, _) => state.to_string(),
    };
    [
        worker.slot.to_string(),
        worker.generation.to_string(),
        worker.pid.map_or_else(|| "-".into(), |pid| pid.to_string()),
        state,
        if_lives(worker.connections.to_string()),
        if_lives(worker.sessions.to_string()),
        if_lives(worker.sockets.to_string()),
        worker.restarts.to_string(),
        if_lives(duration(worker.uptime_s)),
        if_lives(mebibytes(worker.rss_bytes)),
    ]
}

fn describe(out: &mut String, worker: &WorkerStatus, death: &Death) {
    let causes: Vec<String> =
        worker.restarts_by_cause.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
    let causes = if causes.is_empty() { String::new() } else { format!(" (restarts: {})", causes.join(", ")) };
    let pid = if death.pid == 0 { String::new() } else { format!(" (pid {})", death.pid) };
    line(
        out,
        format_args!(
            "\nslot {}: generation {}{pid} ended {} ago, {}: {}{causes}",
            worker.slot,
            death.generation,
            duration(death.ago_s),
            death.cause,
            printable(&death.detail)
        ),
    );
    for words in &death.last_words {
        line(out, format_args!("  | {}", printable(words)));
    }
}

fn bus(status: &Status) -> String {
    let bus = &status.bus;
    let place = bus.url.as_deref().map_or_else(String::new, |url| format!(" at {url}"));
    let health = match (bus.state, bus.latency_ms, &bus.reason) {
        (BusState::Up, Some(latency), _) => format!("a message takes {latency:.1} ms"),
        (BusState::Up, None, _) => String::new(),
        (BusState::Down, _, Some(reason)) => printable(reason),
        (BusState::Down, _, None) => String::new(),
    };
    let since = duration(bus.since_s);
    let health = if health.is_empty() { health } else { format!(": {health}") };
    format!("{}{place}, {} for {since}{health}", bus.kind, bus.state)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}
