//! Workers that an earlier supervisor process has started go on with this one.

use std::time::Instant;

use roomd_wire::{ConnectionId, PeerAddress, WorkerId};

use super::Supervisor;
use crate::slot::{Phase, RunEvent};

/// What a worker says of itself when it is taken over: [`roomd_wire::ToSupervisor::Holding`].
pub(super) struct Held {
    pub ready: bool,
    pub draining: bool,
    pub connections: Vec<(ConnectionId, PeerAddress)>,
    pub more: bool,
}

impl Supervisor {
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
    }
}
