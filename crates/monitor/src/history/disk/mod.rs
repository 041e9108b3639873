//! What was, on disk: a file of SQLite's that outlives the process.
//!
//! Minutes are kept for a week, ten minutes for ninety days, hours for as long as the settings
//! say, each thinned out by the rule of the rings in memory. Time is that of the clock, in seconds
//! since 1970. Two processes may write the same file while one takes over from the other.
//!
//! Invariant: bounded in size, in pools, in the time that an answer takes and in what waits to be
//! written; a disk that is full, read-only or damaged is said and counted, and stops nobody.
//! Not here: the rings in memory (`history`), who decides where to look (`http/view.rs`).

mod error;
mod file;
mod level;
mod read;
mod rows;
#[cfg(test)]
mod tests;
mod thread;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::minute::Minute;
use super::store::{AskError, Condition, Keep, Question, Recalled, Remark, Store, Told};
use crate::model::Later;
use file::{File, Trust};
use thread::{Ask, Shared, Trouble, Writer};

pub use error::OpenError;
pub use file::SIZE_MIN;

/// Minutes that may wait to be written: a quarter of an hour.
const LINE_MAX: usize = 16;
/// Questions that may wait to be answered.
const ASKS_MAX: usize = 16;
/// How long an answer may take: longer than it does, and short enough to wait for.
const ASK_MAX: Duration = Duration::from_secs(2);
/// How long a start reads what the last day was.
const RECALL_MAX: Duration = Duration::from_secs(2);
/// How long an end waits for the last minute to be written.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Writes what there is to say somewhere: a log.
pub type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// Where the history is kept, and how much of it.
#[derive(Clone)]
pub struct Settings {
    /// The file; its folder must exist.
    pub path: PathBuf,
    /// How far back the hours go. Default: 400 days, because "as last year" is what is asked for.
    pub keep: Duration,
    /// How large the file and its log may become, in bytes; when it is full the oldest points are
    /// deleted, the finest first. Default: 256 MiB, because the whole of a hundred pools takes
    /// about that.
    pub size_max: u64,
    /// Pools that the file has; others push out those that were not seen for longest. Default:
    /// 100, because the rings in memory have no more.
    pub pools_max: usize,
    /// Who hears of a file that is damaged, full or not to be written. Default: nobody besides the
    /// monitor's events, because not everybody has a log.
    pub warn: Option<Warn>,
}

impl Settings {
    /// Returns the defaults for a file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            keep: Duration::from_secs(400 * 86_400),
            size_max: 256 << 20,
            pools_max: 100,
            warn: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("path", &self.path)
            .field("keep", &self.keep)
            .field("size_max", &self.size_max)
            .field("pools_max", &self.pools_max)
            .finish_non_exhaustive()
    }
}

/// Opens the history, made if there is none, and starts its threads; it is given to a monitor as
/// [`Settings::store`](crate::Settings::store). A damaged file is set aside and a new one begun.
/// Reads what the last day was, which takes milliseconds, and two seconds at most. A disk that is
/// full, read-only or broken at the moment is said, counted and tried again.
///
/// # Errors
/// There is no such folder, it may not be written to, the file is not ours, or was written by a
/// newer version.
pub fn open(settings: Settings) -> Result<Store, OpenError> {
    open_at(settings, crate::time::wall() as i64)
}

/// Looks whether [`open`] would find a place for the file, and changes nothing.
///
/// # Errors
/// There is no such folder, or something else lies there.
pub fn check(path: &Path) -> Result<(), OpenError> {
    file::examine(path)
}

fn open_at(settings: Settings, now: i64) -> Result<Store, OpenError> {
    if settings.size_max < SIZE_MIN {
        return Err(OpenError::TooSmall { path: settings.path, min: SIZE_MIN });
    }
    let shared = Arc::new(Shared::new(settings.path, settings.warn));
    let mut opened = begin(&shared, settings.size_max, Trust::Usual, now);
    if opened.as_ref().is_err_and(OpenError::is_damage) {
        // It is damaged further in: looked at whole, it is set aside.
        opened = begin(&shared, settings.size_max, Trust::None, now);
    }
    let mut trouble = Trouble::default();
    let (file, recalled) = match opened {
        Ok((file, recalled)) => (Some(file), recalled),
        Err(error) if error.is_passing() => {
            trouble.begin(&shared, &error);
            (None, Vec::new())
        }
        Err(error) => return Err(error),
    };
    let writer = Writer {
        shared: Arc::clone(&shared),
        bytes_max: settings.size_max,
        limits: rows::Limits {
            keep: i64::try_from(settings.keep.as_secs()).unwrap_or(i64::MAX),
            pools_max: i64::try_from(settings.pools_max).unwrap_or(i64::MAX),
            pages_max: 0,
        },
        file,
        trust: Trust::Usual,
        trouble,
    };
    let hands = start(writer, &shared)
        .map_err(|error| OpenError::Io { path: shared.path.clone(), error })?;
    let recalled = Mutex::new(recalled);
    Ok(Store(Arc::new(Disk { shared, recalled, hands: Mutex::new(Some(hands)) })))
}

