//! The connections behind a shared handle: opened once for all who wait, replaced when they break.
//!
//! Invariant: a command that may have been executed is sent again only if it is a read.
//! Left out: what callers see (`shared.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::{ErrorKind, ServerErrorKind, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use super::ask::{Ask, Redis};
use super::error::{Error, classify, is_not_ready};
use super::url::Target;
use super::{Config, SharedStatus, cluster, link};

/// All connections behind a handle.
pub(super) struct Lines {
    pub(super) config: Config,
    lines: Vec<Line>,
    turn: AtomicUsize,
    pings: AtomicU64,
    closed: AtomicBool,
    opened: AtomicU64,
    lost: AtomicU64,
}

/// One connection and what becomes of it.
#[derive(Default)]
struct Line {
    live: Mutex<Option<Live>>,
    /// How the connect under way ended, or the last one, for all who wait for it.
    attempt: Mutex<Option<watch::Receiver<Option<Outcome>>>>,
    failing: Mutex<Failing>,
}

/// How a connect ended.
type Outcome = Result<(), Arc<Error>>;

/// How connecting went lately.
#[derive(Default)]
struct Failing {
    times: u32,
    until: Option<Instant>,
}

#[derive(Clone)]
struct Live {
    number: u64,
    redis: Redis,
}

/// Returns the pause after so many failures in a row.
fn pause(times: u32) -> Duration {
    Duration::from_millis((u64::from(times) * 50).min(2000))
}

impl Lines {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            lines: (0..config.lines.max(1)).map(|_| Line::default()).collect(),
            turn: AtomicUsize::new(0),
            pings: AtomicU64::new(1),
            closed: AtomicBool::new(false),
            opened: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// Returns a number that was not returned before.
    pub(super) fn number(&self) -> u64 {
        self.pings.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for line in &self.lines {
            *line.live.lock() = None;
        }
    }

    pub(super) fn status(&self) -> SharedStatus {
        SharedStatus {
            lines: self.lines.len(),
            open: self.lines.iter().filter(|line| line.usable().is_some()).count(),
            opened: self.opened.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }

    pub(super) async fn request(self: &Arc<Self>, ask: Ask<'_>) -> Result<Value, Error> {
        let again = ask.is_repeatable();
        let mut tries = 0;
        loop {
            tries += 1;
            let last = tries > self.config.retries;
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let place = turn % self.lines.len();
            let line = &self.lines[place];
            let mut live = match self.live(place).await {
                Ok(live) => live,
                // Nothing was sent.
                Err(error) if last || is_final(&error) => return Err(error),
                Err(_) => continue,
            };
            let error = match ask.send(&mut live.redis).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if is_not_ready(&error) && !last {
                tokio::time::sleep(pause(tries)).await;
                continue;
            }
            let demoted = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
            if demoted && !matches!(live.redis, Redis::Cluster(_)) {
                // What was the master is none any more: whoever is now is asked for again.
                self.drop_line(line, live.number);
                if last {
                    return Err(error.into());
                }
                tokio::time::sleep(pause(tries)).await;
                continue;
            }
            if error.code().is_some() || !(error.is_io_error() || error.is_unrecoverable_error()) {
                return Err(error.into());
            }
            self.drop_line(line, live.number);
            if !again {
                return Err(Error::Unknown { command: ask.name(), cause: error });
            }
            if last {
                return Err(error.into());
            }
        }
    }

    /// Gives up a connection, unless somebody has replaced it already.
    fn drop_line(&self, line: &Line, number: u64) {
        let mut live = line.live.lock();
        if live.as_ref().is_some_and(|live| live.number == number) {
            *live = None;
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the connection of a line, and opens it if there is none.
    async fn live(self: &Arc<Self>, place: usize) -> Result<Live, Error> {
        loop {
            if self.closed.load(Ordering::Acquire) {
                return Err(Error::Closed);
            }
            if let Some(live) = self.lines[place].usable() {
                return Ok(live);
            }
            let mut told = Line::begin(self, place);
            // Without a word only if the runtime is being shut down.
            let outcome = told.wait_for(Option::is_some).await.map_err(|_| Error::Closed)?;
            if let Some(Err(error)) = &*outcome {
                return Err(Error::Connect(Arc::clone(error)));
            }
        }
    }

    /// Opens a connection, not sooner than the last failure allows.
    async fn connect(&self, line: &Line) -> Result<(), Error> {
        let until = line.failing.lock().until;
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
        let limit = self.config.connect_timeout;
        let opened = match tokio::time::timeout(limit, self.open()).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::ConnectTimeout(limit)),
        };
        match opened {
            Ok(redis) => {
                *line.failing.lock() = Failing::default();
                let number = self.opened.fetch_add(1, Ordering::Relaxed);
                if line.live.lock().replace(Live { number, redis }).is_some() {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
                if self.closed.load(Ordering::Acquire) {
                    *line.live.lock() = None;
                }
                Ok(())
            }
            Err(error) => {
                let mut failing = line.failing.lock();
                failing.times = failing.times.saturating_add(1);
                failing.until = Some(Instant::now() + pause(failing.times));
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<Redis, Error> {
        if let Target::Cluster(nodes) = &self.config.target {
            return Ok(Redis::Cluster(cluster::open(&self.config, nodes).await?));
        }
        let mut link = link::open(&self.config, || None).await?;
        let number = self.number();
        link::ping(&mut link.redis, number).await?;
        Ok(Redis::One(link.redis, Arc::new(link.driver)))
    }
}

impl Line {
    fn usable(&self) -> Option<Live> {
        let live = self.live.lock();
        live.as_ref().filter(|live| live.redis.is_usable()).cloned()
    }

    /// Begins to connect, unless somebody has. In a task of its own: a caller that gives up does
    /// not interrupt what others wait for.
    fn begin(shared: &Arc<Lines>, place: usize) -> watch::Receiver<Option<Outcome>> {
        let line = &shared.lines[place];
        let mut attempt = line.attempt.lock();
        let going = |attempt: &&watch::Receiver<Option<Outcome>>| {
            attempt.borrow().is_none() && attempt.has_changed().is_ok()
        };
        if let Some(attempt) = attempt.as_ref().filter(going) {
            return attempt.clone();
        }
        let (tell, told) = watch::channel(None);
        *attempt = Some(told.clone());
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let outcome = shared.connect(&shared.lines[place]).await;
            tell.send_replace(Some(outcome.map_err(Arc::new)));
        });
        told
    }
}

/// Returns whether trying again cannot help.
fn is_final(error: &Error) -> bool {
    match error {
        Error::Connect(error) => is_final(error),
        Error::Closed | Error::Url(_) | Error::Tls(_) => true,
        error => classify(error) == crate::ConnectFailure::Rejected,
    }
}
