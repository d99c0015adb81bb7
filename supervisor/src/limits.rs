//! What the operating system lets this process have.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit on open descriptors to the hard one: every connection takes one. The workers inherit it.
///
/// Gives the limit that is in force; none if it cannot be told.
pub fn raise_descriptors() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft >= hard {
        return Some(soft);
    }
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Some(hard),
        Err(error) => {
            tracing::warn!(%error, limit = soft, hard_limit = hard, "cannot raise the limit on open descriptors");
            Some(soft)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_hard_one_afterwards() {
        let limit = raise_descriptors();
        let now = getrlimit(Resource::RLIMIT_NOFILE).ok();
        assert_eq!(now.map(|(soft, _)| soft), limit);
        assert_eq!(now.map(|(soft, hard)| soft == hard), Some(true));
    }
}
