//! pgbench through the pooler: every client finishes, no transaction fails, the sums are right.
//!
//! It logs in with SCRAM. `HEADPOND_TEST_SCALE` multiplies the transactions.

mod support;

use std::process::Command;

use support::postgres::{APP, APP_PASSWORD, Options, program};
use support::random::scaled;
use support::{Pooler, Postgres, Settings, Target};

const CLIENTS: usize = 64;
const POOL_SIZE: u32 = 8;

#[test]
fn reading_in_the_simple_protocol_fails_nothing() {
    read("simple");
}

#[test]
fn reading_in_the_extended_protocol_fails_nothing() {
    read("extended");
}

#[test]
fn reading_with_prepared_statements_fails_nothing() {
    read("prepared");
}

#[test]
fn writing_in_the_simple_protocol_keeps_the_balance() {
    write("simple");
}

#[test]
fn writing_in_the_extended_protocol_keeps_the_balance() {
    write("extended");
}

#[test]
fn writing_with_prepared_statements_keeps_the_balance() {
    write("prepared");
}

#[test]
fn a_connection_for_each_transaction_fails_nothing() {
    let (postgres, pooler) = start("simple");
    run(
        &postgres,
        pooler.as_ref(),
        &["-M", "simple", "-S", "-C", "-c", "8", "-j", "2"],
        8,
        scaled(20),
    );
}

fn read(protocol: &str) {
    let (postgres, pooler) = start(protocol);
    let transactions = scaled(100);
    let arguments = ["-M", protocol, "-S", "-c", "64", "-j", "2"];
    run(&postgres, pooler.as_ref(), &arguments, CLIENTS, transactions);
}

fn write(protocol: &str) {
    let (postgres, pooler) = start(protocol);
    let transactions = scaled(20);
    // pgbench waits for a preparation with its whole thread. Were there others in it that hold
    // servers in open transactions, it would wait for itself.
    let threads = if protocol == "prepared" { "64" } else { "2" };
    let arguments = ["-M", protocol, "-c", "64", "-j", threads];
    run(&postgres, pooler.as_ref(), &arguments, CLIENTS, transactions);
    let sum = |column, table| format!("(SELECT sum({column}) FROM pgbench_{table})");
    let sums = ["abalance-accounts", "tbalance-tellers", "bbalance-branches"].map(|pair| {
        let (column, table) = pair.split_once('-').expect("a column and its table");
        format!(", {} = {}", sum("delta", "history"), sum(column, table))
    });
    let sql = format!("SELECT (SELECT count(*) FROM pgbench_history){}", sums.concat());
    let expected = format!("{}|t|t|t", CLIENTS * transactions);
    assert_eq!(postgres.psql(APP, &sql).trim(), expected);
}

/// Starts both with pgbench's tables. PgBouncer before 1.21 takes prepared statements in session
/// mode only, and there each client needs a server.
fn start(protocol: &str) -> (Postgres, Box<dyn Pooler>) {
    let postgres = Postgres::start_with(&Options { max_connections: 80, ..Options::default() });
    let target = Target::from_env();
    let settings = if protocol == "prepared" && !target.tracks_statements() {
        Settings { pool_mode: "session", pool_size: 70, ..Settings::default() }
    } else {
        Settings { pool_size: POOL_SIZE, ..Settings::default() }
    };
    let pooler = target.start(&postgres, &settings);
    let mut command = pgbench(postgres.port());
    let output = command.args(["-i", "-q", "-s", "4", APP]).output().expect("pgbench runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (postgres, pooler)
}

fn run(
    postgres: &Postgres,
    pooler: &dyn Pooler,
    arguments: &[&str],
    clients: usize,
    transactions: usize,
) {
    let mut command = pgbench(pooler.place().port);
    command.args(["-n", "-t", &transactions.to_string()]).args(arguments).arg(APP);
    let output = command.output().expect("pgbench runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{complaints}");
    let all = clients * transactions;
    let processed = format!("number of transactions actually processed: {all}/{all}");
    assert!(text.contains(&processed), "{text}{complaints}");
    assert!(text.contains("number of failed transactions: 0 "), "{text}{complaints}");
    for word in ["error", "abort"] {
        assert!(!complaints.contains(word), "{complaints}");
    }
    for line in postgres.log().lines() {
        for code in [" 25001:", " 08P01:", " 42P05:", " 26000:"] {
            assert!(!line.contains(code), "in the server's log: {line}");
        }
    }
}

fn pgbench(port: u16) -> Command {
    let mut command = Command::new(program("pgbench"));
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", APP]);
    command.env("PGPASSWORD", APP_PASSWORD);
    command
}
