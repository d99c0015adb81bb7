//! Which fault strikes next, and how.

use std::{collections::BTreeSet, ops::Range, thread, time::Duration};

use roomd_tests::{Cluster, RedisServer};

/// A fault, or a change that an operator makes: to clients they are the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The worker of a slot gets a signal that ends it.
    Kill { slot: u16, signal: &'static str },
    /// The worker of a slot stands still until it is found to hang.
    Stop { slot: u16 },
    /// Redis is killed and comes back after a while.
    Redis { away: Duration },
    /// All workers are replaced.
    Reload,
    /// One worker more, then one less.
    Scale { to: u16, back: u16 },
    /// A slot is taken out of service for a while.
    Drain { slot: u16 },
    /// The supervisor replaces itself, then all workers.
    Upgrade,
}

impl Fault {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Fault::Kill { .. } => "kill",
            Fault::Stop { .. } => "stop",
            Fault::Redis { .. } => "redis",
            Fault::Reload => "reload",
            Fault::Scale { .. } => "scale",
            Fault::Drain { .. } => "drain",
            Fault::Upgrade => "upgrade",
        }
    }

    /// Whose clients alone it can send away, if it is one slot's.
    pub(crate) fn slot(&self) -> Option<u16> {
        match self {
            Fault::Kill { slot, .. } | Fault::Stop { slot } | Fault::Drain { slot } => Some(*slot),
            Fault::Redis { .. } | Fault::Reload | Fault::Scale { .. } | Fault::Upgrade => None,
        }
    }

    pub(crate) fn strike(&self, cluster: &Cluster, redis: &mut RedisServer) {
        match self {
            Fault::Kill { slot, signal } => drop(cluster.run(&["kill", &slot.to_string(), "--signal", signal])),
            Fault::Stop { slot } => {
                let process = cluster.worker(usize::from(*slot))["pid"].clone();
                cluster.run(&["kill", &slot.to_string(), "--signal", "STOP"]);
                cluster.eventually("the stopped worker is replaced", |_| {
                    (cluster.worker(usize::from(*slot))["pid"] != process).then_some(())
                });
            }
            Fault::Redis { away } => {
                redis.stop();
                thread::sleep(*away);
                redis.restart();
                cluster.eventually("the workers have Redis again", |status| {
                    status["workers"].as_array()?.iter().all(|worker| worker["bus_up"] == true).then_some(())
                });
            }
            Fault::Reload => drop(cluster.run(&["reload"])),
            Fault::Upgrade => drop(cluster.run(&["upgrade"])),
            Fault::Scale { to, back } => {
                cluster.run(&["scale", &to.to_string()]);
                thread::sleep(Duration::from_secs(1));
                cluster.run(&["scale", &back.to_string()]);
            }
            Fault::Drain { slot } => {
                cluster.run(&["drain", &slot.to_string()]);
                thread::sleep(Duration::from_secs(1));
                cluster.run(&["undrain", &slot.to_string()]);
            }
        }
    }
}

/// Draws faults; the same for the same seed.
pub(crate) struct Faults {
    rng: fastrand::Rng,
    workers: u16,
    /// Kinds that have not had their turn in this round: all come before one comes again.
    left: Vec<u8>,
    struck: BTreeSet<&'static str>,
}

impl Faults {
    pub(crate) fn new(seed: u64, workers: u16) -> Self {
        Faults { rng: fastrand::Rng::with_seed(seed), workers, left: Vec::new(), struck: BTreeSet::new() }
    }

    pub(crate) fn next(&mut self) -> Fault {
        if self.left.is_empty() {
            self.left = vec![0, 0, 1, 2, 3, 4, 5, 6];
            self.rng.shuffle(&mut self.left);
        }
        let slot = self.rng.u16(..self.workers);
        let fault = match self.left.pop() {
            Some(0) => Fault::Kill { slot, signal: ["KILL", "SEGV", "ABRT"][self.rng.usize(..3)] },
            Some(1) => Fault::Stop { slot },
            Some(2) => Fault::Redis { away: Duration::from_millis(self.rng.u64(200..4000)) },
            Some(3) => Fault::Reload,
            Some(4) => Fault::Drain { slot },
            Some(5) => Fault::Upgrade,
            _ => Fault::Scale { to: self.workers + 1, back: self.workers },
        };
        self.struck.insert(fault.kind());
        fault
    }

    pub(crate) fn random(&mut self, seconds: Range<u64>) -> u64 {
        self.rng.u64(seconds)
    }

    pub(crate) fn kinds_struck(&self) -> usize {
        self.struck.len()
    }
}
