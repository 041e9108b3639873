//! Laws of what the values mean together: precedence, reload, contradictions, secrets.

use std::time::Duration;

use super::change::{Changes, DatabaseChange};
use super::*;

#[test]
fn the_user_wins_over_the_database_and_the_database_over_the_rest() {
    let config = ini("[pgbouncer]\npool_mode=session\ndefault_pool_size=1\nreserve_pool_size=1\n\
        query_wait_timeout=1\n[databases]\nplain = host=x\n\
        own = pool_mode=transaction pool_size=2 reserve_pool=2 query_wait_timeout=2\n\
        [users]\nu = pool_mode=statement pool_size=3 reserve_pool_size=3 query_wait_timeout=3\n");
    for (database, user, mode, number) in [
        ("plain", "other", PoolMode::Session, 1),
        ("own", "other", PoolMode::Transaction, 2),
        ("own", "u", PoolMode::Statement, 3),
        ("plain", "u", PoolMode::Statement, 3),
    ] {
        let entry = config.database(database).expect("an entry");
        assert_eq!(config.pool_mode(entry, user), mode);
        assert_eq!(config.pool_size(entry, user), number);
        assert_eq!(config.reserve_pool_size(entry, user), number);
        let wait = Duration::from_secs(u64::from(number));
        assert_eq!(config.query_wait_timeout(entry, user), wait);
    }
    assert!(config.database("unknown").is_none());
}

#[test]
fn an_entry_written_twice_is_the_later_one_alone() {
    let config = ini("[databases]\nx = host=a pool_size=1\n[users]\n[databases]\nx = port=2\n");
    assert_eq!(config.databases["x"].host, None);
    assert_eq!(config.databases["x"].pool_size, None);
    assert_eq!(config.databases["x"].port, Some(2));
    assert_eq!(*config.origin(Section::Database, "x", "host"), Place::Default);
}

#[test]
fn a_database_without_host_is_looked_for_in_the_socket_directory() {
    let config = ini("[pgbouncer]\nunix_socket_dir=/run/pg\n[databases]\nx=\n");
    assert_eq!(config.hosts(&config.databases["x"]), [Host::Unix("/run/pg".to_owned())]);
    let loaded =
        load_text("p.ini", "[pgbouncer]\nlisten_addr=*\nunix_socket_dir=\n[databases]\nx=port=1\n");
    let warnings = loaded.expect("valid").warnings;
    assert_eq!(
        warnings[0].to_string(),
        "default: database 'x' has no host and unix_socket_dir is empty: it cannot be reached"
    );
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    for (text, error) in [
        ("unix_socket_dir=\n", "p.ini:2: nowhere to listen on"),
        ("auth_type=pam\n", "p.ini:2: invalid value \"pam\" for auth_type: not supported"),
        ("auth_type=ldap\n", "p.ini:2: invalid value \"ldap\" for auth_type: not supported"),
        ("client_tls_sslmode=require\n", "p.ini:2: to allow TLS connections from clients"),
        (
            "client_tls_key_file=k\nclient_tls_cert_file=c\nclient_tls_sslmode=verify-ca\n",
            "p.ini:4: client_tls_sslmode verify-ca needs client_tls_ca_file",
        ),
        ("auth_type=cert\n", "p.ini:2: auth_type cert needs client_tls_sslmode verify-ca"),
    ] {
        let errors = ini_errors(&format!("[pgbouncer]\n{text}"));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(error), "{errors:?}");
    }
}

#[test]
fn a_history_that_could_hold_nothing_is_refused() {
    let size =
        |text: &str| ini(&format!("[history]\nfile_size_max={text}\n")).history.file_size_max;
    assert_eq!((size("16MiB"), size("1GB")), (16 << 20, 1_000_000_000));
    let history = ini("[history]\nfile=/var/lib/h.db\nfile_keep=2d\n").history;
    assert_eq!(history.file.as_deref(), Some(std::path::Path::new("/var/lib/h.db")));
    assert_eq!(history.file_keep, Duration::from_secs(2 * 86_400));
    for text in ["0", "16MB", "-1", "large"] {
        let errors = ini_errors(&format!("[history]\nfile_size_max={text}\n"));
        assert!(errors.len() == 1 && errors[0].starts_with("p.ini:2: "), "{errors:?}");
    }
}

