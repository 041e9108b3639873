//! Secrets that are asked for in the database itself.

use crate::bench::{Setup, client, config, kept_out, password_of, pooler, run, server, value};
use crate::support::Postgres;
use crate::support::postgres::{APP, Options, SUPERUSER};

const KEYS: &str = "auth_type = scram-sha-256\nauth_user = postgres\nauth_dbname = asked";
const ASKED: &str = "asked = host=127.0.0.1 port=PORT dbname=postgres";

fn asking(extra: &'static str) -> Setup {
    Setup {
        keys: extra,
        databases: ASKED,
        auth_file: Some(format!("\"{SUPERUSER}\" \"{}\"\n", password_of(SUPERUSER))),
        ..Setup::default()
    }
}

fn roles() -> Postgres {
    let postgres = server(&Options::default());
    for (role, until) in [
        ("expired", "VALID UNTIL '2001-01-01'"),
        ("future", "VALID UNTIL '2200-01-01'"),
        ("eternal", "VALID UNTIL 'infinity'"),
        ("nologin", "NOLOGIN"),
    ] {
        let password = password_of(role);
        let sql = format!("CREATE ROLE {role} LOGIN PASSWORD '{password}' {until}");
        let sql = if role == "nologin" { sql.replace("LOGIN PASSWORD", "PASSWORD") } else { sql };
        postgres.psql("postgres", &sql);
    }
    postgres.psql("postgres", "CREATE ROLE bare LOGIN");
    postgres
}

#[test]
fn secrets_are_looked_up_and_those_that_ended_open_nothing() {
    let postgres = roles();
    let pooler = pooler(postgres.port(), &asking(KEYS));
    run(async {
        for user in [APP, "future", "eternal"] {
            let one = client(&pooler, user, APP).await;
            assert_eq!(value(&one, "SELECT current_user").await, user);
        }
        let sasl = "28P01 SASL authentication failed";
        let wrong = kept_out(config(&pooler, APP, APP).password("wrong")).await;
        assert_eq!(wrong, sasl);
        for user in ["expired", "nologin", "bare", "unknown"] {
            assert_eq!(kept_out(&config(&pooler, user, APP)).await, sasl, "{user}");
        }
        // A changed password holds from the next login on.
        postgres.psql("postgres", &format!("ALTER ROLE {APP} PASSWORD 'changed'"));
        assert_eq!(kept_out(&config(&pooler, APP, APP)).await, sasl);
        let changed = config(&pooler, APP, APP).password("changed").clone();
        let one = crate::support::postgres::connect(&changed).await.expect("it gets in");
        assert_eq!(value(&one, "SELECT current_user").await, APP);
    });
}

#[test]
fn a_query_of_ones_own_is_asked_and_one_that_fails_lets_nobody_in() {
    let postgres = roles();
    postgres.psql(
        "postgres",
        "CREATE TABLE secrets (name text, secret text); \
         INSERT INTO secrets SELECT rolname, rolpassword FROM pg_authid WHERE rolname = 'app'",
    );
    let good = "auth_type = scram-sha-256\nauth_user = postgres\nauth_dbname = asked\n\
                auth_query = SELECT name, secret FROM secrets WHERE name = $1";
    let own = pooler(postgres.port(), &asking(good));
    run(async {
        client(&own, APP, APP).await;
        let unknown = kept_out(&config(&own, "future", APP)).await;
        assert_eq!(unknown, "28P01 SASL authentication failed");
    });
    drop(own);
    for keys in [
        "auth_type = md5\nauth_user = postgres\nauth_dbname = asked\n\
         auth_query = SELECT name, secret FROM nowhere WHERE name = $1",
        "auth_type = md5\nauth_user = postgres\nauth_dbname = asked\n\
         auth_query = SELECT name FROM secrets WHERE name = $1",
        "auth_type = md5\nauth_user = postgres\nauth_dbname = asked\n\
         auth_query = SELECT 'postgres', secret FROM secrets WHERE name = $1",
    ] {
        let pooler = pooler(postgres.port(), &asking(keys));
        run(async {
            for _ in 0..3 {
                let error = kept_out(&config(&pooler, APP, APP)).await;
                assert_eq!(error, "08P01 bouncer config error", "{keys}");
            }
        });
    }
}
