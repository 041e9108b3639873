//! Pools, databases, users, and the small tables.

use std::net::IpAddr;
use std::time::Duration;

use super::{Table, Value, columns, row};
use crate::config::{LoadBalance, PoolMode};

/// Splits a time into whole seconds and the microseconds left over.
pub(super) fn seconds_and_micros(time: Duration) -> (u64, u32) {
    (time.as_secs(), time.subsec_micros())
}

fn word_of_mode(mode: Option<PoolMode>) -> Value {
    Value::from(mode.map(PoolMode::as_str))
}

fn word_of_balance(balance: Option<LoadBalance>) -> Value {
    Value::from(balance.map(LoadBalance::as_str))
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRow {
    /// The database entry.
    pub database: String,
    /// The user on the server.
    pub user: String,
    /// Clients that have a server, and idle ones.
    pub cl_active: usize,
    /// Clients that wait for a server.
    pub cl_waiting: usize,
    /// Cancel requests that were sent on.
    pub cl_active_cancel_req: usize,
    /// Cancel requests that wait.
    pub cl_waiting_cancel_req: usize,
    /// Servers with a client.
    pub sv_active: usize,
    /// Servers that carry a cancel request.
    pub sv_active_cancel: usize,
    /// Servers that wait until cancel requests for them are done.
    pub sv_being_canceled: usize,
    /// Idle servers that may be used at once.
    pub sv_idle: usize,
    /// Idle servers that need a check first.
    pub sv_used: usize,
    /// Servers under a check or a reset.
    pub sv_tested: usize,
    /// Servers that log in.
    pub sv_login: usize,
    /// How long the oldest waiter has waited.
    pub maxwait: Duration,
    /// The mode in force.
    pub pool_mode: PoolMode,
    /// What is done with a list of hosts; `None` if there is no list.
    pub load_balance_hosts: Option<LoadBalance>,
}

/// SHOW POOLS.
pub fn pools(rows: &[PoolRow]) -> Table {
    let mut table = Table::new(columns! {
        Text: "database" "user";
        Int: "cl_active" "cl_waiting" "cl_active_cancel_req" "cl_waiting_cancel_req"
            "sv_active" "sv_active_cancel" "sv_being_canceled" "sv_idle" "sv_used" "sv_tested"
            "sv_login" "maxwait" "maxwait_us";
        Text: "pool_mode" "load_balance_hosts";
    });
    for pool in rows {
        let (maxwait, maxwait_us) = seconds_and_micros(pool.maxwait);
        table.push(row![
            pool.database.as_str(),
            pool.user.as_str(),
            pool.cl_active,
            pool.cl_waiting,
            pool.cl_active_cancel_req,
            pool.cl_waiting_cancel_req,
            pool.sv_active,
            pool.sv_active_cancel,
            pool.sv_being_canceled,
            pool.sv_idle,
            pool.sv_used,
            pool.sv_tested,
            pool.sv_login,
            maxwait,
            maxwait_us,
            pool.pool_mode.as_str(),
            word_of_balance(pool.load_balance_hosts),
        ]);
    }
    table
}

/// The connections to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerPoolRow {
    /// The peer.
    pub peer_id: u16,
    /// Cancel requests that were sent on.
    pub cl_active_cancel_req: usize,
    /// Cancel requests that wait.
    pub cl_waiting_cancel_req: usize,
    /// Connections that carry a cancel request.
    pub sv_active_cancel: usize,
    /// Connections that are being made.
    pub sv_login: usize,
}

