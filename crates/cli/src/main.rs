//! The program `headpond`.
fn main() {}
