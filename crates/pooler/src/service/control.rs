//! The control plane: one thread that answers workers, signals, the console and HTTP.
//!
//! Invariant: a drain fails `/readyz` before it closes anything; it ends by its deadline.
//! Not here: what the console says (`console.rs`), the numbers (`report.rs`).

use std::sync::Arc;
use std::time::Duration;

use headpond_monitor::history::Store;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::console::{self, Asker};
use super::listen::Bound;
use super::rates::Rates;
use super::signal::{Asked, Signals};
use super::{Process, StartError, observe, push, slow};
use crate::admin::Role;
use crate::catalog::{Forgotten, View};
use crate::config::change::Changes;
use crate::config::{self, Env};
use crate::control::{Ask, Mail};
use crate::engine::{Engine, clock};
use crate::log::Level;
use crate::worker::{RunPhase, Shared};

/// How often a drain looks whether it is over, besides being told.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is looked whether a PAUSE or WAIT_CLOSE is over: somebody waits for it, and what
/// is stopped meanwhile waits for them.
const LOOK_WAITING: Duration = Duration::from_millis(5);
/// How long workers may take to close everything.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// What the loop keeps between events.
pub(super) struct State<'a, E: Engine> {
    pub process: &'a Process<E>,
    pub rates: Rates,
    /// Console clients whose PAUSE or WAIT_CLOSE is not over.
    pub waiting: Vec<console::Waiting>,
    monitor: Arc<headpond_monitor::Monitor>,
    stop_at: Option<Instant>,
    files: Vec<std::path::PathBuf>,
}

/// Runs until the process is to end.
pub(super) fn run<E: Engine<Handle = std::os::fd::OwnedFd> + 'static>(
    process: &Process<E>,
    heard: mpsc::UnboundedReceiver<Ask>,
    bound: Bound,
    http: Option<std::net::TcpListener>,
    history: Option<Store>,
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_name("control")
        .build()
        .map_err(StartError::system("start the control plane"))?;
    let result = runtime.block_on(serve(process, heard, bound, http, history));
    process.shared.set_phase(RunPhase::Stopping);
    process.shared.post_all(|| Mail::Stop);
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn serve<E: Engine<Handle = std::os::fd::OwnedFd> + 'static>(
    process: &Process<E>,
    mut heard: mpsc::UnboundedReceiver<Ask>,
    bound: Bound,
    http: Option<std::net::TcpListener>,
    history: Option<Store>,
) -> Result<(), StartError> {
    let shared = &process.shared;
    let mut signals = Signals::new()?;
    let names = bound.names.join(", ");
    let listeners = Mail::Listen { tcp: bound.tcp, unix: bound.unix };
    shared.post(headpond_core::Lane(0), listeners);
    let (stop_tasks, tasks_stopped) = watch::channel(false);
    let watched = observe::start(shared, history)?;
    let http_task = match http {
        Some(listener) => Some(start_http(process, &watched, listener, tasks_stopped.clone())?),
        None => None,
    };
    let push_task = push::start(shared, &watched, tasks_stopped)?;
    let text = format!("{} up, listening on {names}", crate::VERSION_LINE);
    shared.log.line(Level::Log, &text);
    notify(&[sd_notify::NotifyState::Ready]);
    let mut state = State {
        process,
        rates: Rates::new(),
        waiting: Vec::new(),
        monitor: watched,
        stop_at: None,
        files: bound.files,
    };
    let mut next_stats = Instant::now() + state.stats_period();
    let mut forgot_at = Instant::now();
    loop {
        let look = state.next_look();
        let forget_at = forgot_at + shared.catalog.forget_period();
        let busy = state.stop_at.is_some() || !state.waiting.is_empty();
        tokio::select! {
            ask = heard.recv() => match ask {
                Some(ask) => if state.on_ask(ask) { break },
                None => break,
            },
            asked = signals.next() => if state.on_signal(asked) { break },
            () = shared.left.notified() => {}
            () = sleep_until(look), if busy => {}
            () = sleep_until(next_stats) => {
                next_stats = Instant::now() + state.stats_period();
                state.rates.turn(&shared.catalog, &shared.log);
            }
            () = sleep_until(forget_at) => {
                forgot_at = Instant::now();
                state.forget_unused();
            }
        }
        state.answer_waiting();
        if state.is_drained() {
            break;
        }
    }
    notify(&[sd_notify::NotifyState::Stopping]);
    shared.set_phase(RunPhase::Stopping);
    shared.post_all(|| Mail::Stop);
    let _ = stop_tasks.send(true);
    let end_at = Instant::now() + STOP_WAIT;
    for task in [http_task, push_task].into_iter().flatten() {
        // They end by themselves once told, the pusher after a last push; a slow reader of a page
        // and a slow receiver do not hold up the end.
        let _ = tokio::time::timeout_at(end_at, task).await;
    }
    // What was seen of the minute that has begun is written before the end.
    let monitor = Arc::clone(&state.monitor);
    if let Err(error) = tokio::task::spawn_blocking(move || monitor.close()).await {
        shared.log.line(Level::Error, &format!("history: {error}"));
    }
    for file in &state.files {
        // A socket file that is gone already needs no removal.
        let _ = std::fs::remove_file(file);
    }
    shared.log.line(Level::Log, "stopped");
    Ok(())
}

