//! The supervise loop: one task that owns the slots and decides.
//!
//! Everything that happens becomes one call of a synchronous handler (a worker's word, a command, a signal, time), and then the
//! [`Fleet`]'s actions are carried out. `words` hears the workers, `change` goes through several slots, `drain` takes one out of
//! service, `recycle` replaces workers that grow too large, `bus` watches the bus, `report` makes the status, `service` tells the
//! service manager. `upgrade` makes this process another program, and `takeover` goes on where an earlier supervisor was.

mod bus;
mod change;
mod drain;
mod figures;
mod hub;
mod log;
mod recycle;
mod report;
mod service;
mod signals;
mod takeover;
mod upgrade;
mod words;

use std::{
    collections::{HashMap, HashSet},
    os::fd::OwnedFd,
    time::Instant,
};

use nix::sys::signal::Signal;
use roomd_balancer::Balancer;
use roomd_wire::{Slot, ToWorker, WorkerId};
use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_local},
};

use crate::{
    Cluster, Load,
    audit::{Asker, Audit},
    command::{Command, CommandError, Killed},
    config::{Config, SharedToken},
    hub::HubHandle,
    inherit::STATE,
    last_words::telling,
    lead::Lead,
    reaper::reap_orphans,
    recycle::Recycler,
    slot::{Action, Ended, Fleet, Pause, Phase, RunEvent, Timing},
    status::{ClusterState, Death, DeathCause, WorkerState},
    systemd::{ServiceManager, Store},
    worker::{Program, Worker, WorkerEvents},
};
use bus::BusWatch;
use change::UnderWay;
use drain::Drains;
use figures::Figures;
use hub::start_hub;
use signals::{Received, Signals};
use takeover::{Arrival, Legacy};
use upgrade::Upgrade;

/// How many words of all workers may wait for the loop.
const WORDS_WAITING: usize = 1024;

/// Why a cluster that had started ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// No worker could start, and none had been ready before.
    #[error("no worker can start: {reason}")]
    NoWorkerCanStart {
        /// The worker's own words, or what happened to it.
        reason: String,
    },
    /// The system refused something that the supervisor cannot do without.
    #[error("could not {what}: {error}")]
    System {
        /// What it was for, behind "could not".
        what: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
}

struct Supervisor {
    config: Config,
    load: Load,
    /// The number of workers that the configuration named when it was last read.
    named_workers: u16,
    admin_token: SharedToken,
    listening: Vec<String>,
    admin: Option<String>,
    started: Instant,
    state: ClusterState,
    fleet: Fleet,
    lead: Lead,
    workers: HashMap<WorkerId, Worker>,
    deaths: HashMap<Slot, (Death, Instant)>,
    program: Program,
    balancer: std::rc::Rc<Balancer>,
    /// Before the hub, so that it goes first: it would take the hub's end for a fault.
    bus: BusWatch,
    hub: Option<HubHandle>,
    events: WorkerEvents,
    under_way: Option<UnderWay>,
    drains: Drains,
    recycler: Recycler,
    relays: u64,
    hopeless: Option<String>,
    service: ServiceManager,
    /// When the workers are told to leave, if a stop has begun and lets in who was accepted before.
    leaving_at: Option<Instant>,
    figures: Figures,
    store: Store,
    /// What listens, for the next program.
    passing: Vec<(String, OwnedFd)>,
    legacy: Legacy,
    /// An upgrade that was asked for.
    upgrading: Option<Upgrade>,
    /// Where it is told whether the new program can take over.
    checked: mpsc::Sender<Result<String, String>>,
    /// An upgrade that has brought this program here.
    arrival: Option<Arrival>,
}

