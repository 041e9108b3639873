//! Laws of the formats: what is read from files, the environment and a URL, and what is refused.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// The pooler of the mission's row B3, as operators write it.
const B3: &str = "\
;; production
[databases]
shop = host=db1.example port=5433 dbname=shop_live user=app password='it''s; # secret' pool_size=7
reports=host=/run/pg,@abstract,::1 pool_mode=session connect_query='SELECT 1'
* = host=10.0.0.9

[pgbouncer]
listen_port = 6432
listen_addr = *
auth_type = md5
auth_file = /etc/pgbouncer/userlist.txt
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 25
min_pool_size = 10
reserve_pool_size = 5
reserve_pool_timeout = 3
server_lifetime = 3600
server_idle_timeout = 600
server_connect_timeout = 15
server_login_retry = 15
query_timeout = 60
query_wait_timeout = 120
client_idle_timeout = 0
client_login_timeout = 60
log_connections = 1
log_disconnections = 1
log_pooler_errors = 1
stats_period = 60
# the end
[users]
batch = pool_mode=session query_timeout=0 max_user_connections=3
";

#[test]
fn the_ini_of_the_mission_means_what_it_says() {
    let loaded = load_text("p.ini", B3).expect("valid");
    let doubts: Vec<String> = loaded.warnings.iter().map(Warning::to_string).collect();
    assert_eq!(doubts, ["default: database 'shop' keeps 10 servers open but may have 7"]);
    let config = loaded.config;
    let global = &config.global;
    assert_eq!(global.listen_addr.iter().collect::<Vec<_>>(), ["*"]);
    assert_eq!(global.listen_port, 6432);
    assert_eq!(global.auth_type, AuthType::Md5);
    assert_eq!(global.auth_file, Some(PathBuf::from("/etc/pgbouncer/userlist.txt")));
    assert_eq!(global.max_client_conn, 1000);
    assert!(global.log_connections && global.log_disconnections && global.log_pooler_errors);
    for (value, seconds) in [
        (global.reserve_pool_timeout, 3),
        (global.server_lifetime, 3600),
        (global.server_idle_timeout, 600),
        (global.server_connect_timeout, 15),
        (global.server_login_retry, 15),
        (global.query_timeout, 60),
        (global.query_wait_timeout, 120),
        (global.client_idle_timeout, 0),
        (global.client_login_timeout, 60),
        (global.stats_period, 60),
    ] {
        assert_eq!(value, Duration::from_secs(seconds));
    }
    let shop = config.database("shop").expect("an entry");
    let reports = config.database("reports").expect("an entry");
    let other = config.database("other").expect("the fallback");
    assert_eq!(shop.server_dbname("shop"), "shop_live");
    assert_eq!(shop.server_port(), 5433);
    assert_eq!(shop.password.as_ref().map(Secret::reveal), Some("it's; # secret"));
    assert_eq!(other.server_dbname("other"), "other");
    assert!(other.is_fallback());
    let hosts: Vec<String> = config.hosts(reports).iter().map(Host::to_string).collect();
    assert_eq!(hosts, ["/run/pg", "@abstract", "::1"]);
    assert_eq!(config.pool_size(shop, "app"), 7);
    assert_eq!(config.pool_size(other, "app"), 25);
    assert_eq!(config.pool_mode(shop, "app"), PoolMode::Transaction);
    assert_eq!(config.pool_mode(reports, "app"), PoolMode::Session);
    assert_eq!(config.pool_mode(shop, "batch"), PoolMode::Session);
    assert_eq!(config.reserve_pool_size(other, "app"), 5);
    assert_eq!(config.min_pool_size(other), 10);
    assert_eq!(config.query_timeout("batch"), Duration::ZERO);
    assert_eq!(config.query_timeout("app"), Duration::from_secs(60));
    assert_eq!(config.max_user_connections("batch"), 3);
}

