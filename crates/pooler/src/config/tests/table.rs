//! Laws of the table of settings.

use std::collections::BTreeSet;

use super::*;

const SECTIONS: [Section; 10] = [
    Section::Pooler,
    Section::Database,
    Section::User,
    Section::Peer,
    Section::Http,
    Section::Alerts,
    Section::History,
    Section::Otlp,
    Section::Rule,
    Section::Native,
];

#[test]
fn every_default_reads_and_shows_as_it_is_written() {
    let config = Config::default();
    for row in config.rows() {
        assert_eq!(row.value, row.default, "{}", row.key);
    }
    for (key, default) in [
        ("listen_port", Some("6432")),
        ("unix_socket_mode", Some("0777")),
        ("server_check_query", Some("<empty>")),
        ("auth_file", None),
        ("logfile", Some("")),
        ("server_lifetime", Some("3600")),
        ("track_extra_parameters", Some("IntervalStyle")),
        ("client_tls_protocols", Some("secure")),
        ("tcp_user_timeout", Some("0")),
        ("http.listen", Some("127.0.0.1:6433")),
    ] {
        let row = config.rows().into_iter().find(|row| row.key == key).expect(key);
        assert_eq!(row.value.as_deref(), default, "{key}");
    }
}

#[test]
fn a_key_is_listed_once_in_its_section() {
    for section in SECTIONS {
        let names: BTreeSet<&str> = section.keys().iter().map(|key| key.name).collect();
        assert_eq!(names.len(), section.keys().len(), "{section:?}");
    }
    assert_eq!(Section::Pooler.keys().len(), 101, "PgBouncer's development tree has 101 keys");
}

#[test]
fn rows_come_in_the_order_of_their_keys() {
    let keys: Vec<String> = Config::default().rows().into_iter().map(|row| row.key).collect();
    assert!(keys.is_sorted());
}

#[test]
fn every_key_is_documented_with_its_because() {
    let page = document::defaults_markdown();
    for key in SECTIONS.iter().flat_map(|section| section.keys()) {
        assert!(page.contains(&format!("| `{}` |", key.name)), "{}", key.name);
        assert!(!key.because.is_empty() && !key.because.ends_with('.'), "{}", key.name);
        assert!(!key.means.is_empty() && !key.means.ends_with('.'), "{}", key.name);
    }
}

#[test]
fn what_show_prints_set_reads() {
    let mut config = Config::default();
    for row in Config::default().rows() {
        let text = row.value.unwrap_or_default();
        match config.set(&row.key, &text) {
            Ok(()) => assert!(row.changeable, "{}", row.key),
            Err(SetError::NotChangeable(_)) => assert!(!row.changeable, "{}", row.key),
            Err(error) => panic!("{}: {error}", row.key),
        }
    }
    assert_eq!(config.global, Global::default());
    assert_eq!(config.headpond, Native::default());
}

#[test]
fn a_failed_set_changes_nothing() {
    let mut config = Config::default();
    assert_eq!(
        config.set("default_pool_size", "many").expect_err("no number").to_string(),
        "invalid value for default_pool_size: expected a whole number"
    );
    assert_eq!(
        config.set("pool_mod", "session").expect_err("no key").to_string(),
        "unknown parameter: pool_mod (did you mean 'pool_mode'?)"
    );
    assert_eq!(
        config.set("auth_type", "ldap").expect_err("nobody would be asked").to_string(),
        "invalid value for auth_type: not supported by headpond"
    );
    assert_eq!(config.set("listen_port", "1"), Err(SetError::NotChangeable("listen_port")));
    assert_eq!(config.global, Global::default());
    assert_eq!(*config.origin(Section::Pooler, "", "default_pool_size"), Place::Default);
}

#[test]
fn a_set_is_seen_and_remembered_as_from_the_console() {
    let mut config = Config::default();
    config.set("pool_mode", "TRANSACTION").expect("valid");
    config.set("drain_timeout", "500ms").expect("ours, without its prefix");
    config.set("headpond.on_failing", "hold").expect("ours, with its prefix");
    assert_eq!(config.global.pool_mode, PoolMode::Transaction);
    assert_eq!(config.headpond.drain_timeout, std::time::Duration::from_millis(500));
    assert_eq!(config.headpond.on_failing, OnFailing::Hold);
    assert_eq!(*config.origin(Section::Pooler, "", "pool_mode"), Place::Console);
}
