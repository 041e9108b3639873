//! A thousand requests at once and then a steady stream through one pool: figures, and what must
//! hold of them.
//!
//! Invariant: nothing here grows with the number of requests, so that what grows is the pool's.
//! Left out: judging how fast it was, beyond what no machine would need; figures are printed.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use headpond::{Manager, Pool};
use headpond_stats::{Distribution, Histogram};
use tokio::task::JoinSet;

/// The pool's maximum in these tests.
pub const MAX: u32 = 20;
/// Requests that come at once in the beginning.
const AT_ONCE: u64 = 1000;
/// Callers of the steady stream, and how long each of them rests between two requests.
const CALLERS: u64 = 64;
const REST: Duration = Duration::from_millis(20);
/// How often is looked at what the server and the process have.
const GLANCE: Duration = Duration::from_millis(20);
/// What the allocator may do with memory that nobody leaks: far less than one word per request.
const NOISE_KIB: u64 = 2048;

/// Runs an ignored test in a process of its own, whose memory and descriptors nobody else uses.
pub fn alone(test: &str) {
    let itself = std::env::current_exe().expect("it runs");
    let child = Command::new(itself).args(["--exact", test, "--ignored", "--nocapture"]).status();
    assert!(child.expect("it can be started").success(), "{test}");
}

/// Returns how long the steady stream lasts: `HEADPOND_TEST_LOAD_SECONDS`, or a little.
fn stretch() -> Duration {
    let said = std::env::var("HEADPOND_TEST_LOAD_SECONDS").ok();
    Duration::from_secs(said.map_or(4, |text| text.parse().expect("a number of seconds")))
}

/// What was seen in one quarter of the stream.
#[derive(Clone, Copy, Debug, Default)]
struct Quarter {
    samples: u64,
    memory_kib: u64,
    descriptors: usize,
}

/// What was seen.
struct Figures {
    burst: Distribution,
    steady: Distribution,
    failed: AtomicU64,
    quarters: [Quarter; 4],
    sessions: u32,
    samples: u64,
    used: u64,
}

/// Loads a pool of [`MAX`] connections and checks what must hold. `request` makes one request and
/// says what is wrong with its reply; `sessions` asks the server how many sessions the pool has.
pub async fn load<M, F>(
    pool: &Pool<M>,
    request: impl Fn(u64) -> F + Clone + Send + 'static,
    mut sessions: impl AsyncFnMut() -> u32,
) where
    M: Manager,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let stretch = stretch();
    let failed = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let stream = async {
        let burst = callers(AT_ONCE, &request, &failed, None).await;
        let began = Instant::now();
        let steady = callers(CALLERS, &request, &failed, Some(began + stretch)).await;
        over.store(true, Relaxed);
        (burst, steady)
    };
    let watch = async {
        let (mut quarters, mut most, mut samples, mut used) = ([Quarter::default(); 4], 0, 0, 0);
        let mut began = None;
        while !over.load(Relaxed) {
            most = most.max(sessions().await);
            let status = pool.status();
            samples += 1;
            // The burst is over once everybody was served.
            if status.totals.acquired >= AT_ONCE {
                used += u64::from(status.in_use);
                let began = began.get_or_insert_with(Instant::now);
                let share = began.elapsed().as_secs_f64() / stretch.as_secs_f64();
                let at = if share < 0.25 {
                    0
                } else if share < 0.5 {
                    1
                } else {
                    2
                };
                let at = if share < 0.75 { at } else { 3 };
                let quarter: &mut Quarter = &mut quarters[at];
                quarter.samples += 1;
                quarter.memory_kib += memory_kib();
                quarter.descriptors = quarter.descriptors.max(descriptors());
            }
            tokio::time::sleep(GLANCE).await;
        }
        (quarters, most, samples, used)
    };
    let ((burst, steady), (quarters, sessions, samples, used)) = tokio::join!(stream, watch);
    let failed = AtomicU64::new(failed.load(Relaxed));
    Figures { burst, steady, failed, quarters, sessions, samples, used }.check(pool);
}

/// Lets so many callers make requests until the time is over, or one each.
async fn callers<F>(
    callers: u64,
    request: &(impl Fn(u64) -> F + Clone + Send + 'static),
    failed: &Arc<AtomicU64>,
    until: Option<Instant>,
) -> Distribution
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (request, failed) = (request.clone(), Arc::clone(failed));
        tasks.spawn(async move {
            let times = Histogram::new();
            let mut number = caller;
            loop {
                let began = Instant::now();
                if let Err(wrong) = request(number).await {
                    eprintln!("request {number}: {wrong}");
                    failed.fetch_add(1, Relaxed);
                }
                times.record(began.elapsed());
                number += callers;
                if until.is_none_or(|until| Instant::now() >= until) {
                    return times.read();
                }
                tokio::time::sleep(REST).await;
            }
        });
    }
    let mut all = Distribution::new();
    while let Some(times) = tasks.join_next().await {
        all.merge(&times.expect("no caller panics"));
    }
    all
}

impl Figures {
    fn check<M: Manager>(&self, pool: &Pool<M>) {
        let status = pool.status();
        let totals = &status.totals;
        let reuse = 1.0 - totals.opened as f64 / totals.acquired as f64;
        let ms = |times: &Distribution| times.quantile(0.95).unwrap_or(0) as f64 / 1e6;
        let seen: u64 = self.quarters.iter().map(|quarter| quarter.samples).sum();
        let utilisation = self.used as f64 / (seen.max(1) * u64::from(MAX)) as f64;
        let quarters = self.quarters.map(|quarter| Quarter {
            memory_kib: quarter.memory_kib / quarter.samples.max(1),
            ..quarter
        });
        println!(
            "{} requests at once: p95 {:.1} ms; then {}: p95 {:.1} ms, utilisation {:.0} %",
            self.burst.count(),
            ms(&self.burst),
            self.steady.count(),
            ms(&self.steady),
            utilisation * 100.0,
        );
        println!(
            "{} failed; {:.2} % reused; {} sessions at most in {} samples; {quarters:?}",
            self.failed.load(Relaxed),
            reuse * 100.0,
            self.sessions,
            self.samples,
        );
        assert_eq!(self.failed.load(Relaxed), 0, "requests failed");
        assert!(self.burst.count() == AT_ONCE && self.steady.count() >= CALLERS);
        assert!(reuse > 0.95, "{totals:?}");
        assert!((1..=MAX).contains(&self.sessions), "{} sessions", self.sessions);
        let [_, second, _, last] = quarters;
        assert!(second.samples > 0 && last.samples > 0, "nobody looked: {quarters:?}");
        assert!(last.descriptors <= second.descriptors, "descriptors grow: {quarters:?}");
        assert!(last.memory_kib <= second.memory_kib + NOISE_KIB, "memory grows: {quarters:?}");
        // Not a judgement of the machine: a caller that is forgotten waits for its deadline.
        assert!(ms(&self.steady) < 10_000.0, "p95 of {} ms", ms(&self.steady));
        assert_eq!((status.in_use, status.waiting, totals.leaks), (0, 0, 0), "{status:?}");
        assert!(pool.holders().is_empty() && totals.timeouts == 0 && totals.refusals == 0);
        pool.check_invariants();
    }
}

/// Returns the memory that the process has in use, in KiB.
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).expect("a process has memory")
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc is mounted").count()
}