#[test]
fn what_is_not_honoured_is_named_unless_it_is_the_default() {
    let loaded = load_text(
        "p.ini",
        "[pgbouncer]\nresolv_conf=r\nsyslog=1\nsuspend_timeout=10\npkt_buf=8192\n\
         client_tls_protocols=tlsv1.0,tlsv1.3\nauth_type=hba\n",
    );
    let warnings: Vec<String> =
        loaded.expect("valid").warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        warnings,
        [
            "p.ini:2: resolv_conf is recognised but not honoured yet",
            "p.ini:6: client_tls_protocols lists a version older than TLS 1.2, which is never \
             offered",
            "p.ini:7: auth_type is hba and auth_hba_file is empty: every client is refused",
        ]
    );
}

#[test]
fn a_reload_tells_what_each_entry_needs() {
    let old = ini("[pgbouncer]\nlisten_port=1\nverbose=0\n[databases]\nsame = host=a\n\
        limits = host=a pool_size=1\nmoved = host=a\nsecret = user=u password=a\ngone = host=a\n\
        [users]\nu = pool_size=1\n[peers]\n1 = host=a\n");
    let new = ini("[pgbouncer]\nlisten_port=2\nverbose=1\n[databases]\nsame = host='a'\n\
        limits = pool_size=2 host=a\nmoved = host=b\nsecret = user=u password=b\n* = host=a\n\
        [users]\nu = pool_size=2\nv =\n[peers]\n1 = host=a\n");
    let changes = Changes::between(&old, &new);
    let databases: Vec<(&str, DatabaseChange)> =
        changes.databases.iter().map(|(name, change)| (name.as_str(), *change)).collect();
    assert_eq!(
        databases,
        [
            ("*", DatabaseChange::Added),
            ("gone", DatabaseChange::Removed),
            ("limits", DatabaseChange::Limits),
            ("moved", DatabaseChange::Connection),
            ("same", DatabaseChange::Unchanged),
            ("secret", DatabaseChange::Connection),
        ]
    );
    assert_eq!(changes.users.iter().collect::<Vec<_>>(), ["u", "v"]);
    assert!(!changes.peers);
    assert_eq!(
        (changes.live.as_slice(), changes.restart.as_slice()),
        (&["verbose"][..], &["listen_port"][..])
    );
    let warnings: Vec<String> = changes.warnings(&new).iter().map(Warning::to_string).collect();
    assert_eq!(warnings, ["p.ini:2: listen_port changed, which takes effect at the next start"]);
}

#[test]
fn what_only_a_start_can_change_stays_as_it_runs() {
    let running = ini("[pgbouncer]\nlisten_port=1\nlisten_addr=a,b\nuser=\nverbose=1\n\
        [http]\nlisten=127.0.0.1:1\n[headpond]\nworkers=3\n");
    let mut new = ini("[pgbouncer]\nlisten_port=2\nuser=x\nunix_socket_mode=0700\nverbose=2\n\
        [http]\nlisten=\n[headpond]\nworkers=4\n");
    new.retain_until_restart(&running);
    let changes = Changes::between(&running, &new);
    assert_eq!((changes.live, changes.restart), (vec!["verbose"], vec![]));
    let place = new.origin(Section::Pooler, "", "listen_port").to_string();
    assert_eq!(place, "p.ini:2");
}

#[test]
fn other_tls_towards_servers_makes_every_open_one_obsolete() {
    let old = ini("[databases]\na = host=x\n");
    let new = ini("[pgbouncer]\nserver_tls_sslmode=require\n[databases]\na = host=x\n");
    let changes = Changes::between(&old, &new);
    assert_eq!(changes.databases["a"], DatabaseChange::Connection);
}

/// SEC-24: two entries that differ in one key share servers only if that key is a limit.
#[test]
fn each_key_of_a_database_is_part_of_its_identity_or_a_limit() {
    let limits = [
        "auth_user",
        "pool_size",
        "min_pool_size",
        "reserve_pool_size",
        "query_wait_timeout",
        "max_db_connections",
        "max_db_client_connections",
        "server_lifetime",
        "pool_mode",
    ];
    for key in Section::Database.keys() {
        let value = match key.name {
            "pool_mode" => "statement",
            "load_balance_hosts" => "disable",
            "sslmode" => "require",
            _ => "1",
        };
        let old = ini("[databases]\nx =\n");
        let new = ini(&format!("[databases]\nx = {}={value}\n", key.name));
        let change = Changes::between(&old, &new).databases["x"];
        let expected = if limits.contains(&key.name) {
            DatabaseChange::Limits
        } else {
            DatabaseChange::Connection
        };
        assert_eq!(change, expected, "{}", key.name);
    }
}

