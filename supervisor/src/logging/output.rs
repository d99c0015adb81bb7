//! Where the log goes, and what of it is in force in this process.

use std::{
    io::{self, Write},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use roomd_worker::log::{self, Record};
use tracing::Level;

use super::{
    filter::{DEFAULT_FILTER, check},
    filters::Filters,
    render::{Line, Origin, render},
    style::{STYLE_VARIABLE, Style},
    writer::LogWriter,
};
use crate::config::{Environment, LogConfig, LogFormat, Problems};

/// Tells a worker how many lines of one cause it may write.
const LINES_VARIABLE: &str = "ROOMD_LOG_LINES_PER_CAUSE";

/// How long the last lines may take when the program ends.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The supervisor's way to standard error; a worker, whose output is always read, writes to it directly.
static WRITER: OnceLock<LogWriter> = OnceLock::new();
static IN_FORCE: Mutex<Option<InForce>> = Mutex::new(None);
/// What workers said and that was left out here.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

struct InForce {
    style: Style,
    config: LogConfig,
    filters: Filters,
}

/// Sees to it that the last lines are written before the program ends.
pub struct LastLines(());

impl Drop for LastLines {
    fn drop(&mut self) {
        flush();
    }
}

/// Waits, for a while, until all lines are written.
pub fn flush() {
    log::finish();
    if let Some(writer) = WRITER.get() {
        writer.flush(LAST_LINES);
    }
}

/// Starts logging in the supervisor: without ever waiting for standard error.
pub fn start_in_background(environment: &Environment) -> Result<LastLines, Problems> {
    let tell_lost =
        |lost| tracing::warn!(suppressed = lost, "lines of this log were lost: standard error was not read");
    match LogWriter::start(io::stderr(), tell_lost) {
        Ok(writer) => drop(WRITER.set(writer)),
        Err(error) => drop(writeln!(io::stderr(), "the log is written without a thread of its own: {error}")),
    }
    start(environment)?;
    Ok(LastLines(()))
}

/// Starts logging, by the environment alone: what the file says comes with [`configure`]. `ROOMD_LOG`, else `RUST_LOG`, says what
/// is logged; the default is `info`.
pub fn start(environment: &Environment) -> Result<(), Problems> {
    let filter = match ["ROOMD_LOG", "RUST_LOG"].into_iter().find_map(|name| Some((name, environment.text(name)?))) {
        None => DEFAULT_FILTER.to_owned(),
        Some((name, text)) => {
            check(&text).map_err(|reason| {
                let message = format!("the environment's {name} cannot be \"{text}\": {reason}");
                Problems::one(name, message, "give a level such as info, or more exactly info,roomd_worker=debug")
            })?;
            text
        }
    };
    // A format that is none is told with the other problems of the configuration.
    let format = environment.text("ROOMD_LOG_FORMAT").and_then(|text| text.parse().ok()).unwrap_or(LogFormat::Auto);
    let style = Style::of_process(format);
    let mut filters = Filters::default();
    filters.configure(&filter);
    let config = LogConfig { format, filter: filter.clone(), ..LogConfig::default() };
    *in_force() = Some(InForce { style, config, filters });
    let started = match style {
        Style::Records => log::start(&filter, log::write_record),
        _ => log::start(&filter, write),
    };
    // It was looked at above.
    if let Err(error) = started {
        let _ = writeln!(io::stderr(), "nothing is logged: {error}");
    }
    if let Some(lines) = environment.text(LINES_VARIABLE).and_then(|text| text.parse().ok()) {
        log::set_lines_per_cause(lines);
    }
    Ok(())
}

/// Brings what a configuration says into force. Workers that run are told their filter by whoever calls this.
pub fn configure(config: &LogConfig) {
    let mut guard = in_force();
    let Some(in_force) = guard.as_mut() else { return };
    in_force.style = Style::of_process(config.format);
    in_force.config = config.clone();
    in_force.filters.configure(&config.filter);
    let filter = in_force.filters.everywhere().to_owned();
    drop(guard);
    log::set_lines_per_cause(config.lines_per_cause);
    set_filter(&filter);
}

/// Asks or changes the filters; this process follows at once.
pub fn change_filters<T>(change: impl FnOnce(&mut Filters) -> T) -> T {
    let mut guard = in_force();
    let Some(in_force) = guard.as_mut() else { return change(&mut Filters::default()) };
    let before = in_force.filters.everywhere().to_owned();
    let result = change(&mut in_force.filters);
    let filter = in_force.filters.everywhere().to_owned();
    drop(guard);
    if filter != before {
        set_filter(&filter);
    }
    result
}

/// The supervisor's filter.
pub fn filter() -> String {
    in_force().as_ref().map_or_else(|| DEFAULT_FILTER.into(), |it| it.filters.everywhere().to_owned())
}

/// The filter of a slot's worker.
pub fn filter_in(slot: u16) -> String {
    in_force().as_ref().map_or_else(|| DEFAULT_FILTER.into(), |it| it.filters.of_slot(slot).to_owned())
}

/// What a slot's worker that is started now must know.
pub fn worker_environment(slot: u16) -> [(&'static str, String); 3] {
    let lines = in_force().as_ref().map_or(LogConfig::default().lines_per_cause, |it| it.config.lines_per_cause);
    [(STYLE_VARIABLE, "records".into()), ("ROOMD_LOG", filter_in(slot)), (LINES_VARIABLE, lines.to_string())]
}

/// How many lines were left out and lost: of the supervisor's own, and of what its workers wrote.
pub fn suppressed() -> u64 {
    log::suppressed() + LEFT_OUT.load(Relaxed) + WRITER.get().map_or(0, LogWriter::lost)
}

/// How many lines a second of one worker are written.
pub(super) fn lines_per_worker() -> u32 {
    in_force().as_ref().map_or(LogConfig::default().lines_per_worker, |it| it.config.lines_per_worker)
}

pub(super) fn count_left_out(lines: u64) {
    LEFT_OUT.fetch_add(lines, Relaxed);
}

/// Adds a line to a text, as this log's lines are.
pub(super) fn add_line(text: &mut String, line: &Line<'_>, origin: Option<&Origin>) {
    let style = in_force().as_ref().map_or(Style::Plain, |it| it.style);
    render(text, style, line, origin);
}

/// Writes whole lines, as they are.
pub(super) fn write_lines(lines: &str) {
    // Without standard error there is nobody to tell.
    let _ = match WRITER.get() {
        Some(writer) => writer.clone().write_all(lines.as_bytes()),
        None => io::stderr().write_all(lines.as_bytes()),
    };
}

/// Says words for people as a line of the log where that is JSON, for whoever reads it has no use for others; false where it is not.
pub fn say(level: Level, words: &str) -> bool {
    if !in_force().as_ref().is_some_and(|it| matches!(it.style, Style::Json { .. })) {
        return false;
    }
    write(Record::now(level, "roomd", words.to_owned()));
    if let Some(writer) = WRITER.get() {
        writer.flush(LAST_LINES);
    }
    true
}

fn write(record: Record) {
    let mut line = String::new();
    add_line(&mut line, &Line::Event(&record), None);
    write_lines(&line);
}

fn set_filter(filter: &str) {
    if let Err(error) = log::set_filter(filter) {
        tracing::error!(%error, filter, "the log's filter was not changed");
    }
}

fn in_force() -> MutexGuard<'static, Option<InForce>> {
    IN_FORCE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_a_problem_with_its_variable() {
        let error = start(&[("ROOMD_LOG", "roomd=loud")].into_iter().collect()).unwrap_err().to_string();
        assert!(error.contains("ROOMD_LOG") && error.contains("info,roomd_worker=debug"), "{error}");
        let error = start(&[("RUST_LOG", "inof")].into_iter().collect()).unwrap_err().to_string();
        assert!(error.contains("RUST_LOG cannot be \"inof\"") && error.contains("did you mean info?"), "{error}");
    }
}
