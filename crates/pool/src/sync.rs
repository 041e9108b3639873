//! What threads share, by the names that both the real thing and the model checker have.
//!
//! Invariant: a [`Cell`] is touched by one thread at a time, as the list that owns it sees to; it
//! needs no `unsafe`, because it is checked and not assumed.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// One value, or none.
#[cfg(not(loom))]
pub(crate) struct Cell<T>(crossbeam_utils::atomic::AtomicCell<Option<T>>);

#[cfg(not(loom))]
impl<T> Cell<T> {
    pub(crate) fn new() -> Self {
        Self(crossbeam_utils::atomic::AtomicCell::new(None))
    }

    #[inline]
    pub(crate) fn take(&self) -> Option<T> {
        self.0.take()
    }

    #[inline]
    pub(crate) fn put(&self, value: T) {
        self.0.store(Some(value));
    }
}

/// One value, or none; the model checker fails if two threads meet here.
#[cfg(loom)]
pub(crate) struct Cell<T>(loom::sync::Mutex<Option<T>>);

#[cfg(loom)]
impl<T> Cell<T> {
    pub(crate) fn new() -> Self {
        Self(loom::sync::Mutex::new(None))
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.0.try_lock().expect("two threads at one place").take()
    }

    pub(crate) fn put(&self, value: T) {
        let before = self.0.try_lock().expect("two threads at one place").replace(value);
        assert!(before.is_none(), "a value was overwritten");
    }
}

/// A box that is filled once.
pub(crate) struct OnceBox<T>(std::sync::OnceLock<Box<T>>);

impl<T> OnceBox<T> {
    pub(crate) const fn new() -> Self {
        Self(std::sync::OnceLock::new())
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get().map(Box::as_ref)
    }

    pub(crate) fn set(&self, value: T) {
        let filled = self.0.set(Box::new(value));
        assert!(filled.is_ok(), "a segment is made once, under the lock");
    }
}
