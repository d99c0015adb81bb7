//! Which filter is in force, for the supervisor and for each slot: the configured one, or what was asked for at run time. A core
//! without I/O: time is an argument.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::filter::DEFAULT_FILTER;

/// The longest time that a filter may be asked for.
pub const MAX_TIME_MS: u64 = 7 * 24 * 3600 * 1000;

/// What `roomd log` asks for.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct LogOrder {
    /// The new filter; none leaves it, or with `reset` goes back to the configured one.
    #[serde(default)]
    pub filter: Option<String>,
    /// For how long, in milliseconds; none is until the next change.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// For this slot alone.
    #[serde(default)]
    pub slot: Option<u16>,
    /// Back to the configured one.
    #[serde(default)]
    pub reset: bool,
}

impl fmt::Display for LogOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.filter.as_deref().unwrap_or("as configured"))?;
        if let Some(slot) = self.slot {
            write!(f, ", slot {slot}")?;
        }
        if let Some(ms) = self.for_ms {
            write!(f, ", for {} s", ms.div_ceil(1000))?;
        }
        Ok(())
    }
}

/// What is in force.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LogStatus {
    /// For the supervisor and all workers.
    pub filter: String,
    /// What flags, environment and file say.
    pub configured: String,
    /// When `filter` goes back by itself.
    pub ends_in_s: Option<f64>,
    /// Slots that have another.
    pub slots: Vec<SlotFilter>,
}

/// A slot that has a filter of its own.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SlotFilter {
    /// Which.
    pub slot: u16,
    /// Its filter.
    pub filter: String,
    /// When it goes back by itself.
    pub ends_in_s: Option<f64>,
}

/// A filter asked for at run time.
#[derive(Clone, Debug)]
struct Asked {
    filter: String,
    until: Option<Instant>,
    /// What was asked for without an end before, and comes back after this.
    before: Option<String>,
}

/// All filters.
#[derive(Clone, Debug)]
pub struct Filters {
    configured: String,
    everywhere: Option<Asked>,
    slots: BTreeMap<u16, Asked>,
}

impl Default for Filters {
    fn default() -> Self {
        Filters { configured: DEFAULT_FILTER.into(), everywhere: None, slots: BTreeMap::new() }
    }
}

impl Filters {
    /// Another configured filter.
    pub fn configure(&mut self, filter: &str) {
        filter.clone_into(&mut self.configured);
    }

    /// The supervisor's, and that of slots without one of their own.
    pub fn everywhere(&self) -> &str {
        self.everywhere.as_ref().map_or(&self.configured, |asked| &asked.filter)
    }

    /// A slot's.
    pub fn of_slot(&self, slot: u16) -> &str {
        self.slots.get(&slot).map_or(self.everywhere(), |asked| &asked.filter)
    }

    /// Does as ordered. A filter for all ends those of single slots.
    pub fn order(&mut self, order: &LogOrder, now: Instant) {
        let until = order.for_ms.map(|ms| now + Duration::from_millis(ms.min(MAX_TIME_MS)));
        let asked = |before: Option<Asked>| {
            let filter = order.filter.clone()?;
            let before = match before {
                Some(Asked { filter, until: None, .. }) => Some(filter),
                Some(Asked { before, .. }) => before,
                None => None,
            };
            Some(Asked { filter, until, before: before.filter(|_| until.is_some()) })
        };
        if order.filter.is_none() && !order.reset {
            return;
        }
        match order.slot {
            None => {
                self.slots.clear();
                self.everywhere = asked(self.everywhere.take());
            }
            Some(slot) => {
                let before = self.slots.remove(&slot);
                self.slots.extend(asked(before).map(|asked| (slot, asked)));
            }
        }
    }

    /// When the next filter ends.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.slots.values().chain(&self.everywhere).filter_map(|asked| asked.until).min()
    }

    /// Ends what is over by now; whether something was.
    pub fn tick(&mut self, now: Instant) -> bool {
        if self.poll_timeout().is_none_or(|next| now < next) {
            return false;
        }
        let over = |asked: &Asked| asked.until.is_some_and(|until| now >= until);
        let back = |asked: Asked| asked.before.map(|filter| Asked { filter, until: None, before: None });
        if self.everywhere.as_ref().is_some_and(over) {
            self.everywhere = self.everywhere.take().and_then(back);
        }
        let slots = std::mem::take(&mut self.slots).into_iter();
        let still = |(slot, asked): (u16, Asked)| Some((slot, if over(&asked) { back(asked)? } else { asked }));
        self.slots = slots.filter_map(still).collect();
        true
    }

    /// What is in force.
    pub fn status(&self, now: Instant) -> LogStatus {
        let ends = |asked: &Asked| asked.until.map(|until| until.saturating_duration_since(now).as_secs_f64());
        LogStatus {
            filter: self.everywhere().to_owned(),
            configured: self.configured.clone(),
            ends_in_s: self.everywhere.as_ref().and_then(ends),
            slots: self
                .slots
                .iter()
                .map(|(&slot, asked)| SlotFilter { slot, filter: asked.filter.clone(), ends_in_s: ends(asked) })
                .collect(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn order(filter: &str, for_s: Option<u64>, slot: Option<u16>) -> LogOrder {
        LogOrder { filter: Some(filter.into()), for_ms: for_s.map(|s| s * 1000), slot, reset: false }
    }

    #[test]
    fn a_filter_for_a_time_goes_back_to_what_was_asked_for_before() {
        let (mut filters, now) = (Filters::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        filters.configure("warn");
        filters.order(&order("debug", Some(10), None), now);
        filters.order(&order("trace", Some(20), None), now);
        assert_eq!((filters.everywhere(), filters.of_slot(3)), ("trace", "trace"));
        assert!(!filters.tick(after(10)));
        assert!(filters.tick(after(20)) && !filters.tick(after(21)));
        assert_eq!(filters.everywhere(), "warn");

        filters.order(&order("info", None, None), now);
        filters.order(&order("trace", Some(5), None), now);
        assert!(filters.tick(after(5)));
        assert_eq!((filters.everywhere(), filters.poll_timeout()), ("info", None));
        filters.order(&LogOrder { reset: true, ..LogOrder::default() }, now);
        assert_eq!(filters.everywhere(), "warn");
    }

    #[test]
    fn a_slot_has_its_own_until_all_get_another() {
        let (mut filters, now) = (Filters::default(), Instant::now());
        filters.order(&order("debug", None, Some(1)), now);
        filters.order(&order("trace", Some(5), Some(1)), now);
        filters.order(&order("error", Some(9), Some(2)), now);
        assert_eq!((filters.everywhere(), filters.of_slot(1), filters.of_slot(2)), ("info", "trace", "error"));
        assert_eq!(filters.status(now).slots.len(), 2);
        assert!(filters.tick(now + Duration::from_secs(9)));
        assert_eq!((filters.of_slot(1), filters.of_slot(2)), ("debug", "info"));
        filters.order(&order("warn", None, None), now);
        assert_eq!((filters.of_slot(1), filters.status(now).slots.len()), ("warn", 0));
        filters.order(&LogOrder::default(), now);
        assert_eq!(filters.everywhere(), "warn", "asking changes nothing");
    }
}
