//! `roomd up`: binds everything, then hands over to the supervise loop.

use std::{
    fmt::Display,
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
    pin::pin,
    rc::Rc,
};

use roomd_balancer::{ListenAddress, ListenError, Listener};
use roomd_wire::BusConfig;
use tokio::{runtime, task::JoinSet};

use crate::{
    Cluster,
    admin::Admin,
    cli::{self, Failure},
    command::{CommandError, Commands},
    config::{Config, Problems, SharedToken, Sources, redact_redis_url},
    control::{self, ControlSocket},
    inherit::{Heirloom, Previous, TookOver},
    limits, logging, supervise,
    systemd::{
        Inherited, Keep, Notifier, Passed, PassedSocket, Public, STORED, STORED_ADMIN, STORED_CONTROL, ServiceManager,
        Store,
    },
};

/// Runs the cluster until it is stopped; `inherited` is what this process was started with, `previous` the program that it was before,
/// and `took_over` what that had in hand.
pub fn up(
    sources: Sources,
    inherited: Inherited,
    took_over: Option<TookOver>,
    previous: Option<Rc<Previous>>,
) -> Result<(), Failure> {
    let config = sources.load()?;
    let sources = sources.with_the_file_named();
    // One thread for all that the supervisor does; the hub has its own.
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::runtime)?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(run(sources, config, inherited, took_over, previous)))
}

async fn run(
    sources: Sources,
    config: Config,
    mut inherited: Inherited,
    took_over: Option<TookOver>,
    previous: Option<Rc<Previous>>,
) -> Result<(), Failure> {
    logging::configure(&config.log);
    let descriptors = limits::raise_descriptors();
    let notifier = Notifier::of_process();
    let store = Store::new(notifier.clone());
    let mut passed = Passed::of(&mut inherited, &store)
        .map_err(|error| wrong_unit(error, "clients come by ListenStream=, with Accept=no"))?;
    let name = |passed: &Option<PassedSocket>, else_: &str| {
        passed.as_ref().map_or_else(|| else_.to_owned(), |passed| passed.name.clone())
    };
    let (control_name, admin_name) = (name(&passed.control, STORED_CONTROL), name(&passed.admin, STORED_ADMIN));
    let control = control_socket(&config.control, passed.control.take(), &store)?;
    let admin = admin_listener(config.admin, passed.admin.take(), &store)?;
    let admin_url = admin.as_ref().map(|admin| format!("http://{}", admin.address()));
    let listeners = passed.public(&config.listen, &store).into_iter().map(|public| listener(public, &store));
    let (names, listeners): (Vec<_>, Vec<_>) = listeners.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let heirloom = Heirloom::take(&mut inherited, took_over, &store);
    inherited.close_rest(&store);
    let mut passing = Vec::new();
    let mut pass = |name: &str, socket: BorrowedFd<'_>| {
        passing.push((name.to_owned(), socket.try_clone_to_owned().map_err(Failure::runtime)?));
        Ok::<_, Failure>(())
    };
    names.iter().zip(&listeners).try_for_each(|(name, listener)| pass(name, listener.as_fd()))?;
    control.socket().map_or(Ok(()), |socket| pass(&control_name, socket))?;
    admin.as_ref().map_or(Ok(()), |admin| pass(&admin_name, admin.as_fd()))?;
    let addresses: Vec<ListenAddress> = listeners.iter().filter_map(|listener| listener.local_address().ok()).collect();
    let line = start_line(&config, &addresses, admin_url.as_deref());
    if !logging::say(tracing::Level::INFO, &line) {
        cli::print(&line);
    }
    // Now that nothing is left to fail with an error of its own: that is then the only line.
    if let Some(limit) = descriptors {
        tell_of_few_descriptors(limit, &config);
    }

    if let Some(note) = config.admin_nobody_may_use() {
        tracing::warn!("{note}");
    }

    let (commands, receiver) = Commands::channel();
    let admin_token = SharedToken::from(config.admin_token.clone());
    let mut services = JoinSet::new();
    services.spawn_local(control::serve(control, commands.clone()));
    if let Some(admin) = admin {
        services.spawn_local(admin.serve(commands, admin_token.clone()));
    }
    services.spawn_local(tell_what_was_suppressed());
    let cluster = Cluster {
        config,
        load: Box::new(move |running| reload(&sources, running)),
        listeners,
        listening: addresses.iter().map(ListenAddress::to_string).collect(),
        admin: admin_url,
        admin_token,
        commands: receiver,
        service: ServiceManager::new(notifier),
        store,
        passing,
        heirloom,
        previous,
    };
    let mut supervise = pin!(supervise::run(cluster));
    loop {
        tokio::select! {
            ended = &mut supervise => return ended.map_err(Failure::runtime),
            Some(ended) = services.join_next() => {
                // The clients are served on: what is lost is the way to ask and to command.
                tracing::error!(?ended, "the control socket or the admin listener has ended by itself");
            }
        }
    }
}

