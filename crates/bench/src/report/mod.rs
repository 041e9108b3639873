//! Results for people: a summary for the terminal and a page for the browser.
//!
//! Invariant: whatever makes a figure doubtful stands beside it.

pub mod chart;
#[cfg(test)]
pub(crate) mod example;
pub mod html;
pub mod soak;
pub mod text;
