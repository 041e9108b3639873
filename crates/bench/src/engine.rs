//! What every way of sending requests has in common: its own effort, and looks at the run.
//!
//! Invariant: effort is measured inside the window only.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use crate::environment;
use crate::measure::{Control, nanos};
use crate::progress::{Observer, Phase, Tick};
use crate::result::{Second, Utilisation};

/// How often connections in use are counted.
const SAMPLE: Duration = Duration::from_millis(20);

/// What one thread of the generator used.
#[derive(Clone, Copy, Default, Debug)]
pub struct Effort {
    /// Processor time.
    pub cpu: u64,
    /// Time during which it wanted a processor and had none.
    pub starved: u64,
    /// Time that passed.
    pub wall: u64,
}

impl Effort {
    fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            starved: self.starved.saturating_sub(earlier.starved),
            wall: self.wall.saturating_sub(earlier.wall),
        }
    }
}

/// Measures the calling thread's effort inside the window.
#[derive(Default, Debug)]
pub struct Stopwatch {
    from: Option<Effort>,
    until: Option<Effort>,
}

impl Stopwatch {
    /// Looks at the clock, from time to time.
    pub fn look(&mut self, now: u64, (from, until): (u64, u64)) {
        if self.from.is_none() && now >= from {
            self.from = Some(of_thread(now));
        }
        if self.until.is_none() && now >= until {
            self.until = Some(of_thread(now));
        }
    }

    /// Returns what was measured; nothing if the window never opened.
    pub fn effort(&self) -> Effort {
        match (self.from, self.until) {
            (Some(from), Some(until)) => until.since(from),
            _ => Effort::default(),
        }
    }
}

fn of_thread(wall: u64) -> Effort {
    let cpu = clock_nanos(ClockId::ThreadCPUTime);
    // "run wait slices", in nanoseconds: how long the thread waited in a run queue.
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let starved = text.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
    Effort { cpu, starved, wall }
}

/// Returns the processor time of the whole process in nanoseconds.
pub fn process_cpu() -> u64 {
    clock_nanos(ClockId::ProcessCPUTime)
}

fn clock_nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// What was seen of a run while it ran.
#[derive(Debug, Default)]
pub struct Seen {
    /// Second by second.
    pub seconds: Vec<Second>,
    /// Of the connections.
    pub utilisation: Option<Utilisation>,
}

/// Looks at a run until `done`; ends its window when `stop` is set.
pub fn watch(
    control: &Control,
    connections: u32,
    pid: Option<u32>,
    done: &AtomicBool,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Seen {
    // Shares of the connections in per mille.
    let mut shares = Histogram::<u64>::new_with_bounds(1, 1000, 3).expect("bounds are legal");
    let mut seconds = Vec::new();
    let mut next = 1u64;
    let begin = control.now();
    let mut waiting_max = 0;
    while !done.load(Relaxed) {
        std::thread::sleep(SAMPLE);
        if stop.load(Relaxed) {
            control.stop();
        }
        let now = control.now();
        let (from, until) = control.window();
        let (busy, waiting) = control.under_way();
        waiting_max = waiting_max.max(waiting);
        if (from..until).contains(&now) {
            shares.saturating_record(u64::from(busy) * 1000 / u64::from(connections.max(1)));
        }
        if now < begin + next * nanos(Duration::from_secs(1)) {
            continue;
        }
        next += 1;
        let interval = control.take_interval();
        let quantile = |q| interval.latency.quantile(q).unwrap_or(0) as f64 / 1e3;
        let second = Second {
            at_s: (now as f64 - from as f64) / 1e9,
            completed: interval.latency.count(),
            errors: interval.errors,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            max_us: interval.latency.max_nanos() as f64 / 1e3,
            in_use: busy,
            waiting,
            memory_kib: pid.and_then(environment::memory_kib),
        };
        observer.tick(&Tick {
            phase: if now < from { Phase::WarmUp } else { Phase::Measuring },
            elapsed: Duration::from_nanos(now.saturating_sub(begin)),
            total: Duration::from_nanos(until.saturating_sub(begin)),
            second: &second,
        });
        // The last, partial second after the end belongs to nobody.
        if now < until + nanos(SAMPLE) * 2 {
            seconds.push(second);
        }
    }
    observer.end();
    let share = |q| shares.value_at_quantile(q) as f64 / 1000.0;
    let utilisation = (!shares.is_empty()).then(|| Utilisation {
        mean: shares.mean() / 1000.0,
        p50: share(0.5),
        p90: share(0.9),
        p99: share(0.99),
        max: shares.max() as f64 / 1000.0,
        waiting_max,
    });
    Seen { seconds, utilisation }
}
