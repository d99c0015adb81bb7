//! The worker's role: what a process does from `Hello` to its end. It is started by the supervisor with the control
//! socket as descriptor 0, and knows nothing but what comes over that.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
    rc::Rc,
    time::Duration,
};

use roomd_wire::{
    BusHealth, Link, LinkError, MAX_HELD, PROTOCOL_VERSION, ToSupervisor, ToWorker, WorkerConfig, WorkerStats,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use thiserror::Error;
use tokio::{
    sync::{oneshot, watch},
    task::LocalSet,
    time::Instant,
};

use crate::{
    bus::LocalFuture,
    control::{Outbox, WorkerLink},
    engine::{Engine, HttpService, Incoming, SessionHandler},
    lag::LoopLag,
    log,
    parent::{Lost, Parent},
    running,
};

/// How often the supervisor hears how this worker does.
const STATS_INTERVAL: Duration = Duration::from_secs(1);
/// How long close frames may take when there is no supervisor any more.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long a worker may take to end by itself once there is no supervisor any more.
const ORPHANED_FOR: Duration = Duration::from_secs(5);

/// What the layers above the engine are built from.
pub struct Setup<'a> {
    /// The worker's configuration.
    pub config: &'a WorkerConfig,
    /// The engine, which takes calls already but has no connections yet.
    pub engine: &'a Engine,
    /// The stream to the embedded bus's hub, if that is the bus.
    pub hub: Option<OwnedFd>,
}

/// The layers above the engine.
pub struct Layers {
    /// Hears of sessions and their messages.
    pub handler: Rc<dyn SessionHandler>,
    /// Answers requests that are not Engine.IO's.
    pub service: HttpService,
    /// How the bus is: the worker is ready with it, and each change is told at once.
    pub bus: watch::Receiver<BusHealth>,
    /// Awaited before the worker is ready; an error in one line is why it cannot start.
    pub start: LocalFuture<Result<(), String>>,
    /// Goes on over another stream to the embedded bus's hub: there is a new one.
    pub rejoin: Box<dyn Fn(OwnedFd)>,
    /// Begins (true) or ends (false) what one worker of the host does.
    pub lead: Box<dyn Fn(bool)>,
    /// Awaited when the last client has gone, within the grace.
    pub stop: LocalFuture<()>,
    /// Writes the figures of these layers into the worker's.
    pub report: Box<dyn Fn(&mut WorkerStats)>,
}

/// Why a worker cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Descriptor 0 is no socket.
    #[error("take the control socket from descriptor 0 (a worker is started by its supervisor, not by hand)")]
    ControlSocket(#[source] io::Error),
    /// The runtime could not be built.
    #[error("start the event loop")]
    Runtime(#[source] io::Error),
    /// The control socket failed.
    #[error("talk with the supervisor")]
    Link(#[from] LinkError),
    /// The supervisor speaks another version.
    #[error(
        "understand the supervisor: it speaks version {theirs} of the protocol, and this worker {PROTOCOL_VERSION}"
    )]
    Version {
        /// Which one.
        theirs: u16,
    },
    /// The supervisor began with another message.
    #[error("understand the supervisor: its first message is not `Start`")]
    NoStart,
    /// A layer above could not be built.
    #[error("{0}")]
    Refused(String),
}

/// Runs a worker to its end. `assemble` builds the layers above the engine, inside the event loop; its error is told to the
/// supervisor in one line.
pub fn run(assemble: impl AsyncFnOnce(Setup<'_>) -> Result<Layers, String>) -> ExitCode {
    continue_when_orphaned();
    let result = take_control_socket().map_err(StartError::ControlSocket).and_then(|socket| {
        end_when_orphaned(&socket).map_err(StartError::ControlSocket)?;
        running::watch(&socket).map_err(StartError::ControlSocket)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)?;
        LocalSet::new().block_on(&runtime, work(socket, assemble))
    });
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "this worker ends");
            ExitCode::FAILURE
        }
    };
    log::finish();
    code
}

/// Asks the system to continue this process when the supervisor dies: a stopped one would not see the end of file.
fn continue_when_orphaned() {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::CONT)) {
        tracing::debug!(%error, "a stopped worker would outlive its supervisor");
    }
}

