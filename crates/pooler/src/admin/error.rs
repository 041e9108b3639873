//! What the console answers when it does not do something.
//!
//! Invariant: the texts and codes are PgBouncer's wherever it has some; scripts match them.

use headpond_wire::SqlState;

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Not a command.
    #[error("invalid command '{0}', use SHOW HELP;")]
    Invalid(String),
    /// The asker may look, and this is more than looking.
    #[error("admin access needed")]
    AdminNeeded,
    /// The asker may not even look.
    #[error("not allowed")]
    NotAllowed,
    /// PAUSE, SUSPEND or KILL while there is one already.
    #[error("already suspended/paused")]
    AlreadyPaused,
    /// SUSPEND while a database is paused.
    #[error("cannot suspend with paused databases")]
    SuspendWithPausedDatabases,
    /// No such entry, and no fallback.
    #[error("no such database: {0}")]
    NoSuchDatabase(String),
    /// The console's own database can be looked at only.
    #[error("cannot {verb} admin db: {database}")]
    AdminDatabase {
        /// What was wanted.
        verb: &'static str,
        /// The database, as it was written.
        database: String,
    },
    /// RESUME while stopping.
    #[error("pooler is shutting down")]
    ShuttingDown,
    /// RESUME of what runs.
    #[error("pooler is not paused/suspended")]
    NotPaused,
    /// RESUME of a database that runs.
    #[error("database {0} is not paused")]
    DatabaseNotPaused(String),
    /// DISABLE or ENABLE of nothing.
    #[error("a database is required")]
    DatabaseRequired,
    /// KILL_CLIENT of what is no number.
    #[error("invalid client pointer supplied")]
    InvalidClient,
    /// KILL_CLIENT of a number nobody has.
    #[error("client not found")]
    ClientNotFound,
    /// RELOAD of files that are wrong; the old settings stay.
    #[error("RELOAD failed, see logs for additional details")]
    ReloadFailed,
    /// SET of what is unknown, not changeable or wrong.
    #[error("SET failed")]
    SetFailed,
    /// The asker does not want to wait for the end of its command.
    #[error("canceling statement due to user request")]
    Canceled,
    /// Somebody else resumed what the command was about to pause.
    #[error("{0} was ended by RESUME")]
    EndedByResume(&'static str),
    /// PgBouncer has this command and this program has not.
    #[error("{0} is not supported by headpond")]
    NotSupported(&'static str),
}

impl CommandError {
    /// Returns the SQLSTATE that goes with the text.
    pub fn sqlstate(&self) -> SqlState {
        match self {
            CommandError::ReloadFailed => SqlState::CONFIG_FILE_ERROR,
            CommandError::Canceled => SqlState::QUERY_CANCELED,
            CommandError::NotSupported(_) => SqlState::FEATURE_NOT_SUPPORTED,
            _ => SqlState::PROTOCOL_VIOLATION,
        }
    }
}
