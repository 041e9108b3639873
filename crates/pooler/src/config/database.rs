//! One entry of `[databases]`.
//!
//! Invariant: a key that is absent here means the user's or the global value; who wins is
//! decided in `effective.rs` only.

use super::choice::{LoadBalance, PoolMode};
use super::host::Hosts;
use super::kind::{Count, OptionalFile, Port, Seconds, SecretText, Text};
use super::table::overrides;
use super::tls::SslMode;

overrides! {
    /// A database that clients may ask for.
    Database;
    dbname: Text, Identity Honoured, "The database on the server",
        "the name that clients use is most often the name on the server";
    host: Hosts, Identity Honoured, "Where the server is",
        "the unix socket directory is where a server on the same machine is found";
    port: Port<1>, Identity Honoured, "The server's port", "5432 is PostgreSQL's own";
    user: Text, Identity Honoured, "The user all clients of the entry become on the server",
        "each client keeps its own name";
    password: SecretText, Identity Honoured, "The password of the forced user",
        "the password of the auth_file or the client's own SCRAM keys are used";
    auth_user: Text, Policy Honoured, "The login that runs auth_query", "the global one is used";
    auth_dbname: Text, Identity Honoured, "The entry in which auth_query runs",
        "the global one is used";
    auth_query: Text, Identity Honoured, "The query that finds a user's secret",
        "the global one is used";
    pool_size: Count, Policy Honoured, "Servers per user, 0 for unlimited",
        "default_pool_size applies";
    min_pool_size: Count, Policy Honoured, "Servers kept open", "the global one applies";
    reserve_pool_size: Count, Policy Honoured, "Extra servers allowed under pressure",
        "the global one applies";
    query_wait_timeout: Seconds, Policy Honoured, "How long a client may wait for a server",
        "the global one applies";
    max_db_connections: Count, Policy Honoured, "Servers of all users together, 0 for no cap",
        "the global one applies";
    max_db_client_connections: Count, Policy Honoured, "Clients of all users together",
        "the global one applies";
    server_lifetime: Seconds, Policy Honoured, "How old a server may get",
        "the global one applies";
    pool_mode: PoolMode, Policy Honoured, "When a server goes back to the pool",
        "the global one applies";
    connect_query: Text, Identity Honoured, "A query run on each new server",
        "most servers need none";
    load_balance_hosts: LoadBalance, Identity Honoured, "What to do with a list of hosts",
        "round-robin spreads the load";
    client_encoding: Text, Identity Honoured, "Sent when logging in to the server",
        "the client's own applies";
    datestyle: Text, Identity Honoured, "Sent when logging in to the server",
        "the client's own applies";
    timezone: Text, Identity Honoured, "Sent when logging in to the server",
        "the client's own applies";
    application_name: Text, Identity Honoured, "Sent when logging in to the server",
        "the client's own applies";
    sslmode: SslMode, Identity Honoured, "How much TLS is asked of this server (headpond only)",
        "server_tls_sslmode applies";
    sslrootcert: OptionalFile, Identity Honoured, "Authorities of this server (headpond only)",
        "server_tls_ca_file applies";
    sslcert: OptionalFile, Identity Honoured, "Our certificate for this server (headpond only)",
        "server_tls_cert_file applies";
    sslkey: OptionalFile, Identity Honoured, "Our key for this server (headpond only)",
        "server_tls_key_file applies";
}

/// The name of the entry that stands for every database without one of its own.
pub const FALLBACK: &str = "*";

/// The name of the console, which no entry may take.
pub const RESERVED: &str = "pgbouncer";

/// The port of a server whose entry names none.
pub const DEFAULT_PORT: u16 = 5432;

impl Database {
    /// Returns the name of the database on the server for a client that asked for `requested`,
    /// which differs from the entry's name only under the fallback entry.
    pub fn server_dbname<'a>(&'a self, requested: &'a str) -> &'a str {
        self.dbname.as_deref().unwrap_or(requested)
    }

    /// Returns the server's port.
    pub fn server_port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }

    /// Returns what to do with a list of hosts.
    pub fn host_order(&self) -> LoadBalance {
        self.load_balance_hosts.unwrap_or(LoadBalance::RoundRobin)
    }

    /// Returns true if this is the entry `*`.
    pub fn is_fallback(&self) -> bool {
        self.name == FALLBACK
    }
}
