//! The conversations, by theme.

mod admission;
mod client_files;
mod deflate;
mod hooks;
mod odd_bodies;
mod odd_heads;
mod odd_packets;
mod options;
mod packets;
mod polling;
mod upgrade;
mod websocket;

pub use client_files::{CASES as CLIENT_FILES, FROM_ELSEWHERE};
pub use deflate::CASES as DEFLATE;
pub use options::{COMPRESSION, COOKIE, CROSS_ORIGIN, OTHER_PREFLIGHT, PATH, QUICK, TRANSPORTS, UNTOLD};

use super::recorder::Recorder;

/// A conversation, and its name.
pub type Case = (&'static str, fn(&mut Recorder));

/// With default options.
pub const DEFAULTS: [&[Case]; 9] = [
    admission::CASES,
    hooks::CASES,
    polling::CASES,
    packets::CASES,
    websocket::CASES,
    upgrade::CASES,
    odd_heads::CASES,
    odd_bodies::CASES,
    odd_packets::CASES,
];
