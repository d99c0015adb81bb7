//! `roomd top`: a live view of a running cluster.
//!
//! ```text
//! control socket ─► run (asks, keys, signals, the terminal)
//!                     │ Status
//!                     ▼
//!                   rates ─► Picture ─► render (view: order, pause, help) ─► terminal, or lines of text (plain)
//! ```
//!
//! `rates` makes rates of what the workers count, `view` is what the keys change, `render` draws both; none of them does I/O.
//! `header` is what stands above the table of workers, `columns` are those of it. `run` is the thin shell.

mod columns;
mod header;
mod rates;
mod render;
mod run;
mod view;

pub use run::run;
