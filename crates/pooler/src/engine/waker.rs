//! Waking a thread that waits in the kernel, without a system call if it does not wait.
//!
//! Invariant: a wake before or during a wait ends it or is seen when it ends; the state is
//! `AWAKE` or `NOTIFIED` while the thread runs, `ASLEEP` or `NOTIFIED` while it waits.
//! The descriptor is watched edge-triggered and never read: each write is an edge.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const NOTIFIED: u8 = 2;

/// Wakes an engine that waits in the kernel, by an eventfd.
#[derive(Clone, Debug)]
pub struct EventWaker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    eventfd: OwnedFd,
}

impl super::Waker for EventWaker {
    fn wake(&self) {
        // Read-modify-write on both sides: whoever comes second sees what the first wrote.
        if self.0.state.swap(NOTIFIED, Ordering::AcqRel) == ASLEEP {
            self.signal();
        }
    }
}

impl EventWaker {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved; the result is checked before it is owned.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was created above and nobody else knows it.
        let eventfd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(Arc::new(Shared { state: AtomicU8::new(AWAKE), eventfd })))
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.eventfd.as_fd()
    }

    /// Announces that the thread is about to wait. False if it was woken already: then it must
    /// not wait.
    pub(super) fn fall_asleep(&self) -> bool {
        let state = &self.0.state;
        state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Ends the wait and returns whether someone woke the thread since the last call.
    pub(super) fn wake_up(&self) -> bool {
        self.0.state.swap(AWAKE, Ordering::AcqRel) == NOTIFIED
    }

    fn signal(&self) {
        let one = 1_u64;
        let fd = self.0.eventfd.as_raw_fd();
        // SAFETY: eight readable bytes; the descriptor lives as long as `self`.
        // The write can only fail when the counter is full, and then the edge has happened.
        unsafe { libc::write(fd, (&raw const one).cast(), 8) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Waker;

    #[test]
    fn a_wake_before_the_wait_forbids_it_and_is_told_once() {
        let waker = EventWaker::new().expect("an eventfd");
        waker.wake();
        waker.wake();
        assert!(!waker.fall_asleep());
        assert!(waker.wake_up());
        assert!(!waker.wake_up());
        assert!(waker.fall_asleep());
        assert!(!waker.wake_up());
    }
}
