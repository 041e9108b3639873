//! Clients that are logged in and do nothing.

use std::time::{Duration, Instant};

use crate::raw::{Raw, Way};
use crate::support::pooler::Headpond;
use crate::support::postgres::APP;
use crate::support::{Pooler, Postgres, Settings, Target};
use crate::usage::{MIB, Usage, assert_calm, grown};
use crate::wished;

const WINDOW: Duration = Duration::from_secs(3);
/// From here on, and with an optimised pooler, memory decides.
const FULL: usize = 5_000;
/// What may come at once, whoever comes: tables that double.
const ALLOWANCE: u64 = MIB;

#[test]
fn idle_clients_take_no_time_and_little_memory() {
    let count = wished("HEADPOND_TEST_IDLE", 1_000);
    let postgres = Postgres::start();
    let pooler = start(&postgres, 2 * count);
    let usage = Usage::of(pooler.pid());
    let way = Way::unix(pooler.place());
    let first: Vec<Raw> = (0..50).map(|_| Raw::enter(&way, APP)).collect();
    let before = usage.memory();
    let clients: Vec<Raw> = (0..count).map(|_| Raw::enter(&way, APP)).collect();
    let after = usage.memory();
    let each = after.saturating_sub(before) / count as u64;
    println!("{count} idle clients: {:.2} MiB, {each} bytes each", grown(before, after));
    let ticks = ticks_of(usage, &pooler);
    println!("{ticks} ticks in {WINDOW:?}");
    assert!(ticks <= 2, "idle clients took {ticks} ticks");
    if count >= FULL && is_optimised() {
        let most = before + count as u64 * 1024 + ALLOWANCE;
        assert!(after <= most, "{:.2} MiB for {count} clients", grown(before, after));
    }
    assert_calm(pooler.log());
    drop((first, clients));
}

/// Returns what the pooler uses in a window in which nobody asks for anything.
fn ticks_of(usage: Usage, pooler: &Headpond) -> u64 {
    let (before, began) = (usage.ticks(), Instant::now());
    while let Some(left) = WINDOW.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        assert!(pooler.log().wait_change(left), "the pooler lives");
    }
    usage.ticks() - before
}

fn is_optimised() -> bool {
    let named = std::env::var("HEADPOND_TEST_BINARY").unwrap_or_default();
    named.contains("release") || (named.is_empty() && !cfg!(debug_assertions))
}

fn start(postgres: &Postgres, clients_max: usize) -> Headpond {
    let keys =
        vec![("max_client_conn", clients_max.to_string()), ("log_connections", "0".to_owned())];
    let settings = Settings { auth_type: "trust", keys, ..Settings::default() };
    Headpond::start("pgbouncer.ini", |place| settings.ini(postgres, place, Target::Headpond))
}
