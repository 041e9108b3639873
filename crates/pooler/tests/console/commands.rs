//! What the commands do to one or two clients.

use tokio_postgres::NoTls;

use crate::bench::{
    Bench, LOOKER, SECOND, STRANGER, Shown, ask, describe, refused, run, tell, until,
};
use crate::support::Pooler;
use crate::support::postgres::{APP, SUPERUSER, connect};

fn paused_in(database: &'static str) -> impl Fn(&Shown) -> bool {
    move |shown| shown.of(database, "paused").as_deref() == Some("1")
}

#[test]
fn a_pause_of_one_database_leaves_the_others_at_work() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let first = bench.client(APP, APP).await;
        first.simple_query("SELECT 1").await.expect("an answer");
        let second = bench.client(APP, SECOND).await;
        tell(&console, "PAUSE app").await;
        tell(&console, "PAUSE app").await;
        assert!(paused_in(APP)(&tell(&console, "SHOW DATABASES").await));
        second.simple_query("SELECT 1").await.expect("the other database answers");
        let held = tokio::spawn(async move { first.simple_query("SELECT 1").await.is_ok() });
        let waits = |shown: &Shown| shown.of(APP, "cl_waiting").as_deref() == Some("1");
        until(&console, "SHOW POOLS", waits).await;
        assert_eq!(refused(&console, "RESUME").await, "08P01 pooler is not paused/suspended");
        tell(&console, "RESUME app").await;
        assert!(held.await.expect("no panic"));
    });
}

#[test]
fn a_pool_that_is_made_during_a_pause_is_paused() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        for (pause, resume, database) in
            [("PAUSE", "RESUME", APP), ("PAUSE second", "RESUME second", SECOND)]
        {
            tell(&console, pause).await;
            let config = bench.config(APP, database);
            let newcomer = tokio::spawn(async move {
                let client = connect(&config).await?;
                client.simple_query("SELECT 1").await
            });
            let waits = |shown: &Shown| shown.of(database, "cl_waiting").as_deref() == Some("1");
            until(&console, "SHOW POOLS", waits).await;
            let pools = tell(&console, "SHOW POOLS").await;
            assert_eq!(pools.of(database, "sv_login").as_deref(), Some("0"));
            tell(&console, resume).await;
            newcomer.await.expect("no panic").expect("it gets in after the pause");
        }
    });
}

#[test]
fn a_pause_that_is_not_over_ends_with_its_asker() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let holder = bench.client(APP, APP).await;
        holder.batch_execute("BEGIN").await.expect("a transaction");
        let paused = |shown: &Shown| shown.rows[1][1].as_deref() == Some("yes");
        let active = |shown: &Shown| shown.rows[0][1].as_deref() == Some("yes");

        // Cancelled.
        let asker = bench.console(SUPERUSER).await;
        let cancel = asker.cancel_token();
        let asked = tokio::spawn(async move { refused(&asker, "PAUSE").await });
        until(&console, "SHOW STATE", paused).await;
        assert!(!asked.is_finished());
        cancel.cancel_query(NoTls).await.expect("a cancel request");
        let answer = asked.await.expect("no panic");
        assert_eq!(answer, "57014 canceling statement due to user request");
        until(&console, "SHOW STATE", active).await;

        // Gone.
        let config = bench.config(SUPERUSER, "pgbouncer");
        let (asker, connection) = config.connect(NoTls).await.expect("the console");
        let connection = tokio::spawn(connection);
        let asked = tokio::spawn(async move { ask(&asker, "PAUSE app").await.is_ok() });
        until(&console, "SHOW DATABASES", paused_in(APP)).await;
        assert!(!asked.is_finished());
        connection.abort();
        until(&console, "SHOW DATABASES", |shown| !paused_in(APP)(shown)).await;

        // Resumed by somebody else.
        let asker = bench.console(SUPERUSER).await;
        let asked = tokio::spawn(async move { refused(&asker, "PAUSE").await });
        until(&console, "SHOW STATE", paused).await;
        tell(&console, "RESUME").await;
        assert_eq!(asked.await.expect("no panic"), "08P01 PAUSE was ended by RESUME");

        holder.batch_execute("SELECT 1; COMMIT").await.expect("nothing happened to the holder");
        tell(&console, "PAUSE").await;
        assert_eq!(bench.backends().await, 0, "a pause closes the servers");
        tell(&console, "RESUME").await;
        holder.simple_query("SELECT 1").await.expect("and a resume opens them again");
    });
}

