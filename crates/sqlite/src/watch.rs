//! What the other threads may know of a connection, and what it notices about its own closures.
//!
//! SQLite asks an authorizer about every statement that it prepares. Ours lets everything pass but
//! remembers what would outlive the closure: pragmas that were set, temporary objects, attached
//! databases. A statement from the cache was asked about when it was prepared, and the connection
//! that noticed is never used by a second closure.
//!
//! Invariant: a connection that is dirty stays so.
//! Left out: functions, hooks and limits set through the API; they pass no authorizer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::manager::Role;

/// Steps of SQLite's machine between two looks at whether to stop: some tens of microseconds.
const STEPS: i32 = 1000;

/// Pragmas that take a value and leave nothing behind in the connection.
const HARMLESS: [&str; 16] = [
    "application_id",
    "foreign_key_check",
    "foreign_key_list",
    "incremental_vacuum",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "optimize",
    "quick_check",
    "schema_version",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
    "wal_checkpoint",
];

#[derive(Debug, Default)]
pub(crate) struct Watch {
    stop: AtomicBool,
    dirty: AtomicBool,
    ended: AtomicBool,
}

impl Watch {
    /// Lets the closure's statements end with an error.
    pub(crate) fn stop(&self, stop: bool) {
        self.stop.store(stop, Relaxed);
    }

    /// Notes that the connection must not be used again.
    pub(crate) fn soil(&self) {
        self.dirty.store(true, Relaxed);
    }

    /// Notes that the thread is gone.
    pub(crate) fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Relaxed)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Begins to watch a connection that is set up.
    pub(crate) fn attach(
        self: &Arc<Self>,
        connection: &mut Connection,
        role: Role,
    ) -> rusqlite::Result<()> {
        let watch = Arc::clone(self);
        connection.progress_handler(STEPS, Some(move || watch.stop.load(Relaxed)))?;
        let watch = Arc::clone(self);
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            watch.judge(role, &context.action, context.database_name)
        }))
    }

    fn judge(&self, role: Role, action: &AuthAction<'_>, schema: Option<&str>) -> Authorization {
        match action {
            AuthAction::Pragma { pragma_name, pragma_value: Some(_) } => {
                if role == Role::Reader && pragma_name.eq_ignore_ascii_case("query_only") {
                    return Authorization::Deny;
                }
                let harmless = HARMLESS.iter().any(|name| pragma_name.eq_ignore_ascii_case(name));
                if !harmless {
                    self.soil();
                }
            }
            AuthAction::CreateTempTable { .. }
            | AuthAction::CreateTempIndex { .. }
            | AuthAction::CreateTempTrigger { .. }
            | AuthAction::CreateTempView { .. }
            | AuthAction::Attach { .. }
            | AuthAction::Detach { .. }
            | AuthAction::Unknown { .. } => self.soil(),
            AuthAction::CreateVtable { .. } if schema == Some("temp") => self.soil(),
            _ => {}
        }
        Authorization::Allow
    }
}
