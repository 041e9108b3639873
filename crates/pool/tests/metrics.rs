//! Laws of the metrics of pools: names, kinds, and how many there are at most.

use std::time::Duration;

use headpond::testing::FakeManager;
use headpond::{Dialect, Pool, PoolSource};
use headpond_stats::{Snapshot, Source, text};

fn pool(name: &str) -> Pool<FakeManager> {
    Pool::builder(FakeManager::default()).name(name).max(4).min(1).tokio_clock().build().unwrap()
}

async fn used(name: &str) -> Pool<FakeManager> {
    let pool = pool(name);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(pool.get_owned().await.unwrap());
    }
    pool.get_timeout(Duration::from_millis(10)).await.unwrap_err();
    drop(held);
    tokio::task::yield_now().await;
    pool
}

#[tokio::test(start_paused = true)]
async fn the_names_are_open_telemetrys_as_prometheus_spells_them() {
    let pool = used("main").await;
    let mut snapshot = Snapshot::new();
    pool.collect(&mut snapshot);
    let text = text::prometheus(&snapshot);
    let labels = "db_client_connection_pool_name=\"main\"";
    let scope = "otel_scope_name=\"headpond\"";
    for line in [
        "# TYPE db_client_connection_count gauge".to_owned(),
        format!(
            "db_client_connection_count{{{labels},db_client_connection_state=\"idle\",{scope}}} 4"
        ),
        format!(
            "db_client_connection_count{{{labels},db_client_connection_state=\"used\",{scope}}} 0"
        ),
        format!("db_client_connection_max{{{labels},{scope}}} 4"),
        format!("db_client_connection_idle_max{{{labels},{scope}}} 4"),
        format!("db_client_connection_idle_min{{{labels},{scope}}} 1"),
        format!("db_client_connection_pending_requests{{{labels},{scope}}} 0"),
        "# TYPE db_client_connection_timeouts_total counter".to_owned(),
        format!("db_client_connection_timeouts_total{{{labels},{scope}}} 1"),
        "# TYPE db_client_connection_wait_time_seconds histogram".to_owned(),
        "# TYPE db_client_connection_use_time_seconds histogram".to_owned(),
        format!("db_client_connection_create_time_seconds_count{{{labels},{scope}}} 4"),
    ] {
        assert!(text.lines().any(|is| is == line), "{line}\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_dialects_are_told_beside() {
    let pool = used("main").await;
    let source = PoolSource::new(pool, [Dialect::Database, Dialect::DbPool]);
    let mut snapshot = Snapshot::new();
    source.collect(&mut snapshot);
    let text = text::prometheus(&snapshot);
    for line in [
        "database_connections_total{pool=\"main\"} 4",
        "database_pool_utilization_percent{pool=\"main\"} 0",
        "database_errors_total{pool=\"main\"} 1",
        "# TYPE database_response_time_milliseconds gauge",
        "db_pool_size{pool=\"main\",state=\"total\"} 4",
        "db_pool_size{pool=\"main\",state=\"idle\"} 4",
        "db_pool_size{pool=\"main\",state=\"active\"} 0",
        "db_pool_size{pool=\"main\",state=\"waiting\"} 0",
        "# TYPE db_query_duration_seconds histogram",
    ] {
        assert!(text.lines().any(|is| is == line), "{line}\n{text}");
    }
    assert!(!text.contains("db_client"), "only what was asked for");
}

#[cfg(feature = "metrics")]
mod facade {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use headpond::metrics::Publisher;
    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata,
        Recorder, SharedString, Unit, with_local_recorder,
    };

    use super::*;

    /// Keeps what was recorded.
    #[derive(Default)]
    struct Kept(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

    struct Cell(Arc<Mutex<BTreeMap<String, Vec<f64>>>>, String);

    impl Cell {
        fn write(&self, value: f64, add: bool) {
            let mut kept = self.0.lock().unwrap();
            let values = kept.entry(self.1.clone()).or_default();
            if !add {
                values.clear();
            }
            values.push(value);
        }
    }

    impl CounterFn for Cell {
        fn increment(&self, _: u64) {
            unreachable!("totals are handed over")
        }
        fn absolute(&self, value: u64) {
            self.write(value as f64, false);
        }
    }

    impl GaugeFn for Cell {
        fn increment(&self, _: f64) {
            unreachable!("levels are handed over")
        }
        fn decrement(&self, _: f64) {
            unreachable!("levels are handed over")
        }
        fn set(&self, value: f64) {
            self.write(value, false);
        }
    }

    impl HistogramFn for Cell {
        fn record(&self, value: f64) {
            self.write(value, true);
        }
    }

    impl Kept {
        fn cell(&self, key: &Key) -> Arc<Cell> {
            let mut labels: Vec<String> =
                key.labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
            labels.sort_unstable();
            Arc::new(Cell(Arc::clone(&self.0), format!("{}{{{}}}", key.name(), labels.join(","))))
        }
    }

    impl Recorder for Kept {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.cell(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.cell(key))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.cell(key))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_facade_hears_dotted_names_and_each_value_once() {
        let pool = used("main").await;
        let recorder = Kept::default();
        let mut publisher = Publisher::new();
        with_local_recorder(&recorder, || {
            publisher.publish(&pool);
            publisher.publish(&pool);
        });
        let kept = recorder.0.lock().unwrap().clone();
        let of = |name: &str| kept.get(name).unwrap_or_else(|| panic!("{name}: {kept:#?}"));
        let name = "db.client.connection.pool.name=main";
        let count = |state| {
            format!("db.client.connection.count{{{name},db.client.connection.state={state}}}")
        };
        assert_eq!(of(&count("idle")), &[4.0]);
        assert_eq!(of(&count("used")), &[0.0]);
        assert_eq!(of(&format!("db.client.connection.timeouts{{{name}}}")), &[1.0]);
        assert_eq!(of(&format!("db.client.connection.max{{{name}}}")), &[4.0]);
        let opened = of(&format!("db.client.connection.create_time{{{name}}}"));
        assert_eq!(opened.len(), 4, "what was told before is not told again");
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_pools_are_two_hundred_series() {
        struct Many;
        impl Source for Many {
            fn collect(&self, into: &mut Snapshot) {
                for n in 0..10_000_u32 {
                    let name = format!("pool{n}");
                    into.gauge("db_client_connection_max", "").add(&[("pool", &name)], 1_u32);
                }
            }
        }
        let recorder = Kept::default();
        with_local_recorder(&recorder, || Publisher::new().publish(&Many));
        let kept = recorder.0.lock().unwrap().clone();
        assert_eq!(kept.len(), 200);
        assert_eq!(kept["db.client.connection.max{pool=other}"], [9_801.0]);
    }
}