/// Runs the cluster until it is stopped: by a command or by a signal.
pub async fn run(cluster: Cluster) -> Result<(), SuperviseError> {
    let Cluster {
        config, load, listeners, listening, admin, admin_token, mut commands, service, store, passing, ..
    } = cluster;
    let (mut heirloom, previous) = (cluster.heirloom, cluster.previous);
    let (events, mut from_workers) = mpsc::channel(WORDS_WAITING);
    let frozen = heirloom.as_mut().and_then(|heirloom| heirloom.took_over.as_mut()?.hub.take());
    let (hub, mut hub_events) = start_hub(&config.bus, frozen)?;
    let (checked, mut checks) = mpsc::channel(1);
    let bus = BusWatch::start(&config.bus, hub.as_ref()).map_err(system("watch the bus"))?;
    let mut bus_changes = bus.changes();
    let mut signals = Signals::new().map_err(system("listen for signals"))?;
    let balancer = Balancer::new(config.for_balancer());
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn_local(balancer.clone().serve(listener));
    }
    let mut supervisor = Supervisor {
        fleet: Fleet::new(timing(&config), fastrand::Rng::new()),
        lead: Lead::default(),
        program: Program::of_this_process().map_err(system("find the program's own file"))?,
        state: ClusterState::Starting,
        started: Instant::now(),
        workers: HashMap::new(),
        deaths: HashMap::new(),
        under_way: None,
        drains: Drains::default(),
        recycler: Recycler::default(),
        named_workers: config.workers,
        relays: 0,
        hopeless: None,
        config,
        load,
        listening,
        admin,
        admin_token,
        balancer,
        hub,
        bus,
        events,
        service,
        leaving_at: None,
        figures: Figures::start(),
        store,
        passing,
        legacy: Legacy { memory: None, run: 1, changed: true },
        upgrading: None,
        checked,
        arrival: None,
    };
    match heirloom {
        Some(heirloom) => supervisor.take_over(heirloom),
        None => {
            supervisor.begin_legacy();
            supervisor.fleet.resize(supervisor.config.workers, Instant::now());
        }
    }
    if let Some(previous) = previous {
        // Nothing is left to fail: from here on there is no way back.
        previous.taken_over();
    }
    loop {
        supervisor.settle();
        supervisor.arrived();
        supervisor.settle();
        supervisor.leave_word();
        supervisor.tell_service_manager();
        if supervisor.state == ClusterState::Stopping && supervisor.fleet.has_ended() {
            break;
        }
        let others =
            [supervisor.service.poll_timeout(), supervisor.leaving_at, supervisor.arrival_timeout(), log::due()];
        let due = supervisor.fleet.poll_timeout().into_iter().chain(others.into_iter().flatten()).min();
        tokio::select! {
            Some((id, event)) = from_workers.recv() => supervisor.worker_event(id, event),
            Some(command) = commands.recv() => supervisor.command(command),
            signal = signals.next() => supervisor.signalled(signal),
            Some(answer) = checks.recv() => supervisor.checked(answer, &mut from_workers, &mut commands, &signals).await,
            Some(event) = hub_events.next() => supervisor.hub_event(event),
            Ok(()) = bus_changes.changed() => supervisor.bus.note_change(),
            Some(ended) = accepting.join_next(), if supervisor.state != ClusterState::Stopping => {
                tracing::error!(?ended, "a listener has ended by itself");
            }
            () = sleep_until(due) => {
                supervisor.tick();
                supervisor.tick_log();
            }
        }
    }
    for id in supervisor.workers.keys() {
        tracing::error!(worker = %id, "left behind: it was killed, but does not end");
    }
    // The next start begins anew.
    supervisor.store.remove(STATE);
    tracing::info!("stopped");
    match supervisor.hopeless {
        Some(reason) => Err(SuperviseError::NoWorkerCanStart { reason }),
        None => Ok(()),
    }
}

impl Supervisor {
    /// Carries out what was decided, until nothing is left to do.
    fn settle(&mut self) {
        loop {
            while let Some(action) = self.fleet.poll_action() {
                self.act(action);
            }
            match self.fleet.poll_outcome() {
                Some(outcome) => self.outcome(&outcome),
                None => break,
            }
        }
        self.tell_drained();
        if self.state == ClusterState::Starting && self.fleet.ever_ready() {
            self.state = ClusterState::Running;
        }
        if self.state == ClusterState::Starting && self.fleet.hopeless() {
            let newest = self.deaths.values().max_by_key(|(_, at)| *at).map(|(death, _)| death);
            self.hopeless = Some(newest.map_or_else(String::new, own_words));
            self.stop();
            self.settle();
        }
    }

