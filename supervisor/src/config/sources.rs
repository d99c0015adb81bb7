//! Where a configuration comes from: flag > environment > file > default.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{self, Read as _},
    net::{Ipv6Addr, SocketAddr},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use roomd_balancer::ListenAddress;

use crate::application::AppShape;

use super::{
    control_path,
    file::File,
    log::LogFormat,
    problem::{Problem, Problems},
    redis_url,
    token::Token,
    types::Config,
    validate,
    values::{OrOff, Workers, parse_listen},
};

/// The file that is read if it is there and no other is named.
pub const DEFAULT_FILE: &str = "cluster.toml";

/// The variable of the token. Workers are not given it.
pub const TOKEN_VARIABLE: &str = "ROOMD_ADMIN_TOKEN";

/// The largest file that is read: a configuration is far smaller, and `--config /dev/zero` should end.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The environment, given and not asked for, so that tests can have their own.
#[derive(Clone, Default, Debug)]
pub struct Environment(BTreeMap<String, OsString>);

/// What the command line says; each was checked when it was parsed.
#[derive(Clone, Default, Debug)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--listen`, once or more often.
    pub listen: Vec<ListenAddress>,
    /// `--workers`
    pub workers: Option<Workers>,
    /// `--redis`
    pub redis: Option<OrOff<String>>,
    /// `--admin`
    pub admin: Option<OrOff<SocketAddr>>,
    /// `--control`
    pub control: Option<PathBuf>,
}

/// Everything a configuration is made of, kept so that a reload can read it again.
#[derive(Clone, Default, Debug)]
pub struct Sources {
    /// The command line.
    pub flags: Flags,
    /// The environment.
    pub environment: Environment,
    /// The folder that relative paths start from, and where `cluster.toml` is looked for.
    pub folder: PathBuf,
    /// The shape of the application's own table.
    pub app: AppShape,
}

/// A value from a flag or the environment, with its name for messages.
#[derive(Clone, Debug)]
pub struct Named<T> {
    /// The value.
    pub value: T,
    /// `--listen`, `ROOMD_LISTEN`, `PORT`, …
    pub name: &'static str,
}

/// What flags and environment say together, flags first. A token has no flag: it could be seen in the list of processes.
#[derive(Debug)]
#[allow(missing_docs)] // the same names as the flags
pub struct Overrides {
    pub listen: Option<Named<Vec<ListenAddress>>>,
    pub workers: Option<Named<Workers>>,
    pub redis: Option<Named<OrOff<String>>>,
    pub admin: Option<Named<OrOff<SocketAddr>>>,
    pub control: Option<Named<PathBuf>>,
    pub admin_token: Option<Token>,
    /// It has no flag: each host's own is its orchestrator's to say, as `ROOMD_HOST`.
    pub host: Option<u16>,
    pub log_filter: Option<String>,
    pub log_format: Option<Named<LogFormat>>,
}

impl Environment {
    /// This process's environment.
    pub fn of_process() -> Environment {
        Environment(std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value))).collect())
    }

    /// A variable's value; an empty one counts as not set, as is usual.
    pub fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(name).filter(|value| !value.is_empty())
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.to_string_lossy().into_owned())
    }
}

