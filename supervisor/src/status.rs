//! What runs, as the supervise loop tells it: the JSON of `roomd status --json` and `/status`, from which the table and
//! the metrics are made too. Fields may be added; what `roomd status --json` promised stays.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use roomd_balancer::BalancerStats;
use roomd_wire::{BusyRoom, Generation, Histogram, RedisFigures, Slot, WorkerCounters, WorkerTimings};
use serde::{Deserialize, Serialize};

pub use crate::process_figures::ProcessFigures;

/// The whole cluster at one moment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The supervisor itself.
    pub supervisor: SupervisorStatus,
    /// Every worker process, by slot; a slot whose old worker drains beside the new one has two.
    pub workers: Vec<WorkerStatus>,
    /// How rooms are kept in sync.
    pub bus: BusStatus,
    /// Where clients connect.
    pub listeners: Vec<String>,
    /// Where the admin endpoints are, if they are on.
    pub admin: Option<String>,
    /// The control socket.
    pub control: PathBuf,
    /// What the balancer counted.
    pub balancer: BalancerStatus,
    /// What was counted in each slot by all its workers so far, also in slots that have none any more: no figure in it ever falls
    /// while the supervisor runs.
    #[serde(default)]
    pub slots: Vec<SlotStatus>,
    /// The rooms that most packets go to lately, over all workers, the busiest first; at most ten.
    #[serde(default)]
    pub busiest_rooms: Vec<BusyRoom>,
}

/// What all workers of a slot have counted and timed, those that have ended too.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SlotStatus {
    /// Which slot.
    pub slot: Slot,
    /// How often its worker was started again after it died, by cause.
    pub restarts_by_cause: BTreeMap<DeathCause, u64>,
    /// How often it was replaced for its memory.
    #[serde(default)]
    pub recycled: u64,
    /// What they counted.
    pub counters: WorkerCounters,
    /// What they timed.
    pub timings: WorkerTimings,
    /// From the start of a worker to its being ready.
    pub starts: Histogram,
    /// CPU time that they used, in seconds.
    #[serde(default)]
    pub cpu_s: f64,
}

/// How late an event loop was in the last ten seconds, in milliseconds: what half of all samples, and 99 of 100, were not later
/// than. None where there are no samples.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Lag {
    /// Half of them.
    pub p50_ms: Option<f64>,
    /// 99 of 100.
    pub p99_ms: Option<f64>,
}

/// The supervisor process.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SupervisorStatus {
    /// Its process id.
    pub pid: u32,
    /// The program's version.
    pub version: String,
    /// How long it has run.
    pub uptime_s: f64,
    /// What it is doing.
    pub state: ClusterState,
    /// How many workers are wanted: one for each slot that is not drained.
    pub wanted_workers: u16,
    /// How far a change of the workers is that is under way.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// Its resident memory, if the kernel tells it.
    pub rss_bytes: Option<u64>,
    /// What else the kernel tells of its process.
    #[serde(default)]
    pub process: ProcessFigures,
    /// How late its event loop was lately.
    #[serde(default)]
    pub lag: Lag,
    /// The same since its start.
    #[serde(default)]
    pub loop_lag: Histogram,
    /// Lines of the log that were left out, as one cause or one worker wrote too many, or that nobody read. What a worker left out
    /// by itself is among its counters.
    #[serde(default)]
    pub log_lines_suppressed: u64,
    /// How often somebody was turned away who may not ask or order.
    #[serde(default)]
    pub refused_operators: u64,
}

/// How far a change is that goes through the slots.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// What it is, such as "a reload".
    pub what: String,
    /// New workers that serve.
    pub done: u16,
    /// Of so many.
    pub of: u16,
}

/// What the cluster as a whole is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterState {
    /// No worker has been ready yet.
    Starting,
    /// The usual state.
    Running,
    /// Workers are being replaced, or their number is being changed.
    Reloading,
    /// It ends.
    Stopping,
}