/// A line that tells how many were left out comes when it is time, even if nothing more is logged.
async fn tell_what_was_suppressed() -> std::io::Result<()> {
    loop {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        roomd_worker::log::tick();
    }
}

/// A socket unit that is not mended by trying again.
fn wrong_unit(problem: impl Display, way_out: &str) -> Failure {
    Problems::one("the socket unit", problem.to_string(), way_out).into()
}

/// One of the listeners for clients. What is bound here is put into the store, so that a restart refuses nobody.
fn listener(public: Public, store: &Store) -> Result<(String, Listener), Failure> {
    match public {
        Public::Passed(PassedSocket { name, address, socket }) => {
            let mut listener = Listener::adopt(socket).map_err(|error| {
                Failure::Runtime(format!("cannot serve on {address}, passed as \"{name}\": {error}"))
            })?;
            match name.starts_with(STORED) && !store.is_there() {
                // There is no store: the program that this process was before has bound it.
                true => listener.own(),
                false => listener.keep(),
            }
            Ok((name, listener))
        }
        Public::Bind(address, name) => {
            let mut listener =
                bind(&address).map_err(|error: ListenError| Failure::Runtime(format!("failed to {error}")))?;
            if store.is_there() {
                store.keep(&name, &listener, Keep::UntilRemoved);
                listener.keep();
            }
            Ok((name, listener))
        }
    }
}

fn bind(address: &ListenAddress) -> Result<Listener, ListenError> {
    match (Listener::bind(address), address) {
        // "All addresses" includes those of a host without IPv6.
        (Err(ListenError::Refused { error, .. }), ListenAddress::Tcp(all))
            if error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) && all.ip().is_unspecified() =>
        {
            Listener::bind(&ListenAddress::Tcp((Ipv4Addr::UNSPECIFIED, all.port()).into()))
        }
        (bound, _) => bound,
    }
}

fn control_socket(path: &Path, passed: Option<PassedSocket>, store: &Store) -> Result<ControlSocket, Failure> {
    match passed {
        Some(passed) if passed.address == ListenAddress::Unix(path.to_owned()) => {
            let ours = passed.is_stored() && !store.is_there();
            let mut control = ControlSocket::adopt(path, passed.socket).map_err(Failure::runtime)?;
            if ours {
                control.own();
            }
            return Ok(control);
        }
        Some(passed) if passed.is_stored() => passed.forget(store),
        // Every command would look for it elsewhere.
        Some(PassedSocket { name, address, .. }) => {
            return Err(wrong_unit(
                format!("descriptor \"{name}\" is at {address}, but the control socket is {}", path.display()),
                "let both be the same, by [cluster] control or --control",
            ));
        }
        None => {}
    }
    let mut control = ControlSocket::bind(path).map_err(Failure::runtime)?;
    if let Some(socket) = control.socket().filter(|_| store.is_there()) {
        store.keep(STORED_CONTROL, socket, Keep::UntilRemoved);
        control.keep();
    }
    Ok(control)
}

