//! roomd: a supervisor, a balancer and Socket.IO workers in one executable.
//!
//! ```text
//! run ─► cli ─┬─ up ──────► config ─► control, admin, listeners ─► supervise ─► slots ─► workers
//!             ├─ worker ──► roomd_worker
//!             ├─ check ───► config
//!             └─ status, reload, scale, stop, kill, wait, emit, sockets ─► control (client)
//! ```
//!
//! [`up()`] binds everything first (control socket, admin listener, public listeners), then hands over to the supervise loop,
//! [`supervise::run`], as a [`Cluster`]. Control and admin are tasks of the same current-thread runtime (inside a `LocalSet`);
//! they reach the loop by [`command::Commands`] alone. The loop handles signals itself, and returns once the last worker has
//! ended.

pub mod admin;
mod application;
pub mod cli;
pub mod command;
pub mod config;
pub mod control;
pub mod emit;
pub mod hub;
mod last_words;
pub mod lead;
mod limits;
mod log_writer;
pub mod logging;
mod places;
mod reaper;
pub mod rollout;
pub mod slot;
pub mod status;
pub mod supervise;
mod up;
mod worker;
mod worker_output;

use std::process::ExitCode;

pub use application::{AppShape, MakeApp};
use cli::{Asked, Failure};
use config::{Config, Environment, Flags, Sources};
pub use roomd_wire::{PeerAddress, WorkerId};
pub use roomd_worker::{
    chat,
    protocol::{Binary, Data, EncodeError},
    socketio::*,
};
use serde::Deserialize;
pub use up::up;

/// All that the supervise loop is given.
pub struct Cluster {
    /// The configuration it starts with.
    pub config: Config,
    /// Reads the configuration again, for a reload: flags and environment as at the start, the file as it is now. What cannot
    /// change while the cluster runs (addresses, the control socket) is as it was. An error is the answer to the reload.
    pub load: Box<dyn Fn() -> Result<Config, command::CommandError>>,
    /// Where clients connect, listening since before the first worker starts.
    pub listeners: Vec<roomd_balancer::Listener>,
    /// The listeners' real addresses, for the status.
    pub listening: Vec<String>,
    /// The admin endpoints' real URL, for the status.
    pub admin: Option<String>,
    /// What control and admin ask.
    pub commands: tokio::sync::mpsc::Receiver<command::Command>,
}

/// The whole program: reads the command line and becomes supervisor, worker, or client of the control socket.
///
/// `app` makes the application: see [`MakeApp`].
pub fn run<M, A: MakeApp<M>>(app: A) -> ExitCode {
    match cli::parse(std::env::args_os()).and_then(|asked| carry_out(asked, app)) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn carry_out<M, A: MakeApp<M>>(asked: Asked, app: A) -> Result<ExitCode, Failure> {
    let shape = AppShape::of::<A::Config>();
    match asked {
        Asked::Up(flags) => {
            let _last_lines = logging::start_in_background(&Environment::of_process())?;
            up(Sources::of_process(flags, shape))
        }
        Asked::Worker => {
            logging::start(&Environment::of_process())?;
            return Ok(roomd_worker::run(async |config: &serde_json::Value| {
                // The supervisor has looked at it; but one that was written as TOML may differ, in dates.
                let config =
                    A::Config::deserialize(config).map_err(|error| format!("failed to read [app]: {error}"))?;
                app.make(config).await
            }));
        }
        Asked::Print(text) => cli::show(text.trim_end()),
        Asked::Check(flags) => cli::check(Sources::of_process(flags, shape)),
        Asked::Status { place, json } => client(place, async |place| cli::status(place, json).await),
        Asked::Reload(place) => client(place, cli::reload),
        Asked::Scale { place, workers } => client(place, async |place| cli::scale(place, workers).await),
        Asked::Stop(place) => client(place, cli::stop),
        Asked::Kill { place, slot, signal } => client(place, async |place| cli::kill(place, slot, signal).await),
        Asked::Order { place, order } => client(place, async |place| cli::order(place, order).await),
        Asked::Wait { place, timeout } => client(place, async |place| cli::wait(place, timeout).await),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Runs a command that talks to a running cluster.
fn client(place: Flags, command: impl AsyncFnOnce(Flags) -> Result<(), Failure>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::runtime)?;
    runtime.block_on(command(place))
}

/// The examples in the documents compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../docs/from-node.md")]
struct Documents;
