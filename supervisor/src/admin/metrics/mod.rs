//! The figures of a status in Prometheus' text format.
//!
//! ```text
//! Status ─► cluster (supervisor, balancer) ─┐
//!        ─► workers (summed, and by slot) ──┼─► family ─► text
//!        ─► bus (round trips, Redis) ───────┘
//! ```
//!
//! What workers count is told as a sum over all of them, and again with the label `worker`, which is their slot. Both are made of
//! [`SlotStatus`](crate::status::SlotStatus), in which a worker's figures stay when it has gone: they never fall while the supervisor
//! runs. Names of rooms, which clients choose, are no labels: there would be no end of series. All metrics are in `docs/metrics.md`.

mod bus;
mod cluster;
mod family;
mod workers;

use prometheus::{Encoder, TextEncoder, proto::MetricFamily};

use crate::status::Status;

/// Content type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders a status.
pub fn render(status: &Status) -> prometheus::Result<String> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&families(status), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn families(status: &Status) -> Vec<MetricFamily> {
    let mut all = cluster::families(status);
    all.extend(workers::families(status));
    all.extend(bus::families(status));
    // The encoder takes a family without samples for a mistake.
    all.retain(|family| !family.get_metric().is_empty());
    all
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
            "roomd_build_info{version=\"0.1.0\"} 1\n",
            "roomd_bus_up{kind=\"redis\"} 0\n",
            "# TYPE roomd_worker_restarts_total counter\n",
            "roomd_worker_restarts_total{cause=\"crash\",worker=\"1\"} 3\n",
            "roomd_worker_restarts_total{cause=\"hang\",worker=\"1\"} 0\n",
            "roomd_worker_sockets{worker=\"0\"} 2\n",
            "roomd_packets_sent_total 100\n",
            "roomd_worker_packets_sent_total{worker=\"0\"} 50\n",
            // Of a slot whose worker is dead.
            "roomd_worker_packets_sent_total{worker=\"1\"} 50\n",
            "roomd_connections_refused_total{cause=\"head_timeout\"} 1\n",
            "roomd_connections_accepted_total 9\n",
            "# TYPE roomd_worker_start_seconds histogram\n",
            "roomd_worker_start_seconds_bucket{le=\"0.065536\"} 0\n",
            "roomd_worker_start_seconds_bucket{le=\"0.131072\"} 2\n",
            "roomd_worker_start_seconds_bucket{le=\"+Inf\"} 2\n",
            "roomd_worker_start_seconds_sum 0.16\n",
            "roomd_worker_start_seconds_count 2\n",
            "process_open_fds 40\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(!text.contains("roomd_worker_sockets{worker=\"1\""), "a slot without a process has no figures of one");
        assert!(!text.contains("roomd_bus_latency_seconds"), "what is not known is left out");
        assert!(!text.contains("lobby"), "a room's name is no label");
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
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!([name, base].iter().any(|name| names.binary_search(name).is_ok()), "{line}");
        }
    }

    #[test]
    fn a_cluster_without_workers_has_figures_too() {
        let mut status = sample_status();
        status.workers.clear();
        status.slots.clear();
        assert!(render(&status).unwrap().contains("roomd_workers{state=\"ready\"} 0\n"));
    }

    #[test]
    fn what_redis_does_not_tell_is_left_out() {
        let mut status = sample_status();
        let redis =
            roomd_wire::RedisFigures { used_memory_bytes: Some(5), cpu_user_s: Some(1.5), ..Default::default() };
        status.bus.redis = Some(redis);
        let text = render(&status).unwrap();
        assert!(text.contains("roomd_redis_memory_used_bytes 5\n"), "{text}");
        assert!(text.contains("roomd_redis_cpu_seconds_total{mode=\"user\"} 1.5\n"), "{text}");
        assert!(!text.contains("mode=\"system\"") && !text.contains("roomd_redis_memory_max_bytes"), "{text}");
    }
}
