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
    let mut write = None;
    let mut plan = Plan::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        let number = value.parse::<u32>().ok().filter(|number| *number > 0);
        match (word.as_str(), number) {
            ("--rounds", Some(rounds)) => plan.rounds = rounds,
            ("--milliseconds", Some(ms)) => plan.window_ms = ms,
            ("--write", None) => write = Some(value),
            ("--pools", None) => plan.pools = Some(value),
            ("--scenarios", None) => plan.scenarios = Some(value),
            _ => {
                eprintln!(
                    "usage: pool-bench [--rounds N] [--milliseconds N] [--pools NAME,…] \
                     [--scenarios a,c,e,f,g,h] [--write FILE]"
                );
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
    let tables = figures.tables(plan.rounds, plan.window_ms);
    println!("{tables}");
    if let Some(file) = write {
        replace(&file, &tables);
    }
}

/// Replaces the measured part of a page, between its marks.
fn replace(file: &str, tables: &str) {
    const BEGIN: &str =
        "<!-- library: everything down to the next mark is written by `make bench-pool` -->\n";
    const END: &str = "<!-- library: end -->";
    let page = std::fs::read_to_string(file).expect("the page can be read");
    let begin = page.find(BEGIN).expect("the page has the first mark") + BEGIN.len();
    let end = page.find(END).expect("the page has the last mark");
    let page = format!("{}\n{tables}\n{}", &page[..begin], &page[end..]);
    std::fs::write(file, page).expect("the page can be written");
}
