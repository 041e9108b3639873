//! What was, in memory: a ring for each pool, coarser the further back.
//!
//! Invariant: bounded in memory whatever happens: so many pools, so many points each. Levels are
//! averaged when they are thinned out, peaks (waits, percentiles, queues) keep their greatest.
//! Not here: a disk; what comes next (`trend.rs`).

pub mod trend;

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::figures::Figures;
use crate::model::Pool;

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

/// One moment of one pool; single precision is enough for a line on a screen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Monotonic seconds.
    at: f64,
    values: [f32; FIELDS.len()],
}

/// How values of several moments become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thin {
    Average,
    Greatest,
}

/// The values of a point, in order: name, and how it is thinned out.
const FIELDS: [(&str, Thin); 12] = [
    ("used", Thin::Average),
    ("idle", Thin::Average),
    ("total", Thin::Average),
    ("size", Thin::Average),
    ("waiting", Thin::Greatest),
    ("oldest_wait_seconds", Thin::Greatest),
    ("queries_rate", Thin::Average),
    ("transactions_rate", Thin::Average),
    ("errors_rate", Thin::Average),
    ("wait_p99_seconds", Thin::Greatest),
    ("query_p50_seconds", Thin::Greatest),
    ("query_p99_seconds", Thin::Greatest),
];

/// Returns the names of the values of a point, in order.
#[must_use]
pub fn fields() -> Vec<&'static str> {
    FIELDS.iter().map(|(name, _)| *name).collect()
}

impl Point {
    fn of(now: f64, pool: &Pool, figures: &Figures) -> Self {
        let number = |n: u32| n as f32;
        let connections = &pool.connections;
        Self {
            at: now,
            values: [
                number(connections.used),
                number(connections.idle),
                number(connections.total()),
                number(pool.size_max),
                number(pool.waiting),
                pool.oldest_wait_seconds as f32,
                figures.queries_rate as f32,
                figures.transactions_rate as f32,
                figures.errors_rate as f32,
                figures.wait_p99_seconds as f32,
                figures.query_p50_seconds as f32,
                figures.query_p99_seconds as f32,
            ],
        }
    }

    /// Adds another pool of the same moment: counts and rates add up, durations do not.
    fn add(&mut self, other: &Self) {
        for (place, (value, (name, _))) in
            self.values.iter_mut().zip(other.values.iter().zip(FIELDS))
        {
            *place = if name.ends_with("_seconds") { place.max(*value) } else { *place + value };
        }
    }
}

/// Points on their way to become one.
#[derive(Clone, Debug, Default)]
struct Heap {
    until: f64,
    count: u32,
    point: Point,
}

impl Heap {
    fn add(&mut self, point: &Point) {
        self.count += 1;
        self.point.at = point.at;
        for (place, (value, (_, thin))) in
            self.point.values.iter_mut().zip(point.values.iter().zip(FIELDS))
        {
            *place = match thin {
                Thin::Average => *place + value,
                Thin::Greatest => place.max(*value),
            };
        }
    }

    fn take(&mut self) -> Point {
        let mut point = std::mem::take(&mut self.point);
        for (value, (_, thin)) in point.values.iter_mut().zip(FIELDS) {
            if thin == Thin::Average {
                *value /= self.count.max(1) as f32;
            }
        }
        self.count = 0;
        point
    }
}

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