#[test]
fn the_toml_of_the_same_pooler_means_the_same() {
    let toml = r#"
        [pooler]
        listen_addr = ["*"]
        auth_file = "/etc/pgbouncer/userlist.txt"
        pool_mode = "transaction"
        max_client_conn = 1_000
        default_pool_size = 25
        min_pool_size = 10
        reserve_pool_size = 5
        reserve_pool_timeout = "3s"
        query_timeout = "1m"
        log_connections = true

        [databases]
        "*" = "host=10.0.0.9"
        shop = "postgres://app:it's; # secret@db1.example:5433/shop_live?pool_size=7"

        [databases.reports]
        host = ["/run/pg", "@abstract", "::1"]
        pool_mode = "session"
        connect_query = "SELECT 1"

        [users.batch]
        pool_mode = "session"
        query_timeout = 0.0
        max_user_connections = 0x3
    "#;
    let from_toml = load_text("p.toml", toml).expect("valid").config;
    let from_ini = ini(B3);
    let changes = change::Changes::between(&from_ini, &from_toml);
    assert_eq!(changes.live, ["conffile"]);
    assert_eq!(changes.restart, [""; 0]);
    assert!(changes.users.is_empty());
    for (name, change) in changes.databases {
        assert_eq!(change, change::DatabaseChange::Unchanged, "{name}");
    }
}

#[test]
fn an_ini_line_is_read_as_pgbouncer_reads_it() {
    for (text, key, value) in [
        ("[pgbouncer]\nlogfile = a ; no comment", "logfile", "a ; no comment"),
        ("[pgbouncer] logfile=a\r\n", "logfile", "a"),
        ("\u{feff}[pgbouncer]\n  logfile\t=\t a b \t", "logfile", "a b"),
        ("[pgbouncer]\nlogfile=a\n[users]\n[pgbouncer]\nlogfile=b", "logfile", "b"),
        ("[pgbouncer]\n'logfile'=a", "logfile", "a"),
        ("[pgbouncer]\n\"logfile\"=a", "logfile", "a"),
        ("[pgbouncer]\nlogfile=", "logfile", ""),
        ("[pgbouncer]\nserver_check_query=", "server_check_query", ""),
        ("[pgbouncer]\nlog_stats=17", "log_stats", "1"),
        ("[pgbouncer]\npool_mode=Statement", "pool_mode", "statement"),
        ("[pgbouncer]\nserver_lifetime=0.25", "server_lifetime", "0.25"),
        ("[pgbouncer]\nserver_lifetime=2m", "server_lifetime", "120"),
        ("[pgbouncer]\nunix_socket_mode=0750", "unix_socket_mode", "0750"),
    ] {
        let rows = ini(text).rows();
        let row = rows.iter().find(|row| row.key == key).expect(key);
        assert_eq!(row.value.as_deref(), Some(value), "{text}");
    }
}

#[test]
fn comments_may_be_in_any_encoding() {
    let read = |_: &Path| Ok(b"; caf\xe9\n[pgbouncer]\n# \xff\nlogfile = x\n".to_vec());
    let loaded = load_with(&Source::File("p.ini".into()), &Env::empty(), &read);
    assert_eq!(loaded.expect("valid").config.global.logfile, Some("x".into()));
    let read = |_: &Path| Ok(b"[pgbouncer]\nlogfile = caf\xe9\n".to_vec());
    let loaded = load_with(&Source::File("p.ini".into()), &Env::empty(), &read);
    assert_eq!(errors_of(loaded), ["p.ini:2: not valid UTF-8"]);
}

