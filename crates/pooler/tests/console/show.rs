//! What SHOW shows: names of columns, rows that must be there, numbers that must agree.

use std::process::Command;

use crate::bench::{Bench, LOOKER, SECOND, STRANGER, ask, refused, run, tell, until};
use crate::support::Pooler;
use crate::support::postgres::{APP, SUPERUSER, SUPERUSER_PASSWORD, program};
use crate::support::process::{Account, command};

const SOCKET: &str = "type user database replication state addr port local_addr local_port \
     connect_time request_time wait wait_us close_needed ptr link remote_pid tls application_name \
     prepared_statements id";
const COUNTERS: [&str; 12] = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "bytes_received",
    "bytes_sent",
    "xact_time",
    "query_time",
    "wait_time",
    "client_parse_count",
    "server_parse_count",
    "bind_count",
    "client_login_count",
];

fn columns() -> Vec<(&'static str, String)> {
    let own = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let totals = format!("database {}", COUNTERS.join(" "));
    let mut table: Vec<(&'static str, String)> = [
        ("CLIENTS", SOCKET),
        ("SERVERS", SOCKET),
        (
            "POOLS",
            "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req \
             sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login \
             maxwait maxwait_us pool_mode load_balance_hosts",
        ),
        (
            "PEER_POOLS",
            "peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login",
        ),
        ("PEERS", "peer_id host port pool_size"),
        (
            "DATABASES",
            "name host port database force_user pool_size min_pool_size reserve_pool_size \
             server_lifetime pool_mode load_balance_hosts max_connections current_connections \
             max_client_connections current_client_connections paused disabled",
        ),
        (
            "USERS",
            "name pool_size reserve_pool_size pool_mode max_user_connections current_connections \
             max_user_client_connections current_client_connections",
        ),
        ("LISTS", "list items"),
        ("CONFIG", "key value default changeable"),
        ("MEM", "name size used free memtotal"),
        ("STATE", "key value"),
        ("DNS_HOSTS", "hostname ttl addrs"),
        ("DNS_ZONES", "zonename serial count"),
        ("VERSION", "version"),
        ("TOTALS", "name value"),
        (
            "STATS",
            "database total_server_assignment_count total_xact_count total_query_count \
             total_received total_sent total_xact_time total_query_time total_wait_time \
             total_client_parse_count total_server_parse_count total_bind_count \
             total_client_login_count avg_server_assignment_count avg_xact_count avg_query_count \
             avg_recv avg_sent avg_xact_time avg_query_time avg_wait_time avg_client_parse_count \
             avg_server_parse_count avg_bind_count avg_client_login_count",
        ),
        (
            "STATS_AVERAGES",
            "database server_assignment_count xact_count query_count bytes_received bytes_sent \
             xact_time query_time wait_time avg_client_parse_count avg_server_parse_count \
             avg_bind_count avg_client_login_count",
        ),
    ]
    .into_iter()
    .map(|(name, text)| (name, own(text)))
    .collect();
    let sockets = own(&format!(
        "{SOCKET} recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail"
    ));
    table.push(("SOCKETS", sockets.clone()));
    table.push(("ACTIVE_SOCKETS", sockets));
    table.push(("STATS_TOTALS", totals));
    table
}

#[test]
fn every_show_has_the_columns_of_pgbouncer() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(LOOKER).await;
        for (what, columns) in columns() {
            let shown = tell(&console, &format!("SHOW {what}")).await;
            assert_eq!(shown.columns.join(" "), columns, "SHOW {what}");
            let again = tell(&console, &format!("select {};", what.to_lowercase())).await;
            assert_eq!(again.columns, shown.columns);
        }
        let help = tell(&console, "SHOW HELP").await;
        assert!(help.columns.is_empty() && help.rows.is_empty());
        for (name, value) in [
            ("client_encoding", "UTF-8"),
            ("default_transaction_isolation", "read committed"),
            ("standard_conforming_strings", "on"),
            ("datestyle", "ISO"),
            ("timezone", "GMT"),
        ] {
            let shown = tell(&console, &format!("SHOW {name}")).await;
            assert_eq!(shown.columns, [name]);
            assert_eq!(shown.rows, [[Some(value.to_owned())]]);
            tell(&console, &format!("SET {name} = 'anything'")).await;
        }
    });
}

