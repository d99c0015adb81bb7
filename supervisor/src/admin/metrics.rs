//! The figures of a status in Prometheus' text format.
//!
//! What workers count is told per worker alone: a sum made here would fall when a worker is replaced, one made by Prometheus over
//! the rates does not.

use std::collections::BTreeMap;

use prometheus::{
    Encoder, TextEncoder,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};
use roomd_wire::WorkerCounters;

use crate::status::{BusState, DeathCause, Status, WorkerState, WorkerStatus};

/// Content type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A figure of one worker, taken as it is at this moment.
type WorkerGauge = (&'static str, &'static str, fn(&WorkerStatus) -> f64);
/// A figure that a worker counts from its start: a new worker begins at 0 again, which Prometheus understands.
type WorkerCounter = (&'static str, &'static str, fn(&WorkerCounters) -> u64);

const WORKER_GAUGES: [WorkerGauge; 6] = [
    ("roomd_worker_connections", "Client connections that are open.", |worker| worker.connections as f64),
    ("roomd_worker_sessions", "Engine.IO sessions that are open.", |worker| worker.sessions as f64),
    ("roomd_worker_sockets", "Socket.IO sockets that are connected.", |worker| worker.sockets as f64),
    ("roomd_worker_rooms", "Rooms with at least one member.", |worker| worker.rooms as f64),
    ("roomd_worker_resident_memory_bytes", "Resident memory of the worker.", |worker| worker.rss_bytes as f64),
    ("roomd_worker_uptime_seconds", "How long the worker has run.", |worker| worker.uptime_s),
];

const WORKER_COUNTERS: [WorkerCounter; 16] = [
    ("roomd_worker_events_received_total", "Events that clients sent.", |c| c.events_in),
    ("roomd_worker_packets_sent_total", "Packets handed to clients, one per recipient.", |c| c.packets_out),
    ("roomd_worker_received_bytes_total", "Bytes read from clients.", |c| c.bytes_in),
    ("roomd_worker_sent_bytes_total", "Bytes written to clients.", |c| c.bytes_out),
    ("roomd_worker_slow_clients_total", "Clients closed because they read too slowly.", |c| c.slow_clients),
    ("roomd_worker_refused_requests_total", "Requests that were refused, all causes.", |c| c.refused_requests),
    ("roomd_worker_refused_namespaces_total", "Clients refused at the limit of child namespaces.", |c| {
        c.refused_namespaces
    }),
    ("roomd_worker_bad_events_total", "Events of the wrong shape for their handler.", |c| c.bad_events),
    ("roomd_worker_handler_panics_total", "Handlers that ended in a panic.", |c| c.handler_panics),
    ("roomd_worker_handler_errors_total", "Handlers that returned an error.", |c| c.handler_errors),
    ("roomd_worker_bus_published_total", "Messages published on the bus.", |c| c.bus_published),
    ("roomd_worker_bus_received_total", "Messages that came from the bus.", |c| c.bus_received),
    ("roomd_worker_bus_dropped_total", "Messages not published because the bus was down or its queue full.", |c| {
        c.bus_dropped
    }),
    ("roomd_worker_bus_malformed_total", "Messages from the bus that could not be understood.", |c| c.bus_malformed),
    ("roomd_worker_relayed_requests_total", "Requests relayed to another worker.", |c| c.relayed_requests),
    ("roomd_worker_moved_connections_total", "Connections moved to another worker.", |c| c.moved_connections),
];

const WORKER_STATES: [WorkerState; 5] =
    [WorkerState::Starting, WorkerState::Ready, WorkerState::Draining, WorkerState::Backoff, WorkerState::Failed];

/// Renders a status.
pub fn render(status: &Status) -> prometheus::Result<String> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&families(status), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn families(status: &Status) -> Vec<MetricFamily> {
    let supervisor = &status.supervisor;
    let mut all = vec![
        gauge("roomd_info", "The running program.", vec![sample(&[("version", &supervisor.version)], 1.0)]),
        gauge("roomd_uptime_seconds", "How long the supervisor has run.", one(supervisor.uptime_s)),
        gauge("roomd_workers_wanted", "How many workers are wanted.", one(supervisor.wanted_workers.into())),
        gauge("roomd_workers", "Workers by state.", by_state(status)),
        gauge(
            "roomd_sessions",
            "Engine.IO sessions that are open, in all workers.",
            sum(status, |worker| worker.sessions),
        ),
        gauge(
            "roomd_sockets",
            "Socket.IO sockets that are connected, in all workers.",
            sum(status, |worker| worker.sockets),
        ),
        gauge("roomd_bus_up", "Whether a message over the bus came back, as the supervisor sees it.", bus_up(status)),
        gauge("roomd_bus_state_seconds", "How long the bus has been up or down.", one(status.bus.since_s)),
        counter("roomd_worker_restarts_total", "Workers started again after they died, by cause.", restarts(status)),
    ];
    if let Some(bytes) = supervisor.rss_bytes {
        all.push(gauge("roomd_resident_memory_bytes", "Resident memory of the supervisor.", one(bytes as f64)));
    }
    if let Some(latency) = status.bus.latency_ms {
        all.push(gauge(
            "roomd_bus_latency_seconds",
            "How long the last message over the bus took.",
            one(latency / 1000.0),
        ));
    }
    all.extend(balancer(status));
    let alive: Vec<&WorkerStatus> = status.workers.iter().filter(|worker| worker.pid.is_some()).collect();
    all.extend(WORKER_GAUGES.iter().map(|(name, help, value)| {
        gauge(name, help, alive.iter().map(|worker| of_worker(worker, value(worker))).collect())
    }));
    all.extend(WORKER_COUNTERS.iter().map(|(name, help, value)| {
        counter(name, help, alive.iter().map(|worker| of_worker(worker, value(&worker.counters) as f64)).collect())
    }));
    let reported = alive.iter().filter_map(|worker| Some(of_worker(worker, f64::from(u8::from(worker.bus_up?)))));
    all.push(gauge(
        "roomd_worker_bus_up",
        "Whether the worker's own message over the bus came back.",
        reported.collect(),
    ));
    // The encoder takes a family without samples for a mistake.
    all.retain(|family| !family.get_metric().is_empty());
    all
}

