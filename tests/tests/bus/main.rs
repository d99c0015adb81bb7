//! The bus: one suite of promises that every implementation keeps, then what is each one's own.
//!
//! `conformance` holds the promises, `member` a process's bus with all that came on it, `proxy` a bad network in front of it,
//! `worker` a whole worker whose bus it is; `ready` and `golden` are about such a one.
#![allow(clippy::unwrap_used, missing_docs)]

mod conformance;
mod embedded;
mod golden;
mod member;
mod proxy;
mod ready;
mod redis;
mod tls;
mod worker;

use roomd_tests::RedisServer;

/// Runs a test on a current-thread runtime, as a worker does.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}
