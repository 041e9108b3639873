//! Making a pool.
//!
//! Invariant: a pool that was built has settings that make sense.
//! Left out: settings from a URL, a file or the environment (`config/`).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::budget::Budget;
use crate::clock::Clock;
use crate::error::BoxError;
use crate::events::Events;
use crate::hooks::{BoxFuture, Hooks};
use crate::manager::Manager;
use crate::pool::Pool;
use crate::settings::{Check, Nested, Settings, SettingsError, default_min};
use crate::shared::Shared;

/// Collects the settings and hooks of a pool; made by [`Pool::builder`].
#[must_use = "a builder makes nothing until `build`"]
pub struct Builder<M: Manager> {
    manager: M,
    name: String,
    settings: Settings,
    /// Whether `min` was said, or follows from `max`.
    min: Option<u32>,
    hooks: Hooks<M::Connection>,
    clock: Clock,
    seed: Option<u64>,
    budget: Option<Budget>,
    events: Option<Events>,
}

impl<M: Manager> Pool<M> {
    /// Begins a pool over `manager`, with the default settings.
    pub fn builder(manager: M) -> Builder<M> {
        Builder {
            manager,
            name: "default".to_owned(),
            settings: Settings::default(),
            min: None,
            hooks: Hooks::default(),
            clock: Clock::system(),
            seed: None,
            budget: None,
            events: None,
        }
    }
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        $(
            $(#[$doc])*
            pub fn $name(mut self, $name: $type) -> Self {
                self.settings.$name = $name;
                self
            }
        )*
    };
}

impl<M: Manager> Builder<M> {
    settings! {
        /// Sets [`Settings::acquire_timeout`].
        acquire_timeout: Option<Duration>,
        /// Sets [`Settings::connect_timeout`].
        connect_timeout: Duration,
        /// Sets [`Settings::check_timeout`].
        check_timeout: Duration,
        /// Sets [`Settings::reset_timeout`].
        reset_timeout: Duration,
        /// Sets [`Settings::close_timeout`].
        close_timeout: Duration,
        /// Sets [`Settings::check_after`].
        check_after: Option<Duration>,
        /// Sets [`Settings::check_on_return`].
        check_on_return: Check,
        /// Sets [`Settings::keep_alive`].
        keep_alive: Option<Duration>,
        /// Sets [`Settings::idle_timeout`].
        idle_timeout: Option<Duration>,
        /// Sets [`Settings::lifetime`].
        lifetime: Option<Duration>,
        /// Sets [`Settings::uses_max`].
        uses_max: Option<u64>,
        /// Sets [`Settings::connects_max`].
        connects_max: u32,
        /// Sets [`Settings::queue_max`].
        queue_max: Option<u32>,
        /// Sets [`Settings::leak_after`].
        leak_after: Option<Duration>,
        /// Sets [`Settings::nested`].
        nested: Nested,
        /// Sets [`Settings::on_failing`].
        on_failing: headpond_core::OnFailing,
        /// Sets [`Settings::failures_tolerated`].
        failures_tolerated: u32,
        /// Sets [`Settings::sizing`].
        sizing: crate::sizing::Sizing,
        /// Sets [`Settings::priority_step`].
        priority_step: Duration,
        /// Sets [`Settings::breaker`].
        breaker: Option<headpond_core::breaker::Settings>,
    }

    /// Names the pool in errors, logs and metrics. Default: `default`, because one pool needs no
    /// name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets [`Settings::max`]; `min` follows unless it is set as well.
    pub const fn max(mut self, max: u32) -> Self {
        self.settings.max = max;
        self
    }

    /// Sets [`Settings::min`].
    pub const fn min(mut self, min: u32) -> Self {
        self.min = Some(min);
        self
    }

    /// Sets everything at once.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.min = Some(settings.min);
        self.settings = settings;
        self
    }

    /// Sets what the URL of a database said.
    #[cfg(any(feature = "mysql", feature = "redis"))]
    pub(crate) fn said(mut self, options: &crate::options::PoolOptions) -> Self {
        self.settings = options.apply(self.settings);
        self.min = match self.min {
            _ if options.says("pool.min") => Some(self.settings.min),
            min => min.map(|min| min.min(self.settings.max)),
        };
        self
    }

    /// Runs before each connect; an error fails the connect.
    pub fn before_connect<F>(mut self, hook: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.hooks.before_connect = Some(Box::new(move || Box::pin(hook())));
        self
    }

    /// Runs on each new connection, for session settings; an error closes it and fails the connect.
    pub fn after_connect(
        mut self,
        hook: impl for<'a> Fn(&'a mut M::Connection) -> BoxFuture<'a, Result<(), BoxError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.hooks.after_connect = Some(Box::new(hook));
        self
    }

    /// Runs on a connection before it is lent; an error closes it, and the caller gets another.
    /// Costs an allocation for each loan.
    pub fn on_acquire(
        mut self,
        hook: impl for<'a> Fn(&'a mut M::Connection) -> BoxFuture<'a, Result<(), BoxError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.hooks.on_acquire = Some(Box::new(hook));
        self
    }

    /// Runs on a connection that was given back, in a task of its own; an error closes it. Costs a
    /// task for each loan.
    pub fn on_release(
        mut self,
        hook: impl for<'a> Fn(&'a mut M::Connection) -> BoxFuture<'a, Result<(), BoxError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.hooks.on_release = Some(Box::new(hook));
        self
    }

    /// Runs on a connection that is about to be closed.
    pub fn before_disconnect(
        mut self,
        hook: impl for<'a> Fn(&'a mut M::Connection) -> BoxFuture<'a, ()> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.before_disconnect = Some(Box::new(hook));
        self
    }

    /// Decides all jitter, for tests. Default: drawn from the operating system's randomness,
    /// because pools that were made together must not act together.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Shares an allowance of connections with other pools.
    /// Default: none, because a pool has its own maximum.
    pub fn budget(mut self, budget: &Budget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// Tells what happens to connections ([`Pool::events`]); the last `kept` events are kept for
    /// those who read slowly. Costs a send for each loan and return while anybody listens.
    /// Default: none, because counters are cheaper and tell enough.
    pub fn events(mut self, kept: usize) -> Self {
        self.events = Some(Events::new(kept));
        self
    }

    /// Takes Tokio's clock, which tests can stop and turn, instead of the system's.
    pub fn tokio_clock(mut self) -> Self {
        self.clock = Clock::tokio();
        self
    }

    /// Makes the pool. Nothing is opened until somebody asks or [`Pool::warm_up`] is called.
    ///
    /// # Errors
    /// When the settings make no sense together.
    pub fn build(self) -> Result<Pool<M>, SettingsError> {
        let Self { manager, name, mut settings, min, hooks, clock, seed, budget, events } = self;
        settings.min = min.unwrap_or_else(|| default_min(settings.max));
        settings.check()?;
        let seed = seed.unwrap_or_else(random_seed);
        let shared = Shared::new(
            Arc::from(name),
            manager,
            (settings, hooks),
            (clock, seed),
            (budget, events),
        );
        Ok(Pool::from_shared(shared))
    }
}

/// Returns a number that differs from pool to pool and from run to run.
pub(crate) fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // The standard library seeds its maps from the operating system.
    RandomState::new().hash_one(0_u8)
}
