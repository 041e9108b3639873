//! Settings follow the client from server to server, and stay with no server.

use crate::bench::{Bench, Setup, ask, client, config, first, raw, run, try_value, value};
use crate::support::client::Reply;
use crate::support::postgres::{APP, connect};

#[test]
fn what_a_client_sets_follows_it_and_nobody_else() {
    let setup = Setup {
        entry: "pool_size=1",
        keys: "track_extra_parameters = IntervalStyle, search_path",
        ..Setup::default()
    };
    let bench = Bench::start(&setup);
    run(async {
        let plain = client(&bench.pooler, APP, APP).await;
        let settings = ["TimeZone", "DateStyle", "application_name", "IntervalStyle"];
        let mut before = Vec::new();
        for setting in settings {
            before.push(value(&plain, &format!("SHOW {setting}")).await);
        }
        let tokyo = client(&bench.pooler, APP, APP).await;
        let wanted = ["Asia/Tokyo", "German, DMY", "it's \\ \"alpha\"", "sql_standard"];
        for (setting, wanted) in settings.iter().zip(wanted) {
            let sql = format!("SET {setting} = '{}'", wanted.replace('\'', "''"));
            let sql = if *setting == "DateStyle" { "SET DateStyle = German, DMY" } else { &sql };
            value(&tokyo, sql).await;
        }
        // They share one server.
        for _ in 0..5 {
            for ((setting, wanted), before) in settings.iter().zip(wanted).zip(&before) {
                assert_eq!(value(&tokyo, &format!("SHOW {setting}")).await, wanted);
                assert_eq!(&value(&plain, &format!("SHOW {setting}")).await, before);
            }
        }
        // What is set in a transaction that fails is not kept.
        let failed = try_value(&tokyo, "BEGIN; SET TimeZone = 'UTC'; SELECT 1/0").await;
        failed.expect_err("a division by zero");
        value(&tokyo, "ROLLBACK").await;
        value(&plain, "SELECT 1").await;
        assert_eq!(value(&tokyo, "SHOW TimeZone").await, "Asia/Tokyo");
        value(&tokyo, "RESET TimeZone").await;
        value(&plain, "SELECT 1").await;
        assert_eq!(&value(&tokyo, "SHOW TimeZone").await, &before[0]);
        let direct = bench.postgres.connect(APP).await;
        // Servers report search_path since version 18; on others it cannot be followed.
        if value(&direct, "SHOW server_version_num").await.as_str() >= "180000" {
            value(&tokyo, "SET search_path = pg_catalog").await;
            let path = value(&direct, "SHOW search_path").await;
            assert_eq!(value(&plain, "SHOW search_path").await, path);
            assert_eq!(value(&tokyo, "SHOW search_path").await, "pg_catalog");
        }
    });
}

#[test]
fn what_a_client_asks_for_at_its_login_holds_and_is_reported_once() {
    let bench = Bench::start(&Setup { entry: "pool_size=1", ..Setup::default() });
    run(async {
        let plain = client(&bench.pooler, APP, APP).await;
        let mut settings = config(&bench.pooler, APP, APP);
        settings.application_name("named").options("-c TimeZone=Europe/Paris -c datestyle=SQL");
        let named = connect(&settings).await.expect("it gets in");
        for _ in 0..3 {
            assert_eq!(value(&named, "SHOW application_name").await, "named");
            assert_eq!(value(&named, "SHOW TimeZone").await, "Europe/Paris");
            assert_eq!(value(&named, "SHOW DateStyle").await, "SQL, MDY");
            assert_eq!(value(&plain, "SHOW application_name").await, "");
            assert_eq!(value(&plain, "SHOW DateStyle").await, "ISO, MDY");
        }
        // The client hears of its own SET, and nothing of what the pooler sets.
        let mut one = raw(&bench.pooler).await;
        let replies = ask(&mut one, "SET TimeZone = 'Asia/Tokyo'").await;
        let told = Reply::Parameter("TimeZone".into(), "Asia/Tokyo".into());
        assert!(replies.contains(&told), "{replies:?}");
        value(&plain, "SELECT 1").await;
        let replies = ask(&mut one, "SHOW TimeZone").await;
        assert_eq!(first(&replies).as_deref(), Some("Asia/Tokyo"));
        assert!(!replies.iter().any(|r| matches!(r, Reply::Parameter(..))), "{replies:?}");
    });
}