fn admin_listener(
    wanted: Option<SocketAddr>,
    passed: Option<PassedSocket>,
    store: &Store,
) -> Result<Option<Admin>, Failure> {
    let fits = |passed: &PassedSocket| wanted.is_some_and(|wanted| passed.serves(&ListenAddress::Tcp(wanted)));
    match (wanted, passed) {
        (_, Some(passed)) if passed.is_stored() && !fits(&passed) => passed.forget(store),
        (None, Some(PassedSocket { name, address, .. })) => {
            return Err(wrong_unit(
                format!("descriptor \"{name}\" is at {address}, but the admin endpoints are off"),
                "take it out of the unit, or the \"off\" out of [admin] listen",
            ));
        }
        (Some(_), Some(PassedSocket { name, address, socket })) => {
            let admin = Admin::adopt(socket).map_err(|error| {
                Failure::Runtime(format!("the admin endpoints cannot be at {address}, passed as \"{name}\": {error}"))
            });
            return admin.map(Some);
        }
        (_, None) => {}
    }
    let Some(address) = wanted else { return Ok(None) };
    let admin = Admin::bind(address).map_err(Failure::runtime)?;
    store.keep(STORED_ADMIN, &admin, Keep::UntilRemoved);
    Ok(Some(admin))
}

/// The configuration for a reload.
fn reload(sources: &Sources, running: &Config) -> Result<Config, CommandError> {
    let new = sources
        .load()
        .map_err(|problems| CommandError::Config { first: problems.first(), others: problems.count() - 1 })?;
    match sources.needs_restart(&new, running) {
        Some(what) => Err(CommandError::NeedsRestart { what }),
        None => Ok(new),
    }
}

/// What `up` prints at its start: all that a person needs to go on.
fn start_line(config: &Config, listeners: &[ListenAddress], admin_url: Option<&str>) -> String {
    let page = listeners.iter().find_map(page_url).map_or_else(String::new, |url| format!("open {url} · "));
    let listening: Vec<String> = listeners.iter().map(ListenAddress::to_string).collect();
    let bus = match &config.bus {
        BusConfig::Embedded => "embedded".into(),
        BusConfig::Redis { url } => redact_redis_url(url),
    };
    let workers = if config.workers == 1 { "1 worker".into() } else { format!("{} workers", config.workers) };
    format!(
        "roomd {}: {page}listening on {} · {workers} · bus {bus} · admin {} · control {}",
        env!("CARGO_PKG_VERSION"),
        listening.join(", "),
        admin_url.unwrap_or("off"),
        config.control.display()
    )
}

/// Where a browser on this host finds the page.
fn page_url(address: &ListenAddress) -> Option<String> {
    match address {
        ListenAddress::Tcp(address) if address.ip().is_unspecified() => {
            Some(format!("http://localhost:{}", address.port()))
        }
        ListenAddress::Tcp(address) => Some(format!("http://{address}")),
        ListenAddress::Unix(_) => None,
    }
}

fn tell_of_few_descriptors(limit: u64, config: &Config) {
    let per_worker = u64::from(config.max_connections) / u64::from(config.workers);
    if limit < per_worker {
        tracing::info!(
            limit,
            max_connections = config.max_connections,
            workers = config.workers,
            "fewer descriptors than connections: raise the hard limit (ulimit -Hn, LimitNOFILE), or lower `max_connections`"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn the_start_is_one_line_with_all_that_one_needs() {
        let mut config = Config::with_defaults("/run/c.sock".into(), 2);
        let line = start_line(&config, &config.listen, Some("http://127.0.0.1:3900"));
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            line,
            format!(
                "roomd {version}: open http://127.0.0.1:3000 · listening on 127.0.0.1:3000 · 2 workers · bus embedded · \
                 admin http://127.0.0.1:3900 · control /run/c.sock"
            )
        );
        config.bus = BusConfig::Redis { url: "redis://u:secret@h".into() };
        let listeners = [ListenAddress::Unix("/run/h.sock".into()), ListenAddress::Tcp(SocketAddr::from(([0; 8], 80)))];
        let line = start_line(&config, &listeners, None);
        assert_eq!(
            line,
            format!(
                "roomd {version}: open http://localhost:80 · listening on unix:/run/h.sock, [::]:80 · 2 workers · \
                 bus redis://u:***@h · admin off · control /run/c.sock"
            )
        );
    }
}
