//! The log of one process, supervisor or worker: what becomes a line, how many of a kind, and by which filter.
//!
//! ```text
//! tracing event ─► filter (changeable) ─► limiter (so many of one cause) ─► Record ─► sink: standard error, in some form
//! ```
//!
//! [`start`] installs it, once in a process. A worker's sink is [`write_record`]: a [`Record`] a line, which the supervisor reads,
//! marks with the worker's slot, and writes in the form of its own log. Whoever runs an event loop calls [`tick`] once a second,
//! for a line that tells how many were left out must come even when nothing more is logged.

mod layer;
mod limiter;
mod record;

pub use layer::{finish, set_filter, set_lines_per_cause, start, suppressed, tick, write_record};
pub use limiter::INTERVAL;
pub use record::{LEVELS, MARK, Record};