impl<K: Into<String>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Environment(variables.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl Sources {
    /// What a process was started with.
    pub fn of_process(flags: Flags, app: AppShape) -> Sources {
        let folder = std::env::current_dir().unwrap_or_default();
        Sources { flags, environment: Environment::of_process(), folder, app }
    }

    /// The configuration's file, if there is one, as it is named in messages.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.flags.config {
            Some(file) => Some(file.clone()),
            // Only what is surely not there is left out: a link that leads nowhere or a folder that may not be searched is an
            // error of whoever wanted to configure something.
            None => match self.folder.join(DEFAULT_FILE).symlink_metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                _ => Some(PathBuf::from(DEFAULT_FILE)),
            },
        }
    }

    /// The same, with the file that was found as one that must be there: were it gone at a reload, the defaults would apply unsaid.
    pub fn with_the_file_named(mut self) -> Sources {
        self.flags.config = self.file();
        self
    }

    /// Checks the file alone, so that nothing in it is covered by a flag or a variable.
    pub fn check(&self) -> Result<Config, Problems> {
        let places = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "TMPDIR"];
        let environment =
            places.into_iter().filter_map(|name| Some((name, self.environment.get(name)?.clone()))).collect();
        let flags = Flags { config: self.flags.config.clone(), ..Flags::default() };
        Sources { flags, environment, folder: self.folder.clone(), app: self.app }.load()
    }

    /// Where `up` with the same flags, environment and file puts the control socket. What else is wrong does not matter here: a
    /// running cluster must be reached while its file is being edited.
    pub fn control_path(&self) -> PathBuf {
        let over = self.flags.control.clone().or_else(|| self.environment.get("ROOMD_CONTROL").map(PathBuf::from));
        if let Some(path) = over {
            return self.folder.join(path);
        }
        let in_file = self.file().and_then(|file| {
            let file = self.folder.join(file);
            let control = File::parse(&read(&file).ok()?, AppShape::default(), &mut Vec::new()).cluster.control?;
            Some(file.parent()?.join(control.get_ref()))
        });
        in_file.unwrap_or_else(|| control_path::for_command(&self.environment, Path::exists))
    }

    /// The name and the text of the file; nothing where it cannot be read.
    pub(super) fn text(&self) -> (String, String) {
        let file = self.file().unwrap_or_else(|| DEFAULT_FILE.into());
        (file.display().to_string(), read(&self.folder.join(&file)).unwrap_or_default())
    }

    /// Reads, checks and completes the configuration.
    pub fn load(&self) -> Result<Config, Problems> {
        let file = self.file();
        let text = match &file {
            Some(file) => read(&self.folder.join(file)).map_err(|error| {
                let way_out = "give a file that can be read with --config, or leave it out to use the defaults";
                Problems::one(&file.display().to_string(), format!("cannot read {}: {error}", file.display()), way_out)
            })?,
            None => String::new(),
        };
        let mut problems = Vec::new();
        let overrides = Overrides::of(&self.flags, &self.environment, &mut problems);
        let base =
            file.as_ref().and_then(|file| file.parent()).map_or(self.folder.clone(), |parent| self.folder.join(parent));
        let config = validate::validate(
            &text,
            self.app,
            overrides,
            &self.environment,
            &validate::Folders { here: &self.folder, file: &base },
            &mut problems,
        );
        if problems.is_empty() {
            return Ok(config);
        }
        let name = file.map_or_else(|| DEFAULT_FILE.into(), |file| file.display().to_string());
        Err(Problems::new(name, text, problems))
    }
}

/// Opens a file to read it, without waiting for the writer of a pipe: a reload does so on the supervisor's only thread.
pub(super) fn open(path: &Path) -> io::Result<fs::File> {
    fs::File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}

fn read(path: &Path) -> io::Result<String> {
    let file = open(path)?;
    if file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("it is a pipe, which a reload could not read again"));
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

impl Overrides {
    fn of(flags: &Flags, environment: &Environment, problems: &mut Vec<Problem>) -> Overrides {
        Overrides {
            listen: match flags.listen.is_empty() {
                false => Some(Named { value: flags.listen.clone(), name: "--listen" }),
                true => listen(environment, problems),
            },
            workers: flag(&flags.workers, "--workers").or_else(|| variable(environment, "ROOMD_WORKERS", problems)),
            redis: flag(&flags.redis, "--redis").or_else(|| redis(environment, problems)),
            admin: flag(&flags.admin, "--admin").or_else(|| variable(environment, "ROOMD_ADMIN", problems)),
            control: flag(&flags.control, "--control").or_else(|| {
                environment.get("ROOMD_CONTROL").map(|path| Named { value: path.into(), name: "ROOMD_CONTROL" })
            }),
            admin_token: admin_token(environment, problems),
            host: host(environment, problems),
            // Looked at when the log was started.
            log_filter: ["ROOMD_LOG", "RUST_LOG"].into_iter().find_map(|name| environment.text(name)),
            log_format: variable(environment, "ROOMD_LOG_FORMAT", problems),
        }
    }
}

