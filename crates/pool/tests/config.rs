//! Laws of configuration: every variable, key and option; who wins; what is never shown.
#![cfg(feature = "config")]

use std::io;
use std::path::Path;
use std::time::Duration;

use headpond::config::{
    Bare, Config, ConfigErrors, DATABASE, GENERAL, Kind, OPTIONS, Origin, Part, Profile, Sources,
    To, VARIABLES, Vars, Whose,
};

const CANARY: &str = "Tr0ub4dor";

fn vars(vars: &[(&str, &str)]) -> Vars {
    vars.iter().copied().collect()
}

fn load(pairs: &[(&str, &str)]) -> Config {
    Sources::new(vars(pairs)).load().unwrap_or_else(|errors| panic!("{errors}"))
}

fn load_file(text: &str, pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Sources::new(vars(pairs)).file("headpond.toml", text).load()
}

fn shown(config: &Config, database: &str, key: &str) -> String {
    let rows = config.databases[database].explain();
    rows.into_iter().find(|(name, ..)| *name == key).unwrap().1
}

/// Returns a text that a key takes, and how it is shown then.
fn sample(key: &str, bare: Bare) -> (&'static str, &'static str) {
    match (key, bare) {
        ("pool.max", _) => ("17", "17"),
        ("pool.min", _) => ("3", "3"),
        ("statement_cache", _) => ("9", "9"),
        ("monitoring.enabled" | "log_events", _) => ("true", "true"),
        (_, Bare::Milliseconds) => ("7000", "7s"),
        (_, Bare::Seconds) => ("7", "7s"),
        (_, Bare::Refused) => ("7s", "7s"),
    }
}

#[test]
fn every_variable_sets_what_its_row_says() {
    for row in VARIABLES {
        let name = row.name.replace("<NAME>", "GPS");
        let kind = match row.whose {
            Whose::Kind(kind) | Whose::Named(kind) => kind,
            _ => Kind::Postgres,
        };
        let database = if row.name.contains("<NAME>") {
            "gps"
        } else if matches!(row.whose, Whose::Kind(_)) {
            kind.as_str()
        } else {
            "main"
        };
        let scheme = if kind == Kind::Postgres { "postgres" } else { kind.as_str() };
        let url = format!("{scheme}://host/d");
        let own = format!("HEADPOND_DATABASES__{}", database.to_uppercase());
        match row.to {
            To::Key(key) => {
                let (text, expected) = sample(key, row.bare);
                let config = load(&[(&own, &url), (&name, text)]);
                assert_eq!(shown(&config, database, key), expected, "{name}");
                let origin = config.databases[database].origin(key).to_string();
                assert_eq!(origin, format!("environment variable {name}"));
            }
            To::General(key) => {
                let (text, expected) = sample(key, row.bare);
                let config = load(&[(&name, text)]);
                let rows = config.general.explain();
                let (_, value, origin) = rows.iter().find(|(row, ..)| *row == key).unwrap();
                assert_eq!(value, expected, "{name}");
                assert_eq!(origin.to_string(), format!("environment variable {name}"));
            }
            To::Url => {
                let config = load(&[(&name, &url)]);
                assert_eq!(config.databases[database].url.reveal(), url, "{name}");
                assert_eq!(config.databases[database].kind, kind);
            }
            To::Part(part) => {
                let host = format!("{}_HOST", name.rsplit_once('_').unwrap().0);
                let config = load(&[(&host, "box"), (&name, "4/2")]);
                let (at, expected) = match part {
                    Part::Host => ("4/2", format!("{kind}://4/2")),
                    Part::Port => ("box", format!("{kind}://box:4%2F2")),
                    Part::User => ("box", format!("{kind}://4%2F2@box")),
                    Part::Password => ("box", format!("{kind}://:4%2F2@box")),
                    Part::Database => ("box", format!("{kind}://box/4%2F2")),
                };
                let url = config.databases[database].url.reveal();
                assert_eq!(url, expected, "{name} {at}");
            }
            To::Nothing(why) => {
                let config = load(&[(&own, &url), (&name, "60000")]);
                assert_eq!(config.notes[0].why, why, "{name}");
            }
            To::UsePgbouncer | To::PgbouncerUrl => {
                let bouncer = "postgres://a@bouncer:6432/d";
                let used = |yes| {
                    let main = ("DATABASE_URL", "postgres://a@db/d");
                    load(&[main, ("USE_PGBOUNCER", yes), ("PGBOUNCER_URL", bouncer)])
                };
                let with = used("true");
                let marked = format!("{bouncer}?pgbouncer=true");
                assert_eq!(with.databases["main"].url.reveal(), marked);
                assert_eq!(with.databases["main"].statement_cache, Some(0));
                assert_eq!(with.general.pgbouncer.unwrap().reveal(), marked);
                let without = used("false");
                assert_eq!(without.databases["main"].url.reveal(), "postgres://a@db/d");
                assert!(without.general.pgbouncer.is_none());
            }
            To::PgbouncerAdminUrl => {
                let admin = "postgres://stats:s@bouncer:6432/pgbouncer";
                let main = ("DATABASE_URL", "postgres://a@db/d");
                let config = load(&[main, (&name, admin)]);
                assert_eq!(config.general.pgbouncer_admin.expect("a URL").reveal(), admin);
                assert_eq!(config.databases.len(), 1, "it is no database");
                let wrong = Sources::new(vars(&[main, (&name, "mysql://s:secret@h/d")])).load();
                let wrong = wrong.unwrap_err().to_string();
                assert!(wrong.contains("PGBOUNCER_ADMIN_URL") && !wrong.contains("secret"));
            }
        }
    }
}

