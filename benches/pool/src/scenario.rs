//! What is measured.
//!
//! (a) one task gets and drops; (c) many tasks on 8 connections, each held for one yield; (e)
//! 10,000 tasks at once on a cold pool of 10; (f) a server that is down for 2 s; (g) connects that
//! hang for a second; (h) connects that panic.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::pools::Subject;
use crate::server::{Mood, Server};

pub struct Plan {
    pub rounds: u32,
    pub window_ms: u32,
    pub pools: Option<String>,
    pub scenarios: Option<String>,
}

impl Plan {
    fn wants(list: Option<&String>, name: &str) -> bool {
        list.is_none_or(|list| list.split(',').any(|word| word == name))
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self { rounds: 5, window_ms: 400, pools: None, scenarios: None }
    }
}

/// Every figure of every round: scenario → pool → values.
#[derive(Default)]
pub struct Figures {
    values: BTreeMap<&'static str, BTreeMap<&'static str, Vec<f64>>>,
}

impl Figures {
    fn add<S: Subject>(&mut self, figure: &'static str, value: f64) {
        self.values.entry(figure).or_default().entry(S::NAME).or_default().push(value);
    }
}

pub fn visit<S: Subject>(plan: &Plan, figures: &mut Figures) {
    if !Plan::wants(plan.pools.as_ref(), S::NAME) {
        return;
    }
    let wants = |name| Plan::wants(plan.scenarios.as_ref(), name);
    if wants("a") {
        uncontended::<S>(figures);
    }
    for (tasks, names) in [
        (64, ["c64 acquires/s", "c64 p99 µs", "c64 max/min"]),
        (512, ["c512 acquires/s", "c512 p99 µs", "c512 max/min"]),
    ] {
        if wants("c") {
            contended::<S>(plan, tasks, names, figures);
        }
    }
    let rest: [(&str, fn(&mut Figures)); 4] =
        [("e", burst::<S>), ("f", outage::<S>), ("g", hang::<S>), ("h", panics::<S>)];
    for (name, scenario) in rest {
        if wants(name) {
            scenario(figures);
        }
    }
}

fn runtime(workers: usize) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(workers).enable_all().build().expect("threads can be had")
}

fn uncontended<S: Subject>(figures: &mut Figures) {
    const TIMES: u32 = 300_000;
    for (name, threads) in [("a1 ns", 1), ("a2 ns", 2)] {
        let runtime = if threads == 1 {
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
        } else {
            runtime(2)
        };
        let (ns, allocations) = runtime.block_on(async {
            let pool = S::new(&Server::default(), 8, None).await;
            let task = tokio::spawn(async move {
                for _ in 0..1_000 {
                    drop(pool.get().await);
                }
                let allocations = crate::allocations();
                let began = Instant::now();
                for _ in 0..TIMES {
                    drop(std::hint::black_box(pool.get().await));
                }
                let ns = began.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES);
                (ns, (crate::allocations() - allocations) as f64 / f64::from(TIMES))
            });
            task.await.expect("it does not panic")
        });
        figures.add::<S>(name, ns);
        if threads == 1 {
            figures.add::<S>("a allocations", allocations);
        }
    }
}

