//! Values that are hard to carry. Objects with `$` are made what they name where they are sent: see `lines.mjs`.

use serde_json::{Value, json};

/// A name, and the value.
type Payload = (&'static str, fn() -> Value);

/// All of them.
pub const PAYLOADS: &[Payload] = &[
    ("null", || json!(null)),
    ("undefined", || json!({"$js": "undefined"})),
    ("undefined inside", || json!([{"$js": "undefined"}, {"a": {"$js": "undefined"}, "b": 1}])),
    ("not a number", || json!([{"$js": "NaN"}, {"$js": "Infinity"}])),
    ("minus zero", || json!([{"$js": "-0"}])),
    ("date", || json!({"at": {"$js": "2026-11-24T15:52:54.123Z"}})),
    ("booleans and texts", || json!([true, false, "", "0", "null"])),
    ("small integers", || json!([0, 1, -1, 127, 128, -32, -33, 255, 256, -128, -129, 65535, 65536, -32768, -32769])),
    ("middle integers", || json!([2147483647, 2147483648_u32, -2147483648, -2147483649_i64, 4294967295_u32])),
    ("big integers", || json!([4294967296_u64, 9007199254740991_i64, -9007199254740991_i64, 9007199254740992_i64])),
    ("integers beyond 64 bits", || json!([1e20, -1e20, 1e300])),
    ("floats", || json!([0.1, -1.5, 1e-7, 5e-324, 1.7976931348623157e308, 123456789.123])),
    ("unicode", || json!(["grüße", "日本語", "🙂👩‍👩‍👧", "\u{0} \u{1f} \u{7f} \u{2028} \u{fffd}", "\" \\ /"])),
    ("keys", || json!({"": 1, "🙂": 2, "a.b": 3, "constructor": 4, "_placeholder": false, "num": 0})),
    ("empty", || json!([[], {}, [[]], {"a": {}}])),
    ("bytes", || json!({"$bytes": "AAEC/w=="})),
    ("bytes nested", || json!({"a": [{"$bytes": "AAEC/w=="}, {"b": {"$bytes": "/w=="}}], "c": {"$bytes": ""}})),
    ("the same bytes twice", || json!([{"$bytes": "AQ=="}, 1, {"$bytes": "AQ=="}])),
    ("a buffer as JSON", || json!({"type": "Buffer", "data": [1, 2, 3]})),
    ("300 KB of text", || json!({"$text": "ü", "times": 150_000})),
    ("300 KB of bytes", || json!({"$zeros": 300_000})),
    ("many elements", || Value::from_iter(0..2_000)),
    ("deep arrays", || (0..100).fold(json!(1), |inner, _| json!([inner]))),
    ("deep objects", || (0..100).fold(json!(1), |inner, _| json!({"a": inner}))),
];
