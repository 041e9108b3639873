//! What SHOW shows: rows gathered from the catalog, the pools and the workers.
//!
//! Invariant: rows are in the order of their names, so that two answers can be compared; nothing
//! is counted twice.
//! Not here: columns and types (`crate::admin::show`).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::super::control::State;
use super::super::rates::{Totals, totals};
use super::{Asker, answer, collect};
use crate::admin::show::{
    self, ClientRow, ClientState, Clock, Counters, DatabaseRow, DnsHostRow, Lists, MemRow,
    PeerPoolRow, PeerRow, PoolRow, ServerRow, ServerState, StatsRow, Table, UserRow,
};
use crate::admin::{Command, CommandError, Show, render};
use crate::catalog::{CONSOLE, Catalog, Database, Pool, User};
use crate::config::{self, Host, PoolMode};
use crate::engine::{Address, Engine, clock};
use crate::worker::Shared;
use crate::worker::client::Client;
use crate::worker::server::Server;
use headpond_wire::session::Mode;

/// What PgBouncer says about its console: two servers that are never opened, for an hour each.
const CONSOLE_POOL_SIZE: u32 = 2;
const CONSOLE_LIFETIME: Duration = Duration::from_secs(3600);

impl<E: Engine<Handle = std::os::fd::OwnedFd> + 'static> State<'_, E> {
    /// Answers a command that only shows something.
    pub(super) fn show(&self, asker: Asker, command: &Command) -> Result<(), CommandError> {
        let shared = self.shared();
        let what = match command {
            Command::Show(what) => *what,
            Command::FakeShow(parameter) => {
                answer(shared, asker, |out| render::table(out, &show::fake(*parameter)));
                return Ok(());
            }
            _ => {
                answer(shared, asker, render::fake_set);
                return Ok(());
            }
        };
        let table = match what {
            Show::Clients
            | Show::Servers
            | Show::Sockets
            | Show::ActiveSockets
            | Show::Pools
            | Show::Lists => {
                // Workers answer at their next turn; nobody else waits for them meanwhile.
                tokio::spawn(gather(Arc::clone(shared), asker, what));
                return Ok(());
            }
            Show::Help => {
                answer(shared, asker, render::help);
                return Ok(());
            }
            Show::Fds => return Err(CommandError::NotSupported("SHOW FDS")),
            Show::Stats => show::stats(&self.stats_rows()),
            Show::StatsTotals => show::stats_totals(&self.stats_rows()),
            Show::StatsAverages => show::stats_averages(&self.stats_rows()),
            Show::Totals => show::totals(&self.stats_rows()),
            Show::Databases => databases(shared),
            Show::Users => show::users(&user_rows(&shared.catalog)),
            Show::Config => show::config(shared.catalog.view().config.rows()),
            Show::Mem => mem(shared),
            Show::State if shared.catalog.is_all_paused() => show::state(show::State::Paused),
            Show::State => show::state(show::State::Active),
            Show::Peers => peers(&shared.catalog),
            Show::PeerPools => peer_pools(&shared.catalog),
            Show::DnsHosts => show::dns_hosts(&dns_rows(&shared.catalog)),
            Show::DnsZones => show::dns_zones(&[]),
            Show::Version => show::version(crate::VERSION_LINE),
        };
        answer(shared, asker, |out| render::table(out, &table));
        Ok(())
    }

    fn stats_rows(&self) -> Vec<StatsRow> {
        let averages = &self.rates.averages;
        let all: BTreeMap<String, Totals> = totals(&self.shared().catalog).into_iter().collect();
        let rows = all.into_iter().map(|(database, totals)| StatsRow {
            totals: counters(totals),
            averages: counters(averages.get(&database).copied().unwrap_or_default()),
            database,
        });
        rows.collect()
    }
}

fn counters(totals: Totals) -> Counters {
    Counters {
        server_assignment_count: totals.assignments,
        xact_count: totals.transactions,
        query_count: totals.queries,
        received: totals.received,
        sent: totals.sent,
        xact_time: totals.transaction_time,
        query_time: totals.query_time,
        wait_time: totals.wait_time,
        client_parse_count: totals.client_parses,
        server_parse_count: totals.server_parses,
        bind_count: totals.binds,
        client_login_count: totals.logins,
    }
}

