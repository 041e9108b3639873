//! One measured load, from the first connection to its figures.
//!
//! Invariant: what the built-in workload makes on a server it removes, whatever happened between.
//! Left out: searching (`tune`), comparing (`against`, `compare`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arrival::Arrival;
use crate::date;
use crate::drive::{Client, Drive};
use crate::engine::{self, Effort, Seen};
use crate::error::Error;
use crate::lean::{self, Lean};
use crate::measure::Control;
use crate::progress::Observer;
use crate::result::{Generator, Percentiles, Run, Settings};
use crate::target::{Kind, Target};
use crate::workload::Workload;

/// How statements are sent to PostgreSQL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// As text, with the parameters in it.
    Simple,
    /// Parsed anew each time, as the unnamed statement.
    Extended,
    /// Prepared once on each connection.
    #[default]
    Prepared,
}

/// Which client sends the requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Through {
    /// The lean one if it knows the server, else the library.
    #[default]
    Any,
    /// Pools of the library, as a service would use them.
    Library,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// What reports call it.
    pub label: String,
    /// The server.
    pub target: Target,
    /// What is asked.
    pub workload: Workload,
    /// Clients of a closed loop.
    pub clients: u32,
    /// Connections that the clients share. Default: one for each client, because that is what a
    /// service without a pool has.
    pub connections: Option<u32>,
    /// When requests begin.
    pub arrival: Arrival,
    /// How statements are sent.
    pub protocol: Protocol,
    /// Which client sends them.
    pub through: Through,
    /// How long requests count.
    pub duration: Duration,
    /// How long they do not count before.
    pub warm_up: Duration,
    /// How long a request may take, its wait for a connection included.
    pub timeout: Duration,
    /// Threads of the generator. Default: as many as suit the load.
    pub threads: Option<u32>,
    /// What the randomness begins with.
    pub seed: u64,
    /// A process whose memory is watched.
    pub watch_pid: Option<u32>,
}

impl Options {
    /// Begins with the defaults: 100 clients in a closed loop for 30 seconds after a warm-up of 3,
    /// because that settles the caches and is over before anybody goes for coffee.
    #[must_use]
    pub fn new(target: Target, workload: Workload) -> Self {
        Self {
            label: "bench".to_owned(),
            target,
            workload,
            clients: 100,
            connections: None,
            arrival: Arrival::Closed { think: Duration::ZERO },
            protocol: Protocol::default(),
            through: Through::default(),
            duration: Duration::from_secs(30),
            warm_up: Duration::from_secs(3),
            timeout: Duration::from_secs(30),
            threads: None,
            seed: 1,
            watch_pid: None,
        }
    }

    /// Returns how many connections there are.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.unwrap_or(self.clients).max(1)
    }

    fn check(&self) -> Result<(), Error> {
        if self.clients == 0 {
            return Err(Error::usage("clients", "at least one is needed"));
        }
        if self.duration.is_zero() {
            return Err(Error::usage("duration", "nothing can be measured in no time"));
        }
        match self.arrival {
            Arrival::Open { rate, .. } if !(rate > 0.0 && rate.is_finite()) => {
                Err(Error::usage("rate", format!("{rate} is not above zero")))
            }
            _ => Ok(()),
        }
    }
}

/// What was made on a server for a workload.
#[derive(Debug)]
pub struct Prepared<'a> {
    target: &'a Target,
    workload: &'a Workload,
}

/// Makes what a workload needs. The built-in tables are made anew if a run that was killed left
/// them behind.
///
/// # Errors
/// When the server refuses.
pub fn prepare<'a>(target: &'a Target, workload: &'a Workload) -> Result<Prepared<'a>, Error> {
    if let Err(error) = execute(target, &workload.setup) {
        let ours = workload.name == "simple" && !workload.teardown.is_empty();
        if !ours || execute(target, &workload.teardown).is_err() {
            return Err(error);
        }
        execute(target, &workload.setup)?;
    }
    Ok(Prepared { target, workload })
}

impl Prepared<'_> {
    /// Removes what was made.
    ///
    /// # Errors
    /// When the server refuses; then it says what is left to be removed by hand.
    pub fn remove(self) -> Result<(), Error> {
        execute(self.target, &self.workload.teardown)
    }
}

