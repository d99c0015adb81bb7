//! The command line.

mod signal;

pub use signal::parse_signal;