impl History {
    /// Makes an empty history.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, series: BTreeMap::new() }
    }

    /// Adds one moment of all pools.
    pub fn push(&mut self, now: f64, pools: &[(Pool, Figures)]) {
        let mut sum = Point { at: now, ..Point::default() };
        for (pool, figures) in pools {
            let point = Point::of(now, pool, figures);
            sum.add(&point);
            self.push_one(now, &pool.name, &point);
        }
        self.push_one(now, ALL, &sum);
        let keep = self.settings.keep_seconds;
        self.series.retain(|_, series| now - series.seen <= keep);
    }

    fn push_one(&mut self, now: f64, name: &str, point: &Point) {
        let keep = self.settings.keep_seconds;
        if let Some(series) = self.series.get_mut(name) {
            series.push(point, keep);
            return;
        }
        // The sum has a place of its own.
        let is_full = self.series.len() > self.settings.pools_max;
        if is_full && name != ALL && !self.make_room(now) {
            return;
        }
        let mut series = Series::new(now);
        series.push(point, keep);
        self.series.insert(name.to_owned(), series);
    }

    /// Forgets the pool that was gone longest, if one is gone.
    fn make_room(&mut self, now: f64) -> bool {
        let gone =
            self.series.iter().filter(|(name, series)| !name.is_empty() && series.seen < now);
        let oldest = gone.min_by(|a, b| a.1.seen.total_cmp(&b.1.seen));
        let Some(name) = oldest.map(|(name, _)| name.clone()) else { return false };
        self.series.remove(&name).is_some()
    }

    /// Returns the names that have a history; [`ALL`] is the sum.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// Returns the last `seconds` of a pool, in at most a few hundred points; none if the pool
    /// has no history.
    #[must_use]
    pub fn range(&self, name: &str, now: f64, seconds: f64) -> Option<Range> {
        let series = self.series.get(name)?;
        let fits = |(step, points): &(f64, usize)| step * *points as f64 >= seconds;
        let place = RINGS.iter().position(fits).unwrap_or(RINGS.len() - 1);
        let ring = &series.rings[place];
        let recent = ring.iter().filter(|point| now - point.at <= seconds);
        let points = recent.map(|point| {
            let values = point.values.iter().map(|value| f64::from(*value));
            std::iter::once(now - point.at).chain(values).collect()
        });
        Some(Range { step_seconds: RINGS[place].0, fields: fields(), points: points.collect() })
    }

    /// Returns one value of a pool over the last `seconds`: time and value.
    #[must_use]
    pub fn values(&self, name: &str, field: &str, now: f64, seconds: f64) -> Vec<(f64, f64)> {
        let Some(place) = FIELDS.iter().position(|(known, _)| *known == field) else {
            return Vec::new();
        };
        let Some(range) = self.range(name, now, seconds) else { return Vec::new() };
        let point = |point: &Vec<f64>| Some((now - point.first()?, *point.get(place + 1)?));
        range.points.iter().filter_map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Counts;

    fn pool(name: &str, used: u32, waiting: u32) -> (Pool, Figures) {
        let connections = Counts { used, ..Counts::default() };
        let pool =
            Pool { name: name.into(), connections, waiting, size_max: 10, ..Pool::default() };
        (pool, Figures::default())
    }

    fn fill(history: &mut History, seconds: u32, used: impl Fn(u32) -> u32) {
        for second in 0..seconds {
            history.push(f64::from(second), &[pool("p", used(second), second % 7)]);
        }
    }

    #[test]
    fn levels_are_averaged_and_peaks_are_kept() {
        let mut history = History::new(Settings::default());
        fill(&mut history, 1000, |second| second % 10);
        let range = history.range("p", 999.0, 900.0).expect("it was pushed");
        assert_eq!(range.step_seconds, 10.0);
        let at = |point: &Vec<f64>, field: &str| {
            point[1 + range.fields.iter().position(|f| *f == field).expect("a field")]
        };
        for point in &range.points[1..] {
            assert!((at(point, "used") - 4.5).abs() < 0.11, "{point:?}");
            assert_eq!(at(point, "waiting"), 6.0, "{point:?}");
        }
        assert!((88..=91).contains(&range.points.len()), "{}", range.points.len());
    }

    #[test]
    fn a_range_takes_the_finest_ring_that_covers_it() {
        let mut history = History::new(Settings::default());
        fill(&mut history, 10_000, |_| 1);
        let points = |seconds| {
            let range = history.range("p", 9_999.0, seconds).expect("it was pushed");
            (range.step_seconds, range.points.len())
        };
        assert_eq!(points(60.0), (1.0, 61));
        assert_eq!(points(7_200.0).0, 10.0);
        assert_eq!(points(86_400.0).0, 60.0);
    }

    #[test]
    fn a_day_and_a_hundred_pools_are_the_most_that_is_kept() {
        let mut history = History::new(Settings { pools_max: 3, keep_seconds: 500.0 });
        for second in 0..2_000u32 {
            let name = format!("p{}", second % 50);
            history.push(f64::from(second), &[pool(&name, 1, 0), pool("always", 2, 0)]);
        }
        assert!(history.names().count() <= 4, "{:?}", history.names().collect::<Vec<_>>());
        assert!(history.names().any(|name| name == "always"));
        let range = history.range("always", 1_999.0, 100_000.0).expect("it was pushed");
        assert!(range.points.len() <= 10, "{}", range.points.len());
        let sum = history.range(ALL, 1_999.0, 10.0).expect("there is always a sum");
        assert_eq!(sum.points[0][1], 3.0);
    }
}
