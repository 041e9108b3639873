//! Laws of the translation: nothing is lost, doubled or goes backwards.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::*;
use crate::otlp::message::Text;

const START: u64 = 1_000;

fn translator() -> Translator {
    let attributes = [("service.name", "test"), ("empty", "")];
    let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Translator::new(&BTreeMap::from(attributes), START)
}

/// What comes out at the other end.
fn sent(translator: &mut Translator, snapshot: &Snapshot, now: u64) -> Request {
    let bytes = translator.request(snapshot, now).encode_to_vec();
    Request::decode(bytes.as_slice()).expect("what was encoded can be decoded")
}

/// A point as all kinds have it.
#[derive(Debug)]
struct Point {
    start: u64,
    time: u64,
    total: f64,
    /// Only goes up.
    is_monotonic: bool,
}

type Name = (String, String, Vec<(String, String)>);

fn texts(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|v| v.value.clone()) {
        Some(Text::String(text)) => (attribute.key.clone(), text),
        None => panic!("an attribute without a value: {attribute:?}"),
    };
    attributes.iter().map(text).collect()
}

/// Every point by scope, name and attributes.
fn points(request: &Request) -> Vec<(Name, Point)> {
    let mut all = Vec::new();
    for scope in request.resource_metrics.iter().flat_map(|one| &one.scope_metrics) {
        let scope_name = scope.scope.clone().expect("a scope").name;
        for metric in &scope.metrics {
            let mut add = |attributes: &[KeyValue], point| {
                let name = (scope_name.clone(), metric.name.clone(), texts(attributes));
                all.push((name, point));
            };
            let numbers = match metric.data.as_ref().expect("data") {
                Data::Gauge(gauge) => gauge.data_points.iter().map(|p| (p, false)).collect(),
                Data::Sum(sum) => {
                    assert_eq!(sum.aggregation_temporality, CUMULATIVE);
                    sum.data_points.iter().map(|p| (p, sum.is_monotonic)).collect()
                }
                Data::Histogram(histogram) => {
                    assert_eq!(histogram.aggregation_temporality, CUMULATIVE);
                    for p in &histogram.data_points {
                        let (start, time) = (p.start_time_unix_nano, p.time_unix_nano);
                        let total = p.count as f64;
                        add(&p.attributes, Point { start, time, total, is_monotonic: true });
                    }
                    Vec::new()
                }
            };
            for (p, is_monotonic) in numbers {
                let total = match p.value.expect("a value") {
                    NumberValue::Double(n) => n,
                    NumberValue::Int(n) => n as f64,
                };
                let (start, time) = (p.start_time_unix_nano, p.time_unix_nano);
                add(&p.attributes, Point { start, time, total, is_monotonic });
            }
        }
    }
    all
}

fn histograms(request: &Request) -> Vec<HistogramPoint> {
    let scopes = request.resource_metrics.iter().flat_map(|one| &one.scope_metrics);
    let metrics = scopes.flat_map(|scope| &scope.metrics);
    let data = metrics.filter_map(|metric| metric.data.as_ref());
    let histograms = data.filter_map(|data| match data {
        Data::Histogram(histogram) => Some(histogram.data_points.clone()),
        Data::Gauge(_) | Data::Sum(_) => None,
    });
    histograms.flatten().collect()
}

/// A few thousand numbers that nobody chose.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        state >> 17
    })
}

fn everything() -> Snapshot {
    let mut snapshot = Snapshot::new();
    for user in ["a", "b", "", "other"] {
        let labels = [("database", "shop"), ("user", user)];
        snapshot.counter("queries_total", "Queries.").add(&labels, 7u64);
        snapshot.counter("received_bytes_total", "Bytes.").add(&labels, 1.5);
        snapshot.gauge("waiting", "Waiting.").add(&labels, -3i64);
        snapshot.gauge("busy_ratio", "Busy.").add(&labels, f64::NAN);
        let mut took = Distribution::new();
        took.record(5);
        snapshot.histogram("query_seconds", "Took.").add(&labels, &took);
        let labels = [("db_client_connection_pool_name", user), (SCOPE, "headpond")];
        snapshot.gauge("db_client_connection_count", "Open.").add(&labels, 2u64);
        let labels = [("db_client_connection_pool_name", user), (SCOPE, "elsewhere")];
        snapshot.gauge("db_client_connection_count", "Open.").add(&labels, 2u64);
    }
    snapshot.info("build_info", "Version.").add(&[("version", "1")]);
    snapshot.gauge("clients", "").add(&[], 1u64);
    snapshot
}

#[test]
fn every_series_of_a_snapshot_arrives_exactly_once() {
    let snapshot = everything();
    let series: usize = snapshot.families().iter().map(|family| family.series().len()).sum();
    let request = sent(&mut translator(), &snapshot, 2_000);
    let arrived: Vec<Name> = points(&request).into_iter().map(|(name, _)| name).collect();
    let distinct: BTreeSet<&Name> = arrived.iter().collect();
    assert_eq!((arrived.len(), distinct.len()), (series, series));
    let own = |name: &str, attributes: &[(&str, &str)]| {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        ("headpond".to_owned(), name.to_owned(), attributes.collect::<Vec<_>>())
    };
    for name in [
        own("queries", &[("database", "shop"), ("user", "")]),
        own("received", &[("database", "shop"), ("user", "a")]),
        own("build_info", &[("version", "1")]),
        own("db.client.connection.count", &[("db.client.connection.pool.name", "b")]),
        own("clients", &[]),
    ] {
        assert!(distinct.contains(&name), "{name:?} in {distinct:?}");
    }
    let resource = request.resource_metrics[0].resource.as_ref().expect("a resource");
    let expected = [("empty", ""), ("service.name", "test")];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(texts(&resource.attributes), expected);
}

