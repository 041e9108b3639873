//! The file: found or made, known by its version, set aside when it is damaged.
//!
//! Invariant: nothing that somebody wrote is deleted or overwritten: what is not ours is refused,
//! what is damaged gets another name. A new file is for its owner only.
//! Not here: what is in it (`rows.rs`, `read.rs`).

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::error::OpenError;

/// The least size that a file may be limited to: a day of a hundred pools.
pub const SIZE_MIN: u64 = 16 << 20;

/// How long another process may hold the lock: two share the file while one takes over.
const BUSY: Duration = Duration::from_secs(5);
/// How often it is tried again where SQLite does not wait by itself.
const BUSY_STEP: Duration = Duration::from_millis(20);
/// Damaged files that may lie beside it: more are a disk that somebody should look at.
const ASIDE_MAX: usize = 4;

/// `HPND`, so that nobody else's database is taken for ours.
const APPLICATION: i32 = 0x4850_4E44;
/// The version of the form below.
const VERSION: i32 = 1;
/// How the files of SQLite begin.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// `level` is the seconds that a point stands for, `at` its begin in seconds since 1970, `weight`
/// the looks in it, and `data` their values: singles, little endian, in the order of `fields`.
const SCHEMA: &str = "
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    seen INTEGER NOT NULL
) STRICT;
CREATE TABLE point (
    level INTEGER NOT NULL,
    series INTEGER NOT NULL,
    at INTEGER NOT NULL,
    weight INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (level, series, at)
) STRICT, WITHOUT ROWID;";

/// How much of a file is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// What SQLite notices as it goes.
    Usual,
    /// Nothing: something was damaged a moment ago.
    None,
}

/// What it is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To write; it may grow to so many pages.
    Write { bytes_max: u64 },
    /// To read.
    Read,
}

/// A file that is open.
#[derive(Debug)]
pub(super) struct File {
    pub connection: Connection,
    /// How many pages it may have; zero if it is only read.
    pub pages_max: i64,
    /// Which file it was: device and number.
    identity: (u64, u64),
}

impl File {
    /// Opens the file for writing, made if there is none; a damaged one is set aside, and its new
    /// name returned beside the new file.
    pub fn begin(
        path: &Path,
        bytes_max: u64,
        trust: Trust,
    ) -> Result<(Self, Option<PathBuf>), OpenError> {
        examine(path)?;
        let purpose = Purpose::Write { bytes_max };
        match Self::open(path, purpose, trust) {
            Err(error) if error.is_damage() => {
                let aside = set_aside(path)?;
                Ok((Self::open(path, purpose, Trust::Usual)?, Some(aside)))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// Opens a file that is there for reading.
    pub fn read(path: &Path) -> Result<Self, OpenError> {
        Self::open(path, Purpose::Read, Trust::Usual)
    }

    fn open(path: &Path, purpose: Purpose, trust: Trust) -> Result<Self, OpenError> {
        if matches!(purpose, Purpose::Write { .. }) {
            make(path)?;
        }
        let identity = identity(path).map_err(|error| of_system(path, error))?;
        let mut connection = connect(path, purpose).map_err(|error| of_sqlite(path, error))?;
        let pages_max = recognise(&mut connection, path, purpose)?;
        if trust == Trust::None {
            check(&connection).map_err(|error| of_sqlite(path, error))?;
        }
        Ok(Self { connection, pages_max, identity })
    }

    /// Returns whether the path still leads to this file: somebody may have moved it.
    pub fn is_in_place(&self, path: &Path) -> bool {
        identity(path).is_ok_and(|identity| identity == self.identity)
    }
}

pub(super) fn of_sqlite(path: &Path, error: rusqlite::Error) -> OpenError {
    OpenError::Sqlite { path: path.to_owned(), error }
}

fn of_system(path: &Path, error: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), error }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Returns the folder of a file.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Looks at what lies there before SQLite does, which takes anything for a damaged database.
pub(super) fn examine(path: &Path) -> Result<(), OpenError> {
    let folder = folder(path);
    if !folder.is_dir() {
        return Err(OpenError::NoFolder { path: path.to_owned(), folder: folder.to_owned() });
    }
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(of_system(path, error)),
    };
    if !metadata.is_file() {
        return Err(OpenError::NotAFile { path: path.to_owned() });
    }
    let mut head = Vec::new();
    let file = fs::File::open(path).map_err(|error| of_system(path, error))?;
    file.take(64).read_to_end(&mut head).map_err(|error| of_system(path, error))?;
    // A text is somebody's settings, and no history that was damaged.
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    if !head.is_empty() && !head.starts_with(MAGIC) && head.iter().all(is_text) {
        return Err(OpenError::NotOurs { path: path.to_owned() });
    }
    Ok(())
}

/// Makes the file, for its owner only; SQLite gives its log the same mode. One that may not be
/// written is an error here, where SQLite would open it for reading.
fn make(path: &Path) -> Result<(), OpenError> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map(drop).map_err(|error| of_system(path, error))
}

