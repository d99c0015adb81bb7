//! How figures and foreign words are shown to people.

use std::time::Duration;

/// A worker's words may hold anything, a terminal's control sequences too.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

/// The two largest units: `2d 3h`, `1h 2m`, `3.2s`.
pub fn duration(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match whole {
        0..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{minutes}m {}s", whole % 60),
        3600..86_400 => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// How many, in at most five characters: `12345`, `123k`, `12.3M`.
pub fn count(count: u64) -> String {
    if count < 100_000 { count.to_string() } else { short(count as f64, 1000.0) }
}

/// How many each second, in at most five characters: `0`, `0.5`, `123`, `12.3k`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".into(),
        ..9.95 => format!("{per_second:.1}"),
        ..9_999.5 => format!("{per_second:.0}"),
        _ => short(per_second, 1000.0),
    }
}

/// How many bytes, with the letter of a power of 1024: `0`, `512`, `1.5K`, `12.0M`.
pub fn bytes(bytes: f64) -> String {
    if bytes < 1023.5 { format!("{bytes:.0}") } else { short(bytes, 1024.0).to_uppercase() }
}

/// Milliseconds, in at most six characters: `0.1ms`, `250ms`, `2.5s`.
pub fn milliseconds(ms: f64) -> String {
    match ms {
        ..9.95 => format!("{ms:.1}ms"),
        ..999.5 => format!("{ms:.0}ms"),
        ..99_950.0 => format!("{:.1}s", ms / 1000.0),
        _ => format!("{:.0}s", ms / 1000.0),
    }
}

/// A part of a whole that is 1: `0%`, `100%`.
pub fn percent(part: f64) -> String {
    format!("{:.0}%", part * 100.0)
}

fn short(mut value: f64, step: f64) -> String {
    let mut unit = "";
    for next in ["k", "M", "G", "T", "P"] {
        // What would be rounded up to the step is told in the next unit.
        if value < step - 0.5 {
            break;
        }
        (value, unit) = (value / step, next);
    }
    if value < 99.95 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_their_two_largest_units() {
        for (seconds, told) in [
            (0.04, "0.0s"),
            (59.94, "59.9s"),
            (61.0, "1m 1s"),
            (3723.0, "1h 2m"),
            (90_061.0, "1d 1h"),
            (-1.0, "-1.0s"),
            (f64::NAN, "NaNs"),
        ] {
            assert_eq!(duration(seconds), told);
        }
    }

    #[test]
    fn figures_are_short() {
        for (value, told) in [(0, "0"), (99_999, "99999"), (100_000, "100k"), (999_499, "999k"), (999_600, "1.0M")] {
            assert_eq!(count(value), told);
        }
        for (value, told) in [
            (0.0, "0"),
            (0.04, "0.0"),
            (9.94, "9.9"),
            (9.96, "10"),
            (9_999.4, "9999"),
            (9_999.9, "10.0k"),
            (1.5e6, "1.5M"),
            (f64::INFINITY, "infP"),
        ] {
            assert_eq!(rate(value), told);
        }
        for (value, told) in [(0.016, "0.0ms"), (9.96, "10ms"), (999.4, "999ms"), (999.6, "1.0s"), (1e6, "1000s")] {
            assert_eq!(milliseconds(value), told);
        }
        assert_eq!((percent(0.0), percent(1.004)), ("0%".into(), "100%".into()));
        for (value, told) in
            [(0.0, "0"), (1023.0, "1023"), (1024.0, "1.0K"), (1536.0, "1.5K"), (120.0 * 1024.0 * 1024.0, "120M")]
        {
            assert_eq!(bytes(value), told);
        }
    }

    #[test]
    fn foreign_words_cannot_command_a_terminal() {
        assert_eq!(printable("no \u{1b}[31mway\n"), "no ·[31mway·");
    }
}