#[test]
fn every_key_is_read_from_the_file_from_headpond_variables_and_from_code() {
    for key in DATABASE {
        let config = load(&[("DATABASE_URL", "postgres://h/d")]);
        // What is shown reads back, wherever it stands.
        let value = shown(&config, "main", key.name);
        let path = format!("databases.main.{}", key.name);
        let text = format!("databases.main.url = 'postgres://h/d'\n{path} = '{value}'\n");
        let of_file = load_file(&text, &[]).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(shown(&of_file, "main", key.name), value, "{}", key.name);
        let origin = of_file.databases["main"].origin(key.name);
        assert!(matches!(origin, Origin::File { line: 2, .. }), "{origin}");

        let variable = format!("HEADPOND_{}", path.replace('.', "__").to_uppercase());
        let of_variable = load(&[("DATABASE_URL", "postgres://h/d"), (&variable, &value)]);
        assert_eq!(shown(&of_variable, "main", key.name), value, "{variable}");
        let origin = of_variable.databases["main"].origin(key.name).to_string();
        assert_eq!(origin, format!("environment variable {variable}"));

        let sources = Sources::new(vars(&[("DATABASE_URL", "postgres://h/d")]));
        let explicit = sources.set(path, value.as_str()).load().unwrap();
        assert_eq!(explicit.databases["main"].origin(key.name), Origin::Explicit);
    }
    for key in GENERAL {
        let rows = Config::default().general.explain();
        let value = &rows.iter().find(|(name, ..)| *name == key.name).unwrap().1;
        let config = load_file(&format!("{} = '{value}'\n", key.name), &[]).unwrap();
        assert!(matches!(config.general.origin(key.name), Origin::File { .. }));
        let variable = format!("HEADPOND_{}", key.name.replace('.', "__").to_uppercase());
        let config = load(&[(&variable, value)]);
        let origin = config.general.origin(key.name).to_string();
        assert_eq!(origin, format!("environment variable {variable}"));
    }
}

