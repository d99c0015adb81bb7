//! How the lines of the log look, and which of that fits where they go.

use std::io::IsTerminal as _;

use rustix::fs::fstat;

use crate::config::{Environment, LogFormat};

/// Tells a worker, whose standard error is a pipe to the supervisor, that its lines are read by that.
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
    /// One JSON object a line.
    Json {
        /// With the priority in front, which journald takes off.
        priority: bool,
    },
    /// Of a worker, to its supervisor.
    Records,
}

/// Where standard error goes, as far as lines must fit it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// To a person.
    pub terminal: bool,
    /// To journald itself, and not to a file that somebody pointed it to later.
    pub journal: bool,
}

impl Style {
    /// The style that fits.
    pub fn choose(format: LogFormat, environment: &Environment, place: Place) -> Style {
        if environment.text(STYLE_VARIABLE).as_deref() == Some("records") {
            return Style::Records;
        }
        match format {
            LogFormat::Json => Style::Json { priority: place.journal },
            _ if place.terminal && environment.get("NO_COLOR").is_none() => Style::Terminal,
            LogFormat::Auto if place.journal => Style::Journal,
            _ => Style::Plain,
        }
    }

    /// The style of this process.
    pub fn of_process(format: LogFormat) -> Style {
        let environment = Environment::of_process();
        let place = Place { terminal: std::io::stderr().is_terminal(), journal: is_journal(&environment) };
        Style::choose(format, &environment, place)
    }
}

/// Whether standard error is the stream to journald that systemd named: device and inode, since the variable stays when somebody
/// points standard error elsewhere.
fn is_journal(environment: &Environment) -> bool {
    let Some(named) = environment.text("JOURNAL_STREAM") else { return false };
    fstat(std::io::stderr()).is_ok_and(|file| named == format!("{}:{}", file.st_dev, file.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_fits_where_the_log_goes() {
        let plain: Environment = [("PATH", "/bin")].into_iter().collect();
        let no_color: Environment = [("NO_COLOR", "1")].into_iter().collect();
        let worker: Environment = [(STYLE_VARIABLE, "records")].into_iter().collect();
        use LogFormat::{Auto, Json, Text};
        for (format, environment, terminal, journal, style) in [
            (Auto, &plain, true, false, Style::Terminal),
            (Auto, &no_color, true, false, Style::Plain),
            (Auto, &plain, false, false, Style::Plain),
            (Auto, &plain, false, true, Style::Journal),
            (Text, &plain, false, true, Style::Plain),
            (Text, &plain, true, false, Style::Terminal),
            (Json, &plain, true, false, Style::Json { priority: false }),
            (Json, &plain, false, true, Style::Json { priority: true }),
            (Json, &worker, false, true, Style::Records),
        ] {
            let place = Place { terminal, journal };
            assert_eq!(Style::choose(format, environment, place), style, "{format:?} {place:?}");
        }
    }

    #[test]
    fn a_stream_that_is_not_standard_error_is_no_journal() {
        assert!(!is_journal(&[("JOURNAL_STREAM", "0:1")].into_iter().collect()));
        assert!(!is_journal(&Environment::default()));
    }
}
