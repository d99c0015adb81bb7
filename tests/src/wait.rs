//! Waiting for a condition instead of for a time.

use std::time::{Duration, Instant};

/// Waits until `found` finds something, for as long as a healthy machine could ever take.
pub fn eventually<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    eventually_within(Duration::from_secs(20), what, found)
}

/// Waits until `found` finds something.
pub fn eventually_within<T>(within: Duration, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
