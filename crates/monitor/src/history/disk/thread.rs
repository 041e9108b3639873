//! The two threads: one writes, one reads.
//!
//! Invariant: whoever hands something over never waits: lines are bounded, and what finds no place
//! is counted. A disk in trouble is tried again for as long as the process runs, and said once.
//! Not here: what is written and read (`rows.rs`, `read.rs`).

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::OpenError;
use super::file::{self, File, Trust};
use super::{Warn, read, rows};
use crate::history::minute::Minute;
use crate::history::store::{AskError, Question, Remark, Told};

/// How soon a failed attempt to write is repeated, and the longest pause it grows to.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Remarks that wait for somebody to fetch them.
const REMARKS_MAX: usize = 32;

/// What the threads and their owner share.
pub(super) struct Shared {
    pub path: PathBuf,
    pub errors: AtomicU64,
    pub dropped: AtomicU64,
    pub bytes: AtomicU64,
    names: Mutex<Vec<String>>,
    remarks: Mutex<Vec<Remark>>,
    warn: Option<Warn>,
}

impl Shared {
    pub fn new(path: PathBuf, warn: Option<Warn>) -> Self {
        Self {
            path,
            errors: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            names: Mutex::default(),
            remarks: Mutex::default(),
            warn,
        }
    }

    /// Notes what a file holds now.
    pub fn look(&self, file: &File) -> rusqlite::Result<()> {
        *lock(&self.names) = read::names(&file.connection)?;
        self.bytes.store(file::bytes(&self.path), Ordering::Relaxed);
        Ok(())
    }

    pub fn names(&self) -> Vec<String> {
        lock(&self.names).clone()
    }

    /// Says something, in the log and to whoever asks for remarks.
    pub fn say(&self, text: String, is_good: bool) {
        if let Some(warn) = &self.warn {
            warn(&text);
        }
        let mut remarks = lock(&self.remarks);
        if remarks.len() < REMARKS_MAX {
            remarks.push(Remark { text, is_good });
        }
    }

    /// Says that a file was damaged and where it is now.
    pub fn say_aside(&self, aside: &std::path::Path) {
        let (path, aside) = (self.path.display(), aside.display());
        self.say(
            format!("history: {path} is damaged; it is {aside} now, a new one is begun"),
            false,
        );
    }

    pub fn remarks(&self) -> Vec<Remark> {
        std::mem::take(&mut *lock(&self.remarks))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole values are put in and taken out: a panic leaves none halfway.
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Writes what it is handed.
pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub bytes_max: u64,
    /// Its `pages_max` is set for each file.
    pub limits: rows::Limits,
    pub file: Option<File>,
    pub trust: Trust,
    pub trouble: Trouble,
}

/// What has been said of its state.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    is_failing: bool,
    was_full: bool,
}

impl Trouble {
    /// Counts a failure, and says it if it is the first.
    pub fn begin(&mut self, shared: &Shared, error: &OpenError) {
        shared.errors.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.is_failing, true) {
            shared.say(format!("history cannot be written: {error}"), false);
        }
    }
}

impl Writer {
    /// Runs until nobody hands anything over any more; `alive` tells that at once.
    pub fn run(mut self, minutes: &Receiver<Minute>, alive: &Receiver<Infallible>) {
        while let Ok(minute) = minutes.recv() {
            let mut pause = RETRY_FIRST;
            while let Err(error) = self.attempt(&minute) {
                self.trouble.begin(&self.shared, &error);
                // Nobody is served by a process that does not end because of a disk.
                if alive.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }

    /// Writes a minute, into another file if this one is not there or damaged.
    pub fn attempt(&mut self, minute: &Minute) -> Result<(), OpenError> {
        let in_place = self.file.take().filter(|file| file.is_in_place(&self.shared.path));
        let mut file = match in_place {
            Some(file) => file,
            None => self.open()?,
        };
        self.limits.pages_max = file.pages_max;
        // On an error it is opened again: damage shows, and a lock or a full disk may be over.
        let written = rows::write(&mut file.connection, &self.limits, minute);
        let written = written.map_err(|error| self.suspect(error))?;
        self.succeed(written);
        match self.shared.look(&file) {
            Ok(()) => self.file = Some(file),
            // The minute is in it all the same, and must not be written twice.
            Err(error) => {
                let error = self.suspect(error);
                self.trouble.begin(&self.shared, &error);
            }
        }
        Ok(())
    }

    /// Remembers not to trust a file that is damaged.
    fn suspect(&mut self, error: rusqlite::Error) -> OpenError {
        let error = file::of_sqlite(&self.shared.path, error);
        self.trust = if error.is_damage() { Trust::None } else { Trust::Usual };
        error
    }

    fn open(&mut self) -> Result<File, OpenError> {
        let (file, aside) = File::begin(&self.shared.path, self.bytes_max, self.trust)?;
        self.trust = Trust::Usual;
        if let Some(aside) = aside {
            self.shared.errors.fetch_add(1, Ordering::Relaxed);
            self.shared.say_aside(&aside);
        }
        Ok(file)
    }

    fn succeed(&mut self, written: rows::Written) {
        if std::mem::take(&mut self.trouble.is_failing) {
            self.shared.say("history is written again".to_owned(), true);
        }
        if written.was_full && !std::mem::replace(&mut self.trouble.was_full, true) {
            let path = self.shared.path.display();
            let text = format!("history: {path} is as large as it may be, the oldest points go");
            self.shared.say(text, true);
        }
    }
}

/// A question on its way.
pub(super) struct Ask {
    pub question: Question,
    pub until: Instant,
    pub reply: oneshot::Sender<Result<Option<Told>, AskError>>,
}

/// Answers questions, one after the other, until nobody can ask any more.
pub(super) fn answer(shared: &Shared, asks: &Receiver<Ask>) {
    let mut file = None;
    while let Ok(ask) = asks.recv() {
        // Whoever has gone meanwhile needs no answer.
        if ask.reply.is_closed() {
            continue;
        }
        let answer = answer_one(shared, &mut file, &ask);
        if answer.is_err() {
            file = None;
        }
        // An error means that whoever asked has gone.
        let _ = ask.reply.send(answer);
    }
}

fn answer_one(
    shared: &Shared,
    file: &mut Option<File>,
    ask: &Ask,
) -> Result<Option<Told>, AskError> {
    if Instant::now() >= ask.until {
        return Err(AskError::Late);
    }
    if file.as_ref().is_none_or(|file| !file.is_in_place(&shared.path)) {
        let opened = File::read(&shared.path);
        *file = Some(opened.map_err(|error| AskError::Unreadable(error.to_string()))?);
    }
    let Some(File { connection, .. }) = file else { unreachable!("it was opened above") };
    let mut answer = || {
        read::limit(connection, ask.until)?;
        read::answer(connection, &ask.question)
    };
    answer().map_err(|error| match read::is_interrupted(&error) {
        true => AskError::Late,
        false => AskError::Unreadable(error.to_string()),
    })
}
