//! Whoever keeps history longer than memory does, as the monitor sees them.
//!
//! Invariant: nothing here waits: what finds no place is counted, answers come as futures, and
//! a store that is in trouble says so instead of failing its caller.
//! Not here: a store (`disk/`).

use std::fmt;
use std::sync::Arc;

use super::minute::Minute;
use super::point::Values;
pub(crate) use super::point::Weighed;
use crate::model::Later;

/// A history that outlives the process: one is made by `history::disk::open`.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<dyn Keep>);

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What was of one pool, minute by minute, for the rings in memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recalled {
    pub name: String,
    /// Begin of the minute in seconds since 1970, from old to new, and its values.
    pub minutes: Vec<(i64, Values)>,
}

/// What is asked of a store; seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub pool: String,
    pub from: i64,
    pub to: i64,
}

/// What it answers: at most a few hundred points, from old to new.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    /// Seconds that a point stands for.
    pub step: u32,
    /// Begin of each in seconds since 1970.
    pub points: Vec<(i64, Weighed)>,
}

/// Why there is no answer.
// Without the feature there is no store that could say so.
#[cfg_attr(not(feature = "disk"), allow(dead_code))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AskError {
    /// Too many ask at once.
    Busy,
    /// It took too long.
    Late,
    /// The file cannot be read.
    Unreadable(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many ask for the history on disk at once"),
            Self::Late => f.write_str("the history on disk took too long to answer"),
            Self::Unreadable(why) => write!(f, "the history on disk cannot be read: {why}"),
        }
    }
}

/// How a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Attempts to write that came to nothing.
    pub errors: u64,
    /// Minutes that found no place in the line.
    pub dropped: u64,
    /// What it takes on disk.
    pub bytes: u64,
}

/// Something that a store has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remark {
    pub text: String,
    pub is_good: bool,
}

/// What a store can do.
pub(crate) trait Keep: fmt::Debug + Send + Sync {
    /// Returns what was in the last day, once: it is not read again.
    fn recall(&self) -> Vec<Recalled>;

    /// Hands a minute over, without waiting.
    fn put(&self, minute: Minute);

    /// Answers what was; `None` if there is no such pool.
    fn ask(&self, question: Question) -> Later<'static, Result<Option<Told>, AskError>>;

    /// Returns the pools it knows; [`super::ALL`] is the sum.
    fn names(&self) -> Vec<String>;

    /// Returns how it is.
    fn condition(&self) -> Condition;

    /// Returns what is new, once.
    fn remarks(&self) -> Vec<Remark>;

    /// Writes what was handed over and ends, in bounded time.
    fn close(&self);
}