fn start_http<E: Engine<Handle = std::os::fd::OwnedFd> + 'static>(
    process: &Process<E>,
    monitor: &Arc<headpond_monitor::Monitor>,
    listener: std::net::TcpListener,
    mut stopped: watch::Receiver<bool>,
) -> Result<tokio::task::JoinHandle<()>, StartError> {
    let listener =
        tokio::net::TcpListener::from_std(listener).map_err(StartError::system("http.listen"))?;
    let router = monitor.router();
    let view = process.shared.catalog.view();
    let http = &view.config.http;
    let tls = match (http.tls_cert_file.clone(), http.tls_key_file.clone()) {
        (Some(cert), Some(key)) => {
            let made = crate::tls::web_server(cert, key);
            Some(made.map_err(|error| StartError::File(format!("http: {error}")))?)
        }
        _ => None,
    };
    let names = http.names.iter().map(str::to_owned).collect();
    let options = headpond_monitor::Options { tls, names, ..headpond_monitor::Options::default() };
    let log = process.shared.log.clone();
    Ok(tokio::spawn(async move {
        let stop = async move {
            // An error means that the sender is gone: stop as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        if let Err(error) = headpond_monitor::serve_with(listener, router, &options, stop).await {
            log.line(Level::Error, &format!("http: {error}"));
        }
    }))
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Without systemd there is nobody to notify.
    let _ = sd_notify::notify(states);
}

impl<E: Engine<Handle = std::os::fd::OwnedFd> + 'static> State<'_, E> {
    pub(super) fn shared(&self) -> &Arc<Shared<E>> {
        &self.process.shared
    }

    fn stats_period(&self) -> Duration {
        let period = self.shared().catalog.view().config.global.stats_period;
        period.max(Duration::from_secs(1))
    }

    fn next_look(&self) -> Instant {
        let period = if self.waiting.is_empty() { LOOK } else { LOOK_WAITING };
        let soon = Instant::now() + period;
        self.stop_at.map_or(soon, |at| at.min(soon))
    }

    /// Answers a worker; true if the process must end.
    fn on_ask(&mut self, ask: Ask) -> bool {
        let shared = Arc::clone(self.shared());
        match ask {
            Ask::Admin { lane, caller, admin, text } => {
                let role = if admin { Role::Admin } else { Role::Stats };
                return self.on_command(Asker { lane, caller }, role, &text);
            }
            Ask::AdminCancel { lane, caller } => self.on_cancel(Asker { lane, caller }),
            Ask::AdminLeft { lane, caller } => self.on_left(Asker { lane, caller }),
            Ask::Salt { lane, server, password, salt, iterations } => {
                tokio::spawn(slow::salt(shared, lane, server, password, salt, iterations));
            }
            Ask::Secret { lane, caller, user, password } => {
                tokio::spawn(slow::secret(shared, lane, caller, user, password));
            }
            Ask::Act { action, actor, answer } => self.act(action, &actor, answer),
            Ask::Resolve { lane, server, database } => {
                tokio::spawn(slow::resolve(shared, lane, server, database));
            }
        }
        false
    }

    fn on_signal(&mut self, asked: Asked) -> bool {
        let phase = self.shared().phase();
        let log = self.shared().log.clone();
        match asked {
            Asked::Reload => {
                log.line(Level::Log, "got SIGHUP, re-reading config");
                // The reason is in the log; the old configuration stays.
                let _ = self.reload();
            }
            Asked::WaitForClients if phase == RunPhase::WaitingForClients => return true,
            Asked::WaitForServers if phase == RunPhase::WaitingForServers => return true,
            Asked::WaitForClients => {
                log.line(Level::Log, "got SIGTERM, waiting for clients to leave");
                self.drain(RunPhase::WaitingForClients);
            }
            Asked::WaitForServers => {
                log.line(Level::Log, "got SIGINT, waiting for servers to be free");
                self.drain(RunPhase::WaitingForServers);
            }
            Asked::StopNow => {
                log.line(Level::Log, "got SIGQUIT, stopping now");
                return true;
            }
            Asked::Pause => {
                log.line(Level::Log, "got SIGUSR1, pausing all activity");
                self.pause_all(true);
            }
            Asked::Resume if phase != RunPhase::Running => {
                log.line(Level::Log, "got SIGUSR2 while shutting down, ignoring");
            }
            Asked::Resume => {
                log.line(Level::Log, "got SIGUSR2, continuing from PAUSE");
                self.pause_all(false);
            }
        }
        false
    }

