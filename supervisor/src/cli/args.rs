//! Reads the command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};
use nix::sys::signal::Signal;
use roomd_balancer::ListenAddress;

use super::{
    failure::Failure,
    init::Init,
    man::man_page,
    order::{EmitArguments, Order, Sockets},
    parse_signal,
};
use crate::{
    config::{self, Flags, OrOff, Workers},
    logging::{LogOrder, MAX_TIME_MS, check_filter},
};

const ENVIRONMENT: &str = "\
Flags win over the environment, that over the file, and that over the defaults.
Environment: ROOMD_LISTEN (or PORT: all addresses, that port), ROOMD_WORKERS, REDIS_URL (or REDIS_HOST and REDIS_PORT),
ROOMD_ADMIN, ROOMD_ADMIN_TOKEN, ROOMD_CONTROL, ROOMD_HOST, ROOMD_LOG_FORMAT (auto, text or json), and ROOMD_LOG (or RUST_LOG):
what is logged, for example info,roomd_worker=debug

Signals: TERM and INT stop gracefully, a second one at once. HUP and USR2 reload.
Exit codes: 0 done, 1 failed at run time, 2 bad usage, 78 bad configuration.";

/// What the command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// Start the cluster.
    Up(Flags),
    /// Write a configuration.
    Init(Init),
    /// Check the file.
    Check(Flags),
    /// Show what runs.
    Status {
        /// Where the control socket is.
        place: Flags,
        /// As JSON.
        json: bool,
    },
    /// Show what runs, live.
    Top {
        /// Where the control socket is.
        place: Flags,
        /// How often it is asked.
        interval: Duration,
        /// Once, as text.
        once: bool,
    },
    /// Replace all workers.
    Reload {
        /// Where the control socket is.
        place: Flags,
        /// So many at a time.
        parallel: u16,
    },
    /// Take a slot out of service.
    Drain {
        /// Where the control socket is.
        place: Flags,
        /// Which slot.
        slot: u16,
        /// Also if no other one serves.
        force: bool,
    },
    /// Put a drained slot back into service.
    Undrain {
        /// Where the control socket is.
        place: Flags,
        /// Which slot.
        slot: u16,
    },
    /// Become another program.
    Upgrade {
        /// Where the control socket is.
        place: Flags,
        /// Which.
        binary: Option<PathBuf>,
    },
    /// Change the number of workers.
    Scale {
        /// Where the control socket is.
        place: Flags,
        /// To how many.
        workers: u16,
    },
    /// Stop the cluster.
    Stop(Flags),
    /// Signal one worker.
    Kill {
        /// Where the control socket is.
        place: Flags,
        /// Which slot's.
        slot: u16,
        /// Which signal.
        signal: Signal,
    },
    /// Wait until all workers are ready and the bus is up.
    Wait {
        /// Where the control socket is.
        place: Flags,
        /// For how long.
        timeout: Duration,
    },
    /// Show or change what is logged.
    Log {
        /// Where the control socket is.
        place: Flags,
        /// What is asked for.
        order: LogOrder,
    },
    /// Publish an order to clients.
    Order {
        /// Where the control socket is.
        place: Flags,
        /// What is ordered.
        order: Order,
    },
    /// Be a worker: started by the supervisor.
    Worker,
    /// Say whether this program can take over from a supervisor with this command line.
    Takeover(Vec<OsString>),
    /// Help or the version was asked for: print this.
    Print(String),
}

