//! All numbers at one moment, collected from many sources.
//!
//! Invariant: a family has one kind; a set of labels occurs once in it; sets are capped.
//! Not here: when to collect (`monitor`) and how it is written down (`text.rs`).

use std::collections::HashMap;

use crate::family::{Family, Kind, Number, ValueRef};
use crate::{Distribution, name};

/// Adds numbers to a snapshot: all that a reader knows of whoever owns them.
pub trait Source {
    /// Adds everything this source has to tell.
    fn collect(&self, into: &mut Snapshot);
}

/// How many sets of labels a family may have, the series `other` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Of counters, gauges and infos. Default: 2,000, because that is 200 kB of text per family.
    pub numbers: usize,
    /// Of histograms. Default: 200, because one is 19 lines of text and 5 kB of memory.
    pub distributions: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { numbers: 2_000, distributions: 200 }
    }
}

/// Holds families of numbers in the order in which they were first named.
///
/// ```
/// use headpond_stats::{Snapshot, text};
///
/// let mut snapshot = Snapshot::new();
/// let mut waiting = snapshot.gauge("headpond_pool_waiting_clients", "Clients that wait.");
/// waiting.add(&[("database", "shop"), ("user", "web")], 3u64);
/// assert!(text::prometheus(&snapshot).contains("{database=\"shop\",user=\"web\"} 3\n"));
/// ```
#[derive(Debug, Default)]
pub struct Snapshot {
    families: Vec<Family>,
    by_name: HashMap<String, usize>,
    caps: Caps,
}

impl Snapshot {
    /// Returns an empty snapshot with the default caps.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns an empty snapshot with other caps; below one counts as one.
    pub fn with_caps(caps: Caps) -> Self {
        Self { caps, ..Self::default() }
    }

    /// Opens a counter family; `name` is given with or without `_total`.
    ///
    /// # Panics
    /// If the name was used for another kind in this snapshot.
    pub fn counter(&mut self, name: &str, help: &str) -> Numbers<'_> {
        let name = name.strip_suffix("_total").unwrap_or(name);
        Numbers(self.family(name, help, Kind::Counter))
    }

    /// Opens a gauge family.
    ///
    /// # Panics
    /// If the name was used for another kind in this snapshot.
    pub fn gauge(&mut self, name: &str, help: &str) -> Numbers<'_> {
        Numbers(self.family(name, help, Kind::Gauge))
    }

    /// Opens a family of durations; `name` should end with `_seconds`.
    ///
    /// # Panics
    /// If the name was used for another kind in this snapshot.
    pub fn histogram(&mut self, name: &str, help: &str) -> Distributions<'_> {
        Distributions(self.family(name, help, Kind::Histogram))
    }

    /// Opens a family of facts told in labels; `name` is given with or without `_info`.
    ///
    /// # Panics
    /// If the name was used for another kind in this snapshot.
    pub fn info(&mut self, name: &str, help: &str) -> Infos<'_> {
        let name = name.strip_suffix("_info").unwrap_or(name);
        Infos(self.family(name, help, Kind::Info))
    }

    /// Returns all families in the order in which they were first named.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// Returns one family by its name (without `_total` or `_info`).
    pub fn find(&self, name: &str) -> Option<&Family> {
        self.by_name.get(name).map(|at| &self.families[*at])
    }

    fn family(&mut self, name: &str, help: &str, kind: Kind) -> &mut Family {
        let name = name::metric(name);
        let at = *self.by_name.entry(name.clone()).or_insert(self.families.len());
        if at == self.families.len() {
            let series_max = match kind {
                Kind::Histogram => self.caps.distributions,
                Kind::Counter | Kind::Gauge | Kind::Info => self.caps.numbers,
            };
            self.families.push(Family::new(name, help, kind, series_max));
        }
        let family = &mut self.families[at];
        assert!(family.kind() == kind, "{} is a {:?} already", family.name(), family.kind());
        family
    }
}

/// Writes the series of a counter or gauge family.
#[derive(Debug)]
pub struct Numbers<'a>(&'a mut Family);

