//! What happens to connections, told to whoever listens; and the last error, for those who ask.
//!
//! Invariant: telling never waits: who reads too slowly misses events and hears how many.
//! Left out: numbers (`status.rs`), which cost nothing and miss nothing.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::broadcast::{self, error::RecvError};

use crate::manager::CloseReason;

/// Something that happened to a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The pool.
    pub pool: Arc<str>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A connection was opened.
    Connect,
    /// A connection was lent.
    Acquire,
    /// A connection came back.
    Release,
    /// A connection is being closed, for this reason; none if its user detached it.
    Remove(Option<CloseReason>),
    /// A connect failed.
    Error,
    /// So many events were missed, because they were read too slowly.
    Missed(u64),
}

impl EventKind {
    /// Returns the name in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Acquire => "acquire",
            Self::Release => "release",
            Self::Remove(_) => "remove",
            Self::Error => "error",
            Self::Missed(_) => "missed",
        }
    }
}

/// Hears what happens to the connections of a pool; made by
/// [`Pool::events`](crate::Pool::events).
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Event>, Arc<str>);

impl Listener {
    /// Waits for the next event; none when the pool is gone.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => {
                Some(Event { pool: Arc::clone(&self.1), kind: EventKind::Missed(missed) })
            }
            Err(RecvError::Closed) => None,
        }
    }
}

/// Tells listeners.
#[derive(Clone)]
pub(crate) struct Events(broadcast::Sender<Event>);

impl Events {
    pub(crate) fn new(kept: usize) -> Self {
        Self(broadcast::Sender::new(kept.max(1)))
    }

    pub(crate) fn tell(&self, pool: &Arc<str>, kind: EventKind) {
        // Nobody listening is no error, and then nothing is made up either.
        if self.0.receiver_count() > 0 {
            let _ = self.0.send(Event { pool: Arc::clone(pool), kind });
        }
    }

    pub(crate) fn listen(&self, pool: &Arc<str>) -> Listener {
        Listener(self.0.subscribe(), Arc::clone(pool))
    }
}

/// Errors of a pool: connects that failed, and callers who got no connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Errors {
    /// How many.
    pub count: u64,
    /// The last one in words; of a burst, one of them.
    pub last: Option<String>,
    /// When it was.
    pub last_at: Option<SystemTime>,
}

/// Errors that follow each other so closely are one burst.
const BURST: Duration = Duration::from_millis(10);

impl Errors {
    pub(crate) fn note(&mut self, error: &dyn fmt::Display) {
        self.count += 1;
        let now = SystemTime::now();
        // Putting ten thousand refusals of one moment into words would cost more than it tells.
        let burst = |last: SystemTime| now.duration_since(last).is_ok_and(|since| since < BURST);
        if !self.last_at.is_some_and(burst) {
            self.last = Some(error.to_string());
        }
        self.last_at = Some(now);
    }
}
