//! The fuzz runner.
fn main() {}
