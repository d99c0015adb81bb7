//! Workers that an earlier supervisor process has started go on with this one: after an `exec` in place, and after a crash.
//!
//! ```text
//! take_over: slots, processes, sockets ── Adopted ──► worker ── Holding … ──► holding: counted; it takes new sessions again
//! ```
//!
//! Requests of a worker's own sessions go to it all the time; those of new sessions wait until one worker has told what it holds.

use std::{
    collections::HashSet,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use roomd_wire::{ConnectionId, PeerAddress, ToWorker, WorkerId};
use rustix::time::{ClockId, clock_gettime};

use super::{Supervisor, timing};
use crate::{
    inherit::{DeathState, Heirloom, OUTPUT, ProcessState, STATE, State, StateMemory, TookOver, WORKER, name_of},
    process::Process,
    slot::{Exit, Fleet, Phase, RunEvent, Timeline},
    systemd::Keep,
    worker::{Program, Worker, WorkerLink},
};

/// The numbers of connections begin with that of the supervisor process that accepted them.
const RUN_SHIFT: u32 = 40;
/// How long workers may take to tell what they hold, before an upgrade goes on without.
const ALL_TOLD_WITHIN: Duration = Duration::from_secs(5);

/// What a worker says of itself when it is taken over: [`roomd_wire::ToSupervisor::Holding`].
pub(super) struct Held {
    pub ready: bool,
    pub draining: bool,
    pub connections: Vec<(ConnectionId, PeerAddress)>,
    pub more: bool,
}

/// What this supervisor leaves to the next.
pub(super) struct Legacy {
    /// None where the system refuses it.
    pub memory: Option<StateMemory>,
    /// Which supervisor process of this cluster this is.
    pub run: u32,
    /// Something has changed that the next one must know.
    pub changed: bool,
}

/// An upgrade that has come as far as that this process is the new one.
pub(super) struct Arrival {
    pub from: String,
    pub asker: Option<OwnedFd>,
    /// Workers that have not told yet what they hold.
    pub awaited: HashSet<WorkerId>,
    pub until: Instant,
    /// Why the new program could not take over: this is the old one.
    pub failed: Option<String>,
}

/// This process's clock and the host's.
pub(super) fn timeline() -> Timeline {
    let now = clock_gettime(ClockId::Monotonic);
    let ms = i128::from(now.tv_sec) * 1000 + i128::from(now.tv_nsec) / 1_000_000;
    Timeline::new(Instant::now(), u64::try_from(ms).unwrap_or_default())
}

impl Supervisor {
    /// Goes on where an earlier supervisor process was.
    pub(super) fn take_over(&mut self, heirloom: Heirloom) {
        let Heirloom { memory, state, mut links, mut output, took_over } = heirloom;
        let (now, time) = (Instant::now(), timeline());
        let crashed = took_over.is_none();
        self.legacy = Legacy { memory: Some(memory), run: state.run.saturating_add(1), changed: true };
        self.balancer.number_from(u64::from(self.legacy.run) << RUN_SHIFT);
        self.config.workers = state.workers.max(1);
        self.named_workers = state.named_workers;
        self.fleet = Fleet::restore(&state.fleet, timing(&self.config), fastrand::Rng::new(), &time);
        let deaths = state.deaths.into_iter();
        self.deaths = deaths.map(|DeathState { slot, at, death }| (slot, (death, time.instant(at)))).collect();
        for process in &state.processes {
            if let Some(link) = links.remove(&process.id) {
                self.adopt(process, link, output.remove(&process.id).unwrap_or_default());
            }
        }
        self.lead.goes_on(state.leader.filter(|id| self.workers.contains_key(id)));
        for id in links.into_keys().chain(output.into_keys()) {
            self.forget_stored(id);
        }
        tracing::info!(
            run = self.legacy.run,
            workers = self.workers.len(),
            crashed,
            version = state.version,
            "taking over"
        );
        if let Some(took_over) = took_over {
            self.arrive(took_over, &time);
        }
        let new_hub = crashed && self.hub.is_some();
        let ids: Vec<(WorkerId, Phase)> =
            self.fleet.slots().flat_map(|slot| slot.runs()).map(|run| (run.id(), run.phase())).collect();
        for (id, phase) in ids {
            let Some(worker) = self.workers.get(&id) else {
                self.fleet.handle(id, RunEvent::Exited(Exit::Unknown), now);
                continue;
            };
            // It has joined no bus yet, or was told nothing at all: it has no clients, and another one can start.
            if crashed && phase == Phase::Starting && (state.embedded || !worker.greeted.get()) {
                let reason = "the supervisor died before this worker was ready".to_owned();
                self.fleet.handle(id, RunEvent::Failed(reason), now);
                continue;
            }
            let stream = new_hub.then(|| self.hub.as_ref()?.add_worker(id).ok()).flatten();
            let streams: Vec<_> = stream.iter().map(AsFd::as_fd).collect();
            let adopted = ToWorker::Adopted { supervisor: std::process::id() };
            if let Err(error) = worker.link.try_send(&adopted, &streams) {
                // Its socket is full: it hangs, and will be found to.
                tracing::warn!(worker = %id, %error, "a worker could not be told that another supervisor has taken over");
            }
        }
        self.fleet.resize(self.config.workers, now);
    }

    fn adopt(&mut self, process: &ProcessState, link: OwnedFd, output: Vec<OwnedFd>) {
        let id = process.id;
        let adopted = Process::adopt(process.pid, process.started).and_then(|found| {
            let Some(found) = found else { return Ok(None) };
            let worker = Worker::attach(id, found, WorkerLink::new(link)?, output, &self.balancer, &self.events)?;
            worker.greeted.set(process.greeted);
            Ok(Some(worker))
        });
        match adopted {
            Ok(Some(worker)) => {
                self.balancer.rejoin_worker(id, worker.link.clone());
                self.workers.insert(id, worker);
            }
            Ok(None) => {
                tracing::warn!(worker = %id, pid = process.pid, "ended while there was no supervisor");
                self.forget_stored(id);
            }
            Err(error) => {
                tracing::error!(worker = %id, pid = process.pid, %error, "cannot be taken over: it ends");
                self.forget_stored(id);
            }
        }
    }

    /// What the program before had in hand.
    fn arrive(&mut self, took_over: TookOver, time: &Timeline) {
        let TookOver { version, connections, hub: _, asker, started, failed, ledger, relays, begun_lines } = took_over;
        for (id, lines) in begun_lines {
            let output = self.workers.get(&id).map_or(&[][..], |worker| &worker.output);
            output.iter().zip(lines).for_each(|(output, begun)| output.go_on_after(begun));
        }
        self.figures.ledger = ledger;
        self.relays = relays;
        self.started = time.instant(started);
        self.balancer.resume(connections);
        let failed = failed.map(|(reason, path, file)| {
            self.program = Program::of_file(path, file);
            reason
        });
        let awaited = self.workers.keys().copied().collect();
        let until = Instant::now() + ALL_TOLD_WITHIN;
        self.arrival = Some(Arrival { from: version, asker, awaited, until, failed });
    }

    /// A worker tells what it holds. Once it has told all, it takes new sessions again.
    pub(super) fn holding(&mut self, id: WorkerId, held: Held, now: Instant) {
        let Some(run) = self.fleet.slot(id.slot).and_then(|slot| slot.runs().find(|run| run.id() == id)) else {
            return;
        };
        let phase = run.phase();
        self.balancer.adopt(id, &held.connections);
        if held.more {
            return;
        }
        let connections = self.balancer.connections(id);
        tracing::info!(worker = %id, connections, draining = held.draining, "taken over");
        match phase {
            // Its word of that was lost with the supervisor that it was said to.
            Phase::Starting if held.ready => self.fleet.handle(id, RunEvent::Ready, now),
            Phase::Ready if !held.draining => self.serves(id),
            _ => {}
        }
        if let Some(arrival) = &mut self.arrival {
            arrival.awaited.remove(&id);
        }
    }

    /// What the next supervisor would have to know.
    pub(super) fn state_to_leave(&self) -> State {
        let time = timeline();
        let processes = self.workers.iter().map(|(id, worker)| ProcessState {
            id: *id,
            pid: worker.pid,
            started: worker.process.started(),
            greeted: worker.greeted.get(),
        });
        let deaths = self.deaths.iter().map(|(slot, (death, at))| DeathState {
            slot: *slot,
            at: time.moment(*at),
            death: death.clone(),
        });
        let mut state = State::of_this_program();
        state.run = self.legacy.run;
        state.workers = self.config.workers;
        state.named_workers = self.named_workers;
        state.fleet = self.fleet.snapshot(&time);
        state.processes = processes.collect();
        state.deaths = deaths.collect();
        state.leader = self.lead.leader();
        state.embedded = self.hub.is_some();
        state
    }

    /// Writes that down, if something has changed.
    pub(super) fn leave_word(&mut self) {
        if !std::mem::take(&mut self.legacy.changed) {
            return;
        }
        let state = self.state_to_leave().encode();
        if let Some(memory) = &mut self.legacy.memory
            && let Err(error) = memory.write(state)
        {
            tracing::error!(%error, "the next supervisor would not know of all workers");
        }
    }

    /// Begins to write it down.
    pub(super) fn begin_legacy(&mut self) {
        match StateMemory::create() {
            Ok(memory) => {
                self.store.keep(STATE, &memory, Keep::UntilRemoved);
                self.legacy.memory = Some(memory);
            }
            Err(error) => tracing::warn!(%error, "workers would not outlive this supervisor"),
        }
    }

    /// The service manager keeps what belongs to a worker, for the next supervisor.
    pub(super) fn store_worker(&self, id: WorkerId) {
        if let Some(worker) = self.workers.get(&id).filter(|_| self.store.is_there()) {
            self.store.keep(&name_of(WORKER, id), &*worker.link, Keep::UntilHangUp);
            for output in &worker.output {
                self.store.keep(&name_of(OUTPUT, id), &**output, Keep::UntilHangUp);
            }
        }
    }

    /// It need not any longer.
    pub(super) fn forget_stored(&self, id: WorkerId) {
        if self.store.is_there() {
            self.store.remove(&name_of(WORKER, id));
            self.store.remove(&name_of(OUTPUT, id));
        }
    }
}
