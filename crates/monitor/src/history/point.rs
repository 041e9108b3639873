//! One moment of one pool, and how several become one.
//!
//! Invariant: averages average, each look weighing the same, and peaks keep their greatest; in
//! which steps moments are joined makes no difference.
//! Not here: which moments belong together (`mod.rs` in memory, `minute.rs` for a file).

use crate::figures::Figures;
use crate::model::Pool;

/// The values of a point, in the order of [`fields`]; single precision is enough for a line on a
/// screen.
pub(crate) type Values = [f32; FIELDS.len()];

/// One moment of one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Point {
    /// Monotonic seconds.
    pub at: f64,
    pub values: Values,
}

/// How values of several moments become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thin {
    Average,
    Greatest,
}

/// The values of a point, in order: name, and how it is thinned out. A file on disk has them in
/// this order too, so a new one is added at the end.
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

/// Returns the place of a value in a point.
pub(super) fn place(field: &str) -> Option<usize> {
    FIELDS.iter().position(|(known, _)| *known == field)
}

impl Point {
    pub(super) fn of(now: f64, pool: &Pool, figures: &Figures) -> Self {
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
    pub(super) fn add(&mut self, other: &Self) {
        for (place, (value, (name, _))) in
            self.values.iter_mut().zip(other.values.iter().zip(FIELDS))
        {
            *place = if name.ends_with("_seconds") { place.max(*value) } else { *place + value };
        }
    }

    /// Returns the point as it is told: how long ago it was, and its values.
    pub(super) fn told(&self, now: f64) -> Vec<f64> {
        let values = self.values.iter().map(|value| f64::from(*value));
        std::iter::once(now - self.at).chain(values).collect()
    }
}

/// Points on their way to become one.
#[derive(Clone, Debug, Default)]
pub(super) struct Heap {
    /// When it is full, for whoever keeps it.
    pub until: f64,
    count: u32,
    point: Point,
}

impl Heap {
    pub fn add(&mut self, point: &Point) {
        self.count = self.count.saturating_add(1);
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

    pub fn take(&mut self) -> Point {
        let mut point = std::mem::take(&mut self.point);
        for (value, (_, thin)) in point.values.iter_mut().zip(FIELDS) {
            if thin == Thin::Average {
                *value /= self.count.max(1) as f32;
            }
        }
        self.count = 0;
        point
    }

    /// Takes what is in it, with how many looks that were.
    pub fn weigh(&mut self) -> Weighed {
        let weight = self.count;
        Weighed { weight, values: self.take().values }
    }
}

/// The values of some looks, with how many they were.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Weighed {
    pub weight: u32,
    pub values: Values,
}

#[cfg(any(feature = "disk", test))]
impl Weighed {
    /// Joins the values of other looks to these.
    pub fn join(&mut self, other: &Self) {
        let weight = self.weight.saturating_add(other.weight);
        if other.weight == 0 {
            return;
        }
        let share = f64::from(other.weight) / f64::from(weight);
        for (place, (value, (_, thin))) in
            self.values.iter_mut().zip(other.values.iter().zip(FIELDS))
        {
            *place = match thin {
                Thin::Average => {
                    let (own, other) = (f64::from(*place), f64::from(*value));
                    (own + (other - own) * share) as f32
                }
                Thin::Greatest => place.max(*value),
            };
        }
        self.weight = weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(used: f32, waiting: f32) -> Weighed {
        let mut values = Values::default();
        values[place("used").expect("a field")] = used;
        values[place("waiting").expect("a field")] = waiting;
        Weighed { weight: 1, values }
    }

    #[test]
    fn joined_in_any_steps_looks_give_the_same() {
        let looks: Vec<Weighed> =
            (0..60u8).map(|n| look(f32::from(n % 7), f32::from(n % 11))).collect();
        let join = |looks: &[Weighed]| {
            let mut all = Weighed::default();
            looks.iter().for_each(|look| all.join(look));
            all
        };
        let whole = join(&looks);
        assert_eq!(whole.weight, 60);
        assert_eq!(whole.values[place("waiting").expect("a field")], 10.0);
        let used: f32 = (0..60u8).map(|n| f32::from(n % 7)).sum::<f32>() / 60.0;
        assert!((whole.values[0] - used).abs() < 1e-5, "{} {used}", whole.values[0]);
        for step in [1, 7, 13, 59] {
            let parts: Vec<Weighed> = looks.chunks(step).map(join).collect();
            let parts = join(&parts);
            assert_eq!(parts.weight, 60, "{step}");
            for (part, whole) in parts.values.iter().zip(whole.values) {
                assert!((part - whole).abs() < 1e-5, "{step}: {part} {whole}");
            }
        }
    }
}
