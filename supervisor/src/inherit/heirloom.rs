//! What there is of the workers that an earlier supervisor process has started.

use std::{collections::BTreeMap, os::fd::OwnedFd};

use roomd_wire::{Generation, Slot, WorkerId};

use super::{State, StateMemory, TookOver};
use crate::systemd::{Inherited, Store};

/// The state, in the store.
pub const STATE: &str = "store-state";
/// The supervisor's end of a worker's control socket in the store: so begins its name, the worker's follows.
pub const WORKER: &str = "store-worker-";
/// What a worker writes to, two of them.
pub const OUTPUT: &str = "store-output-";

/// See the module's documentation.
#[derive(Debug)]
pub struct Heirloom {
    /// The memory that the state is in, to go on with.
    pub memory: StateMemory,
    /// What the earlier one knew.
    pub state: State,
    /// The control sockets.
    pub links: BTreeMap<WorkerId, OwnedFd>,
    /// What the workers write to.
    pub output: BTreeMap<WorkerId, Vec<OwnedFd>>,
    /// What it had in hand, if it has left orderly.
    pub took_over: Option<TookOver>,
}

impl Heirloom {
    /// Takes it out of what this process was started with. None where there is none, or none that can be understood: sockets of
    /// workers are closed then, which ends these.
    pub fn take(inherited: &mut Inherited, took_over: Option<TookOver>, store: &Store) -> Option<Heirloom> {
        let states = inherited.take_where(|name| name == STATE);
        let workers = inherited.take_prefixed(WORKER);
        let outputs = inherited.take_prefixed(OUTPUT);
        let found = states.into_iter().next().and_then(|(_, file)| {
            let (memory, bytes) = StateMemory::open(file);
            match State::decode(&bytes?) {
                Ok(state) => Some((memory, state)),
                Err(error) => {
                    tracing::error!(%error, "the workers of the supervisor before cannot be taken over: they end");
                    None
                }
            }
        });
        let Some((memory, state)) = found else {
            let names = workers.iter().chain(&outputs).map(|(name, _)| name);
            names.for_each(|name| store.remove(name));
            store.remove(STATE);
            return None;
        };
        let (mut links, mut output) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
        for (name, socket) in workers {
            if let Some(id) = id_of(WORKER, &name) {
                links.insert(id, socket);
            }
        }
        for (name, pipe) in outputs {
            if let Some(id) = id_of(OUTPUT, &name) {
                output.entry(id).or_default().push(pipe);
            }
        }
        Some(Heirloom { memory, state, links, output, took_over })
    }
}

/// The name of what belongs to a worker.
pub fn name_of(prefix: &str, id: WorkerId) -> String {
    format!("{prefix}{id}")
}

fn id_of(prefix: &str, name: &str) -> Option<WorkerId> {
    let (slot, generation) = name.strip_prefix(prefix)?.split_once('.')?;
    Some(WorkerId { slot: Slot(slot.parse().ok()?), generation: Generation(generation.parse().ok()?) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;

    use super::*;

    fn id(slot: u16, generation: u32) -> WorkerId {
        WorkerId { slot: Slot(slot), generation: Generation(generation) }
    }

    #[test]
    fn a_workers_name_tells_which_it_is() {
        assert_eq!(id_of(WORKER, &name_of(WORKER, id(3, 17))), Some(id(3, 17)));
        for name in ["store-worker-", "store-worker-1", "store-worker-1.x", "store-worker-70000.1", "other"] {
            assert_eq!(id_of(WORKER, name), None, "{name}");
        }
    }

    #[test]
    fn all_of_the_workers_is_found_or_nothing() {
        let file = || OwnedFd::from(File::open("/dev/null").unwrap());
        let workers = || {
            vec![
                (name_of(WORKER, id(0, 1)), file()),
                (name_of(OUTPUT, id(0, 1)), file()),
                (name_of(OUTPUT, id(0, 1)), file()),
                ("store-public-0".to_owned(), file()),
            ]
        };
        let mut inherited = Inherited::from(workers());
        assert!(Heirloom::take(&mut inherited, None, &Store::default()).is_none());
        let left = inherited.take_prefixed("");
        assert_eq!(left.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["store-public-0"]);
        let mut memory = StateMemory::create().unwrap();
        let mut state = State::of_this_program();
        state.workers = 3;
        memory.write(state.encode()).unwrap();
        let state = std::os::fd::AsFd::as_fd(&memory).try_clone_to_owned().unwrap();
        let mut inherited = Inherited::from([workers(), vec![(STATE.to_owned(), state)]].concat_all());
        let heirloom = Heirloom::take(&mut inherited, None, &Store::default()).unwrap();
        assert_eq!((heirloom.state.workers, heirloom.links.len(), heirloom.output[&id(0, 1)].len()), (3, 1, 2));
    }

    trait ConcatAll<T> {
        fn concat_all(self) -> Vec<T>;
    }

    impl<T, const N: usize> ConcatAll<T> for [Vec<T>; N] {
        fn concat_all(self) -> Vec<T> {
            self.into_iter().flatten().collect()
        }
    }
}
