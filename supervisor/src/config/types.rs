//! What the program runs on: checked, complete, every default filled in.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use roomd_wire::{BusConfig, SocketIoConfig, WorkerConfig, WorkerId};

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
    /// How long a worker may leave a heartbeat of the supervisor unanswered before it is killed and replaced.
    pub hang_timeout: Duration,
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
    /// The official client's file for the demo page.
    pub client_file: Option<PathBuf>,
    /// The admin endpoints' address; none means off.
    pub admin: Option<SocketAddr>,
    /// Which bus.
    pub bus: BusConfig,
    /// The Socket.IO server's options.
    pub socketio: SocketIoConfig,
    /// The host's part of session ids.
    pub host: u16,
    /// The application's own table.
    pub app: serde_json::Value,
}

/// Where clients connect.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ListenAddress {
    /// An IPv4 or IPv6 address and a port. `[::]` takes IPv4 clients too.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// A range of addresses: `10.0.0.0/8`, or a single address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// The range's address; bits past the prefix are zero.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
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
            hang_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            worker_wait: Duration::from_secs(10),
            max_connections: 100_000,
            max_connections_per_address: 20_000,
            trusted_proxies: Vec::new(),
            client_file: None,
            admin: Some(Config::DEFAULT_ADMIN),
            bus: BusConfig::Embedded,
            socketio: SocketIoConfig::default(),
            host: 0,
            app: serde_json::Value::Object(serde_json::Map::new()),
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
            trusted_proxies: self.trusted_proxies.iter().map(Network::to_string).collect(),
            client_file: self.client_file.clone(),
            app: self.app.clone(),
        }
    }
}

impl Network {
    /// Whether an address is in the range. An IPv4 address that came in its IPv6 form counts as the IPv4 one.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                masked(u32::from(net).into(), self.prefix, 32) == masked(u32::from(ip).into(), self.prefix, 32)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                masked(net.into(), self.prefix, 128) == masked(ip.into(), self.prefix, 128)
            }
            _ => false,
        }
    }
}

/// The leading `prefix` bits of a number of `width` bits.
fn masked(bits: u128, prefix: u8, width: u32) -> u128 {
    bits.checked_shr(width - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Network {
    /// `address/prefix`, or the address alone where the prefix is the whole of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.prefix) {
            (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => self.address.fmt(f),
            (address, prefix) => write!(f, "{address}/{prefix}"),
        }
    }
}