impl Numbers<'_> {
    /// Adds `number` to the series of these labels: sets given twice add up.
    pub fn add(&mut self, labels: &[(&str, &str)], number: impl Into<Number>) -> &mut Self {
        self.0.add(labels, ValueRef::Number(number.into()));
        self
    }
}

/// Writes the series of a histogram family.
#[derive(Debug)]
pub struct Distributions<'a>(&'a mut Family);

impl Distributions<'_> {
    /// Merges `distribution` into the series of these labels.
    pub fn add(&mut self, labels: &[(&str, &str)], distribution: &Distribution) -> &mut Self {
        self.0.add(labels, ValueRef::Distribution(distribution));
        self
    }
}

/// Writes the series of an info family.
#[derive(Debug)]
pub struct Infos<'a>(&'a mut Family);

impl Infos<'_> {
    /// Adds a set of facts.
    pub fn add(&mut self, labels: &[(&str, &str)]) -> &mut Self {
        self.0.add(labels, ValueRef::One);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    #[test]
    fn equal_label_sets_add_up_whatever_their_order() {
        let mut snapshot = Snapshot::new();
        let mut family = snapshot.counter("served_total", "");
        family.add(&[("a", "1"), ("b", "2")], 3u64).add(&[("b", "2"), ("a", "1")], 4u64);
        let family = snapshot.find("served").expect("opened above");
        assert_eq!(family.series().len(), 1);
        assert_eq!(family.series()[0].value(), &Value::Number(Number::Unsigned(7)));
    }

    #[test]
    fn label_sets_that_look_alike_stay_apart() {
        let mut snapshot = Snapshot::new();
        let mut family = snapshot.gauge("level", "");
        family.add(&[("a", "x1:1:b"), ("b", "y")], 1i32).add(&[("a", "x"), ("b", "1:1:by")], 1i32);
        family.add(&[("ab", "c")], 1i32).add(&[("a", "bc")], 1i32);
        assert_eq!(snapshot.find("level").expect("opened above").series().len(), 4);
    }

    #[test]
    fn a_hundred_thousand_label_values_stay_within_the_cap_and_lose_nothing() {
        let mut snapshot = Snapshot::new();
        for n in 0..100_000u64 {
            let user = format!("user{n}");
            snapshot.counter("queries", "").add(&[("user", &user)], 1u64);
        }
        let family = snapshot.find("queries").expect("opened above");
        assert_eq!(family.series().len(), 2_000);
        assert_eq!(family.merged_into_other(), 100_000 - 1_999);
        let total: f64 = family
            .series()
            .iter()
            .map(|s| match s.value() {
                Value::Number(n) => n.as_f64(),
                other => panic!("not a number: {other:?}"),
            })
            .sum();
        assert_eq!(total, 100_000.0);
        let last = family.series().last().expect("2,000 series");
        assert_eq!(last.labels(), [("user".to_owned(), "other".to_owned())]);
        assert!(crate::text::prometheus(&snapshot).len() < 1 << 20);
    }

    #[test]
    fn a_family_with_changing_label_names_stays_within_the_cap() {
        let mut snapshot = Snapshot::with_caps(Caps { numbers: 3, distributions: 1 });
        for n in 0..50u64 {
            snapshot.gauge("level", "").add(&[(&format!("label{n}"), "v")], 1u64);
            snapshot
                .histogram("took_seconds", "")
                .add(&[("n", &n.to_string())], &Distribution::new());
        }
        assert_eq!(snapshot.find("level").expect("opened above").series().len(), 3);
        assert_eq!(snapshot.find("took_seconds").expect("opened above").series().len(), 1);
    }

    #[test]
    #[should_panic(expected = "served is a Counter already")]
    fn one_name_cannot_be_of_two_kinds() {
        let mut snapshot = Snapshot::new();
        snapshot.counter("served_total", "");
        snapshot.gauge("served", "");
    }

    #[test]
    fn the_unit_is_what_the_name_ends_with() {
        let mut snapshot = Snapshot::new();
        snapshot.counter("waited_seconds_total", "");
        snapshot.gauge("milliseconds", "");
        let units: Vec<&str> = snapshot.families().iter().map(Family::unit).collect();
        assert_eq!(units, ["seconds", ""]);
    }
}
