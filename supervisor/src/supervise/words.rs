//! What workers say, and what the hub says of them.

use std::{
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

use roomd_wire::{PROTOCOL_VERSION, ToSupervisor, ToWorker, WorkerId};
use tokio::task::spawn_local;

use super::{Supervisor, takeover::Held};
use crate::{hub::HubEvent, slot::RunEvent, status::DeathCause, worker::FromWorker};

impl Supervisor {
    pub(super) fn worker_event(&mut self, id: WorkerId, event: FromWorker) {
        let now = Instant::now();
        match event {
            FromWorker::Ended(exit) => {
                self.fleet.handle(id, RunEvent::Exited(exit), now);
                // It may have hidden an orphan that ended at the same time.
                self.reap();
            }
            FromWorker::Broke(reason) => {
                self.fleet.handle(id, RunEvent::Unusable(DeathCause::Crash, reason), now);
            }
            FromWorker::Said(message, descriptors) => self.said(id, message, descriptors, now),
        }
    }

    fn said(&mut self, id: WorkerId, message: ToSupervisor, descriptors: Vec<OwnedFd>, now: Instant) {
        match message {
            ToSupervisor::Hello { protocol, .. } => self.greet(id, protocol, now),
            _ if self.workers.get(&id).is_some_and(|worker| !worker.greeted.get()) => {
                self.fleet.handle(id, RunEvent::Failed("its first message is not `Hello`".into()), now);
            }
            ToSupervisor::Ready => {
                tracing::info!(worker = %id, "ready");
                self.note_start(id, now);
                self.fleet.handle(id, RunEvent::Ready, now);
            }
            ToSupervisor::LetGo => {
                let leader = self.lead.stopped(id);
                self.appoint(leader);
            }
            ToSupervisor::Failed { reason } => self.fleet.handle(id, RunEvent::Failed(reason), now),
            ToSupervisor::Pong { .. } => {
                if let Some(worker) = self.workers.get(&id) {
                    worker.busy_with.take();
                }
                self.fleet.handle(id, RunEvent::Pong, now);
            }
            ToSupervisor::Busy { handler } => {
                if let Some(worker) = self.workers.get(&id) {
                    worker.busy_with.replace(Some(handler));
                }
            }
            ToSupervisor::Stats(stats) => {
                if let Some(worker) = self.workers.get(&id) {
                    self.bus.note_worker(id, &stats.bus, &worker.told_without_bus);
                    self.figures.note(id, worker.pid, &stats);
                    *worker.stats.borrow_mut() = *stats;
                    worker.reported.set(Some(now));
                }
            }
            ToSupervisor::OpenRelay { to } => {
                self.relay(Some(to), ToWorker::Relay { from: id, newcomer: None }, descriptors);
            }
            ToSupervisor::RelayNewcomer { peer } => {
                let to = self.balancer.for_new_session();
                self.relay(to, ToWorker::Relay { from: id, newcomer: Some(peer) }, descriptors);
            }
            ToSupervisor::Holding { ready, draining, connections, more } => {
                self.holding(id, Held { ready, draining, connections, more }, now);
            }
            // Words about connections go to the balancer before they come here.
            ToSupervisor::Accepted { .. } | ToSupervisor::Closed { .. } | ToSupervisor::Move { .. } => {}
        }
    }

    /// Hands a stream between two workers on. If there is no such worker, dropping the stream here is the answer.
    fn relay(&mut self, to: Option<WorkerId>, message: ToWorker, descriptors: Vec<OwnedFd>) {
        self.relays += 1;
        let worker = to.and_then(|to| self.workers.get(&to));
        if let (Some(worker), Some(stream)) = (worker, descriptors.into_iter().next()) {
            worker.hand_stream(message, stream);
        }
    }

    /// Answers a worker's first message with its configuration.
    fn greet(&mut self, id: WorkerId, protocol: u16, now: Instant) {
        let Some(worker) = self.workers.get(&id).filter(|worker| !worker.greeted.replace(true)) else { return };
        if protocol != PROTOCOL_VERSION {
            let reason = format!(
                "it speaks version {protocol} of the control protocol, this supervisor {PROTOCOL_VERSION}: restart roomd"
            );
            return self.fleet.handle(id, RunEvent::Failed(reason), now);
        }
        let stream = match self.hub.as_ref().map(|hub| hub.add_worker(id)).transpose() {
            Ok(stream) => stream,
            Err(error) => {
                return self.fleet.handle(id, RunEvent::Failed(format!("cannot connect it to the bus: {error}")), now);
            }
        };
        let config = Box::new(self.config.for_worker(id, self.config.workers));
        let (link, sending) = (worker.link.clone(), worker.sending());
        self.legacy.changed = true;
        let events = self.events.clone();
        // A configuration can be large; a task waits for room, should there be none at once.
        spawn_local(async move {
            let _sending = sending;
            let start = ToWorker::Start { protocol: PROTOCOL_VERSION, config };
            let descriptors: Vec<_> = stream.iter().map(AsFd::as_fd).collect();
            if let Err(error) = link.send(&start, &descriptors).await {
                let _ = events.send((id, FromWorker::Broke(format!("failed to {error}")))).await;
            }
        });
    }

    pub(super) fn hub_event(&mut self, event: HubEvent) {
        let (id, reason) = match event {
            HubEvent::WorkerStalled(id) => (id, "it does not read from the bus".to_owned()),
            HubEvent::WorkerBroken(id, reason) => (id, reason),
        };
        // A worker that has just ended breaks its stream, too: then this comes to nothing.
        self.fleet.handle(id, RunEvent::Unusable(DeathCause::Hang, reason), Instant::now());
    }
}
