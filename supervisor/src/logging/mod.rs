//! The log, on standard error: of the supervisor itself, and of all that its workers say.
//!
//! ```text
//! supervisor's events ─► roomd_worker::log ──────────────────────────┐
//! worker's events ─► roomd_worker::log ─► stderr ┐                   ├─► render (in a style) ─► writer ─► standard error
//! what an application prints ─► stdout, stderr ──┴─► worker_output ──┘
//! ```
//!
//! `style` says how lines look where they go, `render` makes them, `writer` writes them without ever holding up the supervisor.
//! `filter` looks at what is to be logged, `filters` knows what is in force where. [`docs/logs.md`] has the names of the fields.
//!
//! [`docs/logs.md`]: ../../../docs/logs.md

mod filter;
mod filters;
mod output;
mod pace;
mod render;
mod style;
mod worker_output;
mod writer;

pub use filter::{DEFAULT_FILTER, check as check_filter};
#[cfg(test)]
pub use filters::Filters;
pub use filters::{LogOrder, LogStatus, MAX_TIME_MS};
pub use output::{
    change_filters, configure, filter, filter_in, flush, say, start, start_in_background, suppressed,
    worker_environment,
};
pub use render::Origin;
pub use worker_output::Output;