fn flag<T: Clone>(value: &Option<T>, name: &'static str) -> Option<Named<T>> {
    value.clone().map(|value| Named { value, name })
}

/// A variable that is read as a flag of the same meaning is.
fn variable<T>(environment: &Environment, name: &'static str, problems: &mut Vec<Problem>) -> Option<Named<T>>
where
    T: std::str::FromStr<Err = String>,
{
    let text = environment.text(name)?;
    match text.parse() {
        Ok(value) => Some(Named { value, name }),
        Err(way_out) => {
            problems.push(Problem::at(None, format!("the environment's {name} cannot be \"{text}\""), way_out));
            None
        }
    }
}

/// `ROOMD_HOST`.
fn host(environment: &Environment, problems: &mut Vec<Problem>) -> Option<u16> {
    let text = environment.text("ROOMD_HOST")?;
    let host = text.parse().ok();
    if host.is_none() {
        let message = format!("the environment's ROOMD_HOST cannot be \"{text}\"");
        problems.push(Problem::at(None, message, format!("give a number from 0 to {}", u16::MAX)));
    }
    host
}

/// `ROOMD_ADMIN_TOKEN`. Not as other variables: a wrong one is not shown.
fn admin_token(environment: &Environment, problems: &mut Vec<Problem>) -> Option<Token> {
    match environment.text(TOKEN_VARIABLE)?.parse() {
        Ok(token) => Some(token),
        Err(way_out) => {
            let message = format!("the environment's {TOKEN_VARIABLE} cannot be what it is");
            let way_out: String = way_out;
            problems.push(Problem::at(None, message, way_out));
            None
        }
    }
}

/// `ROOMD_LISTEN`, addresses separated by commas; else the example's own `PORT`, on all addresses.
fn listen(environment: &Environment, problems: &mut Vec<Problem>) -> Option<Named<Vec<ListenAddress>>> {
    const NAME: &str = "ROOMD_LISTEN";
    if let Some(text) = environment.text(NAME) {
        return match text.split(',').map(|address| parse_listen(address.trim())).collect() {
            Ok(value) => Some(Named { value, name: NAME }),
            Err(way_out) => {
                problems.push(Problem::at(None, format!("the environment's {NAME} cannot be \"{text}\""), way_out));
                None
            }
        };
    }
    let text = environment.text("PORT")?;
    match text.parse::<u16>() {
        Ok(port) => {
            let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            Some(Named { value: vec![ListenAddress::Tcp(all)], name: "PORT" })
        }
        Err(_) => {
            let way_out = "give a port from 1 to 65535, or unset it and use --listen";
            problems.push(Problem::at(None, format!("the environment's PORT cannot be \"{text}\""), way_out));
            None
        }
    }
}

/// `REDIS_URL`, else the example's own `REDIS_HOST` and `REDIS_PORT`.
fn redis(environment: &Environment, problems: &mut Vec<Problem>) -> Option<Named<OrOff<String>>> {
    let (name, found) = match environment.text("REDIS_URL") {
        Some(url) if url == "off" => return Some(Named { value: OrOff::Off, name: "REDIS_URL" }),
        Some(url) => ("REDIS_URL", redis_url::check(&url).map(|()| url)),
        None => {
            let (host, port) = (environment.text("REDIS_HOST"), environment.text("REDIS_PORT"));
            let name = if host.is_some() { "REDIS_HOST" } else { "REDIS_PORT" };
            (name, redis_url::from_host_and_port(host.as_deref(), port.as_deref())?)
        }
    };
    match found {
        Ok(url) => Some(Named { value: OrOff::On(url), name }),
        Err(reason) => {
            problems.push(redis_problem(None, format!("the environment's {name}"), &reason));
            None
        }
    }
}

/// A Redis URL that is wrong, told without the URL.
pub fn redis_problem(span: Option<std::ops::Range<usize>>, what: String, reason: &str) -> Problem {
    match reason.split_once(": ") {
        Some((wrong, way_out)) => Problem::at(span, format!("{what} is no URL of a Redis: {wrong}"), way_out),
        None => Problem::at(span, format!("{what} is no URL of a Redis"), reason),
    }
}
