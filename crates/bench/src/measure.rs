//! What is recorded of each request, by many threads at once.
//!
//! Invariant: a request that was to begin within the window is counted exactly once: answered,
//! failed, or unfinished. One that was never answered enters the latencies with the time it has
//! waited so far, so that a stall at the end of a run cannot hide.
//! Left out: what the figures mean (`result.rs`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use headpond_stats::Distribution;
use parking_lot::Mutex;

use crate::error::ErrorKind;

/// The shortest and the longest time told apart, in nanoseconds: 100 ns and one hour.
const BOUNDS: (u64, u64) = (100, 3_600_000_000_000);
/// Significant digits: a percentile is at most a thousandth off.
const DIGITS: u8 = 3;

/// How long things took, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let (low, high) = BOUNDS;
        Self(Histogram::new_with_bounds(low, high, DIGITS).expect("bounds and digits are legal"))
    }
}

impl Times {
    /// Counts one; what is longer than an hour counts as an hour.
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos.max(1));
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// Returns how many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the time in nanoseconds that the share `q` does not exceed; 0 if none was counted.
    #[must_use]
    pub fn quantile(&self, q: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_quantile(q) }
    }

    /// Returns the mean in nanoseconds; 0 if none was counted.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.mean() }
    }

    /// Returns the standard deviation in nanoseconds.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.stdev() }
    }

    /// Returns the shortest and the longest in nanoseconds.
    #[must_use]
    pub fn extremes(&self) -> (u64, u64) {
        if self.0.is_empty() { (0, 0) } else { (self.0.min(), self.0.max()) }
    }

    /// Returns the buckets that are not empty: the longest time in each, and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter_recorded().map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
    }
}

/// One request from its begin to its end, in nanoseconds since the origin of the run.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// When it was to begin.
    pub intended: u64,
    /// When it had a connection; `None` if it never had one.
    pub started: Option<u64>,
    /// When it was over.
    pub ended: u64,
}

/// What one thread recorded.
#[derive(Clone, Default, Debug)]
pub struct Recording {
    /// From the intended begin to the end.
    pub latency: Times,
    /// From the intended begin to the start on a connection.
    pub wait: Times,
    /// From the start on a connection to the end.
    pub service: Times,
    /// How late requests were sent although a connection was free: our own fault.
    pub lag: Times,
    /// Answered within the window.
    pub completed: u64,
    /// Failed, by kind.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Begun within the window and neither answered nor failed when the run was given up.
    pub unfinished: u64,
    /// Since the last look.
    second: Interval,
}

/// What happened since somebody looked last.
#[derive(Clone, Default, Debug)]
pub struct Interval {
    /// Latencies.
    pub latency: Distribution,
    /// Requests that failed.
    pub errors: u64,
}

impl Recording {
    /// Adds what another thread recorded, but for its current second.
    pub fn merge(&mut self, other: &Self) {
        self.latency.merge(&other.latency);
        self.wait.merge(&other.wait);
        self.service.merge(&other.service);
        self.lag.merge(&other.lag);
        self.completed += other.completed;
        self.unfinished += other.unfinished;
        for (kind, count) in &other.errors {
            *self.errors.entry(*kind).or_default() += count;
        }
    }

    /// Returns how many failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// The clock of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Returns the time in nanoseconds since the origin of the run.
    #[must_use]
    pub fn now(self) -> u64 {
        nanos(self.0.elapsed())
    }
}

/// What the threads of a run share: its clock, its window, its recordings.
#[derive(Debug)]
pub struct Control {
    clock: Clock,
    from: AtomicU64,
    until: AtomicU64,
    shards: Vec<Mutex<Recording>>,
    gauges: Vec<Gauge>,
}

/// What one thread has under way, on a cache line of its own.
#[derive(Default, Debug)]
#[repr(align(128))]
pub struct Gauge {
    /// Connections that carry a request.
    pub busy: AtomicU32,
    /// Requests that have begun and have no connection.
    pub waiting: AtomicU32,
}

