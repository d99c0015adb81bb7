//! What ends a Node server with the official adapter (found by sending it, see `tests/vectors/redis_hostile.json`).
//!
//! A model of what the adapter's callbacks do with a payload, kept apart from the codec so that both are not wrong
//! together. All that this worker encodes is checked against it in debug builds.

use bytes::Bytes;
use serde_json::Value;

use super::error::read_message;

/// Whether a message of a broadcast channel throws in the subscriber's callback, which ends the process.
pub(super) fn broadcast_harms(message: &[u8]) -> bool {
    let Some(value) = msgpack(message) else {
        return true; // "Could not parse" is not caught
    };
    let Value::Array(parts) = value else {
        return true; // not iterable
    };
    let nothing = Value::Null;
    let packet = parts.get(1).unwrap_or(&nothing);
    if !truthy(packet) {
        return false; // ignored before opts are looked at
    }
    let opts = parts.get(2).unwrap_or(&nothing);
    opts.is_null() || !is_set(opts.get("rooms")) || !is_set(opts.get("except"))
}

/// Whether a message of the request channel leads to an unhandled rejection.
pub(super) fn request_harms(message: &[u8]) -> bool {
    let Some(request) = either(message) else {
        return false; // caught and ignored
    };
    let opts = request.get("opts").filter(|opts| truthy(opts));
    let bad_opts = |opts: &Value| !is_set(opts.get("rooms")) || !is_set(opts.get("except"));
    match request.get("type").and_then(Value::as_u64) {
        None => request.is_null(),
        Some(0) => !is_set(request.get("rooms")),
        Some(2 | 4) => opts.is_some_and(bad_opts),
        Some(3) => opts.is_some_and(|opts| bad_opts(opts) || !request.get("rooms").is_some_and(Value::is_array)),
        Some(5) => opts.is_none_or(bad_opts),
        Some(6) => {
            let data = request.get("data").and_then(Value::as_array);
            let name = data.and_then(|data| data.first()).and_then(Value::as_str);
            (request.get("requestId").is_some() && data.is_none()) || name == Some("error")
        }
        Some(7) => opts.is_none_or(bad_opts) || !request.get("packet").is_some_and(Value::is_object),
        Some(_) => false,
    }
}

/// Whether a message of a response channel leads to an unhandled rejection.
pub(super) fn response_harms(message: &[u8]) -> bool {
    either(message).is_some_and(|response| response.is_null())
}

#[cfg(debug_assertions)]
pub(super) fn assert_harmless_broadcast(message: &[u8]) {
    debug_assert!(!broadcast_harms(message), "a broadcast that ends Node servers: {message:02x?}");
}

#[cfg(debug_assertions)]
pub(super) fn assert_harmless_request(message: &[u8]) {
    debug_assert!(!request_harms(message), "a request that ends Node servers: {message:02x?}");
}

#[cfg(debug_assertions)]
pub(super) fn assert_harmless_response(message: &[u8]) {
    debug_assert!(!response_harms(message), "a response that ends Node servers: {message:02x?}");
}

fn msgpack(message: &[u8]) -> Option<Value> {
    let data = read_message(&Bytes::copy_from_slice(message)).ok()?;
    serde_json::from_str(data.json()).ok()
}

fn either(message: &[u8]) -> Option<Value> {
    if message.first() == Some(&b'{') { serde_json::from_slice(message).ok() } else { msgpack(message) }
}

fn truthy(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && value.as_f64() != Some(0.0) && value.as_str() != Some("")
}

/// Whether JavaScript's `new Set(value)` accepts it.
fn is_set(value: Option<&Value>) -> bool {
    matches!(value, None | Some(Value::Null | Value::Array(_) | Value::String(_)))
}
