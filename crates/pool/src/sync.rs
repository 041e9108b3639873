//! What threads share, by the names that both the real thing and the model checkers have.
//!
//! Invariant: the content of a [`Cell`] is exchanged in one step that also passes on what was done
//! before it (acquire and release); it needs no `unsafe`.

#[cfg(not(any(headpond_loom, headpond_shuttle)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[cfg(headpond_loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[cfg(headpond_shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// One value, or none.
#[cfg(not(any(headpond_loom, headpond_shuttle)))]
pub(crate) struct Cell<T>(crossbeam_utils::atomic::AtomicCell<Option<T>>);

#[cfg(not(any(headpond_loom, headpond_shuttle)))]
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

/// One value, or none; the model checker fails if a value is overwritten.
#[cfg(headpond_loom)]
pub(crate) struct Cell<T>(loom::sync::Mutex<Option<T>>);

/// One value, or none; the scheduler fails if a value is overwritten.
#[cfg(headpond_shuttle)]
pub(crate) struct Cell<T>(shuttle::sync::Mutex<Option<T>>);

#[cfg(any(headpond_loom, headpond_shuttle))]
impl<T> Cell<T> {
    pub(crate) fn new() -> Self {
        #[cfg(headpond_loom)]
        return Self(loom::sync::Mutex::new(None));
        #[cfg(headpond_shuttle)]
        return Self(shuttle::sync::Mutex::new(None));
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.0.lock().expect("nobody panics with it").take()
    }

    pub(crate) fn put(&self, value: T) {
        let before = self.0.lock().expect("nobody panics with it").replace(value);
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
        assert!(filled.is_ok(), "it is filled once, under the lock");
    }
}