/// One worker process, or a slot without one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// The place it fills.
    pub slot: Slot,
    /// Which run of the place; in `backoff` and `failed` the run that ended last.
    pub generation: Generation,
    /// The process; none in `backoff` and `failed`.
    pub pid: Option<u32>,
    /// Where in its life it is.
    pub state: WorkerState,
    /// Whether it does what the host does once.
    #[serde(default)]
    pub leads: bool,
    /// Client connections that are open.
    pub connections: u64,
    /// Engine.IO sessions that are open.
    pub sessions: u64,
    /// Socket.IO sockets that are connected.
    pub sockets: u64,
    /// Rooms with at least one member.
    pub rooms: u64,
    /// How often the slot's worker was started again after it died, all causes.
    pub restarts: u64,
    /// The same by cause.
    pub restarts_by_cause: BTreeMap<DeathCause, u64>,
    /// How long the process has run.
    pub uptime_s: f64,
    /// Its resident memory; 0 if it has no process.
    pub rss_bytes: u64,
    /// CPU time that it has used, in seconds, if the kernel tells it.
    #[serde(default)]
    pub cpu_s: Option<f64>,
    /// How late its event loop was lately.
    #[serde(default)]
    pub lag: Lag,
    /// How long its last test message over the bus took.
    #[serde(default)]
    pub bus_latency_ms: Option<f64>,
    /// In `backoff`: when it is started again.
    pub retry_in_s: Option<f64>,
    /// How often the slot's worker was replaced for its memory.
    #[serde(default)]
    pub recycled: u64,
    /// In `draining` and `starting`: how long that may take still.
    #[serde(default)]
    pub time_left_s: Option<f64>,
    /// How the slot's last dead worker died.
    pub last_death: Option<Death>,
    /// The handler that keeps it from all else, if one has for long.
    #[serde(default)]
    pub busy_with: Option<String>,
    /// Whether its own test message over the bus came back; none before its first report.
    pub bus_up: Option<bool>,
    /// Why it did not.
    pub bus_reason: Option<String>,
    /// How long ago it told the figures of itself that stand here; none before its first report.
    #[serde(default)]
    pub reported_ago_s: Option<f64>,
    /// What it counted since it started.
    pub counters: WorkerCounters,
}

/// Where in its life a worker is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Spawned, not yet ready.
    Starting,
    /// It serves.
    Ready,
    /// It ends its clients and gets no new ones.
    Draining,
    /// It died; the slot waits before the next start.
    Backoff,
    /// It could not be started, and is not tried again before a reload.
    Failed,
    /// Somebody took the slot out of service.
    Drained,
}

/// Why a worker ended that should not have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeathCause {
    /// It exited by itself, or by a signal of its own making (SEGV, ABRT, …).
    Crash,
    /// Someone else's signal ended it (KILL, TERM, …).
    Kill,
    /// It did not answer its heartbeat and was killed.
    Hang,
    /// It ended, or ran out of time, before it was ready.
    Start,
}

/// How a worker died.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Death {
    /// Which run.
    pub generation: Generation,
    /// Its process; 0 if none could be started.
    pub pid: u32,
    /// Why.
    pub cause: DeathCause,
    /// What the kernel or the worker said: `exit status 3`, `signal SEGV`, `no answer for 5 s`, the reason of its `Failed`.
    pub detail: String,
    /// How long ago.
    pub ago_s: f64,
    /// The last lines it wrote.
    pub last_words: Vec<String>,
}

/// The bus, as the supervisor finds it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BusStatus {
    /// Which bus.
    pub kind: BusKind,
    /// Whether a message that went out came back.
    pub state: BusState,
    /// How long it took.
    pub latency_ms: Option<f64>,
    /// How long the state has been as it is.
    pub since_s: f64,
    /// Why it is down, in one line; none while up.
    pub reason: Option<String>,
    /// Where it is, without the password; none for the embedded one.
    pub url: Option<String>,
    /// How long the supervisor's test messages took since its start.
    #[serde(default)]
    pub round_trips: Histogram,
    /// How often the supervisor has connected to the bus.
    #[serde(default)]
    pub connects: u64,
    /// What Redis tells of itself, asked every ten seconds; none over the embedded bus, while it is down, and where it may not be asked.
    #[serde(default)]
    pub redis: Option<RedisFigures>,
}

/// Which bus keeps the rooms in sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusKind {
    /// The hub in the supervisor.
    Embedded,
    /// Redis pub/sub.
    Redis,
}

/// Whether the bus works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusState {
    /// A message went out and came back within the deadline.
    Up,
    /// It did not.
    Down,
}

