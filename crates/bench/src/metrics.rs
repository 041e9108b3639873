//! Advice from a running system's metrics, without any load of our own.
//!
//! What is read is the text format of Prometheus, at two or more moments. From the growth of the
//! counters between them follow the rate of requests and how long each held a connection; from
//! those the connections that are busy (Little), and how many keep waits short (Erlang).
//!
//! Invariant: no advice without a window in which requests ended.
//! Left out: reading a server's own tables, and keeping a history; `history` reads one that a
//! pooler kept.

pub mod history;

use std::collections::BTreeMap;

use headpond_core::sizing::square_root_staffing;
use serde::Serialize;

use crate::duration::{digits, micros};
use crate::model::theory::Queue;

/// How much a random load fluctuates around its mean: Poisson arrivals and exponential times.
const VARIATION: f64 = 1.0;

/// One reading of the metrics.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Scrape {
    /// Name and labels → value.
    series: Vec<Series>,
}

#[derive(Clone, PartialEq, Debug)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Names of the same things in different systems.
struct Dialect {
    /// Requests that ended, and seconds they held a connection.
    count: &'static str,
    seconds: &'static str,
    /// The limit of the pool.
    size: &'static str,
    /// The histogram of waits, without `_bucket`.
    wait: &'static str,
    /// What names a pool.
    labels: &'static [&'static str],
}

const DIALECTS: [Dialect; 3] = [
    // The pooler's own.
    Dialect {
        count: "headpond_transaction_seconds_count",
        seconds: "headpond_transaction_seconds_sum",
        size: "headpond_pool_size",
        wait: "headpond_client_wait_seconds",
        labels: &["database", "user"],
    },
    // The library's, and any other pool that follows OpenTelemetry.
    Dialect {
        count: "db_client_connection_use_time_seconds_count",
        seconds: "db_client_connection_use_time_seconds_sum",
        size: "db_client_connection_max",
        wait: "db_client_connection_wait_time_seconds",
        labels: &["db_client_connection_pool_name"],
    },
    // PgBouncer, through its usual exporter; it has no histogram of waits.
    Dialect {
        count: "pgbouncer_stats_sql_transactions_pooled_total",
        seconds: "pgbouncer_stats_server_in_transaction_seconds_total",
        size: "pgbouncer_databases_pool_size",
        wait: "",
        labels: &["database"],
    },
];

/// What one pool did in one window, and what follows.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Advice {
    /// The pool.
    pub pool: String,
    /// Its limit now; 0 if unknown.
    pub size: u32,
    /// Requests per second in the busiest window.
    pub rate: f64,
    /// Mean seconds for which each held a connection then.
    pub hold_s: f64,
    /// Connections busy on average then (Little).
    pub busy: f64,
    /// What all but a hundredth waited at most then, from the histogram; its bucket's upper end.
    pub wait_p99_us: Option<f64>,
    /// The same by the formula, for the present size; none in overload.
    pub expected_wait_p99_us: Option<f64>,
    /// The fewest connections that keep p99 of the wait within the promise.
    pub recommended: Option<u32>,
    /// By the square-root rule, for comparison.
    pub square_root: f64,
    /// How many windows were looked at.
    pub windows: usize,
}

impl Scrape {
    /// Reads the text format. Lines that are not understood are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { series: text.lines().filter_map(series).collect() }
    }

    /// Returns the sum of a metric over all series with these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |series: &&Series| {
            let label = |(name, value): &(&str, &str)| {
                series.labels.get(*name).is_some_and(|found| found == value)
            };
            series.name == name && labels.iter().all(label)
        };
        let mut found = self.series.iter().filter(fits).map(|series| series.value).peekable();
        found.peek().is_some().then(|| found.sum())
    }

    /// Returns the cumulative buckets of a histogram: upper end and count.
    fn buckets(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(f64, f64)> {
        let bucket = format!("{name}_bucket");
        let mut ends: Vec<&str> = Vec::new();
        for series in self.series.iter().filter(|series| series.name == bucket) {
            if let Some(end) = series.labels.get("le").filter(|end| !ends.contains(&end.as_str())) {
                ends.push(end);
            }
        }
        let count = |end: &&str| {
            let labels = [labels, &[("le", *end)]].concat();
            let upper = if *end == "+Inf" { f64::INFINITY } else { end.parse().ok()? };
            Some((upper, self.sum(&bucket, &labels)?))
        };
        let mut buckets: Vec<_> = ends.iter().filter_map(count).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }

    /// Returns the pools that a dialect knows of.
    fn pools<'a>(&'a self, dialect: &Dialect) -> Vec<Vec<(&'a str, &'a str)>> {
        let mut pools = Vec::new();
        for series in self.series.iter().filter(|series| series.name == dialect.count) {
            let label = |name: &&str| {
                let (name, value) = series.labels.get_key_value(*name)?;
                Some((name.as_str(), value.as_str()))
            };
            let labels: Option<Vec<_>> = dialect.labels.iter().map(label).collect();
            if let Some(labels) = labels.filter(|labels| !pools.contains(labels)) {
                pools.push(labels);
            }
        }
        pools
    }
}

