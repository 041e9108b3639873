//! Through a PgBouncer in transaction mode, which keeps no statements and shares its servers.

use std::fs;
use std::path::Path;

use headpond::postgres::{Config, Environment, Route, builder};
use headpond::transaction::Options;

use super::support::process::{Account, Process, free_port};
use super::support::server::{APP, APP_PASSWORD};
use super::support::{Server, run, text};

/// A PgBouncer with two servers for the database `app`.
struct PgBouncer {
    _process: Process,
    _folder: tempfile::TempDir,
    port: u16,
}

impl PgBouncer {
    fn start(server: &Server) -> Self {
        let account = Account::unprivileged();
        let folder = tempfile::Builder::new().prefix("hp-pgb").tempdir().unwrap();
        Account::own(account, folder.path());
        let users = folder.path().join("users.txt");
        fs::write(&users, format!("\"{APP}\" \"{APP_PASSWORD}\"\n")).unwrap();
        Account::own(account, &users);
        for _ in 0..5 {
            let port = free_port();
            let ini = folder.path().join("pgbouncer.ini");
            let text = format!(
                "[databases]\napp = host=127.0.0.1 port={} dbname=app\n[pgbouncer]\n\
                 listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                 auth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\n\
                 default_pool_size = 2\nserver_tls_sslmode = disable\nverbose = 0\n",
                server.port(),
                users.display()
            );
            fs::write(&ini, text).unwrap();
            Account::own(account, &ini);
            let program = Path::new("/usr/sbin/pgbouncer");
            assert!(program.exists(), "PgBouncer is not installed");
            let process = Process::start("pgbouncer", account, program, &[&ini], &[], "INT");
            if process.log().wait_for(|line| line.contains("process up")) {
                return Self { _process: process, _folder: folder, port };
            }
        }
        panic!("PgBouncer does not start");
    }
}

#[test]
fn through_pgbouncer_parameters_work_and_no_statement_or_setting_stays_behind() {
    let server = Server::start();
    let pgbouncer = PgBouncer::start(&server);
    run(async {
        let url = format!("postgresql://{APP}:{APP_PASSWORD}@127.0.0.1:{}/app", pgbouncer.port);
        let environment = Environment::of([
            ("USER", "me"),
            ("USE_PGBOUNCER", "true"),
            ("PGBOUNCER_URL", &url),
            ("DATABASE_URL", "postgresql://elsewhere/app"),
        ]);
        let config = Config::from_env_in(&environment).unwrap();
        assert_eq!(config.route, Route::Pooler);
        let pool = builder(config).unwrap().max(8).min(0).build().unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..8_i32 {
            let pool = pool.clone();
            tasks.spawn(async move {
                for round in 0..25_i32 {
                    let connection = pool.get().await.unwrap();
                    let query = "SELECT $1::int4 + $2::int4, pg_backend_pid()";
                    let rows = connection.query(query, &[&task, &round]).await.unwrap();
                    assert_eq!(rows[0].get::<_, i32>(0), task + round);
                    assert_eq!(connection.execute("SELECT $1::text", &[&"x"]).await.unwrap(), 1);
                    drop(connection);
                    let sum = pool.with_transaction(Options::default(), async move |tx| {
                        let rows = tx.query("SELECT $1::int4 * 2", &[&task]).await?;
                        Ok::<i32, tokio_postgres::Error>(rows[0].get(0))
                    });
                    assert_eq!(sum.await.unwrap(), task * 2);
                }
            });
        }
        while let Some(joined) = tasks.join_next().await {
            joined.unwrap();
        }
        for _ in 0..8 {
            let connection = pool.get().await.unwrap();
            let left = "SELECT count(*) FROM pg_prepared_statements";
            assert_eq!(text(&connection, left).await, "0", "statements stay behind");
            let limit = "SELECT current_setting('statement_timeout')";
            assert_eq!(text(&connection, limit).await, "0", "settings reach others");
        }
        let backends = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
        let count: u32 = server.psql("postgres", backends).trim().parse().unwrap();
        assert!(count <= 2, "{count} servers behind {} sessions", pool.status().size);
    });
}
