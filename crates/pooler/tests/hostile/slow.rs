//! Clients that ask for much and read nothing, and messages larger than any buffer.

use std::time::Instant;

use crate::raw::{Raw, Way};
use crate::support::message::Messages;
use crate::support::pooler::Headpond;
use crate::support::postgres::APP;
use crate::support::process::PATIENCE;
use crate::support::{Pooler, Postgres, Settings, Target};
use crate::usage::{MIB, Usage, assert_calm, grown};

const READERS: u32 = 20;
const HUGE: usize = 256 << 20;

fn start(postgres: &Postgres) -> Headpond {
    let settings = Settings { auth_type: "trust", pool_size: READERS + 2, ..Settings::default() };
    Headpond::start("pgbouncer.ini", |place| settings.ini(postgres, place, Target::Headpond))
}

#[test]
fn clients_that_do_not_read_cost_little_and_delay_nobody() {
    let postgres = Postgres::start();
    let pooler = start(&postgres);
    let usage = Usage::of(pooler.pid());
    for way in [Way::tcp(pooler.place()), Way::unix(pooler.place())] {
        let mut other = Raw::enter(&way, APP);
        other.ask(&Messages::new().query("SELECT 1"));
        let mut readers: Vec<Raw> = (0..READERS).map(|_| Raw::enter(&way, APP)).collect();
        let before = usage.memory();
        usage.forget_peak();
        let much = "SELECT repeat('x', 8000) FROM generate_series(1, 8192)";
        readers.iter_mut().for_each(|reader| reader.send(Messages::new().query(much).bytes()));
        wait_until_stuck(&postgres);
        for _ in 0..200 {
            other.ask(&Messages::new().query("SELECT 1"));
        }
        let peak = usage.peak();
        println!("{READERS} slow readers: {:.2} MiB", grown(before, peak));
        assert!(peak <= before + 8 * MIB, "{:.2} MiB for slow readers", grown(before, peak));
        // One of them reads after all: nothing is missing.
        let mut reader = readers.pop().expect("there are some");
        assert!(reader.answer() > 8_000 * 8_192);
        drop(readers);
        wait_until_gone(&postgres);
        other.ask(&Messages::new().query("SELECT 1"));
    }
    assert_calm(pooler.log());
}

#[test]
fn a_message_larger_than_any_buffer_passes_in_either_direction() {
    let postgres = Postgres::start();
    let pooler = start(&postgres);
    let usage = Usage::of(pooler.pid());
    let mut client = Raw::enter(&Way::tcp(pooler.place()), APP);
    client.ask(&Messages::new().query("SELECT repeat('x', 1000000)"));
    let before = usage.memory();
    let measure = |name: &str| {
        let peak = usage.peak();
        println!("{name}: {:.2} MiB", grown(before, peak));
        assert!(peak <= before + 4 * MIB, "{name}: {:.2} MiB", grown(before, peak));
        usage.forget_peak();
    };
    usage.forget_peak();
    let head = b"SELECT 1 --";
    let length = u32::try_from(4 + head.len() + HUGE + 1).expect("below the limit");
    client.send(&[&b"Q"[..], &length.to_be_bytes(), head].concat());
    let text = vec![b'x'; 1 << 20];
    (0..HUGE / text.len()).for_each(|_| client.send(&text));
    client.send(b"\0");
    assert!(client.answer() < 1_000);
    measure("a query of 256 MiB");
    let row = Messages::new().query(&format!("SELECT repeat('x', {HUGE})"));
    assert!(client.ask(&row) > HUGE as u64);
    measure("one value of 256 MiB");
    let rows = "SELECT repeat('x', 8000) FROM generate_series(1, 33000)";
    assert!(client.ask(&Messages::new().query(rows)) > 8_000 * 33_000);
    measure("rows of 256 MiB");
    assert_calm(pooler.log());
}

/// Waits until every backend of the slow readers waits for us to read.
fn wait_until_stuck(postgres: &Postgres) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite'";
    wait_for(postgres, sql, &READERS.to_string());
}

/// Waits until no backend works for a client that is gone.
fn wait_until_gone(postgres: &Postgres) {
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE usename = 'app' AND state <> 'idle'";
    wait_for(postgres, sql, "0");
}

fn wait_for(postgres: &Postgres, sql: &str, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = postgres.psql("postgres", sql);
        if found.trim() == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{sql}: {found} and not {wanted}");
    }
}
