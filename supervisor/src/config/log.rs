//! `[log]`: what is logged, and how.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::{
    problem::{Problem, nearest},
    section::Section,
    sources::Named,
    values::Number,
};
use crate::logging::{DEFAULT_FILTER, check_filter};

const FORMAT_EXAMPLE: &str = r#""auto", "text" or "json""#;

/// The form of the log's lines.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LogFormat {
    /// What fits where they go.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For programs: one object a line.
    Json,
}

/// `[log]` as the file has it.
#[derive(Default, Debug)]
#[allow(missing_docs)] // the keys are explained in cluster.toml
pub struct Log {
    pub format: Option<Spanned<LogFormat>>,
    pub filter: Option<Spanned<String>>,
    pub lines_per_cause: Option<Spanned<Number>>,
    pub lines_per_worker: Option<Spanned<Number>>,
}

/// `[log]` as it is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// The form of its lines.
    pub format: LogFormat,
    /// What is logged.
    pub filter: String,
    /// Lines of one cause in 10 seconds; 0 is without a bound.
    pub lines_per_cause: u32,
    /// Lines a second that one worker may print; 0 is without a bound.
    pub lines_per_worker: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { format: LogFormat::Auto, filter: DEFAULT_FILTER.into(), lines_per_cause: 10, lines_per_worker: 100 }
    }
}

impl Log {
    pub fn take(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> Log {
        Log {
            format: section.take("format", problems),
            filter: section.take("filter", problems),
            lines_per_cause: section.take("lines_per_cause", problems),
            lines_per_worker: section.take("lines_per_worker", problems),
        }
    }

    /// Looks at the values; a filter or format of the environment wins.
    pub fn check(
        self,
        filter: Option<String>,
        format: Option<Named<LogFormat>>,
        problems: &mut Vec<Problem>,
    ) -> LogConfig {
        let default = LogConfig::default();
        if let Some(given) = &self.filter
            && let Err(reason) = check_filter(given.get_ref())
        {
            let message = format!("`filter` cannot be \"{}\": {reason}", given.get_ref());
            let way_out = "give a level such as \"info\", or more exactly \"info,roomd_worker=debug\"";
            problems.push(Problem::at(Some(given.span()), message, way_out));
        }
        let mut number = |name, given: Option<Spanned<Number>>, default: u32| {
            let Some(given) = given else { return default };
            let value = given.get_ref().0;
            u32::try_from(value).ok().filter(|&value| value <= 1_000_000).unwrap_or_else(|| {
                let message = format!("`{name}` cannot be {value}");
                problems.push(Problem::at(
                    Some(given.span()),
                    message,
                    "give a number from 1 to 1000000, or 0 for no bound",
                ));
                default
            })
        };
        LogConfig {
            lines_per_cause: number("lines_per_cause", self.lines_per_cause, default.lines_per_cause),
            lines_per_worker: number("lines_per_worker", self.lines_per_worker, default.lines_per_worker),
            format: format.map(|named| named.value).or(self.format.map(Spanned::into_inner)).unwrap_or_default(),
            filter: filter.or(self.filter.map(Spanned::into_inner)).unwrap_or(default.filter),
        }
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(LogFormat::Auto),
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(match nearest(other, ["auto", "text", "json"]) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("give {FORMAT_EXAMPLE}"),
            }),
        }
    }
}

impl<'de> Deserialize<'de> for LogFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), &FORMAT_EXAMPLE))
    }
}
