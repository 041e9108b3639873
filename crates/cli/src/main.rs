//! The program `headpond`: parses the command line, calls the room that does the work, prints.
//!
//! Invariant: stdout is for results, stderr for everything else; exit codes are 0, 1 (run time),
//! 2 (usage) and 78 (configuration).
//! Not here: any pooling.

mod dev;
mod notify;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A PostgreSQL connection pooler.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// A private PostgreSQL with the pooler in front of it, ready to connect to
    Dev(dev::Options),
}

fn main() -> ExitCode {
    let Command::Dev(options) = Cli::parse().command;
    match dev::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("headpond dev: {why}");
            ExitCode::FAILURE
        }
    }
}
