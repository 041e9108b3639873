//! What nobody uses any more: pools, databases of the `*` entry, names without an address.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::bench::{
    Bench, OTHER, Setup, client, config, console, kept_out, pooler, run, until, value,
};
use crate::support::Pooler;
use crate::support::postgres::{APP, SUPERUSER};

/// Returns a column of what the console shows.
async fn shown(console: &Client, sql: &str, column: &str) -> Vec<String> {
    let messages = console.simple_query(sql).await.expect("the console answers");
    let value = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(column).map(str::to_owned),
        _ => None,
    };
    messages.iter().filter_map(value).collect()
}

#[test]
fn a_database_of_the_wildcard_is_forgotten_when_nobody_uses_it_and_found_again() {
    let bench = Bench::start(&Setup {
        databases: "* = host=127.0.0.1 port=PORT",
        keys: "autodb_idle_timeout = 0.5\nserver_idle_timeout = 0.3",
        ..Setup::default()
    });
    bench.postgres.psql("postgres", &format!("CREATE DATABASE third OWNER {APP}"));
    run(async {
        let admin = console(&bench.pooler).await;
        let names = async || shown(&admin, "SHOW DATABASES", "name").await;
        // Of both kinds somebody stays: in an entry, and in the wildcard.
        let entry = client(&bench.pooler, APP, APP).await;
        let stays = client(&bench.pooler, APP, "third").await;
        for round in 0..3 {
            let leaves = client(&bench.pooler, APP, "postgres").await;
            assert_eq!(value(&leaves, "SELECT current_database()").await, "postgres", "{round}");
            assert!(names().await.contains(&"postgres".to_owned()), "it is there while used");
            drop(leaves);
            until("it is forgotten", async || !names().await.contains(&"postgres".to_owned()))
                .await;
            let pools = shown(&admin, "SHOW POOLS", "database").await;
            assert!(!pools.contains(&"postgres".to_owned()), "its pool as well: {pools:?}");
        }
        let left = names().await;
        assert!(left.contains(&"third".to_owned()), "somebody is there: {left:?}");
        assert!(left.contains(&"second".to_owned()), "an entry stays: {left:?}");
        assert_eq!(value(&stays, "SELECT current_database()").await, "third");
        assert_eq!(value(&entry, "SELECT current_database()").await, APP);
        // Who said something about a database is not to say it again.
        let leaves = client(&bench.pooler, APP, "postgres").await;
        drop(leaves);
        admin.simple_query("PAUSE postgres").await.expect("the console pauses");
        let other = client(&bench.pooler, APP, "template1").await;
        drop(other);
        until("the other is forgotten", async || {
            let forgotten = |line: &String| line.contains("auto-database template1 is forgotten");
            bench.pooler.log().lines().iter().any(forgotten)
        })
        .await;
        assert!(names().await.contains(&"postgres".to_owned()), "it is paused, and stays so");
    });
}

#[test]
fn a_pool_that_nobody_uses_is_forgotten_and_made_anew() {
    let bench = Bench::start(&Setup {
        keys: "pool_idle_timeout = 0.5\nserver_idle_timeout = 0.3",
        ..Setup::default()
    });
    run(async {
        let admin = console(&bench.pooler).await;
        let users = async || shown(&admin, "SHOW POOLS", "user").await;
        let stays = client(&bench.pooler, OTHER, APP).await;
        for round in 0..3 {
            let leaves = client(&bench.pooler, APP, APP).await;
            assert_eq!(value(&leaves, "SELECT current_user").await, APP, "round {round}");
            drop(leaves);
            until("it is forgotten", async || !users().await.contains(&APP.to_owned())).await;
        }
        let text = "cleaning up idle pool for user app on db app because: pool idle timeout";
        assert!(bench.pooler.log().wait_for(|line| line.contains(text)));
        let left = users().await;
        assert!(left.contains(&OTHER.to_owned()), "somebody is there: {left:?}");
        assert_eq!(value(&stays, "SELECT current_user").await, OTHER);
    });
}

#[test]
fn databases_that_do_not_exist_are_forgotten_once_they_may_be_tried_again() {
    let bench = Bench::start(&Setup {
        databases: "* = host=127.0.0.1 port=PORT",
        keys: "server_login_retry = 1\nautodb_idle_timeout = 0",
        ..Setup::default()
    });
    run(async {
        let admin = console(&bench.pooler).await;
        let invented = async || {
            let names = shown(&admin, "SHOW DATABASES", "name").await;
            names.iter().filter(|name| name.starts_with("none")).count()
        };
        for round in 0..2 {
            for number in 0..50 {
                let name = format!("none{number}");
                let error = kept_out(&config(&bench.pooler, APP, &name)).await;
                assert!(error.contains("does not exist"), "round {round}: {error}");
            }
            until("they are forgotten", async || invented().await == 0).await;
        }
        // One that exists is remembered: nobody asked for it to be forgotten.
        drop(client(&bench.pooler, SUPERUSER, "postgres").await);
        drop(kept_out(&config(&bench.pooler, APP, "none")).await);
        until("the last is forgotten", async || invented().await == 0).await;
        let names = shown(&admin, "SHOW DATABASES", "name").await;
        assert!(names.contains(&"postgres".to_owned()), "{names:?}");
    });
}

#[test]
fn a_name_without_an_address_is_asked_for_again_after_its_time() {
    let asked = |ttl: &str| {
        let keys = match ttl {
            "0" => "server_login_retry = 0.1\ndns_nxdomain_ttl = 0",
            _ => "server_login_retry = 0.1\ndns_nxdomain_ttl = 3600",
        };
        let databases = "gone = host=nowhere.invalid";
        let pooler = pooler(1, &Setup { databases, keys, ..Setup::default() });
        run(async {
            for user in [APP, OTHER, SUPERUSER] {
                kept_out(&config(&pooler, user, "gone")).await;
            }
        });
        let last = |line: &str| line.contains("gone/postgres@") && line.contains("closing because");
        assert!(pooler.log().wait_for(last), "the log has all of it");
        let is_lookup = |line: &&String| line.contains("DNS lookup failed: nowhere.invalid");
        pooler.log().lines().iter().filter(is_lookup).count()
    };
    assert_eq!(asked("3600"), 1, "once for all of them");
    assert!(asked("0") >= 3, "for each of them");
}