#[test]
fn every_option_of_a_url_sets_what_its_row_says() {
    for option in OPTIONS {
        let Some(key) = option.key else {
            let config = load(&[("DATABASE_URL", &format!("mysql://h/d?{}=60s", option.name))]);
            assert_eq!(config.notes.len(), 1, "{}", option.name);
            continue;
        };
        let (text, expected) = match (option.name, key) {
            ("pgbouncer", _) => ("true", "0"),
            // A tenth of the lifetime.
            (_, "pool.lifetime_jitter") if option.bare == Bare::Seconds => ("180", "10%"),
            (_, "pool.lifetime_jitter") => ("3m", "10%"),
            _ => sample(key, option.bare),
        };
        let url = format!("mysql://h/d?tls=1&{}={text}", option.name);
        let config = load(&[("DATABASE_URL", &url)]);
        assert_eq!(shown(&config, "main", key), expected, "{}", option.name);
        assert_eq!(config.databases["main"].url.reveal(), "mysql://h/d?tls=1");
        let origin = config.databases["main"].origin(key).to_string();
        let said = format!("option {} of the url in environment variable", option.name);
        assert!(origin.starts_with(&said), "{origin}");
    }
}

#[test]
fn a_key_of_the_pool_may_stand_in_the_url() {
    let url = "postgres://h/d?pool_acquire_timeout=2s&pool_breaker_enabled=true&pool_order=fifo";
    let config = load(&[("DATABASE_URL", url)]);
    assert_eq!(config.databases["main"].pool.acquire_timeout, Some(Duration::from_secs(2)));
    assert!(config.databases["main"].pool.breaker.is_some());
    assert_eq!(shown(&config, "main", "pool.order"), "fifo");
}

#[test]
fn the_code_wins_over_the_environment_over_the_file_over_the_profile_over_the_default() {
    let file = "[databases.main]\nurl = 'postgres://h/d?pool_max_conns=2'\npool.max = 3\n";
    let path = "databases.main.pool.max";
    let own = ("HEADPOND_DATABASES__MAIN__POOL__MAX", "7");
    let of = |file: Option<&str>, pairs: &[(&str, &str)], code: Option<&str>| {
        let mut sources = Sources::new(vars(pairs));
        if let Some(file) = file {
            sources = sources.file("headpond.toml", file);
        }
        if let Some(code) = code {
            sources = sources.set(path, code);
        }
        let config = sources.load().unwrap_or_else(|errors| panic!("{errors}"));
        let main = &config.databases["main"];
        (main.pool.max, main.origin("pool.max").to_string())
    };
    let plain = ("DATABASE_URL", "postgres://h/d");
    let optioned = ("DATABASE_URL", "postgres://h/d?pool_max_conns=4");
    let profile = ("NODE_ENV", "development");
    let default = headpond::default_max();
    assert_eq!(of(None, &[plain], None), (default, "default".into()));
    assert_eq!(of(None, &[plain, profile], None), (10, "profile development".into()));
    let file_url = "[databases.main]\nurl = 'postgres://h/d?pool_max_conns=2'\n";
    let said = "option pool_max_conns of the url in headpond.toml:2:7";
    assert_eq!(of(Some(file_url), &[profile], None), (2, said.into()));
    assert_eq!(of(Some(file), &[profile], None), (3, "headpond.toml:3:12".into()));
    let said = "option pool_max_conns of the url in environment variable DATABASE_URL";
    assert_eq!(of(Some(file), &[optioned, profile], None), (4, said.into()));
    let all = [optioned, profile, ("DB_POOL_MAX", "5")];
    let said = "environment variable DB_POOL_MAX";
    assert_eq!(of(Some(file), &all, None), (5, said.into()));
    let all = [optioned, profile, ("DB_POOL_MAX", "5"), own];
    let said = "environment variable HEADPOND_DATABASES__MAIN__POOL__MAX";
    assert_eq!(of(Some(file), &all, None), (7, said.into()));
    assert_eq!(of(Some(file), &all, Some("8")), (8, "set in code".into()));
}

