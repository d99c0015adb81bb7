//! roomd: a supervisor, a balancer and Socket.IO workers in one executable.
//!
//! ```text
//! run ─► cli ─┬─ up ──────► config ─► control, admin, listeners ─► supervise ─► slots ─► workers
//!             ├─ worker ──► roomd_worker
//!             ├─ check ───► config
//!             └─ status, reload, scale, stop, kill, wait ─► control (client)
//! ```
//!
//! `up` binds everything first (control socket, admin listener, public listeners), then starts the supervise loop. Control and
//! admin are tasks of the same current-thread runtime; they reach the loop by [`command::Commands`] alone:
//!
//! ```ignore
//! let (commands, receiver) = Commands::channel();
//! control.serve(commands.clone());      // joined by `up`
//! admin.serve(commands.clone());
//! supervise::run(Cluster { config, load, commands: receiver, listeners }).await
//! ```
//!
//! The loop handles signals itself, and returns once the last worker has ended.

pub mod cli;
pub mod command;
pub mod config;
pub mod control;
pub mod hub;
pub mod logging;
pub mod status;
pub mod supervise;

use config::Config;

/// All that the supervise loop is given.
pub struct Cluster {
    /// The configuration it starts with.
    pub config: Config,
    /// Reads the configuration again, for a reload: flags and environment as at the start, the file as it is now. What cannot
    /// change while the cluster runs (addresses, the control socket) is as it was. An error is the answer to the reload.
    pub load: Box<dyn Fn() -> Result<Config, command::CommandError>>,
    /// What control and admin ask.
    pub commands: tokio::sync::mpsc::Receiver<command::Command>,
}
