//! From what was said to what the program runs on: ranges, and what the values mean together. All problems are collected.

use std::{
    io::Read as _,
    net::IpAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use roomd_balancer::ListenAddress;
use roomd_wire::{BusConfig, ParserConfig, PerMessageDeflate, SocketIoConfig};
use roomd_worker::engine::ClientFiles;
use toml::Spanned;

use super::{
    control_path,
    cors::cors,
    deflate::{Deflate, DeflateOptions},
    file::{Admin, Cluster, File, SocketIo},
    problem::Problem,
    redis_url,
    sources::{Environment, Named, Overrides, open, redis_problem},
    token::Token,
    types::Config,
    units::{Bytes, BytesOrOff, WithUnit, show_duration, show_size},
    values::{self, Number, OneOrMany, OrOff, Workers},
};
use crate::application::AppShape;

/// What a worker's configuration may be at most, written as JSON: it goes to the worker in one message.
const MAX_WORKER_CONFIG_BYTES: usize = 64 * 1024;

/// Bounds of the Socket.IO server's times: below, clients would be closed for the network's usual delays.
const TIMES: Range<Duration> = Duration::from_millis(10)..Duration::from_secs(24 * 3600);

/// A worker without clients has a few MiB.
const LEAST_MAX_RSS: u64 = 32 << 20;

/// So much of a token's file is read: more than a token has, and less than `/dev/zero`.
const MAX_TOKEN_FILE_BYTES: u64 = 4 * 1024;

/// Where relative paths start.
pub struct Folders<'a> {
    /// For flags and environment.
    pub here: &'a Path,
    /// For the file: its own folder.
    pub file: &'a Path,
}

/// Checks a file's text together with what overrides it. With problems, the configuration is of no use.
pub fn validate(
    text: &str,
    app: AppShape,
    over: Overrides,
    environment: &Environment,
    folders: &Folders<'_>,
    problems: &mut Vec<Problem>,
) -> Config {
    let File { cluster, admin: admin_table, log, redis_url, socketio, app } = File::parse(text, app, problems);
    let mut check = Check { problems, folders };

    let workers = over.workers.map(|named| named.value).or(cluster.workers.as_ref().map(|it| *it.get_ref()));
    let control = check.control(over.control, &cluster, environment);
    let mut config = Config::with_defaults(control, workers.unwrap_or(Workers::Auto).count());

    let listen = check.listen(over.listen, cluster.listen.clone(), &config.listen);
    config.listen = listen.iter().map(|placed| placed.value.clone()).collect();
    let admin = check.admin(over.admin, admin_table.listen.clone(), config.admin);
    config.admin = admin.value;
    config.admin_token = check.admin_token(over.admin_token, admin_table);
    check.listeners_differ(&listen, &admin, &config.control);

    config.log = log.check(over.log_filter, over.log_format, check.problems);
    check.cluster(cluster, &mut config);
    config.host = over.host.unwrap_or(config.host);
    config.bus = check.bus(over.redis, redis_url);
    check.socketio(socketio, &mut config.socketio);
    config.app = app.into();
    check.fits_a_message(&config);
    config
}

struct Check<'a> {
    problems: &'a mut Vec<Problem>,
    folders: &'a Folders<'a>,
}

/// A value with its place in the file, if it came from there.
struct Placed<T> {
    value: T,
    span: Option<Range<usize>>,
}