#[test]
fn the_tables_agree_with_each_other_and_with_what_is_going_on() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let busy = bench.client(APP, APP).await;
        busy.batch_execute("BEGIN; SELECT 1").await.expect("a transaction");
        let idle = bench.client(APP, APP).await;
        idle.simple_query("SELECT 1").await.expect("an answer");

        let pools = tell(&console, "SHOW POOLS").await;
        assert_eq!(pools.column("database"), [APP, "pgbouncer"]);
        assert_eq!(pools.of("pgbouncer", "cl_active").as_deref(), Some("1"));
        assert_eq!(pools.of("pgbouncer", "pool_mode").as_deref(), Some("statement"));
        let of_app = |column: &str| pools.of(APP, column).expect("no number is NULL");
        assert_eq!((of_app("cl_active"), of_app("cl_waiting")), ("2".into(), "0".into()));
        assert_eq!((of_app("sv_active"), of_app("sv_idle")), ("1".into(), "1".into()));
        assert_eq!(of_app("pool_mode"), "transaction");

        let clients = tell(&console, "SHOW CLIENTS").await;
        let servers = tell(&console, "SHOW SERVERS").await;
        let mut states = clients.with("database", APP).column("state");
        states.sort();
        assert_eq!(states, ["active", "idle"]);
        let admin = clients.with("database", "pgbouncer");
        assert_eq!(
            (admin.column("user"), admin.column("state")),
            (vec![SUPERUSER.into()], vec!["active".into()])
        );
        let linked = clients.with("state", "active").with("database", APP);
        let server = servers.with("state", "active");
        assert_eq!(
            (linked.column("link"), linked.column("ptr")),
            (server.column("ptr"), server.column("link"))
        );
        assert_eq!(servers.column("type"), ["S", "S"]);
        let sockets = tell(&console, "SHOW SOCKETS").await;
        assert_eq!(sockets.rows.len(), clients.rows.len() + servers.rows.len());
        let active = tell(&console, "SHOW ACTIVE_SOCKETS").await;
        assert_eq!(active.rows.len(), 3, "one pair and the console");

        let databases = tell(&console, "SHOW DATABASES").await;
        assert_eq!(databases.column("name"), [APP, "pgbouncer", SECOND]);
        let of = |name: &str, column: &str| databases.of(name, column).unwrap_or_default();
        assert_eq!((of(APP, "pool_size"), of(SECOND, "pool_size")), ("5".into(), "3".into()));
        assert_eq!(of(APP, "current_connections"), "2");
        assert_eq!(of(APP, "current_client_connections"), "2");
        assert_eq!(of(APP, "host"), "127.0.0.1");
        assert_eq!(
            (of("pgbouncer", "force_user"), of("pgbouncer", "pool_size")),
            ("pgbouncer".into(), "2".into())
        );
        assert_eq!(of("pgbouncer", "pool_mode"), "statement");

        let users = tell(&console, "SHOW USERS").await;
        assert_eq!(users.column("name"), [APP, LOOKER, "pgbouncer", SUPERUSER, STRANGER]);
        assert_eq!(users.of(LOOKER, "pool_mode").as_deref(), Some("session"));
        assert_eq!(users.of(LOOKER, "max_user_connections").as_deref(), Some("7"));
        assert_eq!(users.of(APP, "current_connections").as_deref(), Some("2"));

        let lists = tell(&console, "SHOW LISTS").await;
        for (list, items) in [
            ("databases", "3"),
            ("users", "5"),
            ("pools", "2"),
            ("used_clients", "3"),
            ("login_clients", "0"),
            ("used_servers", "2"),
        ] {
            assert_eq!(lists.of(list, "items").as_deref(), Some(items), "{list}");
        }
        let state = tell(&console, "SHOW STATE").await;
        assert_eq!(state.column("value"), ["yes", "no", "no"]);
    });
}