/// What the balancer counted since the supervisor started, and what it holds now. All default to zero.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct BalancerStatus {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that are open, in all workers and in the balancer.
    pub open: u64,
    /// Connections whose request head has not been seen in full.
    pub waiting_for_head: u64,
    /// Connections that wait for a ready worker.
    pub waiting_for_worker: u64,
    /// Connections handed over and acknowledged.
    pub handed_over: u64,
    /// Connections handed to another worker because the first died before it acknowledged, or had no descriptor left.
    pub handed_over_again: u64,
    /// Connections moved from one worker to another.
    pub moved: u64,
    /// Streams for relayed requests opened between workers.
    pub relays: u64,
    /// Connections that the balancer answered itself, by cause: the names are those of [`roomd_balancer::Refusal`].
    pub refused: BTreeMap<String, u64>,
    /// From `accept` to a worker's word that it has the connection: what the client took to send its request's head, too.
    pub accept_to_ready: Histogram,
    /// From the moment at which that head was there to that word.
    pub handover: Histogram,
}

impl Status {
    /// Workers that are ready.
    pub fn ready(&self) -> usize {
        self.ready_workers().count()
    }

    /// Why rooms are not in sync: the bus is down as the supervisor finds it, or as a worker that serves does. The one may
    /// know it before the other, and a single worker's connection may be the one that broke. None while the bus is up.
    pub fn bus_trouble(&self) -> Option<String> {
        let kind = self.bus.kind;
        if self.bus.state == BusState::Down {
            let reason = self.bus.reason.as_deref().unwrap_or("no reason known");
            return Some(format!("the {kind} bus has been down for {:.0} s: {reason}", self.bus.since_s));
        }
        let mut without = self.ready_workers().filter(|worker| worker.bus_up == Some(false));
        let first = without.next()?;
        let reason = first.bus_reason.as_deref().unwrap_or("no reason known");
        let (count, ready) = (1 + without.count(), self.ready());
        Some(format!("the {kind} bus is down in {count} of {ready} ready workers: {reason} (slot {})", first.slot))
    }

    fn ready_workers(&self) -> impl Iterator<Item = &WorkerStatus> {
        self.workers.iter().filter(|worker| worker.state == WorkerState::Ready)
    }
}

impl From<BalancerStats> for BalancerStatus {
    /// All but `relays`, which the balancer does not see.
    fn from(stats: BalancerStats) -> Self {
        BalancerStatus {
            accepted: stats.accepted,
            open: stats.open,
            waiting_for_head: stats.waiting_for_head,
            waiting_for_worker: stats.waiting_for_worker,
            handed_over: stats.handed_over,
            handed_over_again: stats.handed_over_again,
            moved: stats.moved,
            relays: 0,
            refused: stats.refused.into_iter().map(|(cause, count)| (cause.as_str().into(), count)).collect(),
            accept_to_ready: stats.accept_to_ready,
            handover: stats.handover,
        }
    }
}

impl ClusterState {
    /// The name in JSON and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            ClusterState::Starting => "starting",
            ClusterState::Running => "running",
            ClusterState::Reloading => "reloading",
            ClusterState::Stopping => "stopping",
        }
    }
}

impl WorkerState {
    /// The name in JSON and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            WorkerState::Starting => "starting",
            WorkerState::Ready => "ready",
            WorkerState::Draining => "draining",
            WorkerState::Backoff => "backoff",
            WorkerState::Failed => "failed",
            WorkerState::Drained => "drained",
        }
    }
}

impl DeathCause {
    /// All causes, for figures by cause.
    pub const ALL: [DeathCause; 4] = [DeathCause::Crash, DeathCause::Kill, DeathCause::Hang, DeathCause::Start];

    /// The name in JSON, metrics and the table.
    pub fn as_str(self) -> &'static str {
        match self {
            DeathCause::Crash => "crash",
            DeathCause::Kill => "kill",
            DeathCause::Hang => "hang",
            DeathCause::Start => "start",
        }
    }
}

impl BusKind {
    /// The name in JSON and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            BusKind::Embedded => "embedded",
            BusKind::Redis => "redis",
        }
    }
}

impl BusState {
    /// The name in JSON and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            BusState::Up => "up",
            BusState::Down => "down",
        }
    }
}

macro_rules! display_as_str {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    )*};
}
display_as_str!(ClusterState, WorkerState, DeathCause, BusKind, BusState);

