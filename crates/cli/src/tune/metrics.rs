//! `headpond tune --from-metrics`: advice without load.
//!
//! A system that keeps a history (`/api/v1/history` beside its metrics) is advised from that: the
//! peak of the day and not the moment. Of others the metrics are read twice.
//!
//! Invariant: only reads; stderr says which of the two was done.
//! Not here: what follows from the figures.

use std::fmt::Write as _;
use std::path::PathBuf;

use headpond::http::Client;
use headpond_bench::duration;
use headpond_bench::metrics::history::{self, History};
use headpond_bench::metrics::{self, Scrape};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{Options, print};
use crate::Failure;

/// Seconds that the finer readings go back, as far as the rings of a pooler do.
const FINER: [u64; 2] = [300, 7200];
/// Pools that are asked for at most.
const POOLS_MAX: usize = 1000;

/// Advises from a history, or from two readings.
///
/// # Errors
/// When nothing can be read.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut scrapes = Vec::new();
    match options.from_metrics.as_slice() {
        [url] if url.starts_with("http://") || url.starts_with("https://") => {
            let reader = Reader::new()?;
            if let Some(past) = past(options, &reader, url)? {
                return print(options.json, &past, || history::text(&past));
            }
            for reading in 0..2 {
                if reading > 0 {
                    if !options.quiet {
                        let wait = duration::text(options.interval);
                        eprintln!("reading {url} again in {wait}");
                    }
                    std::thread::sleep(options.interval);
                }
                scrapes.push(Scrape::parse(&reader.text(url)?));
            }
        }
        [_] => return Err(Failure::usage("--from-metrics: one file has no growth; give two")),
        files => {
            for file in files {
                let path = PathBuf::from(file);
                let text = std::fs::read_to_string(&path).map_err(|e| Failure::path(&path, e))?;
                scrapes.push(Scrape::parse(&text));
            }
        }
    }
    let gaps = vec![options.interval.as_secs_f64(); scrapes.len() - 1];
    let advice = metrics::advise(&scrapes, &gaps, options.wait_p99.as_secs_f64());
    print(options.json, &advice, || metrics::text(&advice))
}

/// Reads the history beside the metrics; none if it is not wanted or the system has none.
fn past(options: &Options, reader: &Reader, url: &str) -> Result<Option<History>, Failure> {
    let Some(base) = origin(url).filter(|_| !options.history.is_zero()) else { return Ok(None) };
    let base = format!("{base}/api/v1/history");
    // Whatever else is at that address, the metrics say what there is to say.
    let answer = reader.json(&base).unwrap_or_else(|failure| Err(failure.text().to_owned()));
    let pools: Vec<String> = match answer {
        Ok(answer) => match answer.get("pools").and_then(Value::as_array) {
            Some(pools) => pools.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            None => return Ok(None),
        },
        Err(why) => {
            if !options.quiet {
                eprintln!("{base}: {why}; the metrics are read twice instead");
            }
            return Ok(None);
        }
    };
    let back = options.history.as_secs().max(1);
    let mut ranges: Vec<u64> = FINER.into_iter().filter(|range| *range < back).collect();
    ranges.push(back);
    let mut found = Vec::new();
    for pool in pools.iter().take(POOLS_MAX) {
        let name = escaped(pool);
        let mut answers = Vec::new();
        for range in &ranges {
            // A pool may be gone since its name was read.
            answers.extend(reader.json(&format!("{base}?pool={name}&range={range}"))?.ok());
        }
        found.extend(history::advise(pool, &answers, options.wait_p99.as_secs_f64()));
    }
    Ok(Some(History { schema: history::SCHEMA, pools: found }))
}

/// Returns a URL up to its path.
fn origin(url: &str) -> Option<&str> {
    let host = url.find("://")? + 3;
    let path = url.get(host..)?.find('/').map_or(url.len(), |at| host + at);
    url.get(..path)
}

/// Writes a name as a query has it.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let _ = match byte.is_ascii_alphanumeric() {
            true => write!(out, "{}", char::from(byte)),
            false => write!(out, "%{byte:02X}"),
        };
    }
    out
}

/// Reads addresses.
struct Reader {
    runtime: Runtime,
    client: Client,
}

impl Reader {
    fn new() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(format!("no event loop: {error}")))?;
        let client = runtime.block_on(async { Client::builder().build() });
        let client = client.map_err(|error| Failure::new(format!("no http: {error}")))?;
        Ok(Self { runtime, client })
    }

    /// Returns whether it was answered well, and with what.
    fn read(&self, url: &str) -> Result<Result<String, String>, Failure> {
        let fault = |error: &dyn std::fmt::Display| Failure::new(format!("{url}: {error}"));
        self.runtime.block_on(async {
            let response = self.client.get(url).await.map_err(|e| fault(&e))?;
            if !response.status().is_success() {
                return Ok(Err(response.status().to_string()));
            }
            response.text().await.map(Ok).map_err(|e| fault(&e))
        })
    }

    fn text(&self, url: &str) -> Result<String, Failure> {
        self.read(url)?.map_err(|status| Failure::new(format!("{url}: {status}")))
    }

    /// Returns an answer, or why it is none.
    fn json(&self, url: &str) -> Result<Result<Value, String>, Failure> {
        let text = self.read(url)?;
        Ok(text.and_then(|text| {
            serde_json::from_str(&text).map_err(|_| "the answer is no JSON".to_owned())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_is_beside_the_metrics() {
        assert_eq!(origin("http://db:9127/metrics?a=/b"), Some("http://db:9127"));
        assert_eq!(origin("https://db"), Some("https://db"));
        assert_eq!(escaped("a/b c"), "a%2Fb%20c");
    }
}
