//! Each of the targets, under its name.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roomd_fuzz::target(env!("CARGO_BIN_NAME")).expect("a target of this name").check(bytes));
