//! What was, in memory: a ring for each pool, coarser the further back.
//!
//! Invariant: bounded in memory whatever happens: so many pools, so many points each. Levels are
//! averaged when they are thinned out, peaks (waits, percentiles, queues) keep their greatest.
//! Not here: what is further back (`store.rs`, `disk/`); what comes next (`trend.rs`).

#[cfg(feature = "disk")]
pub mod disk;
pub(crate) mod minute;
mod point;
pub(crate) mod store;
pub mod trend;

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::figures::Figures;
use crate::model::Pool;
use point::{Heap, Point};
use store::Recalled;

pub use point::fields;
pub use store::Store;

/// The series that adds up all pools.
pub const ALL: &str = "";

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Pools with a history of their own; the others are in the sum only. Default: 100, because
    /// each takes at most 150 kB.
    pub pools_max: usize,
    /// How far back, in seconds. Default: 86,400, because "as yesterday at this time" is what is
    /// asked for.
    pub keep_seconds: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { pools_max: 100, keep_seconds: 86_400.0 }
    }
}

/// How many seconds a point of each ring stands for, and how many points it has at most. The
/// last ring is as long as the settings say.
const RINGS: [(f64, usize); 3] = [(1.0, 300), (10.0, 720), (60.0, 100_000)];
/// Points that are told of at most: a screen has not many more.
const POINTS_MAX: usize = 720;
/// The ring of whole minutes.
const MINUTES: usize = RINGS.len() - 1;

/// The history of one pool.
#[derive(Debug)]
struct Series {
    rings: [VecDeque<Point>; RINGS.len()],
    heaps: [Heap; RINGS.len()],
    seen: f64,
}

impl Series {
    fn new(now: f64) -> Self {
        Self { rings: Default::default(), heaps: Default::default(), seen: now }
    }

    fn push(&mut self, point: &Point, keep_seconds: f64) {
        self.seen = point.at;
        for ((ring, heap), (step, points)) in
            self.rings.iter_mut().zip(self.heaps.iter_mut()).zip(RINGS)
        {
            heap.add(point);
            if point.at < heap.until {
                continue;
            }
            ring.push_back(heap.take());
            // Half a step of slack: a tick that comes a little early belongs to its own point.
            heap.until = point.at + step - 0.5;
            let old = |first: &Point| point.at - first.at > keep_seconds;
            while ring.len() > points || ring.front().is_some_and(old) {
                ring.pop_front();
            }
        }
    }

    /// When the oldest point of a ring was.
    fn first(&self, ring: usize) -> f64 {
        self.rings[ring].front().map_or(f64::INFINITY, |point| point.at)
    }

    /// Returns the finest ring that goes back to a moment; if none does, `Err` with the finest of
    /// those that go back furthest.
    fn ring(&self, now: f64, from: f64) -> Result<usize, usize> {
        // Half a second of slack: what was `now - seconds` need not give the same seconds back.
        let fits = |(step, points): &(f64, usize)| step * *points as f64 + 0.5 >= now - from;
        let finest = RINGS.iter().position(fits).unwrap_or(MINUTES);
        let rings = finest..RINGS.len();
        // After a restart the finer rings begin anew, and the last one is filled from a store.
        let reaches = |ring: &usize| self.first(*ring) <= from + 2.0 * RINGS[*ring].0;
        let reaching = rings.clone().find(reaches);
        let furthest = || rings.clone().map(|ring| self.first(ring)).fold(f64::MAX, f64::min);
        let first = reaching.map_or_else(furthest, |ring| self.first(ring));
        // What a coarser point more or less makes is no reason for a coarser ring.
        let is_as_far = |ring: &usize| self.first(*ring) <= first + RINGS[MINUTES].0;
        let ring = rings.clone().find(is_as_far).unwrap_or(finest);
        if reaching.is_some() { Ok(ring) } else { Err(ring) }
    }
}

/// The history of every pool, and of all together.
#[derive(Debug)]
pub struct History {
    settings: Settings,
    series: BTreeMap<String, Series>,
}

/// An answer: points from old to new.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Range {
    /// Seconds that a point stands for.
    pub step_seconds: f64,
    /// What the values of a point are.
    pub fields: Vec<&'static str>,
    /// For each point, how many seconds ago it was, and its values.
    pub points: Vec<Vec<f64>>,
}

impl Range {
    /// Returns one of the values: seconds (negative, ago) and value.
    #[must_use]
    pub fn values(&self, field: &str) -> Vec<(f64, f64)> {
        let Some(place) = point::place(field) else { return Vec::new() };
        let point = |point: &Vec<f64>| Some((-point.first()?, *point.get(place + 1)?));
        self.points.iter().filter_map(point).collect()
    }
}

