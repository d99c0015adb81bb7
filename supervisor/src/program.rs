//! The whole program: the command line, and what each command becomes.
//!
//! ```text
//! run ─► cli ─┬─ up ──────► config ─► control, admin, listeners ─► supervise ─► slots ─► workers
//!             ├─ worker ──► roomd_worker
//!             ├─ check ───► config
//!             ├─ init ────► a configuration and a unit, written
//!             └─ status, reload, scale, stop, kill, wait, log, emit, sockets ─► control (client)
//! ```
//!
//! [`up()`] binds everything first (control socket, admin listener, public listeners), then hands over to the supervise loop,
//! [`supervise::run`](crate::supervise::run), as a [`Cluster`]. Control and admin are tasks of the same current-thread runtime
//! (inside a `LocalSet`); they reach the loop by [`Commands`](command::Commands) alone. The loop handles signals itself, and
//! returns once the last worker has ended.

use std::{ffi::OsString, io::Read as _, os::fd::OwnedFd, process::ExitCode, rc::Rc};

use serde::Deserialize;

use crate::{
    MakeApp,
    application::AppShape,
    cli::{self, Asked, Failure},
    command,
    config::{Config, Environment, Flags, SharedToken, Sources},
    inherit::{Heirloom, Previous, State, TakeoverCheck},
    logging,
    systemd::{Inherited, ServiceManager, Store},
    up::up,
};

/// Reads the configuration again, for a reload: flags and environment as at the start, the file as it is now. Where it differs
/// from the given one in what cannot change while the cluster runs, that is an error, and the answer to the reload.
pub type Load = Box<dyn Fn(&Config) -> Result<Config, command::CommandError>>;

/// All that the supervise loop is given.
pub struct Cluster {
    /// The configuration it starts with.
    pub config: Config,
    /// Reads the configuration again, for a reload.
    pub load: Load,
    /// Where clients connect, listening since before the first worker starts.
    pub listeners: Vec<roomd_balancer::Listener>,
    /// The listeners' real addresses, for the status.
    pub listening: Vec<String>,
    /// The admin endpoints' real URL, for the status.
    pub admin: Option<String>,
    /// What admin clients show, as a reload may change it.
    pub admin_token: SharedToken,
    /// The service manager's store of descriptors.
    pub store: Store,
    /// What listens, with the names by which the next program finds it.
    pub passing: Vec<(String, OwnedFd)>,
    /// What an earlier supervisor process has left.
    pub heirloom: Option<Heirloom>,
    /// The program that this process was before.
    pub previous: Option<Rc<Previous>>,
    /// What control and admin ask.
    pub commands: tokio::sync::mpsc::Receiver<command::Command>,
    /// Who is told how the cluster is.
    pub service: ServiceManager,
}

/// Runs the whole program: reads the command line and becomes supervisor (`up`), worker (which `up` starts), or a client of the
/// control socket (`status`, `reload`, `scale`, …). Returns what the process is to exit with; errors are on standard error by then.
///
/// `app` makes the application, in each worker: see [`MakeApp`] for the functions it can be.
///
/// ```no_run
/// # use std::process::ExitCode;
/// use roomd::{App, Socket};
///
/// fn main() -> ExitCode {
///     roomd::run(|| {
///         App::new().namespace("/", |namespace| {
///             namespace.on_connect(async |socket: Socket| socket.emit("hello", socket.id()))
///         })
///     })
/// }
/// ```
pub fn run<M, A: MakeApp<M>>(app: A) -> ExitCode {
    let previous = Previous::of_process().map(Rc::new);
    match cli::parse(std::env::args_os()).and_then(|asked| carry_out(asked, app, previous.clone())) {
        Ok(code) => code,
        Err(failure) => {
            let lost = previous.and_then(|previous| previous.give_back(&failure.text()));
            let code = failure.report();
            if let Some(error) = lost {
                eprintln!("roomd: the program before cannot go on: {error}");
            }
            code
        }
    }
}

fn carry_out<M, A: MakeApp<M>>(asked: Asked, app: A, previous: Option<Rc<Previous>>) -> Result<ExitCode, Failure> {
    let shape = AppShape::of::<A::Config>();
    match asked {
        Asked::Up(flags) => {
            // First thing: nobody else may take them for its own.
            let inherited = match &previous {
                Some(previous) => {
                    previous.left().map(|(inherited, left)| (inherited, Some(left))).map_err(Failure::runtime)
                }
                None => Inherited::of_process().map(|inherited| (inherited, None)).map_err(Failure::runtime),
            };
            let _last_lines = logging::start_in_background(&Environment::of_process())?;
            let (inherited, took_over) = inherited?;
            up(Sources::of_process(flags, shape), inherited, took_over, previous)
        }
        Asked::Takeover(arguments) => {
            // What `up` would meet before it takes over; nothing is touched.
            let words = [OsString::from("roomd")].into_iter().chain(arguments);
            let Asked::Up(flags) = cli::parse(words)? else {
                return Err(Failure::Usage("this is no command line of a supervisor".into()));
            };
            logging::start(&Environment::of_process())?;
            // Its last line alone will be shown.
            let config = Sources::of_process(flags, shape).load();
            config.map_err(|problems| Failure::Runtime(Failure::from(problems).text()))?;
            let mut state = Vec::new();
            std::io::stdin().read_to_end(&mut state).map_err(Failure::runtime)?;
            State::decode(&state).map_err(Failure::runtime)?;
            let can = TakeoverCheck { takeover: env!("CARGO_PKG_VERSION").into() };
            cli::show(&serde_json::to_string(&can).map_err(Failure::runtime)?)
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
        Asked::Init(asked) => cli::init(&asked),
        Asked::Check(flags) => cli::check(Sources::of_process(flags, shape)),
        Asked::Status { place, json } => client(place, async |place| cli::status(place, json).await),
        Asked::Top { place, interval, once } => client(place, async |place| cli::top(place, interval, once).await),
        Asked::Reload { place, parallel } => client(place, async |place| cli::reload(place, parallel).await),
        Asked::Drain { place, slot, force } => client(place, async |place| cli::drain(place, slot, force).await),
        Asked::Undrain { place, slot } => client(place, async |place| cli::undrain(place, slot).await),
        Asked::Upgrade { place, binary } => client(place, async |place| cli::upgrade(place, binary).await),
        Asked::Scale { place, workers } => client(place, async |place| cli::scale(place, workers).await),
        Asked::Stop(place) => client(place, cli::stop),
        Asked::Kill { place, slot, signal } => client(place, async |place| cli::kill(place, slot, signal).await),
        Asked::Order { place, order } => client(place, async |place| cli::order(place, order).await),
        Asked::Log { place, order } => client(place, async |place| cli::log(place, order).await),
        Asked::Wait { place, timeout } => client(place, async |place| cli::wait(place, timeout).await),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Runs a command that talks to a running cluster.
fn client(place: Flags, command: impl AsyncFnOnce(Flags) -> Result<(), Failure>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::runtime)?;
    runtime.block_on(command(place))
}
