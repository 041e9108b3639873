//! The way into a worker from other threads.
//!
//! Invariant: mail is delivered once, in the order of posting; a worker that sleeps is woken.
//! Not here: what the mail says (`control.rs`).

use parking_lot::Mutex;

use crate::control::Mail;
use crate::engine::{Engine, Waker};

/// One worker's queue of mail.
pub struct Mailbox<E: Engine> {
    queue: Mutex<Vec<Mail<E>>>,
    waker: E::Waker,
}

impl<E: Engine> Mailbox<E> {
    /// Makes the mailbox of the worker that `waker` wakes.
    #[must_use]
    pub fn new(waker: E::Waker) -> Self {
        Self { queue: Mutex::new(Vec::new()), waker }
    }

    /// Delivers a message.
    pub fn post(&self, mail: Mail<E>) {
        let first = {
            let mut queue = self.queue.lock();
            queue.push(mail);
            queue.len() == 1
        };
        // Whoever made the queue non-empty wakes: a worker takes all mail of a turn at once.
        if first {
            self.waker.wake();
        }
    }

    /// Takes everything that has come; `into` must be empty.
    pub fn take(&self, into: &mut Vec<Mail<E>>) {
        std::mem::swap(&mut *self.queue.lock(), into);
    }
}