#[test]
fn named_pools_are_told_apart() {
    let config = load(&[
        ("MYSQL_GPS_URL", "mysql://a@gps/gps"),
        ("MYSQL_ELIOT_HOST", "eliot"),
        ("MYSQL_ELIOT_PASSWORD", CANARY),
        ("MYSQL_ELIOT_USER", "b"),
        ("MYSQL_ELIOT_PORT", "3307"),
        ("MYSQL_ROOT_PASSWORD", "not for us"),
        ("MYSQL_POOL_MAX", "30"),
        ("MYSQL_ELIOT_POOL_MAX", "12"),
        ("DATABASE_URL_REPORTS", "postgres://r/d"),
        ("AUDIT_DATABASE_URL", "sqlite:audit.db"),
        ("DATABASE_URL", "postgres://m/d"),
        ("MYSQL_DATABASE_URL", "mysql://one/d"),
        ("REDIS_HOST", "cache"),
    ]);
    let names: Vec<&str> = config.databases.keys().map(String::as_str).collect();
    assert_eq!(names, ["audit", "eliot", "gps", "main", "mysql", "redis", "reports"]);
    let max = |name: &str| config.databases[name].pool.max;
    assert_eq!((max("gps"), max("eliot"), max("redis")), (30, 12, 10));
    let eliot = &config.databases["eliot"];
    assert_eq!(eliot.url.reveal(), format!("mysql://b:{CANARY}@eliot:3307"));
    assert_eq!(eliot.pool.min, 5);
    assert_eq!(eliot.pool.acquire_timeout, Some(Duration::from_secs(60)));
    assert_eq!(config.databases["audit"].kind, Kind::Sqlite);
}

#[test]
fn sizes_follow_the_machine_unless_somebody_says_otherwise() {
    let config = load(&[("DATABASE_URL", "postgres://m/d")]);
    let pool = &config.databases["main"].pool;
    assert_eq!((pool.max, pool.min), (headpond::default_max(), headpond::default_min(pool.max)));
    let config = load(&[("DATABASE_URL", "postgres://m/d"), ("DB_POOL_MAX", "100")]);
    assert_eq!(config.databases["main"].pool.min, 25, "a quarter of the maximum");
    // A minimum of a weaker origin gives way to a maximum of a stronger one.
    let all = [("DATABASE_URL", "postgres://m/d"), ("APP_ENV", "prod"), ("DB_POOL_MAX", "2")];
    let config = load(&all);
    assert_eq!((config.databases["main"].pool.max, config.databases["main"].pool.min), (2, 2));
    let both = [("DATABASE_URL", "postgres://m/d"), ("DB_POOL_MAX", "2"), ("DB_POOL_MIN", "3")];
    let errors = Sources::new(vars(&both)).load().unwrap_err().to_string();
    let said =
        "environment variable DB_POOL_MAX: database main: min is 3, more than max, which is 2";
    assert_eq!(errors, said);
}

#[test]
fn a_budget_has_room_for_what_the_pools_keep() {
    let two = |more: &[(&str, &str)]| {
        let all = [("DATABASE_URL", "postgres://m/d"), ("MYSQL_URL", "mysql://m/d")];
        let all: Vec<_> = all.iter().chain(more).copied().collect();
        Sources::new(vars(&all)).load()
    };
    let config = two(&[("HEADPOND_BUDGET", "6")]).unwrap();
    let min = |name: &str| config.databases[name].pool.min;
    assert_eq!((min("main"), min("mysql")), (3, 3), "what nobody asked for gives way");
    let errors = two(&[("HEADPOND_BUDGET", "6"), ("DB_POOL_MIN", "4")]).unwrap_err().to_string();
    let said = "environment variable HEADPOND_BUDGET: budget is 6, less than the sum of every \
                pool.min, which is 8";
    assert_eq!(errors, said);
}

#[test]
fn profiles_say_what_the_mission_says() {
    let of = |profile: &str| {
        let url = ("DATABASE_URL", "postgres://m/d");
        load(&[url, ("HEADPOND_PROFILE", profile)]).databases.remove("main").unwrap()
    };
    let seconds = |time: Option<Duration>| time.unwrap().as_secs();
    let production = of("production");
    assert_eq!((production.pool.max, production.pool.min), (20, 5));
    assert_eq!(seconds(production.pool.idle_timeout), 60);
    assert_eq!(production.pool.connect_timeout.as_secs(), 10);
    assert_eq!(seconds(production.session.statement_timeout), 30);
    assert_eq!(seconds(production.pool.keep_alive), 10);
    let development = of("dev");
    assert_eq!((development.pool.max, development.pool.min), (10, 2));
    assert_eq!(seconds(development.pool.idle_timeout), 30);
    assert_eq!(seconds(development.session.statement_timeout), 60);
    assert_eq!(seconds(development.pool.keep_alive), 5);
    assert!(of("high-traffic").pool.max > production.pool.max);
    assert!(of("test").pool.max < development.pool.max);
    assert_eq!(load(&[("NODE_ENV", "staging")]).profile, None, "not ours, not an error");
    let ours = [("HEADPOND_PROFILE", "producton"), ("NODE_ENV", "test")];
    let errors = Sources::new(vars(&ours)).load().unwrap_err().to_string();
    assert!(errors.ends_with("did you mean production?"), "{errors}");
    let config = load_file("profile = 'test'", &[]).unwrap();
    assert_eq!(config.profile, Some(Profile::Test));
}

