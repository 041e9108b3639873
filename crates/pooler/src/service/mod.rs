//! The process: start, signals, the control plane, reload, drain, end.
//!
//! Invariant: everything slow happens here, on threads that serve no client; a worker hears of the
//! result by mail.
//! Not here: serving clients (`worker/`), the settings (`config/`).

mod act;
mod ask;
mod bouncer;
mod check;
mod console;
mod control;
pub mod history;
mod listen;
mod observe;
mod push;
mod rates;
mod report;
mod signal;
mod slow;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
use std::sync::mpsc;

use headpond_core::Lane;
use tokio::sync::mpsc as async_mpsc;

use crate::cancel::Registry;
use crate::catalog::{Catalog, Lasting, StatementTable, View};
use crate::config::{self, Config, ConfigErrors, Env, LogFormat, Source};
use crate::engine::Engine;
use crate::engine::epoll::Epoll;
use crate::engine::uring::Uring;
use crate::log::{Destination, Format, Level, Log, Syslog};
use crate::worker::mailbox::Mailbox;
use crate::worker::{Load, Shared, Worker};

/// How to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the configuration is.
    pub source: Source,
    /// Worker threads; overrides the configuration.
    pub workers: Option<u32>,
    /// How workers talk to the system; overrides the configuration.
    pub engine: Option<config::Engine>,
    /// Nothing on the terminal.
    pub quiet: bool,
    /// More in the log.
    pub verbose: u8,
}

impl Options {
    /// Starts as the configuration says.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self { source, workers: None, engine: None, quiet: false, verbose: 0 }
    }

    /// Puts what the command line says over what the files say, at the start and at each reload.
    fn apply(&self, config: &mut Config) {
        if let Some(workers) = self.workers {
            config.headpond.workers = workers;
        }
        if let Some(engine) = self.engine {
            config.headpond.engine = engine;
        }
        if self.verbose > 0 {
            config.global.verbose = u32::from(self.verbose);
        }
    }
}

/// Why the process did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong (exit code 78).
    Config(ConfigErrors),
    /// A file that it names is wrong (exit code 78).
    File(String),
    /// The system refused something.
    System {
        /// What was attempted.
        what: String,
        /// What it said.
        error: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(errors) => errors.fmt(f),
            StartError::File(text) => f.write_str(text),
            StartError::System { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| StartError::System { what, error }
    }
}

/// Runs the pooler until it is told to stop.
///
/// # Errors
/// The configuration or the system does not allow the start.
pub fn run(options: Options) -> Result<(), StartError> {
    let loaded = config::load(&options.source, &Env::from_process()).map_err(StartError::Config)?;
    let mut config = loaded.config;
    options.apply(&mut config);
    let log = Log::start(log_format(&config), destination(&config, options.quiet));
    log.set_verbosity(u8::try_from(config.global.verbose).unwrap_or(u8::MAX));
    for warning in &loaded.warnings {
        log.line(Level::Warning, &warning.to_string());
    }
    let wanted = config.headpond.engine;
    let uring = match wanted {
        config::Engine::Epoll => false,
        // A kernel or a container that refuses it is no reason not to start, unless told.
        config::Engine::Auto => Uring::new().is_ok(),
        config::Engine::IoUring => true,
    };
    let result = if uring {
        start(config, options, log.clone(), Uring::new)
    } else {
        start(config, options, log.clone(), Epoll::new)
    };
    if let Err(error) = &result {
        log.line(Level::Fatal, &error.to_string());
    }
    log.flush();
    result
}

fn log_format(config: &Config) -> Format {
    match config.headpond.log_format {
        LogFormat::Json => Format::Json,
        LogFormat::Pgbouncer | LogFormat::Text => Format::Pgbouncer,
    }
}

pub(crate) fn destination(config: &Config, quiet: bool) -> Destination {
    let global = &config.global;
    let syslog = global.syslog.then(|| Syslog {
        socket: Syslog::SOCKET.into(),
        ident: global.syslog_ident.clone(),
        facility: global.syslog_facility.clone(),
    });
    Destination { file: global.logfile.clone(), terminal: !quiet, syslog }
}

/// What the control plane works with.
pub(crate) struct Process<E: Engine> {
    pub shared: Arc<Shared<E>>,
    pub options: Options,
    pub pidfile: Option<PathBuf>,
}

