//! The process as the monitor sees it: pools, databases, clients, servers, settings.
//!
//! Invariant: rows are made of what SHOW is made of, so page and console never disagree; settings
//! are redacted by the table that knows which are secret.
//! Not here: metrics and probes (`report.rs`), the checks (`check.rs`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headpond_core::Health;
use headpond_monitor::alert::{Logger, Notice, Routes, Rule, Severity, built_in};
use headpond_monitor::history::Store;
use headpond_monitor::model::{
    self, Breaker, Connections, Counts, Later, Process, Setting, Source, Times, Totals, Worker,
};
use headpond_monitor::{Access, Monitor, Settings, Target, Token};
use headpond_stats::Distribution;

use super::StartError;
use super::act::Door;
use super::bouncer::{self, Neighbours};
use super::check::{self, Checks};
use super::report::Reporter;
use crate::admin::show::{ClientRow, ClientState, ServerRow, ServerState};
use crate::catalog::{Database, Pool, PoolStats, WaitReason};
use crate::config::{Config, Secret};
use crate::control::{Collector, Mail};
use crate::engine::{Address, Engine, Peer, clock};
use crate::log::{Level, Log};
use crate::worker::{RunPhase, Shared};
use headpond_wire::session::Mode;

/// Starts the monitor and the checks, on the control plane; they end with it.
pub(super) fn start<E: Engine<Handle = std::os::fd::OwnedFd> + 'static>(
    shared: &Arc<Shared<E>>,
    store: Option<Store>,
) -> Result<Arc<Monitor>, StartError> {
    let checks = Arc::new(Checks::default());
    let neighbours = Arc::new(Neighbours::default());
    let reporter = Reporter::new(Arc::clone(shared), Arc::clone(&checks), Arc::clone(&neighbours));
    let reporter = Arc::new(reporter);
    let door = Arc::new(Door(shared.control.clone()));
    let settings = settings(&shared.catalog.view().config, &shared.log, store)?;
    let (monitor, watching) = Monitor::new(reporter, Some(door), settings);
    tokio::spawn(watching);
    tokio::spawn(check::run(Arc::clone(shared), checks));
    tokio::spawn(bouncer::run(Arc::clone(shared), neighbours));
    Ok(monitor)
}

/// What an address needs: nothing, or the authorities of the machine.
pub(super) fn tls_for(url: &str) -> Option<Arc<crate::tls::ClientConfig>> {
    if url.starts_with("https://") { crate::tls::web_client().ok() } else { None }
}

fn settings(config: &Config, log: &Log, store: Option<Store>) -> Result<Settings, StartError> {
    let (history, http) = (&config.history, &config.http);
    let defaults = Settings::default();
    Ok(Settings {
        limits: headpond_monitor::health::Limits {
            check_seconds: http.check_slow.as_secs_f64(),
            replication_lag_seconds: http.check_lag.as_secs_f64(),
            ..defaults.limits
        },
        history: headpond_monitor::history::Settings {
            pools_max: history.pools_max as usize,
            keep_seconds: history.keep.as_secs_f64(),
        },
        store,
        rules: rules(config),
        routes: routes(config, log)?,
        access: access(config),
        sets: http.metrics.iter().map(|(_, set)| *set).collect(),
        ..defaults
    })
}

/// The rules that a configuration puts into force; one of its own replaces a built-in one of the
/// same name.
pub(super) fn rules(config: &Config) -> Vec<Rule> {
    let own = config.alert_rules();
    let mut rules = if config.alerts.built_in { built_in() } else { Vec::new() };
    rules.retain(|rule| own.iter().all(|other| other.name != rule.name));
    rules.extend(own);
    rules
}

/// Who may read and who may act.
pub(super) fn access(config: &Config) -> Access {
    let http = &config.http;
    let token = |secret: &Option<Secret>| secret.as_ref().map(|s| Token::new(s.reveal()));
    Access {
        action_token: token(&http.token),
        read_token: token(&http.read_token),
        reads_need_token: http.listen.is_some_and(|address| !address.ip().is_loopback()),
    }
}

fn routes(config: &Config, log: &Log) -> Result<Routes, StartError> {
    let alerts = &config.alerts;
    let target = |key: &str, secret: &Option<Secret>| {
        let Some(url) = secret else { return Ok(None) };
        let made = Target::new(url.reveal(), tls_for(url.reveal())).map(Some);
        made.map_err(|error| StartError::File(format!("alerts.{key}: {error}")))
    };
    let webhook = target("webhook_url", &alerts.webhook_url)?.map(|target| {
        let secret = alerts.webhook_secret.as_ref().map(|s| s.reveal().as_bytes().to_vec());
        (target, secret, Severity::from(alerts.webhook_severity))
    });
    let alertmanager = target("alertmanager_url", &alerts.alertmanager_url)?
        .map(|target| (target, Severity::from(alerts.alertmanager_severity)));
    let command = alerts
        .command
        .as_ref()
        .map(|path| (path.display().to_string(), Severity::from(alerts.command_severity)));
    let log = log.clone();
    let write: Logger = Arc::new(move |notice: &Notice| {
        let level = match (notice.is_firing, notice.severity) {
            (true, Severity::Critical) => Level::Error,
            (true, Severity::Warning) => Level::Warning,
            _ => Level::Log,
        };
        let word = if notice.is_firing { "fires" } else { "resolved" };
        log.line(level, &format!("alert {} {word}: {}", notice.name, notice.description));
    });
    Ok(Routes { log: alerts.log.then_some(write), webhook, alertmanager, command })
}

