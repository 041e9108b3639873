//! Why a file cannot hold the history.
//!
//! Invariant: an error names the file and says what is wrong with it, so that whoever configured
//! it knows what to change.
//! Not here: what goes wrong later, while it is written (`thread.rs`).

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a file cannot hold the history.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder that it shall be in does not exist.
    NoFolder {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// It is a folder, a device, a socket.
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// It is a text, or the database of another program.
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of this program wrote it.
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its form.
        found: i32,
        /// The newest version that is known here.
        known: i32,
    },
    /// It may not be large enough for anything.
    TooSmall {
        /// The file.
        path: PathBuf,
        /// The least size that it must be allowed, in bytes.
        min: u64,
    },
    /// It is damaged, and so were others before it: nothing is set aside any more.
    Damaged {
        /// The file.
        path: PathBuf,
        /// How many were set aside before.
        before: usize,
    },
    /// The system refused.
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// SQLite refused.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: rusqlite::Error,
    },
}

impl OpenError {
    /// Returns whether it is the disk's trouble and not the path's: it may be over one day, without
    /// anybody changing a setting, and is no reason not to start.
    pub(super) fn is_passing(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase,
            ReadOnly, SystemIoFailure,
        };
        match self {
            Self::Damaged { .. } => true,
            Self::Io { error, .. } => {
                matches!(error.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
            }
            Self::Sqlite { error, .. } => matches!(
                error.sqlite_error_code(),
                Some(
                    CannotOpen
                        | DatabaseBusy
                        | DatabaseCorrupt
                        | DatabaseLocked
                        | DiskFull
                        | NotADatabase
                        | ReadOnly
                        | SystemIoFailure
                )
            ),
            _ => false,
        }
    }

    /// Returns whether SQLite says that the file is not as it was written.
    pub(super) fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let Self::Sqlite { error, .. } = self else { return false };
        matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFolder { path, folder } => {
                let (path, folder) = (path.display(), folder.display());
                write!(f, "{path} cannot be created: folder {folder} does not exist")
            }
            Self::NotAFile { path } => write!(f, "{} is not a file", path.display()),
            Self::NotOurs { path } => {
                write!(f, "{} is something else than a history: it is left alone", path.display())
            }
            Self::Newer { path, found, known } => write!(
                f,
                "{} was written by a newer version of this program: its form is {found}, \
                 {known} is known here",
                path.display()
            ),
            Self::TooSmall { path, min } => {
                write!(f, "{} must be allowed {min} bytes at least", path.display())
            }
            Self::Damaged { path, before } => write!(
                f,
                "{} is damaged, and {before} files beside it were before: look at the disk, and \
                 move them away",
                path.display()
            ),
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Sqlite { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Sqlite { error, .. } => Some(error),
            _ => None,
        }
    }
}
