//! Results as they are kept: the schema of the JSON file.
//!
//! Invariant: `schema` names the version; fields are added within a version and never change their
//! meaning. Times are in microseconds, shares within 0 and 1. Documented in docs/bench-results.md.
//! Left out: how they are shown (`report`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::date;
use crate::engine::Effort;
use crate::environment::Environment;
use crate::error::Error;
use crate::measure::{Recording, Times};
use crate::target::Kind;

/// The version of the schema.
pub const SCHEMA: &str = "headpond-bench/1";
/// The quantiles that are written out.
pub const QUANTILES: [f64; 7] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999];
/// A processor used this much has none to spare: its figures are its own limit.
const SATURATED: f64 = 0.9;
/// A generator that is kept waiting for a processor this much distorts what it measures.
const STARVED: f64 = 0.1;

/// Everything one call measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: String,
    /// When it was begun, RFC 3339.
    pub created: String,
    /// Where.
    pub environment: Environment,
    /// What was measured, in this order.
    pub runs: Vec<Run>,
}

/// One measured load.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Run {
    /// What reports call it.
    pub label: String,
    /// The kind of server.
    pub kind: Kind,
    /// Its URL without the password.
    pub target: String,
    /// What was asked of it.
    pub settings: Settings,
    /// When requests began to count, RFC 3339.
    pub started: String,
    /// For how long they counted, in seconds.
    pub measured_s: f64,
    /// Whether it was stopped before its time.
    pub interrupted: bool,
    /// Answered within the window.
    pub completed: u64,
    /// Answered per second.
    pub rate: f64,
    /// Failed, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Neither answered nor failed when the run ended.
    pub unfinished: u64,
    /// The share of all requests that failed or were never answered.
    pub error_share: f64,
    /// From the intended begin to the end of a request.
    pub latency: Percentiles,
    /// From the intended begin to having a connection; what waiting for the pool costs.
    pub wait: Percentiles,
    /// From having a connection to the answer.
    pub service: Percentiles,
    /// Connections in use, as a share of all.
    pub utilisation: Option<Utilisation>,
    /// Second by second, warm-up included (`at_s` below zero).
    pub seconds: Vec<Second>,
    /// What the generator of the load says of itself.
    pub generator: Generator,
}

/// What was asked of a run.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    /// The workload.
    pub workload: String,
    /// The share of requests that write.
    pub write_share: f64,
    /// `closed` or `open`.
    pub arrival: String,
    /// Requests per second that were intended; open loop only.
    pub rate: Option<f64>,
    /// Clients; closed loop only.
    pub clients: u32,
    /// Connections.
    pub connections: u32,
    /// How statements were sent.
    pub protocol: String,
    /// `lean` or `library`.
    pub through: String,
    /// Seconds before requests counted.
    pub warm_up_s: f64,
    /// Seconds they were to count.
    pub duration_s: f64,
    /// Seconds after which a request failed.
    pub timeout_s: f64,
    /// Threads of the generator.
    pub threads: usize,
    /// What the randomness began with.
    pub seed: u64,
}

/// How long things took.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many.
    pub count: u64,
    /// The mean.
    pub mean_us: f64,
    /// The standard deviation.
    pub deviation_us: f64,
    /// The shortest.
    pub min_us: f64,
    /// The longest.
    pub max_us: f64,
    /// By name: `p50`, `p75`, `p90`, `p95`, `p99`, `p99.9`, `p99.99`.
    pub percentiles_us: BTreeMap<String, f64>,
    /// The whole histogram: upper end of each bucket that is not empty, and its count.
    pub buckets_us: Vec<(f64, u64)>,
}

/// Connections in use, as shares of all.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Utilisation {
    /// The mean.
    pub mean: f64,
    /// Half of the time at most.
    pub p50: f64,
    /// Nine tenths of the time at most.
    pub p90: f64,
    /// All but a hundredth of the time at most.
    pub p99: f64,
    /// The most.
    pub max: f64,
    /// The most requests that waited for a connection at once.
    pub waiting_max: u32,
}

