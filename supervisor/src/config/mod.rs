//! Configuration: what the file, the flags and the environment say, and what the program runs on.

mod types;

pub use types::{Config, ListenAddress, Network};
