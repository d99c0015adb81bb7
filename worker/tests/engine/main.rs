//! The engine in real workers with real sockets; the layer above is an echo.
#![allow(clippy::unwrap_used, missing_docs)]

// More than this target's themes use so far: polling and relays are tested from outside, in `tests/`.
#[allow(dead_code)]
mod harness;
mod websocket;
