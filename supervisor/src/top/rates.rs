//! From what workers have counted to how much it is each second.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use roomd_wire::{Generation, RedisFigures, Slot, WorkerCounters};

use crate::status::{Status, WorkerStatus};

/// Who reports each second and has not for so long has no rates: it is paused, or has too much to do.
const STALE: Duration = Duration::from_millis(3500);

/// Two reports are two if there is so much between them. A report's time is known as well as the answer's way is short.
const APART: Duration = Duration::from_millis(100);

/// CPU time is told in hundredths of a second: over less than this it jumps.
const CPU_OVER: Duration = Duration::from_secs(5);

/// What happens each second.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Rates {
    /// Events that clients send.
    pub events_in: f64,
    /// Packets that are handed to clients.
    pub packets_out: f64,
    /// Bytes read from clients.
    pub bytes_in: f64,
    /// Bytes written to clients.
    pub bytes_out: f64,
}

/// A status with what happens each second.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The status itself.
    pub status: Status,
    /// Each worker's rates, in the order of the status; none where they are not known.
    pub workers: Vec<Option<Rates>>,
    /// The part of one core that each worker used lately, 1 for all of it; none where it is not known.
    pub cpu: Vec<Option<f64>>,
    /// Those of all workers together; none where they are known of no worker.
    pub total: Option<Rates>,
    /// Connections that the balancer accepts each second.
    pub accepted: Option<f64>,
    /// What is refused each second, by the balancer and by workers.
    pub refused: Option<f64>,
    /// What Redis does each second, once it told that twice.
    pub redis: Option<RedisRates>,
}

/// What Redis does each second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RedisRates {
    /// Commands.
    pub commands: f64,
    /// The part of one core that it uses, 1 for all of it.
    pub cpu: f64,
}

/// Makes pictures of the statuses that it is given one after another.
#[derive(Default, Debug)]
pub struct Meter {
    workers: HashMap<Key, Known>,
    cluster: Option<(Instant, ClusterCounts)>,
    redis: Option<(Instant, RedisFigures)>,
    redis_rates: Option<RedisRates>,
}

/// One process. The process id tells apart what two supervisors, one after the other, call by the same generation.
type Key = (Slot, Generation, u32);

#[derive(Default, Debug)]
struct Known {
    report: Option<Report>,
    cpu: VecDeque<(Instant, f64)>,
}

/// What a worker told of itself.
#[derive(Clone, Debug)]
struct Report {
    at: Instant,
    counters: WorkerCounters,
    rates: Option<Rates>,
}

#[derive(Clone, Copy, Debug)]
struct ClusterCounts {
    supervisor: u32,
    accepted: u64,
    refused: u64,
}

impl Meter {
    /// What has happened up to a status that was answered `now`.
    pub fn take(&mut self, status: Status, now: Instant) -> Picture {
        let (mut known, mut workers, mut cpu) = (HashMap::new(), Vec::new(), Vec::new());
        for worker in &status.workers {
            let Some(pid) = worker.pid else {
                workers.push(None);
                cpu.push(None);
                continue;
            };
            let key = (worker.slot, worker.generation, pid);
            let mut one = self.workers.remove(&key).unwrap_or_default();
            one.report = read(worker, one.report, now);
            let fresh = one.report.as_ref().filter(|report| now.saturating_duration_since(report.at) < STALE);
            workers.push(fresh.and_then(|report| report.rates));
            cpu.push(busy(worker, &mut one.cpu, now));
            known.insert(key, one);
        }
        // Those that are gone are forgotten here.
        self.workers = known;
        let total = workers.iter().flatten().copied().reduce(Rates::plus);
        let (accepted, refused) = self.cluster(&status, now);
        let redis = self.redis(status.bus.redis.as_ref(), now);
        Picture { status, workers, cpu, total, accepted, refused, redis }
    }

    /// What is accepted and refused each second.
    fn cluster(&mut self, status: &Status, now: Instant) -> (Option<f64>, Option<f64>) {
        let counts = ClusterCounts {
            supervisor: status.supervisor.pid,
            accepted: status.balancer.accepted,
            refused: refused(status),
        };
        let Some((at, before)) = self.cluster.replace((now, counts)) else { return (None, None) };
        if before.supervisor != counts.supervisor {
            return (None, None);
        }
        let elapsed = now.saturating_duration_since(at);
        (per_second(before.accepted, counts.accepted, elapsed), per_second(before.refused, counts.refused, elapsed))
    }
    /// It is asked every ten seconds: in between, what it does is what it did.
    fn redis(&mut self, told: Option<&RedisFigures>, now: Instant) -> Option<RedisRates> {
        let Some(told) = told else {
            (self.redis, self.redis_rates) = (None, None);
            return None;
        };
        let Some((at, before)) = self.redis.as_ref().filter(|(_, before)| before.commands <= told.commands) else {
            (self.redis, self.redis_rates) = (Some((now, told.clone())), None);
            return None;
        };
        if before.commands != told.commands {
            let elapsed = now.saturating_duration_since(*at);
            let cpu = |figures: &RedisFigures| Some(figures.cpu_user_s? + figures.cpu_system_s?);
            let used = cpu(before).zip(cpu(told)).map(|(before, after)| (after - before) / elapsed.as_secs_f64());
            let commands =
                before.commands.zip(told.commands).and_then(|(before, after)| per_second(before, after, elapsed));
            self.redis_rates = commands.zip(used).map(|(commands, cpu)| RedisRates { commands, cpu });
            self.redis = Some((now, told.clone()));
        }
        self.redis_rates
    }
}