/// Ends this process some time after the supervisor has, if the event loop, which should, does not come to it: a handler that
/// never returns would keep a core busy for ever. The thread does nothing but wait for the hang-up.
fn end_when_orphaned(socket: &OwnedFd) -> io::Result<()> {
    let socket = socket.try_clone()?;
    let watch = move || {
        loop {
            // A hang-up need not be asked for.
            match poll(&mut [PollFd::new(&socket, PollFlags::empty())], None) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return tracing::warn!(%error, "a hung worker would outlive its supervisor"),
            }
        }
        std::thread::sleep(ORPHANED_FOR);
        // Not `exit`, which would run what the stuck thread may hold locks of.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    };
    std::thread::Builder::new().name("orphan-watch".into()).stack_size(64 * 1024).spawn(watch).map(drop)
}

/// Takes descriptor 0 away from whatever the application may start: a child that inherits it would hold off its end of file.
fn take_control_socket() -> io::Result<OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(io::stdin().as_fd(), 3)?;
    rustix::net::sockopt::socket_type(&socket)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}

/// What [`run`] does, on a control socket and inside a `LocalSet` of the caller's.
///
/// # Errors
/// Where the worker could not start, or the control socket failed.
pub async fn work(
    socket: OwnedFd,
    assemble: impl AsyncFnOnce(Setup<'_>) -> Result<Layers, String>,
) -> Result<(), StartError> {
    let link = Rc::new(WorkerLink::new(socket).map_err(StartError::ControlSocket)?);
    link.send(&ToSupervisor::Hello { protocol: PROTOCOL_VERSION, pid: std::process::id() }, &[]).await?;
    let Some((config, hub)) = receive_start(&link).await? else { return Ok(()) };
    let outbox = Outbox::new(link.clone());
    let mut parent = Parent::new(config.orphan);
    let starting = async {
        let engine = Engine::new(&config, outbox.clone()).map_err(|error| error.to_string())?;
        let mut layers = assemble(Setup { config: &config, engine: &engine, hub }).await?;
        engine.start(layers.handler.clone(), layers.service.clone());
        bus_is_up(&mut layers.bus, Duration::from_millis(config.bus_wait_ms)).await;
        (&mut layers.start).await?;
        Ok((engine, layers))
    };
    // An application may take its time, or wait for ever for what it needs.
    let started = tokio::select! {
        started = starting => started,
        () = told_to_leave(&link, &outbox, &mut parent) => return Ok(()),
    };
    let (engine, layers) = match started {
        Ok(started) => started,
        Err(reason) => {
            link.send(&ToSupervisor::Failed { reason: String::clone(&reason) }, &[]).await?;
            return Err(StartError::Refused(reason));
        }
    };
    outbox.send(ToSupervisor::Ready);
    tokio::task::spawn_local({
        let outbox = outbox.clone();
        async move { outbox.run().await }
    });
    let Layers { bus, report, lead, stop, rejoin, .. } = layers;
    let lag = LoopLag::default();
    tokio::task::spawn_local(lag.clone().measure());
    let reporter = Rc::new(Reporter { engine: engine.clone(), outbox: outbox.clone(), layers: report, lag });
    tokio::task::spawn_local(tell(reporter.clone(), bus));
    Serving { link: &link, engine: &engine, outbox: &outbox, parent, lead, rejoin }.serve(stop).await;
    // What was counted since the last report would be lost.
    reporter.report();
    Ok(())
}

/// Waits until a worker that is not ready yet has no reason to become so: nothing else is said to it until then that matters.
async fn told_to_leave(link: &WorkerLink, outbox: &Outbox, parent: &mut Parent) {
    loop {
        match link.recv().await {
            Ok(None | Some((ToWorker::Drain { .. }, _))) | Err(LinkError::Io(_)) => return,
            Ok(Some((ToWorker::Adopted { supervisor }, _))) => {
                parent.is(supervisor);
                outbox.send(ToSupervisor::Holding { ready: false, draining: false, connections: vec![], more: false });
            }
            Ok(Some(_)) | Err(_) => {}
        }
    }
}

/// `None`: the supervisor is gone already.
async fn receive_start(
    link: &Link<ToSupervisor, ToWorker>,
) -> Result<Option<(Box<WorkerConfig>, Option<OwnedFd>)>, StartError> {
    let mut received = link.recv().await?;
    while let Some((ToWorker::LogFilter { filter }, _)) = &received {
        set_log_filter(filter);
        received = link.recv().await?;
    }
    match received {
        None => Ok(None),
        Some((ToWorker::Start { protocol, config }, descriptors)) => {
            if protocol != PROTOCOL_VERSION {
                let error = StartError::Version { theirs: protocol };
                link.send(&ToSupervisor::Failed { reason: error.to_string() }, &[]).await?;
                return Err(error);
            }
            Ok(Some((config, descriptors.into_iter().next())))
        }
        Some(_) => Err(StartError::NoStart),
    }
}

/// A worker that serves.
struct Serving<'a> {
    link: &'a WorkerLink,
    engine: &'a Engine,
    outbox: &'a Outbox,
    parent: Parent,
    lead: Box<dyn Fn(bool)>,
    rejoin: Box<dyn Fn(OwnedFd)>,
}

