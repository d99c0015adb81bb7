//! roomd under a real systemd, which is process 1 of namespaces of the test's own.
#![allow(clippy::unwrap_used, missing_docs)]

mod life;
mod sandbox;

/// Two workers, a short grace, and ports that the system chooses.
const CONFIG: &str = "\
[cluster]\nworkers = 2\ngrace = \"2s\"\nlisten = \"127.0.0.1:0\"\ncontrol = \"/run/roomd/control.sock\"\n\
[admin]\nlisten = \"127.0.0.1:0\"\n";
