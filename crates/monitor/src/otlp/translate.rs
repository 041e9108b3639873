//! A snapshot as a request of OTLP.
//!
//! Counters become monotonic sums, durations histograms with the bounds of the other exposition
//! (the snapshot counts exactly at those), gauges stay gauges; what the conventions call an
//! up-down counter, and facts in labels, are sums that are not monotonic.
//!
//! Invariant: each series of the snapshot becomes one point. Whatever is cumulative never falls
//! between two requests with the same start: a series that fell or came later starts at the
//! request before.
//! Not here: names (`name.rs`), when and where to (`push.rs`).

use std::collections::{BTreeMap, HashMap};

use headpond_stats::convention::{self, SCOPE};
use headpond_stats::{BOUNDS, Distribution, Family, Kind, Number, Series, Snapshot, Value};

use super::message::{
    CUMULATIVE, Data, Gauge, Histogram, HistogramPoint, KeyValue, Metric, NumberPoint, NumberValue,
    Request, Resource, ResourceMetrics, Scope, ScopeMetrics, Sum,
};
use super::name::{self, Named};

/// The scope of what does not name another.
const OWN_SCOPE: &str = "headpond";

/// Turns one snapshot after the other into requests.
#[derive(Debug)]
pub struct Translator {
    resource: Resource,
    /// Nanoseconds since 1970, as all times here.
    process_start: u64,
    /// When the last snapshot was taken.
    last: Option<u64>,
    seen: HashMap<String, Seen>,
}

/// A cumulative series in the last snapshot.
#[derive(Clone, Copy, Debug)]
struct Seen {
    start: u64,
    total: f64,
}

/// Where the series of one snapshot start.
struct Starts<'a> {
    before: &'a Translator,
    now: HashMap<String, Seen>,
}

impl Translator {
    /// Begins with nothing told yet.
    pub fn new(attributes: &BTreeMap<String, String>, process_start: u64) -> Self {
        let attributes = attributes.iter().map(|(key, value)| KeyValue::new(key, value)).collect();
        let resource = Resource { attributes };
        Self { resource, process_start, last: None, seen: HashMap::new() }
    }

    /// Translates a snapshot that was taken at `now`.
    pub fn request(&mut self, snapshot: &Snapshot, now: u64) -> Request {
        let mut starts = Starts { before: self, now: HashMap::with_capacity(self.seen.len()) };
        let mut scopes: BTreeMap<&str, Vec<Metric>> = BTreeMap::new();
        for family in snapshot.families() {
            let named = name::of(family, snapshot);
            let mut by_scope: BTreeMap<&str, Vec<&Series>> = BTreeMap::new();
            for series in family.series() {
                by_scope.entry(scope_of(series)).or_default().push(series);
            }
            for (scope, series) in by_scope {
                let data = starts.data(family, &named, &series, now);
                let metric = Metric {
                    name: named.name.clone(),
                    description: family.help().to_owned(),
                    unit: named.unit.to_owned(),
                    data: Some(data),
                };
                scopes.entry(scope).or_default().push(metric);
            }
        }
        self.seen = starts.now;
        self.last = Some(now);
        let scope_metrics = scopes.into_iter().map(|(name, metrics)| ScopeMetrics {
            scope: Some(Scope { name: name.to_owned(), version: version_of(name) }),
            metrics,
        });
        let resource = Some(self.resource.clone());
        let scope_metrics = scope_metrics.collect();
        Request { resource_metrics: vec![ResourceMetrics { resource, scope_metrics }] }
    }
}