/// H-09: one word in every place that may hold a secret; it is found nowhere else.
#[test]
fn no_secret_is_ever_shown() {
    const CANARY: &str = "canary-5f1e";
    let text = format!(
        "[pgbouncer]\nauth_ldap_options = bindpasswd={CANARY}\n[databases]\n\
         a = user=u password={CANARY}\nb = postgres://u:{CANARY}@h/d\n* = password='{CANARY}'\n\
         [otlp]\nendpoint = http://u:{CANARY}@h/{CANARY}\nmetrics_endpoint = http://h/{CANARY}\n\
         headers = api-key={CANARY}\n"
    );
    let loaded = load_text("p.ini", &text).expect("valid");
    let mut shown = format!("{loaded:?}");
    for row in loaded.config.rows() {
        shown.push_str(&format!("{row:?}"));
    }
    for (_, _, _, text, place) in loaded.config.written() {
        shown.push_str(&format!("{text:?}{place}"));
    }
    let other = ini("[databases]\na = user=u password=x\n");
    shown.push_str(&format!("{:?}", Changes::between(&loaded.config, &other)));
    shown.push_str(&loaded.warnings.iter().map(Warning::to_string).collect::<String>());
    let env = Env::from_pairs([("HEADPOND_DATABASES__A__PASSWORD", CANARY)]);
    shown.push_str(&format!("{env:?}"));
    shown.push_str(&format!("{:?}", Source::Url(format!("postgres://u:{CANARY}@h"))));
    // Whatever is wrong around a secret, it is not repeated.
    for wrong in [
        format!("[databases]\na = password='{CANARY}"),
        format!("[databases]\na = password={CANARY}\0"),
        format!("[databases]\na = {CANARY}"),
        format!("[databases]\na = postgres://u:{CANARY}@h:x/d"),
        format!("[databases]\na = postgres://u:{CANARY}@h/d?x={CANARY}"),
        format!("[otlp]\nheaders = {CANARY}"),
        format!("[otlp]\nheaders = a b={CANARY}"),
        format!("[otlp]\nendpoint = {CANARY}:4318"),
        format!("[otlp]\nmetrics_endpoint = http://h:{CANARY}"),
    ] {
        let errors = load_text("p.ini", &wrong).expect_err("wrong");
        shown.push_str(&format!("{errors}{errors:?}"));
    }
    for wrong in [
        format!("[databases.a]\npassword = \"{CANARY}"),
        format!("[databases.a]\npassword = {CANARY}"),
        format!("[databases.a]\npassword = [\"{CANARY}\"]"),
        format!("[databases.a]\npassword = \"\\q{CANARY}\""),
        format!("[databases]\na = \"{CANARY}\""),
        format!("database = \"{CANARY}\""),
        format!("[otlp]\nheaders = {{ api-key = \"{CANARY}\" }}"),
        format!("[otlp]\nheaders = [\"a=b\", \"{CANARY}\"]"),
    ] {
        let errors = load_text("p.toml", &wrong).expect_err("wrong");
        shown.push_str(&format!("{errors}{errors:?}"));
    }
    for pair in [("HEADPOND_DATABASE", CANARY), ("HEADPOND_DATABASES__A", CANARY)] {
        let env = Env::from_pairs([pair]);
        let errors = load_with(&Source::Default, &env, &|_| unreachable!()).expect_err("wrong");
        shown.push_str(&format!("{errors}{errors:?}"));
    }
    for name in ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
        let env = Env::from_pairs([(name, CANARY)]);
        let loaded = load_with(&Source::Default, &env, &|_| unreachable!()).expect("only ignored");
        assert_eq!(loaded.warnings.len(), 1, "{name} is not what it should be");
        shown.push_str(&format!("{env:?}{loaded:?}{}", loaded.warnings[0]));
    }
    assert!(!shown.contains(CANARY), "{shown}");
}
