//! How often something took how long, in few bytes: what a worker measures, the supervisor sums, and Prometheus reads.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The lowest bound is 2 to this power, in microseconds.
const LOWEST: u32 = 4;

/// How many bounds there are: 16 µs, doubled each time, up to 16.8 s.
const BOUNDS: usize = 21;

/// Counts of durations between fixed bounds. To count one is a shift and two additions.
///
/// All histograms have the same bounds, so that any two can be summed, whoever made them.
///
/// ```
/// # use std::time::Duration;
/// # use roomd_wire::Histogram;
/// let mut lag = Histogram::default();
/// lag.record(Duration::from_micros(20));
/// lag.record(Duration::from_secs(60));
/// assert_eq!(lag.count(), 2);
/// assert_eq!(lag.quantile(0.5), Some(Duration::from_micros(32)));
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(from = "Compact", into = "Compact")]
pub struct Histogram {
    /// The last is of what was beyond all bounds.
    counts: [u64; BOUNDS + 1],
    sum_us: u64,
}

/// As it travels: without the zeros behind the last bucket that has something. A peer with other bounds at the end is understood.
#[derive(Serialize, Deserialize)]
struct Compact {
    #[serde(default)]
    counts: Vec<u64>,
    #[serde(default)]
    sum_us: u64,
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.sum_us = self.sum_us.saturating_add(micros);
    }

    /// Adds what another one has counted.
    pub fn add(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine = mine.saturating_add(theirs);
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// What was counted since an earlier state of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let mut since = self.clone();
        for (count, before) in since.counts.iter_mut().zip(earlier.counts) {
            *count = count.saturating_sub(before);
        }
        since.sum_us = since.sum_us.saturating_sub(earlier.sum_us);
        since
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Their sum, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_us as f64 / 1e6
    }

    /// The bound that at least the part `q` (0 to 1) of all durations is not above; `None` where nothing was counted. What is
    /// beyond all bounds counts as the last one.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * q).ceil().max(1.0);
        let mut seen = 0.0;
        let at = self.counts.iter().position(|count| {
            seen += *count as f64;
            seen >= wanted
        })?;
        Some(bound(at.min(BOUNDS - 1)))
    }

    /// Each bound in seconds with the number of durations that are not above it, as Prometheus wants them. That of the bound
    /// without end is [`Histogram::count`].
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let mut below = 0;
        self.counts[..BOUNDS].iter().enumerate().map(move |(at, count)| {
            below += count;
            (bound(at).as_secs_f64(), below)
        })
    }
}

impl From<Compact> for Histogram {
    fn from(compact: Compact) -> Self {
        let mut histogram = Histogram { sum_us: compact.sum_us, ..Histogram::default() };
        for (at, count) in compact.counts.into_iter().enumerate() {
            let mine = &mut histogram.counts[at.min(BOUNDS)];
            *mine = mine.saturating_add(count);
        }
        histogram
    }
}

impl From<Histogram> for Compact {
    fn from(histogram: Histogram) -> Self {
        let used = histogram.counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        Compact { counts: histogram.counts[..used].to_vec(), sum_us: histogram.sum_us }
    }
}

/// Where a duration is counted: in the first bucket whose bound it does not pass.
fn bucket(micros: u64) -> usize {
    let bits = u64::BITS - micros.saturating_sub(1).leading_zeros();
    (bits.saturating_sub(LOWEST) as usize).min(BOUNDS)
}

fn bound(at: usize) -> Duration {
    Duration::from_micros(1 << (LOWEST as usize + at))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_below_the_first_bound_that_it_does_not_pass() {
        for (micros, bound_us) in
            [(0, 16), (1, 16), (16, 16), (17, 32), (32, 32), (33, 64), (1000, 1024), (1025, 2048), (1 << 24, 1 << 24)]
        {
            assert_eq!(bound(bucket(micros)), Duration::from_micros(bound_us), "{micros}");
        }
        assert_eq!(bucket((1 << 24) + 1), BOUNDS);
        assert_eq!(bucket(u64::MAX), BOUNDS);
    }

    #[test]
    fn sums_and_differences_are_exact() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut whole, mut first, mut second) = Default::default();
        for step in 0..1000 {
            let bits = rng.u32(1..30);
            let duration = Duration::from_micros(rng.u64(..1 << bits));
            Histogram::record(&mut whole, duration);
            Histogram::record(if step % 3 == 0 { &mut first } else { &mut second }, duration);
        }
        assert_eq!(whole.since(&first), second, "seed {seed}");
        first.add(&second);
        assert_eq!((first.count(), &first), (1000, &whole), "seed {seed}");
        let (_, below) = whole.cumulative().last().unwrap();
        assert_eq!(below + whole.counts[BOUNDS], 1000);
    }

    #[test]
    fn quantiles_are_bounds_and_nothing_has_none() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (0..99).for_each(|_| histogram.record(Duration::from_micros(10)));
        histogram.record(Duration::from_secs(3600));
        assert_eq!(histogram.quantile(0.0), Some(Duration::from_micros(16)));
        assert_eq!(histogram.quantile(0.99), Some(Duration::from_micros(16)));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_micros(1 << 24)));
    }

    #[test]
    fn it_travels_without_its_empty_end_and_one_of_other_bounds_is_understood() {
        let mut histogram = Histogram::default();
        assert_eq!(serde_json::to_string(&histogram).unwrap(), r#"{"counts":[],"sum_us":0}"#);
        histogram.record(Duration::from_micros(20));
        let json = serde_json::to_string(&histogram).unwrap();
        assert_eq!(json, r#"{"counts":[0,1],"sum_us":20}"#);
        assert_eq!(serde_json::from_str::<Histogram>(&json).unwrap(), histogram);
        let longer = serde_json::to_string(&serde_json::json!({ "counts": vec![1; 40] })).unwrap();
        assert_eq!(serde_json::from_str::<Histogram>(&longer).unwrap().count(), 40);
        assert_eq!(serde_json::from_str::<Histogram>("{}").unwrap(), Histogram::default());
    }
}
