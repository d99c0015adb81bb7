//! Values of one kind each, read the same way from the file, from flags and from the environment.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use roomd_balancer::ListenAddress;
use roomd_wire::Network;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

/// The most workers: a slot's number is 16 bits wide, but a host with more cores than this is not known.
pub const MAX_WORKERS: u16 = 1024;

/// The longest path of a Unix socket that the kernel takes, in bytes.
pub const MAX_SOCKET_PATH: usize = 107;

/// How many workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workers {
    /// As many as this process may use cores.
    Auto,
    /// So many.
    Count(u16),
}

/// A value that can be switched off by the word `off`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OrOff<T> {
    /// Off.
    Off,
    /// This.
    On(T),
}

/// A whole number. What may be in it is checked with the key's range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Number(pub i64);

/// One string or a list of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OneOrMany {
    /// A single string.
    One(String),
    /// A list.
    Many(Vec<Spanned<String>>),
}

const WORKERS_EXAMPLE: &str = r#"a number from 1 to 1024, or "auto" for one per core"#;
const LISTEN_EXAMPLE: &str = r#"an address and a port such as "127.0.0.1:3000" or "[::]:3000", ":3000" for all addresses, or "unix:/run/roomd.sock""#;

impl Workers {
    /// The number, with `auto` resolved: cores that affinity and cgroup leave to this process.
    pub fn count(self) -> u16 {
        match self {
            Workers::Count(count) => count,
            Workers::Auto => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                u16::try_from(cores).unwrap_or(MAX_WORKERS).min(MAX_WORKERS)
            }
        }
    }

    fn from_number(number: i64) -> Option<Workers> {
        u16::try_from(number).ok().filter(|count| (1..=MAX_WORKERS).contains(count)).map(Workers::Count)
    }
}

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Workers, String> {
        if text == "auto" {
            return Ok(Workers::Auto);
        }
        text.parse().ok().and_then(Workers::from_number).ok_or_else(|| format!("give {WORKERS_EXAMPLE}"))
    }
}

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Workers;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(WORKERS_EXAMPLE)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Workers, E> {
                Workers::from_number(number).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Workers, E> {
                if text == "auto" { Ok(Workers::Auto) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number such as 1000")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number))
            }
            // Larger than any key takes.
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
                self.visit_i128(number.into())
            }
            fn visit_i128<E: de::Error>(self, number: i128) -> Result<Number, E> {
                Err(E::invalid_value(de::Unexpected::Other(&number.to_string()), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = OneOrMany;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a string, or a list of strings such as ["a", "b"]"#)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.into()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
                let mut many = Vec::new();
                while let Some(item) = seq.next_element()? {
                    many.push(item);
                }
                Ok(OneOrMany::Many(many))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl OneOrMany {
    /// Each string with its place.
    pub fn each(list: Spanned<OneOrMany>) -> Vec<Spanned<String>> {
        let span = list.span();
        match list.into_inner() {
            OneOrMany::One(one) => vec![Spanned::new(span, one)],
            OneOrMany::Many(many) => many,
        }
    }
}

/// An address to listen on, in the long forms that it is shown in or in a short one.
pub fn parse_listen(text: &str) -> Result<ListenAddress, String> {
    let path = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text));
    if let Some(path) = path {
        return socket_path(path).map(ListenAddress::Unix);
    }
    parse_tcp(text).map(ListenAddress::Tcp).ok_or_else(|| format!("give {LISTEN_EXAMPLE}"))
}

impl FromStr for OrOff<SocketAddr> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(OrOff::Off),
            _ => parse_tcp(text)
                .map(OrOff::On)
                .ok_or_else(|| r#"give an address and a port such as "127.0.0.1:3900", or "off""#.to_string()),
        }
    }
}

/// An address and a port; `localhost` and "all addresses" have their short forms.
fn parse_tcp(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    match host {
        "" | "*" => Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
        "localhost" => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        _ => None,
    }
}

/// The path of a Unix socket, if the kernel will take it.
pub fn socket_path(path: &str) -> Result<PathBuf, String> {
    match path.len() {
        0 => Err("give the socket's path, for example \"unix:/run/roomd.sock\"".into()),
        1..=MAX_SOCKET_PATH => Ok(PathBuf::from(path)),
        length => Err(format!(
            "the kernel takes {MAX_SOCKET_PATH} bytes for a socket's path, this has {length}: choose a shorter one"
        )),
    }
}

/// An address or a range of addresses.
pub fn parse_network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|_| r#"give an address such as "10.0.0.1" or a range such as "10.0.0.0/8""#.into())
}

/// An origin as browsers send it: scheme, host and perhaps a port, or `null` for a page from a file.
pub fn check_origin(origin: &str) -> Result<(), String> {
    if origin == "*" || origin == "null" {
        return Ok(());
    }
    let host = origin.split_once("://").map(|(_, host)| host);
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '*', ' ', '@']) => Ok(()),
        Some(host) if host.ends_with('/') && host.matches('/').count() == 1 => Err(format!(
            "browsers send an origin without a slash at its end: write \"{}\"",
            origin.trim_end_matches('/')
        )),
        _ => Err(r#"give an origin such as "https://example.com" or "http://localhost:5173", or "*" for all"#.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_have_their_short_forms() {
        let cases = [
            ("127.0.0.1:3000", "127.0.0.1:3000"),
            ("[::1]:80", "[::1]:80"),
            (":3000", "[::]:3000"),
            ("*:0", "[::]:0"),
            ("localhost:3000", "127.0.0.1:3000"),
            ("unix:run/x.sock", "unix:run/x.sock"),
            ("/run/x.sock", "unix:/run/x.sock"),
        ];
        for (text, shown) in cases {
            assert_eq!(parse_listen(text).unwrap().to_string(), shown, "{text}");
        }
        for bad in ["", "3000", "127.0.0.1", "127.0.0.1:70000", "example.com:80", "::1:80x", "unix:", "http://a:1"] {
            assert!(parse_listen(bad).is_err(), "{bad}");
        }
        assert!(parse_listen(&format!("unix:/{}", "x".repeat(107))).unwrap_err().contains("107"));
    }

    #[test]
    fn workers_are_bounded() {
        assert_eq!("auto".parse(), Ok(Workers::Auto));
        assert_eq!("1024".parse(), Ok(Workers::Count(1024)));
        for bad in ["0", "1025", "-1", "many", "", "99999999999999999999"] {
            assert!(bad.parse::<Workers>().is_err(), "{bad}");
        }
        assert!((1..=MAX_WORKERS).contains(&Workers::Auto.count()));
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for good in ["*", "null", "https://a.b", "http://localhost:5173", "http://[::1]:80"] {
            assert_eq!(check_origin(good), Ok(()), "{good}");
        }
        for bad in ["", "a.b", "https://", "https://a/b", "https://*.a.b"] {
            assert!(check_origin(bad).is_err(), "{bad}");
        }
        assert!(check_origin("https://a.b/").unwrap_err().contains("\"https://a.b\""));
    }
}
