//! `headpond tune`: the best size of a pool, by measured runs or from a running system's metrics.
//!
//! Invariant: nothing is changed anywhere; the lines to paste are printed.
//! Not here: the search.

mod metrics;
mod mode;

use std::path::PathBuf;
use std::time::Duration;

use headpond_bench::result::{Results, Run};
use headpond_bench::run::Protocol;
use headpond_bench::target::Target;
use headpond_bench::tune::{self, text};
use headpond_bench::workload::Workload;

use crate::Failure;
use crate::bench::{Embedded, observer, on_interrupt, protocol, time};

/// What `headpond tune` can be told.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// postgres://, mysql://, redis:// or sqlite: [default: an SQLite file of its own]
    #[arg(value_name = "URL", conflicts_with = "from_metrics")]
    url: Option<String>,
    /// Advise from metrics in Prometheus' text format instead of measuring: an http:// address
    /// that is read twice, or two or more files, oldest first
    #[arg(long, value_name = "URL|FILE", num_args = 1..)]
    from_metrics: Vec<String>,
    /// With --from-metrics: the time between two readings
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    interval: Duration,
    /// With --from-metrics and an address: how far back the history goes that is read instead, if
    /// the system keeps one; 0 for the moment
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "24h")]
    history: Duration,
    /// With --from-metrics: how long all but a hundredth of the requests may wait
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10ms")]
    wait_p99: Duration,
    /// Search pool modes as well: how many clients share the pool of a pooler, which this program
    /// is for each measurement, in front of the PostgreSQL at URL
    #[arg(long, value_name = "N", conflicts_with = "from_metrics")]
    clients: Option<u32>,
    /// With --clients: session, transaction, statement, or all
    #[arg(
        long,
        value_name = "MODE",
        value_delimiter = ',',
        requires = "clients",
        default_value = "session,transaction"
    )]
    modes: Vec<String>,
    /// Sizes to measure [default: searched]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    sizes: Vec<u32>,
    /// The largest size to try
    #[arg(long, value_name = "N", default_value_t = 128)]
    size_max: u32,
    /// How often each size is measured
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeat: u32,
    /// How long each time
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "2s")]
    step: Duration,
    /// When nothing further is begun
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5m")]
    budget: Duration,
    /// Processes that will have such a pool each
    #[arg(long, value_name = "N", default_value_t = 1)]
    instances: u32,
    /// Share of requests that write, 0 to 1
    #[arg(short, long, value_name = "SHARE", default_value_t = 0.2)]
    write: f64,
    /// A file that says what is asked, see docs/bench-and-tune.md
    #[arg(long, value_name = "FILE")]
    workload: Option<PathBuf>,
    /// How PostgreSQL is asked: prepared, extended or simple
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol, default_value = "prepared")]
    protocol: Protocol,
    /// Measure although the database carries other load
    #[arg(short, long)]
    yes: bool,
    /// What the randomness begins with
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where results are kept
    #[arg(long, value_name = "FOLDER", default_value = "logs")]
    logs: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Nothing while it runs
    #[arg(short, long)]
    quiet: bool,
}

/// Searches, or advises.
///
/// # Errors
/// When there is nothing to say; exit code 2 if what was asked makes no sense.
pub fn run(options: Options) -> Result<(), Failure> {
    if !options.from_metrics.is_empty() {
        return metrics::run(&options);
    }
    let file = Embedded::new(options.url.as_deref())?;
    let url = options.url.clone().unwrap_or_else(|| file.url());
    let target = Target::parse(&url)?;
    let workload = match &options.workload {
        Some(path) => Workload::load(path)?,
        None => tune::workload(target.kind(), options.write)?,
    };
    let (kind, clients) = (target.kind(), options.clients);
    let search = tune::Options {
        protocol: options.protocol,
        sizes: options.sizes.clone(),
        size_max: options.size_max,
        repeats: options.repeat,
        step: options.step,
        budget: options.budget,
        instances: options.instances,
        yes: options.yes,
        seed: options.seed,
        ..tune::Options::new(target, workload)
    };
    let stop = on_interrupt();
    if let Some(clients) = clients {
        return mode::run(&options, search, clients, &stop);
    }
    let quiet = options.quiet;
    let (tuning, runs) = tune::tune(&search, |label| observer(quiet, label), &stop)?;
    keep(&options, runs)?;
    print(options.json, &tuning, || text::text(&tuning, kind))
}

/// Keeps what was measured.
fn keep(options: &Options, runs: Vec<Run>) -> Result<(), Failure> {
    if runs.is_empty() {
        return Err(Failure::new("stopped before anything was measured"));
    }
    let path = Results { runs, ..Results::new() }.save(&options.logs)?;
    if !options.quiet {
        eprintln!("results: {}", path.display());
    }
    Ok(())
}

fn print<T: serde::Serialize>(
    json: bool,
    value: &T,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string_pretty(value);
        println!("{}", text.map_err(|error| Failure::new(error.to_string()))?);
    } else {
        print!("{}", text());
    }
    Ok(())
}
