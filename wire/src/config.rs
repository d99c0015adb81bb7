//! What a worker is told when it starts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    http_options::{CookieConfig, CorsConfig, HttpCompression, Transports},
    message::WorkerId,
};

/// A worker's configuration, checked by the supervisor before it is sent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WorkerConfig {
    /// Which worker it is.
    pub id: WorkerId,
    /// The host's part of a session id.
    pub host: u16,
    /// How many slots the cluster has at this moment, for the application's information.
    pub workers: u16,
    /// The Socket.IO server's options.
    pub socketio: SocketIoConfig,
    /// How rooms are kept in sync.
    pub bus: BusConfig,
    /// How long the worker may wait for the bus before it is ready without, in milliseconds.
    #[serde(default)]
    pub bus_wait_ms: u64,
    /// What it does when its supervisor dies and its control socket lives on; none: there is nobody to hold that.
    #[serde(default)]
    pub orphan: Option<OrphanConfig>,
    /// Peers whose `X-Forwarded-For` is believed, as `address` or `address/prefix`.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// The application's own table of the configuration file, unread.
    #[serde(default)]
    pub app: serde_json::Value,
}

/// What a worker does without a supervisor, while another process (systemd's store of descriptors) holds the other end of its control
/// socket for the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrphanConfig {
    /// The supervisor's process.
    pub supervisor: u32,
    /// How long it serves on and waits to be adopted, in milliseconds.
    pub timeout_ms: u64,
    /// How long it takes to end its clients after that, in milliseconds.
    pub grace_ms: u64,
}

/// Options of the Socket.IO server, named as the official server names them. What an older supervisor does not know of has its
/// default.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct SocketIoConfig {
    /// Prefix of the request path, usually with its trailing slash: `/socket.io/`.
    pub path: String,
    /// Time between a pong and the next ping, in milliseconds.
    pub ping_interval_ms: u64,
    /// How long a pong may take, in milliseconds.
    pub ping_timeout_ms: u64,
    /// How long an upgrade may take from the WebSocket's opening to packet `5`, in milliseconds.
    pub upgrade_timeout_ms: u64,
    /// How long a session may stay without a namespace, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The largest message from a client, in bytes.
    pub max_payload_bytes: u64,
    /// Cross-origin headers, if there are any.
    pub cors: Option<CorsConfig>,
    /// The form of packets.
    #[serde(default)]
    pub parser: ParserConfig,
    /// How many bytes may wait for a client before it is closed as too slow.
    pub max_queue_bytes: u64,
    /// Which transports are served.
    pub transports: Transports,
    /// Whether clients on polling are told that they can go over to WebSocket. One that does so untold is let in.
    pub allow_upgrades: bool,
    /// The cookie of a session that begins by polling, if one is set.
    pub cookie: Option<CookieConfig>,
    /// Compression of what polls are answered with, if there is any.
    pub http_compression: Option<HttpCompression>,
    /// Whether a child namespace ends with its last socket.
    pub cleanup_empty_child_namespaces: bool,
    /// Compression of WebSocket messages, if it is on.
    pub per_message_deflate: Option<PerMessageDeflate>,
    /// The folder with the official client's files, if they are served.
    pub client_files: Option<PathBuf>,
}

/// How WebSocket messages are compressed for clients that offer it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PerMessageDeflate {
    /// The shortest message to a client that is compressed, in bytes.
    pub threshold_bytes: u64,
    /// From 1 for fast to 9 for small.
    pub level: u8,
}

impl Default for PerMessageDeflate {
    /// The official server's, once it is switched on.
    fn default() -> Self {
        PerMessageDeflate { threshold_bytes: 1024, level: 6 }
    }
}

impl Default for SocketIoConfig {
    /// The official server's defaults, but that empty child namespaces end: clients choose their names.
    fn default() -> Self {
        SocketIoConfig {
            path: "/socket.io/".into(),
            ping_interval_ms: 25_000,
            ping_timeout_ms: 20_000,
            upgrade_timeout_ms: 10_000,
            connect_timeout_ms: 45_000,
            max_payload_bytes: 1_000_000,
            cors: None,
            max_queue_bytes: 16 * 1024 * 1024,
            parser: ParserConfig::Json,
            transports: Transports::default(),
            allow_upgrades: true,
            cookie: None,
            http_compression: Some(HttpCompression::default()),
            per_message_deflate: None,
            client_files: None,
            cleanup_empty_child_namespaces: true,
        }
    }
}

/// The form of packets between server and clients, which all of them must agree on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum ParserConfig {
    /// socket.io-parser, the default of all programs.
    #[default]
    Json,
    /// socket.io-msgpack-parser.
    Msgpack,
}

/// Which bus a worker uses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BusConfig {
    /// The hub in the supervisor; the stream to it comes with the message.
    Embedded,
    /// Redis pub/sub.
    Redis {
        /// `redis://`, `rediss://` or `unix://`, with user, password and database.
        url: String,
    },
}