#[test]
fn every_error_is_told_with_its_line_and_the_nearest_name() {
    let text = "stray = 1\n[pgbouncer]\npool_mod = session\nmax_client_conn = many\n\
        listen_port = 65536\nverbose = 9\nserver_lifetime = -1\nno equals sign\n\
        [database]\nignored = 1\n[databases]\npgbouncer = host=x\n\
        a = hots=x\nb = port=0\nc = pool_mode=none host='x\nd = host=\ne = host='' \nf = host\n\
        g = host='a'b=c\n[users]\nu = pool_sze=3\n[peers]\n0 = host=x\n1 = port=1\n\
        [pgbouncer\nauth_type = ldap\n";
    let expected = [
        "p.ini:1: key 'stray' stands before any section",
        "p.ini:3: unknown parameter: pgbouncer/pool_mod (did you mean 'pool_mode'?)",
        "p.ini:4: invalid value \"many\" for max_client_conn: expected a whole number",
        "p.ini:5: invalid value \"65536\" for listen_port: must be at most 65535",
        "p.ini:6: invalid value \"9\" for verbose: must be at most 3",
        "p.ini:7: invalid value \"-1\" for server_lifetime: must not be negative",
        "p.ini:8: syntax error: expected '[section]', 'key = value' or a comment",
        "p.ini:9: unknown section 'database' (did you mean 'databases'?)",
        "p.ini:12: database name \"pgbouncer\" is reserved",
        "p.ini:13: unrecognized connection parameter: hots (did you mean 'host'?)",
        "p.ini:14: invalid port: 0 (expected a port number)",
        "p.ini:15: invalid pool mode: none (expected session, transaction or statement)",
        "p.ini:15: syntax error in connection string: quoted value without its closing quote",
        "p.ini:16: syntax error in connection string: empty value",
        "p.ini:17: syntax error in connection string: empty value",
        "p.ini:18: syntax error in connection string: expected key=value",
        "p.ini:19: syntax error in connection string: expected a space after the closing quote",
        "p.ini:21: unrecognized user parameter: pool_sze (did you mean 'pool_size'?)",
        "p.ini:23: peer id '0' is not a number from 1 to 65535",
        "p.ini:24: host was not provided for peer 1",
        "p.ini:25: syntax error: section name without ']'",
    ];
    assert_eq!(ini_errors(text), expected);
}

