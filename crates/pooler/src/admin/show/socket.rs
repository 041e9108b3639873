//! Clients and servers.
//!
//! Invariant: both have the same columns in the same order; times are UTC to the second.

use std::time::{Duration, SystemTime};

use super::rows::seconds_and_micros;
use super::{Column, Table, Value, columns, row};
use crate::engine::{Address, Peer};

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// It has a server.
    Active,
    /// It has none and wants none.
    Idle,
    /// It waits for one.
    Waiting,
    /// It is a cancel request that was sent on.
    ActiveCancelRequest,
    /// It is a cancel request that waits.
    WaitingCancelRequest,
    /// It logs in; SHOW SOCKETS alone has such.
    Login,
}

impl ClientState {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            ClientState::Active => "active",
            ClientState::Idle => "idle",
            ClientState::Waiting => "waiting",
            ClientState::ActiveCancelRequest => "active_cancel_req",
            ClientState::WaitingCancelRequest => "waiting_cancel_req",
            ClientState::Login => "login",
        }
    }
}

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// It has a client.
    Active,
    /// It may be used at once.
    Idle,
    /// It needs a check before it is used.
    Used,
    /// It is under a check or a reset.
    Tested,
    /// It logs in.
    New,
    /// It carries a cancel request.
    ActiveCancel,
    /// Cancel requests for it are not done.
    BeingCanceled,
}

impl ServerState {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            ServerState::Active => "active",
            ServerState::Idle => "idle",
            ServerState::Used => "used",
            ServerState::Tested => "tested",
            ServerState::New => "new",
            ServerState::ActiveCancel => "active_cancel",
            ServerState::BeingCanceled => "being_canceled",
        }
    }
}

/// Whether a connection replicates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replication {
    /// It does not.
    #[default]
    None,
    /// Changes of one database.
    Logical,
    /// The whole cluster.
    Physical,
}

impl Replication {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Replication::None => "none",
            Replication::Logical => "logical",
            Replication::Physical => "physical",
        }
    }
}

/// One client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRow {
    /// Its number, from the counter clients and servers share.
    pub id: u64,
    /// The user it logged in as; empty before it did.
    pub user: String,
    /// The user its servers log in as, once it has a pool; not part of SHOW CLIENTS.
    pub pool_user: Option<String>,
    /// The database it asked for; empty before it did.
    pub database: String,
    /// What it does.
    pub state: ClientState,
    /// Whether it replicates.
    pub replication: Replication,
    /// Where it comes from.
    pub peer: Peer,
    /// Where it came in.
    pub local: Peer,
    /// How long it has been there.
    pub connected_ago: Duration,
    /// How long ago it last asked for something.
    pub request_ago: Duration,
    /// How long it has waited for a server, if it does.
    pub wait: Option<Duration>,
    /// What it waits for; not part of SHOW CLIENTS.
    pub wait_reason: Option<&'static str>,
    /// The number of its server.
    pub link: Option<u64>,
    /// The process at the other end: its own on a unix socket, else its server's.
    pub remote_pid: i32,
    /// The TLS version and cipher.
    pub tls: Option<String>,
    /// The name it gave itself.
    pub application_name: Option<String>,
    /// Its prepared statements.
    pub prepared_statements: usize,
    /// It is to be closed as soon as it is idle.
    pub close_needed: bool,
    /// Its worker; not part of SHOW CLIENTS.
    pub lane: u16,
    /// It is on the console.
    pub admin: bool,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRow {
    /// Its number, from the counter clients and servers share.
    pub id: u64,
    /// The user it is logged in as.
    pub user: String,
    /// The database entry it belongs to.
    pub database: String,
    /// What it does.
    pub state: ServerState,
    /// Whether it replicates.
    pub replication: Replication,
    /// Where it is; `None` while its name is looked up.
    pub address: Option<Address>,
    /// Our end.
    pub local: Option<Peer>,
    /// How long it has been there.
    pub connected_ago: Duration,
    /// How long ago it was last given something to do.
    pub request_ago: Duration,
    /// The number of its client.
    pub link: Option<u64>,
    /// Its process on the server's machine.
    pub remote_pid: i32,
    /// The TLS version and cipher.
    pub tls: Option<String>,
    /// The name it was last given.
    pub application_name: Option<String>,
    /// Its prepared statements.
    pub prepared_statements: usize,
    /// It is to be closed as soon as it is idle.
    pub close_needed: bool,
    /// The worker it is on; not part of SHOW SERVERS.
    pub lane: u16,
    /// It is inside a transaction and has nothing to do; not part of SHOW SERVERS.
    pub idles_in_transaction: bool,
}