/// A real-time server on every core: supervisor, balancer and Socket.IO workers in one program.
#[derive(Parser)]
#[command(name = "roomd", version, after_help = ENVIRONMENT, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Arguments {
    #[command(flatten)]
    up: UpArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Start the cluster in the foreground (what roomd does without a command)
    #[command(after_help = ENVIRONMENT)]
    Up(UpArguments),
    /// Write a commented cluster.toml, and with --systemd a unit
    Init(Init),
    /// Show every problem of the configuration file
    Check {
        /// The file [default: ./cluster.toml if it is there]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Show what runs
    Status {
        #[command(flatten)]
        place: Place,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what runs, live: workers, rates, the bus, the busiest rooms; h shows the keys
    Top {
        #[command(flatten)]
        place: Place,
        /// How often to look
        #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = top_interval)]
        interval: Duration,
        /// Show it once as text, as it is done where the output is no terminal
        #[arg(long)]
        once: bool,
    },
    /// Replace all workers one by one; the old ones stay if the new cannot start
    Reload {
        /// Replace so many workers at a time
        #[arg(long, value_name = "K", default_value = "1", value_parser = number_of_workers)]
        parallel: u16,
        #[command(flatten)]
        place: Place,
    },
    /// Replace the supervisor's own program in place, then all workers; the old ones stay if the new cannot take over
    Upgrade {
        /// The new program [default: the one that was started, as it is on the disk now]
        #[arg(long, value_name = "PATH")]
        binary: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Change the number of workers
    Scale {
        /// How many workers
        #[arg(value_name = "N", value_parser = number_of_workers)]
        workers: u16,
        #[command(flatten)]
        place: Place,
    },
    /// Take a slot out of service: its clients are closed over the grace; returns when its worker has ended
    Drain {
        /// The slot, as `roomd status` shows it
        #[arg(value_parser = slot)]
        slot: u16,
        /// Also if no other slot has a worker that is ready
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Put a drained slot back into service; returns when its worker is ready
    Undrain {
        /// The slot, as `roomd status` shows it
        #[arg(value_parser = slot)]
        slot: u16,
        #[command(flatten)]
        place: Place,
    },
    /// Stop the cluster gracefully; returns when it has ended
    Stop {
        #[command(flatten)]
        place: Place,
    },
    /// Send a signal to one worker, for chaos tests
    Kill {
        /// The worker's slot, as `roomd status` shows it
        #[arg(value_parser = slot)]
        slot: u16,
        /// The signal
        #[arg(long, value_name = "NAME", default_value = "KILL", value_parser = parse_signal)]
        signal: Signal,
        #[command(flatten)]
        place: Place,
    },
    /// Wait until every wanted worker is ready and the bus is up
    Wait {
        /// For how long at most
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
        timeout: Duration,
        #[command(flatten)]
        place: Place,
    },
    /// Show what is logged, or change it in the supervisor and all workers
    Log {
        /// Directives such as debug, or info,roomd_worker=debug; without one: show
        #[arg(value_name = "FILTER", value_parser = log_filter)]
        filter: Option<String>,
        /// Go back by itself after this time
        #[arg(long = "for", value_name = "DURATION", value_parser = log_time, requires = "filter")]
        time: Option<Duration>,
        /// Only this slot's worker
        #[arg(long, value_name = "SLOT", value_parser = slot)]
        worker: Option<u16>,
        /// Back to what the configuration says
        #[arg(long, conflicts_with = "filter")]
        reset: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Emit an event to clients, of every host and every server on the same bus
    Emit(EmitArguments),
    /// Make sockets join or leave rooms, or disconnect them, of every host and every server on the same bus
    #[command(subcommand, arg_required_else_help = false)]
    Sockets(Sockets),
    /// Be a worker (the supervisor starts them)
    #[command(hide = true)]
    Worker,
    /// Say whether this program can take over from a supervisor (which starts it for that)
    #[command(hide = true)]
    Takeover {
        /// Of the supervisor
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Print the manual page, as packages install it: `roomd man | man -l -`
    #[command(hide = true)]
    Man,
}

#[derive(Args)]
struct UpArguments {
    /// The configuration file [default: ./cluster.toml if it is there, else the built-in defaults]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where clients connect, such as 127.0.0.1:3000, :3000 (all addresses) or unix:/run/roomd.sock; may be repeated
    #[arg(long, value_name = "ADDR", value_parser = config::parse_listen)]
    listen: Vec<ListenAddress>,
    /// How many workers, or auto: one per core
    #[arg(long, value_name = "N|auto", value_parser = str::parse::<Workers>)]
    workers: Option<Workers>,
    /// Use this Redis as the bus, or off: the embedded bus
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Where the admin endpoints are, or off
    #[arg(long, value_name = "ADDR", value_parser = str::parse::<OrOff<SocketAddr>>)]
    admin: Option<OrOff<SocketAddr>>,
    /// The control socket
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Place {
    /// The cluster's control socket [default: where `roomd up` puts it]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// The cluster's configuration file, which may name the control socket
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Reads a command line, the program's name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, Failure> {
    let matches = match Arguments::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Asked::Print(error.render().to_string()));
        }
        Err(error) => return Err(Failure::Usage(one_line(&error))),
    };
    let Arguments { up, command } =
        Arguments::from_arg_matches(&matches).map_err(|error| Failure::Usage(one_line(&error)))?;
    Ok(match command {
        None => Asked::Up(up.flags()?),
        Some(Command::Up(up)) => Asked::Up(up.flags()?),
        Some(Command::Init(init)) => Asked::Init(init),
        Some(Command::Check { config }) => Asked::Check(Flags { config, ..Flags::default() }),
        Some(Command::Status { place, json }) => Asked::Status { place: place.flags(), json },
        Some(Command::Top { place, interval, once }) => Asked::Top { place: place.flags(), interval, once },
        Some(Command::Reload { parallel, place }) => Asked::Reload { place: place.flags(), parallel },
        Some(Command::Drain { slot, force, place }) => Asked::Drain { place: place.flags(), slot, force },
        Some(Command::Undrain { slot, place }) => Asked::Undrain { place: place.flags(), slot },
        Some(Command::Upgrade { binary, place }) => Asked::Upgrade { place: place.flags(), binary },
        Some(Command::Scale { workers, place }) => Asked::Scale { place: place.flags(), workers },
        Some(Command::Stop { place }) => Asked::Stop(place.flags()),
        Some(Command::Kill { slot, signal, place }) => Asked::Kill { place: place.flags(), slot, signal },
        Some(Command::Wait { timeout, place }) => Asked::Wait { place: place.flags(), timeout },
        Some(Command::Log { filter, time, worker, reset, place }) => {
            let for_ms = time.map(|time| time.as_millis() as u64);
            Asked::Log { place: place.flags(), order: LogOrder { filter, for_ms, slot: worker, reset } }
        }
        Some(Command::Emit(emit)) => ordered(emit.order()?),
        Some(Command::Sockets(sockets)) => ordered(sockets.order()?),
        Some(Command::Worker) => Asked::Worker,
        Some(Command::Takeover { arguments }) => Asked::Takeover(arguments),
        Some(Command::Man) => {
            let page = man_page(Arguments::command()).map_err(Failure::runtime)?;
            Asked::Print(String::from_utf8_lossy(&page).into_owned())
        }
    })
}

fn ordered((place, order): (Place, Order)) -> Asked {
    Asked::Order { place: place.flags(), order }
}

impl UpArguments {
    fn flags(self) -> Result<Flags, Failure> {
        // Not clap's to check: its message would show the URL, and so the password.
        let redis = match self.redis {
            None => None,
            Some(word) if word == "off" => Some(OrOff::Off),
            Some(url) => {
                config::check_redis_url(&url)
                    .map_err(|reason| Failure::Usage(format!("--redis is no URL of a Redis: {reason}")))?;
                Some(OrOff::On(url))
            }
        };
        Ok(Flags {
            config: self.config,
            listen: self.listen,
            workers: self.workers,
            redis,
            admin: self.admin,
            control: self.control,
        })
    }
}

impl Place {
    fn flags(self) -> Flags {
        Flags { control: self.control, config: self.config, ..Flags::default() }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    config::parse_duration(text).map_err(|expected| format!("give {expected}"))
}

/// Workers tell their figures once a second: to look much more often only costs.
fn top_interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    let fits = (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&interval);
    fits.then_some(interval).ok_or_else(|| "give a duration from 100ms to 1h".into())
}

fn log_filter(text: &str) -> Result<String, String> {
    check_filter(text).map(|()| text.to_owned())
}

fn log_time(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    let bounds = Duration::from_secs(1)..=Duration::from_millis(MAX_TIME_MS);
    if bounds.contains(&time) { Ok(time) } else { Err("give a time from 1s to 7d".into()) }
}

fn number_of_workers(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| (1..=config::MAX_WORKERS).contains(number));
    number.ok_or_else(|| format!("give a number from 1 to {}", config::MAX_WORKERS))
}

fn slot(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| "give a slot's number, as `roomd status` shows it")
}

/// clap's error in one line: what is wrong, its tip, and where the usage is. The usage itself is left out.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut parts: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if let Some(first) = parts.first_mut() {
        *first = first.strip_prefix("error: ").unwrap_or(first);
    }
    parts.push("see `roomd --help`");
    parts.join("; ").replace(":; ", ": ")
}