impl Control {
    /// Begins a run with as many recordings as there will be threads.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self {
            clock: Clock(Instant::now()),
            from: AtomicU64::new(u64::MAX),
            until: AtomicU64::new(u64::MAX),
            shards: (0..shards.max(1)).map(|_| Mutex::default()).collect(),
            gauges: (0..shards.max(1)).map(|_| Gauge::default()).collect(),
        }
    }

    /// Returns the time in nanoseconds since the origin.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Returns the clock, for threads that see nothing else of the run.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// Opens the window: requests that begin from `warm_up` from now on, for `duration`, count.
    pub fn open(&self, warm_up: Duration, duration: Duration) {
        let from = self.now() + nanos(warm_up);
        self.from.store(from, Relaxed);
        self.until.store(from.saturating_add(nanos(duration)), Relaxed);
    }

    /// Ends the window now, unless it has ended.
    pub fn stop(&self) {
        self.until.fetch_min(self.now(), Relaxed);
    }

    /// Returns the window.
    #[must_use]
    pub fn window(&self) -> (u64, u64) {
        let until = self.until.load(Relaxed);
        // A run that was stopped while warming up has an empty window.
        (self.from.load(Relaxed).min(until), until)
    }

    /// Whether requests still begin.
    #[must_use]
    pub fn is_running(&self, now: u64) -> bool {
        now < self.until.load(Relaxed)
    }

    /// Records a request that was answered or failed.
    pub fn record(&self, shard: usize, request: Request, outcome: Result<(), ErrorKind>) {
        let (from, until) = self.window();
        let Request { intended, started, ended } = request;
        let mut recording = self.shards[shard % self.shards.len()].lock();
        let latency = ended.saturating_sub(intended);
        match outcome {
            Ok(()) => recording.second.latency.record(latency),
            Err(_) => recording.second.errors += 1,
        }
        if outcome.is_ok() && (from..until).contains(&ended) {
            recording.completed += 1;
        }
        if !(from..until).contains(&intended) {
            return;
        }
        recording.latency.record(latency);
        if let Some(started) = started {
            recording.wait.record(started.saturating_sub(intended));
            recording.service.record(ended.saturating_sub(started));
        }
        if let Err(kind) = outcome {
            *recording.errors.entry(kind).or_default() += 1;
        }
    }

    /// Returns what one thread says of itself.
    #[must_use]
    pub fn gauge(&self, shard: usize) -> &Gauge {
        &self.gauges[shard % self.gauges.len()]
    }

    /// Returns how many connections carry a request, and how many requests have none.
    #[must_use]
    pub fn under_way(&self) -> (u32, u32) {
        let sum = |of: fn(&Gauge) -> &AtomicU32| {
            self.gauges.iter().map(|gauge| of(gauge).load(Relaxed)).sum()
        };
        (sum(|gauge| &gauge.busy), sum(|gauge| &gauge.waiting))
    }

    /// Records how late a request was sent although a connection was free.
    pub fn record_lag(&self, shard: usize, nanos: u64) {
        self.shards[shard % self.shards.len()].lock().lag.record(nanos);
    }

    /// Records a request that nobody waits for any more.
    pub fn give_up(&self, shard: usize, intended: u64, now: u64) {
        let (from, until) = self.window();
        if (from..until).contains(&intended) {
            let mut recording = self.shards[shard % self.shards.len()].lock();
            recording.unfinished += 1;
            recording.latency.record(now.saturating_sub(intended));
        }
    }

    /// Takes what happened since the last call.
    #[must_use]
    pub fn take_interval(&self) -> Interval {
        let mut all = Interval::default();
        for shard in &self.shards {
            let second = std::mem::take(&mut shard.lock().second);
            all.latency.merge(&second.latency);
            all.errors += second.errors;
        }
        all
    }

    /// Returns everything that was recorded.
    #[must_use]
    pub fn total(&self) -> Recording {
        let mut all = Recording::default();
        for shard in &self.shards {
            all.merge(&shard.lock());
        }
        all
    }
}

/// A duration in nanoseconds, five centuries at most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control() -> Control {
        let control = Control::new(2);
        control.from.store(100, Relaxed);
        control.until.store(200, Relaxed);
        control
    }

    fn request(intended: u64, ended: u64) -> Request {
        Request { intended, started: Some(intended + 5), ended }
    }

    #[test]
    fn a_request_counts_by_its_intended_begin_and_throughput_by_its_end() {
        let control = control();
        control.record(0, request(90, 110), Ok(())); // warm-up, ends inside
        control.record(1, request(150, 170), Ok(()));
        control.record(0, request(199, 260), Ok(())); // ends outside
        control.record(1, request(200, 210), Ok(()));
        let total = control.total();
        assert_eq!((total.latency.count(), total.completed), (2, 2));
        assert_eq!(total.latency.extremes().1 / 10, 6, "the late one is in the latencies");
    }

    #[test]
    fn a_failure_counts_once_and_is_no_completion() {
        let control = control();
        control.record(0, request(150, 160), Err(ErrorKind::Server(*b"40001")));
        let total = control.total();
        assert_eq!((total.completed, total.failed(), total.latency.count()), (0, 1, 1));
    }

    #[test]
    fn a_request_that_was_never_answered_is_in_the_latencies() {
        let control = control();
        control.give_up(0, 150, 1_000_000_150);
        control.give_up(0, 250, 1_000_000_150);
        let total = control.total();
        assert_eq!(total.unfinished, 1);
        let longest = total.latency.extremes().1;
        assert!(longest.abs_diff(1_000_000_000) < 1_000_000, "{longest}");
    }

    #[test]
    fn a_percentile_is_at_most_a_thousandth_off() {
        let mut times = Times::default();
        (1..=100_000u64).for_each(|n| times.record(n * 1000));
        for q in [0.5f64, 0.9, 0.99, 0.999] {
            let exact = q * 1e8;
            let found = times.quantile(q) as f64;
            assert!((found / exact - 1.0).abs() < 0.0011, "{q}: {found}");
        }
    }

    #[test]
    fn a_look_takes_what_happened_since_the_last_one() {
        let control = control();
        control.record(0, request(10, 20), Ok(()));
        control.record(1, request(10, 20), Err(ErrorKind::Lost));
        let first = control.take_interval();
        assert_eq!((first.latency.count(), first.errors), (1, 1));
        assert_eq!(control.take_interval().latency.count(), 0);
    }
}