/// Opens the file and reads the last day of it.
fn begin(
    shared: &Shared,
    bytes_max: u64,
    trust: Trust,
    now: i64,
) -> Result<(File, Vec<Recalled>), OpenError> {
    let (mut file, aside) = File::begin(&shared.path, bytes_max, trust)?;
    if let Some(aside) = aside {
        shared.errors.fetch_add(1, Ordering::Relaxed);
        shared.say_aside(&aside);
    }
    let sqlite = |error| file::of_sqlite(&shared.path, error);
    read::limit(&mut file.connection, Instant::now() + RECALL_MAX).map_err(sqlite)?;
    let recalled = match read::recall(&file.connection, now) {
        // There was not even time to find out which pools there are.
        Err(error) if read::is_interrupted(&error) => Vec::new(),
        recalled => recalled.map_err(sqlite)?,
    };
    read::unlimit(&mut file.connection).map_err(sqlite)?;
    shared.look(&file).map_err(sqlite)?;
    Ok((file, recalled))
}

/// Starts the threads.
fn start(writer: Writer, shared: &Arc<Shared>) -> io::Result<Hands> {
    let (minutes, handed) = sync_channel(LINE_MAX);
    let (alive, is_alive) = channel();
    let (written, done) = channel();
    let (asks, asked) = sync_channel(ASKS_MAX);
    std::thread::Builder::new().name("history".to_owned()).spawn(move || {
        writer.run(&handed, &is_alive);
        drop(written);
    })?;
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name("history read".to_owned())
        .spawn(move || thread::answer(&shared, &asked))?;
    Ok(Hands { minutes, asks, _alive: alive, done })
}

/// What reaches the threads; they end when it is dropped.
struct Hands {
    minutes: SyncSender<Minute>,
    asks: SyncSender<Ask>,
    _alive: Sender<Infallible>,
    /// Disconnected when everything is written.
    done: Receiver<Infallible>,
}

/// A history on disk.
struct Disk {
    shared: Arc<Shared>,
    recalled: Mutex<Vec<Recalled>>,
    hands: Mutex<Option<Hands>>,
}

impl Disk {
    fn hands(&self) -> MutexGuard<'_, Option<Hands>> {
        // It is set and taken whole.
        self.hands.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Keep for Disk {
    fn recall(&self) -> Vec<Recalled> {
        let mut recalled = self.recalled.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        std::mem::take(&mut *recalled)
    }

    fn put(&self, minute: Minute) {
        let hands = self.hands();
        let sent = hands.as_ref().map(|hands| hands.minutes.try_send(minute));
        if !matches!(sent, Some(Ok(()))) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ask(&self, question: Question) -> Later<'static, Result<Option<Told>, AskError>> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask { question, until: Instant::now() + ASK_MAX, reply };
        let hands = self.hands();
        let closed = || AskError::Unreadable("it is closed".to_owned());
        let sent = match hands.as_ref().map(|hands| hands.asks.try_send(ask)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(AskError::Busy),
            Some(Err(TrySendError::Disconnected(_))) | None => Err(closed()),
        };
        drop(hands);
        Box::pin(async move {
            sent?;
            // A little longer than the thread takes: a disk may hold up even that.
            match tokio::time::timeout(ASK_MAX * 2, answer).await {
                Ok(answered) => answered.unwrap_or_else(|_| Err(closed())),
                Err(_) => Err(AskError::Late),
            }
        })
    }

    fn names(&self) -> Vec<String> {
        self.shared.names()
    }

    fn condition(&self) -> Condition {
        let count = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
        Condition {
            errors: count(&self.shared.errors),
            dropped: count(&self.shared.dropped),
            bytes: count(&self.shared.bytes),
        }
    }

    fn remarks(&self) -> Vec<Remark> {
        self.shared.remarks()
    }

    fn close(&self) {
        let Some(Hands { minutes, asks, _alive, done }) = self.hands().take() else { return };
        drop((minutes, asks, _alive));
        // Disconnected when all is written; if the disk is too slow the end does not wait for it.
        let _ = done.recv_timeout(CLOSE_MAX);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("path", &self.shared.path).finish_non_exhaustive()
    }
}
