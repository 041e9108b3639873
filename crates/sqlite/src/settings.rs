//! What a database's connections are told, and how many there may be.
//!
//! Invariant: the writer is one; whatever else is set, there is never a second.
//! Left out: where the database is (`location.rs`).

use std::time::Duration;

/// Settings of a database. Sizes and times of the two pools are [`headpond::Settings`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Readers at most.
    /// Default: as many as there are cores, from 2 to 16, because a reader that finds its pages in
    /// memory needs a core and nothing else.
    pub readers: u32,
    /// Readers kept open.
    /// Default: 1, because opening one takes less than a millisecond.
    pub readers_min: u32,
    /// How long a caller waits: for a connection, and for other processes to let go of the
    /// database.
    /// Default: 30 s, as everywhere else.
    pub acquire_timeout: Option<Duration>,
    /// How long a single statement waits for other processes.
    /// Default: 5 s, because that is what most bindings of SQLite's wait.
    pub busy_timeout: Duration,
    /// How changes are made safe.
    /// Default: `Wal`, because then readers and the writer do not wait for one another.
    pub journal_mode: JournalMode,
    /// When the disk is waited for.
    /// Default: `Normal`, because with a write-ahead log that loses at most the last transactions
    /// in a power cut, and never breaks the database.
    pub synchronous: Synchronous,
    /// Pages that each connection keeps in memory; negative: kibibytes.
    /// Default: 1000, because that is 4 MB with the usual pages, and the system has a cache too.
    pub cache_size: i32,
    /// Whether references between tables are enforced.
    /// Default: on, because SQLite's own default, off, is there for programs from before 2009.
    pub foreign_keys: bool,
    /// Whether temporary tables and indices are kept in memory instead of in files.
    /// Default: on, because they are small, or should be.
    pub temp_in_memory: bool,
    /// Prepared statements that each connection keeps for `prepare_cached`.
    /// Default: 100, because an application has some dozens of queries.
    pub statement_cache: usize,
}

/// How changes are made safe: SQLite's `journal_mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum JournalMode {
    /// A write-ahead log beside the file.
    #[default]
    Wal,
    /// A rollback journal that is deleted after each transaction.
    Delete,
    /// A rollback journal that is emptied after each transaction.
    Truncate,
    /// A rollback journal whose head is overwritten after each transaction.
    Persist,
    /// A rollback journal in memory: a crash while writing breaks the database.
    Memory,
}

/// When the disk is waited for: SQLite's `synchronous`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Synchronous {
    /// Never.
    Off,
    /// When it decides about the database being whole.
    #[default]
    Normal,
    /// At each commit.
    Full,
    /// At each commit, and once more for the folder.
    Extra,
}

impl JournalMode {
    pub(crate) const NAMES: [(&'static str, Self); 5] = [
        ("wal", Self::Wal),
        ("delete", Self::Delete),
        ("truncate", Self::Truncate),
        ("persist", Self::Persist),
        ("memory", Self::Memory),
    ];

    /// Returns the name that SQLite has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        name(&Self::NAMES, self)
    }
}

impl Synchronous {
    pub(crate) const NAMES: [(&'static str, Self); 4] = [
        ("off", Self::Off),
        ("normal", Self::Normal),
        ("full", Self::Full),
        ("extra", Self::Extra),
    ];

    /// Returns the name that SQLite has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        name(&Self::NAMES, self)
    }
}

fn name<T: PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    let found = names.iter().find(|(_, known)| *known == value);
    found.map(|(name, _)| *name).expect("every value has a name in the table above")
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            readers: default_readers(),
            readers_min: 1,
            acquire_timeout: Some(Duration::from_secs(30)),
            busy_timeout: Duration::from_secs(5),
            journal_mode: JournalMode::default(),
            synchronous: Synchronous::default(),
            cache_size: 1000,
            foreign_keys: true,
            temp_in_memory: true,
            statement_cache: 100,
        }
    }
}

/// Returns the default of [`Settings::readers`] on this machine: its cores, from 2 to 16.
#[must_use]
pub fn default_readers() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX).clamp(2, 16)
}

impl Settings {
    /// Returns the settings of a pool of `max` connections.
    pub(crate) fn pool(&self, min: u32, max: u32) -> headpond::Settings {
        let mut pool = headpond::Settings::default();
        pool.max = max;
        pool.min = min;
        pool.acquire_timeout = self.acquire_timeout;
        // There is no network that could lose a connection, and no server that could time it out.
        pool.check_after = None;
        pool.keep_alive = None;
        pool.lifetime = None;
        // Opening a file fails at once or not at all.
        pool.breaker = None;
        // Closures hold a connection, never tasks: a task whose closure still runs, because it gave
        // up waiting for it, may well ask again.
        pool.nested = headpond::Nested::Allow;
        pool
    }
}
