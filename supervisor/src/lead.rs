//! Which worker does what a host does once: one at a time, and another when it leaves or dies. No I/O.

use roomd_wire::WorkerId;

/// See the module's documentation. Whom a method returns is to be told that it leads now.
#[derive(Default, Debug)]
pub struct Lead {
    /// Those that could, in the order they became ready.
    ready: Vec<WorkerId>,
    /// It may still be at it, even if it leaves.
    leader: Option<WorkerId>,
}

impl Lead {
    /// Goes on from an earlier supervisor: this worker leads, if any does.
    pub fn goes_on(&mut self, leader: Option<WorkerId>) {
        self.leader = leader;
    }

    /// A worker is ready.
    pub fn ready(&mut self, id: WorkerId) -> Option<WorkerId> {
        self.ready.push(id);
        self.appoint()
    }

    /// A worker has been told to leave. If it leads, it is still to say that it has stopped.
    pub fn leaves(&mut self, id: WorkerId) {
        self.ready.retain(|ready| *ready != id);
    }

    /// A worker has stopped leading, or is gone.
    pub fn stopped(&mut self, id: WorkerId) -> Option<WorkerId> {
        self.leaves(id);
        if self.leader == Some(id) {
            self.leader = None;
        }
        self.appoint()
    }

    /// Who leads.
    pub fn leader(&self) -> Option<WorkerId> {
        self.leader
    }

    fn appoint(&mut self) -> Option<WorkerId> {
        if self.leader.is_some() {
            return None;
        }
        self.leader = self.ready.first().copied();
        self.leader
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use roomd_wire::{Generation, Slot};

    use super::*;

    fn worker(slot: u16) -> WorkerId {
        WorkerId { slot: Slot(slot), generation: Generation(1) }
    }

    #[test]
    fn the_lead_passes_on_only_when_the_leader_has_stopped() {
        let mut lead = Lead::default();
        assert_eq!(lead.ready(worker(0)), Some(worker(0)));
        assert_eq!(lead.ready(worker(1)), None);
        lead.leaves(worker(0));
        assert_eq!(lead.ready(worker(2)), None, "the first may still be at it");
        assert_eq!(lead.stopped(worker(0)), Some(worker(1)));
        assert_eq!(lead.stopped(worker(0)), None);
        assert_eq!(lead.stopped(worker(2)), None);
        assert_eq!(lead.stopped(worker(1)), None, "nobody is left");
        assert_eq!(lead.ready(worker(3)), Some(worker(3)));
    }

    #[test]
    fn whatever_happens_there_is_one_leader_while_there_are_workers() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut lead, mut leading) = (Lead::default(), None);
            let (mut ready, mut leaving, mut next) = (BTreeSet::new(), BTreeSet::new(), 0);
            for _ in 0..300 {
                let one = |of: &BTreeSet<WorkerId>, rng: &mut fastrand::Rng| rng.choice(of.iter().copied());
                let told = match rng.u8(..4) {
                    0 => {
                        ready.insert(worker(next));
                        next += 1;
                        lead.ready(worker(next - 1))
                    }
                    1 => {
                        if let Some(id) = one(&ready, &mut rng) {
                            ready.remove(&id);
                            leaving.insert(id);
                            lead.leaves(id);
                        }
                        None
                    }
                    _ => {
                        let all: BTreeSet<WorkerId> = ready.union(&leaving).copied().collect();
                        one(&all, &mut rng).and_then(|id| {
                            ready.remove(&id);
                            leaving.remove(&id);
                            leading = leading.filter(|leader| *leader != id);
                            lead.stopped(id)
                        })
                    }
                };
                if let Some(told) = told {
                    assert_eq!(leading.replace(told), None, "seed {seed}: two lead");
                    assert!(ready.contains(&told), "seed {seed}: one that leaves was told to lead");
                }
                assert_eq!(lead.leader(), leading, "seed {seed}");
                assert!(leading.is_some() || ready.is_empty(), "seed {seed}: nobody leads");
            }
        }
    }
}