/// SHOW PEER_POOLS.
pub fn peer_pools(rows: &[PeerPoolRow]) -> Table {
    let mut table = Table::new(columns! {
        Int: "peer_id" "cl_active_cancel_req" "cl_waiting_cancel_req" "sv_active_cancel"
            "sv_login";
    });
    for peer in rows {
        table.push(row![
            peer.peer_id,
            peer.cl_active_cancel_req,
            peer.cl_waiting_cancel_req,
            peer.sv_active_cancel,
            peer.sv_login,
        ]);
    }
    table
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRow {
    /// Its id.
    pub peer_id: u16,
    /// Where it is.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How many connections to it there may be.
    pub pool_size: u32,
}

/// SHOW PEERS.
pub fn peers(rows: &[PeerRow]) -> Table {
    let mut table = Table::new(columns! {
        Int: "peer_id"; Text: "host"; Int: "port" "pool_size";
    });
    for peer in rows {
        table.push(row![peer.peer_id, peer.host.as_str(), peer.port, peer.pool_size]);
    }
    table
}

/// One database entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseRow {
    /// The entry.
    pub name: String,
    /// Its hosts as they are written; `None` for the socket directory.
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// The database on the server.
    pub database: String,
    /// The user all clients become.
    pub force_user: Option<String>,
    /// Servers per user.
    pub pool_size: u32,
    /// Servers kept open.
    pub min_pool_size: u32,
    /// Extra servers.
    pub reserve_pool_size: u32,
    /// How old a server may get.
    pub server_lifetime: Duration,
    /// The entry's own mode.
    pub pool_mode: Option<PoolMode>,
    /// What is done with a list of hosts; `None` if there is no list.
    pub load_balance_hosts: Option<LoadBalance>,
    /// The cap of servers, 0 for none.
    pub max_connections: u32,
    /// Servers now.
    pub current_connections: usize,
    /// The cap of clients, 0 for none.
    pub max_client_connections: u32,
    /// Clients now.
    pub current_client_connections: usize,
    /// Paused.
    pub paused: bool,
    /// Disabled.
    pub disabled: bool,
}

/// SHOW DATABASES.
pub fn databases(rows: &[DatabaseRow]) -> Table {
    let mut table = Table::new(columns! {
        Text: "name" "host";
        Int: "port";
        Text: "database" "force_user";
        Int: "pool_size" "min_pool_size" "reserve_pool_size" "server_lifetime";
        Text: "pool_mode" "load_balance_hosts";
        Int: "max_connections" "current_connections" "max_client_connections"
            "current_client_connections" "paused" "disabled";
    });
    for database in rows {
        table.push(row![
            database.name.as_str(),
            database.host.as_deref(),
            database.port,
            database.database.as_str(),
            database.force_user.as_deref(),
            database.pool_size,
            database.min_pool_size,
            database.reserve_pool_size,
            database.server_lifetime.as_secs(),
            word_of_mode(database.pool_mode),
            word_of_balance(database.load_balance_hosts),
            database.max_connections,
            database.current_connections,
            database.max_client_connections,
            database.current_client_connections,
            database.paused,
            database.disabled,
        ]);
    }
    table
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// Its name.
    pub name: String,
    /// Its own pool size.
    pub pool_size: Option<u32>,
    /// Its own reserve.
    pub reserve_pool_size: Option<u32>,
    /// Its own mode.
    pub pool_mode: Option<PoolMode>,
    /// The cap of servers, 0 for none.
    pub max_user_connections: u32,
    /// Servers now.
    pub current_connections: usize,
    /// The cap of clients, 0 for none.
    pub max_user_client_connections: u32,
    /// Clients now.
    pub current_client_connections: usize,
}

/// SHOW USERS.
pub fn users(rows: &[UserRow]) -> Table {
    let mut table = Table::new(columns! {
        Text: "name" "pool_size" "reserve_pool_size" "pool_mode";
        Int: "max_user_connections" "current_connections" "max_user_client_connections"
            "current_client_connections";
    });
    // Texts padded to nine places, as PgBouncer has them; empty where unset.
    let size = |size: Option<u32>| size.map(|size| format!("{size:9}")).unwrap_or_default();
    for user in rows {
        table.push(row![
            user.name.as_str(),
            size(user.pool_size),
            size(user.reserve_pool_size),
            word_of_mode(user.pool_mode),
            user.max_user_connections,
            user.current_connections,
            user.max_user_client_connections,
            user.current_client_connections,
        ]);
    }
    table
}