/// What rows of sockets are shown relative to.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The time of day.
    pub now: SystemTime,
    /// The port we listen on, which PgBouncer shows for unix sockets too.
    pub listen_port: u16,
}

const COLUMNS: &[Column] = columns! {
    Text: "type" "user" "database" "replication" "state" "addr";
    Int: "port";
    Text: "local_addr";
    Int: "local_port";
    Text: "connect_time" "request_time";
    Int: "wait" "wait_us" "close_needed";
    Text: "ptr" "link";
    Int: "remote_pid";
    Text: "tls" "application_name";
    Int: "prepared_statements" "id";
};

const SOCKET_COLUMNS: &[Column] = columns! {
    Text: "type" "user" "database" "replication" "state" "addr";
    Int: "port";
    Text: "local_addr";
    Int: "local_port";
    Text: "connect_time" "request_time";
    Int: "wait" "wait_us" "close_needed";
    Text: "ptr" "link";
    Int: "remote_pid";
    Text: "tls" "application_name";
    Int: "prepared_statements" "id" "recv_pos" "pkt_pos" "pkt_remain" "send_pos" "send_remain"
        "pkt_avail" "send_avail";
};

/// SHOW CLIENTS; clients that log in are not there yet.
pub fn clients(rows: &[ClientRow], clock: Clock) -> Table {
    let mut table = Table::new(COLUMNS);
    for client in rows.iter().filter(|client| client.state != ClientState::Login) {
        table.push(client_values(client, client.state.as_str(), clock));
    }
    table
}

/// SHOW SERVERS.
pub fn servers(rows: &[ServerRow], clock: Clock) -> Table {
    let mut table = Table::new(COLUMNS);
    for server in rows {
        table.push(server_values(server, server.state.as_str(), clock));
    }
    table
}

/// SHOW SOCKETS and SHOW ACTIVE_SOCKETS. Buffers here hold nothing between two turns of the
/// loop, so the positions in them are zero.
pub fn sockets(clients: &[ClientRow], servers: &[ServerRow], clock: Clock) -> Table {
    let mut table = Table::new(SOCKET_COLUMNS);
    let buffers = || std::iter::repeat_n(Value::Number(0), 7);
    for client in clients {
        let state = match client.state {
            // PgBouncer lists clients without a server among the active ones.
            ClientState::Idle => "cl_active".to_owned(),
            state => format!("cl_{}", state.as_str()),
        };
        let mut values = client_values(client, &state, clock);
        values.extend(buffers());
        table.push(values);
    }
    for server in servers {
        let state = match server.state {
            ServerState::New => "sv_login".to_owned(),
            state => format!("sv_{}", state.as_str()),
        };
        let mut values = server_values(server, &state, clock);
        values.extend(buffers());
        table.push(values);
    }
    table
}

