//! The program `headpond`: parses the command line, calls the room that does the work, prints.
//!
//! Invariant: stdout is for results, stderr for everything else; exit codes are 0, 1 (run time),
//! 2 (usage), 3 (a threshold of `bench` was crossed) and 78 (configuration).
//! Not here: any pooling.

mod account;
mod ask;
mod bench;
mod check;
mod dev;
mod notify;
mod plan;
mod serve;
mod source;
mod tune;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What clap ends with when the command line is wrong.
const EXIT_USAGE: u8 = 2;

/// A threshold of `bench` was crossed.
const EXIT_THRESHOLD: u8 = 3;

/// What sysexits.h calls EX_CONFIG.
const EXIT_CONFIG: u8 = 78;

/// Pools PostgreSQL connections; reads PgBouncer's settings and answers on its console.
#[derive(Parser)]
#[command(
    name = "headpond",
    args_conflicts_with_subcommands = true,
    disable_version_flag = true,
    after_help = "As PgBouncer is started: headpond [-qvd] [-u USER] pgbouncer.ini"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print the version
    #[arg(short = 'V', long)]
    version: bool,
    /// Take over from a running process
    #[arg(short = 'R', long, hide = true)]
    reboot: bool,
    #[command(flatten)]
    serve: serve::Options,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Pool: from pgbouncer.ini, headpond.toml, or the URL of a database alone
    Serve(serve::Options),
    /// Read a configuration and everything it names, and say all that is wrong with it
    Check(check::Options),
    /// A private PostgreSQL with the pooler in front of it, ready to connect to
    Dev(dev::Options),
    /// How a running pooler is; the exit code says it too
    Health(ask::Health),
    /// The pools and databases of a running pooler
    Status(ask::Status),
    /// A running pooler on a whole terminal, live: pools, waits, holders, clients, servers, alerts
    Top(ask::Top),
    /// What fires; try the routes of alerts, or silence them
    Alerts(ask::Alerts),
    /// What to change in a running pooler, why, and what to expect
    Advise(ask::Advise),
    /// Measure a load: throughput, percentiles, errors; or compare two results
    Bench(Box<bench::Options>),
    /// Find the best number of connections by measured runs, or from metrics
    Tune(Box<tune::Options>),
    /// What if: simulate pool sizes, instances, bursts and failovers, without any server
    Plan(Box<plan::Options>),
}

/// Why the program ends without success: what to say, and the exit code.
pub struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    /// Something at run time.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 1 }
    }

    /// What was asked for makes no sense.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: EXIT_USAGE }
    }

    /// A load test did not keep what was asked of it.
    pub fn threshold(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: EXIT_THRESHOLD }
    }

    /// The configuration is wrong.
    pub fn config(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: EXIT_CONFIG }
    }

    /// What to say.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A file or folder that cannot be used.
    pub fn path(path: &std::path::Path, error: std::io::Error) -> Self {
        Self::new(format!("{}: {error}", path.display()))
    }
}

fn main() -> ExitCode {
    // The allocator asks for huge pages, of which a pooler with many small clients fills little:
    // measured, 2 MiB more at every few hundred clients. Without them it is only larger.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("headpond: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    if cli.version {
        println!("{}", headpond_pooler::VERSION_LINE);
        return Ok(ExitCode::SUCCESS);
    }
    if cli.reboot {
        return Err(Failure::new(
            "--reboot: taking over a running process is not possible yet; with so_reuseport = 1 \
             the new process starts beside the old one, which SIGTERM then drains",
        ));
    }
    let done = match cli.command {
        Some(Command::Serve(options)) => serve::run(options),
        Some(Command::Check(options)) => check::run(&options),
        Some(Command::Dev(options)) => dev::run(&options),
        Some(Command::Health(options)) => return ask::health(&options),
        Some(Command::Status(options)) => return ask::status(&options),
        Some(Command::Top(options)) => return ask::top(&options),
        Some(Command::Alerts(options)) => return ask::alerts(&options),
        Some(Command::Advise(options)) => return ask::advise(&options),
        Some(Command::Bench(options)) => bench::run(*options),
        Some(Command::Tune(options)) => tune::run(*options),
        Some(Command::Plan(options)) => plan::run(*options),
        None => serve::run(cli.serve),
    };
    done.map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_file_alone_is_served_as_pgbouncer_would() {
        let cli = Cli::try_parse_from(["headpond", "-q", "-v", "-v", "pgbouncer.ini"]);
        let cli = cli.unwrap_or_else(|error| panic!("{error}"));
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.source.named(), Some("pgbouncer.ini"));
    }

    #[test]
    fn a_subcommand_is_no_file() {
        let cli = Cli::try_parse_from(["headpond", "serve", "--workers", "3", "a.ini"]);
        let cli = cli.unwrap_or_else(|error| panic!("{error}"));
        let Some(Command::Serve(options)) = cli.command else { panic!("serve") };
        assert_eq!(options.source.named(), Some("a.ini"));
    }
}