impl Serving<'_> {
    /// Does what the supervisor says, until it is gone for good or this worker has been drained.
    async fn serve(mut self, stop: LocalFuture<()>) {
        let (over, mut drained) = oneshot::channel();
        let mut leaving = Some((over, stop));
        let mut short_of_descriptors = false;
        loop {
            let received = tokio::select! {
                received = self.link.recv() => received,
                lost = self.parent.lost() => {
                    if let Some(within) = self.orphaned(lost)
                        && let Some(leaving) = leaving.take()
                    {
                        self.leave(within, leaving);
                    }
                    continue;
                }
                _ = &mut drained => return,
            };
            match received {
                Ok(Some((ToWorker::Drain { within_ms }, _))) => {
                    if let Some(leaving) = leaving.take() {
                        self.leave(Duration::from_millis(within_ms), leaving);
                    }
                }
                Ok(Some((ToWorker::Lead, _))) if leaving.is_some() => (self.lead)(true),
                Ok(Some((ToWorker::Adopted { supervisor }, hub))) => self.adopted(supervisor, hub, leaving.is_none()),
                Ok(Some((message, descriptors))) => {
                    if let ToWorker::Connection { .. } | ToWorker::Relay { .. } = message {
                        note_shortage(&mut short_of_descriptors, descriptors.is_empty());
                    }
                    obey(self.engine, self.outbox, message, descriptors);
                }
                Err(error @ (LinkError::Decode(_) | LinkError::Encode(_) | LinkError::TooLarge(_))) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a message of the supervisor was ignored");
                }
                Ok(None) | Err(LinkError::Io(_)) => {
                    tracing::warn!("the supervisor is gone, and so goes this worker");
                    self.engine.close_all();
                    return tokio::time::sleep(LAST_WORDS).await;
                }
            }
        }
    }

    fn leave(&self, within: Duration, (over, stop): (oneshot::Sender<()>, LocalFuture<()>)) {
        (self.lead)(false);
        self.outbox.send(ToSupervisor::LetGo);
        tokio::task::spawn_local(drain(self.engine.clone(), within, stop, over));
    }

    /// There is no supervisor, but its socket lives on. How long it may take to leave, if it is to.
    fn orphaned(&self, lost: Lost) -> Option<Duration> {
        match lost {
            Lost::Orphaned => {
                self.outbox.set_orphaned(true);
                tracing::warn!(within = ?self.parent.timeout(), "the supervisor is gone: serving on until another one takes over");
                None
            }
            Lost::Alone => {
                tracing::warn!("no supervisor has taken over, and so goes this worker");
                Some(self.parent.grace())
            }
        }
    }

    fn adopted(&mut self, supervisor: u32, hub: Vec<OwnedFd>, draining: bool) {
        tracing::debug!(supervisor, "another supervisor process has taken over");
        self.parent.is(supervisor);
        self.outbox.set_orphaned(false);
        if let Some(stream) = hub.into_iter().next() {
            (self.rejoin)(stream);
        }
        let held = self.engine.connections();
        let mut chunks = held.chunks(MAX_HELD).peekable();
        loop {
            let connections = chunks.next().unwrap_or_default().to_vec();
            let more = chunks.peek().is_some();
            self.outbox.send(ToSupervisor::Holding { ready: true, draining, connections, more });
            if !more {
                break;
            }
        }
    }
}