/// A worker's newest report, which may be the one before.
fn read(worker: &WorkerStatus, before: Option<Report>, now: Instant) -> Option<Report> {
    let ago = Duration::try_from_secs_f64(worker.reported_ago_s?).ok()?;
    let at = now.checked_sub(ago)?;
    let Some(before) = before else {
        return Some(Report { at, counters: worker.counters.clone(), rates: None });
    };
    let elapsed = at.saturating_duration_since(before.at);
    if elapsed < APART {
        return Some(before);
    }
    let rates = Rates::between(&before.counters, &worker.counters, elapsed);
    Some(Report { at, counters: worker.counters.clone(), rates })
}

/// The part of one core that a worker used lately.
fn busy(worker: &WorkerStatus, times: &mut VecDeque<(Instant, f64)>, now: Instant) -> Option<f64> {
    let time = worker.cpu_s?;
    times.retain(|(at, _)| now.saturating_duration_since(*at) <= CPU_OVER);
    let busy = times.front().and_then(|(at, before)| {
        let elapsed = now.saturating_duration_since(*at).as_secs_f64();
        (elapsed > 0.0 && time >= *before).then_some((time - before) / elapsed)
    });
    times.push_back((now, time));
    busy
}

impl Rates {
    /// None if a counter went back: then these are not the counters of one process.
    fn between(before: &WorkerCounters, after: &WorkerCounters, elapsed: Duration) -> Option<Rates> {
        Some(Rates {
            events_in: per_second(before.events_in, after.events_in, elapsed)?,
            packets_out: per_second(before.packets_out, after.packets_out, elapsed)?,
            bytes_in: per_second(before.bytes_in, after.bytes_in, elapsed)?,
            bytes_out: per_second(before.bytes_out, after.bytes_out, elapsed)?,
        })
    }

    fn plus(self, other: Rates) -> Rates {
        Rates {
            events_in: self.events_in + other.events_in,
            packets_out: self.packets_out + other.packets_out,
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
        }
    }
}

fn refused(status: &Status) -> u64 {
    let balancer = status.balancer.refused.values();
    let workers = status.slots.iter().map(|slot| &slot.counters.refused_requests);
    balancer.chain(workers).fold(0, |sum, count| sum.saturating_add(*count))
}