    fn act(&mut self, action: Action) {
        self.legacy.changed |= !matches!(action, Action::SendPing(_));
        match action {
            Action::Spawn(id) => self.spawn(id),
            Action::SendPing(id) => self.tell(id, ToWorker::Ping { nonce: 0 }),
            Action::SendDrain(id, within) => {
                tracing::info!(worker = %id, ?within, "draining");
                self.tell(id, ToWorker::Drain { within_ms: within.as_millis() as u64 });
            }
            Action::TermGroup(id) => self.signal_group(id, &[Signal::SIGTERM, Signal::SIGCONT]),
            Action::KillGroup(id) => {
                tracing::info!(worker = %id, "killing");
                self.signal_group(id, &[Signal::SIGKILL]);
            }
            Action::AddToBalancer(id) => self.serves(id),
            Action::DrainInBalancer(id) => {
                self.balancer.drain_worker(id);
                self.lead.leaves(id);
            }
            Action::RemoveFromBalancer(id) => {
                self.balancer.remove_worker(id);
                if let Some(hub) = &self.hub {
                    hub.remove_worker(id);
                }
            }
            Action::Report(ended) => self.report_end(ended),
            Action::ReportPause(pause) => report_pause(&pause),
        }
    }

    /// A worker takes connections.
    fn serves(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get(&id) {
            self.balancer.add_worker(id, worker.link.clone());
        }
        let leader = self.lead.ready(id);
        self.appoint(leader);
    }

    fn spawn(&mut self, id: WorkerId) {
        match self.program.start(id, &self.balancer, &self.events) {
            Ok(worker) => {
                tracing::info!(worker = %id, pid = worker.pid, "started");
                self.workers.insert(id, worker);
                self.store_worker(id);
            }
            Err(error) => self.fleet.handle(
                id,
                RunEvent::SpawnFailed(format!("cannot start {}: {error}", self.program)),
                Instant::now(),
            ),
        }
    }

    fn tell(&self, id: WorkerId, message: ToWorker) {
        if let Some(worker) = self.workers.get(&id) {
            worker.tell(message);
        }
    }

    fn signal_group(&self, id: WorkerId, signals: &[Signal]) {
        if let Some(worker) = self.workers.get(&id) {
            signals.iter().for_each(|&signal| worker.signal_group(signal));
        }
    }

    fn appoint(&self, leader: Option<WorkerId>) {
        if let Some(id) = leader {
            tracing::debug!(worker = %id, "does what the host does once");
            self.tell(id, ToWorker::Lead);
        }
    }

    fn report_end(&mut self, ended: Ended) {
        let Ended { id, death } = ended;
        self.forget_stored(id);
        let leader = self.lead.stopped(id);
        self.appoint(leader);
        self.figures.ledger.ended(id);
        let Some(worker) = self.workers.remove(&id) else {
            if let Some((cause, detail)) = death {
                tracing::error!(worker = %id, %cause, %detail, "could not be started");
                self.remember_death(id, 0, cause, detail, Vec::new());
            }
            return;
        };
        let Some((cause, detail)) = death else {
            return tracing::info!(worker = %id, pid = worker.pid, "ended as asked");
        };
        let detail = match worker.busy_with.take() {
            Some(handler) if cause == DeathCause::Hang => format!("{detail}, busy with the handler of {handler}"),
            _ => detail,
        };
        let last_words = worker.last_words.borrow();
        tracing::error!(worker = %id, pid = worker.pid, %cause, %detail, last_words = last_words.telling(), "died");
        self.remember_death(id, worker.pid, cause, detail, last_words.lines());
    }

    fn remember_death(&mut self, id: WorkerId, pid: u32, cause: DeathCause, detail: String, last_words: Vec<String>) {
        let death = Death { generation: id.generation, pid, cause, detail, ago_s: 0.0, last_words };
        self.deaths.insert(id.slot, (death, Instant::now()));
    }

