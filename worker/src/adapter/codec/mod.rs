//! The official adapter's bytes.