fn contended<S: Subject>(
    plan: &Plan,
    tasks: usize,
    [throughput, p99, fairness]: [&'static str; 3],
    figures: &mut Figures,
) {
    let runtime = runtime(2);
    let window = Duration::from_millis(u64::from(plan.window_ms));
    let (counts, mut waits, elapsed) = runtime.block_on(async {
        let pool = S::new(&Server::default(), 8, None).await;
        let stop = Arc::new(AtomicBool::new(false));
        let start = Arc::new(tokio::sync::Barrier::new(tasks + 1));
        let workers: Vec<_> = (0..tasks)
            .map(|_| {
                let (pool, stop, start) = (pool.clone(), stop.clone(), start.clone());
                tokio::spawn(async move {
                    start.wait().await;
                    let (mut count, mut waits) = (0_u64, Vec::new());
                    while !stop.load(Relaxed) {
                        let asked = (count % 16 == 0).then(Instant::now);
                        let held = pool.get().await;
                        if let Some(asked) = asked {
                            waits.push(asked.elapsed().as_nanos() as u64);
                        }
                        count += 1;
                        tokio::task::yield_now().await;
                        drop(held);
                    }
                    (count, waits)
                })
            })
            .collect();
        start.wait().await;
        let began = Instant::now();
        tokio::time::sleep(window).await;
        stop.store(true, Relaxed);
        let elapsed = began.elapsed();
        let (mut counts, mut waits) = (Vec::new(), Vec::new());
        for worker in workers {
            let (count, mut own) = worker.await.expect("it does not panic");
            counts.push(count as f64);
            waits.append(&mut own);
        }
        (counts, waits, elapsed)
    });
    figures.add::<S>(throughput, counts.iter().sum::<f64>() / elapsed.as_secs_f64());
    waits.sort_unstable();
    let at = (waits.len() * 99 / 100).min(waits.len().saturating_sub(1));
    figures.add::<S>(p99, waits.get(at).map_or(0.0, |ns| *ns as f64 / 1000.0));
    let most = counts.iter().copied().fold(0.0, f64::max);
    let least = counts.iter().copied().fold(f64::MAX, f64::min).max(0.5);
    figures.add::<S>(fairness, most / least);
}

fn burst<S: Subject>(figures: &mut Figures) {
    let server = Server::new(Duration::from_millis(5));
    let ms = runtime(2).block_on(async {
        let pool = S::new(&server, 10, None).await;
        let began = Instant::now();
        let tasks: Vec<_> = (0..10_000)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move { drop(pool.get().await) })
            })
            .collect();
        for task in tasks {
            task.await.expect("it does not panic");
        }
        began.elapsed().as_secs_f64() * 1e3
    });
    figures.add::<S>("e all served ms", ms);
    figures.add::<S>("e connects", server.connects() as f64);
}

/// Runs 20 callers, each asking again 10 ms after an error, and returns when each had its first
/// connection, in milliseconds from when the server was well again.
async fn callers<S: Subject>(pool: &S, well: Instant) -> Vec<f64> {
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                while Instant::now() < well + Duration::from_secs(8) {
                    if pool.get().await.is_some() {
                        let since = Instant::now().saturating_duration_since(well);
                        return since.as_secs_f64() * 1e3;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                f64::INFINITY
            })
        })
        .collect();
    let mut served = Vec::new();
    for task in tasks {
        served.push(task.await.unwrap_or(f64::INFINITY));
    }
    served.sort_unstable_by(f64::total_cmp);
    served
}

/// Returns how many of `size` connections can be had at once.
async fn usable<S: Subject>(pool: &S, size: u32) -> f64 {
    let all = Arc::new(tokio::sync::Barrier::new(size as usize));
    let got = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..size)
        .map(|_| {
            let (pool, all, got) = (pool.clone(), all.clone(), got.clone());
            tokio::spawn(async move {
                let deadline = Duration::from_millis(1500);
                let held = tokio::time::timeout(deadline, pool.get()).await;
                if matches!(held, Ok(Some(_))) {
                    got.fetch_add(1, Relaxed);
                }
                let _ = tokio::time::timeout(deadline, all.wait()).await;
            })
        })
        .collect();
    for task in tasks {
        let _ = task.await;
    }
    got.load(Relaxed) as f64
}

fn outage<S: Subject>(figures: &mut Figures) {
    let server = Server::new(Duration::from_millis(1));
    server.set(Mood::Down);
    let (attempts, first, all) = runtime(2).block_on(async {
        let pool = S::new(&server, 10, Some(Duration::from_secs(5))).await;
        let well = Instant::now() + Duration::from_secs(2);
        let healing = tokio::spawn({
            let server = server.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                let attempts = server.connects();
                server.set(Mood::Well);
                attempts
            }
        });
        let served = callers(&pool, well).await;
        let attempts = healing.await.expect("it does not panic");
        (attempts, served[0], served[served.len() - 1])
    });
    figures.add::<S>("f connects in 2 s", attempts as f64);
    figures.add::<S>("f first after ms", first);
    figures.add::<S>("f all after ms", all);
}

