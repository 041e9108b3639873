//! Connection strings, variables and files as tables.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

fn bare() -> Environment {
    Environment::of([("USER", "me")])
}

fn parse(text: &str) -> Config {
    Config::parse_in(text, &bare()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn hosts(config: &Config) -> String {
    let hosts: Vec<String> = config.hosts.iter().map(Host::to_string).collect();
    hosts.join(" ")
}

fn wrong(text: &str) -> String {
    Config::parse_in(text, &bare()).expect_err(text).to_string()
}

#[test]
fn urls_and_dsns_say_where_who_and_what() {
    for (text, expected_hosts, user, database) in [
        ("postgresql://app@db:6432/shop", "db:6432", "app", "shop"),
        ("postgres://app:x@db", "db:5432", "app", "app"),
        ("postgresql://db1,db2:6000,db3/shop", "db1:5432 db2:6000 db3:5432", "me", "shop"),
        ("postgresql://[::1]:5433/d", "[::1]:5433", "me", "d"),
        ("postgresql://[2001:db8::1],[::1]:7/d", "[2001:db8::1]:5432 [::1]:7", "me", "d"),
        ("postgresql://%2Ftmp%2Fsock/d", "/tmp/sock/.s.PGSQL.5432", "me", "d"),
        ("postgresql:///d?host=/tmp/sock&port=7", "/tmp/sock/.s.PGSQL.7", "me", "d"),
        ("postgresql://u%40x:p%3Aw@h/d%2Fe", "h:5432", "u@x", "d/e"),
        ("postgresql://u:p@w@h/d", "h:5432", "u", "d"),
        ("postgresql://h/?user=other&dbname=x", "h:5432", "other", "x"),
        ("host=h port=1 user=u dbname=d", "h:1", "u", "d"),
        ("host = h\tport= 1 user ='u v' dbname='it\\'s'", "h:1", "u v", "it's"),
        ("host=a,b port=1,2", "a:1 b:2", "me", "me"),
        ("host=a,b port=9", "a:9 b:9", "me", "me"),
        ("hostaddr=10.0.0.1 host=db", "db:5432", "me", "me"),
        ("hostaddr=10.0.0.1,::1", "10.0.0.1:5432 [::1]:5432", "me", "me"),
        ("host=@name", "@name/.s.PGSQL.5432", "me", "me"),
    ] {
        let config = parse(text);
        let got = (hosts(&config), config.user.as_str(), config.database.as_str());
        assert_eq!(got, (expected_hosts.to_owned(), user, database), "{text}");
    }
}

#[test]
fn errors_name_the_place_the_cause_and_the_nearest_choice() {
    for (text, parts) in [
        ("mysql://h/d", &["byte 0", "postgresql://"][..]),
        ("postgresql://h/d?sslmod=require", &["byte 17", "sslmod", "did you mean \"sslmode\""]),
        ("postgresql://h/d?sslmode=requird", &["sslmode", "requird", "mean \"require\"", "allow"]),
        ("postgresql://h/d?pool_max_con=3", &["pool_max_con", "mean \"pool_max_conns\""]),
        ("postgresql://h/d?x", &["byte 17", "name=value"]),
        ("postgresql://h/d%2", &["byte 16", "hexadecimal"]),
        ("postgresql://h/d%00", &["byte 16", "%00"]),
        ("postgresql://[::1/d", &["byte 17", "no end"]),
        ("postgresql://h:port/d", &["port", "1 to 65535"]),
        ("host='h", &["byte 5", "no end"]),
        ("host", &["byte 0", "followed by ="]),
        ("host=a,b port=1,2,3", &["one port for all hosts"]),
        ("hostaddr=db", &["hostaddr", "IP address"]),
        ("sslnegotiation=direct sslmode=prefer", &["sslnegotiation=direct", "require"]),
        ("sslrootcert=system sslmode=require", &["system", "verify-full"]),
        ("sslmode=verify-full", &["sslrootcert"]),
        ("gssencmode=require", &["gssencmode", "not supported"]),
        ("require_auth=md5", &["require_auth", "not supported"]),
        ("pool_max_conns=many", &["pool_max_conns", "a whole number"]),
        ("connect_timeout=soon", &["connect_timeout", "seconds"]),
        ("service=nowhere", &["nowhere", "service file"]),
    ] {
        let error = wrong(text);
        for part in parts {
            assert!(error.contains(part), "{text}: {error:?} lacks {part:?}");
        }
    }
}

#[test]
fn what_has_a_few_values_takes_all_of_libpqs() {
    for mode in ["disable", "allow", "prefer", "require"] {
        assert_eq!(parse(&format!("sslmode={mode}")).tls.mode.as_str(), mode);
    }
    for mode in ["verify-ca", "verify-full"] {
        let config = parse(&format!("sslmode={mode} sslrootcert=/ca.crt"));
        assert_eq!(config.tls.mode.as_str(), mode);
    }
    for target in ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] {
        let config = parse(&format!("target_session_attrs={target}"));
        assert_eq!(config.target.as_str(), target);
    }
    assert_eq!(parse("ssl=true").tls.mode, SslMode::Require);
    assert_eq!(parse("ssl=true sslmode=allow").tls.mode, SslMode::Allow);
    assert_eq!(parse("sslrootcert=system").tls.mode, SslMode::VerifyFull);
    assert_eq!(parse("load_balance_hosts=random").load_balance, LoadBalance::Random);
    assert_eq!(parse("channel_binding=require").channel_binding, ChannelBinding::Require);
    let keepalive = parse("keepalives_idle=7 keepalives_count=3 tcp_user_timeout=1500").keepalive;
    assert_eq!(keepalive.idle, Some(Duration::from_secs(7)));
    assert_eq!((keepalive.count, keepalive.enabled), (Some(3), true));
    assert_eq!(keepalive.user_timeout, Some(Duration::from_millis(1500)));
    parse("gssencmode=prefer sslcompression=1 krbsrvname=x client_encoding=UTF8");
}

#[test]
fn pool_options_size_the_pool_by_any_of_their_names() {
    let settings = |text| parse(text).settings(Settings::default());
    let pgx = "postgresql://h/d?pool_max_conns=20&pool_min_conns=3&pool_max_conn_lifetime=1h30m\
               &pool_max_conn_lifetime_jitter=9m&pool_max_conn_idle_time=30s\
               &pool_health_check_period=1m&pool_ping_timeout=250ms";
    let got = settings(pgx);
    assert_eq!((got.max, got.min), (20, 3));
    assert_eq!((got.lifetime, got.lifetime_jitter), (Some(Duration::from_secs(5400)), 100));
    assert_eq!(got.idle_timeout, Some(Duration::from_secs(30)));
    assert_eq!(got.keep_alive, Some(Duration::from_secs(60)));
    assert_eq!(got.check_timeout, Duration::from_millis(250));
    let prisma = settings("postgresql://h/d?connection_limit=25&pool_timeout=10");
    assert_eq!((prisma.max, prisma.min), (25, 6));
    assert_eq!(prisma.acquire_timeout, Some(Duration::from_secs(10)));
    assert_eq!(settings("postgresql://h/d?pool_timeout=0").acquire_timeout, None);
    assert_eq!(settings("postgresql://h/d?pool=7").max, 7);
    let own = settings("postgresql://h/d?pool_acquire_timeout=2s&pool_queue_max=9&idle_timeout=7");
    assert_eq!((own.acquire_timeout, own.queue_max), (Some(Duration::from_secs(2)), Some(9)));
    assert_eq!(own.idle_timeout, Some(Duration::from_secs(7)));
    assert_eq!(parse("postgresql://h/d?pgbouncer=true").route, Route::Pooler);
}

#[test]
fn explicit_beats_service_beats_environment_beats_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services");
    let text = "# ours\n[other]\nhost=wrong\n\n[shop]\nhost=from-service\nuser=from-service\n";
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let environment = Environment::of([
        ("USER", "me"),
        ("PGSERVICEFILE", path),
        ("PGHOST", "from-env"),
        ("PGUSER", "from-env"),
        ("PGDATABASE", "from-env"),
        ("PGAPPNAME", "from env"),
        ("PGPORT", "7000"),
    ]);
    let config = Config::parse_in("service=shop host=explicit", &environment).unwrap();
    assert_eq!(hosts(&config), "explicit:7000");
    assert_eq!((config.user.as_str(), config.database.as_str()), ("from-service", "from-env"));
    assert_eq!(config.application_name.as_deref(), Some("from env"));
    fs::write(&file, "[shop]\nhots=x\n").unwrap();
    let error = Config::parse_in("service=shop", &environment).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("\"host\""), "{error}");
}