fn balancer(status: &Status) -> Vec<MetricFamily> {
    let balancer = &status.balancer;
    let refused = balancer.refused.iter().map(|(cause, count)| sample(&[("cause", cause)], *count as f64)).collect();
    let total = |count: u64| one(count as f64);
    vec![
        counter("roomd_connections_accepted_total", "Connections accepted.", total(balancer.accepted)),
        gauge(
            "roomd_connections",
            "Connections that are open, in all workers and in the balancer.",
            total(balancer.open),
        ),
        gauge(
            "roomd_connections_waiting_for_head",
            "Connections whose request head is not there yet.",
            total(balancer.waiting_for_head),
        ),
        gauge(
            "roomd_connections_waiting_for_worker",
            "Connections that wait for a ready worker.",
            total(balancer.waiting_for_worker),
        ),
        counter(
            "roomd_connections_handed_over_total",
            "Connections that a worker took over.",
            total(balancer.handed_over),
        ),
        counter(
            "roomd_connections_handed_over_again_total",
            "Connections given to another worker because the first died before it took them over, or could not.",
            total(balancer.handed_over_again),
        ),
        counter(
            "roomd_connections_moved_total",
            "Connections moved from one worker to another.",
            total(balancer.moved),
        ),
        counter("roomd_relays_total", "Streams between workers for relayed requests.", total(balancer.relays)),
        counter("roomd_connections_refused_total", "Connections the balancer answered itself, by cause.", refused),
    ]
}

fn by_state(status: &Status) -> Vec<Metric> {
    let count = |state| status.workers.iter().filter(|worker| worker.state == state).count();
    WORKER_STATES.iter().map(|state| sample(&[("state", state.as_str())], count(*state) as f64)).collect()
}

fn sum(status: &Status, value: fn(&WorkerStatus) -> u64) -> Vec<Metric> {
    one(status.workers.iter().map(value).sum::<u64>() as f64)
}

fn bus_up(status: &Status) -> Vec<Metric> {
    let up = if status.bus.state == BusState::Up { 1.0 } else { 0.0 };
    vec![sample(&[("kind", status.bus.kind.as_str())], up)]
}

/// By slot and cause. A slot has two rows in the status while its old worker drains; its restarts are told once.
fn restarts(status: &Status) -> Vec<Metric> {
    let slots: BTreeMap<_, _> = status.workers.iter().map(|worker| (worker.slot, &worker.restarts_by_cause)).collect();
    let each = slots.iter().flat_map(|(slot, causes)| {
        DeathCause::ALL.iter().map(|cause| {
            let count = causes.get(cause).copied().unwrap_or(0);
            sample(&[("cause", cause.as_str()), ("slot", &slot.to_string())], count as f64)
        })
    });
    each.collect()
}

/// A worker is named by slot and generation: of two in one slot each has its own figures.
fn of_worker(worker: &WorkerStatus, value: f64) -> Metric {
    sample(&[("generation", &worker.generation.to_string()), ("slot", &worker.slot.to_string())], value)
}

fn one(value: f64) -> Vec<Metric> {
    vec![sample(&[], value)]
}

/// Which of gauge and counter it is, only the family says: it carries both.
fn sample(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = Metric::default();
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value((*value).into());
        pair
    });
    metric.set_label(pairs.collect());
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
    let mut counter = Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

fn gauge(name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    family(name, help, MetricType::GAUGE, metrics)
}

fn counter(name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    family(name, help, MetricType::COUNTER, metrics)
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::status::sample as sample_status;

    #[test]
    fn the_figures_are_prometheus_text() {
        let text = render(&sample_status()).unwrap();
        for expected in [
            "# HELP roomd_workers Workers by state.\n# TYPE roomd_workers gauge\n",
            "roomd_workers{state=\"ready\"} 1\n",
            "roomd_workers{state=\"backoff\"} 1\n",
            "roomd_sockets 2\n",
            "roomd_info{version=\"0.1.0\"} 1\n",
            "roomd_bus_up{kind=\"redis\"} 0\n",
            "# TYPE roomd_worker_restarts_total counter\n",
            "roomd_worker_restarts_total{cause=\"crash\",slot=\"1\"} 3\n",
            "roomd_worker_restarts_total{cause=\"hang\",slot=\"1\"} 0\n",
            "roomd_worker_sockets{generation=\"1\",slot=\"0\"} 2\n",
            "roomd_worker_packets_sent_total{generation=\"1\",slot=\"0\"} 50\n",
            "roomd_connections_refused_total{cause=\"head_timeout\"} 1\n",
            "roomd_connections_accepted_total 9\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(
            !text.contains("roomd_worker_sockets{generation=\"5\""),
            "a slot without a process has no figures of one"
        );
        assert!(!text.contains("roomd_bus_latency_seconds"), "what is not known is left out");
    }

    #[test]
    fn every_family_is_told_once_and_every_sample_belongs_to_one() {
        let text = render(&sample_status()).unwrap();
        let mut names: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(names.binary_search(&name).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_cluster_without_workers_has_figures_too() {
        let mut status = sample_status();
        status.workers.clear();
        assert!(render(&status).unwrap().contains("roomd_workers{state=\"ready\"} 0\n"));
    }
}