#[test]
fn clients_of_an_entry_with_a_user_of_its_own_keep_their_names() {
    let bench = Bench::start("max_user_client_connections = 2\n");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let port = bench.postgres.port();
        let forced = format!("forced = host=127.0.0.1 port={port} dbname={APP} user={APP}\n");
        bench.write(&bench.ini(&forced, "max_user_client_connections = 2\n"));
        tell(&console, "RELOAD").await;
        let mut clients = Vec::new();
        for user in [STRANGER, STRANGER, LOOKER] {
            let client = bench.client(user, "forced").await;
            let row = client.query_one("SELECT current_user::text", &[]).await.expect("a row");
            assert_eq!(row.get::<_, String>(0), APP);
            clients.push(client);
        }
        let shown = tell(&console, "SHOW CLIENTS").await.with("database", "forced");
        let mut users = shown.column("user");
        users.sort();
        assert_eq!(users, [LOOKER, STRANGER, STRANGER]);
        let pools = tell(&console, "SHOW POOLS").await;
        assert_eq!(pools.of("forced", "user").as_deref(), Some(APP));
        assert_eq!(pools.of("forced", "cl_active").as_deref(), Some("3"));
        let users = tell(&console, "SHOW USERS").await;
        assert_eq!(users.of(STRANGER, "current_client_connections").as_deref(), Some("2"));
        assert_eq!(users.of(APP, "current_client_connections").as_deref(), Some("0"));
        let refused = connect(&bench.config(STRANGER, "forced")).await.expect_err("one too many");
        let told = describe(&refused);
        assert!(told.contains("(max_user_client_connections)"), "{told}");
    });
}

#[test]
fn signals_pause_and_resume_like_the_commands() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let client = bench.client(APP, APP).await;
        client.simple_query("SELECT 1").await.expect("an answer");
        bench.pooler.signal("USR1");
        until(&console, "SHOW STATE", |shown| shown.rows[1][1].as_deref() == Some("yes")).await;
        until(&console, "SHOW SERVERS", |shown| shown.rows.is_empty()).await;
        assert_eq!(refused(&console, "PAUSE").await, "08P01 already suspended/paused");
        bench.pooler.signal("USR2");
        client.simple_query("SELECT 1").await.expect("an answer after the pause");
        bench.pooler.signal("HUP");
        let said = |line: &str| line.contains("configuration reloaded");
        assert!(bench.pooler.log().wait_for(said));
    });
}

#[test]
fn a_killed_client_hears_why_and_the_others_nothing() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let mut config = bench.config(APP, APP);
        let victim = connect(config.application_name("victim")).await.expect("a client");
        victim.batch_execute("BEGIN").await.expect("a transaction");
        let other = bench.client(APP, APP).await;
        let clients = tell(&console, "SHOW CLIENTS").await;
        let id = clients.with("application_name", "victim").column("id");
        tell(&console, &format!("KILL_CLIENT {}", id[0])).await;
        let error = victim.simple_query("SELECT 1").await.expect_err("it was killed");
        let told = describe(&error);
        assert!(error.is_closed() || told.contains("admin forced disconnect"), "{told}");
        other.simple_query("SELECT 1").await.expect("the other client");
        let clients = tell(&console, "SHOW CLIENTS").await;
        assert_eq!(clients.with("application_name", "victim").rows.len(), 0);
        let command = format!("KILL_CLIENT {}", id[0]);
        assert_eq!(refused(&console, &command).await, "08P01 client not found");
        let said = |line: &str| line.contains("closing because: admin forced disconnect");
        assert!(bench.pooler.log().wait_for(said));
    });
}

