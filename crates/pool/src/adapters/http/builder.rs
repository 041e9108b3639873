//! Making a client.
//!
//! Invariant: a client that was built has settings that make sense; whether its certificates do is
//! seen at the first encrypted connection, because loading them takes a while.
//! Left out: what the settings mean (`settings.rs`).

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::client::{Client, Shared};
use super::directory::Directory;
use super::error::Error;
use super::settings::{Settings, Versions};
use super::tls::{Tls, Trust};

/// Collects the settings of a client; made by [`Client::builder`].
#[derive(Debug, Default)]
#[must_use = "a builder makes nothing until `build`"]
pub struct Builder {
    settings: Settings,
    trust: Trust,
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
    settings! {
        /// Sets [`Settings::max_per_origin`].
        max_per_origin: u32,
        /// Sets [`Settings::max_idle`].
        max_idle: u32,
        /// Sets [`Settings::idle_timeout`].
        idle_timeout: Duration,
        /// Sets [`Settings::tcp_keep_alive`].
        tcp_keep_alive: Option<Duration>,
        /// Sets [`Settings::connect_timeout`].
        connect_timeout: Duration,
        /// Sets [`Settings::head_timeout`].
        head_timeout: Option<Duration>,
        /// Sets [`Settings::request_timeout`].
        request_timeout: Duration,
        /// Sets [`Settings::queue_max`].
        queue_max: Option<u32>,
        /// Sets [`Settings::redirects_max`].
        redirects_max: u32,
        /// Sets [`Settings::body_limit`].
        body_limit: u64,
        /// Sets [`Settings::drain_limit`].
        drain_limit: u64,
        /// Sets [`Settings::versions`].
        versions: Versions,
        /// Sets [`Settings::origins_max`].
        origins_max: usize,
    }

    /// Sets everything at once.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Trusts these certificate authorities, in PEM, and no others. Default: those of the operating
    /// system, because its owner looks after them.
    pub fn roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.trust = Trust::Roots(pem.into());
        self
    }

    /// Takes a whole configuration of TLS, for client certificates and the like.
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.trust = Trust::Config(config);
        self
    }

    /// Makes the client. Nothing is opened until something is asked for.
    ///
    /// # Errors
    /// When the settings make no sense together.
    pub fn build(self) -> Result<Client, Error> {
        let Self { settings, trust } = self;
        settings.pool().check()?;
        let settings = Arc::new(settings);
        let tls = Arc::new(Tls::new(trust, settings.versions));
        let directory = Directory::new(Arc::clone(&settings), tls);
        Ok(Client::from_shared(Shared { settings, directory }))
    }
}
