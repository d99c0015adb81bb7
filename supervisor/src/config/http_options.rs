//! Keys of `[socketio]` that say how the server speaks HTTP, as the official server's options of the same names do.

use std::{fmt, ops::Range};

use roomd_wire::{CookieConfig, HttpCompression, SameSite, SocketIoConfig, Transports};
use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::{
    problem::Problem,
    section::Section,
    units::{Bytes, WithUnit},
    values::OneOrMany,
};

/// What the file says of them.
#[derive(Default, Debug)]
#[allow(missing_docs)] // the keys are explained in cluster.toml
pub struct HttpOptions {
    pub add_trailing_slash: Option<Spanned<bool>>,
    pub transports: Option<Spanned<OneOrMany>>,
    pub allow_upgrades: Option<Spanned<bool>>,
    pub cookie: Option<Spanned<Cookie>>,
    pub http_compression: Option<Spanned<Compression>>,
}

/// `cookie`
#[derive(Clone, PartialEq, Debug)]
pub enum Cookie {
    /// `false`
    Off,
    /// `true`, a name, or a table.
    On(Box<CookieTable>),
}

/// `cookie` as a table. What it leaves out has the official server's default.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the keys are explained in cluster.toml
pub struct CookieTable {
    pub name: Option<String>,
    pub path: Option<String>,
    pub domain: Option<String>,
    pub max_age: Option<WithUnit>,
    pub http_only: Option<bool>,
    pub secure: Option<bool>,
    pub same_site: Option<SameSiteOption>,
}

/// `same_site` of a cookie.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SameSiteOption(Option<SameSite>);

/// `http_compression`
#[derive(Clone, PartialEq, Debug)]
pub enum Compression {
    /// `false`
    Off,
    /// `true` or a table.
    On(CompressionTable),
}

/// `http_compression` as a table.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the keys are explained in cluster.toml
pub struct CompressionTable {
    pub threshold: Option<Bytes>,
}

impl HttpOptions {
    /// Takes the keys out of `[socketio]`.
    pub fn take(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> HttpOptions {
        HttpOptions {
            add_trailing_slash: section.take("add_trailing_slash", problems),
            transports: section.take("transports", problems),
            allow_upgrades: section.take("allow_upgrades", problems),
            cookie: section.take("cookie", problems),
            http_compression: section.take("http_compression", problems),
        }
    }

    /// Brings them into force, and says what is wrong with them. The path is there already.
    pub fn apply(self, config: &mut SocketIoConfig, problems: &mut Vec<Problem>) {
        if self.add_trailing_slash.is_some_and(|added| !added.into_inner()) {
            config.path.truncate(config.path.trim_end_matches('/').len());
        }
        if let Some(list) = self.transports {
            config.transports = transports(list, problems);
        }
        if let Some(allowed) = self.allow_upgrades {
            config.allow_upgrades = allowed.into_inner();
        }
        if let Some(compression) = self.http_compression {
            config.http_compression = match compression.into_inner() {
                Compression::Off => None,
                Compression::On(CompressionTable { threshold: Some(Bytes(threshold_bytes)) }) => {
                    Some(HttpCompression { threshold_bytes })
                }
                Compression::On(CompressionTable { threshold: None }) => Some(HttpCompression::default()),
            };
        }
        if let Some(cookie) = self.cookie {
            let span = cookie.span();
            config.cookie = match cookie.into_inner() {
                Cookie::Off => None,
                Cookie::On(table) => Some(table.check(&span, problems)),
            };
        }
    }
}

fn transports(list: Spanned<OneOrMany>, problems: &mut Vec<Problem>) -> Transports {
    let span = list.span();
    let mut transports = Transports { polling: false, websocket: false };
    let way_out = "give \"polling\", \"websocket\", or both as a list";
    for name in OneOrMany::each(list) {
        match name.get_ref().as_str() {
            "polling" => transports.polling = true,
            "websocket" => transports.websocket = true,
            other => {
                problems.push(Problem::at(Some(name.span()), format!("`transports` cannot hold \"{other}\""), way_out));
                return Transports::default();
            }
        }
    }
    if transports == (Transports { polling: false, websocket: false }) {
        problems.push(Problem::at(Some(span), "`transports` is an empty list: no client could connect", way_out));
    }
    transports
}

impl CookieTable {
    fn check(self, span: &Range<usize>, problems: &mut Vec<Problem>) -> CookieConfig {
        let default = CookieConfig::default();
        // What the `cookie` package refuses, and a browser would read as something else.
        let is_path = |path: &str| path.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b';' | b'<'));
        let is_domain =
            |domain: &str| domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        let is_name = |name: &str| {
            let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            !name.is_empty() && name.bytes().all(in_token)
        };
        let mut wrong = |key: &str, value: &str, way_out: &str| {
            problems.push(Problem::at(Some(span.clone()), format!("`{key}` of `cookie` cannot be {value:?}"), way_out));
        };
        let name = self.name.unwrap_or(default.name);
        if !is_name(&name) {
            wrong("name", &name, "give letters, digits, `-` and `_`");
        }
        if let Some(path) = self.path.as_deref().filter(|path| !is_path(path)) {
            wrong("path", path, "give printable characters without `;` and `<`");
        }
        if let Some(domain) = self.domain.as_deref().filter(|domain| !is_domain(domain)) {
            wrong("domain", domain, "give a name such as \"example.com\"");
        }
        let same_site = self.same_site.map_or(default.same_site, |SameSiteOption(same_site)| same_site);
        let secure = self.secure.unwrap_or(default.secure);
        if same_site == Some(SameSite::None) && !secure {
            wrong("same_site", "none", "browsers drop such a cookie unless it is `secure = true` as well");
        }
        CookieConfig {
            name,
            path: self.path.or(default.path).filter(|path| !path.is_empty()),
            domain: self.domain.filter(|domain| !domain.is_empty()),
            max_age_s: self.max_age.map(|WithUnit(duration)| duration.as_secs()),
            http_only: self.http_only.unwrap_or(default.http_only),
            secure,
            same_site,
        }
    }
}

impl<'de> Deserialize<'de> for Cookie {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Cookie;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"true, a name such as "io", or a table such as { name = "io", secure = true }"#)
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Cookie, E> {
                Ok(if on { Cookie::On(Box::default()) } else { Cookie::Off })
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Cookie, E> {
                let table = CookieTable { name: Some(name.to_owned()), ..CookieTable::default() };
                Ok(Cookie::On(Box::new(table)))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Cookie, A::Error> {
                CookieTable::deserialize(MapAccessDeserializer::new(map)).map(|table| Cookie::On(Box::new(table)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Compression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Compression;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"true, false, or a table such as { threshold = "1KiB" }"#)
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Compression, E> {
                Ok(if on { Compression::On(CompressionTable::default()) } else { Compression::Off })
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Compression, A::Error> {
                CompressionTable::deserialize(MapAccessDeserializer::new(map)).map(Compression::On)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for SameSiteOption {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = SameSiteOption;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#""lax", "strict", "none", or false to leave it out"#)
            }
            fn visit_bool<E: de::Error>(self, strict: bool) -> Result<SameSiteOption, E> {
                Ok(SameSiteOption(strict.then_some(SameSite::Strict)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SameSiteOption, E> {
                match text {
                    "lax" => Ok(SameSiteOption(Some(SameSite::Lax))),
                    "strict" => Ok(SameSiteOption(Some(SameSite::Strict))),
                    "none" => Ok(SameSiteOption(Some(SameSite::None))),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