#[test]
fn the_environments_of_the_systems_that_this_replaces_mean_what_they_meant() {
    let seconds = Duration::from_secs;
    let pools =
        [("REDIS_HOST", "cache"), ("MYSQL_GPS_URL", "mysql://m/g"), ("MYSQL_ELIOT_HOST", "m")];
    let config = load(&pools);
    let redis = &config.databases["redis"].pool;
    assert_eq!((redis.min, redis.max), (2, 10));
    assert_eq!(
        (redis.acquire_timeout, redis.idle_timeout),
        (Some(seconds(30)), Some(seconds(300)))
    );
    for name in ["gps", "eliot"] {
        let mysql = &config.databases[name].pool;
        assert_eq!((mysql.min, mysql.max), (5, 25), "{name}");
        let times = (mysql.acquire_timeout, mysql.idle_timeout);
        assert_eq!(times, (Some(seconds(60)), Some(seconds(30))), "{name}");
    }
    let config = load(&[
        ("DATABASE_URL", "postgresql://p/d?connection_limit=25&pool_timeout=10"),
        ("DATABASE_CONNECTION_TIMEOUT_MS", "10000"),
        ("DATABASE_IDLE_TIMEOUT_MS", "30000"),
        ("DATABASE_QUERY_TIMEOUT_MS", "60000"),
        ("ENABLE_CONNECTION_MONITORING", "true"),
        ("CONNECTION_MONITORING_INTERVAL_MS", "30000"),
    ]);
    let main = &config.databases["main"];
    assert_eq!((main.pool.max, main.pool.acquire_timeout), (25, Some(seconds(10))));
    assert_eq!(
        (main.pool.connect_timeout, main.pool.idle_timeout),
        (seconds(10), Some(seconds(30)))
    );
    let session = main.session;
    assert_eq!(session.statement_timeout, Some(seconds(60)));
    assert_eq!(session.lock_timeout, Some(seconds(10)), "nobody said otherwise");
    assert_eq!(session.idle_in_transaction_timeout, Some(seconds(30)));
    assert!(config.general.monitoring);
    assert_eq!(config.general.monitoring_interval, seconds(30));
    // The timeouts of the optimised pool, as its operator writes them here.
    let config = load(&[
        ("DATABASE_URL", "postgresql://p/d?statement_timeout=15000"),
        ("DB_POOL_MAX", "40"),
        ("DB_POOL_MIN", "4"),
        ("DB_ACQUIRE_TIMEOUT", "60000"),
        ("DB_IDLE_TIMEOUT", "10000"),
        ("HEADPOND_DATABASES__MAIN__POOL__USES_MAX", "5000"),
    ]);
    let pool = &config.databases["main"].pool;
    assert_eq!((pool.min, pool.max, pool.uses_max), (4, 40, Some(5000)));
    assert_eq!((pool.acquire_timeout, pool.idle_timeout), (Some(seconds(60)), Some(seconds(10))));
}

#[test]
fn the_url_alone_says_whether_it_is_postgresql_or_sqlite() {
    for (url, kind) in [
        ("postgresql://p/d", Kind::Postgres),
        ("postgres://p/d", Kind::Postgres),
        ("sqlite://./app.db", Kind::Sqlite),
        ("file:app.db", Kind::Sqlite),
    ] {
        assert_eq!(load(&[("DATABASE_URL", url)]).databases["main"].kind, kind, "{url}");
    }
}

