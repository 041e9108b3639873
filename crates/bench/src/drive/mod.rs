//! Requests through pools of the library, as a service sends them.
//!
//! A closed loop is one task for each client. An open loop is a thread that sleeps until the next
//! request is due, more exactly than a runtime's timer, and starts a task for it.
//!
//! Invariant: a task that is dropped counts as a request that was never answered.
//! Left out: the lean client of PostgreSQL (`lean`).

mod client;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use headpond_core::Random;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

pub use self::client::Client;
use crate::arrival::{Arrival, Schedule, exponential};
use crate::engine::{self, Effort};
use crate::error::{Error, ErrorKind};
use crate::measure::{Control, Request, nanos};
use crate::run::{self, Options};
use crate::workload::Workload;

/// How many requests may be under way; those beyond are shed, and counted.
const UNDER_WAY_MAX: u32 = 200_000;
/// How long unanswered requests are waited for after the end.
const GRACE: Duration = Duration::from_secs(5);
/// How long a client waits after a request that failed.
const PAUSE: Duration = Duration::from_millis(10);
/// How often the numbers of the pool are read.
const LOOK: Duration = Duration::from_millis(10);
/// A thread that sleeps wakes up about this late; the rest of the time it looks again.
const SPIN: u64 = 80_000;

/// A pool, and the runtime it lives in.
pub struct Drive {
    runtime: Runtime,
    client: Arc<Client>,
    threads: usize,
}

/// What every request needs.
struct Job {
    control: Arc<Control>,
    client: Arc<Client>,
    workload: Workload,
    timeout: Duration,
    under_way: AtomicU32,
}

impl Drive {
    /// Opens the pool, with all of its connections.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn open(options: &Options) -> Result<Self, Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = options.threads.map_or(cores, |n| n.max(1) as usize);
        let builder = &mut tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads).enable_all().build();
        let runtime = runtime.map_err(|error| Error::system("async runtime", error))?;
        let open = Client::open(&options.target, options.connections(), options.timeout);
        let client = Arc::new(runtime.block_on(open)?);
        Ok(Self { runtime, client, threads })
    }

    /// Returns how many threads the runtime has.
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Sends requests until the window ends. The window is open already.
    ///
    /// # Errors
    /// None; for the shape of it.
    pub fn run(self, options: &Options, control: &Arc<Control>) -> Result<Vec<Effort>, Error> {
        let job = Arc::new(Job {
            control: Arc::clone(control),
            client: Arc::clone(&self.client),
            workload: options.workload.clone(),
            timeout: options.timeout,
            under_way: AtomicU32::new(0),
        });
        let before = (control.now(), engine::process_cpu());
        let _inside = self.runtime.enter();
        let looking = self.runtime.spawn(look(Arc::clone(&job)));
        let mut tasks = JoinSet::new();
        match options.arrival {
            Arrival::Closed { think } => {
                for client in 0..options.clients {
                    let seed = options.seed.wrapping_add(u64::from(client) << 20);
                    tasks.spawn(ask(Arc::clone(&job), client as usize, think, seed));
                }
            }
            Arrival::Open { rate, shape } => {
                let schedule = Schedule::new(control.now(), rate, shape, options.seed);
                start(&job, schedule, options.seed, &mut tasks);
            }
        }
        let (_, until) = control.window();
        self.runtime.block_on(async {
            let all = async { while tasks.join_next().await.is_some() {} };
            // A closed loop ends by itself; whoever hangs is given up.
            let ends = until.saturating_sub(control.now());
            let limit = Duration::from_nanos(ends) + GRACE.min(options.timeout);
            let _ = tokio::time::timeout(limit, all).await;
            tasks.shutdown().await;
            looking.abort();
        });
        let after = (control.now(), engine::process_cpu());
        self.runtime.block_on(self.client.close());
        // The library's threads are not ours to look at one by one: the process stands for them,
        // and what SQLite computes on its threads is the target's work, not the generator's.
        let wall = after.0.saturating_sub(before.0) * self.threads as u64;
        let cpu = after.1.saturating_sub(before.1);
        let cpu = if self.client.is_embedded() { 0 } else { cpu };
        Ok(vec![Effort { cpu, starved: 0, wall }])
    }
}

