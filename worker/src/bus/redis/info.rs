//! What Redis tells of itself: the answers to `INFO`, read. No I/O.

use std::{str::FromStr, time::Duration};

use roomd_wire::RedisFigures;

/// Reads an answer to `INFO` and one to `INFO commandstats`. What is not in them, or is not understood, is `None`.
pub fn figures(info: &str, commands: &str, answered_in: Duration) -> RedisFigures {
    let publish = field(commands, "cmdstat_publish");
    RedisFigures {
        version: field(info, "redis_version").map(|version| version.chars().take(32).collect()),
        uptime_s: number(info, "uptime_in_seconds"),
        used_memory_bytes: number(info, "used_memory"),
        resident_memory_bytes: number(info, "used_memory_rss"),
        // Zero is Redis's way to say that there is no limit.
        max_memory_bytes: number(info, "maxmemory").filter(|bytes| *bytes > 0),
        cpu_user_s: number(info, "used_cpu_user"),
        cpu_system_s: number(info, "used_cpu_sys"),
        connected_clients: number(info, "connected_clients"),
        connections_received: number(info, "total_connections_received"),
        connections_rejected: number(info, "rejected_connections"),
        output_buffer_disconnections: number(info, "client_output_buffer_limit_disconnections"),
        commands: number(info, "total_commands_processed"),
        received_bytes: number(info, "total_net_input_bytes"),
        sent_bytes: number(info, "total_net_output_bytes"),
        pubsub_channels: number(info, "pubsub_channels"),
        pubsub_patterns: number(info, "pubsub_patterns"),
        publish_calls: publish.and_then(|stats| part(stats, "calls")),
        publish_s: publish.and_then(|stats| part::<f64>(stats, "usec")).map(|micros| micros / 1e6),
        answer_s: Some(answered_in.as_secs_f64()),
    }
}

/// `name:value` on a line of its own.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn number<T: FromStr>(info: &str, name: &str) -> Option<T> {
    field(info, name)?.parse().ok()
}

/// One of `name=value,name=value`.
fn part<T: FromStr>(stats: &str, name: &str) -> Option<T> {
    stats.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_taken_from_what_redis_7_answers() {
        let info = "# Server\r\nredis_version:7.0.15\r\nuptime_in_seconds:61\r\n\r\n# Clients\r\nconnected_clients:9\r\n\
                    # Memory\r\nused_memory:1050000\r\nused_memory_human:1.00M\r\nused_memory_rss:9000000\r\nmaxmemory:0\r\n\
                    # Stats\r\ntotal_commands_processed:100\r\nrejected_connections:0\r\npubsub_channels:3\r\n\
                    # CPU\r\nused_cpu_sys:0.5\r\nused_cpu_user:1.25\r\nused_cpu_sys_children:7.0\r\n";
        let commands = "# Commandstats\r\ncmdstat_ping:calls=9,usec=90,usec_per_call=10.00\r\n\
                        cmdstat_publish:calls=40,usec=2000,usec_per_call=50.00,rejected_calls=0,failed_calls=0\r\n";
        let figures = figures(info, commands, Duration::from_millis(2));
        assert_eq!(
            figures,
            RedisFigures {
                version: Some("7.0.15".into()),
                uptime_s: Some(61.0),
                used_memory_bytes: Some(1_050_000),
                resident_memory_bytes: Some(9_000_000),
                cpu_user_s: Some(1.25),
                cpu_system_s: Some(0.5),
                connected_clients: Some(9),
                connections_rejected: Some(0),
                commands: Some(100),
                pubsub_channels: Some(3),
                publish_calls: Some(40),
                publish_s: Some(0.002),
                answer_s: Some(0.002),
                ..RedisFigures::default()
            }
        );
    }

    #[test]
    fn odd_answers_give_what_they_hold() {
        let figures = figures("used_memory:x\nmaxmemory:100\nconnected_clients", "cmdstat_publish:", Duration::ZERO);
        let expected = RedisFigures { max_memory_bytes: Some(100), answer_s: Some(0.0), ..RedisFigures::default() };
        assert_eq!(figures, expected);
    }
}
