//! Writes the pieces of JSON text that do not come from serde, as `JSON.stringify` does.

use std::fmt::Write;

/// Appends `text` as a JSON string, escaped as `JSON.stringify` does.
pub(crate) fn push_string(json: &mut String, text: &str) {
    json.push('"');
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        json.push_str(&text[start..at]);
        start = at + 1;
        match byte {
            b'"' => json.push_str("\\\""),
            b'\\' => json.push_str("\\\\"),
            0x8 => json.push_str("\\b"),
            0xc => json.push_str("\\f"),
            b'\n' => json.push_str("\\n"),
            b'\r' => json.push_str("\\r"),
            b'\t' => json.push_str("\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                json.push_str("\\u00");
                json.push(char::from(HEX[usize::from(byte >> 4)]));
                json.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    json.push_str(&text[start..]);
    json.push('"');
}

/// Appends `value` as JavaScript writes numbers; what is not finite becomes `null`, as in `JSON.stringify`.
pub(crate) fn push_number(json: &mut String, value: f64) {
    let size = value.abs();
    // Writing into a String does not fail.
    let _ = if !value.is_finite() {
        json.write_str("null")
    } else if size == 0.0 {
        json.write_str("0")
    } else if (1e-6..1e21).contains(&size) {
        write!(json, "{value}")
    } else {
        let text = format!("{value:e}");
        json.write_str(&if size < 1.0 { text } else { text.replace('e', "e+") })
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_javascript_does() {
        let mut json = String::new();
        push_string(&mut json, "a\"\\\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}\u{e9}\u{2028}");
        assert_eq!(json, "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\u{7f}\u{e9}\u{2028}\"");
    }

    #[test]
    fn numbers_are_written_as_javascript_does() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e-6, "0.000001"),
            (1.5e-7, "1.5e-7"),
            (f64::NAN, "null"),
            (f64::NEG_INFINITY, "null"),
            (f64::from(0.1_f32), "0.10000000149011612"),
            (9_007_199_254_740_993.0, "9007199254740992"),
        ] {
            let mut json = String::new();
            push_number(&mut json, value);
            assert_eq!(json, text);
        }
    }
}
