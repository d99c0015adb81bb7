//! The `roomd` program: the library with the built-in chat as its application.

fn main() {}
