//! `cors` and its short form `cors_origins` of `[socketio]`: the options of the `cors` package.

use std::fmt;

use roomd_wire::{CorsConfig, CorsOrigin};
use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::{
    problem::Problem,
    units::WithUnit,
    values::{self, OneOrMany},
};

/// `cors`
#[derive(Clone, PartialEq, Debug)]
pub enum Cors {
    /// `false`
    Off,
    /// `true` or a table.
    On(Box<CorsTable>),
}

/// `cors` as a table. What it leaves out has the `cors` package's default.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the keys are explained in cluster.toml
pub struct CorsTable {
    pub origin: Option<Spanned<Origin>>,
    pub methods: Option<Spanned<OneOrMany>>,
    pub allowed_headers: Option<Spanned<OneOrMany>>,
    pub exposed_headers: Option<Spanned<OneOrMany>>,
    pub credentials: Option<Spanned<bool>>,
    pub max_age: Option<WithUnit>,
    pub options_success_status: Option<Spanned<u16>>,
    pub preflight_continue: Option<bool>,
}

/// `origin`
#[derive(Clone, PartialEq, Debug)]
pub enum Origin {
    /// `true`: all, each told its own.
    Reflected,
    /// One, or a list.
    Named(OneOrMany),
}

/// What the two keys say together.
pub fn cors(
    cors: Option<Spanned<Cors>>,
    origins: Option<Spanned<OneOrMany>>,
    problems: &mut Vec<Problem>,
) -> Option<CorsConfig> {
    if let (Some(one), Some(other)) = (&cors, &origins) {
        let problem = Problem::at(
            Some(other.span()),
            "[socketio] has both `cors_origins` and `cors`",
            "say it as `origin` in `cors`, and leave `cors_origins` out",
        );
        problems.push(problem.and(Some(one.span()), "the other"));
        return None;
    }
    match cors.map(Spanned::into_inner) {
        Some(Cors::On(table)) => Some(table.check(problems)),
        Some(Cors::Off) => None,
        None => {
            let list = checked("cors_origins", OneOrMany::each(origins?), problems);
            (!list.is_empty()).then(|| CorsConfig { origin: CorsOrigin::of_list(list), ..CorsConfig::default() })
        }
    }
}

impl CorsTable {
    fn check(self, problems: &mut Vec<Problem>) -> CorsConfig {
        let mut config = CorsConfig::default();
        let place = self.origin.as_ref().map(Spanned::span);
        if let Some(origin) = self.origin {
            let span = origin.span();
            config.origin = match origin.into_inner() {
                Origin::Reflected => CorsOrigin::Reflected,
                Origin::Named(OneOrMany::One(one)) if one != "*" && CorsOrigin::pattern(&one).is_none() => {
                    checked("origin", vec![Spanned::new(span, one.clone())], problems);
                    CorsOrigin::Fixed(one)
                }
                Origin::Named(named) => {
                    let list = OneOrMany::each(Spanned::new(span, named));
                    CorsOrigin::of_list(checked("origin", list, problems))
                }
            };
        }
        if let Some(credentials) = self.credentials {
            config.credentials = *credentials.get_ref();
            if config.credentials && config.origin == CorsOrigin::Any {
                let problem = Problem::at(
                    Some(credentials.span()),
                    "`credentials` has no effect: browsers refuse it where the origin allowed is `*`",
                    "name the origins, or allow all with `origin = true`",
                );
                problems.push(problem.and(place, "the origin"));
            }
        }
        let mut joined = |key: &str, list: Option<Spanned<OneOrMany>>| {
            let list = OneOrMany::each(list?);
            for item in &list {
                let is_list = item.get_ref().split(',').all(|name| is_token(name.trim_matches(' ')));
                if !is_list && !item.get_ref().is_empty() {
                    problems.push(Problem::at(
                        Some(item.span()),
                        format!("`{key}` cannot hold {:?}", item.get_ref()),
                        "give names such as \"GET\" or \"X-Token\"",
                    ));
                }
            }
            Some(list.into_iter().map(Spanned::into_inner).collect::<Vec<_>>().join(","))
        };
        config.methods = joined("methods", self.methods).unwrap_or(config.methods);
        config.allowed_headers = joined("allowed_headers", self.allowed_headers);
        config.exposed_headers = joined("exposed_headers", self.exposed_headers).unwrap_or_default();
        config.max_age_s = self.max_age.map(|WithUnit(duration)| duration.as_secs());
        if let Some(status) = self.options_success_status {
            config.options_success_status = *status.get_ref();
            if !(200..300).contains(status.get_ref()) {
                let message = format!("`options_success_status` cannot be {}", status.get_ref());
                problems.push(Problem::at(Some(status.span()), message, "give a status from 200 to 299"));
            }
        }
        config.preflight_continue = self.preflight_continue.unwrap_or(config.preflight_continue);
        config
    }
}

/// The entries that are origins or patterns; the others are problems.
fn checked(key: &str, list: Vec<Spanned<String>>, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut good = Vec::new();
    for entry in list {
        let result = match CorsOrigin::pattern(entry.get_ref()) {
            // The last line of what the crate says is the reason.
            Some(pattern) => regex::Regex::new(pattern).map(drop).map_err(|error| {
                let shown = error.to_string();
                shown.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }),
            None => values::check_origin(entry.get_ref()),
        };
        match result {
            Ok(()) => good.push(entry.into_inner()),
            Err(way_out) => {
                let message = format!("`{key}` cannot hold \"{}\"", entry.get_ref());
                problems.push(Problem::at(Some(entry.span()), message, way_out));
            }
        }
    }
    good
}

/// What a method or a header's name is, in RFC 9110.
fn is_token(name: &str) -> bool {
    let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(in_token)
}

impl<'de> Deserialize<'de> for Cors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Cors;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"true, or a table such as { origin = "https://example.com", credentials = true }"#)
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Cors, E> {
                Ok(if on { Cors::On(Box::default()) } else { Cors::Off })
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Cors, A::Error> {
                CorsTable::deserialize(MapAccessDeserializer::new(map)).map(|table| Cors::On(Box::new(table)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Origin;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"an origin, a list of origins and /patterns/, "*", or true for each its own"#)
            }
            fn visit_bool<E: de::Error>(self, all: bool) -> Result<Origin, E> {
                match all {
                    true => Ok(Origin::Reflected),
                    false => Err(E::invalid_value(de::Unexpected::Bool(false), &self)),
                }
            }
            fn visit_str<E: de::Error>(self, one: &str) -> Result<Origin, E> {
                Ok(Origin::Named(OneOrMany::One(one.to_owned())))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Origin, A::Error> {
                let list = OneOrMany::deserialize(de::value::SeqAccessDeserializer::new(seq));
                list.map(Origin::Named)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
