//! How long a slot pauses before its worker is started again.

use std::time::Duration;

/// The second restart waits about this long; the first does not wait.
pub const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// No pause is longer.
pub const MAX_PAUSE: Duration = Duration::from_secs(30);
/// A worker that has been ready for this long is healthy again: the next death is a first one.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Counts deaths in a row.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// After so many deaths in a row.
    pub fn after(deaths: u32) -> Self {
        Backoff { deaths }
    }

    /// A worker died; how long to wait. Half of a pause is random.
    pub fn died(&mut self, rng: &mut fastrand::Rng) -> Duration {
        self.deaths = self.deaths.saturating_add(1);
        let Some(doublings) = self.deaths.checked_sub(2) else { return Duration::ZERO };
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings.min(20)).min(MAX_PAUSE);
        pause.mul_f64(0.5 + rng.f64() / 2.0)
    }

    /// Deaths in a row.
    pub fn deaths(&self) -> u32 {
        self.deaths
    }

    /// The worker has been healthy, or somebody asked for a new beginning.
    pub fn reset(&mut self) {
        self.deaths = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_pauses_double_up_to_their_bound() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::default();
        assert_eq!(backoff.died(&mut rng), Duration::ZERO);
        let mut bound = FIRST_PAUSE;
        for _ in 0..100 {
            let pause = backoff.died(&mut rng);
            assert!(pause >= bound / 2 && pause <= bound, "{pause:?} of {bound:?}");
            bound = (bound * 2).min(MAX_PAUSE);
        }
        backoff.reset();
        assert_eq!(backoff.died(&mut rng), Duration::ZERO);
    }

    #[test]
    fn pauses_of_two_slots_differ() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut a, mut b) = (Backoff::default(), Backoff::default());
        a.died(&mut rng);
        b.died(&mut rng);
        assert_ne!(a.died(&mut rng), b.died(&mut rng));
    }
}
