//! Opening one connection and telling it what the settings say.
//!
//! Invariant: a connection that comes out of here is set up completely, and watched.
//! Left out: the thread that this runs on (`thread.rs`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::OpenError;
use crate::location::{Location, Mode, Place, encode};
use crate::manager::Role;
use crate::settings::{JournalMode, Settings};
use crate::watch::Watch;

/// What the application does to each new connection.
pub(crate) type Prepare = Arc<dyn Fn(&mut Connection) -> rusqlite::Result<()> + Send + Sync>;

/// Everything that it takes to open connections of one database.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) location: Arc<Location>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) prepare: Option<Prepare>,
}

impl Recipe {
    /// Opens a connection.
    pub(crate) fn open(&self, role: Role, watch: &Arc<Watch>) -> Result<Connection, OpenError> {
        self.look_at_file()?;
        let mut connection = self.bare().map_err(|cause| self.explain(cause))?;
        self.set_up(&connection, role).map_err(|cause| self.explain(cause))?;
        if role == Role::Writer && connection.is_readonly("main").unwrap_or(false) {
            return Err(OpenError::NotWritable { path: self.path() });
        }
        if let Some(prepare) = &self.prepare {
            prepare(&mut connection).map_err(OpenError::Prepare)?;
        }
        if role == Role::Reader {
            connection.pragma_update(None, "query_only", true).map_err(|e| self.explain(e))?;
        }
        watch.attach(&mut connection, role).map_err(|cause| self.explain(cause))?;
        Ok(connection)
    }

    /// Opens a connection that nothing has been told yet.
    pub(crate) fn bare(&self) -> rusqlite::Result<Connection> {
        let Location { place, mode, immutable, vfs } = &*self.location;
        let access = match mode {
            Mode::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Mode::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
            Mode::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        };
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let path = match place {
            // Names that begin with a slash are shared by all connections of the process.
            Place::Memory(name) => {
                return Connection::open_with_flags_and_vfs(
                    format!("file:/{}?vfs=memdb", encode(name)),
                    flags,
                    "memdb",
                );
            }
            Place::File(path) => match path.to_str() {
                // A path that is no text cannot stand in a URL, which says more than it must.
                None if !immutable => path.clone(),
                text => {
                    let text = encode(text.unwrap_or_default());
                    let immutable = if *immutable { "?immutable=1" } else { "" };
                    // Without the two slashes a path that begins with two would name a host.
                    let root = if path.is_absolute() { "//" } else { "" };
                    PathBuf::from(format!("file:{root}{text}{immutable}"))
                }
            },
        };
        match vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str()),
            None => Connection::open_with_flags(path, flags),
        }
    }

    fn set_up(&self, connection: &Connection, role: Role) -> rusqlite::Result<()> {
        let settings = &*self.settings;
        connection.busy_timeout(settings.busy_timeout)?;
        connection.set_prepared_statement_cache_capacity(settings.statement_cache);
        if role == Role::Writer {
            self.set_journal(connection)?;
        } else {
            // Opening reads nothing: this does, and finds out whether it is a database.
            connection.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
        }
        connection.pragma_update(None, "synchronous", settings.synchronous.name())?;
        connection.pragma_update(None, "cache_size", settings.cache_size)?;
        connection.pragma_update(None, "foreign_keys", settings.foreign_keys)?;
        let store = if settings.temp_in_memory { "MEMORY" } else { "FILE" };
        connection.pragma_update(None, "temp_store", store)
    }

    /// Changes the journal, which the file remembers, if it is another one.
    fn set_journal(&self, connection: &Connection) -> rusqlite::Result<()> {
        // A database in memory has a journal of its own kind.
        if self.location.is_in_memory() {
            return Ok(());
        }
        let wanted = self.settings.journal_mode;
        let mode = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        let current = connection.query_row("PRAGMA journal_mode", [], mode)?;
        if current.eq_ignore_ascii_case(wanted.name()) {
            return Ok(());
        }
        let change = format!("PRAGMA journal_mode = {}", wanted.name());
        // Here SQLite does not wait for others of its own accord.
        let deadline = Instant::now() + self.settings.busy_timeout;
        let now = loop {
            match connection.query_row(&change, [], mode) {
                Err(error) if is_busy(&error) && Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                outcome => break outcome?,
            }
        };
        if !now.eq_ignore_ascii_case(wanted.name()) {
            let path = self.location.path().display();
            tracing::warn!(%path, wanted = wanted.name(), mode = now, "another journal mode");
            debug_assert_ne!(wanted, JournalMode::Memory, "memory is always possible");
        }
        Ok(())
    }

    /// Finds what SQLite only calls "unable to open".
    fn look_at_file(&self) -> Result<(), OpenError> {
        let Place::File(path) = &self.location.place else { return Ok(()) };
        if self.location.vfs.is_some() {
            return Ok(());
        }
        let path = path.clone();
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => Err(OpenError::Folder { path }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if self.location.mode != Mode::Create {
                    return Err(OpenError::Missing { path });
                }
                let folder = match path.parent() {
                    Some(folder) if folder != Path::new("") => folder.to_owned(),
                    _ => return Ok(()),
                };
                match folder.is_dir() {
                    true => Ok(()),
                    false => Err(OpenError::NoFolder { path, folder }),
                }
            }
            _ => Ok(()),
        }
    }

    fn explain(&self, cause: rusqlite::Error) -> OpenError {
        let path = self.path();
        match cause.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path },
            Some(ErrorCode::ReadOnly) => OpenError::NotWritable { path },
            Some(ErrorCode::CannotOpen) if !self.location.is_read_only() => {
                OpenError::NotWritable { path }
            }
            _ => OpenError::Sqlite { path, cause },
        }
    }

    fn path(&self) -> PathBuf {
        self.location.path().to_owned()
    }
}

/// Between two attempts to get a lock that SQLite does not wait for.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// Returns whether another process has the lock.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
