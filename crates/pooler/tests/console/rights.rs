//! Who may do what, and what is wrong with a command.

use tokio_postgres::Config;

use crate::bench::{Bench, LOOKER, STRANGER, describe, refused, run, tell};
use crate::support::postgres::{APP, SUPERUSER, connect};

const FOR_ADMINS: [&str; 17] = [
    "PAUSE",
    "PAUSE app",
    "RESUME",
    "RESUME app",
    "SUSPEND",
    "KILL",
    "KILL app",
    "KILL_CLIENT 1",
    "KILL_CLIENT x",
    "RECONNECT",
    "WAIT_CLOSE",
    "DISABLE app",
    "ENABLE",
    "RELOAD",
    "SHUTDOWN",
    "SET verbose = 1",
    "SHOW FDS",
];

#[test]
fn who_may_only_look_is_refused_everything_else() {
    let bench = Bench::start("");
    run(async {
        let looker = bench.console(LOOKER).await;
        for command in FOR_ADMINS {
            assert_eq!(refused(&looker, command).await, "08P01 admin access needed", "{command}");
        }
        tell(&looker, "SHOW POOLS").await;
        for user in [STRANGER, APP] {
            let error = connect(&bench.config(user, "pgbouncer")).await.expect_err("no way in");
            assert!(describe(&error).ends_with(" not allowed"), "{}", describe(&error));
        }
        // A right password is needed as for any database.
        let mut wrong: Config = bench.config(SUPERUSER, "pgbouncer");
        wrong.password("wrong");
        assert!(connect(&wrong).await.is_err());
        let admin = bench.console(SUPERUSER).await;
        tell(&admin, "RECONNECT").await;
    });
}

#[test]
fn without_authentication_everybody_may_look_and_admins_do_the_rest() {
    let bench = Bench::start("auth_type = any\n");
    run(async {
        let anybody = bench.console(STRANGER).await;
        tell(&anybody, "SHOW CLIENTS").await;
        assert_eq!(refused(&anybody, "RELOAD").await, "08P01 admin access needed");
        let admin = bench.console(SUPERUSER).await;
        tell(&admin, "RELOAD").await;
    });
}

#[test]
fn every_mistake_has_the_text_of_pgbouncer() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        for (command, error) in [
            ("NONSENSE", "invalid command 'NONSENSE', use SHOW HELP;"),
            ("SHOW NONSENSE", "invalid command 'SHOW NONSENSE', use SHOW HELP;"),
            ("RELOAD app", "invalid command 'RELOAD app', use SHOW HELP;"),
            ("PAUSE nowhere", "no such database: nowhere"),
            ("RESUME nowhere", "no such database: nowhere"),
            ("KILL nowhere", "no such database: nowhere"),
            ("RECONNECT nowhere", "no such database: nowhere"),
            ("WAIT_CLOSE nowhere", "no such database: nowhere"),
            ("DISABLE nowhere", "no such database: nowhere"),
            ("ENABLE nowhere", "no such database: nowhere"),
            ("PAUSE pgbouncer", "cannot pause admin db: pgbouncer"),
            ("KILL pgbouncer", "cannot kill admin db: pgbouncer"),
            ("RECONNECT pgbouncer", "cannot reconnect admin db: pgbouncer"),
            ("WAIT_CLOSE pgbouncer", "cannot wait in admin db: pgbouncer"),
            ("DISABLE pgbouncer", "cannot disable admin db: pgbouncer"),
            ("ENABLE pgbouncer", "cannot enable admin db: pgbouncer"),
            ("RESUME pgbouncer", "database pgbouncer is not paused"),
            ("RESUME app", "database app is not paused"),
            ("RESUME", "pooler is not paused/suspended"),
            ("DISABLE", "a database is required"),
            ("ENABLE", "a database is required"),
            ("KILL_CLIENT", "invalid client pointer supplied"),
            ("KILL_CLIENT abc", "invalid client pointer supplied"),
            ("KILL_CLIENT 999999", "client not found"),
            ("SET nothing = 1", "SET failed"),
        ] {
            assert_eq!(refused(&console, command).await, format!("08P01 {error}"), "{command}");
        }
        for command in ["SUSPEND", "SHOW FDS"] {
            let expected = format!("0A000 {command} is not supported by headpond");
            assert_eq!(refused(&console, command).await, expected);
        }
        tell(&console, "PAUSE").await;
        for command in ["PAUSE", "KILL", "KILL app"] {
            let expected = "08P01 already suspended/paused";
            assert_eq!(refused(&console, command).await, expected, "{command}");
        }
        let state = tell(&console, "SHOW STATE").await;
        assert_eq!(state.column("value"), ["no", "yes", "no"]);
        tell(&console, "RESUME").await;
        // What is not spoken here ends the connection.
        let error = console.query("SHOW POOLS", &[]).await.expect_err("extended protocol");
        let expected = "08P01 extended query protocol not supported by admin console";
        assert_eq!(describe(&error), expected);
    });
}
