//! Reads one table of the file, key by key, so that every problem is found and not only the first.

use std::{collections::BTreeMap, ops::Range};

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::problem::{Problem, nearest};

/// A table whose known keys are taken out one by one; what is left over at the end is unknown, and a problem.
pub struct Section<'i> {
    /// The table's name, empty for the file's top level.
    name: &'static str,
    values: BTreeMap<String, (Spanned<()>, Spanned<DeValue<'i>>)>,
    known: Vec<&'static str>,
    /// Whether the file had one of the known keys.
    taken: bool,
}

impl<'i> Section<'i> {
    /// The file's top level.
    pub fn top(table: DeTable<'i>) -> Section<'i> {
        Section::new("", table)
    }

    fn new(name: &'static str, table: DeTable<'i>) -> Section<'i> {
        let values = table.into_iter().map(|(key, value)| {
            let span = Spanned::new(key.span(), ());
            (key.into_inner().into_owned(), (span, value))
        });
        Section { name, values: values.collect(), known: Vec::new(), taken: false }
    }

    /// The table below this one; an empty one if the file has none.
    pub fn table(&mut self, name: &'static str, problems: &mut Vec<Problem>) -> Section<'i> {
        let table = match self.raw(name).map(|value| (value.span(), value.into_inner())) {
            None => DeTable::default(),
            Some((_, DeValue::Table(table))) => table,
            Some((span, _)) => {
                let message = format!("`{name}` is no table");
                problems.push(Problem::at(
                    Some(span),
                    message,
                    format!("write `[{name}]` on a line of its own, its keys below"),
                ));
                DeTable::default()
            }
        };
        Section::new(name, table)
    }

    /// A key's value, if the file has it in the right shape.
    pub fn take<T: Deserialize<'i>>(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<Spanned<T>> {
        let value = self.raw(key)?;
        let span = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(Spanned::new(span, value)),
            Err(error) => {
                problems.push(wrong_shape(key, error.message(), error.span().unwrap_or(span)));
                None
            }
        }
    }

    /// Where a key or a table is, if the file has it.
    pub fn place(&self, key: &str) -> Option<Range<usize>> {
        self.values.get(key).map(|(span, _)| span.span())
    }

    /// Whether the file had none of the known keys here.
    pub fn had_nothing(&self) -> bool {
        !self.taken
    }

    /// The whole table, with the places of its values.
    pub fn into_table(self) -> DeTable<'i> {
        let entry = |(key, (place, value)): (String, (Spanned<()>, _))| (Spanned::new(place.span(), key.into()), value);
        self.values.into_iter().map(entry).collect()
    }

    /// Reports what nobody took.
    pub fn finish(self, problems: &mut Vec<Problem>) {
        for (key, (span, value)) in &self.values {
            let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            let kind = if value.get_ref().is_table() && self.name.is_empty() { "table" } else { "key" };
            let way_out = match nearest(key, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            problems.push(Problem::at(Some(span.span()), format!("unknown {kind} `{key}`{place}"), way_out));
        }
    }

    fn raw(&mut self, key: &'static str) -> Option<Spanned<DeValue<'i>>> {
        self.known.push(key);
        let found = self.values.remove(key).map(|(_, value)| value);
        self.taken |= found.is_some();
        found
    }
}

/// A value that is not of the shape its key asks for.
fn wrong_shape(key: &str, error: &str, span: Range<usize>) -> Problem {
    let (wrong, way_out) = split(error);
    let verb = if error.starts_with("unknown ") { "has the" } else { "cannot be" };
    match way_out {
        Some(way_out) => Problem::at(Some(span), format!("`{key}` {verb} {wrong}"), way_out),
        None => Problem { message: format!("`{key}`: {error}"), way_out: None, span: Some(span), related: None },
    }
}

/// Something in a table that somebody else has read.
pub fn wrong_in_table(table: &str, error: &str, span: Option<Range<usize>>) -> Problem {
    let (wrong, way_out) = split(error);
    let unknown = error.starts_with("unknown ");
    let message = match way_out {
        Some(_) if !unknown => format!("a value in [{table}] cannot be {wrong}"),
        _ => format!("[{table}]: {wrong}"),
    };
    let way_out = way_out.or_else(|| error.starts_with("missing ").then(|| format!("write it below `[{table}]`")));
    Problem { message, way_out, span, related: None }
}

/// serde says `invalid type: integer `30`, expected a duration …`: the half before is what is wrong, the other the way out.
fn split(error: &str) -> (&str, Option<String>) {
    match error.split_once(", expected ") {
        Some((wrong, expected)) => {
            let got = match wrong.trim_start_matches("invalid type: ").trim_start_matches("invalid value: ") {
                "map" => "a table or a date",
                "sequence" => "a list",
                got => got,
            };
            (got, Some(format!("give {expected}")))
        }
        None => (error, None),
    }
}