fn hang<S: Subject>(figures: &mut Figures) {
    let server = Server::default();
    server.set(Mood::Hung);
    let (first, usable) = runtime(2).block_on(async {
        let pool = S::new(&server, 10, Some(Duration::from_millis(300))).await;
        let well = Instant::now() + Duration::from_secs(1);
        tokio::spawn({
            let server = server.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                server.set(Mood::Well);
            }
        });
        let served = callers(&pool, well).await;
        (served[0], usable(&pool, 10).await)
    });
    figures.add::<S>("g first after ms", first);
    figures.add::<S>("g usable of 10", usable);
}

fn panics<S: Subject>(figures: &mut Figures) {
    let server = Server::default();
    server.set(Mood::Panics);
    let usable = runtime(2).block_on(async {
        let pool = S::new(&server, 4, Some(Duration::from_millis(300))).await;
        for _ in 0..8 {
            let pool = pool.clone();
            let _ = tokio::spawn(async move { drop(pool.get().await) }).await;
        }
        server.set(Mood::Well);
        tokio::time::sleep(Duration::from_millis(1200)).await;
        usable(&pool, 4).await
    });
    figures.add::<S>("h usable of 4", usable);
}

const POOLS: [&str; 6] = ["headpond", "deadpool", "bb8", "sqlx", "mobc", "floor"];

/// What the rows are called in the table, in its order.
const ROWS: [(&str, &str); 17] = [
    ("a1 ns", "(a) get and drop, one task, one thread: ns"),
    ("a2 ns", "(a) the same on a runtime of two threads: ns"),
    ("a allocations", "(a) allocations for each"),
    ("c64 acquires/s", "(c) 64 tasks on 8 connections: acquisitions per s"),
    ("c64 p99 µs", "(c) 64 tasks: p99 of the wait, µs"),
    ("c64 max/min", "(c) 64 tasks: most over fewest acquisitions of a task"),
    ("c512 acquires/s", "(c) 512 tasks on 8 connections: acquisitions per s"),
    ("c512 p99 µs", "(c) 512 tasks: p99 of the wait, µs"),
    ("c512 max/min", "(c) 512 tasks: most over fewest acquisitions of a task"),
    ("e connects", "(e) 10,000 tasks on a cold pool of 10: connects"),
    ("e all served ms", "(e) the same: all served after, ms"),
    ("f connects in 2 s", "(f) server down for 2 s, 20 callers: connects in that time"),
    ("f first after ms", "(f) first success after it is back, ms"),
    ("f all after ms", "(f) all 20 served after, ms"),
    ("g first after ms", "(g) connects hung for 1 s: first success after, ms"),
    ("g usable of 10", "(g) usable of 10 connections afterwards"),
    ("h usable of 4", "(h) usable of 4 connections after 8 panics in connect"),
];

impl Figures {
    /// Returns the medians, with minimum and maximum where they differ.
    pub fn tables(&self, rounds: u32, window_ms: u32) -> String {
        let mut out = format!("Medians of {rounds} rounds (minimum–maximum), {window_ms} ms each ");
        out.push_str("for (c).\n\n| figure |");
        for pool in POOLS {
            let _ = write!(out, " {pool} |");
        }
        out.push_str("\n|---|");
        out.push_str(&"---|".repeat(POOLS.len()));
        out.push('\n');
        for (figure, title) in ROWS {
            let Some(pools) = self.values.get(figure) else { continue };
            let _ = write!(out, "| {title} |");
            for pool in POOLS {
                let values = pools.get(pool).map(Vec::as_slice).unwrap_or_default();
                let _ = write!(out, " {} |", summary(values));
            }
            out.push('\n');
        }
        out
    }
}

fn summary(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else {
        return String::new();
    };
    let median = sorted[sorted.len() / 2];
    if least == most {
        return number(median);
    }
    format!("{} ({}–{})", number(median), number(*least), number(*most))
}

fn number(value: f64) -> String {
    match value {
        value if value.is_infinite() => "never".to_owned(),
        value if value >= 100_000.0 => format!("{:.2} M", value / 1e6),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value == value.round() => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