fn connect(path: &Path, purpose: Purpose) -> rusqlite::Result<Connection> {
    // An absolute path is never taken for a URI.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let access = match purpose {
        Purpose::Write { .. } => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Purpose::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "cache_size", -2048)?;
    Ok(connection)
}

/// Reads the whole file, for what SQLite would notice much later.
fn check(connection: &Connection) -> rusqlite::Result<()> {
    let word: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if word == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(code, Some(word)))
}

/// Bounds a connection that writes, and returns how many pages the file may have. An eighth of the
/// size is for the log.
fn prepare(connection: &Connection, bytes_max: u64) -> rusqlite::Result<i64> {
    journal(connection)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let page = page.max(512);
    let bytes = i64::try_from(bytes_max).unwrap_or(i64::MAX);
    let reserve = bytes / 8;
    let pages_max = (bytes - reserve) / page;
    connection.pragma_update(None, "max_page_count", pages_max)?;
    connection.pragma_update(None, "journal_size_limit", reserve)?;
    connection.pragma_update(None, "wal_autocheckpoint", (reserve / page / 4).clamp(16, 1_000))?;
    Ok(pages_max)
}

/// Turns to a write-ahead log; SQLite does not wait for others here by itself.
fn journal(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + BUSY;
    loop {
        let turned = connection.pragma_update(None, "journal_mode", "WAL");
        match turned {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(BUSY_STEP);
            }
            turned => return turned,
        }
    }
}

/// What a file says of itself.
fn marks(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((application, version))
}

/// Makes sure that the file is ours and of a form that is known; an empty one is given it. What is
/// not ours is not touched. Returns how many pages it may have.
fn recognise(connection: &mut Connection, path: &Path, purpose: Purpose) -> Result<i64, OpenError> {
    let sqlite = |error| of_sqlite(path, error);
    let found = marks(connection).map_err(sqlite)?;
    match (found, purpose) {
        ((0, 0), Purpose::Write { bytes_max }) if is_empty(connection).map_err(sqlite)? => {
            // Before anything is in it, so that it can shrink when it shall be smaller one day.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(sqlite)?;
            let pages_max = prepare(connection, bytes_max).map_err(sqlite)?;
            create(connection).map_err(sqlite)?;
            let is_ours = marks(connection).map_err(sqlite)? == (APPLICATION, VERSION);
            is_ours.then_some(pages_max).ok_or(OpenError::NotOurs { path: path.to_owned() })
        }
        ((APPLICATION, VERSION), Purpose::Write { bytes_max }) => {
            prepare(connection, bytes_max).map_err(sqlite)
        }
        ((APPLICATION, VERSION), Purpose::Read) => Ok(0),
        ((APPLICATION, found), _) if found > VERSION => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION })
        }
        _ => Err(OpenError::NotOurs { path: path.to_owned() }),
    }
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// Gives an empty file its form, unless another process was faster.
fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if is_empty(&transaction)? {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

/// Gives a damaged file and its log another name.
fn set_aside(path: &Path) -> Result<PathBuf, OpenError> {
    let system = |error| of_system(path, error);
    let mut prefix = path.file_name().unwrap_or_default().to_owned();
    prefix.push(".corrupt-");
    let before = fs::read_dir(folder(path)).map_err(system)?.filter(|entry| {
        let name = entry.as_ref().map(fs::DirEntry::file_name).unwrap_or_default();
        let name = name.as_encoded_bytes();
        name.starts_with(prefix.as_encoded_bytes()) && !name.ends_with(b"-wal")
    });
    let before = before.count();
    if before >= ASIDE_MAX {
        return Err(OpenError::Damaged { path: path.to_owned(), before });
    }
    let mut now = crate::time::wall() as u64;
    let mut aside = beside(path, &format!(".corrupt-{now}"));
    while aside.exists() {
        now += 1;
        aside = beside(path, &format!(".corrupt-{now}"));
    }
    // The log first: a new file must never find it beside itself.
    match fs::rename(beside(path, "-wal"), beside(&aside, "-wal")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(system(error)),
        _ => {}
    }
    fs::rename(path, &aside).map_err(system)?;
    // It holds nothing that the log does not; the next process makes its own.
    match fs::remove_file(beside(path, "-shm")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(system(error)),
        _ => Ok(aside),
    }
}

/// Returns the name of a file that belongs to another one.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns how much the file and its log take.
pub(super) fn bytes(path: &Path) -> u64 {
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    size(path) + size(&beside(path, "-wal"))
}
