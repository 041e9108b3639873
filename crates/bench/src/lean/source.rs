//! Which requests are due, for one thread.
//!
//! Invariant: requests are handed out in the order of their intended begin.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use headpond_core::Random;

use crate::arrival::{Arrival, Schedule, exponential};
use crate::measure::nanos;

/// Says which requests are due.
#[derive(Debug)]
pub enum Source {
    /// Clients that ask again after their answer.
    Closed {
        /// Mean pause, in nanoseconds.
        think: u64,
        /// When each client that has no answer to wait for asks next.
        due: BinaryHeap<Reverse<u64>>,
        /// Draws pauses.
        random: Random,
    },
    /// Requests that come whatever happens.
    Open(Schedule),
}

impl Source {
    /// Begins at `now`, with so many clients, or the share of the rate that falls to one of
    /// `threads`.
    pub fn new(arrival: Arrival, clients: u32, threads: usize, now: u64, seed: u64) -> Self {
        match arrival {
            Arrival::Closed { think } => {
                let due = (0..clients).map(|_| Reverse(now)).collect();
                Self::Closed { think: nanos(think), due, random: Random::new(seed) }
            }
            Arrival::Open { rate, shape } => {
                Self::Open(Schedule::new(now, rate / threads as f64, shape, seed))
            }
        }
    }

    /// When the next request begins; `None` while every client waits for an answer.
    pub fn peek(&self) -> Option<u64> {
        match self {
            Self::Closed { due, .. } => due.peek().map(|Reverse(due)| *due),
            Self::Open(schedule) => Some(schedule.peek()),
        }
    }

    /// Takes the next request if it has begun by `now`.
    pub fn take(&mut self, now: u64) -> Option<u64> {
        match self {
            Self::Closed { due, .. } => {
                due.peek().filter(|Reverse(due)| *due <= now)?;
                due.pop().map(|Reverse(due)| due)
            }
            Self::Open(schedule) => schedule.take(now),
        }
    }

    /// Says that a client has its answer, or will never have it.
    pub fn answered(&mut self, now: u64) {
        if let Self::Closed { think, due, random } = self {
            let pause = if *think == 0 { 0 } else { (*think as f64 * exponential(random)) as u64 };
            due.push(Reverse(now.saturating_add(pause)));
        }
    }

    /// Says that a request failed at once: its client waits a little, or a refusing server would be
    /// asked a million times a second.
    pub fn refused(&mut self, now: u64) {
        const PAUSE: Duration = Duration::from_millis(10);
        self.answered(now.saturating_add(nanos(PAUSE)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrival::Shape;

    #[test]
    fn a_client_asks_again_only_after_its_answer() {
        let closed = Arrival::Closed { think: Duration::ZERO };
        let mut source = Source::new(closed, 2, 1, 100, 1);
        assert_eq!(
            (source.take(100), source.take(100), source.take(100)),
            (Some(100), Some(100), None)
        );
        assert_eq!(source.peek(), None);
        source.answered(150);
        assert_eq!((source.take(149), source.take(200)), (None, Some(150)));
    }

    #[test]
    fn an_open_loop_does_not_care_for_answers() {
        let open = Arrival::Open { rate: 2000.0, shape: Shape::Even };
        let mut source = Source::new(open, 1, 2, 0, 1);
        let taken = std::iter::from_fn(|| source.take(10_000_000)).count();
        assert_eq!(taken, 10, "half of the rate: there are two threads");
    }
}