/// Sizes of the internal lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the rows")]
pub struct Lists {
    pub databases: usize,
    pub users: usize,
    pub peers: usize,
    pub pools: usize,
    pub peer_pools: usize,
    pub free_clients: usize,
    pub used_clients: usize,
    pub login_clients: usize,
    pub free_servers: usize,
    pub used_servers: usize,
    pub dns_names: usize,
    pub dns_zones: usize,
    pub dns_queries: usize,
    pub dns_pending: usize,
}

/// SHOW LISTS.
pub fn lists(lists: &Lists) -> Table {
    let mut table = Table::new(columns! { Text: "list"; Int: "items"; });
    for (list, items) in [
        ("databases", lists.databases),
        ("users", lists.users),
        ("peers", lists.peers),
        ("pools", lists.pools),
        ("peer_pools", lists.peer_pools),
        ("free_clients", lists.free_clients),
        ("used_clients", lists.used_clients),
        ("login_clients", lists.login_clients),
        ("free_servers", lists.free_servers),
        ("used_servers", lists.used_servers),
        ("dns_names", lists.dns_names),
        ("dns_zones", lists.dns_zones),
        ("dns_queries", lists.dns_queries),
        ("dns_pending", lists.dns_pending),
    ] {
        table.push(row![list, items]);
    }
    table
}

/// One kind of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemRow {
    /// What it is for.
    pub name: String,
    /// Bytes of one piece.
    pub size: usize,
    /// Pieces in use.
    pub used: usize,
    /// Pieces kept for later.
    pub free: usize,
    /// Bytes of all pieces.
    pub total: usize,
}

/// SHOW MEM.
pub fn mem(rows: &[MemRow]) -> Table {
    let mut table = Table::new(columns! {
        Text: "name"; Int: "size" "used" "free" "memtotal";
    });
    for mem in rows {
        table.push(row![mem.name.as_str(), mem.size, mem.used, mem.free, mem.total]);
    }
    table
}

/// Whether the pooler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Active,
    /// It is paused.
    Paused,
    /// It is suspended.
    Suspended,
}

/// SHOW STATE.
pub fn state(state: State) -> Table {
    let mut table = Table::new(columns! { Text: "key" "value"; });
    for (key, one) in
        [("active", State::Active), ("paused", State::Paused), ("suspended", State::Suspended)]
    {
        table.push(row![key, if state == one { "yes" } else { "no" }]);
    }
    table
}

/// One name in the address cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsHostRow {
    /// The name.
    pub hostname: String,
    /// How long the answer is used still.
    pub ttl: Duration,
    /// The answer.
    pub addresses: Vec<IpAddr>,
}

/// SHOW DNS_HOSTS.
pub fn dns_hosts(rows: &[DnsHostRow]) -> Table {
    let mut table = Table::new(columns! { Text: "hostname"; Big: "ttl"; Text: "addrs"; });
    for host in rows {
        let addresses: Vec<String> = host.addresses.iter().map(IpAddr::to_string).collect();
        table.push(row![host.hostname.as_str(), host.ttl.as_secs(), addresses.join(",")]);
    }
    table
}

/// One zone in the address cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsZoneRow {
    /// The zone.
    pub zonename: String,
    /// Its serial.
    pub serial: u32,
    /// Names in it.
    pub count: usize,
}

/// SHOW DNS_ZONES.
pub fn dns_zones(rows: &[DnsZoneRow]) -> Table {
    let mut table = Table::new(columns! { Text: "zonename"; Big: "serial"; Int: "count"; });
    for zone in rows {
        table.push(row![zone.zonename.as_str(), zone.serial, zone.count]);
    }
    table
}

/// SHOW VERSION.
pub fn version(version: &str) -> Table {
    let mut table = Table::new(columns! { Text: "version"; });
    table.push(row![version]);
    table
}
