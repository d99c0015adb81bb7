//! Configuration: what the file, the flags and the environment say, and what the program runs on.
//!
//! ```text
//! cluster.toml ─► file (section, units, values: shapes, with places) ─┐
//! environment ──┐                                                     ├─► validate ─► Config (types)
//! flags ────────┴─► sources (flag > environment > file > default) ────┘       │
//!                                                                             └─► Problems (problem): all of them
//! ```

mod changes;
mod control_path;
mod cors;
mod deflate;
mod file;
mod http_options;
mod log;
mod problem;
mod redis_url;
mod section;
mod sources;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod token;
mod types;
mod units;
mod validate;
mod values;

pub use log::{LogConfig, LogFormat};
pub use problem::{Problems, nearest};
pub use redis_url::{check as check_redis_url, redact as redact_redis_url};
pub use sources::{DEFAULT_FILE, Environment, Flags, Sources, TOKEN_VARIABLE};
pub use token::{SharedToken, Token};
pub use types::Config;
pub use units::{parse_duration, show_duration};
pub use values::{MAX_WORKERS, OrOff, Workers, parse_listen};