/// Logs once when descriptors run out, and once when there are some again.
fn note_shortage(short: &mut bool, now: bool) {
    match (std::mem::replace(short, now), now) {
        (false, true) => {
            tracing::error!("cannot take connections: raise the limit on open files (LimitNOFILE, ulimit -n)");
        }
        (true, false) => tracing::info!("connections are taken again"),
        _ => {}
    }
}

async fn drain(engine: Engine, within: Duration, stop: LocalFuture<()>, over: oneshot::Sender<()>) {
    let end = Instant::now() + within;
    engine.drain(within).await;
    if tokio::time::timeout_at(end, stop).await.is_err() {
        tracing::warn!("the application has not come to its end within the grace");
    }
    // Nobody listens if the supervisor has gone meanwhile.
    let _ = over.send(());
}

fn obey(engine: &Engine, outbox: &Outbox, message: ToWorker, descriptors: Vec<OwnedFd>) {
    let descriptor = descriptors.into_iter().next();
    match (message, descriptor) {
        (ToWorker::Connection { id, peer, moved, read }, Some(socket)) => {
            engine.accept(Incoming { id, peer, moved, read, socket });
        }
        (ToWorker::Relay { from: _, newcomer }, Some(socket)) => engine.accept_relay(socket, newcomer),
        // No descriptor was left for it. That this connection ends before it was accepted tells the supervisor so.
        (ToWorker::Connection { id, .. }, None) => outbox.send(ToSupervisor::Closed { id }),
        // The same; the worker at its other end sees the stream close.
        (ToWorker::Relay { .. }, None) => {}
        (ToWorker::LogFilter { filter }, _) => set_log_filter(&filter),
        (ToWorker::Ping { nonce }, _) => outbox.send(ToSupervisor::Pong { nonce }),
        (message, _) => tracing::warn!(received = ?message, "a message of the supervisor makes no sense here"),
    }
}

fn set_log_filter(filter: &str) {
    match log::set_filter(filter) {
        Ok(()) => tracing::debug!(filter, "another filter for the log"),
        Err(error) => tracing::warn!(filter, %error, "the log's filter was not changed"),
    }
}

/// Waits until a message has come back over the bus: then it is subscribed to all that was wanted before, and a client that
/// connects misses nothing. A bus that is away holds nobody up for longer than `within`.
async fn bus_is_up(bus: &mut watch::Receiver<BusHealth>, within: Duration) {
    if tokio::time::timeout(within, bus.wait_for(|health| health.up)).await.is_err() {
        let reason = &bus.borrow().reason;
        tracing::debug!(?within, error = %reason, "the bus is not up yet: clients are served without it until it is");
    }
}

/// Tells the supervisor how this worker does: every second, and when its bus comes up or goes down.
async fn tell(reporter: Rc<Reporter>, mut bus: watch::Receiver<BusHealth>) {
    let mut interval = tokio::time::interval(STATS_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            Ok(()) = bus.changed() => {}
        }
        reporter.report();
    }
}

/// Tells the supervisor how this worker does at this moment.
struct Reporter {
    engine: Engine,
    outbox: Outbox,
    layers: Box<dyn Fn(&mut WorkerStats)>,
    lag: LoopLag,
}

impl Reporter {
    fn report(&self) {
        log::tick();
        if self.outbox.is_behind() {
            // Old figures are not worth waiting in line.
            return;
        }
        let mut stats = WorkerStats::default();
        (self.layers)(&mut stats);
        self.engine.report(&mut stats);
        stats.counters.log_lines_suppressed = log::suppressed();
        stats.timings.loop_lag = self.lag.histogram();
        self.outbox.send(ToSupervisor::Stats(Box::new(stats)));
    }
}
