//! A network that exists in memory only: seeded, with its own clock, fast enough for thousands
//! of runs per second.
//!
//! One [`Net`] is shared by several engines ([`Sim`]) and by the clients and servers that a test
//! plays itself ([`Endpoint`], [`Listener`]). A test turns all of them and, when nobody has
//! anything to do, lets the clock jump:
//!
//! ```text
//! loop {
//!     while let Some(news) = net.news() { …the test's own actors… }
//!     for worker in &mut workers { worker.turn(); }          // each calls `Engine::wait`
//!     if !net.is_busy() && !net.advance() { break; }          // false: nothing will ever happen
//! }
//! ```
//!
//! Invariant: the same seed and the same calls give the same events; per direction bytes are
//! neither lost, doubled nor reordered before a reset, and at most `capacity` are on their way.
//! Not here: threads and real time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headpond_core::Timestamp;

mod endpoint;
mod engine;
mod random;
mod state;
#[cfg(test)]
mod tests;
mod travel;

pub use endpoint::{Endpoint, Listener, Phase, Received};
pub use engine::{Sim, SimWaker};

use super::Address;
use random::Random;
use state::{Owner, State};

/// A simulated network; clones are the same one.
#[derive(Clone)]
pub struct Net(Arc<Mutex<State>>);

/// How the network treats what travels on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conditions {
    /// The shortest time a piece travels.
    pub delay_min: Duration,
    /// The longest; one piece in fifty takes up to ten times as long.
    pub delay_max: Duration,
    /// Bytes per direction that may be on their way or unread.
    pub capacity: usize,
    /// The largest piece that travels as one.
    pub segment_max: usize,
    /// The largest chunk given to one read.
    pub read_max: usize,
    /// Reads of a thousand that are cut at a random place.
    pub cut_per_mille: u32,
    /// Sockets of a thousand that are ready and yet wait for another turn.
    pub defer_per_mille: u32,
    /// Pieces of a million whose connection breaks instead.
    pub reset_per_million: u32,
}

impl Conditions {
    /// Returns a network where nothing is unexpected but that everything takes 10 µs.
    pub fn calm() -> Self {
        let delay = Duration::from_micros(10);
        Self {
            delay_min: delay,
            delay_max: delay,
            capacity: 256 << 10,
            segment_max: 64 << 10,
            read_max: 64 << 10,
            cut_per_mille: 0,
            defer_per_mille: 0,
            reset_per_million: 0,
        }
    }

    /// Returns a network that cuts, delays and holds back, and breaks nothing.
    pub fn rough() -> Self {
        Self {
            delay_min: Duration::from_micros(5),
            delay_max: Duration::from_micros(800),
            capacity: 4 << 10,
            segment_max: 600,
            read_max: 2 << 10,
            cut_per_mille: 300,
            defer_per_mille: 100,
            reset_per_million: 0,
        }
    }

    /// Returns conditions between calm and hostile, drawn by a seed. Nothing breaks by itself.
    pub fn drawn(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut magnitude = |low: u32, high: u32| {
            let exponent = u64::from(low) + random.below(u64::from(high - low) + 1);
            (1_usize << exponent) + random.index(1 << exponent)
        };
        let capacity = magnitude(5, 17);
        let (segment_max, read_max) = (magnitude(0, 15), magnitude(0, 15));
        let delay_max = Duration::from_nanos(magnitude(10, 23) as u64);
        Self {
            delay_min: delay_max / 20,
            delay_max,
            capacity,
            segment_max: segment_max.max(capacity / 64),
            read_max: read_max.max(capacity / 64),
            cut_per_mille: random.per_mille_or_none(),
            defer_per_mille: random.per_mille_or_none() / 2,
            reset_per_million: 0,
        }
    }
}

/// Something that concerns the test's own actors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// An endpoint can be read, was answered, broke, or has sent all it was given.
    Endpoint(u64),
    /// A listener has connections to accept.
    Listener(u64),
    /// A timer is due.
    Timer(u64),
}

/// A connection or listener between two owners; closes when dropped.
pub struct Handle {
    net: Net,
    what: What,
}

/// What a handle, or a worker's slot, stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum What {
    End(u32),
    Listener(u32),
    /// Given away.
    Nothing,
}

impl Net {
    /// Opens a calm network.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Conditions::calm())
    }

    /// Opens a network with conditions.
    pub fn with(seed: u64, conditions: Conditions) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed, conditions))))
    }

    /// Changes the conditions for everything sent from now on.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.lock().conditions = conditions;
    }

    /// Returns an engine for one more worker.
    pub fn engine(&self) -> Sim {
        Sim::new(self.clone())
    }

    /// Returns the time of this network.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.lock().now)
    }

    /// Starts to listen; none if somebody listens there already.
    pub fn listen(&self, address: &Address) -> Option<Listener> {
        let id = self.lock().listen(address)?;
        Some(Listener(Handle { net: self.clone(), what: What::Listener(id) }))
    }

    /// Starts to connect as a client of the test's own.
    pub fn connect(&self, address: &Address) -> Endpoint {
        let id = self.lock().connect(address, Owner::Test);
        Endpoint(Handle { net: self.clone(), what: What::End(id) })
    }

    /// Announces [`News::Timer`] with this key after the given time.
    pub fn timer(&self, after: Duration, key: u64) {
        self.lock().timer(after, key);
    }

    /// Returns the next news for the test's own actors.
    pub fn news(&self) -> Option<News> {
        self.lock().take_news()
    }

    /// Makes the worker of an engine, counted from zero, busy for a while: it costs no time here.
    pub fn work(&self, engine: usize, time: Duration) {
        self.lock().workers[engine].busy += time;
    }

    /// Whether some actor or engine has something to do at this very time: turn them again.
    pub fn is_busy(&self) -> bool {
        self.lock().is_busy()
    }

    /// Moves the clock to the next thing that happens, or to the next time an engine waits for.
    /// False if there is neither: nothing will happen any more.
    pub fn advance(&self) -> bool {
        self.lock().advance(u64::MAX)
    }

    /// Like [`Net::advance`], but not beyond `limit`; false if the limit is reached.
    pub fn advance_until(&self, limit: Timestamp) -> bool {
        self.lock().advance(limit.as_nanos())
    }

    /// Breaks a connection in the middle: both ends will hear of a reset.
    pub fn cut(&self, endpoint: u64) {
        self.lock().cut(endpoint);
    }

    /// Loses, from now on, all that a connection's ends send each other. Neither is told.
    pub fn silence(&self, endpoint: u64) {
        self.lock().silence(endpoint);
    }

    /// Makes connects to an address hang (true) or be answered again (false).
    pub fn set_unreachable(&self, address: &Address, unreachable: bool) {
        self.lock().set_unreachable(address, unreachable);
    }

    /// Lets accepts and connects of all engines fail for want of descriptors, or work again.
    pub fn set_exhausted(&self, exhausted: bool) {
        self.lock().exhausted = exhausted;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of one test actor while it held the lock is that test's failure already.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Gives up ownership without closing.
    fn into_what(mut self) -> What {
        std::mem::replace(&mut self.what, What::Nothing)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        match self.what {
            What::End(id) => self.net.lock().close(id),
            What::Listener(id) => self.net.lock().unlisten(id),
            What::Nothing => {}
        }
    }
}
