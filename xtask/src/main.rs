//! The project's own chores, in Rust so that they run wherever the project builds.
//!
//! Invariant: a chore exits with 0 exactly if all that it checks holds; findings go to stderr.
//! Not here: the fuzz runner (`fuzz/main.rs`), a program of its own because it links what it
//! attacks.

mod bench;
mod sim;
mod tidy;
mod tree;

use std::process::{Command, ExitCode};

const HELP: &str = "\
usage: cargo xtask <chore>

  tidy                              what the house style leaves to machines
  fuzz [--seconds N] [--seed N] [TARGET …]   every parser and both session directions
  sim  [--seeds N] [--seed N]       the whole pooler on a simulated network
  bench [--help]                    side by side with PgBouncer on one PostgreSQL
";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let chore = words.next();
    let rest: Vec<String> = words.collect();
    let outcome = match chore.as_deref() {
        Some("tidy") => tidy::run(),
        Some("fuzz") => fuzz(&rest),
        Some("sim") => sim::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(HELP.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{}", why.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Starts the fuzz runner: built apart, optimised and with every check on.
fn fuzz(arguments: &[String]) -> Result<(), String> {
    let mut cargo = tree::cargo();
    cargo.args(["run", "--quiet", "--profile", "checked", "--package", "xtask"]);
    cargo.args(["--features", "fuzz", "--bin", "fuzz", "--"]).args(arguments);
    succeed(&mut cargo, "fuzz")
}

/// Runs a command in the foreground.
fn succeed(command: &mut Command, what: &str) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{what}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what}: {status}")) }
}