    fn signalled(&mut self, signal: Received) {
        match signal {
            Received::Stop if self.state == ClusterState::Stopping => {
                tracing::warn!("a second signal: ending all workers at once");
                self.leave(Instant::now());
                self.fleet.kill_all(Instant::now());
            }
            Received::Stop => {
                Audit::begin(Asker::Signal, "stop", String::new()).done();
                self.stop();
            }
            Received::Reload => {
                // The log hears the outcome, whoever asked.
                let (reply, answer) = tokio::sync::oneshot::channel();
                let audit = Audit::begin(Asker::Signal, "reload", String::new());
                self.reload(1, reply);
                if !matches!(self.under_way, Some(UnderWay::Reload { .. })) {
                    self.service.reload_refused();
                }
                spawn_local(async move {
                    match answer.await {
                        Ok(Ok(_)) => audit.done(),
                        Ok(Err(error)) => audit.failed(error),
                        Err(_ended) => {}
                    }
                });
            }
            Received::ChildEnded => self.reap(),
        }
    }

    fn reap(&self) {
        // The new program that is asked is none of the workers, but has to be waited for.
        if std::process::id() == 1 && self.upgrading.is_none() {
            reap_orphans(&self.workers.values().map(|worker| worker.pid).collect::<HashSet<_>>());
        }
    }

    fn command(&mut self, command: Command) {
        self.legacy.changed |= !matches!(command, Command::Status(_));
        // An answer that nobody waits for any more is dropped.
        match command {
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::Reload(parallel, reply) => self.reload(parallel, reply),
            Command::Upgrade { binary, asker, reply } => self.upgrade(binary, asker, reply),
            Command::Scale(workers, reply) => self.scale(workers, reply),
            Command::Drain { slot, force, reply } => self.drain(slot, force, reply),
            Command::Undrain(slot, reply) => self.undrain(slot, reply),
            Command::Stop(reply) => {
                self.stop();
                drop(reply.send(Ok(())));
            }
            Command::Log(order, reply) => drop(reply.send(self.order_log(&order))),
            Command::Kill { slot, signal, reply } => drop(reply.send(self.kill(slot, signal))),
            Command::Publish(what, reply) => {
                tracing::debug!(channel = what.channel, bytes = what.payload.len(), "publishing an order to clients");
                let published = self.bus.publish(what);
                spawn_local(async move { reply.send(published.await.map_err(CommandError::Publish)) });
            }
        }
    }

    fn stop(&mut self) {
        if self.state != ClusterState::Stopping {
            tracing::info!(grace = ?self.config.grace, "stopping");
            self.state = ClusterState::Stopping;
            self.balancer.stop();
            self.passing.clear();
            self.let_in_and_leave(Instant::now());
            self.abandon(&CommandError::Stopping);
            self.drains.refuse(&CommandError::Stopping);
        }
    }

    fn kill(&self, place: Slot, signal: Signal) -> Result<Killed, CommandError> {
        if self.state == ClusterState::Stopping {
            return Err(CommandError::Stopping);
        }
        let slots = self.config.workers;
        let slot = self.fleet.slot(place).filter(|_| place.0 < slots);
        let slot = slot.ok_or(CommandError::NoSuchSlot { slot: place, slots })?;
        let worker = slot.current().and_then(|run| self.workers.get(&run.id()));
        let worker = worker.ok_or(CommandError::NoWorker { slot: place, state: slot.empty_state().as_str() })?;
        let pid = worker.pid;
        tracing::info!(slot = %place, pid, %signal, "signalling a worker, as asked");
        worker.signal(signal).map_err(|error| CommandError::Signal {
            signal: signal.as_str(),
            pid,
            error: error.to_string(),
        })?;
        Ok(Killed { pid })
    }
}

fn report_pause(Pause { slot, state, deaths, pause }: &Pause) {
    match state {
        WorkerState::Failed => {
            tracing::error!(%slot, deaths, again_in = ?pause, "failed: its workers die one after the other")
        }
        _ => tracing::warn!(%slot, deaths, again_in = ?pause, "backing off"),
    }
}

/// What happened to a worker, with its own last words where it wrote any.
fn own_words(death: &Death) -> String {
    match telling(death.last_words.iter().map(String::as_str)) {
        Some(words) if !death.detail.contains(words) => format!("{} (it wrote: {words})", death.detail),
        _ => death.detail.clone(),
    }
}

/// For ever without a time.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> SuperviseError {
    move |error| SuperviseError::System { what, error }
}

fn timing(config: &Config) -> Timing {
    let timing = Timing::new(config.start_timeout, config.hang_timeout, config.grace);
    Timing { confirm: config.confirm_time, ..timing }
}
