//! `headpond bench`: one load, several, or two targets side by side; and comparing results.
//!
//! Invariant: stdout has the summary (or with --json the results), stderr everything else; results
//! are written also when the run was interrupted. Exit code 3: a threshold was crossed.
//! Not here: any measuring.

pub mod private;
mod rivals;
mod signal;

use std::path::{Path, PathBuf};
use std::time::Duration;

use headpond_bench::arrival::{Arrival, Shape};
use headpond_bench::progress::{Line, Observer, Silent};
use headpond_bench::result::Results;
use headpond_bench::run::{self, Protocol, Through};
use headpond_bench::target::Target;
use headpond_bench::threshold::Threshold;
use headpond_bench::workload::Workload;
use headpond_bench::{Error, against, compare, preset, report};

use self::rivals::Rival;
pub use self::signal::on_interrupt;
use crate::Failure;

/// What `headpond bench` can be told.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Options {
    #[command(subcommand)]
    action: Option<Action>,
    /// postgres://, mysql://, redis://, sqlite: or http:// [default: an SQLite file of its own]
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// Clients at once
    #[arg(short, long, value_name = "N", alias = "clients")]
    concurrent: Option<u32>,
    /// How long: 120000 (milliseconds), 90s, 2m, 8h
    #[arg(short, long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// Requests per second, whatever the answers do (open loop); latency counts from the
    /// intended begin
    #[arg(short, long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// With --rate: at equal distances instead of at random
    #[arg(long, requires = "rate")]
    even: bool,
    /// Pause of a client after each answer, on average
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "rate")]
    think: Option<Duration>,
    /// Connections that the clients share [default: one for each]
    #[arg(short, long, value_name = "N", alias = "connections")]
    pool: Option<u32>,
    /// Share of requests that write, 0 to 1
    #[arg(short, long, value_name = "SHARE", conflicts_with = "workload")]
    write: Option<f64>,
    /// light, medium, heavy, all (these three), stress or soak
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// A file that says what is asked, see docs/bench-and-tune.md
    #[arg(long, value_name = "FILE")]
    workload: Option<PathBuf>,
    /// How PostgreSQL is asked: prepared, extended or simple
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol, default_value = "prepared")]
    protocol: Protocol,
    /// Ask through a pool of the library, as a service does
    #[arg(long)]
    library: bool,
    /// How long requests do not count at first
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "3s")]
    warm_up: Duration,
    /// How long a request may take, its wait for a connection included
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    timeout: Duration,
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    /// Measure another target in turns: a URL, `pgbouncer` (started in front of the same server,
    /// as is this program) or `direct` (this program in front of URL, against URL itself)
    #[arg(long, value_name = "URL|pgbouncer|direct")]
    against: Option<String>,
    /// End with exit code 3 if so: p95>200ms, errors>0.1%, rate<500, wait.p99>50ms
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<Threshold>,
    /// Watch the memory of this process
    #[arg(long, value_name = "PID")]
    watch_pid: Option<u32>,
    /// Threads that send requests
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// What the randomness begins with
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where results are kept
    #[arg(long, value_name = "FOLDER", default_value = "logs")]
    logs: PathBuf,
    /// Write the page with the plots here as well [default: beside the results]
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the results to stdout as well, instead of the summary
    #[arg(long)]
    json: bool,
    /// Nothing while it runs
    #[arg(short, long)]
    quiet: bool,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// What changed between two results, and whether it is more than chance
    Compare {
        /// The earlier results
        before: PathBuf,
        /// The later results
        after: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Reads a time for clap.
pub fn time(text: &str) -> Result<Duration, String> {
    headpond_bench::duration::parse(text)
}

/// Reads a protocol for clap.
pub fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "prepared" => Ok(Protocol::Prepared),
        "extended" => Ok(Protocol::Extended),
        "simple" => Ok(Protocol::Simple),
        _ => Err("expected prepared, extended or simple".to_owned()),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Usage { .. } => Self::usage(error.to_string()),
            _ => Self::new(error.to_string()),
        }
    }
}

/// Measures, or compares.
///
/// # Errors
/// Exit code 3 if a threshold was crossed, 2 if what was asked makes no sense, 1 for the rest.
pub fn run(options: Options) -> Result<(), Failure> {
    if let Some(Action::Compare { before, after, json }) = &options.action {
        return comparison(before, after, *json);
    }
    let file = Embedded::new(options.url.as_deref())?;
    let url = options.url.clone().unwrap_or_else(|| file.url());
    let target = Target::parse(&url)?;
    let mut results = Results::new();
    let stop = on_interrupt();
    let steps = steps(&options, &target)?;
    let first = steps.first().ok_or_else(|| Failure::new("nothing to measure"))?;
    let (label, workload) = (first.label.clone(), first.workload.clone());
    let prepared = run::prepare(&target, &workload)?;
    let measured = match &options.against {
        Some(rival) => side_by_side(&options, first, rival, &mut results, &stop),
        None => all(&options, &steps, &mut results, &stop),
    };
    // What was measured is kept, and what was made is removed, whatever went wrong.
    let removed = prepared.remove();
    if !results.runs.is_empty() {
        keep(&options, &results)?;
    }
    let ratios = measured?;
    removed?;
    if options.json {
        let text = serde_json::to_string_pretty(&results);
        println!("{}", text.map_err(|error| Failure::new(error.to_string()))?);
    } else {
        print!("{}", report::text::summary(&results));
        print!("{}", against::text(&ratios, &label));
    }
    let crossed: Vec<String> = options
        .fail_if
        .iter()
        .flat_map(|condition| results.runs.iter().filter_map(|run| condition.crossed(run)))
        .collect();
    match crossed.is_empty() {
        true => Ok(()),
        false => Err(Failure::threshold(crossed.join("\nheadpond: "))),
    }
}

