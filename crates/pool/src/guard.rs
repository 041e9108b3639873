//! A connection that somebody has.
//!
//! Invariant: a guard has a connection until it is dropped or detached; dropping gives it back.
//! Left out: whether it may be used again; the manager says so.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::manager::{CloseReason, Manager};
use crate::shared::{Boxed, Shared};

/// A connection borrowed from a pool that outlives it. Dropping it gives the connection back.
#[must_use = "a guard that is dropped gives its connection back"]
pub struct Guard<'pool, M: Manager> {
    shared: &'pool Shared<M>,
    entry: Option<Boxed<M>>,
}

/// A connection with a handle of its pool, for tasks and structs of their own. Dropping it gives
/// the connection back.
#[must_use = "a guard that is dropped gives its connection back"]
pub struct OwnedGuard<M: Manager> {
    shared: Arc<Shared<M>>,
    entry: Option<Boxed<M>>,
}

const PRESENT: &str = "a guard has its connection until it is consumed";

impl<'pool, M: Manager> Guard<'pool, M> {
    #[inline]
    pub(crate) const fn new(shared: &'pool Shared<M>, entry: Boxed<M>) -> Self {
        Self { shared, entry: Some(entry) }
    }
}

impl<M: Manager> OwnedGuard<M> {
    #[inline]
    pub(crate) const fn new(shared: Arc<Shared<M>>, entry: Boxed<M>) -> Self {
        Self { shared, entry: Some(entry) }
    }

    pub(crate) fn into_entry(mut self) -> Boxed<M> {
        self.entry.take().expect(PRESENT)
    }
}

macro_rules! guard {
    ($name:ty, [$($life:tt)*]) => {
        impl<$($life)* M: Manager> Deref for $name {
            type Target = M::Connection;

            #[inline]
            fn deref(&self) -> &M::Connection {
                &self.entry.as_ref().expect(PRESENT).conn
            }
        }

        impl<$($life)* M: Manager> DerefMut for $name {
            #[inline]
            fn deref_mut(&mut self) -> &mut M::Connection {
                &mut self.entry.as_mut().expect(PRESENT).conn
            }
        }

        impl<$($life)* M: Manager> Drop for $name {
            #[inline]
            fn drop(&mut self) {
                if let Some(entry) = self.entry.take() {
                    self.shared.give_back(entry);
                }
            }
        }

        impl<$($life)* M: Manager> $name {
            /// Takes the connection out of the pool for good; its place is free at once.
            #[must_use = "the pool has forgotten the connection"]
            pub fn detach(mut self) -> M::Connection {
                self.shared.forget(*self.entry.take().expect(PRESENT))
            }

            /// Closes the connection instead of giving it back, because it is broken or not clean.
            pub fn discard(mut self) {
                self.shared.discard(self.entry.take().expect(PRESENT), CloseReason::Unclean);
            }
        }

        impl<$($life)* M: Manager> fmt::Debug for $name
        where
            M::Connection: fmt::Debug,
        {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple("Guard").field(&**self).finish()
            }
        }
    };
}

guard!(Guard<'pool, M>, ['pool,]);
guard!(OwnedGuard<M>, []);