impl Check<'_> {
    fn problem(&mut self, span: Option<Range<usize>>, message: impl Into<String>, way_out: impl Into<String>) {
        self.problems.push(Problem::at(span, message, way_out));
    }

    fn control(&mut self, over: Option<Named<PathBuf>>, cluster: &Cluster, environment: &Environment) -> PathBuf {
        let (path, span, name) = match (over, &cluster.control) {
            (Some(named), _) => (self.folders.here.join(named.value), None, format!("the path of {}", named.name)),
            (None, Some(file)) => (self.folders.file.join(file.get_ref()), Some(file.span()), "`control`".into()),
            (None, None) => (control_path::default_path(environment), None, "the control socket's default path".into()),
        };
        if let Err(way_out) = values::socket_path(&path.to_string_lossy()) {
            self.problem(span, format!("{name} is too long: {}", path.display()), way_out);
        }
        path
    }

    fn listen(
        &mut self,
        over: Option<Named<Vec<ListenAddress>>>,
        file: Option<Spanned<OneOrMany>>,
        default: &[ListenAddress],
    ) -> Vec<Placed<ListenAddress>> {
        if let Some(named) = over {
            let here = self.folders.here;
            return named.value.into_iter().map(|value| Placed { value: absolute(value, here), span: None }).collect();
        }
        let Some(file) = file else {
            return default.iter().map(|value| Placed { value: value.clone(), span: None }).collect();
        };
        let whole = file.span();
        let list = OneOrMany::each(file);
        if list.is_empty() {
            self.problem(
                Some(whole),
                "`listen` is an empty list: no client could connect",
                "name an address, for example \"127.0.0.1:3000\"",
            );
        }
        let mut addresses = Vec::new();
        for text in list {
            match values::parse_listen(text.get_ref()) {
                Ok(value) => {
                    addresses.push(Placed { value: absolute(value, self.folders.file), span: Some(text.span()) })
                }
                Err(way_out) => {
                    self.problem(Some(text.span()), format!("`listen` cannot be \"{}\"", text.get_ref()), way_out);
                }
            }
        }
        addresses
    }

    fn admin(
        &mut self,
        over: Option<Named<OrOff<std::net::SocketAddr>>>,
        file: Option<Spanned<String>>,
        default: Option<std::net::SocketAddr>,
    ) -> Placed<Option<std::net::SocketAddr>> {
        let on = |value| match value {
            OrOff::On(address) => Some(address),
            OrOff::Off => None,
        };
        match (over, file) {
            (Some(named), _) => Placed { value: on(named.value), span: None },
            (None, None) => Placed { value: default, span: None },
            (None, Some(file)) => match file.get_ref().parse() {
                Ok(value) => Placed { value: on(value), span: Some(file.span()) },
                Err(way_out) => {
                    let way_out: String = way_out;
                    self.problem(
                        Some(file.span()),
                        format!("`listen` of [admin] cannot be \"{}\"", file.get_ref()),
                        way_out,
                    );
                    Placed { value: None, span: None }
                }
            },
        }
    }

    fn admin_token(&mut self, over: Option<Token>, file: Admin) -> Option<Token> {
        let from_file = match (file.token, file.token_file) {
            (Some(token), Some(other)) => {
                let problem = Problem::at(
                    Some(other.span()),
                    "[admin] has both `token` and `token_file`",
                    "leave one of them out",
                );
                self.problems.push(problem.and(Some(token.span()), "the other"));
                None
            }
            (Some(token), None) => Some(token.into_inner()),
            (None, Some(name)) => {
                let path = self.folders.file.join(name.get_ref());
                match read_token(&path) {
                    Ok(token) => Some(token),
                    Err((wrong, way_out)) => {
                        let message = format!("`token_file` {} {wrong}", path.display());
                        self.problem(Some(name.span()), message, way_out);
                        None
                    }
                }
            }
            (None, None) => None,
        };
        over.or(from_file)
    }

    /// No two listeners in one place, and none in the control socket's.
    fn listeners_differ(
        &mut self,
        listen: &[Placed<ListenAddress>],
        admin: &Placed<Option<std::net::SocketAddr>>,
        control: &Path,
    ) {
        for (index, one) in listen.iter().enumerate() {
            if let Some(other) = listen[..index].iter().find(|other| overlap(&one.value, &other.value)) {
                let problem = Problem::at(
                    one.span.clone(),
                    format!("`listen` has {} and {}, which take the same connections", other.value, one.value),
                    "leave one out, or give it another port",
                );
                self.problems.push(problem.and(other.span.clone(), "the other"));
            }
            if let Some(address) = admin.value
                && overlap(&one.value, &ListenAddress::Tcp(address))
            {
                let problem = Problem::at(
                    admin.span.clone().or(one.span.clone()),
                    format!("the admin endpoints' {address} is in the place of the clients' {}", one.value),
                    "give one of them another port, or switch the admin endpoints off with `listen = \"off\"`",
                );
                let other = if admin.span.is_some() { one.span.clone() } else { None };
                self.problems.push(problem.and(other, "the clients'"));
            }
            if matches!(&one.value, ListenAddress::Unix(path) if path == control) {
                let message = format!("`listen` has the control socket's path {}", control.display());
                self.problem(one.span.clone(), message, "give one of them another path");
            }
        }
    }

    fn cluster(&mut self, cluster: Cluster, config: &mut Config) {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let second = Duration::from_secs(1);
        self.duration("grace", &cluster.grace, Duration::ZERO..DAY, &mut config.grace);
        self.duration("start_timeout", &cluster.start_timeout, second..DAY, &mut config.start_timeout);
        self.duration("confirm_time", &cluster.confirm_time, Duration::ZERO..DAY, &mut config.confirm_time);
        self.max_rss(&cluster.max_rss, config);
        self.duration("hang_timeout", &cluster.hang_timeout, second..DAY, &mut config.hang_timeout);
        self.duration("orphan_timeout", &cluster.orphan_timeout, second..DAY, &mut config.orphan_timeout);
        self.duration("head_timeout", &cluster.head_timeout, Duration::from_millis(100)..DAY, &mut config.head_timeout);
        self.duration("worker_wait", &cluster.worker_wait, Duration::ZERO..DAY, &mut config.worker_wait);

        let all = self.number("max_connections", &cluster.max_connections, 1..=10_000_000);
        let one = self.number("max_connections_per_address", &cluster.max_connections_per_address, 1..=10_000_000);
        config.max_connections = all.unwrap_or(config.max_connections);
        if let (Some(limit), Some(file)) = (one, &cluster.max_connections_per_address)
            && limit > config.max_connections
        {
            let problem = Problem::at(
                Some(file.span()),
                format!(
                    "`max_connections_per_address` ({limit}) is more than `max_connections` ({}): it would limit nothing",
                    config.max_connections
                ),
                "lower it, or raise `max_connections`",
            );
            self.problems.push(problem.and(cluster.max_connections.as_ref().map(Spanned::span), "the limit for all"));
        }
        config.max_connections_per_address =
            one.unwrap_or(config.max_connections_per_address).min(config.max_connections);
        config.host = self.number("host", &cluster.host, 0..=u16::MAX).unwrap_or(config.host);

        for text in cluster.trusted_proxies.map(OneOrMany::each).unwrap_or_default() {
            match values::parse_network(text.get_ref()) {
                Ok(network) => config.trusted_proxies.push(network),
                Err(way_out) => self.problem(
                    Some(text.span()),
                    format!("`trusted_proxies` cannot hold \"{}\"", text.get_ref()),
                    way_out,
                ),
            }
        }
    }

    /// A limit that every worker passes when it starts would replace one after the other for ever.
    fn max_rss(&mut self, file: &Option<Spanned<BytesOrOff>>, config: &mut Config) {
        let Some(file) = file else { return };
        match file.get_ref().0 {
            Some(bytes) if bytes < LEAST_MAX_RSS => self.problem(
                Some(file.span()),
                format!("`max_rss` is {}: a worker needs more than that without any client", show_size(bytes)),
                format!("give at least {}, or \"off\"", show_size(LEAST_MAX_RSS)),
            ),
            limit => config.max_rss = limit,
        }
    }

    fn bus(&mut self, over: Option<Named<OrOff<String>>>, file: Option<Spanned<String>>) -> BusConfig {
        match (over.map(|named| named.value), file) {
            (Some(OrOff::On(url)), _) => BusConfig::Redis { url },
            (Some(OrOff::Off), _) | (None, None) => BusConfig::Embedded,
            (None, Some(file)) => {
                if let Err(reason) = redis_url::check(file.get_ref()) {
                    self.problems.push(redis_problem(Some(file.span()), "`url` of [redis]".into(), &reason));
                }
                BusConfig::Redis { url: file.into_inner() }
            }
        }
    }

    fn socketio(&mut self, file: SocketIo, config: &mut SocketIoConfig) {
        let mut millis = |key, value: &Option<Spanned<WithUnit>>, target: &mut u64| {
            let mut duration = Duration::from_millis(*target);
            self.duration(key, value, TIMES, &mut duration);
            *target = duration.as_millis() as u64;
        };
        millis("ping_interval", &file.ping_interval, &mut config.ping_interval_ms);
        millis("ping_timeout", &file.ping_timeout, &mut config.ping_timeout_ms);
        millis("upgrade_timeout", &file.upgrade_timeout, &mut config.upgrade_timeout_ms);
        millis("connect_timeout", &file.connect_timeout, &mut config.connect_timeout_ms);

        self.size("max_payload", &file.max_payload, 100..=256 << 20, &mut config.max_payload_bytes);
        self.size("max_queue", &file.max_queue, 64 << 10..=1 << 30, &mut config.max_queue_bytes);
        if config.max_queue_bytes < config.max_payload_bytes {
            let (queue, payload) = (show_size(config.max_queue_bytes), show_size(config.max_payload_bytes));
            let (queue_span, payload_span) = (file.max_queue.map(|it| it.span()), file.max_payload.map(|it| it.span()));
            let problem = Problem::at(
                queue_span.clone().or(payload_span.clone()),
                format!(
                    "`max_queue` ({queue}) is smaller than `max_payload` ({payload}): a message that large would close all who get it"
                ),
                "raise `max_queue`, or lower `max_payload`",
            );
            self.problems.push(problem.and(queue_span.and(payload_span), "the largest message"));
        }
        if let Some(parser) = file.parser {
            match parser.get_ref().as_str() {
                "json" => config.parser = ParserConfig::Json,
                "msgpack" => config.parser = ParserConfig::Msgpack,
                other => self.problem(
                    Some(parser.span()),
                    format!("`parser` cannot be \"{other}\""),
                    "give \"json\", or \"msgpack\" for clients with socket.io-msgpack-parser",
                ),
            }
        }
        if let Some(path) = file.path {
            match socketio_path(path.get_ref()) {
                Ok(with_slash) => config.path = with_slash,
                Err(way_out) => {
                    self.problem(Some(path.span()), format!("`path` cannot be \"{}\"", path.get_ref()), way_out)
                }
            }
        }
        config.cors = cors(file.cors, file.cors_origins, self.problems);
        file.http.apply(config, self.problems);
        config.per_message_deflate = file.per_message_deflate.and_then(|file| self.deflate(file));
        config.client_files = file.client_files.and_then(|folder| self.client_files(&folder));
        if let Some(cleanup) = file.cleanup_empty_child_namespaces {
            config.cleanup_empty_child_namespaces = cleanup.into_inner();
        }
    }

    fn deflate(&mut self, file: Spanned<Deflate>) -> Option<PerMessageDeflate> {
        let Deflate::On(DeflateOptions { threshold, level }) = file.into_inner() else { return None };
        let mut config = PerMessageDeflate::default();
        self.size("threshold", &threshold, 0..=1 << 30, &mut config.threshold_bytes);
        config.level = self.number("level", &level, 1..=9).unwrap_or(config.level);
        Some(config)
    }

    fn client_files(&mut self, file: &Spanned<String>) -> Option<PathBuf> {
        let folder = self.folders.file.join(file.get_ref());
        match ClientFiles::read(&folder) {
            Ok(_) => Some(folder),
            Err(error) => {
                let way_out = "name the folder `client-dist` of the npm package socket.io, or a copy of it";
                self.problem(Some(file.span()), format!("`client_files`: {error}"), way_out);
                None
            }
        }
    }

    fn fits_a_message(&mut self, config: &Config) {
        let id = roomd_wire::WorkerId { slot: roomd_wire::Slot(0), generation: roomd_wire::Generation(1) };
        let bytes = serde_json::to_vec(&config.for_worker(id, config.workers)).map_or(0, |json| json.len());
        if bytes > MAX_WORKER_CONFIG_BYTES {
            self.problem(
                None,
                format!(
                    "a worker's part of the configuration takes {bytes} bytes, {MAX_WORKER_CONFIG_BYTES} are the most"
                ),
                "put what is large in [app] into a file of its own, and its path into [app]",
            );
        }
    }

    /// A time from `range.start` to `range.end`, both included.
    fn duration(
        &mut self,
        key: &str,
        value: &Option<Spanned<WithUnit>>,
        range: Range<Duration>,
        target: &mut Duration,
    ) {
        let Some(value) = value else { return };
        let duration = value.get_ref().0;
        if range.contains(&duration) || duration == range.end {
            *target = duration;
        } else {
            let message = format!("`{key}` cannot be {}", show_duration(duration));
            let way_out = format!("give from {} to {}", show_duration(range.start), show_duration(range.end));
            self.problem(Some(value.span()), message, way_out);
        }
    }

    fn size(
        &mut self,
        key: &str,
        value: &Option<Spanned<Bytes>>,
        range: std::ops::RangeInclusive<u64>,
        target: &mut u64,
    ) {
        let Some(value) = value else { return };
        let bytes = value.get_ref().0;
        if range.contains(&bytes) {
            *target = bytes;
        } else {
            let way_out = format!("give from {} to {}", show_size(*range.start()), show_size(*range.end()));
            self.problem(Some(value.span()), format!("`{key}` cannot be {}", show_size(bytes)), way_out);
        }
    }

    fn number<T>(&mut self, key: &str, value: &Option<Spanned<Number>>, range: std::ops::RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + std::fmt::Display,
    {
        let value = value.as_ref()?;
        let number = T::try_from(value.get_ref().0).ok().filter(|number| range.contains(number));
        if number.is_none() {
            let way_out = format!("give a number from {} to {}", range.start(), range.end());
            self.problem(Some(value.span()), format!("`{key}` cannot be {}", value.get_ref().0), way_out);
        }
        number
    }
}

