//! Where a stage with ours may differ from two official servers, and why.

/// Some rows, in each namespace, of some stages.
struct Allowed {
    stages: &'static [&'static str],
    rows: &'static [&'static str],
    reason: &'static str,
}

const ASKED_FROM_OURS: &[&str] = &["ours + node", "ours + ours", "embedded"];
const WITH_OURS: &[&str] = &["ours + node", "node + ours", "ours + ours", "embedded"];

const ALLOWED: &[Allowed] = &[
    Allowed {
        stages: ASKED_FROM_OURS,
        rows: &["emit with ack: local", "emit with ack: local rooms"],
        reason: "the official server waits for answers of all servers, though it has not asked them; ours has all there are",
    },
    Allowed {
        stages: WITH_OURS,
        rows: &["a room that is a number: told", "a room that is a number: its text"],
        reason: "rooms have texts for names here: a number's is the room of its text, which JavaScript holds apart",
    },
    Allowed {
        stages: ASKED_FROM_OURS,
        rows: &[
            "emit: payload minus zero",
            "emit with ack: payload minus zero",
            "each found: answer: payload minus zero",
        ],
        reason: MINUS_ZERO,
    },
    Allowed {
        stages: &["ours + ours", "embedded"],
        rows: &["server emit: payload minus zero", "server emit with ack: payload minus zero"],
        reason: MINUS_ZERO,
    },
    Allowed {
        stages: &["node + ours", "ours + ours", "embedded"],
        rows: &["answer: payload integers beyond 64 bits", "answer: payload floats"],
        reason: NOTEPACK,
    },
    Allowed {
        stages: WITH_OURS,
        rows: &["each found: answer: payload integers beyond 64 bits", "each found: answer: payload floats"],
        reason: NOTEPACK,
    },
    Allowed {
        stages: ASKED_FROM_OURS,
        rows: &[
            "emit: payload integers beyond 64 bits",
            "emit: payload floats",
            "emit with ack: payload integers beyond 64 bits",
            "emit with ack: payload floats",
        ],
        reason: NOTEPACK,
    },
];

const MINUS_ZERO: &str = "JSON has a minus zero, which JSON.stringify does not write; serde_json does";

const NOTEPACK: &str = "the official adapter's MessagePack cuts whole numbers beyond 64 bits down to their lower ones; ours sends \
    floats";

/// Why a row is expected to differ on a stage, if it is.
pub fn reason(stage: &str, row: &str) -> Option<&'static str> {
    let (_, row) = row.split_once(' ').unwrap();
    let is_meant = |allowed: &&Allowed| allowed.stages.contains(&stage) && allowed.rows.contains(&row);
    ALLOWED.iter().find(is_meant).map(|allowed| allowed.reason)
}
