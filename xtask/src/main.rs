//! `cargo xtask`: one command per intent.

fn main() {}
