//! The bus as the supervisor and the workers find it, and Redis itself.

use prometheus::proto::{Metric, MetricFamily};
use roomd_wire::RedisFigures;

use super::family::{counter, durations, gauge, histogram, known, one, sample};
use crate::status::{BusState, Status};

pub fn families(status: &Status) -> Vec<MetricFamily> {
    let bus = &status.bus;
    let mut round_trips = bus.round_trips.clone();
    status.slots.iter().for_each(|slot| round_trips.add(&slot.timings.bus_round_trip));
    let mut all = vec![
        gauge("roomd_bus_up", "Whether a message over the bus came back, as the supervisor sees it.", up(status)),
        gauge("roomd_bus_state_seconds", "How long the bus has been up or down.", one(bus.since_s)),
        counter(
            "roomd_bus_supervisor_connects_total",
            "How often the supervisor has connected to the bus.",
            one(bus.connects as f64),
        ),
        gauge(
            "roomd_bus_latency_seconds",
            "How long the supervisor's last message over the bus took.",
            known(bus.latency_ms.map(|latency| latency / 1000.0)),
        ),
        histogram(
            "roomd_bus_round_trip_seconds",
            "How long test messages of all workers and the supervisor took over the bus and back.",
            vec![durations(&[], &round_trips)],
        ),
    ];
    all.extend(bus.redis.iter().flat_map(redis));
    all
}

fn up(status: &Status) -> Vec<Metric> {
    let up = if status.bus.state == BusState::Up { 1.0 } else { 0.0 };
    vec![sample(&[("kind", status.bus.kind.as_str())], up)]
}

/// What its `INFO` told.
fn redis(redis: &RedisFigures) -> Vec<MetricFamily> {
    let number = |value: Option<u64>| known(value.map(|value| value as f64));
    let mode = |mode, value: Option<f64>| value.map(|value| sample(&[("mode", mode)], value));
    let cpu = mode("user", redis.cpu_user_s).into_iter().chain(mode("system", redis.cpu_system_s)).collect();
    let version = redis.version.iter().map(|version| sample(&[("version", version)], 1.0)).collect();
    vec![
        gauge("roomd_redis_info", "The Redis server.", version),
        gauge("roomd_redis_uptime_seconds", "How long Redis has run.", known(redis.uptime_s)),
        gauge("roomd_redis_memory_used_bytes", "Memory that Redis has allocated.", number(redis.used_memory_bytes)),
        gauge("roomd_redis_memory_resident_bytes", "Resident memory of Redis.", number(redis.resident_memory_bytes)),
        gauge(
            "roomd_redis_memory_max_bytes",
            "Redis's own limit on its memory, if it has one.",
            number(redis.max_memory_bytes),
        ),
        counter("roomd_redis_cpu_seconds_total", "CPU time of Redis, by mode.", cpu),
        gauge("roomd_redis_connected_clients", "Clients of Redis.", number(redis.connected_clients)),
        counter(
            "roomd_redis_connections_received_total",
            "Connections that Redis has taken.",
            number(redis.connections_received),
        ),
        counter(
            "roomd_redis_connections_rejected_total",
            "Connections that Redis has refused at its limit.",
            number(redis.connections_rejected),
        ),
        counter(
            "roomd_redis_output_buffer_disconnections_total",
            "Clients that Redis has closed since they did not read what they had subscribed to.",
            number(redis.output_buffer_disconnections),
        ),
        counter("roomd_redis_commands_total", "Commands that Redis has run.", number(redis.commands)),
        counter("roomd_redis_received_bytes_total", "Bytes that Redis has read.", number(redis.received_bytes)),
        counter("roomd_redis_sent_bytes_total", "Bytes that Redis has written.", number(redis.sent_bytes)),
        gauge("roomd_redis_pubsub_channels", "Channels of Redis with a subscriber.", number(redis.pubsub_channels)),
        gauge("roomd_redis_pubsub_patterns", "Patterns of Redis with a subscriber.", number(redis.pubsub_patterns)),
        counter("roomd_redis_publishes_total", "PUBLISH commands that Redis has run.", number(redis.publish_calls)),
        counter(
            "roomd_redis_publish_seconds_total",
            "Time that Redis has spent in PUBLISH commands.",
            known(redis.publish_s),
        ),
        gauge(
            "roomd_redis_answer_seconds",
            "How long Redis took to answer INFO when it was asked last.",
            known(redis.answer_s),
        ),
    ]
}
