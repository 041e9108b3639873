//! `headpond serve`, and PgBouncer's own spelling of it.
//!
//! Invariant: what was asked around the pooler (another account, the background, the
//! end of a parent) is done before the pooler starts; it runs in this very process.
//! Not here: the pooler.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use headpond_pooler::config::kind::Kind;
use headpond_pooler::config::{self, Config, Engine, Env};
use headpond_pooler::service::{self, StartError};
use rustix::process::Signal;

use crate::Failure;
use crate::account::Account;
use crate::notify::Readiness;
use crate::source::Argument;

/// What `headpond serve` can be told.
#[derive(clap::Args, Debug)]
pub struct Options {
    #[command(flatten)]
    pub(crate) source: Argument,
    /// Worker threads, 0 for one per core
    #[arg(long, value_name = "N")]
    workers: Option<u32>,
    /// How workers talk to the system: auto, epoll or io_uring
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    engine: Option<Engine>,
    /// Log to the log file only
    #[arg(short, long)]
    quiet: bool,
    /// More in the log; twice for still more
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Run in the background
    #[arg(short, long)]
    daemon: bool,
    /// Run as this user
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// End when the process that started this one ends
    #[arg(long, hide = true)]
    with_parent: bool,
    /// Leave the session of the terminal
    #[arg(long, hide = true)]
    detached: bool,
}

fn engine(text: &str) -> Result<Engine, String> {
    Engine::parse(text).map_err(|_| format!("expected {}", Engine::EXPECTS))
}

/// Serves until told to stop.
///
/// # Errors
/// Exit code 78 for a configuration, 1 for anything else.
pub fn run(options: Options) -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() || options.daemon {
        let config = load(&options)?;
        let user = options.user.as_deref().or(config.global.user.as_deref());
        if let Some(account) = user.map(other_account).transpose()?.flatten() {
            let program = own_program()?;
            let mut command = account.command(&program);
            // Only returns if it failed.
            return Err(Failure::path(&program, command.args(std::env::args_os().skip(1)).exec()));
        }
        if options.daemon {
            return in_background(&options, &config);
        }
    }
    if options.detached {
        rustix::process::setsid().map_err(|e| Failure::new(format!("new session: {e}")))?;
    }
    if options.with_parent {
        rustix::process::set_parent_process_death_signal(Some(Signal::INT))
            .map_err(|e| Failure::new(format!("death signal: {e}")))?;
    }
    let start = service::Options {
        workers: options.workers,
        engine: options.engine,
        quiet: options.quiet,
        verbose: options.verbose,
        ..service::Options::new(options.source.source())
    };
    service::run(start).map_err(|error| match error {
        StartError::Config(_) | StartError::File(_) => Failure::config(error.to_string()),
        StartError::System { .. } => Failure::new(error.to_string()),
    })
}

fn load(options: &Options) -> Result<Config, Failure> {
    let loaded = config::load(&options.source.source(), &Env::from_process());
    Ok(loaded.map_err(|errors| Failure::config(errors.to_string()))?.config)
}

fn own_program() -> Result<std::path::PathBuf, Failure> {
    std::env::current_exe().map_err(|e| Failure::new(format!("own program: {e}")))
}

/// Returns the account to change to; none if it is ours already.
fn other_account(name: &str) -> Result<Option<Account>, Failure> {
    let account = Account::named(name);
    let account = account.ok_or_else(|| Failure::config(format!("there is no user {name}")))?;
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Ok((account.ids() != Some(own)).then_some(account))
}

/// Starts the same again without a terminal, and ends when that one is ready.
fn in_background(options: &Options, config: &Config) -> Result<(), Failure> {
    for (key, path) in [("logfile", &config.global.logfile), ("pidfile", &config.global.pidfile)] {
        if path.is_none() {
            return Err(Failure::config(format!("--daemon needs {key} in the configuration")));
        }
    }
    let folder = tempfile::Builder::new().prefix("headpond-").tempdir();
    let folder = folder.map_err(|e| Failure::new(format!("no temporary folder: {e}")))?;
    let program = own_program()?;
    let mut command = Command::new(&program);
    command.args(["serve", "--quiet", "--detached"]);
    command.args(options.workers.map(|workers| format!("--workers={workers}")));
    command.args(options.engine.map(|engine| format!("--engine={engine}")));
    command.args((0..options.verbose).map(|_| "-v"));
    command.args(options.source.named());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(format!("no event loop: {e}")))?;
    runtime.block_on(async {
        let readiness = Readiness::new(folder.path());
        let readiness = readiness.map_err(|e| Failure::path(folder.path(), e))?;
        command.env("NOTIFY_SOCKET", readiness.path());
        let child = tokio::process::Command::from(command).spawn();
        let mut child = child.map_err(|e| Failure::path(&program, e))?;
        tokio::select! {
            ready = readiness.ready() => ready.map_err(|e| Failure::path(readiness.path(), e)),
            ended = child.wait() => Err(Failure::new(match ended {
                Ok(status) => format!("did not start ({status}); the log says why"),
                Err(error) => format!("did not start: {error}"),
            })),
        }
    })
}
