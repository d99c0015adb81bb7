//! What runs, as status.

use std::time::Instant;

use super::*;
use crate::{
    audit, logging,
    slot::{Run, Slot as SlotState},
    status::{BalancerStatus, ProcessFigures, Status, SupervisorStatus, WorkerStatus},
};

impl Supervisor {
    /// Everything at this moment.
    pub(super) fn status(&self) -> Status {
        let now = Instant::now();
        let pid = std::process::id();
        let process = ProcessFigures::own();
        let (lag, loop_lag) = self.figures.lag();
        let mut workers = Vec::new();
        for slot in self.fleet.slots().filter(|slot| !slot.is_gone()) {
            workers.extend(slot.runs().map(|run| self.worker_status(slot, Some(run), now)));
            if slot.current().is_none() && (slot.wanted() || slot.is_drained()) {
                workers.push(self.worker_status(slot, None, now));
            }
        }
        Status {
            supervisor: SupervisorStatus {
                pid,
                version: env!("CARGO_PKG_VERSION").into(),
                uptime_s: seconds_since(self.started, now),
                state: self.state,
                wanted_workers: self.fleet.wanted(),
                progress: self.under_way.as_ref().map(UnderWay::progress),
                rss_bytes: process.resident_bytes,
                process,
                lag,
                loop_lag,
                log_lines_suppressed: logging::suppressed(),
                refused_operators: audit::refusals(),
            },
            workers,
            bus: self.bus.status(now),
            listeners: self.listening.clone(),
            admin: self.admin.clone(),
            control: self.config.control.clone(),
            balancer: self.balancer_status(),
            slots: self.slot_status(),
            busiest_rooms: self.figures.ledger.busiest_rooms(),
        }
    }

    /// One run of a slot, or the slot without one.
    fn worker_status(&self, slot: &SlotState, run: Option<&Run>, now: Instant) -> WorkerStatus {
        let worker = run.and_then(|run| self.workers.get(&run.id()));
        let stats = worker.map(|worker| worker.stats.borrow().clone()).unwrap_or_default();
        let process = worker.map(|worker| ProcessFigures::of(worker.pid)).unwrap_or_default();
        let last_death =
            self.deaths.get(&slot.place()).map(|(death, at)| Death { ago_s: seconds_since(*at, now), ..death.clone() });
        WorkerStatus {
            slot: slot.place(),
            generation: run.map_or(slot.generation(), |run| run.id().generation),
            pid: worker.map(|worker| worker.pid),
            leads: run.is_some_and(|run| self.lead.leader() == Some(run.id())),
            state: run.map_or(slot.empty_state(), |run| match run.phase() {
                Phase::Starting => WorkerState::Starting,
                Phase::Ready => WorkerState::Ready,
                Phase::Draining | Phase::Terminating | Phase::Killing => WorkerState::Draining,
            }),
            connections: run.map_or(0, |run| self.balancer.connections(run.id()) as u64),
            sessions: stats.sessions,
            sockets: stats.sockets,
            rooms: stats.rooms,
            restarts: slot.restarts().values().sum(),
            restarts_by_cause: slot.restarts().clone(),
            uptime_s: run.map_or(0.0, |run| seconds_since(run.since(), now)),
            rss_bytes: process.resident_bytes.unwrap_or(0),
            cpu_s: process.cpu_s,
            lag: run.map(|run| self.figures.ledger.lag(run.id())).unwrap_or_default(),
            bus_latency_ms: stats.bus.latency_ms,
            retry_in_s: slot.restart_at().map(|at| at.saturating_duration_since(now).as_secs_f64()),
            recycled: slot.recycled(),
            time_left_s: run.and_then(|run| run.time_left(now)).map(|left| left.as_secs_f64()),
            last_death,
            busy_with: worker.and_then(|worker| worker.busy_with.borrow().clone()),
            // Before its first report there is none: a worker that has reported has a reason or is up.
            bus_up: (stats.bus.up || !stats.bus.reason.is_empty()).then_some(stats.bus.up),
            bus_reason: Some(stats.bus.reason).filter(|reason| !reason.is_empty()),
            reported_ago_s: worker.and_then(|worker| worker.reported.get()).map(|at| seconds_since(at, now)),
            counters: stats.counters,
        }
    }

    fn balancer_status(&self) -> BalancerStatus {
        BalancerStatus { relays: self.relays, ..self.balancer.stats().into() }
    }
}

fn seconds_since(at: Instant, now: Instant) -> f64 {
    now.saturating_duration_since(at).as_secs_f64()
}
