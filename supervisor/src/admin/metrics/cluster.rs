//! The supervisor's own process, the numbers of workers, and the balancer.

use prometheus::proto::{Metric, MetricFamily};

use super::family::{counter, durations, gauge, histogram, known, one, sample};
use crate::status::{Status, WorkerState};

const WORKER_STATES: [WorkerState; 6] = [
    WorkerState::Starting,
    WorkerState::Ready,
    WorkerState::Draining,
    WorkerState::Backoff,
    WorkerState::Failed,
    WorkerState::Drained,
];

pub fn families(status: &Status) -> Vec<MetricFamily> {
    let supervisor = &status.supervisor;
    let of_workers: u64 = status.slots.iter().map(|slot| slot.counters.log_lines_suppressed).sum();
    let mut all = process(status);
    all.extend([
        gauge("roomd_build_info", "The running program.", vec![sample(&[("version", &supervisor.version)], 1.0)]),
        gauge("roomd_uptime_seconds", "How long the supervisor has run.", one(supervisor.uptime_s)),
        histogram(
            "roomd_supervisor_event_loop_lag_seconds",
            "How much later than it was due something ran on the supervisor's event loop, ten samples a second.",
            vec![durations(&[], &supervisor.loop_lag)],
        ),
        counter(
            "roomd_log_lines_suppressed_total",
            "Lines of the log that were left out since their cause had its share, of the supervisor and all workers.",
            one((supervisor.log_lines_suppressed + of_workers) as f64),
        ),
        counter(
            "roomd_operators_refused_total",
            "Orders and questions of operators that were refused: without the token, by another user, from another site's page.",
            one(supervisor.refused_operators as f64),
        ),
        gauge("roomd_workers_wanted", "How many workers are wanted.", one(supervisor.wanted_workers.into())),
        gauge("roomd_workers", "Workers by state.", by_state(status)),
    ]);
    all.extend(balancer(status));
    all
}

/// With the names that Prometheus' own client libraries give them.
fn process(status: &Status) -> Vec<MetricFamily> {
    let process = &status.supervisor.process;
    let number = |value: Option<u64>| known(value.map(|value| value as f64));
    vec![
        counter("process_cpu_seconds_total", "CPU time of the supervisor.", known(process.cpu_s)),
        gauge("process_resident_memory_bytes", "Resident memory of the supervisor.", number(process.resident_bytes)),
        gauge("process_virtual_memory_bytes", "Virtual memory of the supervisor.", number(process.virtual_bytes)),
        gauge("process_threads", "Threads of the supervisor.", number(process.threads)),
        gauge(
            "process_start_time_seconds",
            "When the supervisor started, in seconds since 1970.",
            known(process.started_unix_s),
        ),
        gauge("process_open_fds", "Descriptors that the supervisor has open.", number(process.open_fds)),
        gauge(
            "process_max_fds",
            "The most descriptors that the supervisor may have, and each worker.",
            number(process.max_fds),
        ),
    ]
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
        histogram(
            "roomd_accept_to_ready_seconds",
            "From the accept of a connection until its worker has it, what the client took to send its head included.",
            vec![durations(&[], &balancer.accept_to_ready)],
        ),
        histogram(
            "roomd_handover_seconds",
            "From the moment at which a connection's head was there until its worker has it.",
            vec![durations(&[], &balancer.handover)],
        ),
    ]
}

fn by_state(status: &Status) -> Vec<Metric> {
    let count = |state| status.workers.iter().filter(|worker| worker.state == state).count();
    WORKER_STATES.iter().map(|state| sample(&[("state", state.as_str())], count(*state) as f64)).collect()
}
