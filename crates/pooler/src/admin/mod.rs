//! The console, without a console: text in, a command out; rows in, bytes out.
//!
//! Invariant: nothing here has an effect. A command is carried out by the control plane, which
//! asks [`Command::authorize`] first; a command without a line in that table does not compile.
//! Not here: who gets in (`worker/console.rs`), carrying out (`service/`).

pub mod command;
pub mod error;
pub mod render;
pub mod show;

pub use command::{Command, FakeParameter, Role, Show, Shutdown};
pub use error::CommandError;

#[cfg(test)]
mod tests;