impl<E: Engine<Handle = std::os::fd::OwnedFd> + 'static> Source for Reporter<E> {
    fn process(&self) -> Process {
        let shared = self.shared();
        let workers = shared.loads.iter().enumerate().map(|(number, load)| Worker {
            number: u16::try_from(number).unwrap_or(u16::MAX),
            busy_ratio: f64::from(load.busy.load(Ordering::Relaxed)) / 1000.0,
            clients: u64::from(load.clients.load(Ordering::Relaxed)),
        });
        let running = shared.phase() == RunPhase::Running;
        let memory = model::Memory::now();
        Process {
            service: "headpond".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.uptime().as_secs_f64(),
            phase: if running { "running" } else { "draining" },
            paused: shared.catalog.is_all_paused(),
            clients: u64::from(shared.clients.load(Ordering::Relaxed)),
            clients_max: u64::from(shared.catalog.view().config.global.max_client_conn),
            memory_bytes: memory.used,
            memory_max_bytes: memory.max,
            workers: workers.collect(),
        }
    }

    fn pools(&self) -> Vec<model::Pool> {
        let pools = check::observed_pools(&self.shared().catalog);
        let mut pools: Vec<model::Pool> = pools.iter().map(|pool| self.pool(pool)).collect();
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        pools
    }

    fn databases(&self) -> Vec<model::Database> {
        let catalog = &self.shared().catalog;
        let mut all = check::observed(catalog, &check::observed_pools(catalog));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.iter().map(|database| self.database(database)).collect()
    }

    fn connections(&self) -> Later<'_, Connections> {
        let shared = self.shared();
        let collector = Collector::new(shared.mailboxes.len(), true, true);
        shared.post_all(|| Mail::Collect(Arc::clone(&collector)));
        Box::pin(async move {
            // A worker that is stuck must not keep a page waiting for ever.
            let rows = tokio::time::timeout(Duration::from_secs(2), collector.wait()).await;
            rows.map(|(clients, servers)| connections(&clients, &servers)).unwrap_or_default()
        })
    }

    fn settings(&self) -> Vec<Setting> {
        let view = self.shared().catalog.view();
        let setting = |setting: crate::config::Explained| Setting {
            section: match setting.entry.as_str() {
                "" => setting.section.name().to_owned(),
                entry => format!("{}.{entry}", setting.section.name()),
            },
            key: setting.key.name.to_owned(),
            value: setting.value,
            default: setting.default,
            origin: setting.origin,
            live: setting.key.changeable == crate::config::Changeable::Live,
        };
        view.config.explained().into_iter().map(setting).collect()
    }

    fn bouncers(&self) -> Vec<model::Bouncer> {
        self.neighbours().rows()
    }
}

fn name_of(pool: &Pool) -> String {
    let key = &pool.key;
    let suffix = if key.replication.is_some() { " (replication)" } else { "" };
    format!("{}/{}{suffix}", key.database, key.user)
}

impl<E: Engine<Handle = std::os::fd::OwnedFd> + 'static> Reporter<E> {
    fn pool(&self, pool: &Pool) -> model::Pool {
        let (counts, oldest, health, paused) = {
            let core = pool.core.lock();
            let oldest = core.oldest_wait(clock::monotonic());
            (core.counts(), oldest, core.health(), core.is_paused())
        };
        let settings = pool.settings.load();
        let total = |counter: fn(&PoolStats) -> &headpond_stats::Counter| pool.total(counter);
        model::Pool {
            name: name_of(pool),
            backend: "postgresql",
            database: pool.key.database.clone(),
            user: pool.key.user.clone(),
            mode: match settings.session.mode {
                Mode::Session => "session",
                Mode::Transaction => "transaction",
                Mode::Statement => "statement",
            },
            paused,
            breaker: match health {
                Health::Healthy => Breaker::Closed,
                Health::Recovering => Breaker::HalfOpen,
                Health::Failing(_) => Breaker::Open,
            },
            connections: Counts {
                opening: counts.opening,
                idle: counts.idle,
                checking: counts.checking,
                used: counts.in_use,
                resetting: counts.resetting,
                closing: counts.closing,
            },
            size_max: settings.limits.size,
            size_min: settings.limits.min,
            reserve: settings.limits.reserve,
            clients: u64::from(pool.clients.load(Ordering::Relaxed)),
            waiting: counts.waiting,
            oldest_wait_seconds: oldest.unwrap_or_default().as_secs_f64(),
            error: pool.last_error.lock().clone(),
            totals: Totals {
                created: total(|s| &s.connects),
                destroyed: total(|s| &s.closes),
                connect_failures: total(|s| &s.connect_failures),
                assignments: total(|s| &s.assignments),
                transactions: total(|s| &s.transactions),
                queries: total(|s| &s.queries),
                errors: total(|s| &s.errors),
                timeouts: total(|s| &s.refusals),
                leaks: self.checks().leaks(pool),
                client_parses: total(|s| &s.client_parses),
                server_parses: total(|s| &s.server_parses),
                binds: total(|s| &s.binds),
                received_bytes: total(|s| &s.received),
                sent_bytes: total(|s| &s.sent),
            },
            times: times(pool),
        }
    }

    fn database(&self, database: &Database) -> model::Database {
        let spec = database.spec.load();
        let view = self.shared().catalog.view();
        let port = spec.server_port();
        let hosts = view.config.hosts(&spec);
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        model::Database {
            name: database.name.clone(),
            backend: "postgresql",
            place: format!("{}:{port}/{}", hosts.join(","), spec.server_dbname(&database.name)),
            paused: database.paused.load(Ordering::Relaxed),
            disabled: database.disabled.load(Ordering::Relaxed),
            connections: u64::from(database.budget.used()),
            connections_max: u64::from(view.config.max_db_connections(&spec)),
            clients: u64::from(database.clients.load(Ordering::Relaxed)),
            check: self.checks().of(&database.name),
        }
    }
}

