//! Statements that are prepared once and used often, and how they run on a way that keeps none.
//!
//! Invariant: at most as many statements are kept as the configuration says; one that is put out
//! is closed on the server.
//! Left out: statements that the caller prepares and keeps.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement};

use super::config::Route;
use super::profile::Profile;
use super::watch::Watch;

/// The methods that a connection and a transaction have in common, over their `on`; what becomes of
/// a query whose future is dropped differs.
macro_rules! queries {
    ($dropped:literal) => {
        /// Prepares a statement, or returns the one that was prepared for this text before.
        ///
        /// # Errors
        /// When the server refuses it.
        ///
        /// # Cancel safety
        /// Dropping the future is harmless.
        pub async fn prepare_cached(&self, query: &str) -> Result<Statement, Error> {
            self.on().prepare(query).await
        }

        /// Runs a query and returns its rows.
        ///
        /// # Errors
        /// When the server refuses it, or the session ends.
        ///
        /// # Cancel safety
        #[doc = $dropped]
        pub async fn query(
            &self,
            query: &(impl Query + ?Sized),
            parameters: &[&(dyn ToSql + Sync)],
        ) -> Result<Vec<Row>, Error> {
            self.on().query(query, parameters).await
        }

        /// Runs a query that returns one row, or none.
        ///
        /// # Errors
        /// As [`Self::query`]. Further rows are ignored.
        ///
        /// # Cancel safety
        /// As [`Self::query`].
        pub async fn query_opt(
            &self,
            query: &(impl Query + ?Sized),
            parameters: &[&(dyn ToSql + Sync)],
        ) -> Result<Option<Row>, Error> {
            Ok(self.query(query, parameters).await?.into_iter().next())
        }

        /// Runs a statement and returns how many rows it changed.
        ///
        /// # Errors
        /// As [`Self::query`].
        ///
        /// # Cancel safety
        /// As [`Self::query`].
        pub async fn execute(
            &self,
            query: &(impl Query + ?Sized),
            parameters: &[&(dyn ToSql + Sync)],
        ) -> Result<u64, Error> {
            self.on().execute(query, parameters).await
        }
    };
}
pub(super) use queries;

/// What may be run: text, which is prepared once and kept, or a statement.
pub trait Query: sealed::Query {}

mod sealed {
    pub trait Query: Sync {
        fn as_query(&self) -> Either<'_>;
    }

    pub enum Either<'a> {
        Text(&'a str),
        Statement(&'a tokio_postgres::Statement),
    }

    impl Query for str {
        fn as_query(&self) -> Either<'_> {
            Either::Text(self)
        }
    }

    impl Query for String {
        fn as_query(&self) -> Either<'_> {
            Either::Text(self)
        }
    }

    impl Query for tokio_postgres::Statement {
        fn as_query(&self) -> Either<'_> {
            Either::Statement(self)
        }
    }
}

impl<T: sealed::Query + ?Sized> Query for T {}

use sealed::Either;

/// The prepared statements of one session.
#[derive(Debug)]
pub(super) struct Statements {
    kept: Mutex<Lru<Statement>>,
    max: usize,
}

/// What is kept by text; the least recently used goes first.
#[derive(Debug)]
struct Lru<T> {
    entries: HashMap<Arc<str>, (T, u64)>,
    clock: u64,
    /// The watch's generation when the entries were made.
    generation: u64,
}

impl<T> Lru<T> {
    fn new() -> Self {
        Self { entries: HashMap::new(), clock: 0, generation: 0 }
    }
}

impl<T: Clone> Lru<T> {
    fn find(&mut self, text: &str) -> Option<T> {
        self.clock += 1;
        let (found, used) = self.entries.get_mut(text)?;
        *used = self.clock;
        Some(found.clone())
    }

    /// Keeps something, and returns what had to go.
    fn keep(&mut self, text: &str, kept: T, max: usize) -> Option<T> {
        if max == 0 {
            return None;
        }
        let full = self.entries.len() >= max && !self.entries.contains_key(text);
        let oldest = || self.entries.iter().min_by_key(|(_, (_, used))| *used);
        let gone = full.then(oldest).flatten().map(|(text, _)| Arc::clone(text));
        let gone = gone.and_then(|text| self.entries.remove(&text)).map(|(gone, _)| gone);
        self.clock += 1;
        self.entries.insert(Arc::from(text), (kept, self.clock));
        gone
    }
}

impl Statements {
    pub(super) fn new(max: usize) -> Self {
        Self { kept: Mutex::new(Lru::new()), max }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.lock().entries.len()
    }

    pub(super) fn clear(&self) {
        let gone = std::mem::take(&mut self.kept.lock().entries);
        drop(gone);
    }

