//! The futures that callers wait on.
//!
//! Invariant: nothing is awaited between the grant of a connection and the guard that has it.
//! Left out: how a connection is come by (`acquire.rs`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::acquire::{Acquiring, Patience, Priority};
use crate::error::Error;
use crate::guard::{Guard, OwnedGuard};
use crate::manager::Manager;
use crate::shared::Shared;

/// Waits for a connection; made by [`Pool::get`](crate::Pool::get).
///
/// # Cancel safety
/// Dropping the future leaves the queue; a connection granted meanwhile goes to the next caller.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Get<'pool, M: Manager> {
    shared: &'pool Shared<M>,
    acquiring: Acquiring<M>,
}

/// Waits for a connection that brings a handle of its pool; made by
/// [`Pool::get_owned`](crate::Pool::get_owned).
///
/// # Cancel safety
/// Dropping the future leaves the queue; a connection granted meanwhile goes to the next caller.
#[must_use = "futures do nothing unless they are awaited"]
pub struct GetOwned<M: Manager> {
    shared: Arc<Shared<M>>,
    acquiring: Acquiring<M>,
}

impl<'pool, M: Manager> Get<'pool, M> {
    pub(crate) const fn new(shared: &'pool Shared<M>, acquiring: Acquiring<M>) -> Self {
        Self { shared, acquiring }
    }
}

impl<M: Manager> GetOwned<M> {
    pub(crate) const fn new(shared: Arc<Shared<M>>, acquiring: Acquiring<M>) -> Self {
        Self { shared, acquiring }
    }
}

macro_rules! wishes {
    ($name:ty, [$($life:tt)*]) => {
        impl<$($life)* M: Manager> $name {
            /// Waits so long at most, instead of [`Settings::acquire_timeout`](crate::Settings).
            #[must_use = "futures do nothing unless they are awaited"]
            pub const fn timeout(mut self, timeout: Duration) -> Self {
                self.acquiring.patience = Patience::For(timeout);
                self
            }

            /// Is served before less urgent callers who arrived not much earlier.
            /// Default: [`Priority::Normal`], because urgency is the exception.
            #[must_use = "futures do nothing unless they are awaited"]
            pub const fn priority(mut self, priority: Priority) -> Self {
                self.acquiring.priority = priority;
                self
            }
        }
    };
}

wishes!(Get<'pool, M>, ['pool,]);
wishes!(GetOwned<M>, []);

// Nothing inside refers to itself: what has to stay in its place is boxed.
impl<M: Manager> Unpin for Get<'_, M> {}
impl<M: Manager> Unpin for GetOwned<M> {}

impl<'pool, M: Manager> Future for Get<'pool, M> {
    type Output = Result<Guard<'pool, M>, Error<M::Error>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = self.shared;
        let got = self.acquiring.poll(shared, cx);
        got.map(|got| got.map(|entry| Guard::new(shared, entry)))
    }
}

impl<M: Manager> Future for GetOwned<M> {
    type Output = Result<OwnedGuard<M>, Error<M::Error>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let got = this.acquiring.poll(&this.shared, cx);
        got.map(|got| got.map(|entry| OwnedGuard::new(Arc::clone(&this.shared), entry)))
    }
}

impl<M: Manager> Drop for Get<'_, M> {
    #[inline]
    fn drop(&mut self) {
        self.acquiring.abandon(self.shared);
    }
}

impl<M: Manager> Drop for GetOwned<M> {
    #[inline]
    fn drop(&mut self) {
        self.acquiring.abandon(&self.shared);
    }
}