/// Reads `name{a="b",c="d"} 12.5`.
fn series(line: &str) -> Option<Series> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (head, labels, rest) = match line.find('{') {
        Some(at) => {
            let (labels, rest) = labels(line.get(at + 1..)?)?;
            (line.get(..at)?, labels, rest)
        }
        None => {
            let (name, rest) = line.split_once(char::is_whitespace)?;
            (name, BTreeMap::new(), rest)
        }
    };
    // A time stamp, or an exemplar, may follow.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series { name: head.trim().to_owned(), labels, value })
}

/// Reads labels up to the closing brace, and returns what follows it.
fn labels(text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let (mut labels, mut rest) = (BTreeMap::new(), text);
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.trim().to_owned(), value);
        rest = after.get(end + 1..)?;
    }
}

/// Returns advice for every pool, from scrapes and the seconds between each and the next.
///
/// `wait_s` is how long all but a hundredth may wait.
#[must_use]
pub fn advise(scrapes: &[Scrape], gaps_s: &[f64], wait_s: f64) -> Vec<Advice> {
    let Some(last) = scrapes.last() else { return Vec::new() };
    let mut all = Vec::new();
    for dialect in &DIALECTS {
        for pool in last.pools(dialect) {
            let windows = scrapes.windows(2).zip(gaps_s);
            let seen = windows.filter_map(|(pair, gap)| {
                let [earlier, later] = pair else { return None };
                window(dialect, &pool, earlier, later, *gap, wait_s)
            });
            let seen: Vec<Advice> = seen.collect();
            let count = seen.len();
            // The size must do for the busiest time.
            let busiest = seen.into_iter().max_by(|a, b| a.busy.total_cmp(&b.busy));
            all.extend(busiest.map(|advice| Advice { windows: count, ..advice }));
        }
    }
    all
}

fn window(
    dialect: &Dialect,
    pool: &[(&str, &str)],
    earlier: &Scrape,
    later: &Scrape,
    gap_s: f64,
    wait_s: f64,
) -> Option<Advice> {
    let grown = |name: &str| {
        let (before, after) = (earlier.sum(name, pool).unwrap_or(0.0), later.sum(name, pool)?);
        // A counter that shrank was restarted: it grew by what it shows.
        Some(if after < before { after } else { after - before })
    };
    let (count, seconds) = (grown(dialect.count)?, grown(dialect.seconds)?);
    if count <= 0.0 || gap_s <= 0.0 {
        return None;
    }
    let (rate, hold_s) = (count / gap_s, seconds / count);
    let busy = rate * hold_s;
    let size = later.sum(dialect.size, pool).unwrap_or(0.0).max(0.0) as u32;
    let before = earlier.buckets(dialect.wait, pool);
    let waits: Vec<(f64, f64)> = later
        .buckets(dialect.wait, pool)
        .into_iter()
        .map(|(end, count)| {
            let old = before.iter().find(|(other, _)| (other - end).abs() < 1e-12 || *other == end);
            (end, count - old.map_or(0.0, |(_, count)| *count))
        })
        .collect();
    let waiters = waits.last().map_or(0.0, |(_, count)| *count);
    let p99 = waits.iter().find(|(_, upto)| waiters > 0.0 && *upto >= 0.99 * waiters);
    let queue = Queue { rate, service_s: hold_s, servers: size };
    let name: Vec<&str> = pool.iter().map(|(_, value)| *value).collect();
    Some(Advice {
        pool: name.join("/"),
        size,
        rate,
        hold_s,
        busy,
        wait_p99_us: p99.map(|(end, _)| end * 1e6).filter(|us| us.is_finite()),
        expected_wait_p99_us: queue.wait(0.99).map(|seconds| seconds * 1e6),
        recommended: queue.fewest(0.99, wait_s, VARIATION),
        square_root: square_root_staffing(busy, 2.0),
        windows: 1,
    })
}