    async fn prepare(&self, on: &On<'_>, text: &str) -> Result<Statement, Error> {
        let generation = on.watch.generation();
        let (found, stale) = {
            let mut kept = self.kept.lock();
            let mut stale = HashMap::new();
            if kept.generation != generation {
                stale = std::mem::take(&mut kept.entries);
                kept.generation = generation;
            }
            (kept.find(text), stale)
        };
        // Dropping closes them on the server, which must not happen under the lock.
        drop(stale);
        if let Some(found) = found {
            return Ok(found);
        }
        let statement = on.client.prepare(text).await?;
        let gone = self.kept.lock().keep(text, statement.clone(), self.max);
        drop(gone);
        Ok(statement)
    }
}

/// The parameter types of statements, shared by all sessions of a pool.
pub(crate) struct Types {
    kept: Mutex<Lru<Arc<[Type]>>>,
    max: usize,
    asked: AtomicUsize,
}

impl fmt::Debug for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Types").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Types {
    pub(super) fn new(max: usize) -> Self {
        Self { kept: Mutex::new(Lru::new()), max: max.max(64), asked: AtomicUsize::new(0) }
    }

    /// Finds the types of a statement's parameters. What is not known is asked in one transaction,
    /// so that a pooler leaves statement and question with the same server.
    async fn find(&self, on: &On<'_>, text: &str) -> Result<Arc<[Type]>, Error> {
        if let Some(types) = self.kept.lock().find(text) {
            return Ok(types);
        }
        self.asked.fetch_add(1, Relaxed);
        let alone = on.watch.status() == headpond_wire::Status::Idle;
        if alone {
            on.client.batch_execute("BEGIN").await?;
        }
        let mut statement = on.client.prepare(text).await;
        // Names are counted by each process: somebody else's may still be there.
        for _ in 0..3 {
            let Err(error) = &statement else { break };
            if error.code() != Some(&SqlState::DUPLICATE_PSTATEMENT) || !alone {
                break;
            }
            on.client.batch_execute("ROLLBACK; BEGIN").await?;
            statement = on.client.prepare(text).await;
        }
        let types = statement.map(|statement| Arc::<[Type]>::from(statement.params()));
        if alone {
            // The statement was closed when it was dropped, one line above.
            on.client.batch_execute("ROLLBACK").await?;
        }
        let types = types?;
        self.kept.lock().keep(text, Arc::clone(&types), self.max);
        Ok(types)
    }
}

/// A session to run statements on, in a transaction or not.
pub(super) struct On<'a> {
    pub(super) client: &'a Client,
    pub(super) statements: &'a Statements,
    pub(super) profile: &'a Profile,
    pub(super) watch: &'a Watch,
}

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl On<'_> {
    pub(super) async fn prepare(&self, text: &str) -> Result<Statement, Error> {
        match self.profile.config.route {
            Route::Direct => self.statements.prepare(self, text).await,
            Route::Pooler => self.client.prepare(text).await,
        }
    }

    pub(super) async fn query(
        &self,
        query: &(impl Query + ?Sized),
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Error> {
        let text = match query.as_query() {
            Either::Statement(statement) => return self.client.query(statement, parameters).await,
            Either::Text(text) => text,
        };
        match self.profile.config.route {
            Route::Direct => {
                let statement = self.statements.prepare(self, text).await?;
                self.client.query(&statement, parameters).await
            }
            Route::Pooler => {
                let types = self.types(text, parameters).await?;
                self.client.query_typed(text, &typed(parameters, &types)).await
            }
        }
    }

    pub(super) async fn execute(
        &self,
        query: &(impl Query + ?Sized),
        parameters: Parameters<'_>,
    ) -> Result<u64, Error> {
        let text = match query.as_query() {
            Either::Statement(statement) => {
                return self.client.execute(statement, parameters).await;
            }
            Either::Text(text) => text,
        };
        match self.profile.config.route {
            Route::Direct => {
                let statement = self.statements.prepare(self, text).await?;
                self.client.execute(&statement, parameters).await
            }
            Route::Pooler => {
                let types = self.types(text, parameters).await?;
                self.client.execute_typed(text, &typed(parameters, &types)).await
            }
        }
    }

    async fn types(&self, text: &str, parameters: Parameters<'_>) -> Result<Arc<[Type]>, Error> {
        if parameters.is_empty() {
            return Ok(Arc::from([]));
        }
        self.profile.types.find(self, text).await
    }
}

fn typed<'a>(
    parameters: &[&'a (dyn ToSql + Sync)],
    types: &[Type],
) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    // If there are more parameters than types, the server says so.
    let types = types.iter().cloned().chain(std::iter::repeat(Type::TEXT));
    parameters.iter().copied().zip(types).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut lru = Lru::new();
        assert_eq!(lru.keep("a", 1, 2), None);
        assert_eq!(lru.keep("b", 2, 2), None);
        assert_eq!(lru.find("a"), Some(1));
        assert_eq!(lru.keep("c", 3, 2), Some(2));
        assert_eq!((lru.find("a"), lru.find("b"), lru.find("c")), (Some(1), None, Some(3)));
        assert_eq!(lru.keep("d", 4, 0), None);
    }
}
