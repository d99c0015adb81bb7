//! What the next supervisor has to know.

use roomd_wire::WorkerId;
use serde::{Deserialize, Serialize};

use crate::{
    slot::{FleetState, Moment},
    status::Death,
};

/// Raised when an older supervisor could misread what a newer one has written; fields that are added do not raise it.
const FORMAT: u32 = 1;

/// See the module's documentation. Small: it is written at each change.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// [`FORMAT`] of the writer.
    format: u32,
    /// The version of the program that wrote it.
    pub version: String,
    /// Which supervisor process of this cluster wrote it, counted from 1.
    pub run: u32,
    /// How many workers are wanted, as the configuration or `scale` has it.
    pub workers: u16,
    /// How many the configuration named, when it was read last.
    pub named_workers: u16,
    /// The slots.
    pub fleet: FleetState,
    /// The workers' processes.
    pub processes: Vec<ProcessState>,
    /// How the last dead worker of a slot died.
    pub deaths: Vec<DeathState>,
    /// Who does what the host does once.
    pub leader: Option<WorkerId>,
    /// What is lost with this process is the embedded bus's hub.
    pub embedded: bool,
}

/// A worker's process.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProcessState {
    /// Whose.
    pub id: WorkerId,
    /// Its number.
    pub pid: u32,
    /// When it was started, in ticks: see [`Process::started`](crate::process::Process::started).
    pub started: u64,
    /// Whether it was sent its configuration.
    #[serde(default)]
    pub greeted: bool,
}

/// How the last dead worker of a slot died.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeathState {
    /// Which slot's.
    pub slot: roomd_wire::Slot,
    /// When.
    pub at: Moment,
    /// How.
    pub death: Death,
}

/// Why a state cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is of a later program.
    #[error("the state has format {0}, and this program knows {FORMAT}: it was written by a later roomd")]
    Later(u32),
    /// It is no state.
    #[error("the state cannot be read: {0}")]
    NotUnderstood(#[from] serde_json::Error),
}

impl State {
    /// Empty, of this program.
    pub fn of_this_program() -> State {
        State { format: FORMAT, version: env!("CARGO_PKG_VERSION").into(), ..State::default() }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        // What has no map with odd keys and no float that is not finite can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<State, StateError> {
        let state: State = serde_json::from_slice(bytes)?;
        match state.format {
            FORMAT => Ok(state),
            other => Err(StateError::Later(other)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use roomd_wire::{Generation, Slot};

    use super::*;
    use crate::status::DeathCause;

    fn full() -> State {
        let id = WorkerId { slot: Slot(1), generation: Generation(7) };
        let slot = crate::slot::SlotState {
            place: 1,
            wanted: true,
            restarts: BTreeMap::from([(DeathCause::Crash, 2), (DeathCause::Hang, 1)]),
            ..Default::default()
        };
        let death = Death {
            generation: Generation(6),
            pid: 9,
            cause: DeathCause::Crash,
            detail: "exit status 1".into(),
            ago_s: 1.5,
            last_words: vec!["é\u{1b}[0m".into()],
        };
        State {
            run: 3,
            workers: 4,
            fleet: FleetState { ever_ready: true, slots: vec![slot] },
            processes: vec![ProcessState { id, pid: 10, started: u64::MAX, greeted: true }],
            deaths: vec![DeathState { slot: Slot(1), at: Moment(5), death }],
            leader: Some(id),
            embedded: true,
            ..State::of_this_program()
        }
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        for state in [State::of_this_program(), full()] {
            assert_eq!(State::decode(&state.encode()).unwrap(), state);
        }
    }

    #[test]
    fn what_is_unknown_is_passed_over_and_what_is_missing_has_its_default() {
        let state = State::decode(br#"{"format":1,"workers":2,"some":{"later":["field"]}}"#).unwrap();
        assert_eq!((state.workers, state.run), (2, 0));
        for (bytes, words) in [
            (&b"{\"format\":2}"[..], "format 2"),
            (b"{}", "format 0"),
            (b"", "cannot be read"),
            (b"{\"format\":1,\"workers\":-1}", "cannot be read"),
        ] {
            assert!(State::decode(bytes).unwrap_err().to_string().contains(words));
        }
    }

    #[test]
    fn random_bytes_are_an_error_and_not_a_panic() {
        let mut rng = fastrand::Rng::new();
        let whole = full().encode();
        for _ in 0..2000 {
            let mut bytes = whole.clone();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..bytes.len());
                bytes[at] = rng.u8(..);
            }
            bytes.truncate(rng.usize(..=bytes.len()));
            // Either is right: what is changed may still be a state.
            let _ = State::decode(&bytes);
        }
    }
}
