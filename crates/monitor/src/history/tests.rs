//! Laws of the rings in memory.

use super::*;
use crate::model::Counts;

fn pool(name: &str, used: u32, waiting: u32) -> (Pool, Figures) {
    let connections = Counts { used, ..Counts::default() };
    let pool = Pool { name: name.into(), connections, waiting, size_max: 10, ..Pool::default() };
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

fn recalled(minutes: std::ops::Range<i64>, used: impl Fn(i64) -> f32) -> Recalled {
    let minute = |minute: i64| {
        let mut values = point::Values::default();
        values[0] = used(minute);
        (minute * 60, values)
    };
    Recalled { name: "p".into(), minutes: minutes.map(minute).collect() }
}

#[test]
fn what_a_store_recalls_is_before_what_is_seen() {
    // The process starts at noon; monotonic seconds begin at 0.
    let noon = 43_200.0;
    let mut history = History::new(Settings::default());
    history.recall(0.0, noon, &recalled(0..720, |minute| minute as f32));
    for second in 0..120u32 {
        history.push(f64::from(second), &[pool("p", 7, 0)]);
    }
    let range = history.range("p", 119.0, 3_600.0).expect("it was recalled");
    assert_eq!(range.step_seconds, 60.0, "the finer rings do not go back so far");
    let told: Vec<f64> = range.points.iter().map(|point| point[1]).collect();
    assert!(told.starts_with(&[661.0, 662.0]) && told.ends_with(&[719.0, 7.0, 7.0]), "{told:?}");
    let ago = range.points.iter().map(|point| point[0]);
    assert!(ago.clone().zip(ago.skip(1)).all(|(before, after)| before >= after));
    assert_eq!(history.range("p", 119.0, 60.0).map(|range| range.step_seconds), Some(1.0));
    assert!(history.reaches("p", 119.0, -40_000.0) && !history.reaches("p", 119.0, -50_000.0));
}

#[test]
fn a_long_time_is_told_in_few_points() {
    let mut history = History::new(Settings::default());
    history.recall(0.0, 86_400.0, &recalled(0..1_440, |minute| (minute % 2) as f32));
    let range = history.range("p", 0.0, 86_400.0).expect("it was recalled");
    assert_eq!((range.points.len(), range.step_seconds), (720, 120.0));
    assert!(range.points.iter().all(|point| point[1] == 0.5), "{:?}", range.points);
    assert_eq!(range.points.last().map(|point| point[0]), Some(0.0));
}

#[test]
fn the_future_and_what_is_too_old_are_not_recalled() {
    let settings = Settings { pools_max: 3, keep_seconds: 600.0 };
    let mut history = History::new(settings);
    history.recall(0.0, 43_200.0, &recalled(0..2_000, |minute| minute as f32));
    let range = history.range("p", 0.0, 1e9).expect("it was recalled");
    let told: Vec<f64> = range.points.iter().map(|point| point[1]).collect();
    // The minute that noon is in has begun and is not over.
    assert_eq!((told.first(), told.last()), (Some(&709.0), Some(&720.0)), "{told:?}");
    let mut old = History::new(settings);
    old.recall(0.0, 43_200.0, &recalled(0..100, |_| 1.0));
    assert_eq!(old.names().count(), 0);
}
