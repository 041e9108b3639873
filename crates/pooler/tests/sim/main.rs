//! The simulation: the whole pooler, in one thread, on a network where everything goes wrong.
//!
//! Workers share a catalog as in the daemon; the clients and the PostgreSQL servers are played
//! here, and the clock is the network's. A seed decides everything, so what it has found once it
//! finds again.
//!
//! Laws: no byte of an answer reaches a client that did not ask; a transaction stays on one
//! backend; no limit is exceeded; no waiter is lost; no cancel hits a query that it was not meant
//! for; when all is over, nothing is left of anybody.
//!
//! `HEADPOND_SIM_SEEDS` says how many seeds are run, `HEADPOND_SIM_FIRST` from where on,
//! `HEADPOND_SIM_SEED` replays one and tells everything.

mod chaos;
mod client;
mod ledger;
mod plan;
mod random;
mod script;
mod server;
mod session;
mod strangers;
mod tag;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use headpond_pooler::log::{Destination, Format, Log};
use headpond_wire::session::mutant::{self, Mutant};

use ledger::Tally;
use world::{Files, World};

/// Enough to meet every kind of trouble, little enough for an unoptimised build.
const SEEDS: u64 = 60;
/// A mistake that is not found within so many seeds would not be found in time.
const SEEDS_PER_MUTANT: u64 = 300;

/// A mistake on purpose is for all threads: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

struct Found {
    seed: u64,
    violations: Vec<String>,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Runs seeds on all cores until one breaks a law.
fn explore(first: u64, many: u64) -> (Tally, Option<Found>) {
    let next = AtomicU64::new(first);
    let total = Mutex::new(Tally::default());
    let found: Mutex<Option<Found>> = Mutex::new(None);
    let log = Log::start(Format::Pgbouncer, Destination::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut files = Some(Files::new());
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let over = found.lock().unwrap_or_else(PoisonError::into_inner).is_some();
                    if over || seed >= first + many {
                        return;
                    }
                    let place = files.take().unwrap_or_else(Files::new);
                    let (tally, violations, place) = run(seed, place, &log, false);
                    files = place;
                    total.lock().unwrap_or_else(PoisonError::into_inner).add(&tally);
                    if !violations.is_empty() {
                        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                        found.get_or_insert(Found { seed, violations });
                    }
                }
            });
        }
    });
    let total = *total.lock().unwrap_or_else(PoisonError::into_inner);
    (total, found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Runs one seed; a panic is a violation too.
fn run(seed: u64, files: Files, log: &Log, told: bool) -> (Tally, Vec<String>, Option<Files>) {
    let result = catch_unwind(AssertUnwindSafe(|| World::new(seed, files, log, told).run()));
    match result {
        Ok((ledger, files)) => (ledger.tally, ledger.violations, Some(files)),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default();
            (Tally::default(), vec![format!("panic: {text}")], None)
        }
    }
}

fn fail(found: &Found) -> ! {
    let Found { seed, violations } = found;
    panic!(
        "seed {seed} breaks the law:\n  {}\nreplay it with\n  HEADPOND_SIM_SEED={seed} cargo test \
         --package headpond-pooler --test sim no_seed -- --nocapture\n",
        violations.join("\n  ")
    );
}

#[test]
fn no_seed_breaks_a_law() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(seed) = number("HEADPOND_SIM_SEED") {
        let log =
            Log::start(Format::Pgbouncer, Destination { terminal: true, ..Destination::default() });
        let (tally, violations, _) = run(seed, Files::new(), &log, true);
        println!("{tally:#?}");
        if !violations.is_empty() {
            fail(&Found { seed, violations });
        }
        return;
    }
    let first = number("HEADPOND_SIM_FIRST").unwrap_or(1);
    let many = number("HEADPOND_SIM_SEEDS").unwrap_or(SEEDS);
    let start = Instant::now();
    let (tally, found) = explore(first, many);
    let seconds = start.elapsed().as_secs_f64();
    println!("{tally:#?}\n{:.1} seeds per second", tally.seeds as f64 / seconds);
    if let Some(found) = found {
        fail(&found);
    }
    assert!(tally.answers > tally.clients, "a run that proves nothing");
}

fn is_caught(mistake: Mutant) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    mutant::make(Some(mistake));
    let (tally, found) = explore(1, SEEDS_PER_MUTANT);
    mutant::make(None);
    let found = found.unwrap_or_else(|| panic!("{mistake:?} was not caught: {tally:?}"));
    println!("{mistake:?}: seed {} after {}: {}", found.seed, tally.seeds, found.violations[0]);
}

#[test]
fn a_server_handed_over_one_reply_early_is_caught() {
    is_caught(Mutant::EarlyRelease);
}

#[test]
fn a_server_handed_over_while_a_cancel_is_under_way_is_caught() {
    is_caught(Mutant::NoLease);
}

#[test]
fn an_unnamed_statement_of_another_client_is_caught() {
    is_caught(Mutant::ForeignUnnamed);
}

#[test]
fn settings_that_stay_behind_are_caught() {
    is_caught(Mutant::NoSettle);
}
