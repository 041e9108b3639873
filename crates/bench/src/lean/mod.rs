//! A client of PostgreSQL that costs little: a thread per core, one event loop each, no tasks.
//!
//! Each thread has its own connections, its own clients and one queue. With fewer connections than
//! clients, and in an open loop, there is one thread, so that the queue is one queue as in a pool.
//!
//! Invariant: a connection carries one request at a time; nothing is pipelined.
//! Left out: TLS, and other servers (`drive`).

pub mod login;
mod reply;
pub mod request;
mod socket;
mod source;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use headpond::postgres::{Config, SslMode};
use parking_lot::Mutex;

use self::request::Request;
use self::socket::Socket;
use self::source::Source;
use self::turn::Worker;
use crate::engine::Effort;
use crate::error::Error;
use crate::measure::Control;
use crate::run::Options;
use crate::target::Target;

/// Above this rate an open loop is spread over all cores: one thread does about 100,000 requests a
/// second, and is to have time to spare.
const RATE_OF_ONE: f64 = 30_000.0;
/// How many connections are opened at once: as many as PostgreSQL's listen queue surely holds.
const OPENERS: usize = 8;
/// How long opening one may take.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// Connections that are open, and what is sent on them.
pub struct Lean {
    config: Arc<Config>,
    request: Arc<Request>,
    sockets: Vec<Socket>,
    threads: usize,
}

/// Reads the URL of a target.
///
/// # Errors
/// When it makes no sense.
pub fn config(target: &Target) -> Result<Config, Error> {
    Config::parse(target.url()).map_err(|error| Error::target(target, error))
}

/// Whether this client will do for a target: TLS is for the library's adapter.
pub const fn suits(config: &Config) -> bool {
    matches!(config.tls.mode, SslMode::Disable | SslMode::Allow | SslMode::Prefer)
}

impl Lean {
    /// Opens all connections and prepares the statements.
    ///
    /// # Errors
    /// When one cannot be opened, or the server refuses a statement.
    pub fn open(config: Config, options: &Options) -> Result<Self, Error> {
        let config = Arc::new(config);
        let request = Arc::new(Request::new(&options.workload, options.protocol));
        let wanted = options.connections() as usize;
        let (left, opened) = (Mutex::new(wanted), Mutex::new(Ok(Vec::with_capacity(wanted))));
        std::thread::scope(|scope| {
            for _ in 0..OPENERS.min(wanted) {
                scope.spawn(|| {
                    while take_one(&left) && opened.lock().is_ok() {
                        let socket = login::open(&config, &request, OPEN_LIMIT);
                        let mut opened = opened.lock();
                        match socket {
                            Ok(socket) => {
                                if let Ok(sockets) = opened.as_mut() {
                                    sockets.push(socket);
                                }
                            }
                            Err(error) => *opened = Err(Error::target(&options.target, error)),
                        }
                    }
                });
            }
        });
        let sockets = opened.into_inner()?;
        Ok(Self { config, request, sockets, threads: threads(options) })
    }

    /// Returns how many threads there will be.
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Sends requests until the window ends. The window is open already.
    ///
    /// # Errors
    /// When the machine refuses what an event loop needs.
    pub fn run(self, options: &Options, control: &Arc<Control>) -> Result<Vec<Effort>, Error> {
        let threads = self.threads;
        let mut shares: Vec<Vec<Socket>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, socket) in self.sockets.into_iter().enumerate() {
            shares[index % threads].push(socket);
        }
        let now = control.now();
        let workers = shares.into_iter().enumerate().map(|(shard, sockets)| {
            let clients = share(options.clients, threads, shard);
            let seed = options.seed.wrapping_add(shard as u64).wrapping_mul(0x9e37_79b9);
            let source = Source::new(options.arrival, clients, threads, now, seed);
            let (config, request) = (Arc::clone(&self.config), Arc::clone(&self.request));
            let opener = Box::new(move || login::open(&config, &request, OPEN_LIMIT));
            let request = Arc::clone(&self.request);
            Worker::new(Arc::clone(control), shard, source, request, seed, options.timeout, opener)
                .and_then(|worker| worker.with(sockets))
                .map_err(|error| Error::system("event loop", error.into()))
        });
        let workers = workers.collect::<Result<Vec<_>, _>>()?;
        std::thread::scope(|scope| {
            let running: Vec<_> =
                workers.into_iter().map(|worker| scope.spawn(|| worker.run())).collect();
            let ended = running.into_iter().map(|thread| {
                let effort = thread.join().expect("a worker does not panic");
                effort.map_err(|error| Error::system("event loop", error.into()))
            });
            ended.collect()
        })
    }
}

fn take_one(left: &Mutex<usize>) -> bool {
    let mut left = left.lock();
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

/// Returns how many threads a run has.
fn threads(options: &Options) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let connections = options.connections();
    let one_queue = match options.arrival {
        crate::arrival::Arrival::Open { rate, .. } => rate <= RATE_OF_ONE,
        crate::arrival::Arrival::Closed { .. } => connections < options.clients,
    };
    let threads = options.threads.map_or(if one_queue { 1 } else { cores }, |n| n.max(1) as usize);
    threads.min(connections.max(1) as usize)
}

/// Returns the share of `all` that falls to the `index`-th of `parts`.
fn share(all: u32, parts: usize, index: usize) -> u32 {
    let parts = u32::try_from(parts).unwrap_or(u32::MAX).max(1);
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    all / parts + u32::from(index < all % parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_whole() {
        for (all, parts) in [(10, 3), (2, 4), (7, 7), (0, 2)] {
            assert_eq!((0..parts).map(|index| share(all, parts, index)).sum::<u32>(), all);
        }
    }
}
