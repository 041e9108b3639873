//! Who gets in: every method, with what is right and with what is not.

use tokio_postgres::Config;

use crate::bench::{
    Setup, client, config, describe, kept_out, password_of, pooler, run, server, value, within,
};
use crate::support::Pooler;
use crate::support::pooler::Headpond;
use crate::support::postgres::{APP, Options, SUPERUSER, connect};

/// The right password gets in and can work; a wrong one and an unknown name hear the same.
async fn judge(pooler: &Headpond, text: &str) {
    let one = client(pooler, APP, APP).await;
    assert_eq!(value(&one, "SELECT current_user").await, APP);
    let wrong = kept_out(config(pooler, APP, APP).password("wrong")).await;
    let unknown = kept_out(config(pooler, APP, APP).user("unknown").password("wrong")).await;
    let empty = kept_out(config(pooler, APP, APP).user("unknown").password("x")).await;
    assert_eq!(wrong, format!("28P01 {text}"));
    assert_eq!((&unknown, &empty), (&wrong, &wrong));
}

#[test]
fn passwords_are_checked_by_every_method_and_unknown_names_fail_alike() {
    let postgres = server(&Options::default());
    let sasl = "SASL authentication failed";
    let password = "password authentication failed";
    for (keys, text) in [
        ("auth_type = plain", password),
        ("auth_type = md5", password),
        ("auth_type = scram-sha-256", sasl),
    ] {
        let pooler = pooler(postgres.port(), &Setup { keys, ..Setup::default() });
        run(judge(&pooler, text));
    }
}

#[test]
fn a_stored_scram_secret_opens_the_server_too() {
    let postgres = server(&Options::default());
    let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{APP}'");
    let secret = postgres.psql("postgres", &sql).trim().to_owned();
    assert!(secret.starts_with("SCRAM-SHA-256$"), "{secret}");
    for keys in ["auth_type = scram-sha-256", "auth_type = md5"] {
        // The pooler never sees a password: the client's proof is all it has.
        let auth_file = Some(format!("\"{APP}\" \"{secret}\"\n"));
        let pooler = pooler(postgres.port(), &Setup { keys, auth_file, ..Setup::default() });
        run(async {
            let wrong = kept_out(config(&pooler, APP, APP).password("wrong")).await;
            assert_eq!(wrong, "28P01 SASL authentication failed");
            let one = client(&pooler, APP, APP).await;
            assert_eq!(value(&one, "SELECT current_user").await, APP);
            // Also for a server that is opened long after the login.
            one.batch_execute("BEGIN").await.expect("a first server");
            let two = client(&pooler, APP, APP).await;
            assert_eq!(value(&two, "SELECT current_user").await, APP);
        });
    }
}

#[test]
fn a_stored_md5_secret_opens_a_server_that_wants_md5() {
    let options =
        Options { settings: vec![("password_encryption", "md5".into())], ..Options::default() };
    let postgres = server(&options);
    // The role got its secret before the setting was there, or after: set it again.
    let sql =
        format!("SET password_encryption = md5; ALTER ROLE {APP} PASSWORD '{}'", password_of(APP));
    postgres.psql("postgres", &sql);
    let hba = postgres.socket_directory().join("data/pg_hba.conf");
    std::fs::write(&hba, "local all all scram-sha-256\nhost all app 127.0.0.1/32 md5\n")
        .expect("root may write");
    postgres.psql("postgres", "SELECT pg_reload_conf()");
    let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{APP}'");
    let secret = postgres.psql("postgres", &sql).trim().to_owned();
    assert!(secret.starts_with("md5"), "{secret}");
    let auth_file = Some(format!("\"{APP}\" \"{secret}\"\n"));
    let keys = "auth_type = md5";
    let pooler = pooler(postgres.port(), &Setup { keys, auth_file, ..Setup::default() });
    run(judge(&pooler, "password authentication failed"));
}

#[test]
fn trust_asks_who_and_any_does_not_even_that() {
    let postgres = server(&Options::default());
    let trust = pooler(postgres.port(), &Setup::default());
    run(async {
        let one = connect(config(&trust, APP, APP).password("whatever")).await;
        let one = one.expect("no password is asked for");
        assert_eq!(value(&one, "SELECT current_user").await, APP);
        let unknown = kept_out(config(&trust, APP, APP).user("unknown")).await;
        assert_eq!(unknown, "28P01 \"trust\" authentication failed");
    });
    let setup = Setup {
        keys: "auth_type = any",
        databases: "forced = host=127.0.0.1 port=PORT dbname=app user=app",
        ..Setup::default()
    };
    let any = pooler(postgres.port(), &setup);
    run(async {
        let one = connect(config(&any, "unknown", "forced").password("whatever")).await;
        let one = one.expect("any name is as good as another");
        assert_eq!(value(&one, "SELECT current_user").await, APP);
    });
}

