//! How late the event loop is: what runs on it waits behind what runs already.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use roomd_wire::Histogram;

/// From one sample to the next.
const EVERY: Duration = Duration::from_millis(100);
/// The runtime's timer is late by up to this on an idle loop, which is its resolution and no lag.
const RESOLUTION: Duration = Duration::from_millis(1);
/// A loop that is later than this stood still with its process (or the machine slept), and is not measured for that time.
const STOOD_STILL: Duration = Duration::from_secs(30);

/// The lag of the event loop that [`LoopLag::measure`] runs on. A clone is another handle to it.
#[derive(Clone, Default, Debug)]
pub struct LoopLag(Rc<RefCell<Histogram>>);

/// When samples are due. A loop that was held up for several samples is late for each of them: else one long stop would count
/// like one short one.
struct Schedule {
    due: Instant,
}

impl LoopLag {
    /// What was measured so far.
    pub fn histogram(&self) -> Histogram {
        self.0.borrow().clone()
    }

    /// Measures for ever.
    pub async fn measure(self) {
        let mut schedule = Schedule { due: Instant::now() + EVERY };
        loop {
            tokio::time::sleep_until(schedule.due.into()).await;
            schedule.woke(Instant::now(), |lag| self.0.borrow_mut().record(lag));
        }
    }
}

impl Schedule {
    fn woke(&mut self, now: Instant, mut record: impl FnMut(Duration)) {
        if now.saturating_duration_since(self.due) > STOOD_STILL {
            self.due = now + EVERY;
            return;
        }
        while self.due <= now {
            record((now - self.due).saturating_sub(RESOLUTION));
            self.due += EVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_that_was_held_up_is_late_by_its_own_time() {
        let begin = Instant::now();
        let (mut schedule, mut lags) = (Schedule { due: begin }, Vec::new());
        let mut woke = |after: u64| {
            schedule.woke(begin + Duration::from_millis(after), |lag| lags.push(lag.as_millis()));
            schedule.due - begin
        };
        assert_eq!(woke(0), EVERY);
        assert_eq!(woke(101), 2 * EVERY);
        assert_eq!(woke(451), 5 * EVERY);
        // A laptop was closed.
        assert_eq!(woke(3_600_000), Duration::from_millis(3_600_100));
        assert_eq!(woke(3_600_100), Duration::from_millis(3_600_200));
        assert_eq!(lags, [0, 0, 250, 150, 50, 0]);
    }
}