/// One second of a run.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Second {
    /// Its end, in seconds since requests count.
    pub at_s: f64,
    /// Answered.
    pub completed: u64,
    /// Failed.
    pub errors: u64,
    /// Half of the latencies.
    pub p50_us: f64,
    /// All but a hundredth of the latencies.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Connections in use at its end.
    pub in_use: u32,
    /// Requests that waited for one at its end.
    pub waiting: u32,
    /// Resident memory of the watched process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_kib: Option<u64>,
}

/// What the generator of the load says of itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Generator {
    /// Processor seconds it used within the window.
    pub cpu_s: f64,
    /// Requests per processor second.
    pub per_cpu_s: f64,
    /// The share of its threads' time that they computed.
    pub busy: f64,
    /// The share that they waited for a processor.
    pub starved: f64,
    /// How late half of the requests were sent although a connection was free; open loop only.
    pub lag_p50_us: f64,
    /// How late all but a hundredth were sent.
    pub lag_p99_us: f64,
    /// Whether the figures can be believed.
    pub verdict: Verdict,
}

/// Whether the generator measured the target or itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It had time to spare.
    Sound,
    /// It shares processors with something that kept it waiting; latencies are too high.
    Starved,
    /// It sent requests late; part of the latencies is its own.
    Late,
    /// It could not have done more: throughput is its own limit, not the target's.
    Saturated,
}

impl Verdict {
    /// Returns what to tell people about it; nothing if all is well.
    #[must_use]
    pub const fn warning(self) -> Option<&'static str> {
        match self {
            Self::Sound => None,
            Self::Starved => Some(
                "the generator had to wait for a processor: it shares the machine with other work, \
                 and part of the latency is its own",
            ),
            Self::Late => Some(
                "the generator sent requests late although connections were free: part of the \
                 latency is its own",
            ),
            Self::Saturated => Some(
                "the generator was saturated: it used all of its threads' time, so the throughput \
                 is its own limit and not the target's",
            ),
        }
    }
}

impl Percentiles {
    /// Takes the figures out of a histogram.
    #[must_use]
    pub fn of(times: &Times) -> Self {
        let us = |nanos: u64| nanos as f64 / 1e3;
        let (min, max) = times.extremes();
        Self {
            count: times.count(),
            mean_us: times.mean() / 1e3,
            deviation_us: times.deviation() / 1e3,
            min_us: us(min),
            max_us: us(max),
            percentiles_us: QUANTILES.map(|q| (name(q), us(times.quantile(q)))).into(),
            buckets_us: times.buckets().map(|(nanos, count)| (us(nanos), count)).collect(),
        }
    }

    /// Returns a percentile by its share, in microseconds: from those written out, else from the
    /// buckets.
    #[must_use]
    pub fn at(&self, q: f64) -> f64 {
        if let Some(us) = self.percentiles_us.get(&name(q)) {
            return *us;
        }
        let wanted = (q.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets_us.iter().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        bucket.map_or(0.0, |(us, _)| us.min(self.max_us))
    }
}

/// Returns the name of a quantile: 0.999 is `p99.9`.
#[must_use]
pub fn name(q: f64) -> String {
    let percent = format!("{:.4}", q * 100.0);
    format!("p{}", percent.trim_end_matches('0').trim_end_matches('.'))
}

impl Generator {
    /// Judges the effort of a run that `completed` requests in `total`.
    #[must_use]
    pub(crate) fn judge(efforts: &[Effort], total: &Recording) -> Self {
        let sum = |of: fn(&Effort) -> u64| efforts.iter().map(of).sum::<u64>() as f64 / 1e9;
        let (cpu, starved, wall) = (sum(|e| e.cpu), sum(|e| e.starved), sum(|e| e.wall));
        let share = |part: f64| if wall > 0.0 { part / wall } else { 0.0 };
        let (busy, starved) = (share(cpu), share(starved));
        let lag = |q| total.lag.quantile(q) as f64 / 1e3;
        let latency = total.latency.quantile(0.5) as f64 / 1e3;
        let verdict = if busy > SATURATED {
            Verdict::Saturated
        } else if lag(0.99) > (latency / 10.0).max(1000.0) {
            Verdict::Late
        } else if starved > STARVED {
            Verdict::Starved
        } else {
            Verdict::Sound
        };
        Self {
            cpu_s: cpu,
            per_cpu_s: if cpu > 0.0 { total.completed as f64 / cpu } else { 0.0 },
            busy,
            starved,
            lag_p50_us: lag(0.5),
            lag_p99_us: lag(0.99),
            verdict,
        }
    }
}

impl Results {
    /// Begins an empty set of results, now and here.
    #[must_use]
    pub fn new() -> Self {
        let created = date::rfc3339(date::now());
        Self {
            schema: SCHEMA.to_owned(),
            created,
            environment: Environment::now(),
            runs: Vec::new(),
        }
    }

