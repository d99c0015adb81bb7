//! What workers hold, count and time: summed, and by slot.

use std::collections::BTreeMap;

use prometheus::proto::{Metric, MetricFamily};
use roomd_wire::{Histogram, Slot, WorkerCounters, WorkerTimings};

use super::family::{counter, durations, gauge, histogram, one, sample};
use crate::status::{DeathCause, SlotStatus, Status, WorkerStatus};

/// What a worker holds at this moment: the end of its name, its help, the figure.
type Held = (&'static str, &'static str, fn(&WorkerStatus) -> f64);
/// What is counted.
type Counted = (&'static str, &'static str, fn(&WorkerCounters) -> u64);
/// What is timed, by all workers together.
type Timed = (&'static str, &'static str, fn(&SlotStatus) -> &Histogram);

/// Told as `roomd_…`, summed, and as `roomd_worker_…`.
const HELD: [Held; 3] = [
    ("sessions", "Engine.IO sessions that are open.", |worker| worker.sessions as f64),
    ("sockets", "Socket.IO sockets that are connected.", |worker| worker.sockets as f64),
    ("rooms", "Rooms with a member; one with members in several workers counts in each.", |worker| worker.rooms as f64),
];

/// Told as `roomd_worker_…` only.
const HELD_BY_WORKER: [Held; 4] = [
    ("connections", "Client connections that are open.", |worker| worker.connections as f64),
    ("resident_memory_bytes", "Resident memory of the worker.", |worker| worker.rss_bytes as f64),
    ("processes", "Processes of the slot: two while an old worker drains beside the new one.", |_| 1.0),
    ("leads", "Whether the worker does what the host does once.", |worker| f64::from(u8::from(worker.leads))),
];

/// Told as `roomd_…`, summed, and as `roomd_worker_…`.
const COUNTED: [Counted; 18] = [
    ("events_received_total", "Events that clients sent.", |c| c.events_in),
    ("events_sent_total", "Events that the application sent, each once, however many clients it was for.", |c| {
        c.events_out
    }),
    ("packets_received_total", "Engine.IO packets from clients, heartbeats too.", |c| c.packets_in),
    ("packets_sent_total", "Packets handed to clients, one per recipient.", |c| c.packets_out),
    ("received_bytes_total", "Bytes read from clients.", |c| c.bytes_in),
    ("sent_bytes_total", "Bytes written to clients.", |c| c.bytes_out),
    ("sessions_opened_total", "Engine.IO sessions that were begun.", |c| c.sessions_opened),
    ("slow_clients_total", "Clients closed because they read too slowly.", |c| c.slow_clients),
    ("refused_namespaces_total", "Clients refused at the limit of child namespaces.", |c| c.refused_namespaces),
    ("bad_events_total", "Events of the wrong shape for their handler.", |c| c.bad_events),
    ("handler_panics_total", "Handlers that ended in a panic.", |c| c.handler_panics),
    ("handler_errors_total", "Handlers that returned an error.", |c| c.handler_errors),
    ("bus_published_total", "Messages published on the bus.", |c| c.bus_published),
    ("bus_received_total", "Messages that came from the bus.", |c| c.bus_received),
    ("bus_dropped_total", "Messages not published because the bus was down or its queue full.", |c| c.bus_dropped),
    ("bus_malformed_total", "Messages from the bus that could not be understood.", |c| c.bus_malformed),
    ("bus_connects_total", "How often workers have connected to the bus.", |c| c.bus_connects),
    ("relayed_requests_total", "Requests relayed to another worker.", |c| c.relayed_requests),
];

/// Told as `roomd_worker_…` only: there is a sum with causes, or of the balancer's.
const COUNTED_BY_WORKER: [Counted; 2] = [
    ("refused_requests_total", "Requests that were refused, all causes.", |c| c.refused_requests),
    ("moved_connections_total", "Connections moved to another worker.", |c| c.moved_connections),
];

/// Told as `roomd_…`, summed.
const TIMED: [Timed; 3] = [
    ("worker_start_seconds", "From the start of a worker until it is ready.", |slot| &slot.starts),
    (
        "fanout_seconds",
        "From the beginning of a broadcast until it is in the queue of its last recipient in the worker; one in each turn of the loop is timed.",
        |slot| &slot.timings.fanout,
    ),
    ("flush_seconds", "How long a worker's rounds of writing to all clients with something due took.", |slot| {
        &slot.timings.flush
    }),
];