#[test]
fn the_buckets_of_a_histogram_add_up_to_its_count() {
    let mut snapshot = Snapshot::new();
    let mut noise = noise(3);
    for pool in ["none", "one", "many"] {
        let mut took = Distribution::new();
        let times = match pool {
            "none" => 0,
            "one" => 1,
            _ => 5_000,
        };
        for nanos in noise.by_ref().take(times) {
            took.record(nanos >> (nanos % 40));
        }
        snapshot.histogram("took_seconds", "").add(&[("pool", pool)], &took);
    }
    let points = histograms(&sent(&mut translator(), &snapshot, 2_000));
    assert_eq!(points.iter().map(|p| p.count).collect::<Vec<_>>(), [0, 1, 5_000]);
    for point in points {
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
        assert_eq!(point.explicit_bounds, BOUNDS);
        assert_eq!(point.max.is_some(), point.count > 0);
    }
}

#[test]
fn a_value_on_a_bound_belongs_to_the_bucket_below() {
    let mut took = Distribution::new();
    took.record(1_000_000);
    took.record(1_000_001);
    took.record(20_000_000_000);
    let mut snapshot = Snapshot::new();
    snapshot.histogram("took_seconds", "").add(&[], &took);
    let point = histograms(&sent(&mut translator(), &snapshot, 2_000)).remove(0);
    let bound = BOUNDS.iter().position(|bound| *bound == 0.001).expect("a bound");
    assert_eq!(point.bucket_counts[bound..=bound + 1], [1, 1]);
    assert_eq!(point.bucket_counts.last(), Some(&1));
    assert_eq!((point.sum, point.max), (Some(20.002_000_001), Some(20.0)));
}

#[test]
fn what_is_cumulative_never_falls_between_requests_with_one_start() {
    let mut translator = translator();
    let mut noise = noise(11);
    let mut counts = [5u64; 6];
    // By name: the start, and the greatest total with it.
    let mut told: BTreeMap<Name, (u64, f64)> = BTreeMap::new();
    let mut resets = 0;
    for round in 0..400u64 {
        let mut snapshot = Snapshot::new();
        for (number, count) in counts.iter_mut().enumerate() {
            let [step, luck] = [noise.next().expect("endless"), noise.next().expect("endless")];
            *count += step % 50;
            match luck % 20 {
                // It is forgotten, or counts from nothing.
                0 => *count = step % 3,
                1 | 2 => continue,
                _ => {}
            }
            let pool = number.to_string();
            snapshot.counter("queries_total", "").add(&[("pool", &pool)], *count);
            let mut took = Distribution::new();
            took.record_many(1_000, *count);
            snapshot.histogram("took_seconds", "").add(&[("pool", &pool)], &took);
        }
        let now = 2_000 + round * 10;
        for (name, point) in points(&sent(&mut translator, &snapshot, now)) {
            assert!(point.is_monotonic && point.time == now && point.start < now);
            assert!(round > 0 || point.start == START, "the process counts since its start");
            let (start, total) = told.entry(name).or_insert((point.start, point.total));
            assert!(point.start >= *start, "a start never goes back");
            if point.start == *start {
                assert!(point.total >= *total, "{} after {total} with one start", point.total);
            } else {
                resets += 1;
            }
            (*start, *total) = (point.start, point.total);
        }
    }
    assert!(resets > 50, "{resets} resets prove nothing");
}

#[test]
fn whole_numbers_stay_whole_unless_one_of_the_family_is_not() {
    let value = |number: Number, other: Number| {
        let mut snapshot = Snapshot::new();
        snapshot.gauge("level", "").add(&[("a", "1")], number).add(&[("a", "2")], other);
        let request = sent(&mut translator(), &snapshot, 2_000);
        match &request.resource_metrics[0].scope_metrics[0].metrics[0].data {
            Some(Data::Gauge(gauge)) => gauge.data_points[0].value,
            data => panic!("no gauge: {data:?}"),
        }
    };
    let one = Number::Unsigned(1);
    assert_eq!(value(one, one), Some(NumberValue::Int(1)));
    assert_eq!(value(Number::Signed(-1), one), Some(NumberValue::Int(-1)));
    assert_eq!(value(one, Number::Float(0.5)), Some(NumberValue::Double(1.0)));
    let huge = Number::Unsigned(u64::MAX);
    assert_eq!(value(huge, one), Some(NumberValue::Double(u64::MAX as f64)));
}

#[test]
fn levels_and_facts_are_no_counters() {
    let request = sent(&mut translator(), &everything(), 2_000);
    for (name, point) in points(&request) {
        let counts = ["queries", "received", "query"].contains(&name.1.as_str());
        assert_eq!(point.is_monotonic, counts, "{name:?}");
    }
}