#[test]
fn statistics_count_queries_and_the_consoles_commands() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let client = bench.client(APP, APP).await;
        for _ in 0..10 {
            client.simple_query("SELECT 1").await.expect("an answer");
        }
        let count = |shown: &crate::bench::Shown, name: &str, column: &str| -> u64 {
            shown.of(name, column).expect("no number is NULL").parse().expect("a number")
        };
        let shown = tell(&console, "SHOW STATS_TOTALS").await;
        assert_eq!(shown.column("database"), [APP, "pgbouncer", SECOND]);
        for column in ["query_count", "xact_count", "server_assignment_count"] {
            assert_eq!(count(&shown, APP, column), 10, "{column}");
        }
        assert_eq!(count(&shown, APP, "client_login_count"), 1);
        assert!(count(&shown, APP, "bytes_received") > 0 && count(&shown, APP, "bytes_sent") > 0);
        assert_eq!(count(&shown, SECOND, "query_count"), 0);
        let before = count(&shown, "pgbouncer", "query_count");
        let shown = tell(&console, "SHOW STATS").await;
        assert_eq!(count(&shown, "pgbouncer", "total_query_count"), before + 1);
        assert_eq!(count(&shown, "pgbouncer", "total_xact_count"), before + 1);
        let totals = tell(&console, "SHOW TOTALS").await;
        let all = count(&totals, "total_query_count", "value");
        assert_eq!(all, 10 + before + 2);
    });
}

#[test]
fn the_version_is_what_the_program_says_and_psql_reads_the_console() {
    let bench = Bench::start("");
    let place = bench.pooler.place();
    let mut psql = Command::new(program("psql"));
    psql.args(["-X", "-h", "127.0.0.1", "-p", &place.port.to_string(), "-U", SUPERUSER]);
    psql.args(["pgbouncer", "-c", "SHOW POOLS;", "-c", "SHOW VERSION"]);
    let output = psql.env("PGPASSWORD", SUPERUSER_PASSWORD).output().expect("psql runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("pgbouncer | pgbouncer |         1 |"), "{text}");
    assert!(text.contains(headpond_pooler::VERSION_LINE), "{text}");

    // The pooler's own account needs no password on the unix socket.
    let mut psql = command(Account::unprivileged(), &program("psql"));
    psql.args(["-XAt", "-p", &place.port.to_string(), "-U", "pgbouncer", "-h"]);
    psql.arg(&place.directory).args(["pgbouncer", "-c", "SHOW VERSION", "-c", "PAUSE"]);
    let output = psql.output().expect("psql runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.trim(), format!("{}\nPAUSE", headpond_pooler::VERSION_LINE));
    assert!(bench.pooler.log().wait_for(|line| line.contains("pgbouncer access from unix socket")));
}

#[test]
fn a_waiting_client_is_shown_as_one_and_a_change_of_settings_at_once() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        tell(&console, "SET default_pool_size = 1").await;
        let shown = tell(&console, "SHOW CONFIG").await;
        assert_eq!(shown.of("default_pool_size", "value").as_deref(), Some("1"));
        assert_eq!(shown.of("default_pool_size", "default").as_deref(), Some("20"));
        assert_eq!(shown.of("default_pool_size", "changeable").as_deref(), Some("yes"));
        assert_eq!(shown.of("listen_port", "changeable").as_deref(), Some("no"));
        let mut keys = shown.column("key");
        keys.sort();
        assert_eq!(keys, shown.column("key"), "in the order of the keys");
        for (command, why) in [
            ("SET default_pool_size = many", "a number"),
            ("SET listen_port = 1", "needs a restart"),
            ("SET no_such_key = 1", "unknown"),
            ("SET auth_file = '/nowhere/at/all'", "cannot be read"),
        ] {
            assert_eq!(refused(&console, command).await, "08P01 SET failed", "{why}");
        }

        let holder = bench.client(APP, APP).await;
        holder.batch_execute("BEGIN").await.expect("a transaction");
        let waiter = bench.client(APP, APP).await;
        let waiting = tokio::spawn(async move { waiter.simple_query("SELECT 1").await.is_ok() });
        let waits =
            |shown: &crate::bench::Shown| shown.of(APP, "cl_waiting").as_deref() == Some("1");
        until(&console, "SHOW POOLS", waits).await;
        let clients = tell(&console, "SHOW CLIENTS").await;
        assert_eq!(clients.with("state", "waiting").rows.len(), 1);
        // The pool grows while somebody waits for it.
        tell(&console, "SET default_pool_size TO '2'").await;
        assert!(waiting.await.expect("no panic"), "the new server serves who waited");
        holder.batch_execute("COMMIT").await.expect("the transaction ends");
        assert!(ask(&console, "SHOW NOTHING").await.is_err());
    });
}
