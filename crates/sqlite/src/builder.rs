//! Making a database.
//!
//! Invariant: a database that was opened has shown that it can be: its writer, if it has one, and a
//! reader are connected.
//! Left out: opening connections (`open.rs`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use headpond::Pool;
use parking_lot::Mutex;

use crate::error::{Error, UrlError};
use crate::location::Location;
use crate::manager::{Manager, Role};
use crate::open::{Prepare, Recipe};
use crate::settings::{JournalMode, Settings, Synchronous};
use crate::sqlite::{Shared, Sqlite};

type Adjust = Box<dyn Fn(headpond::Builder<Manager>) -> headpond::Builder<Manager> + Send + Sync>;

/// Collects the settings of a database; made by [`Sqlite::builder`].
#[must_use = "a builder opens nothing until `open`"]
pub struct Builder {
    location: Location,
    settings: Settings,
    name: String,
    prepare: Option<Prepare>,
    adjust: Option<Adjust>,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        $(
            $(#[$doc])*
            pub const fn $name(mut self, $name: $type) -> Self {
                self.settings.$name = $name;
                self
            }
        )*
    };
}

impl Builder {
    pub(crate) fn new(url: &str) -> Result<Self, UrlError> {
        let mut settings = Settings::default();
        let location = Location::parse(url, &mut settings)?;
        Ok(Self { location, settings, name: "sqlite".to_owned(), prepare: None, adjust: None })
    }

    settings! {
        /// Sets [`Settings::readers`].
        readers: u32,
        /// Sets [`Settings::readers_min`].
        readers_min: u32,
        /// Sets [`Settings::acquire_timeout`].
        acquire_timeout: Option<Duration>,
        /// Sets [`Settings::busy_timeout`].
        busy_timeout: Duration,
        /// Sets [`Settings::journal_mode`].
        journal_mode: JournalMode,
        /// Sets [`Settings::synchronous`].
        synchronous: Synchronous,
        /// Sets [`Settings::cache_size`].
        cache_size: i32,
        /// Sets [`Settings::foreign_keys`].
        foreign_keys: bool,
        /// Sets [`Settings::temp_in_memory`].
        temp_in_memory: bool,
        /// Sets [`Settings::statement_cache`].
        statement_cache: usize,
    }

    /// Names the database in errors, logs and metrics; its pools are `name.writer` and
    /// `name.readers`. Default: `sqlite`, because one database needs no other name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Runs on each new connection, on its thread, before it is watched: for functions, collations
    /// and pragmas of the application's own.
    pub fn on_connect(
        mut self,
        prepare: impl Fn(&mut rusqlite::Connection) -> rusqlite::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.prepare = Some(Arc::new(prepare));
        self
    }

    /// Changes the builder of each of the two pools: for hooks and times that have no setting here.
    pub fn pools(
        mut self,
        adjust: impl Fn(headpond::Builder<Manager>) -> headpond::Builder<Manager>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.adjust = Some(Box::new(adjust));
        self
    }

    /// Opens the database: its writer and a reader are connected.
    ///
    /// # Errors
    /// When the settings make no sense or the file cannot be opened.
    ///
    /// # Cancel safety
    /// Dropping the future closes what is open.
    pub async fn open(self) -> Result<Sqlite, Error> {
        let Self { location, mut settings, name, prepare, adjust } = self;
        settings.readers_min = settings.readers_min.min(settings.readers);
        let (settings, location) = (Arc::new(settings), Arc::new(location));
        let recipe =
            Recipe { location: Arc::clone(&location), settings: Arc::clone(&settings), prepare };
        let pool = |role, suffix: &str, (min, max)| {
            let builder = Pool::builder(Manager::new(recipe.clone(), role))
                .settings(settings.pool(min, max))
                .name(format!("{name}.{suffix}"));
            let builder = match &adjust {
                Some(adjust) => adjust(builder),
                None => builder,
            };
            match role {
                // Whatever was adjusted: one writer.
                Role::Writer => builder.max(1).min(min).build(),
                Role::Reader => builder.build(),
            }
        };
        let writer = match location.is_read_only() {
            true => None,
            false => Some(pool(Role::Writer, "writer", (1, 1))?),
        };
        let readers = pool(Role::Reader, "readers", (settings.readers_min, settings.readers))?;
        let anchor = match location.is_in_memory() {
            true => Some(recipe.bare()?),
            false => None,
        };
        let anchor = Mutex::new(anchor);
        // The writer first: it makes the file, and its log.
        for pool in writer.iter().chain([&readers]) {
            let limit = settings.busy_timeout + pool.settings().connect_timeout;
            pool.warm_up(limit).await?;
        }
        Ok(Sqlite::from_shared(Arc::new(Shared { settings, writer, readers, anchor })))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("location", &self.location)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