fn client_values(client: &ClientRow, state: &str, clock: Clock) -> Vec<Value> {
    let (addr, port) = end(&client.peer, clock.listen_port);
    let (local_addr, local_port) = end(&client.local, clock.listen_port);
    let (wait, wait_us) = seconds_and_micros(client.wait.unwrap_or_default());
    let pid = match client.peer {
        Peer::Unix { pid, .. } => pid,
        Peer::Tcp(_) | Peer::Sim(_) => client.remote_pid,
    };
    row![
        "C",
        if client.user.is_empty() { "(nouser)" } else { client.user.as_str() },
        if client.database.is_empty() { "(nodb)" } else { client.database.as_str() },
        client.replication.as_str(),
        state,
        addr,
        port,
        local_addr,
        local_port,
        time_of_day(clock.now, client.connected_ago),
        time_of_day(clock.now, client.request_ago),
        wait,
        wait_us,
        client.close_needed,
        pointer(client.id),
        client.link.map(pointer).unwrap_or_default(),
        pid.unsigned_abs(),
        client.tls.clone().unwrap_or_default(),
        client.application_name.clone().unwrap_or_default(),
        client.prepared_statements,
        client.id,
    ]
}

fn server_values(server: &ServerRow, state: &str, clock: Clock) -> Vec<Value> {
    let (addr, port) = match &server.address {
        Some(Address::Tcp(address)) => (address.ip().to_string(), address.port()),
        Some(Address::Unix(path)) => ("unix".to_owned(), port_of_socket(path)),
        None => (String::new(), 0),
    };
    let (local_addr, local_port) = match &server.local {
        Some(local) => end(local, port),
        None => (String::new(), 0),
    };
    row![
        "S",
        server.user.as_str(),
        server.database.as_str(),
        server.replication.as_str(),
        state,
        addr,
        port,
        local_addr,
        local_port,
        time_of_day(clock.now, server.connected_ago),
        time_of_day(clock.now, server.request_ago),
        0_u32,
        0_u32,
        server.close_needed,
        pointer(server.id),
        server.link.map(pointer).unwrap_or_default(),
        server.remote_pid.unsigned_abs(),
        server.tls.clone().unwrap_or_default(),
        server.application_name.clone().unwrap_or_default(),
        server.prepared_statements,
        server.id,
    ]
}

/// PgBouncer shows where an object is; its number names it as well and gives nothing away.
fn pointer(id: u64) -> String {
    format!("0x{id:x}")
}

fn end(peer: &Peer, unix_port: u16) -> (String, u16) {
    match peer {
        Peer::Tcp(address) => (address.ip().to_string(), address.port()),
        Peer::Unix { .. } => ("unix".to_owned(), unix_port),
        Peer::Sim(number) => (format!("sim-{number}"), 0),
    }
}

/// The port a server's unix socket is named after.
fn port_of_socket(path: &std::path::Path) -> u16 {
    let name = path.to_string_lossy();
    name.rsplit_once('.').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
}

/// Writes the time `ago` before `now` as `2026-01-31 23:59:59 UTC`.
fn time_of_day(now: SystemTime, ago: Duration) -> String {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since_epoch.saturating_sub(ago).as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Turns days since 1970-01-01 into year, month and day of the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from 1 March of the year 0, so that a leap day is the last day of a year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_follow_the_calendar() {
        for (seconds, ago, expected) in [
            (0, 0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, 0, "2000-02-29 00:00:00 UTC"),
            (951_868_800, 1, "2000-02-29 23:59:59 UTC"),
            (1_709_164_800, 0, "2024-02-29 00:00:00 UTC"),
            (1_767_225_599, 0, "2025-12-31 23:59:59 UTC"),
            (4_107_542_400, 0, "2100-03-01 00:00:00 UTC"),
            (5, 10, "1970-01-01 00:00:00 UTC"),
        ] {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(time_of_day(now, Duration::from_secs(ago)), expected);
        }
    }

    #[test]
    fn a_socket_path_ends_in_its_port() {
        let port = |path: &str| port_of_socket(std::path::Path::new(path));
        assert_eq!((port("/run/.s.PGSQL.5433"), port("/run/x"), port("")), (5433, 0, 0));
    }
}
