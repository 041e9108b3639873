//! The library's pool beside others, in one run: every round visits every pool in turn, forward in
//! one and backward in the next. Prints a Markdown table for `docs/benchmarks.md`.

mod null;
mod pools;
mod scenario;
mod server;

use pools::{Bb8, Deadpool, Floor, Headpond, Mobc, Sqlx};
use scenario::{Figures, Plan};

/// Counts allocations, so that "0 allocations" is a measured figure.
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

pub fn allocations() -> usize {
    ALLOCATOR.stats().allocations
}

fn main() {
    let mut plan = Plan::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().and_then(|value| value.parse::<u32>().ok());
        match (word.as_str(), value) {
            ("--rounds", Some(rounds)) if rounds > 0 => plan.rounds = rounds,
            ("--milliseconds", Some(ms)) if ms > 0 => plan.window_ms = ms,
            _ => {
                eprintln!("usage: pool-bench [--rounds N] [--milliseconds N]");
                std::process::exit(2);
            }
        }
    }
    std::panic::set_hook(Box::new(|_| {}));
    let mut figures = Figures::default();
    for round in 0..plan.rounds {
        eprintln!("round {} of {}", round + 1, plan.rounds);
        let mut visits: Vec<fn(&Plan, &mut Figures)> = vec![
            scenario::visit::<Headpond>,
            scenario::visit::<Deadpool>,
            scenario::visit::<Bb8>,
            scenario::visit::<Sqlx>,
            scenario::visit::<Mobc>,
            scenario::visit::<Floor>,
        ];
        if round % 2 == 1 {
            visits.reverse();
        }
        for visit in visits {
            visit(&plan, &mut figures);
        }
    }
    println!("{}", figures.tables());
}