    /// Writes `connection-pool-optimization-{timestamp}.json` into a folder, which is made if it
    /// does not exist, and returns its path. A file that exists is not written over.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<PathBuf, Error> {
        std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
        let stem = self.created.replace(['-', ':'], "");
        let mut path = folder.join(format!("connection-pool-optimization-{stem}.json"));
        let mut count = 1;
        let mut file = loop {
            match std::fs::File::create_new(&path) {
                Ok(file) => break file,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    count += 1;
                    let name = format!("connection-pool-optimization-{stem}-{count}.json");
                    path = folder.join(name);
                }
                Err(error) => return Err(Error::file(&path, error)),
            }
        };
        let text = serde_json::to_string(self).expect("results are plain data");
        std::io::Write::write_all(&mut file, text.as_bytes())
            .map_err(|error| Error::file(&path, error))?;
        Ok(path)
    }

    /// Reads a file that was written by [`Results::save`].
    ///
    /// # Errors
    /// When it cannot be read, or has another schema.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| Error::format(path, error))?;
        if value["schema"] != SCHEMA {
            let found = value["schema"].as_str().unwrap_or("none");
            return Err(Error::format(path, format!("schema is {found}, expected {SCHEMA}")));
        }
        serde_json::from_value(value).map_err(|error| Error::format(path, error))
    }
}

impl Default for Results {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_named_as_people_call_them() {
        let names = QUANTILES.map(name);
        assert_eq!(names, ["p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99"]);
    }

    #[test]
    fn a_percentile_that_was_not_written_out_is_found_in_the_buckets() {
        let mut times = Times::default();
        (1..=1000u64).for_each(|n| times.record(n * 1_000_000));
        let percentiles = Percentiles::of(&times);
        for q in [0.5, 0.6, 0.97, 1.0] {
            let expected = q * 1e6;
            assert!(
                (percentiles.at(q) / expected - 1.0).abs() < 0.002,
                "{q}: {}",
                percentiles.at(q)
            );
        }
    }

    #[test]
    fn a_generator_without_time_to_spare_says_so() {
        let effort = |cpu, starved| Effort { cpu, starved, wall: 1_000_000_000 };
        let judge = |cpu, starved| Generator::judge(&[effort(cpu, starved)], &Recording::default());
        assert_eq!(judge(950_000_000, 0).verdict, Verdict::Saturated);
        assert_eq!(judge(300_000_000, 200_000_000).verdict, Verdict::Starved);
        assert_eq!(judge(300_000_000, 0).verdict, Verdict::Sound);
        let mut late = Recording::default();
        (0..100).for_each(|_| late.lag.record(5_000_000));
        late.latency.record(1_000_000);
        assert_eq!(Generator::judge(&[effort(1, 0)], &late).verdict, Verdict::Late);
        for verdict in [Verdict::Saturated, Verdict::Starved, Verdict::Late] {
            assert!(verdict.warning().is_some());
        }
    }

    #[test]
    fn results_are_read_back_and_never_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let results = Results::new();
        let first = results.save(folder.path()).expect("written");
        let second = results.save(folder.path()).expect("written");
        assert_ne!(first, second);
        assert_eq!(Results::load(&first).expect("ours"), results);
    }

    #[test]
    fn another_schema_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.json");
        std::fs::write(&path, r#"{"schema":"headpond-bench/9"}"#).expect("written");
        let error = Results::load(&path).expect_err("not ours").to_string();
        assert!(error.contains("headpond-bench/9"), "{error}");
    }
}
