//! The engine in real workers with real sockets; the layer above is an echo.
#![allow(clippy::unwrap_used, missing_docs)]

mod harness;
mod hooks;
mod http;
mod lifecycle;
mod odd;
mod polling;
mod relay;
mod upgrade;
mod websocket;
