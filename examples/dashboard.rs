//! A live dashboard: every worker tells every page how busy it is, twice a second.
//!
//! `cargo run --release --example dashboard`, then open <http://127.0.0.1:3000>.

use std::{process::ExitCode, time::Duration};

use axum::{Router, response::Html, routing::get};
use roomd::{App, Io, Socket, State};
use serde::{Deserialize, Serialize};

/// The table `[app]`.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    interval_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config { interval_ms: 500 }
    }
}

#[derive(Serialize)]
struct Load {
    worker: String,
    watchers: usize,
    load: f64,
}

fn main() -> ExitCode {
    roomd::run(app)
}

fn app(config: Config) -> App {
    App::new()
        .state(config)
        .namespace("/", |namespace| {
            namespace.on_connect(async |socket: Socket| {
                socket.join("watchers");
            })
        })
        .on_start(async |io: Io, config: State<Config>| {
            tokio::task::spawn_local(report(io, Duration::from_millis(config.interval_ms)));
        })
        .http(|_| Router::new().route("/", get(async || Html(include_str!("dashboard.html")))))
}

/// Volatile: a page that cannot take a figure now gets the next one.
async fn report(io: Io, interval: Duration) {
    let Some(namespace) = io.of("/") else { return };
    loop {
        let watchers = namespace.sockets().to("watchers").local().fetch_sockets().await;
        let watchers = watchers.map_or(0, |found| found.answers.len());
        let load = Load { worker: io.worker().to_string(), watchers, load: load_average() };
        if let Err(error) = namespace.sockets().to("watchers").volatile().emit("load", load) {
            eprintln!("dashboard: {error}");
        }
        tokio::time::sleep(interval).await;
    }
}

fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}