/// Runs statements one after the other on a connection of their own.
///
/// # Errors
/// With the first that is refused.
pub fn execute(target: &Target, statements: &[String]) -> Result<(), Error> {
    if statements.is_empty() {
        return Ok(());
    }
    if target.kind() == Kind::Postgres {
        let config = lean::config(target)?;
        if lean::suits(&config) {
            const LIMIT: Duration = Duration::from_secs(60);
            let host = config.hosts.first().ok_or_else(|| Error::target(target, "no host"))?;
            let fault = |error| Error::target(target, error);
            let mut socket = lean::login::login(&config, host, LIMIT).map_err(fault)?;
            for statement in statements {
                lean::login::execute(&mut socket, statement).map_err(fault)?;
            }
            return Ok(());
        }
    }
    runtime()?.block_on(async {
        let client = Client::open(target, 1, Duration::from_secs(60)).await?;
        for statement in statements {
            client.execute(target, statement).await?;
        }
        client.close().await;
        Ok(())
    })
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Error::system("async runtime", error))
}

/// Measures one load. What the workload needs has been made. When `stop` is set the run ends early
/// and its figures are those of the time it had.
///
/// # Errors
/// When no connection can be opened, or a statement is refused before the run.
pub fn measure(
    options: &Options,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Run, Error> {
    options.check()?;
    let lean = match (options.target.kind(), options.through) {
        (Kind::Postgres, Through::Any) => Some(lean::config(&options.target)?),
        _ => None,
    };
    match lean.filter(lean::suits) {
        Some(config) => {
            let lean = Lean::open(config, options)?;
            let (threads, control) = (lean.threads(), Arc::new(Control::new(lean.threads())));
            let run = |control: &Arc<Control>| lean.run(options, control);
            watched(options, "lean", threads, control, observer, stop, run)
        }
        None => {
            let drive = Drive::open(options)?;
            let (threads, control) = (drive.threads(), Arc::new(Control::new(16)));
            let run = |control: &Arc<Control>| drive.run(options, control);
            watched(options, "library", threads, control, observer, stop, run)
        }
    }
}

/// Runs with somebody looking on, and takes the figures.
fn watched(
    options: &Options,
    through: &str,
    threads: usize,
    control: Arc<Control>,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
    run: impl FnOnce(&Arc<Control>) -> Result<Vec<Effort>, Error>,
) -> Result<Run, Error> {
    let started = date::now() + options.warm_up.as_secs();
    let done = AtomicBool::new(false);
    control.open(options.warm_up, options.duration);
    let (efforts, seen) = std::thread::scope(|scope| {
        let (control, done) = (&control, &done);
        let watcher = scope.spawn(move || {
            let connections = options.connections();
            engine::watch(control, connections, options.watch_pid, done, stop, observer)
        });
        let efforts = run(control);
        done.store(true, Relaxed);
        (efforts, watcher.join().expect("the watcher does not panic"))
    });
    Ok(figures(options, through, threads, &control, &efforts?, seen, started))
}

fn figures(
    options: &Options,
    through: &str,
    threads: usize,
    control: &Control,
    efforts: &[Effort],
    seen: Seen,
    started: u64,
) -> Run {
    let total = control.total();
    let (from, until) = control.window();
    let measured_s = until.saturating_sub(from) as f64 / 1e9;
    let failed = total.failed() + total.unfinished;
    let share = |part: u64, all: u64| if all == 0 { 0.0 } else { part as f64 / all as f64 };
    let (arrival, rate) = match options.arrival {
        Arrival::Closed { .. } => ("closed", None),
        Arrival::Open { rate, .. } => ("open", Some(rate)),
    };
    let protocol = match options.protocol {
        Protocol::Simple => "simple",
        Protocol::Extended => "extended",
        Protocol::Prepared => "prepared",
    };
    Run {
        label: options.label.clone(),
        kind: options.target.kind(),
        target: options.target.to_string(),
        settings: Settings {
            workload: options.workload.name.clone(),
            write_share: options.workload.write_share(),
            arrival: arrival.to_owned(),
            rate,
            clients: options.clients,
            connections: options.connections(),
            protocol: protocol.to_owned(),
            through: through.to_owned(),
            warm_up_s: options.warm_up.as_secs_f64(),
            duration_s: options.duration.as_secs_f64(),
            timeout_s: options.timeout.as_secs_f64(),
            threads,
            seed: options.seed,
        },
        started: date::rfc3339(started),
        measured_s,
        interrupted: measured_s < options.duration.as_secs_f64() - 1e-6,
        completed: total.completed,
        rate: if measured_s > 0.0 { total.completed as f64 / measured_s } else { 0.0 },
        errors: total.errors.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
        unfinished: total.unfinished,
        error_share: share(failed, total.latency.count()),
        latency: Percentiles::of(&total.latency),
        wait: Percentiles::of(&total.wait),
        service: Percentiles::of(&total.service),
        utilisation: seen.utilisation,
        seconds: seen.seconds,
        generator: Generator::judge(efforts, &total),
    }
}
