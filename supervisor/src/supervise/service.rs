//! What the service manager hears of the cluster.

use std::time::{Duration, Instant};

use super::*;
use crate::systemd::Doing;

/// What a stop takes at most beyond the grace: margins, signals, and the way out.
const BEYOND_GRACE: Duration = Duration::from_secs(10);

/// How long workers serve on after the last client has been accepted: requests that are on their way to them are then answered, not
/// refused as by one who leaves. Who comes later waits in the listener for the next supervisor.
const LET_IN: Duration = Duration::from_millis(500);

impl Supervisor {
    /// A stop has begun, and nobody is accepted any more: the workers leave. Where the listeners are kept for the next supervisor, not
    /// before they have answered whoever was accepted already.
    pub(super) fn let_in_and_leave(&mut self, now: Instant) {
        self.leaving_at = Some(now);
        if self.service.is_there() && self.fleet.ever_ready() {
            self.leaving_at = Some(now + LET_IN);
        }
        self.leave_if_due(now);
    }

    /// Tells the workers to leave if it is time.
    pub(super) fn leave_if_due(&mut self, now: Instant) {
        if self.leaving_at.is_some_and(|at| at <= now) {
            self.leave(now);
        }
    }

    /// Tells the workers to leave, unless that has been done.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.leaving_at.take().is_some() {
            self.fleet.stop(now);
        }
    }

    /// In each turn of the loop.
    pub(super) fn tell_service_manager(&mut self) {
        let doing = match (&self.under_way, self.state) {
            (_, ClusterState::Stopping) => Doing::Stopping(self.config.grace + BEYOND_GRACE),
            (_, ClusterState::Starting) => Doing::Starting,
            (Some(UnderWay::Reload { .. }), _) => Doing::Reloading,
            // Clients are served: that the bus is down is no reason to hold the start up, nor what depends on it; the line says so.
            (_, ClusterState::Running | ClusterState::Reloading) => Doing::Serving,
        };
        // Taken out for the call, which looks at all the rest.
        let mut service = std::mem::take(&mut self.service);
        service.turn(doing, || self.line());
        self.service = service;
    }

    /// The cluster in one line.
    fn line(&self) -> String {
        if let Some(reason) = &self.hopeless {
            return format!("no worker can start: {reason}");
        }
        let (mut ready, mut draining, mut connections) = (0, 0, 0);
        for run in self.fleet.slots().flat_map(|slot| slot.runs()) {
            connections += self.balancer.connections(run.id());
            match run.phase() {
                Phase::Ready => ready += 1,
                Phase::Starting => {}
                Phase::Draining | Phase::Terminating | Phase::Killing => draining += 1,
            }
        }
        let bus = self.bus.status(Instant::now());
        let facts = Facts {
            state: self.state,
            wanted: self.fleet.wanted(),
            ready,
            draining,
            connections,
            bus: (bus.kind.as_str(), bus.state.as_str()),
        };
        facts.line()
    }
}

struct Facts {
    state: ClusterState,
    wanted: u16,
    ready: usize,
    draining: usize,
    connections: usize,
    bus: (&'static str, &'static str),
}

impl Facts {
    fn line(&self) -> String {
        let Facts { state, wanted, ready, draining, connections, bus: (kind, bus) } = self;
        let begin = match state {
            ClusterState::Starting => "starting: ",
            ClusterState::Running => "",
            ClusterState::Reloading => "reloading: ",
            ClusterState::Stopping => "stopping: ",
        };
        let workers = if *wanted == 1 { "worker" } else { "workers" };
        let draining = if *draining == 0 { String::new() } else { format!(", {draining} draining") };
        let s = if *connections == 1 { "" } else { "s" };
        format!("{begin}{ready}/{wanted} {workers} ready{draining}, {connections} connection{s}, bus {kind} {bus}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_the_cluster_is() {
        let facts = Facts {
            state: ClusterState::Running,
            wanted: 2,
            ready: 2,
            draining: 0,
            connections: 153,
            bus: ("embedded", "up"),
        };
        assert_eq!(facts.line(), "2/2 workers ready, 153 connections, bus embedded up");
        let facts = Facts { state: ClusterState::Reloading, draining: 1, bus: ("redis", "down"), ..facts };
        assert_eq!(facts.line(), "reloading: 2/2 workers ready, 1 draining, 153 connections, bus redis down");
        let facts = Facts { state: ClusterState::Starting, wanted: 1, ready: 0, draining: 0, connections: 1, ..facts };
        assert_eq!(facts.line(), "starting: 0/1 worker ready, 1 connection, bus redis down");
    }
}
