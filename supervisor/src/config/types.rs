//! What the program runs on: checked, complete, every default filled in.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::{log::LogConfig, token::Token};
use roomd_balancer::{BalancerConfig, ListenAddress};
use roomd_wire::{BusConfig, Network, OrphanConfig, SocketIoConfig, WorkerConfig, WorkerId};

/// Connections that wait for a ready worker at the most; further ones are answered with 503 at once.
const MAX_WAITING: usize = 10_000;

/// How long a worker waits for the bus before it is ready without. A Redis that answers does so within milliseconds, and one
/// that is just restarted within a second or so; one that is away keeps nobody from being served for longer than this.
const LONGEST_BUS_WAIT: Duration = Duration::from_secs(2);

/// A cluster's configuration. Validation leads to it; everything else takes it as it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Where clients connect; at least one.
    pub listen: Vec<ListenAddress>,
    /// How many workers, at least one.
    pub workers: u16,
    /// The control socket.
    pub control: PathBuf,
    /// How long clients of a worker that ends are given.
    pub grace: Duration,
    /// How long a worker may take from its start to its `Ready`.
    pub start_timeout: Duration,
    /// How long a new worker must have been ready before the one that it replaces ends its clients.
    pub confirm_time: Duration,
    /// The resident memory in bytes above which a worker is replaced; none means never.
    pub max_rss: Option<u64>,
    /// How long a worker may leave a heartbeat of the supervisor unanswered before it is killed and replaced.
    pub hang_timeout: Duration,
    /// How long a worker serves on without a supervisor, where its control socket outlives one, before it leaves.
    pub orphan_timeout: Duration,
    /// How long a client may take for its request head.
    pub head_timeout: Duration,
    /// How long a connection waits for a ready worker before it is answered with 503.
    pub worker_wait: Duration,
    /// Connections in all.
    pub max_connections: u32,
    /// Connections from one address; trusted proxies are excepted.
    pub max_connections_per_address: u32,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// The admin endpoints' address; none means off.
    pub admin: Option<SocketAddr>,
    /// What admin clients show before they may order something.
    pub admin_token: Option<Token>,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Which bus.
    pub bus: BusConfig,
    /// The Socket.IO server's options.
    pub socketio: SocketIoConfig,
    /// The host's part of session ids.
    pub host: u16,
    /// The application's own table.
    pub app: serde_json::Value,
}

impl Config {
    /// Port of the public listener if nothing else is said.
    pub const DEFAULT_PORT: u16 = 3000;
    /// Address of the admin listener if nothing else is said.
    pub const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3900);

    /// Built-in defaults, with the control socket at a given path and a given number of workers.
    pub fn with_defaults(control: PathBuf, workers: u16) -> Config {
        Config {
            listen: vec![ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, Config::DEFAULT_PORT)))],
            workers,
            control,
            grace: Duration::from_secs(30),
            start_timeout: Duration::from_secs(30),
            confirm_time: Duration::from_secs(1),
            max_rss: None,
            hang_timeout: Duration::from_secs(10),
            orphan_timeout: Duration::from_secs(60),
            head_timeout: Duration::from_secs(10),
            worker_wait: Duration::from_secs(10),
            max_connections: 100_000,
            max_connections_per_address: 20_000,
            trusted_proxies: Vec::new(),
            admin: Some(Config::DEFAULT_ADMIN),
            admin_token: None,
            log: LogConfig::default(),
            bus: BusConfig::Embedded,
            socketio: SocketIoConfig::default(),
            host: 0,
            app: serde_json::Value::Object(serde_json::Map::new()),
        }
    }

    /// What is to be said of an admin listener that nobody may use.
    pub fn admin_nobody_may_use(&self) -> Option<String> {
        let address = self.admin.filter(|address| !address.ip().to_canonical().is_loopback())?;
        self.admin_token.is_none().then(|| {
            format!(
                "the admin listener {address} is not on loopback and [admin] has no token: it answers /healthz and /readyz alone; \
                 set `token_file`, `token` or ROOMD_ADMIN_TOKEN for /metrics, /status and orders"
            )
        })
    }

    /// What the balancer goes by.
    pub fn for_balancer(&self) -> BalancerConfig {
        BalancerConfig {
            host: self.host,
            max_connections: self.max_connections as usize,
            max_connections_per_address: self.max_connections_per_address as usize,
            trusted_proxies: self.trusted_proxies.clone(),
            head_timeout: self.head_timeout,
            worker_wait: self.worker_wait,
            max_waiting: MAX_WAITING.min(self.max_connections as usize),
        }
    }

    /// What one worker is told when it starts.
    pub fn for_worker(&self, id: WorkerId, workers: u16) -> WorkerConfig {
        WorkerConfig {
            id,
            host: self.host,
            workers,
            socketio: self.socketio.clone(),
            bus: self.bus.clone(),
            orphan: Some(OrphanConfig {
                supervisor: std::process::id(),
                timeout_ms: self.orphan_timeout.as_millis() as u64,
                grace_ms: self.grace.as_millis() as u64,
            }),
            bus_wait_ms: LONGEST_BUS_WAIT.min(self.start_timeout / 2).as_millis() as u64,
            trusted_proxies: self.trusted_proxies.iter().map(Network::to_string).collect(),
            app: self.app.clone(),
        }
    }
}
