//! `cargo xtask bench`: Headpond and PgBouncer side by side on the same PostgreSQL.
//!
//! Invariant: what is compared was measured in the same run, in turns (A B, B A); a figure is a
//! median of rounds and stands beside its minimum and maximum.
//! Not here: any claim. The ratios that a release must reach are in `cells.rs`; missing one is
//! shown, not hidden, and fails nothing.

mod account;
mod cells;
mod figures;
mod idle;
mod options;
mod pgbench;
mod process;
mod report;
mod server;
mod subject;
mod watcher;

use cells::{Cell, Work};
use figures::{Measured, Row, Sample};
use options::Options;
use server::Server;
use subject::{Subject, WATCHED};
use watcher::Watcher;

/// Measures and prints; a complete run writes `docs/benchmarks.md` too.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let Some(options) = Options::parse(arguments)? else {
        print!("{}", options::HELP);
        return Ok(());
    };
    process::raise_file_limit();
    let server = Server::start()?;
    let mut rows = Vec::new();
    for cell in cells::all() {
        if !options.wants(cell.key) {
            continue;
        }
        let subjects = subject::lineup(&options, &cell);
        eprintln!("{} …", cell.title);
        let row = match cell.work {
            Work::Idle => idle_row(&server, &options, cell, &subjects)?,
            Work::Watched => watched_row(&server, &options, cell, &subjects)?,
            _ => row(&server, &options, cell, &subjects)?,
        };
        eprint!("{}", report::text(&row));
        rows.push(row);
    }
    let measured = Measured { rows, server: server.describe(), subjects: subject::all(&options) };
    drop(server);
    println!("{}", report::markdown(&measured, &options));
    report::keep(&measured, &options)
}

/// Measures one cell: all its poolers run, and take turns.
fn row(
    server: &Server,
    options: &Options,
    cell: Cell,
    subjects: &[Subject],
) -> Result<Row, String> {
    let running: Vec<_> =
        subjects.iter().map(|subject| subject.start(server)).collect::<Result<_, _>>()?;
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); subjects.len()];
    // The first transactions open the servers and warm every cache.
    for pooler in &running {
        pgbench::run(server, pooler, &cell, 1, None)?;
    }
    let rate = match cell.work {
        Work::Paced => Some(pgbench::half_of_capacity(server, &running[0], &cell)?),
        _ => None,
    };
    for round in 0..options.rounds {
        let mut order: Vec<usize> = (0..running.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let sample = pgbench::run(server, &running[index], &cell, options.seconds, rate)?;
            samples[index].push(sample);
        }
    }
    let names = subjects.iter().map(|subject| subject.key);
    Ok(Row { cell, rate, samples: names.zip(samples).collect() })
}

/// Measures what watching costs: the same pooler with and without somebody who watches, in turns.
fn watched_row(
    server: &Server,
    options: &Options,
    cell: Cell,
    subjects: &[Subject],
) -> Result<Row, String> {
    let Some(subject) = subjects.first() else {
        return Ok(Row { cell, rate: None, samples: Vec::new() });
    };
    let http = server::free_port()?;
    let pooler = subject.start_at(server, Some(http))?;
    pgbench::run(server, &pooler, &cell, 1, None)?;
    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    // At rest what watching takes is seen alone.
    let rest_alone = idle::cpu_at_rest(&pooler)?;
    let watcher = Watcher::start(http);
    let rest_watched = idle::cpu_at_rest(&pooler)?;
    watcher.stop()?;
    for round in 0..2 * options.rounds {
        for is_watched in [round % 2 == 0, round % 2 == 1] {
            let watcher = is_watched.then(|| Watcher::start(http));
            let sample = pgbench::run(server, &pooler, &cell, options.seconds, None)?;
            if let Some(watcher) = watcher {
                watcher.stop()?;
                watched.push(Sample { idle_cpu_ms_per_s: rest_watched, ..sample });
            } else {
                alone.push(Sample { idle_cpu_ms_per_s: rest_alone, ..sample });
            }
        }
    }
    Ok(Row { cell, rate: None, samples: vec![(subject.key, alone), (WATCHED, watched)] })
}

/// Measures what idle clients cost; memory is the same in every round, so that one is enough.
fn idle_row(
    server: &Server,
    options: &Options,
    cell: Cell,
    subjects: &[Subject],
) -> Result<Row, String> {
    let mut samples = Vec::new();
    for subject in subjects {
        let pooler = subject.start(server)?;
        samples.push((subject.key, vec![idle::measure(&pooler, options.quick)?]));
    }
    Ok(Row { cell, rate: None, samples })
}