const HBA: &str = "# type database user address method
host app     app     127.0.0.1/32    scram-sha-256
host second  app     127.0.0.1/32    trust
host all     other   127.0.0.0/8     password
host all     postgres 10.0.0.0/8     trust
host all     postgres 127.0.0.1/32   reject
local all    other                   trust
";

#[test]
fn the_first_line_of_the_hba_file_that_fits_decides() {
    let postgres = server(&Options::default());
    let keys = "auth_type = hba\nauth_hba_file = DIRECTORY/hba.conf";
    let pooler = pooler(postgres.port(), &Setup { keys, hba: HBA, ..Setup::default() });
    run(async {
        client(&pooler, APP, APP).await;
        let wrong = |user: &str, database: &str| {
            let mut config = config(&pooler, user, database);
            config.password("wrong");
            config
        };
        assert_eq!(kept_out(&wrong(APP, APP)).await, "28P01 SASL authentication failed");
        connect(&wrong(APP, "second")).await.expect("it is trusted there");
        client(&pooler, "other", APP).await;
        let error = kept_out(&wrong("other", APP)).await;
        assert_eq!(error, "28P01 password authentication failed");
        let rejected = kept_out(&config(&pooler, SUPERUSER, APP)).await;
        assert_eq!(rejected, "28000 login rejected");
        let nothing = kept_out(&over_unix(&pooler, APP, "wrong")).await;
        assert_eq!(nothing, "28000 login rejected", "no line fits");
        connect(&over_unix(&pooler, "other", "wrong")).await.expect("it is trusted there");
    });
}

#[test]
fn peer_lets_in_whom_the_kernel_vouches_for_under_the_names_that_a_map_gives() {
    use std::os::unix::fs::MetadataExt;
    let own = std::fs::metadata("/proc/self").expect("proc is mounted").uid().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").expect("accounts are listed");
    let fields = |line: &'static str| line.split(':').collect::<Vec<_>>();
    let name =
        fields(passwd.leak().lines().find(|l| l.split(':').nth(2) == Some(&own)).expect("us"));
    let postgres = server(&Options::default());
    let hba = "local second all peer\nlocal all all peer map=ours\nhost all all 0.0.0.0/0 peer\n";
    let ident = format!("ours {} {APP}\nothers nobody-else other\n", name[0]);
    let keys = "auth_type = hba\nauth_hba_file = DIRECTORY/hba.conf\n\
                auth_ident_file = DIRECTORY/ident.conf";
    let pooler = pooler(postgres.port(), &Setup { keys, hba, ident, ..Setup::default() });
    run(async {
        // No password is asked, so a wrong one does not matter.
        let one = connect(&over_unix(&pooler, APP, "wrong")).await;
        let one = one.unwrap_or_else(|error| panic!("{}", describe(&error)));
        assert_eq!(value(&one, "SELECT current_user").await, APP);
        let rejected = "28P01 unix socket login rejected";
        let other = kept_out(&over_unix(&pooler, "other", &password_of("other"))).await;
        assert_eq!(other, rejected, "the map does not give that name");
        let mut unmapped = over_unix(&pooler, APP, &password_of(APP));
        unmapped.dbname("second");
        assert_eq!(kept_out(&unmapped).await, rejected, "without a map the names must agree");
        let tcp = kept_out(&config(&pooler, APP, APP)).await;
        assert_eq!(tcp, rejected, "the kernel vouches for nobody over TCP");
    });
}

fn over_unix(pooler: &Headpond, user: &str, password: &str) -> Config {
    let mut config = Config::new();
    config.host_path(&pooler.place().directory).port(pooler.place().port);
    config.user(user).password(password).dbname(APP);
    config
}

#[test]
fn the_unix_socket_asks_for_the_same_password() {
    let postgres = server(&Options::default());
    let keys = "auth_type = scram-sha-256";
    let pooler = pooler(postgres.port(), &Setup { keys, ..Setup::default() });
    run(async {
        let one = connect(&over_unix(&pooler, APP, &password_of(APP))).await;
        let one = one.unwrap_or_else(|error| panic!("{}", describe(&error)));
        assert_eq!(value(&one, "SELECT current_user").await, APP);
        let wrong = kept_out(&over_unix(&pooler, APP, "wrong")).await;
        assert_eq!(wrong, "28P01 SASL authentication failed");
        // A cancel goes the same way.
        let token = one.cancel_token();
        let query = one.simple_query("SELECT pg_sleep(30)");
        let direct = postgres.connect("postgres").await;
        let cancel = async {
            crate::bench::until("it runs", async || {
                crate::bench::doing(&direct, "active", "%pg_sleep(30)%").await == 1
            })
            .await;
            token.cancel_query(tokio_postgres::NoTls).await.expect("the pooler listens");
        };
        let (result, ()) = within("an end", async { tokio::join!(query, cancel) }).await;
        assert!(describe(&result.expect_err("it was cancelled")).starts_with("57014"));
    });
}