fn start<E>(
    config: Config,
    options: Options,
    log: Log,
    make: fn() -> io::Result<E>,
) -> Result<(), StartError>
where
    E: Engine<Handle = std::os::fd::OwnedFd> + 'static,
{
    let lanes = match config.headpond.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n as usize,
    };
    let lasting = Lasting::new(&config).map_err(StartError::File)?;
    let mut seed = [0u8; 8];
    getrandom::fill(&mut seed)
        .map_err(|error| StartError::system("random bytes")(io::Error::other(error.to_string())))?;
    let seed = u64::from_le_bytes(seed);
    let mut warn = |text: String| log.line(Level::Warning, &text);
    let view = View::read(config, &lasting, &mut warn).map_err(StartError::File)?;
    let bound = listen::bind(&view)?;
    let pidfile = listen::write_pidfile(&view)?;
    let http = listen::bind_http(&view)?;
    // Before anybody is served: it reads a file, and may be wrong.
    let history = history::open(&view.config, &log)?;
    let (asks, heard) = async_mpsc::unbounded_channel();
    let catalog = Catalog::new(view, lanes, seed);
    let (threads, wakers) = spawn(lanes, make)?;
    let shared = Arc::new(Shared {
        catalog,
        mailboxes: wakers.into_iter().map(Mailbox::new).collect(),
        loads: (0..lanes).map(|_| Load::default()).collect(),
        cancels: Registry::default(),
        statements: StatementTable::default(),
        next_id: AtomicU64::new(1),
        clients: AtomicU32::new(0),
        phase: AtomicU8::new(0),
        left: tokio::sync::Notify::new(),
        control: asks,
        log,
    });
    for thread in &threads {
        // A thread that ended already shows when it is joined.
        let _ = thread.shared.send(Arc::clone(&shared));
    }
    let process = Process { shared, options, pidfile };
    let ended = control::run(&process, heard, bound, http, history);
    for thread in threads {
        if let Err(error) = thread.handle.join() {
            std::panic::resume_unwind(error);
        }
    }
    if let Some(path) = &process.pidfile {
        // Another process may have replaced it; there is nothing to do about a failure.
        let _ = std::fs::remove_file(path);
    }
    ended
}

struct Thread<E: Engine> {
    handle: std::thread::JoinHandle<()>,
    shared: mpsc::Sender<Arc<Shared<E>>>,
}

/// Starts the workers; each makes its own engine and waits for what all share.
#[allow(clippy::type_complexity)]
fn spawn<E>(
    lanes: usize,
    make: fn() -> io::Result<E>,
) -> Result<(Vec<Thread<E>>, Vec<E::Waker>), StartError>
where
    E: Engine<Handle = std::os::fd::OwnedFd> + 'static,
{
    let mut threads = Vec::new();
    let mut wakers = Vec::new();
    for lane in 0..lanes {
        let lane = Lane(u16::try_from(lane).unwrap_or(u16::MAX));
        let (tell, told) = mpsc::channel();
        let (give, given) = mpsc::channel::<Arc<Shared<E>>>();
        let handle = std::thread::Builder::new()
            .name(format!("worker {}", lane.0))
            .spawn(move || work(lane, make, &tell, &given))
            .map_err(StartError::system("start a worker thread"))?;
        let waker = told
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the worker ended")))
            .map_err(StartError::system("start a worker"))?;
        wakers.push(waker);
        threads.push(Thread { handle, shared: give });
    }
    Ok((threads, wakers))
}

fn work<E>(
    lane: Lane,
    make: fn() -> io::Result<E>,
    tell: &mpsc::Sender<io::Result<E::Waker>>,
    given: &mpsc::Receiver<Arc<Shared<E>>>,
) where
    E: Engine<Handle = std::os::fd::OwnedFd> + 'static,
{
    let engine = match make() {
        Ok(engine) => engine,
        Err(error) => {
            let _ = tell.send(Err(error));
            return;
        }
    };
    let _ = tell.send(Ok(engine.waker()));
    let Ok(shared) = given.recv() else { return };
    let mut worker = Worker::new(lane, engine, Arc::clone(&shared));
    if let Err(error) = worker.run() {
        let text = format!("worker {} cannot go on: {error}", lane.0);
        shared.log.line(Level::Fatal, &text);
        shared.log.flush();
        std::process::abort();
    }
}
