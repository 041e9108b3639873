//! Laws of a pool, on a runtime whose clock the tests turn.

mod bench;
mod errors;
mod keeping;
mod lifecycle;
mod serving;
mod sizing;