impl Starts<'_> {
    fn data(&mut self, family: &Family, named: &Named, series: &[&Series], now: u64) -> Data {
        let is_level = convention::metric(family.name()).is_some();
        match family.kind() {
            Kind::Histogram => {
                let points = series.iter().map(|series| self.histogram(named, series, now));
                let data_points = points.collect();
                Data::Histogram(Histogram { data_points, aggregation_temporality: CUMULATIVE })
            }
            Kind::Counter => Data::Sum(self.sum(named, series, now, true)),
            // It has no start: sums go up and down with what there is.
            Kind::Info => Data::Sum(self.sum(named, series, now, false)),
            Kind::Gauge if is_level => Data::Sum(self.sum(named, series, now, false)),
            Kind::Gauge => Data::Gauge(Gauge { data_points: levels(series, 0, now) }),
        }
    }

    fn sum(&mut self, named: &Named, series: &[&Series], now: u64, is_monotonic: bool) -> Sum {
        let mut data_points = levels(series, self.before.process_start, now);
        if is_monotonic {
            for (point, series) in data_points.iter_mut().zip(series) {
                point.start_time_unix_nano = self.start(named, series, total(series.value()), now);
            }
        }
        Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic }
    }

    fn histogram(&mut self, named: &Named, series: &Series, now: u64) -> HistogramPoint {
        let empty = Distribution::new();
        let distribution = match series.value() {
            Value::Distribution(distribution) => distribution,
            Value::Number(_) | Value::One => &empty,
        };
        let count = distribution.count();
        let mut below = 0;
        let mut bucket_counts = Vec::with_capacity(BOUNDS.len() + 1);
        for at_most in distribution.at_bounds() {
            bucket_counts.push(at_most.wrapping_sub(below));
            below = at_most;
        }
        bucket_counts.push(count.wrapping_sub(below));
        let max = std::time::Duration::from_nanos(distribution.max_nanos()).as_secs_f64();
        HistogramPoint {
            attributes: attributes(series),
            start_time_unix_nano: self.start(named, series, count as f64, now),
            time_unix_nano: now,
            count,
            sum: Some(distribution.sum_seconds()),
            bucket_counts,
            explicit_bounds: BOUNDS.to_vec(),
            max: (count > 0).then_some(max),
        }
    }

    /// Returns since when a series has been counted up to `total`.
    fn start(&mut self, named: &Named, series: &Series, total: f64, now: u64) -> u64 {
        let key = key_of(&named.name, series);
        let begun = self.before.last.unwrap_or(self.before.process_start);
        let start = match self.before.seen.get(&key) {
            Some(seen) if total >= seen.total => seen.start,
            // It fell, or it was not there: it has been counted since the request before.
            Some(_) | None => begun,
        };
        let start = start.min(now);
        self.now.insert(key, Seen { start, total });
        start
    }
}

/// Points that are numbers: whole ones, unless one of the family is not.
fn levels(series: &[&Series], start: u64, now: u64) -> Vec<NumberPoint> {
    let is_whole = series.iter().all(|series| match series.value() {
        Value::Number(Number::Unsigned(n)) => i64::try_from(*n).is_ok(),
        Value::Number(Number::Signed(_)) | Value::One => true,
        Value::Number(Number::Float(_)) | Value::Distribution(_) => false,
    });
    let value = |series: &Series| match series.value() {
        Value::Number(Number::Unsigned(n)) if is_whole => {
            i64::try_from(*n).map_or(NumberValue::Double(*n as f64), NumberValue::Int)
        }
        Value::Number(Number::Signed(n)) if is_whole => NumberValue::Int(*n),
        Value::One if is_whole => NumberValue::Int(1),
        value => NumberValue::Double(total(value)),
    };
    let point = |series: &&Series| NumberPoint {
        attributes: attributes(series),
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(value(series)),
    };
    series.iter().map(point).collect()
}

fn total(value: &Value) -> f64 {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Distribution(distribution) => distribution.count() as f64,
        Value::One => 1.0,
    }
}

fn attributes(series: &Series) -> Vec<KeyValue> {
    let own = series.labels().iter().filter(|(label, _)| label != SCOPE);
    own.map(|(label, value)| KeyValue::new(convention::attribute(label), value)).collect()
}

fn scope_of(series: &Series) -> &str {
    let said = series.labels().iter().find(|(label, _)| label == SCOPE);
    said.map_or(OWN_SCOPE, |(_, scope)| scope)
}

fn version_of(scope: &str) -> String {
    if scope == OWN_SCOPE { env!("CARGO_PKG_VERSION").to_owned() } else { String::new() }
}

/// Differs for different series: lengths stand first, so that no value can imitate a border.
fn key_of(name: &str, series: &Series) -> String {
    let mut key = name.to_owned();
    for (label, value) in series.labels() {
        for part in [label, value] {
            key.push('|');
            key.push_str(&part.len().to_string());
            key.push(':');
            key.push_str(part);
        }
    }
    key
}

#[cfg(test)]
mod tests;