#[test]
fn a_disabled_database_takes_no_new_clients_and_keeps_the_old() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let old = bench.client(APP, APP).await;
        tell(&console, "DISABLE app").await;
        let databases = tell(&console, "SHOW DATABASES").await;
        assert_eq!(databases.of(APP, "disabled").as_deref(), Some("1"));
        old.simple_query("SELECT 1").await.expect("the old client is served");
        let error = connect(&bench.config(APP, APP)).await.expect_err("disabled");
        assert!(describe(&error).contains("database \"app\" is disabled"), "{}", describe(&error));
        bench.client(APP, SECOND).await;
        tell(&console, "ENABLE app").await;
        bench.client(APP, APP).await.simple_query("SELECT 1").await.expect("enabled again");
        let issued = |line: &str| line.contains("DISABLE 'app' command issued");
        assert!(bench.pooler.log().wait_for(issued));
    });
}

#[test]
fn servers_that_are_replaced_are_waited_for() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let holder = bench.client(APP, APP).await;
        let pid = "SELECT pg_backend_pid()";
        let before: i32 = holder.query_one(pid, &[]).await.expect("a pid").get(0);
        let same: i32 = holder.query_one(pid, &[]).await.expect("a pid").get(0);
        assert_eq!(before, same, "an idle server is used again");
        tell(&console, "WAIT_CLOSE").await;
        holder.batch_execute("BEGIN").await.expect("a transaction");
        tell(&console, "RECONNECT app").await;
        let servers = tell(&console, "SHOW SERVERS").await;
        assert_eq!(servers.column("close_needed"), ["1"]);
        tell(&console, "WAIT_CLOSE second").await;
        let waiter = bench.console(SUPERUSER).await;
        let waiting = tokio::spawn(async move { tell(&waiter, "WAIT_CLOSE app").await });
        let waits = |shown: &Shown| shown.with("state", "active").rows.len() == 1;
        for _ in 0..20 {
            until(&console, "SHOW SERVERS", waits).await;
        }
        assert!(!waiting.is_finished(), "the holder still has the old server");
        let during: i32 = holder.query_one(pid, &[]).await.expect("a pid").get(0);
        assert_eq!(during, before);
        holder.batch_execute("COMMIT").await.expect("the transaction ends");
        waiting.await.expect("no panic");
        let after: i32 = holder.query_one(pid, &[]).await.expect("a pid").get(0);
        assert_ne!(after, before);
        let servers = tell(&console, "SHOW SERVERS").await;
        assert_eq!(servers.column("close_needed"), ["0"]);
    });
}

#[test]
fn a_session_leaves_a_server_that_is_replaced_when_its_transaction_is_over() {
    let bench = Bench::start("pool_mode = session\nserver_fast_close = 1\n");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let idle = bench.client(APP, APP).await;
        idle.simple_query("SELECT 1").await.expect("an answer");
        let busy = bench.client(APP, APP).await;
        busy.batch_execute("BEGIN").await.expect("a transaction");
        tell(&console, "RECONNECT app").await;
        until(&console, "SHOW SERVERS", |shown| shown.rows.len() == 1).await;
        assert!(idle.simple_query("SELECT 1").await.is_err(), "its server is gone");
        busy.simple_query("SELECT 1").await.expect("the transaction goes on");
        busy.batch_execute("COMMIT").await.expect("and ends in order");
        tell(&console, "WAIT_CLOSE app").await;
        assert!(busy.simple_query("SELECT 1").await.is_err(), "its server is gone");
        let said = |line: &str| line.contains("closing because: database configuration changed");
        assert!(bench.pooler.log().wait_for(said));
    });
}

#[test]
fn a_killed_database_loses_its_clients_and_stays_paused() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let victim = bench.client(APP, APP).await;
        victim.batch_execute("BEGIN").await.expect("a transaction");
        let survivor = bench.client(APP, SECOND).await;
        tell(&console, "KILL app").await;
        assert!(victim.simple_query("SELECT 1").await.is_err());
        survivor.simple_query("SELECT 1").await.expect("another database");
        assert!(paused_in(APP)(&tell(&console, "SHOW DATABASES").await));
        tell(&console, "RESUME app").await;
        bench.client(APP, APP).await.simple_query("SELECT 1").await.expect("it lives again");
        tell(&console, "KILL").await;
        assert!(survivor.simple_query("SELECT 1").await.is_err());
        until(&console, "SHOW SERVERS", |shown| shown.rows.is_empty()).await;
        tell(&console, "RESUME").await;
        bench.client(APP, SECOND).await.simple_query("SELECT 1").await.expect("it lives again");
    });
}