/// Answers with what only the workers know.
async fn gather<E: Engine + 'static>(shared: Arc<Shared<E>>, asker: Asker, what: Show) {
    let (mut clients, mut servers) = collect(&shared, true, true).wait().await;
    clients.sort_by_key(|client| client.id);
    servers.sort_by_key(|server| server.id);
    let listen_port = shared.catalog.view().config.global.listen_port;
    let clock = Clock { now: SystemTime::now(), listen_port };
    let table = match what {
        Show::Clients => show::clients(&clients, clock),
        Show::Servers => show::servers(&servers, clock),
        Show::Pools => show::pools(&pool_rows(&shared.catalog, &clients, &servers)),
        Show::Lists => show::lists(&lists(&shared.catalog, &clients, &servers)),
        Show::ActiveSockets => {
            clients.retain(|client| client.state != ClientState::Idle);
            servers.retain(|server| !matches!(server.state, ServerState::Idle | ServerState::Used));
            show::sockets(&clients, &servers, clock)
        }
        _ => show::sockets(&clients, &servers, clock),
    };
    answer(&shared, asker, |out| render::table(out, &table));
}

/// What the workers' rows say about one pool.
#[derive(Clone, Copy, Default)]
struct Seen {
    clients: usize,
    used: usize,
    being_canceled: usize,
}

fn pool_rows(catalog: &Catalog, clients: &[ClientRow], servers: &[ServerRow]) -> Vec<PoolRow> {
    let mut seen: HashMap<(&str, &str), Seen> = HashMap::new();
    let settled = |client: &&ClientRow| {
        matches!(client.state, ClientState::Active | ClientState::Idle) && !client.admin
    };
    for client in clients.iter().filter(settled) {
        let Some(user) = &client.pool_user else { continue };
        seen.entry((&client.database, user)).or_default().clients += 1;
    }
    for server in servers {
        let seen = seen.entry((&server.database, &server.user)).or_default();
        match server.state {
            ServerState::Used => seen.used += 1,
            ServerState::BeingCanceled => seen.being_canceled += 1,
            _ => {}
        }
    }
    let mut rows: BTreeMap<(String, String), PoolRow> = BTreeMap::new();
    for pool in catalog.pools() {
        let row = pool_row(&pool);
        // Replication has servers of its own, which PgBouncer counts with the others.
        match rows.entry((row.database.clone(), row.user.clone())) {
            Entry::Vacant(place) => {
                place.insert(row);
            }
            Entry::Occupied(mut place) => place.get_mut().add(&row),
        }
    }
    let mut rows: Vec<PoolRow> = rows.into_values().collect();
    for row in &mut rows {
        let seen = seen.get(&(row.database.as_str(), row.user.as_str()));
        row.refine(seen.copied().unwrap_or_default());
    }
    let admins = clients.iter().filter(|client| client.admin).count();
    let place = rows.partition_point(|row| row.database.as_str() < CONSOLE);
    rows.insert(place, PoolRow { cl_active: admins, ..empty_pool(CONSOLE, CONSOLE) });
    rows
}

fn pool_row(pool: &Pool) -> PoolRow {
    let (counts, maxwait) = {
        let core = pool.core.lock();
        (core.counts(), core.oldest_wait(clock::monotonic()))
    };
    PoolRow {
        cl_waiting: number(counts.waiting),
        sv_active: number(counts.in_use),
        sv_idle: number(counts.idle),
        sv_tested: number(counts.checking + counts.resetting),
        sv_login: number(counts.opening),
        maxwait: maxwait.unwrap_or_default(),
        pool_mode: match pool.settings.load().session.mode {
            Mode::Session => PoolMode::Session,
            Mode::Transaction => PoolMode::Transaction,
            Mode::Statement => PoolMode::Statement,
        },
        load_balance_hosts: host_order(&pool.database.spec.load()),
        ..empty_pool(&pool.key.database, &pool.key.user)
    }
}

impl PoolRow {
    /// Adds the servers of another pool of the same name.
    fn add(&mut self, other: &PoolRow) {
        self.cl_waiting += other.cl_waiting;
        self.sv_active += other.sv_active;
        self.sv_idle += other.sv_idle;
        self.sv_tested += other.sv_tested;
        self.sv_login += other.sv_login;
        self.maxwait = self.maxwait.max(other.maxwait);
    }

