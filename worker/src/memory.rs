//! Giving memory back to the system.
//!
//! When many clients leave together, what was queued for them peaks at many times what they cost idle. glibc's allocator keeps
//! all of it: the little that is still in use is spread over it, and only the end of the heap is returned by itself.

use std::time::{Duration, Instant};

/// After so many ended sessions there may be something worth giving back.
const WORTH_SESSIONS: u64 = 1000;
/// It takes milliseconds for each hundred megabytes, so not more often than this.
const NOT_BEFORE: Duration = Duration::from_secs(5);

/// Decides when to give memory back.
#[derive(Debug)]
pub struct Trim {
    ended: u64,
    at: Option<Instant>,
}

impl Trim {
    /// Nothing was given back yet.
    pub fn new() -> Self {
        Trim { ended: 0, at: None }
    }

    /// Whether now is the time, with so many sessions ended since the start.
    pub fn is_due(&mut self, ended: u64, now: Instant) -> bool {
        let due = ended - self.ended >= WORTH_SESSIONS && self.at.is_none_or(|at| now - at >= NOT_BEFORE);
        if due {
            *self = Trim { ended, at: Some(now) };
        }
        due
    }
}

impl Default for Trim {
    fn default() -> Self {
        Trim::new()
    }
}

/// Gives whatever is free back to the system, where the allocator is one that has to be asked.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    trim_heap();
}

#[cfg(target_env = "gnu")]
#[allow(unsafe_code)] // No safe crate offers it.
fn trim_heap() {
    // SAFETY: malloc_trim has no preconditions; it only returns free pages to the kernel and takes the allocator's own lock.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_after_many_ends_but_not_all_the_time() {
        let (mut trim, begin) = (Trim::new(), Instant::now());
        assert!(!trim.is_due(WORTH_SESSIONS - 1, begin));
        assert!(trim.is_due(WORTH_SESSIONS, begin));
        assert!(!trim.is_due(10 * WORTH_SESSIONS, begin + NOT_BEFORE / 2));
        assert!(trim.is_due(10 * WORTH_SESSIONS, begin + NOT_BEFORE));
        assert!(!trim.is_due(10 * WORTH_SESSIONS, begin + 10 * NOT_BEFORE));
        give_back();
    }
}