#[test]
fn a_transaction_waits_five_seconds_and_lasts_ten_unless_told_otherwise() {
    let options = headpond::transaction::Options::default();
    assert_eq!(options.max_wait, Duration::from_secs(5));
    assert_eq!(options.timeout, Some(Duration::from_secs(10)));
    assert_eq!(options.isolation, None);
}

#[test]
fn every_profile_and_kind_makes_sense() {
    for profile in Profile::ALL {
        for scheme in ["postgres", "mysql", "redis", "sqlite", "http"] {
            let url = format!("{scheme}://h/d");
            load(&[("DATABASE_URL", &url), ("HEADPOND_PROFILE", profile.as_str())]);
        }
    }
}

#[test]
fn an_unknown_key_is_an_error_with_file_line_column_and_the_nearest_name() {
    for (text, said) in [
        (
            "[databases.main]\nurl = 'postgres://h/d'\n  pool.mx = 3",
            "3:8: unknown name databases.main.pool.mx; did you mean pool.max?",
        ),
        (
            "[databases.main]\nurl = 'postgres://h/d'\nmax = 3",
            "3:1: unknown name databases.main.max; did you mean pool.max?",
        ),
        ("budgt = 3", "1:1: unknown name budgt; did you mean budget?"),
        ("[database.main]\nurl = 'x'", "2:1: unknown name database.main.url"),
        ("[databases.main.pool]\nmax = 3", "2:7: database main has no url"),
        (
            "[databases.main]\nurl = 'postgres://h/d'\npool.idle_timeout = 30",
            "3:21: pool.idle_timeout: a time needs a unit: write 30s or 30000ms",
        ),
        (
            "[databases.main]\nurl = 'postgres://h/d'\npool.max = [3]",
            "3:12: a key: expected a text or a number, found array",
        ),
        ("[databases.main\n", "1:16: not valid TOML: unclosed table, expected `]`"),
        (
            "[databases.'a b']\nurl = 'postgres://h/d'",
            "2:1: a database's name is made of letters, digits, - and _",
        ),
        ("databases.main = 'oracle://h/d'", "1:18: url: expected a url that begins with one of"),
    ] {
        let errors = load_file(text, &[]).unwrap_err().to_string();
        let expected = format!("headpond.toml:{said}");
        assert!(errors.starts_with(&expected), "{errors}\n{expected}");
    }
}

#[test]
fn a_misspelt_variable_of_ours_is_an_error_and_others_are_left_alone() {
    for (variable, nearest) in [
        ("HEADPOND_DATABASES__MAIN__POOL__MX", "pool.max"),
        ("HEADPOND_DATABSES__MAIN__POOL__MAX", "HEADPOND_DATABASES__MAIN__POOL__MAX"),
        ("HEADPOND_MONITORNG__ENABLED", "HEADPOND_MONITORING__ENABLED"),
        ("HEADPOND_BUGET", "HEADPOND_BUDGET"),
    ] {
        let all = [("DATABASE_URL", "postgres://h/d"), (variable, "1")];
        let errors = Sources::new(vars(&all)).load().unwrap_err().to_string();
        assert!(errors.ends_with(&format!("did you mean {nearest}?")), "{errors}");
        assert!(errors.starts_with(&format!("environment variable {variable}: ")), "{errors}");
    }
    for variable in ["HEADPOND_HTTP__LISTEN", "HEADPOND_TEST_SEED", "HEADPOND_CONFIG", "PATH"] {
        load(&[(variable, "1")]);
    }
}