/// Reads the pool's numbers again and again.
async fn look(job: Arc<Job>) {
    loop {
        let (busy, waiting) = job.client.under_way();
        let gauge = job.control.gauge(0);
        gauge.busy.store(busy, Relaxed);
        gauge.waiting.store(waiting, Relaxed);
        tokio::time::sleep(LOOK).await;
    }
}

/// One client of a closed loop.
async fn ask(job: Arc<Job>, shard: usize, think: Duration, seed: u64) {
    let mut random = Random::new(seed);
    let mut intended = job.control.now();
    while job.control.is_running(intended) {
        let outcome = once(&job, shard, intended, &mut random).await;
        let mut pause = if outcome.is_err() { PAUSE } else { Duration::ZERO };
        if !think.is_zero() {
            pause += think.mul_f64(exponential(&mut random));
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        intended = job.control.now();
    }
}

/// Starts the requests of an open loop when they are due; returns at the end of the window.
fn start(job: &Arc<Job>, mut schedule: Schedule, seed: u64, tasks: &mut JoinSet<()>) {
    let mut count = 0u64;
    loop {
        let now = job.control.now();
        if !job.control.is_running(now) {
            return;
        }
        while let Some(intended) = schedule.take(now) {
            count += 1;
            let shard = (count % 16) as usize;
            if job.under_way.load(Relaxed) >= UNDER_WAY_MAX {
                let request = Request { intended, started: None, ended: now };
                job.control.record(shard, request, Err(ErrorKind::Shed));
                continue;
            }
            job.control.record_lag(shard, now.saturating_sub(intended));
            job.under_way.fetch_add(1, Relaxed);
            let job = Arc::clone(job);
            tasks.spawn(async move {
                let mut random = Random::new(seed ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let _ = once(&job, shard, intended, &mut random).await;
                job.under_way.fetch_sub(1, Relaxed);
            });
        }
        // Those that have ended are forgotten, or they would be kept until the end.
        while tasks.try_join_next().is_some() {}
        let nap = schedule.peek().saturating_sub(job.control.now());
        let nap = nap.min(nanos(LOOK));
        if nap > SPIN {
            std::thread::sleep(Duration::from_nanos(nap - SPIN));
        } else {
            std::thread::yield_now();
        }
    }
}

/// A request that has begun; if it is dropped nobody waits for it any more.
struct Begun<'a> {
    control: &'a Control,
    shard: usize,
    intended: u64,
    over: bool,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.control.give_up(self.shard, self.intended, self.control.now());
        }
    }
}

async fn once(
    job: &Job,
    shard: usize,
    intended: u64,
    random: &mut Random,
) -> Result<(), ErrorKind> {
    let control = &*job.control;
    let mut begun = Begun { control, shard, intended, over: false };
    let statement = &job.workload.statements[job.workload.draw(random)];
    let waited = control.now().saturating_sub(intended);
    let left = job.timeout.saturating_sub(Duration::from_nanos(waited));
    let started = AtomicStart::default();
    let request = job.client.request(control, &started, statement, random);
    let outcome = match tokio::time::timeout(left, request).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ErrorKind::Timeout),
    };
    begun.over = true;
    let request = Request { intended, started: started.get(), ended: control.now() };
    control.record(shard, request, outcome);
    outcome
}

/// When a request had its connection; set from whatever thread gets it.
#[derive(Clone, Debug, Default)]
pub struct AtomicStart(Arc<std::sync::atomic::AtomicU64>);

impl AtomicStart {
    /// Sets it.
    pub fn set(&self, now: u64) {
        self.0.store(now.max(1), Relaxed);
    }

    /// Returns it; none before it was set.
    pub fn get(&self) -> Option<u64> {
        Some(self.0.load(Relaxed)).filter(|now| *now > 0)
    }
}

/// Runs something in a runtime of its own, for callers without one.
///
/// # Errors
/// When there can be no runtime.
pub fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    run::runtime()?.block_on(future)
}