pub fn families(status: &Status) -> Vec<MetricFamily> {
    let (slots, living) = (&status.slots, by_slot(status));
    let mut all = Vec::new();
    for (name, help, value) in HELD {
        let sum = status.workers.iter().map(value).sum();
        all.push(gauge(&format!("roomd_{name}"), help, one(sum)));
        all.push(gauge(&format!("roomd_worker_{name}"), help, held(&living, value)));
    }
    for (name, help, value) in HELD_BY_WORKER {
        all.push(gauge(&format!("roomd_worker_{name}"), help, held(&living, value)));
    }
    for (name, help, value) in COUNTED {
        let sum = slots.iter().map(|slot| value(&slot.counters)).sum::<u64>();
        all.push(counter(&format!("roomd_{name}"), help, one(sum as f64)));
        all.push(counter(&format!("roomd_worker_{name}"), help, by_worker(slots, |slot| value(&slot.counters) as f64)));
    }
    for (name, help, value) in COUNTED_BY_WORKER {
        all.push(counter(&format!("roomd_worker_{name}"), help, by_worker(slots, |slot| value(&slot.counters) as f64)));
    }
    for (name, help, value) in TIMED {
        let mut sum = Histogram::default();
        slots.iter().for_each(|slot| sum.add(value(slot)));
        all.push(histogram(&format!("roomd_{name}"), help, vec![durations(&[], &sum)]));
    }
    let lags = slots.iter().map(|slot| durations(&[("worker", &slot.slot.to_string())], lag(&slot.timings)));
    all.extend([
        counter(
            "roomd_requests_refused_total",
            "Requests that workers refused, by cause.",
            by_name("cause", slots, |counters| &counters.refused_by_cause),
        ),
        counter(
            "roomd_sessions_closed_total",
            "Engine.IO sessions that have ended, by the reason that Socket.IO gives it.",
            by_name("reason", slots, |counters| &counters.sessions_closed_by_reason),
        ),
        histogram(
            "roomd_worker_event_loop_lag_seconds",
            "How much later than it was due something ran on the worker's event loop, ten samples a second.",
            lags.collect(),
        ),
        counter("roomd_worker_restarts_total", "Workers started again after they died, by cause.", restarts(slots)),
        counter(
            "roomd_worker_recyclings_total",
            "Workers replaced because their memory stayed above `max_rss`.",
            by_worker(slots, |slot| slot.recycled as f64),
        ),
        counter(
            "roomd_worker_cpu_seconds_total",
            "CPU time of the slot's workers.",
            by_worker(slots, |slot| slot.cpu_s),
        ),
        gauge(
            "roomd_worker_generation",
            "Which run of its slot the newest worker is.",
            newest(&living, |worker| Some(worker.generation.0.into())),
        ),
        gauge(
            "roomd_worker_uptime_seconds",
            "How long the newest worker of the slot has run.",
            newest(&living, |worker| Some(worker.uptime_s)),
        ),
        gauge(
            "roomd_worker_bus_up",
            "Whether the own message of the newest worker of the slot came back over the bus.",
            newest(&living, |worker| Some(f64::from(u8::from(worker.bus_up?)))),
        ),
    ]);
    all
}

fn lag(timings: &WorkerTimings) -> &Histogram {
    &timings.loop_lag
}

/// Workers with a process, by slot; the newest comes last.
fn by_slot(status: &Status) -> BTreeMap<Slot, Vec<&WorkerStatus>> {
    let mut slots: BTreeMap<_, Vec<&WorkerStatus>> = BTreeMap::new();
    for worker in status.workers.iter().filter(|worker| worker.pid.is_some()) {
        slots.entry(worker.slot).or_default().push(worker);
    }
    slots.values_mut().for_each(|workers| workers.sort_by_key(|worker| worker.generation));
    slots
}

fn held(living: &BTreeMap<Slot, Vec<&WorkerStatus>>, value: fn(&WorkerStatus) -> f64) -> Vec<Metric> {
    let sum = |workers: &Vec<&WorkerStatus>| workers.iter().map(|worker| value(worker)).sum();
    living.iter().map(|(slot, workers)| sample(&[("worker", &slot.to_string())], sum(workers))).collect()
}

fn newest(living: &BTreeMap<Slot, Vec<&WorkerStatus>>, value: fn(&WorkerStatus) -> Option<f64>) -> Vec<Metric> {
    let figure = |(slot, workers): (&Slot, &Vec<&WorkerStatus>)| {
        Some(sample(&[("worker", &slot.to_string())], value(workers.last()?)?))
    };
    living.iter().filter_map(figure).collect()
}

fn by_worker(slots: &[SlotStatus], value: impl Fn(&SlotStatus) -> f64) -> Vec<Metric> {
    slots.iter().map(|slot| sample(&[("worker", &slot.slot.to_string())], value(slot))).collect()
}

/// Summed over all workers.
fn by_name(label: &str, slots: &[SlotStatus], counts: fn(&WorkerCounters) -> &BTreeMap<String, u64>) -> Vec<Metric> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in slots.iter().flat_map(|slot| counts(&slot.counters)) {
        *sums.entry(name).or_default() += count;
    }
    sums.into_iter().map(|(name, sum)| sample(&[(label, name)], sum as f64)).collect()
}

fn restarts(slots: &[SlotStatus]) -> Vec<Metric> {
    let each = slots.iter().flat_map(|slot| {
        DeathCause::ALL.iter().map(|cause| {
            let count = slot.restarts_by_cause.get(cause).copied().unwrap_or(0);
            sample(&[("cause", cause.as_str()), ("worker", &slot.slot.to_string())], count as f64)
        })
    });
    each.collect()
}
