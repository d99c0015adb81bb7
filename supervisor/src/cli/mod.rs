//! The command line: what was asked for, who carries it out, and what the process exits with.
//!
//! `args` reads it (`order` what is for clients), `failure` has the exit codes, `commands` are the clients of the control socket, `table` is what
//! `roomd status` shows to people, `man` the manual page, `init` writes a configuration and a unit.

mod args;
mod commands;
mod failure;
mod init;
mod man;
mod order;
mod patience;
mod signal;
mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use args::{Asked, parse};
pub use commands::{
    check, drain, kill, log, order, print, reload, scale, show, status, stop, top, undrain, upgrade, wait,
};
pub use failure::Failure;
pub use init::init;
pub use signal::parse_signal;