/// Writes advice for the terminal.
#[must_use]
pub fn text(advice: &[Advice]) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for one in advice {
        let _ = writeln!(
            out,
            "{}: {}/s, each holds a connection for {}: {} busy on average, in the busiest of {} \
             windows",
            one.pool,
            digits(one.rate),
            micros(one.hold_s * 1e6),
            digits(one.busy),
            one.windows
        );
        if let Some(us) = one.wait_p99_us {
            let _ = writeln!(out, "  p99 of the wait was at most {}", micros(us));
        }
        let _ = match one.recommended {
            None => writeln!(out, "  no size keeps the promise: queries hold connections too long"),
            Some(size) if one.size == 0 => writeln!(out, "  recommended: {size}"),
            Some(size) => writeln!(
                out,
                "  recommended: {size} (now {}; square-root rule {})",
                one.size,
                digits(one.square_root)
            ),
        };
    }
    if advice.is_empty() {
        out.push_str("no pool ended a request between these readings: nothing to say\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(count: u32, seconds: f64, waits: [u32; 3]) -> Scrape {
        let pool = r#"database="shop",user="app""#;
        let mut text = format!(
            "# HELP x y\n\
             headpond_transaction_seconds_count{{{pool}}} {count}\n\
             headpond_transaction_seconds_sum{{{pool}}} {seconds}\n\
             headpond_pool_size{{{pool}}} 20\n"
        );
        for (end, count) in ["0.001", "0.01", "+Inf"].into_iter().zip(waits) {
            let labels = format!(r#"{pool},reason="pool_full",le="{end}""#);
            text.push_str(&format!("headpond_client_wait_seconds_bucket{{{labels}}} {count}\n"));
        }
        Scrape::parse(&text)
    }

    #[test]
    fn the_busy_connections_follow_from_the_growth_of_two_counters() {
        let scrapes = [scrape(1000, 10.0, [10, 10, 10]), scrape(61_000, 490.0, [60, 110, 110])];
        let advice = advise(&scrapes, &[60.0], 0.01);
        let [one] = advice.as_slice() else { panic!("{advice:?}") };
        // 60,000 in 60 s, 8 ms each: 8 are busy.
        assert!((one.rate - 1000.0).abs() < 1e-6 && (one.hold_s - 0.008).abs() < 1e-9);
        assert!((one.busy - 8.0).abs() < 1e-6 && one.size == 20);
        assert_eq!(one.wait_p99_us, Some(10_000.0));
        let recommended = one.recommended.expect("there is one");
        assert!((9..=14).contains(&recommended), "{recommended}");
        assert!(text(&advice).contains("recommended"));
    }

    #[test]
    fn the_busiest_window_counts_and_a_restart_is_no_negative_rate() {
        let quiet = scrape(100, 0.5, [0; 3]);
        let (busy, restarted) = (scrape(60_100, 480.5, [0; 3]), scrape(50, 0.4, [0; 3]));
        let advice = advise(&[quiet, busy, restarted], &[60.0, 60.0], 0.01);
        assert!((advice[0].busy - 8.0).abs() < 0.01 && advice[0].windows == 2);
    }

    #[test]
    fn without_requests_there_is_no_advice() {
        let same = scrape(5, 1.0, [0; 3]);
        assert!(advise(&[same.clone(), same.clone()], &[60.0], 0.01).is_empty());
        assert!(advise(&[same], &[], 0.01).is_empty());
        assert!(text(&[]).contains("nothing to say"));
    }

    #[test]
    fn labels_with_quotes_and_time_stamps_are_understood() {
        let found = series(r#"a_b{x="q\"uote,}",y="2"} 12.5 1700000000"#).expect("a series");
        assert_eq!((found.labels["x"].as_str(), found.value), ("q\"uote,}", 12.5));
        assert_eq!(series("plain 3").map(|s| s.value), Some(3.0));
        assert!(series("# TYPE a counter").is_none() && series("broken{").is_none());
    }
}