/// A status with everything in it, for tests of what is made from it.
#[cfg(test)]
pub(crate) fn sample() -> Status {
    let worker = |slot, generation, state| WorkerStatus {
        slot: Slot(slot),
        generation: Generation(generation),
        pid: Some(100 + u32::from(slot)),
        state,
        leads: false,
        connections: 3,
        sessions: 2,
        sockets: 2,
        rooms: 1,
        restarts: 0,
        restarts_by_cause: BTreeMap::new(),
        uptime_s: 3723.0,
        rss_bytes: 5 * 1024 * 1024,
        cpu_s: Some(1.5),
        lag: Lag { p50_ms: Some(0.016), p99_ms: Some(2.048) },
        bus_latency_ms: Some(0.25),
        retry_in_s: None,
        recycled: 0,
        time_left_s: None,
        last_death: None,
        busy_with: None,
        bus_up: Some(true),
        bus_reason: None,
        reported_ago_s: Some(0.25),
        counters: WorkerCounters { events_in: 5, packets_out: 50, ..WorkerCounters::default() },
    };
    let backoff = WorkerStatus {
        pid: None,
        connections: 0,
        sessions: 0,
        sockets: 0,
        rooms: 0,
        restarts: 4,
        restarts_by_cause: BTreeMap::from([(DeathCause::Crash, 3), (DeathCause::Kill, 1)]),
        uptime_s: 0.0,
        rss_bytes: 0,
        cpu_s: None,
        lag: Lag::default(),
        bus_latency_ms: None,
        retry_in_s: Some(1.5),
        last_death: Some(Death {
            generation: Generation(5),
            pid: 99,
            cause: DeathCause::Crash,
            detail: "exit status 101".into(),
            ago_s: 0.5,
            last_words: vec!["thread 'main' panicked at app.rs:1:1:".into(), "no \u{1b}[31mway\u{1b}[0m".into()],
        }),
        bus_up: None,
        reported_ago_s: None,
        counters: WorkerCounters::default(),
        ..worker(1, 5, WorkerState::Backoff)
    };
    Status {
        supervisor: SupervisorStatus {
            pid: 42,
            version: "0.1.0".into(),
            uptime_s: 90_061.0,
            state: ClusterState::Running,
            wanted_workers: 2,
            progress: None,
            rss_bytes: Some(4 << 20),
            process: ProcessFigures { cpu_s: Some(1.5), open_fds: Some(40), ..ProcessFigures::default() },
            lag: Lag::default(),
            loop_lag: Histogram::default(),
            log_lines_suppressed: 0,
            refused_operators: 0,
        },
        workers: vec![worker(0, 1, WorkerState::Ready), backoff],
        bus: BusStatus {
            kind: BusKind::Redis,
            state: BusState::Down,
            latency_ms: None,
            since_s: 75.0,
            reason: Some("connection refused".into()),
            url: Some("redis://127.0.0.1:6379".into()),
            round_trips: Histogram::default(),
            connects: 1,
            redis: None,
        },
        listeners: vec!["http://127.0.0.1:3000".into()],
        admin: Some("http://127.0.0.1:3900".into()),
        control: "/run/roomd/control.sock".into(),
        balancer: BalancerStatus {
            accepted: 9,
            open: 3,
            handed_over: 8,
            refused: BTreeMap::from([("head_timeout".into(), 1)]),
            ..BalancerStatus::default()
        },
        slots: [0, 1].map(|slot| sample_slot(slot, if slot == 1 { 3 } else { 0 })).into(),
        busiest_rooms: vec![BusyRoom { namespace: "/".into(), room: "lobby".into(), members: 3, packets_per_s: 50.0 }],
    }
}

#[cfg(test)]
fn sample_slot(slot: u16, crashes: u64) -> SlotStatus {
    let mut starts = Histogram::default();
    starts.record(std::time::Duration::from_millis(80));
    SlotStatus {
        slot: Slot(slot),
        restarts_by_cause: BTreeMap::from([(DeathCause::Crash, crashes)]),
        recycled: 0,
        counters: WorkerCounters { events_in: 5, packets_out: 50, ..WorkerCounters::default() },
        timings: WorkerTimings::default(),
        starts,
        cpu_s: 1.5,
    }
}
