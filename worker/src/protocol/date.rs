//! JavaScript dates as text.

/// Largest distance from 1970 that a JavaScript date can have, in milliseconds.
const LIMIT_MS: f64 = 8.64e15;

const DAY_MS: i64 = 86_400_000;

/// `Date.prototype.toISOString` of a time in milliseconds since 1970; `None` for what is no date in JavaScript.
pub(crate) fn iso_text(ms: f64) -> Option<String> {
    if !ms.is_finite() || ms.abs() > LIMIT_MS {
        return None;
    }
    // JavaScript cuts fractions off.
    let ms = ms as i64;
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    let rest = ms.rem_euclid(DAY_MS);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.abs()),
    };
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"))
}

/// `Date.prototype.toString` of a time in milliseconds since 1970, on a host whose time zone is UTC: how servers tell each
/// other when a handshake came.
pub fn js_date(ms: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let days = ms / DAY_MS;
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms % DAY_MS / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    let (weekday, month) = (DAYS[(days % 7) as usize], MONTHS[(month - 1) as usize]);
    format!("{weekday} {month} {day:02} {year} {hour:02}:{minute:02}:{second:02} GMT+0000 (Coordinated Universal Time)")
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day ends one, in eras of 400 years (146,097 days).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // from 0000-03-01
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshakes_time_is_written_as_javascript_writes_dates() {
        assert_eq!(js_date(0), "Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)");
        assert_eq!(js_date(1_795_493_239_040), "Tue Nov 24 2026 04:07:19 GMT+0000 (Coordinated Universal Time)");
    }

    #[test]
    fn dates_read_as_in_javascript() {
        for (ms, text) in [
            (0.0, "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_123.0, "2023-11-14T22:13:20.123Z"),
            (1_700_000_000_123.9, "2023-11-14T22:13:20.123Z"),
            (-1.0, "1969-12-31T23:59:59.999Z"),
            (-0.5, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000.0, "2000-02-29T00:00:00.000Z"),
            (4_107_542_400_000.0, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999.0, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000.0, "+010000-01-01T00:00:00.000Z"),
            (-62_167_219_200_000.0, "0000-01-01T00:00:00.000Z"),
            (-62_167_219_200_001.0, "-000001-12-31T23:59:59.999Z"),
            (LIMIT_MS, "+275760-09-13T00:00:00.000Z"),
            (-LIMIT_MS, "-271821-04-20T00:00:00.000Z"),
        ] {
            assert_eq!(iso_text(ms).as_deref(), Some(text), "{ms}");
        }
        for ms in [f64::NAN, f64::INFINITY, LIMIT_MS + 1.0] {
            assert_eq!(iso_text(ms), None);
        }
    }
}