fn per_second(before: u64, after: u64, elapsed: Duration) -> Option<f64> {
    let seconds = elapsed.as_secs_f64();
    (seconds > 0.0).then_some(after.checked_sub(before)? as f64 / seconds)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::status::sample;

    /// A status in which the first worker has counted so much, as it reported so long ago.
    fn status(events_in: u64, ago_s: f64) -> Status {
        let mut status = sample();
        status.workers[0].counters = WorkerCounters { events_in, bytes_out: events_in * 10, ..Default::default() };
        status.workers[0].reported_ago_s = Some(ago_s);
        status
    }

    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    fn events(picture: &Picture) -> Option<f64> {
        picture.workers[0].map(|rates| rates.events_in.round())
    }

    #[test]
    fn a_rate_is_between_two_reports_whenever_they_were_asked_for() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        assert_eq!(events(&meter.take(status(100, 0.9), at(start, 1.0))), None);
        // 1.95 s after the question, but 2.0 s after the report.
        let picture = meter.take(status(300, 0.85), at(start, 2.95));
        assert_eq!(events(&picture), Some(100.0));
        assert_eq!(picture.workers[0].unwrap().bytes_out.round(), 1000.0);
        assert_eq!(picture.total, picture.workers[0], "the other slot has no process");
        // The same report again: the rate is what it was.
        assert_eq!(events(&meter.take(status(300, 0.95), at(start, 3.05))), Some(100.0));
        assert_eq!(events(&meter.take(status(350, 0.1), at(start, 3.2))), Some(50.0));
    }

    #[test]
    fn who_does_not_report_has_no_rates() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        meter.take(status(100, 0.0), start);
        assert_eq!(events(&meter.take(status(200, 0.0), at(start, 1.0))), Some(100.0));
        assert_eq!(events(&meter.take(status(200, 3.0), at(start, 4.0))), Some(100.0));
        let picture = meter.take(status(200, 3.6), at(start, 4.6));
        assert_eq!((events(&picture), picture.total), (None, None));
        assert_eq!(events(&meter.take(status(600, 0.0), at(start, 5.0))), Some(100.0), "it goes on");
    }

    #[test]
    fn another_process_begins_anew() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        meter.take(status(1000, 0.0), start);
        let mut reloaded = status(10, 0.0);
        reloaded.workers[0].generation.0 += 1;
        assert_eq!(events(&meter.take(reloaded.clone(), at(start, 1.0))), None);
        reloaded.workers[0].counters.events_in = 40;
        assert_eq!(events(&meter.take(reloaded.clone(), at(start, 2.0))), Some(30.0));
        // Another supervisor begins with the same generation again.
        reloaded.workers[0].pid = Some(7);
        reloaded.workers[0].counters.events_in = 1_000;
        assert_eq!(events(&meter.take(reloaded.clone(), at(start, 3.0))), None);
        // A counter that goes back, whyever, is no rate below zero.
        reloaded.workers[0].counters.events_in = 5;
        assert_eq!(events(&meter.take(reloaded.clone(), at(start, 4.0))), None);
        reloaded.workers[0].counters.events_in = 8;
        assert_eq!(events(&meter.take(reloaded, at(start, 5.0))), Some(3.0));
    }

    #[test]
    fn old_and_new_generation_of_a_slot_each_have_their_rates_and_share_the_total() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let both = |old: u64, new: u64| {
            let mut status = status(old, 0.0);
            let mut second = status.workers[0].clone();
            (second.generation.0, second.pid, second.counters.events_in) = (2, Some(900), new);
            status.workers.insert(1, second);
            status
        };
        meter.take(both(10, 0), start);
        let picture = meter.take(both(15, 100), at(start, 1.0));
        assert_eq!(picture.workers[1].unwrap().events_in.round(), 100.0);
        assert_eq!((events(&picture), picture.total.unwrap().events_in.round()), (Some(5.0), 105.0));
    }

    #[test]
    fn the_part_of_a_core_is_that_of_the_last_seconds() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let mut busy = |seconds: f64, cpu_s: f64| {
            let mut status = status(0, 0.0);
            status.workers[0].cpu_s = Some(cpu_s);
            meter.take(status, at(start, seconds)).cpu[0].map(|cpu| (cpu * 100.0).round())
        };
        assert_eq!(busy(0.0, 1.0), None);
        assert_eq!(busy(1.0, 1.5), Some(50.0));
        assert_eq!(busy(4.0, 3.0), Some(50.0));
        assert_eq!(busy(9.5, 3.0), None, "nothing was asked for so long");
        assert_eq!(busy(10.0, 3.0), Some(0.0));
    }

    #[test]
    fn redis_is_between_two_of_its_answers() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let mut look = |seconds: f64, commands: Option<u64>| {
            let mut status = status(0, 0.0);
            let cpu = Some(commands.unwrap_or(0) as f64 / 1000.0);
            let figures = RedisFigures { commands, cpu_user_s: cpu, cpu_system_s: Some(0.0), ..Default::default() };
            status.bus.redis = commands.is_some().then_some(figures);
            let redis = meter.take(status, at(start, seconds)).redis;
            redis.map(|redis| (redis.commands.round(), (redis.cpu * 100.0).round()))
        };
        assert_eq!(look(0.0, Some(1000)), None);
        assert_eq!(look(10.0, Some(3000)), Some((200.0, 20.0)));
        assert_eq!(look(11.0, Some(3000)), Some((200.0, 20.0)));
        assert_eq!(look(20.0, Some(10)), None, "another Redis");
        assert_eq!(look(21.0, Some(20)), Some((10.0, 1.0)));
        assert_eq!(look(22.0, None), None);
    }

    #[test]
    fn what_the_balancer_counts_begins_anew_with_the_supervisor() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let mut status = sample();
        assert_eq!(meter.take(status.clone(), start).accepted, None);
        status.balancer.accepted += 20;
        *status.balancer.refused.get_mut("head_timeout").unwrap() += 4;
        status.slots[0].counters.refused_requests += 6;
        let picture = meter.take(status.clone(), at(start, 2.0));
        assert_eq!((picture.accepted, picture.refused), (Some(10.0), Some(5.0)));
        status.supervisor.pid += 1;
        assert_eq!(meter.take(status, at(start, 3.0)).accepted, None);
    }
}
