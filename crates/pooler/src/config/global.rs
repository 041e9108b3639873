//! The keys of `[pgbouncer]`: names, meanings and defaults as PgBouncer has them.
//!
//! Invariant: every key PgBouncer 1.26 knows is here under its own name; a time of zero means
//! off unless the key says otherwise.
//! Longer than other files because it is one table; splitting it would hide a missing key.

use super::choice::{AuthType, PoolMode};
use super::kind::{
    CheckQuery, Count, File, FileMode, Flag, Hidden, Milliseconds, Names, OptionalFile,
    OptionalText, Port, Ranged, Seconds, Text, WholeSeconds,
};
use super::table::settings;
use super::tls::{Protocols, SslMode};

settings! {
    /// The settings of the whole pooler.
    Global;

    // Listening and process.
    listen_addr: Names = "", Restart Policy Honoured,
        "Addresses or names to listen on, `*` for all",
        "a pooler nobody configured should not be reachable from outside";
    listen_port: Port<0> = "6432", Restart Policy Honoured,
        "The TCP port, also the suffix of the unix socket", "it is PgBouncer's";
    unix_socket_dir: Text = "/tmp", Restart Identity Honoured,
        "Directory of the unix socket and of servers without a host, empty for none, leading `@` \
         for abstract", "libpq looks there";
    unix_socket_mode: FileMode = "0777", Restart Policy Honoured,
        "Mode of the unix socket", "authentication decides who gets in, not the file system";
    unix_socket_group: Text = "", Restart Policy Honoured,
        "Group of the unix socket", "the group of the process is right when all may connect";
    listen_backlog: Count = "128", Restart Policy Honoured,
        "How many connections the system may queue", "it is PgBouncer's";
    so_reuseport: Flag = "0", Restart Policy Honoured,
        "Whether several processes share one port", "one process uses all cores already";
    logfile: File = "", Live Policy Honoured,
        "Path of the log", "a service manager collects what is written to the terminal";
    pidfile: File = "", Restart Policy Honoured,
        "Path of the pid file, needed with -d", "a service manager knows the pid";
    user: OptionalText = "", Restart Policy Honoured,
        "Unix user to switch to", "a service manager starts us as the right one";
    conffile: OptionalFile = "", Live Policy Honoured,
        "File read by the next reload", "the one named at the start is meant";
    job_name: Text = "pgbouncer", Restart Policy Ignored,
        "Name of the Windows service", "it is PgBouncer's; there is no such service here";
    service_name: Text = "pgbouncer", Restart Policy Ignored,
        "Another name for job_name", "it is PgBouncer's; there is no such service here";
    resolv_conf: File = "", Restart Policy Accepted,
        "Own resolver configuration", "the system's is right";
    stats_period: WholeSeconds = "60", Live Policy Honoured,
        "Period of averages and of the stats line", "it is PgBouncer's, and dashboards expect it";
    peer_id: Ranged<16383> = "0", Live Policy Honoured,
        "Number of this process among its peers", "0 means that there are none";
    track_extra_parameters: Names = "IntervalStyle", Live Policy Honoured,
        "Further reported parameters that follow the client",
        "it changes how intervals look in answers";
    ignore_startup_parameters: Names = "", Live Policy Honoured,
        "Startup parameters dropped instead of refused",
        "a parameter silently dropped may be one the client relies on";
    application_name_add_host: Flag = "0", Live Policy Honoured,
        "Whether the client's address is appended to application_name",
        "it costs a SET whenever clients change";
    disable_pqexec: Flag = "0", Live Policy Honoured,
        "Whether the simple query protocol is refused", "most clients use it";
    max_packet_size: Ranged<2147483647> = "2147483647", Live Policy Honoured,
        "Largest message accepted", "it is what the protocol allows; messages are streamed";
    login_notify_message: Text = "", Live Policy Honoured,
        "NOTICE sent after login", "clients expect none";

    // Pools and limits.
    pool_mode: PoolMode = "session", Live Policy Honoured,
        "When a server goes back to the pool", "every client works with it";
    max_client_conn: Count = "100", Live Policy Honoured,
        "Clients in total", "it is PgBouncer's";
    default_pool_size: Count = "20", Live Policy Honoured,
        "Servers per database and user, 0 for unlimited", "it is PgBouncer's";
    min_pool_size: Count = "0", Live Policy Honoured,
        "Servers kept open per pool", "an unused pool should cost the database nothing";
    reserve_pool_size: Count = "0", Live Policy Honoured,
        "Extra servers allowed under pressure", "the limit should be the limit unless told";
    reserve_pool_timeout: Seconds = "5", Live Policy Honoured,
        "How long the oldest waiter waits before the reserve opens", "it is PgBouncer's";
    max_db_connections: Count = "0", Live Policy Honoured,
        "Servers per database over all users, 0 for no cap", "pool sizes limit already";
    max_db_client_connections: Count = "0", Live Policy Honoured,
        "Clients per database, 0 for no cap", "max_client_conn limits already";
    max_user_connections: Count = "0", Live Policy Honoured,
        "Servers per user over all databases, 0 for no cap", "pool sizes limit already";
    max_user_client_connections: Count = "0", Live Policy Honoured,
        "Clients per user, 0 for no cap", "max_client_conn limits already";
    server_round_robin: Flag = "0", Live Policy Honoured,
        "Whether the server idle longest is used next",
        "the one used last has the warmest caches and the others may close";
    max_prepared_statements: Count = "200", Live Policy Honoured,
        "Prepared statements kept per server, 0 for no tracking", "it is PgBouncer's";
    autodb_idle_timeout: Seconds = "3600", Live Policy Honoured,
        "How long an unused database of the `*` entry is remembered", "it is PgBouncer's";
    pool_idle_timeout: Seconds = "0", Live Policy Honoured,
        "How long an empty pool is remembered, 0 for always", "it is PgBouncer's";

    // Authentication.
    auth_type: AuthType = "md5", Live Policy Honoured,
        "How clients prove who they are",
        "it takes SCRAM where the stored secret is a SCRAM one";
    auth_file: OptionalFile = "", Live Policy Honoured,
        "Path of userlist.txt", "there is no place that is right everywhere";
    auth_hba_file: File = "", Live Policy Honoured,
        "Rules for auth_type=hba", "there is no place that is right everywhere";
    auth_ident_file: OptionalFile = "", Live Policy Honoured,
        "Maps of user names for cert and peer", "names are the same on both sides";
    auth_user: OptionalText = "", Live Policy Honoured,
        "The login that runs auth_query", "secrets come from auth_file";
    auth_query: Text = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE \
        rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin", Live Policy Honoured,
        "The query that finds a user's secret", "it honours VALID UNTIL as the server would";
    auth_dbname: OptionalText = "", Live Policy Honoured,
        "The entry in which auth_query runs", "the client's own database is used";
    auth_ldap_options: Hidden = "", Live Policy Accepted,
        "Options for auth_type=ldap", "there is no LDAP server that is right everywhere";
    scram_iterations: Ranged<10000000> = "4096", Live Policy Honoured,
        "Iterations of a SCRAM secret made from a plain password", "it is PostgreSQL's";
    admin_users: Names = "", Live Policy Honoured,
        "Users who may do everything on the console", "nobody may unless told";
    stats_users: Names = "", Live Policy Honoured,
        "Users who may look at the console", "nobody may unless told";

    // Logging.
    syslog: Flag = "0", Live Policy Honoured,
        "Whether to log to syslog too", "the terminal or the file is enough";
    syslog_ident: Text = "pgbouncer", Live Policy Honoured,
        "Name in syslog", "filters for PgBouncer go on working";
    syslog_facility: Text = "daemon", Live Policy Honoured,
        "Facility in syslog: auth, authpriv, daemon, user or local0 to local7", "this is a daemon";
    log_connections: Flag = "1", Live Policy Honoured,
        "Whether to log logins", "who came is the first question after a fault";
    log_disconnections: Flag = "1", Live Policy Honoured,
        "Whether to log the end of connections", "why one left is the second question";
    log_pooler_errors: Flag = "1", Live Policy Honoured,
        "Whether to log errors sent to clients", "they are ours, so no other log has them";
    log_stats: Flag = "1", Live Policy Honoured,
        "Whether to log the periodic stats line", "it is PgBouncer's";
    verbose: Ranged<3> = "0", Live Policy Honoured,
        "How much more to log, 0 to 3", "more is for hunting a fault";

    // Checks and timeouts.
    server_reset_query: Text = "DISCARD ALL", Live Policy Honoured,
        "Query run when a session ends, empty for none",
        "nothing of one session may reach the next";
    server_reset_query_always: Flag = "0", Live Policy Honoured,
        "Whether it runs in the other modes too",
        "clients of those modes must not leave anything behind anyway";
    server_check_query: CheckQuery = "<empty>", Live Policy Honoured,
        "Query that shows whether an idle server answers, empty for no check",
        "an empty query is the cheapest there is";
    server_check_delay: Seconds = "30", Live Policy Honoured,
        "Idle age from which a server is checked, 0 for always", "it is PgBouncer's";
    server_fast_close: Flag = "0", Live Policy Honoured,
        "Whether an obsolete server of a session is closed as soon as it is idle",
        "it disconnects a client that did nothing wrong";
    server_lifetime: Seconds = "3600", Live Policy Honoured,
        "How old a server may get, 0 for a single use",
        "memory a server process has gathered is given back once an hour";
    server_idle_timeout: Seconds = "600", Live Policy Honoured,
        "How long a server may be idle, 0 for ever", "it is PgBouncer's";
    server_connect_timeout: Seconds = "15", Live Policy Honoured,
        "How long connecting and logging in may take", "it is PgBouncer's";
    server_login_retry: Seconds = "15", Live Policy Honoured,
        "Pause after a failed login", "it is PgBouncer's";
    client_login_timeout: Seconds = "60", Live Policy Honoured,
        "How long a client may take to log in", "it is PgBouncer's";
    query_timeout: Seconds = "0", Live Policy Honoured,
        "How long a query may run", "only the owner of a query knows how long it may";
    query_wait_timeout: Seconds = "120", Live Policy Honoured,
        "How long a client may wait for a server", "it is PgBouncer's";
    query_wait_notify: WholeSeconds = "5", Live Policy Honoured,
        "After how long a waiting client is told so", "it is PgBouncer's";
    cancel_wait_timeout: Seconds = "10", Live Policy Honoured,
        "How long a cancel request may wait", "it is PgBouncer's";
    client_idle_timeout: Seconds = "0", Live Policy Honoured,
        "How long a client may do nothing", "an idle client costs next to nothing";
    idle_transaction_timeout: Seconds = "0", Live Policy Honoured,
        "How long a transaction may be idle", "PostgreSQL has a setting of its own";
    transaction_timeout: Seconds = "0", Live Policy Honoured,
        "How long a transaction may last", "PostgreSQL has a setting of its own";
    suspend_timeout: Seconds = "10", Live Policy Accepted,
        "How long SUSPEND may take to flush", "it is PgBouncer's";
    dns_max_ttl: Seconds = "15", Live Policy Honoured,
        "How long an address is remembered", "a failover by DNS is seen within this time";
    dns_nxdomain_ttl: Seconds = "15", Live Policy Honoured,
        "How long a name without address is remembered", "it is PgBouncer's";
    dns_zone_check_period: Seconds = "0", Live Policy Accepted,
        "How often zone serials are polled", "it is PgBouncer's";

    // TLS.
    client_tls_sslmode: SslMode = "disable", Live Policy Honoured,
        "How much TLS is asked of clients", "TLS needs a key and a certificate";
    client_tls_key_file: File = "", Live Policy Honoured,
        "Our key towards clients", "it must be made for each installation";
    client_tls_cert_file: File = "", Live Policy Honoured,
        "Our certificate towards clients", "it must be made for each installation";
    client_tls_ca_file: File = "", Live Policy Honoured,
        "Authorities of client certificates", "most clients have no certificate";
    client_tls_protocols: Protocols = "secure", Live Policy Honoured,
        "TLS versions for clients", "older ones are broken";
    client_tls_ciphers: Text = "default", Live Policy Honoured,
        "OpenSSL list of ciphers up to TLS 1.2", "the TLS library's choice is sound";
    client_tls13_ciphers: OptionalText = "", Live Policy Honoured,
        "Cipher suites of TLS 1.3", "the TLS library's choice is sound";
    client_tls_dheparams: Text = "auto", Live Policy Ignored,
        "Finite-field key exchange", "it is PgBouncer's; only elliptic curves are used here";
    client_tls_ecdhcurve: Text = "auto", Live Policy Accepted,
        "Curve of the key exchange", "the TLS library's choice is sound";
    server_tls_sslmode: SslMode = "prefer", Live Identity Honoured,
        "How much TLS is asked of servers", "it is libpq's";
    server_tls_ca_file: File = "", Live Identity Honoured,
        "Authorities of server certificates", "it must be given for verify-ca and verify-full";
    server_tls_key_file: File = "", Live Identity Honoured,
        "Our key towards servers", "most servers ask for none";
    server_tls_cert_file: File = "", Live Identity Honoured,
        "Our certificate towards servers", "most servers ask for none";
    server_tls_protocols: Protocols = "secure", Live Identity Honoured,
        "TLS versions for servers", "older ones are broken";
    server_tls_ciphers: Text = "default", Live Policy Honoured,
        "OpenSSL list of ciphers up to TLS 1.2", "the TLS library's choice is sound";
    server_tls13_ciphers: OptionalText = "", Live Policy Honoured,
        "Cipher suites of TLS 1.3", "the TLS library's choice is sound";

    // Low-level network.
    pkt_buf: Count = "4096", Restart Policy Ignored,
        "Size of PgBouncer's stream buffer", "it is PgBouncer's; buffers here size themselves";
    sbuf_loopcnt: Count = "5", Live Policy Ignored,
        "Buffer turns per socket and loop", "it is PgBouncer's; the loop here has its own budget";
    tcp_defer_accept: Flag = "1", Live Policy Accepted,
        "Whether the system waits for data before it reports a client", "it is PgBouncer's";
    tcp_socket_buffer: Count = "0", Live Policy Honoured,
        "Send and receive buffer of sockets, 0 for the system's", "the system tunes them itself";
    tcp_keepalive: Flag = "1", Live Policy Honoured,
        "Whether dead peers are noticed by the system", "a dead client would hold its place";
    tcp_keepcnt: Count = "0", Live Policy Honoured,
        "Probes without answer until a peer is dead, 0 for the system's", "it is PgBouncer's";
    tcp_keepidle: Count = "0", Live Policy Honoured,
        "Seconds of silence before the first probe, 0 for the system's", "it is PgBouncer's";
    tcp_keepintvl: Count = "0", Live Policy Honoured,
        "Seconds between probes, 0 for the system's", "it is PgBouncer's";
    tcp_user_timeout: Milliseconds = "0", Live Policy Honoured,
        "Milliseconds sent data may go unacknowledged, 0 for the system's", "it is PgBouncer's";
}
