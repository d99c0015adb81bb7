//! What is measured.

pub mod connect;
pub mod deflate;
pub mod fanout;
pub mod memory;
pub mod typed;