#[test]
fn toml_errors_have_a_column_too() {
    let text = "pool_mode = \"session\"\n[pooler]\npool_mod = \"session\"\n  listen_port = \"x\"\n\
        log_stats = [1]\nmax_client_conn = true\nstats_period = 2024-01-01\n[pgbouncer]\n\
        [databases.a]\nurl = \"mysql://x\"\nport = 1.5\n[databases]\nb = 3\n\
        c = 'postgres:///d?sslmod=x'\n\
        [peers.x]\nhost = \"h\"\n[users.u]\npool_mode = \"fast\"\n";
    let errors = errors_of(load_text("p.toml", text));
    let expected = [
        "p.toml:1:1: unknown section 'pool_mode' (did you mean 'pooler.pool_mode'?)",
        "p.toml:3:1: unknown parameter: pgbouncer/pool_mod (did you mean 'pool_mode'?)",
        "p.toml:4:17: invalid value \"x\" for listen_port: expected a whole number",
        "p.toml:5:13: 'log_stats' must be 0 or 1, not array",
        "p.toml:6:19: 'max_client_conn' must be a whole number, not boolean",
        "p.toml:7:16: 'stats_period' must be a whole number of seconds, not datetime",
        "p.toml:8:2: unknown section 'pgbouncer' (did you mean 'pooler'?)",
        "p.toml:10:7: invalid database url: expected postgres://user:password@host:port/database",
        "p.toml:11:8: invalid port: 1.5 (expected a whole number)",
        "p.toml:13:5: 'b' must be a table or a url, not integer",
        "p.toml:14:1: invalid database url: unknown option 'sslmod' (did you mean 'sslmode'?)",
        "p.toml:15:8: peer id 'x' is not a number from 1 to 65535",
        "p.toml:18:13: invalid pool mode: fast (expected session, transaction or statement)",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn toml_that_is_none_is_an_error_with_its_place() {
    let errors = errors_of(load_text("p.toml", "[pooler]\nlistem_port 1\nx = \n"));
    assert!(errors.iter().all(|error| error.starts_with("p.toml:")), "{errors:?}");
    assert!(errors.iter().any(|error| error.starts_with("p.toml:2:")), "{errors:?}");
}

#[test]
fn included_files_are_read_in_place_and_go_on_in_the_section() {
    let files = [
        ("p.ini", "[databases]\n%include dir/more.ini\nb = host=two\n"),
        ("dir/more.ini", "a = host=one\n[pgbouncer]\nverbose = 2\n[databases]\n"),
    ];
    let config = load_files("p.ini", &files, &Env::empty()).expect("valid").config;
    assert_eq!(config.databases.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.global.verbose, 2);
    let place = config.origin(Section::Pooler, "", "verbose").to_string();
    assert_eq!(place, "dir/more.ini:3");
}

#[test]
fn files_that_include_each_other_end_in_an_error() {
    let files = [("p.ini", "%include q.ini"), ("q.ini", "[users]\n%include p.ini")];
    let errors = errors_of(load_files("p.ini", &files, &Env::empty()));
    assert_eq!(errors, ["p.ini:1: %include nested more than 10 deep"]);
    let many = [("p.ini", &*"%include q.ini\n".repeat(1_001)), ("q.ini", "")];
    let errors = errors_of(load_files("p.ini", &many, &Env::empty()));
    assert_eq!(errors, ["p.ini:1000: more than 1000 files"]);
    let doubling = [("p.ini", "%include p.ini\n%include p.ini\n%include p.ini")];
    let errors = errors_of(load_files("p.ini", &doubling, &Env::empty()));
    assert!(errors.len() <= 200);
    let gone = [("p.ini", "\n%include gone.ini")];
    assert_eq!(
        errors_of(load_files("p.ini", &gone, &Env::empty())),
        ["p.ini:2: cannot read 'gone.ini': entity not found"]
    );
    assert_eq!(
        errors_of(load_files("gone.toml", &[], &Env::empty())),
        ["start: cannot read 'gone.toml': entity not found"]
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = "[pgbouncer]\npool_mode=session\n[databases]\nMain = host=a port=1\n";
    let env = Env::from_pairs([
        ("HEADPOND_POOL_MODE", "transaction"),
        ("HEADPOND_WORKERS", "2"),
        ("HEADPOND_POOLER__DEFAULT_POOL_SIZE", "9"),
        ("HEADPOND_HTTP__LISTEN", ""),
        ("HEADPOND_HEADPOND__DRAIN_TIMEOUT", "5s"),
        ("HEADPOND_DATABASES__MAIN__HOST", "b"),
        ("HEADPOND_DATABASES__MAIN__PASSWORD_FILE", "run/secret"),
        ("HEADPOND_DATABASES__NEW__ONE", "postgres://u@h/d"),
        ("HEADPOND_DATABASES__OTHER__URL", "postgresql://u@h/d"),
        ("HEADPOND_DATABASE_FILE", "run/url"),
        ("HEADPOND_USERS__BOB__POOL_SIZE", "3"),
        ("HEADPOND_PEERS__7__HOST", "peer"),
        ("HEADPOND_AUTH_FILE", "users.txt"),
        ("HEADPOND_CONFIG", "not ours"),
        ("HEADPOND_TEST_SEED", "not ours"),
        ("PATH", "not ours"),
    ]);
    // A name with the separator in it can only be meant as an entry and its key.
    let files =
        [("p.ini", file), ("run/secret", "s3cret\n"), ("run/url", "postgres://u:p@h/from_url")];
    let errors = errors_of(load_files("p.ini", &files, &env));
    assert_eq!(errors, ["environment HEADPOND_DATABASES__NEW__ONE: unknown setting"]);
    let mut env = env;
    env = Env::from_pairs(
        env.pairs_for_tests().filter(|(name, _)| *name != "HEADPOND_DATABASES__NEW__ONE"),
    );
    let config = load_files("p.ini", &files, &env).expect("valid").config;
    assert_eq!(config.global.pool_mode, PoolMode::Transaction);
    assert_eq!(config.headpond.workers, 2);
    assert_eq!(config.global.default_pool_size, 9);
    assert_eq!(config.http.listen, None);
    assert_eq!(config.headpond.drain_timeout, Duration::from_secs(5));
    assert_eq!(config.global.auth_file, Some("users.txt".into()));
    let main = &config.databases["Main"];
    assert_eq!(config.hosts(main), [Host::Name("b".to_owned())]);
    assert_eq!(main.port, Some(1));
    assert_eq!(main.password.as_ref().map(Secret::reveal), Some("s3cret"));
    assert_eq!(config.databases["other"].dbname.as_deref(), Some("d"));
    assert_eq!(config.databases["from_url"].user.as_deref(), Some("u"));
    assert_eq!(config.users["bob"].pool_size, Some(3));
    assert_eq!(config.peers[&7].host, "peer");
    let origin = config.origin(Section::Database, "Main", "host").to_string();
    assert_eq!(origin, "environment HEADPOND_DATABASES__MAIN__HOST");
    assert_eq!(config.origin(Section::Database, "Main", "port").to_string(), "p.ini:4");
}

#[test]
fn a_variable_that_means_nothing_is_an_error_with_the_nearest_name() {
    for (name, nearest) in [
        ("HEADPOND_POOL_MOD", Some("HEADPOND_POOL_MODE")),
        ("HEADPOND_HTTP__LISTN", Some("HEADPOND_HTTP__LISTEN")),
        ("HEADPOND_DATABASE__MAIN__HOST", Some("HEADPOND_DATABASES__MAIN__HOST")),
        ("HEADPOND_DATABASES__MAIN__HOTS", Some("HEADPOND_DATABASES__MAIN__HOST")),
        ("HEADPOND_DATABASES__", None),
        ("HEADPOND_", None),
        ("HEADPOND_BANANA", None),
        ("HEADPOND_POOL_MODE_FILE", None),
    ] {
        let env = Env::from_pairs([(name, "1")]);
        let errors = errors_of(load_with(&Source::Default, &env, &|_| unreachable!()));
        let hint = nearest.map(|name| format!(" (did you mean '{name}'?)")).unwrap_or_default();
        assert_eq!(errors, [format!("environment {name}: unknown setting{hint}")]);
    }
    let both = Env::from_pairs([
        ("HEADPOND_DATABASES__A__PASSWORD", "x"),
        ("HEADPOND_DATABASES__A__PASSWORD_FILE", "y"),
    ]);
    let errors = errors_of(load_with(&Source::Default, &both, &|_| unreachable!()));
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("HEADPOND_DATABASES__A__PASSWORD is set as well"));
}

#[test]
fn a_url_is_the_keys_it_names() {
    for (url, connection_string) in [
        ("postgres://u@h/d", "user=u host=h dbname=d"),
        ("postgresql://u:p%40w@h:6000/d", "user=u password=p@w host=h port=6000 dbname=d"),
        (
            "postgres:///d?host=/run/pg&sslmode=verify-full",
            "dbname=d host=/run/pg sslmode=verify-full",
        ),
        ("postgres://%2Frun%2Fpg/d", "host=/run/pg dbname=d"),
        ("postgres://a:1,b:1,[::1]:1/d", "host=a,b,::1 port=1 dbname=d"),
        (
            "postgres://u@h/d?ssl=true&pool_max_conns=4",
            "user=u host=h dbname=d sslmode=require pool_size=4",
        ),
        ("postgres://u:a:b@h", "user=u password=a:b host=h"),
    ] {
        let text = format!("[databases]\nx = {url}\ny = {connection_string}\n");
        let config = ini(&text);
        let (x, y) = (&config.databases["x"], &config.databases["y"]);
        assert_eq!(x.differing(y).len(), 0, "{url}\n{x:?}\n{y:?}");
    }
}

#[test]
fn a_url_that_is_none_is_refused_without_being_repeated() {
    for (url, what) in [
        ("postgres://u:canary@h:x/d", "invalid port"),
        ("postgres://u:canary%@h/d", "invalid percent-encoding"),
        ("postgres://u:canary@h:1,g:2/d", "all hosts must have the same port"),
        ("postgres://u:canary@[::1/d", "expected ']' after an IPv6 address"),
        ("postgres://u:canary@h/d?hots=x", "unknown option 'hots'"),
        ("postgres://u:canary@h/d?sslmode", "option 'sslmode' has no value"),
    ] {
        let errors = ini_errors(&format!("[databases]\nx = {url}\n"));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains(what) && !errors[0].contains("canary"), "{errors:?}");
    }
}

#[test]
fn a_url_alone_makes_a_pooler_that_only_this_machine_can_reach() {
    let load = |url: &str, pairs: &[(&str, &str)]| {
        let env = Env::from_pairs(pairs.iter().copied());
        load_with(&Source::Url(url.to_owned()), &env, &|_| unreachable!())
    };
    let config = load("postgres://app:pw@db.example/shop", &[]).expect("valid").config;
    assert_eq!(config.global.listen_addr.to_string(), "127.0.0.1");
    assert_eq!(config.global.listen_port, 6432);
    assert_eq!(config.global.pool_mode, PoolMode::Transaction);
    assert_eq!(config.global.auth_type, AuthType::Any);
    assert_eq!(config.global.unix_socket_mode, 0o700);
    for (name, dbname) in [("shop", "shop"), ("other", "other")] {
        let entry = config.database(name).expect("served");
        assert_eq!(entry.server_dbname(name), dbname);
        assert_eq!(entry.user.as_deref(), Some("app"));
        assert_eq!(entry.password.as_ref().map(Secret::reveal), Some("pw"));
    }
    let env = [("PGUSER", "me"), ("PGPASSWORD", "pw")];
    let config = load("postgres://h", &env).expect("valid").config;
    assert_eq!(config.databases.keys().collect::<Vec<_>>(), ["me"]);
    assert_eq!(config.databases["me"].password.as_ref().map(Secret::reveal), Some("pw"));
    let errors = errors_of(load("postgres://h/d", &[]));
    assert!(errors[0].contains("it names no user"), "{errors:?}");
    let errors = errors_of(load("postgres://u@h/d", &[("HEADPOND_LISTEN_ADDR", "0.0.0.0")]));
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("without authentication"), "{errors:?}");
    let env = [("HEADPOND_LISTEN_ADDR", "0.0.0.0"), ("HEADPOND_AUTH_TYPE", "md5")];
    assert_eq!(
        load("postgres://u@h/d", &env).expect("asked for").config.global.auth_type,
        AuthType::Md5
    );
}

