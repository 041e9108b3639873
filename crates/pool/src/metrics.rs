//! Hands the metrics of pools to the `metrics` facade, under OpenTelemetry's dotted names.
//!
//! ```
//! use headpond::metrics::Publisher;
//! use headpond::{Pool, testing::FakeManager};
//!
//! let pool = Pool::builder(FakeManager::default()).name("main").max(8).build().unwrap();
//! let mut publisher = Publisher::new();
//! publisher.publish(&pool); // every few seconds, to whatever recorder is installed
//! ```
//!
//! Invariant: nothing is recorded while connections are lent: numbers are read when they are
//! published. The number of series is capped; what is above it is added up as `other`.
//! Left out: recorders and exporters.

use std::collections::HashMap;

use headpond_stats::{
    BOUNDS, Caps, Distribution, Kind, Series, Snapshot, Source, Value, convention,
};
use metrics::Label;

/// Series of one metric at most.
/// 100, because a service has a few pools, and exporters keep every series for ever.
const CAPS: Caps = Caps { numbers: 200, distributions: 100 };

/// Hands metrics over, and remembers what was handed over.
#[derive(Debug, Default)]
pub struct Publisher {
    last: HashMap<String, Distribution>,
}

impl Publisher {
    /// Makes a publisher that has handed nothing over.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands over what a source has to tell at this moment.
    ///
    /// Histograms get what was added since the last time, each value as the bound of its bucket:
    /// exact for every bound of `headpond_stats::BOUNDS`, above the last one as the maximum.
    pub fn publish(&mut self, source: &dyn Source) {
        let mut snapshot = Snapshot::with_caps(CAPS);
        source.collect(&mut snapshot);
        for family in snapshot.families() {
            let known = convention::metric(family.name());
            let name = known.map_or(family.name(), |known| known.name).to_owned();
            for series in family.series() {
                self.series(&name, family.kind(), series);
            }
        }
    }

    fn series(&mut self, name: &str, kind: Kind, series: &Series) {
        let labels = labels(series);
        match series.value() {
            Value::Number(number) if kind == Kind::Counter => {
                let total = number.as_f64();
                // Counts below 2^53 are exact.
                metrics::counter!(name.to_owned(), labels).absolute(total as u64);
            }
            Value::Number(number) => {
                metrics::gauge!(name.to_owned(), labels).set(number.as_f64());
            }
            Value::Distribution(now) => {
                let key = format!("{name}{labels:?}");
                let before = self.last.insert(key, now.clone());
                let added = before.map_or_else(|| now.clone(), |before| now.since(&before));
                replay(&metrics::histogram!(name.to_owned(), labels), &added);
            }
            Value::One => metrics::gauge!(name.to_owned(), labels).set(1.0),
        }
    }
}

fn labels(series: &Series) -> Vec<Label> {
    // The facade's exporters say the scope themselves.
    let own = series.labels().iter().filter(|(label, _)| label != convention::SCOPE);
    let label = |(label, value): &(String, String)| {
        Label::new(convention::attribute(label).to_owned(), value.clone())
    };
    own.map(label).collect()
}

/// Records what a distribution counted, by its bounds.
fn replay(histogram: &metrics::Histogram, added: &Distribution) {
    let mut before = 0;
    for (bound, at_most) in BOUNDS.iter().zip(added.at_bounds()) {
        record(histogram, *bound, at_most - before);
        before = at_most;
    }
    record(histogram, added.max_nanos() as f64 / 1e9, added.count() - before);
}

fn record(histogram: &metrics::Histogram, value: f64, times: u64) {
    if times > 0 {
        histogram.record_many(value, usize::try_from(times).unwrap_or(usize::MAX));
    }
}
