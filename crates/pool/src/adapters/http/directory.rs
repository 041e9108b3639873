//! The origins that a client knows, each with its pool.
//!
//! Invariant: there are never more than the client may know, and none is forgotten while a request
//! wants it, so that its maximum holds.
//! Left out: what requests do (`exchange.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::error::Error;
use super::manager::Dialer;
use super::origin::Origin;
use super::settings::Settings;
use super::status::{Counts, OriginStatus, Wanted};
use super::tls::Tls;
use crate::builder::Builder;
use crate::pool::Pool;

pub(crate) struct Directory {
    settings: Arc<Settings>,
    tls: Arc<Tls>,
    known: Mutex<Known>,
}

struct Known {
    origins: HashMap<Origin, Place>,
    /// When those that are not used were last looked for.
    swept: Instant,
}

/// An origin with its pool.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) origin: Origin,
    pub(crate) pool: Pool<Dialer>,
    pub(crate) counts: Arc<Counts>,
    touched: Instant,
    /// It stays, whoever uses it.
    pinned: bool,
}

impl Directory {
    pub(crate) fn new(settings: Arc<Settings>, tls: Arc<Tls>) -> Self {
        let known = Known { origins: HashMap::new(), swept: Instant::now() };
        Self { settings, tls, known: Mutex::new(known) }
    }

    /// Returns an origin's pool, and notes that a request wants it.
    pub(crate) fn visit(&self, origin: &Origin) -> Result<(Place, Wanted), Error> {
        let now = Instant::now();
        let mut known = self.known.lock();
        if now.duration_since(known.swept) >= self.settings.idle_timeout {
            known.sweep(now, &self.settings);
        }
        if let Some(place) = known.origins.get_mut(origin) {
            place.touched = now;
            let wanted = Wanted::new(&place.counts);
            return Ok((place.clone(), wanted));
        }
        if known.origins.len() >= self.settings.origins_max {
            known.make_room(self.settings.origins_max)?;
        }
        let place = self.found(origin, now, |builder| builder)?;
        let wanted = Wanted::new(&place.counts);
        known.origins.insert(origin.clone(), place.clone());
        Ok((place, wanted))
    }

    /// Makes the pool of an origin in a shape of its own, and never forgets it.
    #[cfg(feature = "config")]
    pub(crate) fn pin(
        &self,
        origin: &Origin,
        shape: impl FnOnce(Builder<Dialer>) -> Builder<Dialer>,
    ) -> Result<Pool<Dialer>, Error> {
        let mut place = self.found(origin, Instant::now(), shape)?;
        place.pinned = true;
        let pool = place.pool.clone();
        self.known.lock().origins.insert(origin.clone(), place);
        Ok(pool)
    }

    fn found(
        &self,
        origin: &Origin,
        now: Instant,
        shape: impl FnOnce(Builder<Dialer>) -> Builder<Dialer>,
    ) -> Result<Place, Error> {
        let (settings, tls) = (Arc::clone(&self.settings), Arc::clone(&self.tls));
        let counts = Arc::new(Counts::default());
        let dialer = Dialer::new(origin.clone(), settings, tls, Arc::clone(&counts));
        let builder = Pool::builder(dialer).name(origin.to_string()).settings(self.settings.pool());
        let pool = shape(builder).build()?;
        Ok(Place { origin: origin.clone(), pool, counts, touched: now, pinned: false })
    }

    pub(crate) fn statuses(&self) -> Vec<OriginStatus> {
        let mut known = self.known.lock();
        known.sweep(Instant::now(), &self.settings);
        let mut statuses: Vec<_> = known.origins.values().map(Place::status).collect();
        statuses.sort_by(|one, other| one.origin.cmp(&other.origin));
        statuses
    }

    pub(crate) fn pools(&self) -> Vec<Pool<Dialer>> {
        self.known.lock().origins.values().map(|place| place.pool.clone()).collect()
    }
}

impl Known {
    /// Forgets origins without connections to which no request has gone for a while.
    fn sweep(&mut self, now: Instant, settings: &Settings) {
        self.swept = now;
        self.origins.retain(|_, place| {
            let recent = now.duration_since(place.touched) < settings.idle_timeout;
            recent || place.pinned || place.is_wanted() || place.pool.status().size > 0
        });
    }

    /// Forgets the origin to which no request has gone for the longest time, and closes what is
    /// open there.
    fn make_room(&mut self, max: usize) -> Result<(), Error> {
        let unwanted = self.origins.values().filter(|place| !place.pinned && !place.is_wanted());
        let oldest = unwanted.min_by_key(|place| place.touched).map(|place| place.origin.clone());
        let oldest = oldest.ok_or(Error::TooManyOrigins { max })?;
        self.origins.remove(&oldest);
        Ok(())
    }
}

impl Place {
    fn is_wanted(&self) -> bool {
        self.counts.wanted.load(std::sync::atomic::Ordering::SeqCst) > 0
    }

    fn status(&self) -> OriginStatus {
        use std::sync::atomic::Ordering::SeqCst;
        OriginStatus {
            origin: self.origin.clone(),
            totals: self.counts.totals(),
            connections: self.counts.sockets.load(SeqCst),
            requests: self.counts.wanted.load(SeqCst),
            pool: self.pool.status(),
        }
    }
}