impl History {
    /// Makes an empty history.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, series: BTreeMap::new() }
    }

    /// Adds one moment of all pools.
    pub fn push(&mut self, now: f64, pools: &[(Pool, Figures)]) {
        self.push_and(now, pools, |_, _| {});
    }

    /// Adds one moment of all pools, and shows each that has a history of its own to somebody else.
    pub(crate) fn push_and(
        &mut self,
        now: f64,
        pools: &[(Pool, Figures)],
        mut show: impl FnMut(&str, &Point),
    ) {
        let mut sum = Point { at: now, ..Point::default() };
        for (pool, figures) in pools {
            let point = Point::of(now, pool, figures);
            sum.add(&point);
            if self.push_one(now, &pool.name, &point) {
                show(&pool.name, &point);
            }
        }
        if self.push_one(now, ALL, &sum) {
            show(ALL, &sum);
        }
        let keep = self.settings.keep_seconds;
        self.series.retain(|_, series| now - series.seen <= keep);
    }

    /// Adds a moment of one pool; false if there is no place for it.
    fn push_one(&mut self, now: f64, name: &str, point: &Point) -> bool {
        let keep = self.settings.keep_seconds;
        if let Some(series) = self.series.get_mut(name) {
            series.push(point, keep);
            return true;
        }
        // The sum has a place of its own.
        let is_full = self.series.len() > self.settings.pools_max;
        if is_full && name != ALL && !self.make_room(now) {
            return false;
        }
        let mut series = Series::new(now);
        series.push(point, keep);
        self.series.insert(name.to_owned(), series);
        true
    }

    /// Forgets the pool that was gone longest, if one is gone.
    fn make_room(&mut self, now: f64) -> bool {
        let gone =
            self.series.iter().filter(|(name, series)| !name.is_empty() && series.seen < now);
        let oldest = gone.min_by(|a, b| a.1.seen.total_cmp(&b.1.seen));
        let Some(name) = oldest.map(|(name, _)| name.clone()) else { return false };
        self.series.remove(&name).is_some()
    }

    /// Fills the minutes of a pool that has no history yet from what a store remembers; `offset`
    /// turns monotonic seconds into those since 1970.
    pub(crate) fn recall(&mut self, now: f64, offset: f64, recalled: &Recalled) {
        let is_full = recalled.name != ALL && self.series.len() > self.settings.pools_max;
        if is_full || self.series.contains_key(&recalled.name) {
            return;
        }
        let point = |(at, values): &(i64, _)| {
            // A point stands where its minute ended; the last one may not have.
            let end = (*at + minute::MINUTE) as f64 - offset;
            Point { at: end.min(now), values: *values }
        };
        let begun = |(at, _): &&(i64, _)| *at as f64 - offset <= now;
        let points = recalled.minutes.iter().filter(begun).map(point);
        let points: VecDeque<Point> =
            points.filter(|point| now - point.at <= self.settings.keep_seconds).collect();
        let Some(last) = points.back() else { return };
        let mut series = Series::new(last.at);
        series.rings[MINUTES] = points;
        self.series.insert(recalled.name.clone(), series);
    }

    /// Returns the names that have a history; [`ALL`] is the sum.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// Returns the last `seconds` of a pool, in at most a few hundred points; none if the pool
    /// has no history.
    #[must_use]
    pub fn range(&self, name: &str, now: f64, seconds: f64) -> Option<Range> {
        self.between(name, now, now - seconds, now)
    }

    /// Returns what was of a pool from one monotonic moment to another.
    pub(crate) fn between(&self, name: &str, now: f64, from: f64, to: f64) -> Option<Range> {
        let series = self.series.get(name)?;
        let (Ok(ring) | Err(ring)) = series.ring(now, from);
        let points = series.rings[ring].iter().filter(|point| from <= point.at && point.at <= to);
        let points: Vec<&Point> = points.collect();
        let joined = points.len().div_ceil(POINTS_MAX).max(1);
        let join = |points: &[&Point]| {
            let mut heap = Heap::default();
            points.iter().for_each(|point| heap.add(point));
            heap.take().told(now)
        };
        Some(Range {
            step_seconds: RINGS[ring].0 * joined as f64,
            fields: fields(),
            points: points.chunks(joined).map(join).collect(),
        })
    }

    /// Returns whether all that was of a pool since a monotonic moment is in memory.
    pub(crate) fn reaches(&self, name: &str, now: f64, from: f64) -> bool {
        self.series.get(name).is_some_and(|series| series.ring(now, from).is_ok())
    }

    /// Returns one value of a pool over the last `seconds`: time and value.
    #[must_use]
    pub fn values(&self, name: &str, field: &str, now: f64, seconds: f64) -> Vec<(f64, f64)> {
        let Some(range) = self.range(name, now, seconds) else { return Vec::new() };
        range.values(field).into_iter().map(|(ago, value)| (now + ago, value)).collect()
    }
}

#[cfg(test)]
mod tests;
