//! `headpond plan`: what would happen, by simulation; no server is touched.
//!
//! Not here: the simulation.

use std::path::{Path, PathBuf};
use std::time::Duration;

use headpond_bench::model::incident::Incident;
use headpond_bench::model::service::Service;
use headpond_bench::model::simulate::{Arrivals, Scenario};
use headpond_bench::plan::{self, text};
use headpond_bench::result::{Results, Run};

use crate::Failure;
use crate::bench::time;

/// The least that is simulated.
const SHORTEST_S: f64 = 60.0;
/// How many requests are enough to tell a p99.
const REQUESTS: f64 = 1e6;

/// What `headpond plan` can be told.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Requests per second of the whole fleet
    #[arg(short, long, value_name = "PER_SECOND", conflicts_with_all = ["clients", "recorded"])]
    rate: Option<f64>,
    /// Clients of the whole fleet, who ask, are answered, and pause
    #[arg(short, long, value_name = "N", conflicts_with = "recorded")]
    clients: Option<u32>,
    /// Pause of a client, on average
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s")]
    think: Duration,
    /// How long a request holds a connection, on average
    #[arg(short, long, value_name = "TIME", value_parser = time)]
    service: Option<Duration>,
    /// How much that varies, as a share of the mean: 0 not at all, 1 as at random, 2 very much
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    variation: f64,
    /// Take service times, and unless told otherwise arrivals, from results of `headpond bench`
    #[arg(long, value_name = "FILE")]
    recorded: Option<PathBuf>,
    /// So many times the recorded load
    #[arg(long, value_name = "TIMES", default_value_t = 1.0)]
    scale: f64,
    /// Processes with a pool each
    #[arg(short, long, value_name = "N", value_delimiter = ',', default_value = "1")]
    instances: Vec<u32>,
    /// Sizes of each pool [default: around what the formulae say]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    sizes: Vec<u32>,
    /// How many requests the server computes at once; more of them share it
    #[arg(long, value_name = "N")]
    server_cores: Option<f64>,
    /// Connections that the server lets in
    #[arg(long, value_name = "N")]
    max_connections: Option<u32>,
    /// Of these, set aside for administration
    #[arg(long, value_name = "N", default_value_t = 3)]
    reserved: u32,
    /// How long a connect takes
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5ms")]
    connect: Duration,
    /// How long a request waits for a connection
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    timeout: Duration,
    /// How long all but a hundredth may wait
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10ms")]
    wait_p99: Duration,
    /// What happens: "burst 3x at 10s for 5s", "failover at 20s for 3s", "slow 4x at 1m for 10s"
    #[arg(long, value_name = "INCIDENT", value_parser = Incident::parse)]
    what_if: Vec<Incident>,
    /// How long is simulated [default: a million requests, but 1 minute to 1 hour; with --what-if 1
    /// minute]
    #[arg(short, long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// What the randomness begins with
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Simulates.
///
/// # Errors
/// Exit code 2 if what was asked makes no sense.
pub fn run(options: Options) -> Result<(), Failure> {
    let recorded = options.recorded.as_deref().map(recorded).transpose()?;
    let service = match (options.service, &recorded) {
        (Some(mean), _) => assumed(mean.as_secs_f64(), options.variation),
        (None, Some(run)) => Service::recorded(&run.service)
            .ok_or_else(|| Failure::usage("--recorded: the run answered no request"))?,
        (None, None) => return Err(Failure::usage("--service or --recorded is needed")),
    };
    let arrivals = match (options.rate, options.clients, &recorded) {
        (Some(rate), _, _) => Arrivals::Rate(rate),
        (None, Some(count), _) => Arrivals::Clients { count, think_s: options.think.as_secs_f64() },
        (None, None, Some(run)) => {
            let counted = run.seconds.iter().filter(|second| second.at_s >= 1.0);
            Arrivals::Recorded(counted.map(|s| s.completed as f64 * options.scale).collect())
        }
        (None, None, None) => {
            return Err(Failure::usage("--rate, --clients or --recorded is needed"));
        }
    };
    let duration_s = match options.duration {
        Some(duration) => duration.as_secs_f64(),
        None if !options.what_if.is_empty() => SHORTEST_S,
        None => enough_s(&arrivals, service.mean()),
    };
    let base = Scenario {
        server_cores: options.server_cores,
        connect: options.connect,
        timeout: options.timeout,
        incidents: options.what_if,
        warm_up_s: (duration_s / 10.0).clamp(1.0, 30.0),
        duration_s,
        seed: options.seed,
        ..Scenario::new(arrivals, service)
    };
    let plan = plan::plan(&plan::Options {
        base,
        sizes: options.sizes,
        instances: options.instances,
        connections_max: options.max_connections,
        reserved: options.reserved,
        wait_p99: options.wait_p99,
    })?;
    if options.json {
        let text = serde_json::to_string_pretty(&plan);
        println!("{}", text.map_err(|error| Failure::new(error.to_string()))?);
    } else {
        print!("{}", text(&plan));
    }
    Ok(())
}

/// Returns how long to simulate. A queue near its limit moves slowly: in a minute two
/// connections at a load of 0.84 said 50 to 85 ms with six seeds, over a million requests 65 to 70.
fn enough_s(arrivals: &Arrivals, service_s: f64) -> f64 {
    let rate = match arrivals {
        Arrivals::Rate(rate) => *rate,
        Arrivals::Clients { count, think_s } => f64::from(*count) / (think_s + service_s),
        // All of it, and no second of it more often than another.
        Arrivals::Recorded(seconds) => return (seconds.len() as f64).max(SHORTEST_S),
    };
    (REQUESTS / rate).clamp(SHORTEST_S, 3600.0)
}

fn assumed(mean_s: f64, variation: f64) -> Service {
    match variation {
        v if v <= 0.0 => Service::Fixed(mean_s),
        v if (v - 1.0).abs() < 1e-9 => Service::Exponential(mean_s),
        variation => Service::LogNormal { mean_s, variation },
    }
}

/// Reads the last run of a file: the one that people mean.
fn recorded(path: &Path) -> Result<Run, Failure> {
    let results = Results::load(path)?;
    let last = results.runs.into_iter().next_back();
    last.ok_or_else(|| Failure::usage(format!("{}: there is no run in it", path.display())))
}
