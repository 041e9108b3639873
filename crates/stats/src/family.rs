//! A family: one name, one kind, one unit, and a value for each set of labels.
//!
//! Invariant: a set of labels occurs once, and the sets never outnumber the cap; what comes
//! beyond it is added up in one series whose label values are all `other`.
//! Not here: text (`text.rs`).

use std::collections::HashMap;

use crate::{Distribution, name};

/// What sort of number a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until a restart.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
    /// Facts in labels; the value is always one.
    Info,
}

/// One value of a counter or a gauge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count.
    Unsigned(u64),
    /// A level that may be negative.
    Signed(i64),
    /// Seconds, ratios.
    Float(f64),
}

impl Number {
    /// Returns the number as a float; beyond 2^53 it is rounded.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(n) => n as f64,
            Self::Signed(n) => n as f64,
            Self::Float(n) => n,
        }
    }

    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unsigned(a), Self::Unsigned(b)) => Self::Unsigned(a.wrapping_add(b)),
            (Self::Signed(a), Self::Signed(b)) => Self::Signed(a.wrapping_add(b)),
            (a, b) => Self::Float(a.as_f64() + b.as_f64()),
        }
    }
}

macro_rules! number_from {
    ($($from:ty => $variant:ident),+) => {$(
        impl From<$from> for Number {
            fn from(n: $from) -> Self {
                Self::$variant(n.into())
            }
        }
    )+};
}

number_from!(
    u8 => Unsigned, u16 => Unsigned, u32 => Unsigned, u64 => Unsigned, bool => Unsigned,
    i32 => Signed, i64 => Signed, f32 => Float, f64 => Float
);

impl From<usize> for Number {
    fn from(n: usize) -> Self {
        // Lossless wherever Rust runs today.
        Self::Unsigned(n as u64)
    }
}

/// The value of one series.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(Number),
    /// Of a histogram.
    Distribution(Distribution),
    /// Of an info: always one.
    One,
}

impl Value {
    fn merge(&mut self, other: ValueRef<'_>) {
        match (self, other) {
            (Self::Number(mine), ValueRef::Number(theirs)) => *mine = mine.plus(theirs),
            (Self::Distribution(mine), ValueRef::Distribution(theirs)) => mine.merge(theirs),
            (Self::One, ValueRef::One) => {}
            _ => unreachable!("the typed writers keep values of one kind in a family"),
        }
    }
}

/// A value on its way in, so that merging copies no buckets.
#[derive(Clone, Copy)]
pub(crate) enum ValueRef<'a> {
    Number(Number),
    Distribution(&'a Distribution),
    One,
}

impl ValueRef<'_> {
    fn to_value(self) -> Value {
        match self {
            Self::Number(n) => Value::Number(n),
            Self::Distribution(d) => Value::Distribution(d.clone()),
            Self::One => Value::One,
        }
    }
}

/// One set of labels and its value.
#[derive(Clone, Debug)]
pub struct Series {
    labels: Vec<(String, String)>,
    value: Value,
}

impl Series {
    /// Returns the labels, ordered by name.
    pub fn labels(&self) -> &[(String, String)] {
        &self.labels
    }

    /// Returns the value.
    pub fn value(&self) -> &Value {
        &self.value
    }
}

/// A named set of series.
#[derive(Debug)]
pub struct Family {
    name: String,
    help: String,
    kind: Kind,
    unit: &'static str,
    series: Vec<Series>,
    by_labels: HashMap<String, usize>,
    series_max: usize,
    merged_into_other: u64,
}

impl Family {
    pub(crate) fn new(name: String, help: &str, kind: Kind, series_max: usize) -> Self {
        Self {
            unit: if kind == Kind::Info { "" } else { unit_of(&name) },
            name,
            help: help.to_owned(),
            kind,
            series: Vec::new(),
            by_labels: HashMap::new(),
            series_max: series_max.max(1),
            merged_into_other: 0,
        }
    }

    /// Returns the name without a counter's `_total` and without an info's `_info`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the family means.
    pub fn help(&self) -> &str {
        &self.help
    }

    /// Returns what sort of numbers it holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the unit that the name ends with, or nothing.
    pub fn unit(&self) -> &'static str {
        self.unit
    }

    /// Returns the series in the order of their first addition.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// Returns how many additions were aggregated in `other` because of the cap.
    pub fn merged_into_other(&self) -> u64 {
        self.merged_into_other
    }

    /// Adds to the series of these labels; a set given twice is added up.
    pub(crate) fn add(&mut self, labels: &[(&str, &str)], value: ValueRef<'_>) {
        let labels = self.legal(labels);
        let key = key_of(&labels);
        if let Some(at) = self.by_labels.get(&key) {
            self.series[*at].value.merge(value);
        } else if self.series.len() + 1 < self.series_max {
            self.by_labels.insert(key, self.series.len());
            self.series.push(Series { labels, value: value.to_value() });
        } else {
            self.add_to_other(labels, value);
        }
    }

    fn add_to_other(&mut self, mut labels: Vec<(String, String)>, value: ValueRef<'_>) {
        self.merged_into_other += 1;
        labels.iter_mut().for_each(|(_, value)| "other".clone_into(value));
        let key = key_of(&labels);
        if let Some(at) = self.by_labels.get(&key) {
            self.series[*at].value.merge(value);
        } else if self.series.len() < self.series_max {
            self.by_labels.insert(key, self.series.len());
            self.series.push(Series { labels, value: value.to_value() });
        } else {
            // Label names differ from those of the existing `other`: the last series takes it.
            let last = self.series.last_mut().expect("the cap is at least one and was reached");
            last.value.merge(value);
        }
    }

    fn legal(&self, labels: &[(&str, &str)]) -> Vec<(String, String)> {
        let reserved = if self.kind == Kind::Histogram { "le" } else { "" };
        let mut legal: Vec<(String, String)> = Vec::with_capacity(labels.len());
        for (label, value) in labels {
            let label = name::label(label, reserved, |n| legal.iter().any(|(taken, _)| taken == n));
            legal.push((label, name::value(value).to_owned()));
        }
        legal.sort_unstable();
        legal
    }
}

/// Returns a text that differs for different sets of labels: lengths first, so that no value can
/// imitate a border.
fn key_of(labels: &[(String, String)]) -> String {
    use std::fmt::Write;
    let mut key = String::with_capacity(64);
    for (name, value) in labels {
        write!(key, "{}:{}:{name}{value}", name.len(), value.len())
            .expect("writing to a string cannot fail");
    }
    key
}

/// OpenMetrics demands that a name with a unit ends with it, so the name alone says it.
fn unit_of(name: &str) -> &'static str {
    const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];
    let of = |unit: &&str| name.strip_suffix(*unit).is_some_and(|head| head.ends_with('_'));
    UNITS.into_iter().find(of).unwrap_or("")
}
