//! The log: on standard error, readable on a terminal, ready for journald where that reads it.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal as _, Write},
    sync::OnceLock,
    time::Duration,
};

use roomd_wire::WorkerId;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Writer},
    },
    registry::LookupSpan,
};

use crate::{
    config::{Environment, Problems, nearest},
    log_writer::LogWriter,
};

/// Tells a worker, whose standard error is a pipe to the supervisor, how the supervisor's own log looks.
pub const STYLE_VARIABLE: &str = "ROOMD_LOG_STYLE";

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// With colours, for a terminal.
    Terminal,
    /// With the time, for a file.
    Plain,
    /// With the priority in front as `<6>`, and without the time, which journald has.
    Journal,
}

impl Style {
    /// The style that fits where standard error goes.
    pub fn choose(environment: &Environment, is_terminal: bool) -> Style {
        match environment.text(STYLE_VARIABLE).as_deref() {
            Some("terminal") => Style::Terminal,
            Some("plain") => Style::Plain,
            Some("journal") => Style::Journal,
            _ if is_terminal && environment.get("NO_COLOR").is_none() => Style::Terminal,
            _ if !is_terminal && environment.get("JOURNAL_STREAM").is_some() => Style::Journal,
            _ => Style::Plain,
        }
    }

    /// The style of this process.
    pub fn of_process() -> Style {
        Style::choose(&Environment::of_process(), std::io::stderr().is_terminal())
    }

    /// The value of [`STYLE_VARIABLE`] that means it.
    pub fn as_str(self) -> &'static str {
        match self {
            Style::Terminal => "terminal",
            Style::Plain => "plain",
            Style::Journal => "journal",
        }
    }
}

/// How long the last lines may take when the program ends.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The supervisor's way to standard error; a worker, whose output is always read, writes to it directly.
static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// Sees to it that the last lines are written before the program ends.
pub struct LastLines(());

impl Drop for LastLines {
    fn drop(&mut self) {
        if let Some(writer) = WRITER.get() {
            writer.flush(LAST_LINES);
        }
    }
}

/// Starts logging in the supervisor: without ever waiting for standard error.
pub fn start_in_background(environment: &Environment) -> Result<LastLines, Problems> {
    let tell_lost = |lost| tracing::warn!(lost, "lines of this log were lost: standard error was not read");
    match LogWriter::start(io::stderr(), tell_lost) {
        Ok(writer) => drop(WRITER.set(writer)),
        Err(error) => drop(writeln!(io::stderr(), "the log is written without a thread of its own: {error}")),
    }
    start(environment)?;
    Ok(LastLines(()))
}

/// Where lines go.
fn output() -> Box<dyn Write> {
    match WRITER.get() {
        Some(writer) => Box::new(writer.clone()),
        None => Box::new(io::stderr()),
    }
}

/// Starts logging. `ROOMD_LOG`, else `RUST_LOG`, says what is logged; the default is `info`.
pub fn start(environment: &Environment) -> Result<(), Problems> {
    let filter = match ["ROOMD_LOG", "RUST_LOG"].into_iter().find_map(|name| Some((name, environment.text(name)?))) {
        None => EnvFilter::new("info"),
        Some((name, text)) => {
            let problem = |reason: String| {
                let message = format!("the environment's {name} cannot be \"{text}\": {reason}");
                Problems::one(name, message, "give a level such as info, or more exactly info,roomd_worker=debug")
            };
            if let Some((word, level)) = mistyped_level(&text) {
                return Err(problem(format!("`{word}` is no level, did you mean {level}?")));
            }
            EnvFilter::try_new(&text).map_err(|error| problem(error.to_string()))?
        }
    };
    let style = Style::choose(environment, std::io::stderr().is_terminal());
    // Without log_internal_errors(false) a closed standard error would be answered with a panic.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(output).log_internal_errors(false);
    // A second start in one process, as in tests, keeps the first.
    let _ = match style {
        Style::Terminal => builder.with_ansi(true).with_target(false).try_init(),
        Style::Plain => builder.with_ansi(false).try_init(),
        Style::Journal => builder
            .with_ansi(false)
            .event_format(Prioritised(Format::default().without_time().with_level(false)))
            .try_init(),
    };
    Ok(())
}

/// A word that was most likely meant as a level, and the level. To the filter it names a module, of which there is none: nothing
/// would be logged, not even errors.
fn mistyped_level(filter: &str) -> Option<(&str, &'static str)> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let words = filter.split(',').map(str::trim).filter(|word| word.chars().all(|c| c.is_ascii_alphabetic()));
    words.filter(|word| !LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level))).find_map(|word| {
        let level = nearest(word, LEVELS)?;
        Some((word, level))
    })
}

/// Adds a line that a worker wrote, with its slot and generation. A priority in front stays in front.
pub fn format_worker_line(log: &mut String, id: WorkerId, line: &str) {
    let priority = line.get(..3).filter(|start| start.starts_with('<') && start.ends_with('>')).unwrap_or("");
    let _ = writeln!(log, "{priority}[{id}] {}", &line[priority.len()..]);
}

/// Writes whole lines, as they are.
pub fn write_lines(lines: &str) {
    // Without standard error there is nobody to tell.
    let _ = output().write_all(lines.as_bytes());
}

/// Puts the priority in front, as journald reads it from standard error.
struct Prioritised<F>(F);

impl<S, N, F> FormatEvent<S, N> for Prioritised<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_style_fits_where_the_log_goes() {
        let style =
            |variables: &[(&str, &str)], terminal| Style::choose(&variables.iter().copied().collect(), terminal);
        assert_eq!(style(&[], true), Style::Terminal);
        assert_eq!(style(&[("NO_COLOR", "1")], true), Style::Plain);
        assert_eq!(style(&[], false), Style::Plain);
        assert_eq!(style(&[("JOURNAL_STREAM", "8:1")], false), Style::Journal);
        assert_eq!(
            style(&[("JOURNAL_STREAM", "8:1")], true),
            Style::Terminal,
            "a shell started by a journaled service"
        );
        for one in [Style::Terminal, Style::Plain, Style::Journal] {
            assert_eq!(style(&[(STYLE_VARIABLE, one.as_str())], false), one);
        }
    }

    #[test]
    fn a_mistyped_level_does_not_silence_the_log() {
        for (filter, meant) in [
            ("inof", "info"),
            ("warning", "warn"),
            ("Debgu", "debug"),
            ("roomd_worker=debug, eror", "error"),
            ("err", "error"),
            ("trac,hyper=off", "trace"),
        ] {
            assert_eq!(mistyped_level(filter).map(|(_, level)| level), Some(meant), "{filter}");
        }
        for good in
            ["info", "INFO", "off", "", "3", "roomd", "roomd_worker", "hyper", "tokio,warn", "my_app", "chat", "a=info"]
        {
            assert_eq!(mistyped_level(good), None, "{good}");
        }
        let error = start(&[("RUST_LOG", "inof")].into_iter().collect()).unwrap_err().to_string();
        assert!(error.contains("RUST_LOG cannot be \"inof\"") && error.contains("did you mean info?"), "{error}");
    }

    #[test]
    fn a_bad_filter_is_a_problem_with_its_variable() {
        let error = start(&[("ROOMD_LOG", "roomd=loud")].into_iter().collect()).unwrap_err().to_string();
        assert!(error.contains("ROOMD_LOG") && error.contains("info,roomd_worker=debug"), "{error}");
    }
}