#[test]
fn every_variable_of_libpq_is_known() {
    let listed = "PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGSERVICE \
        PGSERVICEFILE PGOPTIONS PGAPPNAME PGCLIENTENCODING PGCONNECT_TIMEOUT PGSSLMODE \
        PGSSLCOMPRESSION PGSSLCERT PGSSLKEY PGSSLCERTMODE PGSSLROOTCERT PGSSLCRL PGSSLCRLDIR \
        PGSSLSNI PGREQUIREPEER PGREQUIREAUTH PGCHANNELBINDING PGSSLMINPROTOCOLVERSION \
        PGSSLMAXPROTOCOLVERSION PGGSSENCMODE PGKRBSRVNAME PGGSSLIB PGGSSDELEGATION \
        PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS PGDATESTYLE PGTZ PGGEQO PGSSLNEGOTIATION \
        PGMINPROTOCOLVERSION PGMAXPROTOCOLVERSION";
    for variable in listed.split_whitespace() {
        assert!(keys::KEYS.iter().any(|key| key.variable == Some(variable)), "{variable}");
    }
}

#[test]
fn the_password_file_counts_only_if_nobody_else_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pgpass");
    let text = "# comment\nother:*:*:*:no\nh:5432:d:u:pa\\:ss:word\n*:*:*:*:any\n";
    fs::write(&file, text).unwrap();
    let environment = Environment::of([("USER", "me"), ("PGPASSFILE", file.to_str().unwrap())]);
    let password = |text: &str| {
        let config = Config::parse_in(text, &environment).unwrap();
        config.hosts[0].password.as_ref().map(|password| password.expose().to_owned())
    };
    for (mode, expected) in
        [(0o600, Some("pa:ss:word")), (0o644, None), (0o400, Some("pa:ss:word"))]
    {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(password("host=h user=u dbname=d").as_deref(), expected, "{mode:o}");
    }
    assert_eq!(password("host=elsewhere").as_deref(), Some("any"));
    assert_eq!(password("host=h password=explicit").as_deref(), Some("explicit"));
}

