//! Durations and sizes as people write them: `"30s"`, `"1MB"`.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// A duration with its unit in the file: `"30s"`, `"250ms"`, `"1m30s"`, `"2h"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WithUnit(pub Duration);

/// A size with its unit in the file: `"1MB"` (1,000,000), `"16MiB"` (16,777,216), `"512B"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bytes(pub u64);

/// A size, or `"off"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BytesOrOff(pub Option<u64>);

const DURATION_EXAMPLE: &str = r#"a duration with its unit, for example "30s", "250ms" or "1m30s""#;
const SIZE_EXAMPLE: &str = r#"a size with its unit, for example "1MB" (1,000,000 bytes) or "16MiB""#;
const SIZE_OR_OFF_EXAMPLE: &str = r#"a size with its unit, for example "512MiB", or "off""#;

/// Reads a duration; the error is what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DURATION_EXAMPLE);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let (number, unit, tail) = split_number(rest).ok_or(DURATION_EXAMPLE)?;
        let seconds = match unit {
            "ms" => 0.001,
            "s" | "sec" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(DURATION_EXAMPLE),
        };
        total += number * seconds;
        rest = tail;
    }
    // Rounded to the microsecond: decimal fractions such as 0.1 are not exact in binary.
    let micros = (total * 1e6).round();
    if micros < 1e16 { Ok(Duration::from_micros(micros as u64)) } else { Err(DURATION_EXAMPLE) }
}

/// Reads a size in bytes; the error is what was expected.
pub fn parse_size(text: &str) -> Result<u64, &'static str> {
    let (number, unit, tail) = split_number(text.trim()).ok_or(SIZE_EXAMPLE)?;
    let factor: u64 = match unit {
        "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(SIZE_EXAMPLE),
    };
    let bytes = (number * factor as f64).round();
    if tail.is_empty() && bytes < 1e15 { Ok(bytes as u64) } else { Err(SIZE_EXAMPLE) }
}

/// A number, the letters behind it, and what follows.
fn split_number(text: &str) -> Option<(f64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let rest = rest.trim_start();
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, tail) = rest.split_at(letters);
    Some((number.parse().ok()?, unit, tail.trim_start()))
}

/// A duration in the shortest form that reads back to it.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".into(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

/// A size in the largest unit that divides it.
pub fn show_size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 6] =
        [(1 << 30, "GiB"), (1_000_000_000, "GB"), (1 << 20, "MiB"), (1_000_000, "MB"), (1 << 10, "KiB"), (1000, "kB")];
    match UNITS.iter().find(|(unit, _)| bytes != 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

impl<'de> Deserialize<'de> for WithUnit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| parse_duration(text).ok().map(WithUnit);
        deserializer.deserialize_str(Text { example: DURATION_EXAMPLE, parse })
    }
}

impl<'de> Deserialize<'de> for BytesOrOff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| match text {
            "off" => Some(BytesOrOff(None)),
            text => parse_size(text).ok().map(|bytes| BytesOrOff(Some(bytes))),
        };
        deserializer.deserialize_str(Text { example: SIZE_OR_OFF_EXAMPLE, parse })
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| parse_size(text).ok().map(Bytes);
        deserializer.deserialize_str(Text { example: SIZE_EXAMPLE, parse })
    }
}

/// A string in the file that is read with `parse`; `example` says what was expected where it cannot be.
struct Text<F> {
    example: &'static str,
    parse: F,
}

impl<T, F: Fn(&str) -> Option<T>> de::Visitor<'_> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.example)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        let cases = [
            ("30s", 30_000),
            ("250ms", 250),
            ("1.5s", 1500),
            ("0.1s", 100),
            ("1m30s", 90_000),
            ("2 min", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("0s", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "30", "s", "-1s", "1x", "1.2.3s", "1s,2s", "99999999999d", "1e3s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_need_a_unit_and_tell_decimal_from_binary() {
        let cases = [("1MB", 1_000_000), ("16MiB", 16 << 20), ("512B", 512), ("1.5kB", 1500), ("1 GiB", 1 << 30)];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "1", "MB", "-1MB", "1mb", "1MB2", "1MBps", "9999999999GB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..1000 {
            let duration = Duration::from_millis(rng.u64(0..100_000_000) / rng.u64(1..1000) * rng.u64(1..1000));
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
            let size = rng.u64(0..1 << 40);
            assert_eq!(parse_size(&show_size(size)), Ok(size));
        }
        assert_eq!(show_size(1_000_000), "1MB");
        assert_eq!(show_size(16 << 20), "16MiB");
    }
}
