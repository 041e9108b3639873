//! An HTTP server of a registry: a client whose connections to that server are configured like any
//! other pool.
//!
//! Invariant: the budget counts the connections to the named origin. Redirects may lead elsewhere:
//! those connections are the client's own, within its settings.
//! Left out: HTTP/2's requests. Where they share a connection the budget counts each of them.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::{DynDatabase, Opened, Plan};
use crate::config::Origin as Said;
use crate::error::{BoxError, Holder};
use crate::events::{Errors, Listener};
use crate::hooks::BoxFuture;
use crate::http::{Client, Dialer, Error, Origin, Request, Response, StatusCode, Uri};
use crate::pool::{Distributions, Leftover, Pool};
use crate::settings::{Settings, SettingsError};
use crate::status::Status;

/// An HTTP server of a registry.
///
/// Its numbers are those of the pool of its origin.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    pool: Pool<Dialer>,
    /// Without a slash at its end.
    address: String,
}

pub(super) fn open(plan: &Plan) -> Opened {
    let address = plan.config.url.reveal();
    let uri: Uri = address.parse()?;
    let origin = Origin::of(&uri)?;
    let wanted = &plan.config.pool;
    let mut settings = crate::http::Settings {
        max_per_origin: wanted.max,
        connect_timeout: wanted.connect_timeout,
        queue_max: wanted.queue_max,
        ..crate::http::Settings::default()
    };
    settings.max_idle = settings.max_idle.min(wanted.max);
    if let Some(time) = wanted.acquire_timeout {
        settings.request_timeout = time;
    }
    if let Some(time) = wanted.idle_timeout {
        settings.idle_timeout = time;
    }
    let pool = pooled(plan, settings.pool());
    let client = Client::builder().settings(settings).build()?;
    let pool = client.pin(&origin, |builder| plan.apply(builder).settings(pool))?;
    Ok(Arc::new(Http { client, pool, address: address.trim_end_matches('/').to_owned() }))
}

/// Returns the settings of the pool: what was said, and otherwise what is right for HTTP.
fn pooled(plan: &Plan, usual: Settings) -> Settings {
    let said = |key| plan.config.origin(key) != Said::Default;
    let mut settings = Settings {
        // A server of HTTP cannot be asked for a sign of life, nor is one kept waiting.
        min: 0,
        check_after: None,
        keep_alive: None,
        ..plan.config.pool.clone()
    };
    if !said("pool.connects_max") {
        settings.connects_max = usual.connects_max;
    }
    if !said("pool.on_failing") {
        settings.on_failing = usual.on_failing;
    }
    if !said("pool.leak_after") {
        settings.leak_after = usual.leak_after;
    }
    if !said("pool.nested") {
        settings.nested = usual.nested;
    }
    settings
}

impl Http {
    /// Returns the client. It may ask other servers too.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the pool of connections to the server.
    #[must_use]
    pub const fn pool(&self) -> &Pool<Dialer> {
        &self.pool
    }

    /// Returns the address of something on the server: what is configured, and `path` behind it.
    #[must_use]
    pub fn address(&self, path: &str) -> String {
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!("{}{slash}{path}", self.address)
    }

    /// Asks for what is at a path of the server.
    ///
    /// # Errors
    /// As [`Client::get`].
    ///
    /// # Cancel safety
    /// As [`Client::get`].
    pub async fn get(&self, path: &str) -> Result<Response, Error> {
        self.client.get(&self.address(path)).await
    }
}

impl DynDatabase for Http {
    fn status(&self) -> Status {
        self.pool.status()
    }

    fn distributions(&self) -> Distributions {
        self.pool.distributions()
    }

    fn holders(&self) -> Vec<Holder> {
        self.pool.holders()
    }

    fn errors(&self) -> Errors {
        self.pool.errors()
    }

    fn events(&self) -> Option<Listener> {
        self.pool.events()
    }

    fn settings(&self) -> Settings {
        self.pool.settings()
    }

    fn update(&self, settings: Settings) -> Result<(), SettingsError> {
        self.pool.update(settings)
    }

    fn evict(&self) {
        self.pool.evict();
    }

    fn pause(&self) {
        self.pool.pause();
    }

    fn resume(&self) {
        self.pool.resume();
    }

    /// Asks for the head of the configured address. Whatever is answered is a sign of life, but
    /// for an error of the server's own.
    fn test(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            let request = Request::head(&self.address).body(())?;
            let status = self.client.request(request).await?.status();
            // Which methods it knows is not asked.
            if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
                return Err(format!("the server answers {status}").into());
            }
            Ok(())
        })
    }

    fn warm_up(&self, timeout: Duration) -> BoxFuture<'_, Result<(), BoxError>> {
        DynDatabase::warm_up(&self.pool, timeout)
    }

    fn close(&self, timeout: Duration) -> BoxFuture<'_, Result<(), Leftover>> {
        Box::pin(self.client.close(timeout))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