fn times(pool: &Pool) -> Times {
    let sum = |pick: &dyn Fn(&PoolStats) -> &crate::catalog::Times| {
        let mut all = Distribution::new();
        pool.stats.iter().for_each(|lane| pick(lane).add_to(&mut all));
        all
    };
    let wait = |reason: &WaitReason| (reason.as_str(), sum(&|s| &s.waits[*reason as usize]));
    Times {
        waits: WaitReason::ALL.iter().map(wait).collect(),
        query: sum(&|s| &s.query_seconds),
        transaction: sum(&|s| &s.transaction_seconds),
        connect: sum(&|s| &s.connect_seconds),
    }
}

fn place(peer: &Peer) -> String {
    match peer {
        Peer::Tcp(address) => address.to_string(),
        Peer::Unix { pid, .. } => format!("unix, pid {pid}"),
        Peer::Sim(number) => format!("sim {number}"),
    }
}

fn address(address: Option<&Address>) -> String {
    match address {
        Some(Address::Tcp(address)) => address.to_string(),
        Some(Address::Unix(path)) => path.display().to_string(),
        None => String::new(),
    }
}

fn connections(clients: &[ClientRow], servers: &[ServerRow]) -> Connections {
    let by_id: HashMap<u64, &ServerRow> = servers.iter().map(|row| (row.id, row)).collect();
    let mut all = Connections::default();
    for row in clients {
        let seconds = |time: Duration| time.as_secs_f64();
        let from = match row.application_name.as_deref() {
            None | Some("") => place(&row.peer),
            Some(name) => format!("{name} at {}", place(&row.peer)),
        };
        let pool = || {
            format!("{}/{}", row.database, row.pool_user.as_deref().unwrap_or(row.user.as_str()))
        };
        if let Some(server) = row.link.and_then(|id| by_id.get(&id)) {
            all.holders.push(model::Holder {
                pool: pool(),
                client: Some(row.id),
                server: Some(server.id),
                process: Some(server.remote_pid),
                place: from.clone(),
                // Since the client last asked for something: its transaction's last step.
                seconds: seconds(row.request_ago),
                state: match server.state {
                    ServerState::BeingCanceled => "being cancelled",
                    _ => "in use",
                },
            });
        }
        if let Some(wait) = row.wait.filter(|_| row.state == ClientState::Waiting) {
            all.waits.push(model::Wait {
                pool: pool(),
                client: Some(row.id),
                place: from,
                reason: row.wait_reason.unwrap_or("pool_full"),
                seconds: seconds(wait),
            });
        }
        all.clients.push(model::Client {
            id: row.id,
            database: row.database.clone(),
            user: row.user.clone(),
            application: row.application_name.clone(),
            place: place(&row.peer),
            state: row.state.as_str(),
            connected_seconds: seconds(row.connected_ago),
            request_seconds: seconds(row.request_ago),
            server: row.link,
            tls: row.tls.clone(),
            worker: row.lane,
        });
    }
    all.servers = servers.iter().map(server).collect();
    all.clients.sort_by_key(|client| client.id);
    all.servers.sort_by_key(|server| server.id);
    all.holders.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    all.waits.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    all
}

fn server(row: &ServerRow) -> model::Server {
    model::Server {
        id: row.id,
        database: row.database.clone(),
        user: row.user.clone(),
        place: address(row.address.as_ref()),
        state: row.state.as_str(),
        connected_seconds: row.connected_ago.as_secs_f64(),
        request_seconds: row.request_ago.as_secs_f64(),
        client: row.link,
        process: row.remote_pid,
        tls: row.tls.clone(),
        leaving: row.close_needed,
    }
}
