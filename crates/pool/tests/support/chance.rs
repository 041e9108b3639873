//! Futures dropped at points that look random and can be had again.

use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that is dropped after so many polls.
pub struct Cut<F> {
    future: Pin<Box<F>>,
    polls: u32,
}

impl<F: Future> Cut<F> {
    pub fn after(polls: u32, future: F) -> Self {
        Self { future: Box::pin(future), polls }
    }
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.future.as_mut().poll(cx).map(Some)
    }
}

/// Numbers that look random and can be had again.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Returns what the environment says, or something of this process; odd.
pub fn seed() -> u64 {
    let asked: Option<u64> = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    asked.unwrap_or_else(|| std::process::id().into()) | 1
}