    /// Tells apart what only the workers can tell apart. They were asked a moment earlier: what
    /// they saw may be more than there is now.
    fn refine(&mut self, seen: Seen) {
        self.cl_active = seen.clients;
        self.sv_used = seen.used.min(self.sv_idle);
        self.sv_idle -= self.sv_used;
        self.sv_being_canceled = seen.being_canceled.min(self.sv_active);
        self.sv_active -= self.sv_being_canceled;
    }
}

fn empty_pool(database: &str, user: &str) -> PoolRow {
    PoolRow {
        database: database.to_owned(),
        user: user.to_owned(),
        cl_active: 0,
        cl_waiting: 0,
        cl_active_cancel_req: 0,
        cl_waiting_cancel_req: 0,
        sv_active: 0,
        sv_active_cancel: 0,
        sv_being_canceled: 0,
        sv_idle: 0,
        sv_used: 0,
        sv_tested: 0,
        sv_login: 0,
        maxwait: Duration::ZERO,
        pool_mode: PoolMode::Statement,
        load_balance_hosts: None,
    }
}

fn number(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// What is done with a list of hosts, if there is a list.
fn host_order(spec: &config::Database) -> Option<config::LoadBalance> {
    let is_list = spec.host.as_ref().is_some_and(|hosts| hosts.len() > 1);
    is_list.then(|| spec.host_order())
}

fn databases<E: Engine>(shared: &Shared<E>) -> Table {
    let view = shared.catalog.view();
    let config = &view.config;
    let mut all = shared.catalog.databases();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let mut rows: Vec<DatabaseRow> = all.iter().map(|one| database_row(config, one)).collect();
    let place = rows.partition_point(|row| row.name.as_str() < CONSOLE);
    rows.insert(place, console_database(config.global.listen_port));
    show::databases(&rows)
}

fn database_row(config: &config::Config, database: &Database) -> DatabaseRow {
    let spec = database.spec.load();
    let hosts = spec.host.as_ref();
    let joined = |hosts: &Vec<Host>| {
        let names: Vec<String> = hosts.iter().map(Host::to_string).collect();
        names.join(",")
    };
    DatabaseRow {
        name: database.name.clone(),
        host: hosts.map(joined),
        port: spec.server_port(),
        database: spec.server_dbname(&database.name).to_owned(),
        force_user: spec.user.clone(),
        pool_size: spec.pool_size.unwrap_or(config.global.default_pool_size),
        min_pool_size: config.min_pool_size(&spec),
        reserve_pool_size: spec.reserve_pool_size.unwrap_or(config.global.reserve_pool_size),
        server_lifetime: config.server_lifetime(&spec),
        pool_mode: spec.pool_mode,
        load_balance_hosts: host_order(&spec),
        max_connections: config.max_db_connections(&spec),
        current_connections: number(database.budget.used()),
        max_client_connections: config.max_db_client_connections(&spec),
        current_client_connections: number(database.clients.load(Ordering::Relaxed)),
        paused: database.paused.load(Ordering::Relaxed),
        disabled: database.disabled.load(Ordering::Relaxed),
    }
}

fn console_database(port: u16) -> DatabaseRow {
    DatabaseRow {
        name: CONSOLE.to_owned(),
        host: None,
        port,
        database: CONSOLE.to_owned(),
        force_user: Some(CONSOLE.to_owned()),
        pool_size: CONSOLE_POOL_SIZE,
        min_pool_size: 0,
        reserve_pool_size: 0,
        server_lifetime: CONSOLE_LIFETIME,
        pool_mode: Some(PoolMode::Statement),
        load_balance_hosts: None,
        max_connections: 0,
        current_connections: 0,
        max_client_connections: 0,
        current_client_connections: 0,
        paused: false,
        disabled: false,
    }
}

/// Everybody who is known: from the files, from logins, and the owner of the console.
fn user_names(catalog: &Catalog) -> BTreeSet<String> {
    let view = catalog.view();
    let mut names: BTreeSet<String> = catalog.users().iter().map(|u| u.name.clone()).collect();
    names.extend(view.secrets.iter().map(|(name, _)| name.to_owned()));
    names.extend(view.config.users.keys().cloned());
    names.insert(CONSOLE.to_owned());
    names
}

fn user_rows(catalog: &Catalog) -> Vec<UserRow> {
    let view = catalog.view();
    let config = &view.config;
    let seen: HashMap<String, Arc<User>> =
        catalog.users().into_iter().map(|user| (user.name.clone(), user)).collect();
    let row = |name: String| {
        let own = config.user(&name);
        let user = seen.get(&name);
        UserRow {
            pool_size: own.and_then(|own| own.pool_size),
            reserve_pool_size: own.and_then(|own| own.reserve_pool_size),
            pool_mode: own.and_then(|own| own.pool_mode),
            max_user_connections: config.max_user_connections(&name),
            current_connections: user.map_or(0, |user| number(user.budget.used())),
            max_user_client_connections: config.max_user_client_connections(&name),
            current_client_connections: user
                .map_or(0, |user| number(user.clients.load(Ordering::Relaxed))),
            name,
        }
    };
    user_names(catalog).into_iter().map(row).collect()
}

fn lists(catalog: &Catalog, clients: &[ClientRow], servers: &[ServerRow]) -> Lists {
    let view = catalog.view();
    let login = clients.iter().filter(|client| client.state == ClientState::Login).count();
    let resolving =
        catalog.databases().iter().filter(|d| d.resolving.load(Ordering::Relaxed)).count();
    Lists {
        // The console has a database and a pool of its own.
        databases: catalog.databases().len() + 1,
        users: user_names(catalog).len(),
        peers: view.config.peers.len(),
        pools: catalog.pools().len() + 1,
        peer_pools: view.config.peers.len(),
        free_clients: 0,
        used_clients: clients.len() - login,
        login_clients: login,
        free_servers: 0,
        used_servers: servers.len(),
        dns_names: dns_rows(catalog).len(),
        dns_zones: 0,
        dns_queries: resolving,
        dns_pending: 0,
    }
}

fn dns_rows(catalog: &Catalog) -> Vec<DnsHostRow> {
    let now = clock::monotonic();
    let mut hosts: BTreeMap<String, DnsHostRow> = BTreeMap::new();
    for database in catalog.databases() {
        let names = database.hosts.load();
        let Some(resolved) = database.resolved.load_full() else { continue };
        for place in &resolved.places {
            let Address::Tcp(address) = &place.address else { continue };
            if !names.iter().any(|host| matches!(host, Host::Name(name) if *name == place.name)) {
                continue;
            }
            let row = hosts.entry(place.name.clone()).or_insert_with(|| DnsHostRow {
                hostname: place.name.clone(),
                ttl: resolved.until.since(now),
                addresses: Vec::new(),
            });
            if !row.addresses.contains(&address.ip()) {
                row.addresses.push(address.ip());
            }
        }
    }
    hosts.into_values().collect()
}

fn mem<E: Engine>(shared: &Shared<E>) -> Table {
    let catalog = &shared.catalog;
    let pools = catalog.pools();
    let servers: u32 = pools.iter().map(|pool| pool.core.lock().counts().total()).sum();
    let clients: u32 = shared.loads.iter().map(|load| load.clients.load(Ordering::Relaxed)).sum();
    let lanes = shared.loads.len();
    let pool_size = size_of::<Pool>() + lanes * size_of::<crate::catalog::PoolStats>();
    let row = |name: &str, size: usize, used: usize| MemRow {
        name: name.to_owned(),
        size,
        used,
        free: 0,
        total: size.saturating_mul(used),
    };
    show::mem(&[
        row("user_cache", size_of::<User>(), catalog.users().len()),
        row("db_cache", size_of::<Database>(), catalog.databases().len()),
        row("pool_cache", pool_size, pools.len()),
        row("server_cache", size_of::<Server>(), number(servers)),
        row("client_cache", size_of::<Client>(), number(clients)),
    ])
}

fn peers(catalog: &Catalog) -> Table {
    let view = catalog.view();
    let rows: Vec<PeerRow> = view
        .config
        .peers
        .values()
        .map(|peer| PeerRow {
            peer_id: peer.id,
            host: peer.host.clone(),
            port: peer.port,
            pool_size: peer.pool_size.unwrap_or(view.config.global.default_pool_size),
        })
        .collect();
    show::peers(&rows)
}

fn peer_pools(catalog: &Catalog) -> Table {
    let view = catalog.view();
    let idle = |peer_id: &u16| PeerPoolRow {
        peer_id: *peer_id,
        cl_active_cancel_req: 0,
        cl_waiting_cancel_req: 0,
        sv_active_cancel: 0,
        sv_login: 0,
    };
    show::peer_pools(&view.config.peers.keys().map(idle).collect::<Vec<_>>())
}
