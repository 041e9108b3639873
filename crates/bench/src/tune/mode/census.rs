//! How many connections a server has, as it counts them itself.
//!
//! Invariant: asks on one connection of its own, which it does not count, and only what any login
//! may ask.
//! Left out: whose they are; a login may not see that of others.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::drive::Client;
use crate::error::Error;
use crate::run;
use crate::target::Target;

/// How long connections may take to be gone after their pooler is.
const GONE: Duration = Duration::from_secs(5);
/// Sessions of clients: helpers of the server have no user, or no database.
const QUESTION: &str = "SELECT count(*)::text FROM pg_stat_activity WHERE datid IS NOT NULL AND \
                        usesysid IS NOT NULL AND pid <> pg_backend_pid()";

/// Counts.
pub struct Census<'a> {
    runtime: Runtime,
    client: Client,
    target: &'a Target,
}

impl<'a> Census<'a> {
    /// Connects.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn open(target: &'a Target) -> Result<Self, Error> {
        let runtime = run::runtime()?;
        let client = runtime.block_on(Client::open(target, 1, Duration::from_secs(10)))?;
        Ok(Self { runtime, client, target })
    }

    /// Returns how many connections there are beside its own.
    ///
    /// # Errors
    /// When the server does not answer, or not with a number.
    pub fn count(&self) -> Result<u32, Error> {
        let answer = self.runtime.block_on(self.client.ask(self.target, QUESTION))?;
        let count = answer.trim().parse();
        count.map_err(|_| Error::target(self.target, "does not say how many connections it has"))
    }

    /// Does something, and returns the most connections that there were meanwhile.
    ///
    /// # Errors
    /// When the server does not answer at the end.
    pub fn most_during<T>(
        &self,
        step: Duration,
        work: impl FnOnce() -> T,
    ) -> Result<(T, u32), Error> {
        let pause = (step / 4).clamp(Duration::from_millis(20), Duration::from_secs(1));
        let done = AtomicBool::new(false);
        let (result, most) = std::thread::scope(|scope| {
            let counting = scope.spawn(|| {
                let mut most = 0;
                while !done.load(Relaxed) {
                    // A server that is full of work may be late to answer; the last count decides.
                    most = most.max(self.count().unwrap_or(0));
                    std::thread::park_timeout(pause);
                }
                most
            });
            let result = work();
            done.store(true, Relaxed);
            counting.thread().unpark();
            (result, counting.join().unwrap_or(0))
        });
        Ok((result, most.max(self.count()?)))
    }

    /// Waits until there are no more than so many, or for five seconds: others may have come.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn until_at_most(&self, count: u32) -> Result<(), Error> {
        let deadline = Instant::now() + GONE;
        while self.count()? > count && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}
