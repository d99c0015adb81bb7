//! `per_message_deflate`: a switch, or a table for who wants more than on and off.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::{units::Bytes, values::Number};

/// Whether WebSocket messages are compressed, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deflate {
    /// They are not.
    Off,
    /// They are; what is left out has its default.
    On(DeflateOptions),
}

/// The table's keys, explained in cluster.toml.
#[derive(Clone, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct DeflateOptions {
    pub threshold: Option<Spanned<Bytes>>,
    pub level: Option<Spanned<Number>>,
}

impl<'de> Deserialize<'de> for Deflate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Deflate;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"true, false, or a table such as { threshold = "1KiB", level = 6 }"#)
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Deflate, E> {
                Ok(if on { Deflate::On(DeflateOptions::default()) } else { Deflate::Off })
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Deflate, A::Error> {
                DeflateOptions::deserialize(MapAccessDeserializer::new(map)).map(Deflate::On)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