/// The token in a file, spaces and line feeds around it left out; or what is wrong, and the way out.
fn read_token(path: &Path) -> Result<Token, (String, String)> {
    let cannot = |error: std::io::Error| {
        (format!("cannot be read: {error}"), "name a file that holds the token and nothing else".to_owned())
    };
    let mut text = String::new();
    let file = open(path).map_err(cannot)?;
    file.take(MAX_TOKEN_FILE_BYTES).read_to_string(&mut text).map_err(cannot)?;
    text.trim().parse().map_err(|way_out: String| ("holds no token".to_owned(), way_out))
}

fn absolute(address: ListenAddress, folder: &Path) -> ListenAddress {
    match address {
        ListenAddress::Unix(path) => ListenAddress::Unix(folder.join(path)),
        tcp => tcp,
    }
}

/// Whether two listeners cannot be bound side by side. Port 0 asks for any free one.
fn overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Unix(one), ListenAddress::Unix(other)) => one == other,
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
            let all = |ip: IpAddr| ip == IpAddr::from([0u8; 16]);
            let same = one.ip() == other.ip()
                || all(one.ip())
                || all(other.ip())
                || (one.is_ipv4() == other.is_ipv4() && (one.ip().is_unspecified() || other.ip().is_unspecified()));
            one.port() != 0 && one.port() == other.port() && same
        }
        _ => false,
    }
}

/// The path in the form in which requests have it: the official server adds the slash at the end too.
fn socketio_path(path: &str) -> Result<String, String> {
    let trimmed = path.trim_end_matches('/');
    if !path.starts_with('/') || path.contains(|c: char| !c.is_ascii_graphic() || matches!(c, '?' | '#' | '%')) {
        return Err("give a path such as \"/socket.io/\"".into());
    }
    match trimmed {
        "" | "/page" => Err("the demo chat's page is there: give a path such as \"/socket.io/\"".into()),
        _ => Ok(format!("{trimmed}/")),
    }
}
