//! What is known of a session without asking the server: read off the bytes that pass.
//!
//! The stream given to the driver reports what is written and read; the task that runs the driver
//! reports when it sleeps. Together they tell at any moment whether something is under way, even a
//! request that its caller gave up before a byte of it was sent.
//!
//! Invariant: `is_quiet` is true only if every request that was ever handed to the driver has been
//! sent, answered, read and delivered. In doubt it is false.
//! Left out: what follows from it (`manager.rs`).

mod dirt;
mod driver;
mod follow;
mod frames;
mod stream;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};

use headpond_wire::Status;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use dirt::Dirt;
pub(crate) use driver::Driver;
pub(crate) use follow::Key;
pub(crate) use stream::{Handshaken, Watched};

/// The driver is being polled.
const POLLING: u32 = 1;
/// Somebody woke the driver, and it has not run since.
const WOKEN: u32 = 2;
/// The driver went to sleep without having read all there is: a reply waits for its reader.
const UNREAD: u32 = 4;
/// The socket did not take all that the driver wanted to write.
const BLOCKED: u32 = 8;
/// The driver's task has ended, or the server closed the socket.
const ENDED: u32 = 16;
/// The bytes could not be followed: nothing is known any more.
const LOST: u32 = 32;

/// What is known of one session. Shared by its stream, its driver and its connection.
#[derive(Debug)]
pub(crate) struct Watch {
    phase: AtomicU32,
    /// Replies that the server owes, and whatever else is unfinished.
    owed: AtomicU32,
    /// The byte of the last ReadyForQuery.
    status: AtomicU8,
    dirt: AtomicU32,
    /// The last statement that finished was a COMMIT, and did commit.
    committed: AtomicBool,
    /// The SQLSTATE of the last error, or zeros.
    error: AtomicU64,
    /// Counts the events that made prepared statements worthless.
    generation: AtomicU64,
    key: Mutex<Option<Key>>,
    parameters: Mutex<BTreeMap<String, String>>,
    /// Told when the driver goes to sleep or ends.
    changed: Notify,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            // Not quiet until the driver has slept once.
            phase: AtomicU32::new(WOKEN),
            owed: AtomicU32::new(1),
            status: AtomicU8::new(Status::Failed.byte()),
            dirt: AtomicU32::new(0),
            committed: AtomicBool::new(false),
            error: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            key: Mutex::new(None),
            parameters: Mutex::new(BTreeMap::new()),
            changed: Notify::new(),
        }
    }

    /// Returns whether nothing is under way: all requests were sent, answered and read.
    pub(crate) fn is_quiet(&self) -> bool {
        self.phase.load(SeqCst) == 0 && self.owed.load(SeqCst) == 0
    }

    /// Returns whether the server or the driver has ended the session, or it cannot be followed.
    pub(crate) fn is_over(&self) -> bool {
        self.phase.load(SeqCst) & (ENDED | LOST) != 0
    }

    /// Returns how many replies are owed at least.
    pub(crate) fn owed(&self) -> u32 {
        self.owed.load(SeqCst)
    }

    /// Returns where the session stood when the server was last ready.
    pub(crate) fn status(&self) -> Status {
        // A byte that is none of the three never gets here; the fallback forbids reuse.
        Status::from_byte(self.status.load(SeqCst)).unwrap_or(Status::Failed)
    }

    /// Returns what was left in the session, as far as it can be seen.
    pub(crate) fn dirt(&self) -> Dirt {
        Dirt::from_bits(self.dirt.load(SeqCst))
    }

    /// Notes that the session was cleaned.
    pub(crate) fn cleaned(&self) {
        self.dirt.store(0, SeqCst);
    }

    /// Returns the SQLSTATE of the last error since [`Watch::forget_error`].
    pub(crate) fn error(&self) -> Option<[u8; 5]> {
        let [_, _, _, code @ ..] = self.error.load(SeqCst).to_be_bytes();
        (code != [0; 5]).then_some(code)
    }

    pub(crate) fn forget_error(&self) {
        self.error.store(0, SeqCst);
    }

    /// Returns whether the last statement that finished was a COMMIT, and did commit.
    pub(crate) fn has_committed(&self) -> bool {
        self.committed.load(SeqCst)
    }

    /// Returns a number that changes when prepared statements became worthless.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// Returns what cancels a query of this session, once it has logged in.
    pub(crate) fn key(&self) -> Option<Key> {
        self.key.lock().clone()
    }

    /// Returns the value of a parameter that the server reports.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters.lock().get(name).cloned()
    }

    /// Waits until nothing is under way; false if the session ended instead.
    pub(crate) async fn quiet(&self) -> bool {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_over() {
                return false;
            }
            if self.is_quiet() {
                return true;
            }
            changed.await;
        }
    }

    /// Waits until the session has ended.
    pub(crate) async fn ended_at_last(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_over() {
                return;
            }
            changed.await;
        }
    }

    /// Notes something that only the user can know of.
    pub(crate) fn note(&self, dirt: Dirt) {
        self.soiled(dirt);
    }

    // What the driver's task reports.

    fn woken(&self) {
        self.phase.fetch_or(WOKEN, SeqCst);
    }

    fn polling(&self) {
        // In this order, so that it never looks quiet in between.
        self.phase.fetch_or(POLLING | UNREAD, SeqCst);
        self.phase.fetch_and(!WOKEN, SeqCst);
    }

    fn sleeps(&self) {
        self.phase.fetch_and(!POLLING, SeqCst);
        self.changed.notify_waiters();
    }

    pub(crate) fn ended(&self) {
        self.phase.fetch_or(ENDED, SeqCst);
        self.changed.notify_waiters();
    }

    // What the stream reports.

    fn drained(&self) {
        self.phase.fetch_and(!UNREAD, SeqCst);
    }

    fn blocked(&self, blocked: bool) {
        if blocked {
            self.phase.fetch_or(BLOCKED, SeqCst);
        } else {
            self.phase.fetch_and(!BLOCKED, SeqCst);
        }
    }

    fn closed(&self) {
        self.phase.fetch_or(ENDED, SeqCst);
    }

    fn lost(&self) {
        self.phase.fetch_or(LOST, SeqCst);
    }

    fn soiled(&self, dirt: Dirt) {
        if dirt != Dirt::NONE {
            self.dirt.fetch_or(dirt.bits(), SeqCst);
        }
    }
}