    /// Starts to end: no new clients from here on.
    pub(super) fn drain(&mut self, phase: RunPhase) {
        self.shared().set_phase(phase);
        notify(&[sd_notify::NotifyState::Stopping]);
        self.shared().post(headpond_core::Lane(0), Mail::StopListening);
        let timeout = self.shared().catalog.view().config.headpond.drain_timeout;
        if !timeout.is_zero() {
            self.stop_at = Some(Instant::now() + timeout);
        }
        if phase == RunPhase::WaitingForServers {
            self.pause_all(true);
        }
        if self.stop_at.is_none() {
            self.stop_at = Some(Instant::now() + Duration::from_secs(u64::from(u32::MAX)));
        }
    }

    fn is_drained(&self) -> bool {
        let shared = self.shared();
        let late = self.stop_at.is_some_and(|at| Instant::now() >= at);
        let clients = shared.clients.load(std::sync::atomic::Ordering::Acquire);
        match shared.phase() {
            RunPhase::Running => false,
            RunPhase::Stopping => true,
            RunPhase::WaitingForClients => {
                if late && clients > 0 {
                    let text = format!("drain_timeout is over, closing {clients} clients");
                    shared.log.line(Level::Warning, &text);
                } else if clients == 0 {
                    shared.log.line(Level::Log, "client connections dropped, exiting");
                }
                late || clients == 0
            }
            RunPhase::WaitingForServers => {
                let used = self.servers_in_use();
                if late && used > 0 {
                    let text = format!("drain_timeout is over, closing {used} servers in use");
                    shared.log.line(Level::Warning, &text);
                } else if used == 0 {
                    shared.log.line(Level::Log, "server connections dropped, exiting");
                }
                late || used == 0
            }
        }
    }

    /// Servers that are with clients.
    pub(super) fn servers_in_use(&self) -> u32 {
        let pools = self.shared().catalog.pools();
        pools.iter().map(|pool| pool.core.lock().counts().in_use).sum()
    }

    /// Pauses or resumes every pool.
    pub(super) fn pause_all(&mut self, pause: bool) {
        let shared = self.shared();
        shared.catalog.set_paused(pause);
        for pool in shared.catalog.pools() {
            console::obey_pause(shared, &pool);
        }
    }

    /// Forgets pools and databases that nobody uses any more.
    fn forget_unused(&mut self) {
        let shared = self.shared();
        let (forgotten, numbers) = shared.catalog.forget_unused(clock::monotonic());
        for what in forgotten {
            let text = match what {
                Forgotten::Pool { key, unused } => format!(
                    "cleaning up idle pool for user {} on db {} because: pool idle timeout \
                     (age={}s)",
                    key.user,
                    key.database,
                    unused.as_secs()
                ),
                Forgotten::Database { name, unused } => {
                    format!("auto-database {name} is forgotten, unused for {}s", unused.as_secs())
                }
            };
            shared.log.line(Level::Log, &text);
        }
        if !numbers.is_empty() {
            let numbers: Arc<[u32]> = numbers.into();
            shared.post_all(|| Mail::Forgotten { numbers: Arc::clone(&numbers) });
        }
    }

    /// Reads the configuration again; on any error the old one stays.
    pub(super) fn reload(&mut self) -> Result<(), String> {
        let shared = Arc::clone(self.shared());
        let before = shared.catalog.view();
        let result = read_again(self.process, &before);
        match result {
            Ok(view) => {
                self.replace(view);
                shared.log.line(Level::Log, "configuration reloaded");
                Ok(())
            }
            Err(text) => {
                for line in text.lines() {
                    shared.log.line(Level::Error, line);
                }
                shared.log.line(Level::Error, "RELOAD Failed, see logs for more details");
                Err(text)
            }
        }
    }

    /// Puts a configuration into force.
    pub(super) fn replace(&mut self, view: View) {
        let shared = self.shared();
        shared.log.redirect(super::destination(&view.config, self.process.options.quiet));
        shared.log.set_verbosity(u8::try_from(view.config.global.verbose).unwrap_or(u8::MAX));
        self.monitor.set_rules(observe::rules(&view.config));
        self.monitor.set_access(observe::access(&view.config));
        let touched = shared.catalog.replace(view, clock::monotonic());
        shared.post_all(|| Mail::Reloaded);
        for pool in touched {
            shared.post(headpond_core::Lane(0), Mail::Poke { pool });
        }
    }
}

fn read_again<E: Engine>(process: &Process<E>, before: &View) -> Result<View, String> {
    let log = &process.shared.log;
    let loaded = config::load(&process.options.source, &Env::from_process())
        .map_err(|errors| errors.to_string())?;
    let mut config = loaded.config;
    process.options.apply(&mut config);
    let waiting = Changes::between(&before.config, &config).warnings(&config);
    for warning in loaded.warnings.iter().chain(&waiting) {
        log.line(Level::Warning, &warning.to_string());
    }
    // What is shown stays what is in force.
    config.retain_until_restart(&before.config);
    let mut warn = |text: String| log.line(Level::Warning, &text);
    View::read(config, &before.lasting(), &mut warn)
}
