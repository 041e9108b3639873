//! The laws of the pool, one per test, each told as a short story.

mod bench;
mod control;
mod keeping;
mod opening;
mod serving;