#[test]
fn a_tilde_is_the_home_directory_of_paths_only() {
    let env = Env::from_pairs([("HOME", "/home/me")]);
    let files = [("p.ini", "[pgbouncer]\nauth_file=~/u.txt\nlogin_notify_message=~/x\n")];
    let config = load_files("p.ini", &files, &env).expect("valid").config;
    assert_eq!(config.global.auth_file, Some("/home/me/u.txt".into()));
    assert_eq!(config.global.login_notify_message, "~/x");
}

/// Every key with every value, in both formats: P-103.
#[test]
fn no_value_of_any_key_panics_and_each_refusal_has_its_line() {
    let huge = "9".repeat(100_000);
    let values =
        ["", "0", "-1", "1.5", "99999999999999999999", &huge, "ünïcödé ٣", "\0", "'", "a,b", "%"];
    for key in Section::Pooler.keys() {
        for value in values {
            let text = format!("[pgbouncer]\n{0}={value}\n{0}={value}\n", key.name);
            if let Err(errors) = load_text("p.ini", &text) {
                let errors = errors.to_string();
                assert!(
                    errors.starts_with("p.ini:2: ") || errors.starts_with("p.ini:3: "),
                    "{errors}"
                );
                assert!(errors.len() < 1_000, "{} {}", key.name, errors.len());
            }
        }
    }
    for (section, name) in
        [(Section::Database, "databases"), (Section::User, "users"), (Section::Peer, "peers")]
    {
        for key in section.keys() {
            for value in values {
                let value = value.replace('\'', "''");
                let text = format!("[{name}]\n1 = {0}='{value}' {0}='{value}'\n", key.name);
                if let Err(errors) = load_text("p.ini", &text) {
                    assert!(errors.to_string().starts_with("p.ini:2: "), "{errors}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_configuration_or_an_error(bytes: Vec<u8>) {
        fuzzing::ini(&bytes);
        fuzzing::toml(&bytes);
    }

    #[test]
    fn any_lines_of_the_right_words_are_one_too(
        words in proptest::collection::vec(
            "(\\[pgbouncer\\]|\\[databases\\]|\\[users.u\\]|pool_mode|session|host|a|=|= |'|\"\
             |\n|\\*|1|%include x| |\\[|\\])",
            0..24,
        ),
    ) {
        let text = words.concat();
        fuzzing::ini(text.as_bytes());
        fuzzing::toml(text.as_bytes());
    }

    #[test]
    fn a_quoted_value_is_read_as_it_was_written(value in "[^\\r\\n\0]{1,30}") {
        let text = format!("[databases]\nx = connect_query='{}'", value.replace('\'', "''"));
        let config = ini(&text);
        prop_assert_eq!(config.databases["x"].connect_query.as_deref(), Some(value.as_str()));
    }

    #[test]
    fn a_password_in_a_url_is_read_as_it_was_encoded(password in "[^\0]{1,20}") {
        let encoded: String = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let config = ini(&format!("[databases]\nx = postgres://u:{encoded}@h/d"));
        let read = config.databases["x"].password.as_ref().map(Secret::reveal);
        prop_assert_eq!(read, Some(password.as_str()));
    }
}
