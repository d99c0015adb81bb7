//! Captured bytes: whatever of the vectors is a packet, a message or a request.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

const VECTORS: [&str; 7] = [
    include_str!("../../vectors/engineio_http.json"),
    include_str!("../../vectors/engineio_session.json"),
    include_str!("../../vectors/js_client_traffic.json"),
    include_str!("../../vectors/redis_classic.json"),
    include_str!("../../vectors/redis_emitter.json"),
    include_str!("../../vectors/redis_hostile.json"),
    include_str!("../../vectors/socketio_packets.json"),
];

/// No captured text that is longer is of use: most bytes of it would be mutated for nothing.
const MAX_BYTES: usize = 600;

/// Texts that were captured.
pub fn texts() -> Vec<Vec<u8>> {
    captured(|_, text| Some(text.as_bytes().to_vec()))
}

/// MessagePack that was captured, and JSON, which stands in for it in some messages.
pub fn messages() -> Vec<Vec<u8>> {
    captured(|key, text| match key {
        _ if key.ends_with("_b64") => STANDARD.decode(text).ok(),
        _ => text.starts_with(['{', '[']).then(|| text.as_bytes().to_vec()),
    })
}

fn captured(read: impl Fn(&str, &str) -> Option<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for vectors in VECTORS {
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        walk("", &vectors["cases"], &mut |key, text| found.extend(read(key, text)));
    }
    found.retain(|bytes| !bytes.is_empty() && bytes.len() <= MAX_BYTES);
    found.sort();
    found.dedup();
    found
}

fn walk(key: &str, value: &Value, visit: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::String(text) => visit(key, text),
        Value::Array(values) => values.iter().for_each(|value| walk(key, value, visit)),
        Value::Object(values) => values.iter().for_each(|(key, value)| walk(key, value, visit)),
        _ => {}
    }
}