#[test]
fn secrets_are_read_from_files() {
    let read = |path: &Path| match path.to_str() {
        Some("/run/secrets/db") => Ok(format!("postgres://a:{CANARY}@h/d\n")),
        Some("/run/secrets/redis") => Ok(format!("{CANARY}\r\n")),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let load = |pairs: &[(&str, &str)]| Sources::new(vars(pairs)).read_with(read).load();
    let config = load(&[
        ("DATABASE_URL_FILE", "/run/secrets/db"),
        ("REDIS_HOST", "cache"),
        ("REDIS_PASSWORD_FILE", "/run/secrets/redis"),
        ("MYSQL_GPS_HOST", "gps"),
        ("MYSQL_GPS_PASSWORD_FILE", "/run/secrets/redis"),
        ("HEADPOND_DATABASES__MORE__URL_FILE", "/run/secrets/db"),
        ("DATABASE_URL_THIRD_FILE", "/run/secrets/db"),
    ])
    .unwrap();
    let url = |name: &str| config.databases[name].url.reveal().to_owned();
    assert_eq!(url("main"), format!("postgres://a:{CANARY}@h/d"));
    assert_eq!(url("more"), url("main"));
    assert_eq!(url("third"), url("main"));
    assert_eq!(url("redis"), format!("redis://:{CANARY}@cache"));
    assert_eq!(url("gps"), format!("mysql://:{CANARY}@gps"));
    let origin = config.databases["main"].origin("url").to_string();
    assert_eq!(origin, "environment variable DATABASE_URL_FILE");

    let missing = load(&[("DATABASE_URL_FILE", "/run/none")]).unwrap_err().to_string();
    let said = "environment variable DATABASE_URL_FILE: /run/none cannot be read: entity not found";
    assert_eq!(missing, said);
    let both = [("DATABASE_URL_FILE", "/run/secrets/db"), ("DATABASE_URL", "postgres://h/d")];
    let both = load(&both).unwrap_err().to_string();
    assert!(both.contains("DATABASE_URL is set as well"), "{both}");
}

#[test]
fn no_secret_is_ever_shown() {
    let url = format!("postgres://app:{CANARY}@h/d?sslpassword={CANARY}");
    let file = format!("[databases.main]\nurl = '{url}'\n[databases.two]\nurl = '{url}'\n");
    let pairs = [
        ("REDIS_HOST", "cache"),
        ("REDIS_PASSWORD", CANARY),
        ("PGBOUNCER_URL", url.as_str()),
        ("PGBOUNCER_ADMIN_URL", url.as_str()),
        ("USE_PGBOUNCER", "1"),
    ];
    let sources = Sources::new(vars(&pairs))
        .file("headpond.toml", file.as_str())
        .set("databases.x.url", url.as_str());
    assert!(!format!("{sources:?}").contains(CANARY));
    let config = sources.load().unwrap();
    assert!(config.to_string().contains("postgres://app:***@h/d?sslpassword=***"), "{config}");
    for text in [config.to_string(), format!("{config:?}"), format!("{config:#?}")] {
        assert!(!text.contains(CANARY), "{text}");
    }
    // Whatever is wrong with it, an error does not show it.
    let wrong = [
        format!("databases.main = '{CANARY}'"),
        format!("databases.main = 'postgres://a:x?pool_{CANARY}=1@h/d'"),
        format!("databases.main = 'oracle://a:{CANARY}@h/d'"),
        format!("databases.main.url = 'postgres://a:{CANARY}@h/d?pool_max_conns={CANARY}'"),
        format!("databases.main = 'postgres://h/d'\ndatabases.main.pool.max = '{CANARY}'"),
        format!("databases.main = 'postgres://h/d'\n'postgres://a:{CANARY}@h' = 1"),
        format!("databases.main = 'postgres://a:{CANARY}@h/d"),
        format!("profile = '{CANARY}'"),
    ];
    for text in wrong {
        let errors = load_file(&text, &[]).expect_err(&text);
        assert!(!errors.to_string().contains(CANARY), "{errors}");
        assert!(!format!("{errors:?}").contains(CANARY), "{errors:?}");
    }
}

#[test]
fn the_reference_in_the_documentation_is_the_tables_own() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let reference = headpond::config::reference();
    if std::env::var_os("HEADPOND_TEST_WRITE").is_some() {
        let begin = page.find("## Keys of a database").unwrap_or(page.len());
        std::fs::write(&path, format!("{}{reference}", &page[..begin])).unwrap();
        return;
    }
    assert!(page.ends_with(&reference), "HEADPOND_TEST_WRITE=1 writes the tables anew");
}