#[test]
fn the_environment_says_whether_to_go_through_a_pooler() {
    let direct = [("USER", "me"), ("DATABASE_URL", "postgresql://db/d")];
    let config = Config::from_env_in(&Environment::of(direct)).unwrap();
    assert_eq!((hosts(&config).as_str(), config.route), ("db:5432", Route::Direct));
    let pooled = Environment::of([
        ("USER", "me"),
        ("DATABASE_URL", "postgresql://db/d"),
        ("PGBOUNCER_URL", "postgresql://pooler:6432/d"),
        ("USE_PGBOUNCER", "true"),
    ]);
    let config = Config::from_env_in(&pooled).unwrap();
    assert_eq!((hosts(&config).as_str(), config.route), ("pooler:6432", Route::Pooler));
    assert_eq!(config.server_options(), None, "settings would reach other clients");
    let half = Environment::of([("USER", "me"), ("USE_PGBOUNCER", "1")]);
    assert!(Config::from_env_in(&half).unwrap_err().to_string().contains("PGBOUNCER_URL"));
    assert!(matches!(Config::from_env_in(&bare()), Err(ConfigError::Nothing)));
}

#[test]
fn session_limits_come_before_the_users_own_options() {
    let config = parse("options='-c geqo=off' lock_timeout=2s timezone='Europe/San Marino'");
    let expected = "-c idle_in_transaction_session_timeout=30000 -c statement_timeout=30000 \
                    -c lock_timeout=2000 -c timezone=Europe/San\\ Marino -c geqo=off";
    assert_eq!(config.server_options().as_deref(), Some(expected));
}

#[test]
fn no_secret_is_ever_shown() {
    let config = parse("postgresql://u:hush@h/d");
    assert_eq!(config.hosts[0].password.as_ref().unwrap().expose(), "hush");
    assert!(!format!("{config:?} {:#?}", config).contains("hush"));
    let error = wrong("postgresql://u:hush@h/d?sslpassword=hush&sslmode=hsh");
    assert!(!error.contains("hush"), "{error}");
}