/// Measures every step as often as asked.
fn all(
    options: &Options,
    steps: &[run::Options],
    results: &mut Results,
    stop: &std::sync::atomic::AtomicBool,
) -> Result<Vec<against::Ratio>, Failure> {
    for _ in 0..options.repeat.max(1) {
        for step in steps {
            if stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Ok(Vec::new());
            }
            let mut observer = observer(options.quiet, &step.label);
            results.runs.push(run::measure(step, &mut *observer, stop)?);
        }
    }
    Ok(Vec::new())
}

/// Measures two targets in turns.
fn side_by_side(
    options: &Options,
    step: &run::Options,
    rival: &str,
    results: &mut Results,
    stop: &std::sync::atomic::AtomicBool,
) -> Result<Vec<against::Ratio>, Failure> {
    /// Fewer rounds give no interval worth the name.
    const ROUNDS: u32 = 3;
    let mut step = step.clone();
    let follows = rival != "pgbouncer" || rivals::knows_prepared();
    if step.protocol == Protocol::Prepared && !follows {
        eprintln!("this PgBouncer does not know prepared statements: both are asked extended");
        step.protocol = Protocol::Extended;
    }
    let rival = Rival::start(rival, &step.target)?;
    let mut targets = vec![step.clone(), step.clone()];
    for (target, (label, url)) in targets.iter_mut().zip(rival.targets(step.target.url())) {
        target.label = label;
        target.target = Target::parse(&url)?;
    }
    // The first is what the others are measured by: the rival.
    targets.reverse();
    let labels: Vec<String> = targets.iter().map(|target| target.label.clone()).collect();
    let rounds = options.repeat.max(ROUNDS);
    let quiet = options.quiet;
    let runs = against::interleave(&targets, rounds, |label| observer(quiet, label), stop)?;
    results.runs.extend(runs);
    Ok(against::ratios(&results.runs, &labels))
}

/// Returns what is told of the progress.
pub fn observer(quiet: bool, label: &str) -> Box<dyn Observer> {
    if quiet { Box::new(Silent) } else { Box::new(Line::new(label)) }
}

/// Returns the runs that were asked for.
fn steps(options: &Options, target: &Target) -> Result<Vec<run::Options>, Failure> {
    let presets = match &options.preset {
        Some(name) => preset::named(name)?,
        None => Vec::new(),
    };
    let workload = |write: f64| match &options.workload {
        Some(path) => Workload::load(path),
        None => Workload::simple(target.kind(), options.write.unwrap_or(write)),
    };
    let arrival = |rate: Option<f64>| match options.rate.or(rate) {
        Some(rate) => {
            Arrival::Open { rate, shape: if options.even { Shape::Even } else { Shape::Poisson } }
        }
        None => Arrival::Closed { think: options.think.unwrap_or_default() },
    };
    let step = |label: String, clients: u32, workload: Workload, rate: Option<f64>| {
        let base = run::Options::new(target.clone(), workload);
        run::Options {
            label,
            clients,
            connections: options.pool,
            arrival: arrival(rate),
            protocol: options.protocol,
            through: if options.library { Through::Library } else { Through::Any },
            duration: options.duration.unwrap_or(base.duration),
            warm_up: options.warm_up,
            timeout: options.timeout,
            threads: options.threads,
            seed: options.seed,
            watch_pid: options.watch_pid,
            ..base
        }
    };
    if presets.is_empty() {
        let clients = options.concurrent.unwrap_or(100);
        return Ok(vec![step("bench".to_owned(), clients, workload(0.2)?, None)]);
    }
    let mut steps = Vec::new();
    for preset in presets {
        let many = preset.clients.len() > 1 && options.concurrent.is_none();
        let clients = options.concurrent.map_or(preset.clients, |clients| vec![clients]);
        for clients in clients {
            let label = match many {
                true => format!("{} {clients}", preset.name),
                false => preset.name.to_owned(),
            };
            let mut step = step(label, clients, workload(preset.write)?, preset.rate);
            step.duration = options.duration.unwrap_or(preset.duration);
            steps.push(step);
        }
    }
    Ok(steps)
}

/// Keeps the results, and the page beside them.
fn keep(options: &Options, results: &Results) -> Result<(), Failure> {
    let path = results.save(&options.logs)?;
    let page = path.with_extension("html");
    let html = report::html::page(results);
    for page in options.html.iter().chain([&page]) {
        std::fs::write(page, &html).map_err(|error| Failure::path(page, error))?;
    }
    if !options.quiet {
        eprintln!("results: {}, {}", path.display(), page.display());
    }
    Ok(())
}

fn comparison(before: &Path, after: &Path, json: bool) -> Result<(), Failure> {
    let changes = compare::compare(&Results::load(before)?, &Results::load(after)?);
    if json {
        let text = serde_json::to_string_pretty(&changes);
        println!("{}", text.map_err(|error| Failure::new(error.to_string()))?);
    } else {
        print!("{}", report::text::changes(&changes));
    }
    Ok(())
}

/// The SQLite file of a run that was given no URL; removed in the end.
pub struct Embedded(Option<tempfile::TempDir>);

impl Embedded {
    /// Makes a folder for it unless there is a URL.
    pub fn new(url: Option<&str>) -> Result<Self, Failure> {
        if url.is_some() {
            return Ok(Self(None));
        }
        let folder = tempfile::Builder::new().prefix("headpond-bench-").tempdir();
        Ok(Self(Some(folder.map_err(|e| Failure::new(format!("no temporary folder: {e}")))?)))
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        let file = self.0.as_ref().map(|folder| folder.path().join("bench.db"));
        format!("sqlite:{}?mode=rwc", file.unwrap_or_default().display())
    }
}
