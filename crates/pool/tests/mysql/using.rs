//! Statements, transactions and several pools.

use headpond::mysql::{self, Config, Error};

use super::mariadb::Server;

#[tokio::test]
async fn statements_run_on_a_connection_that_goes_back_by_itself() {
    let server = Server::start().await;
    let pool = mysql::pool(&server.url("pool_max=2")).unwrap();
    pool.exec_drop("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, name TEXT)", ())
        .await
        .unwrap();
    assert_eq!(pool.exec_drop("INSERT INTO t (name) VALUES (?)", ("a",)).await.unwrap(), 1);
    let mut connection = pool.get().await.unwrap();
    connection.exec_batch("INSERT INTO t (name) VALUES (?)", [("b",), ("c",)]).await.unwrap();
    drop(connection);
    let names: Vec<String> = pool.query("SELECT name FROM t ORDER BY id").await.unwrap();
    assert_eq!(names, ["a", "b", "c"]);
    let one: Option<String> =
        pool.exec_first("SELECT name FROM t WHERE id = ?", (2,)).await.unwrap();
    assert_eq!(one.as_deref(), Some("b"));
    let wrong = pool.query::<String>("SELECT nothing FROM nowhere").await.unwrap_err();
    assert_eq!(wrong.code(), Some(1146));
    let unfit = pool.query::<u32>("SELECT 'x'").await.unwrap_err();
    assert!(matches!(unfit, Error::Row), "{unfit}");
    assert_eq!(pool.status().in_use, 0);
    assert!(pool.status().size <= 2);
}

#[tokio::test]
async fn rows_can_be_read_one_by_one() {
    let server = Server::start().await;
    let pool = mysql::pool(&server.url("pool_max=1")).unwrap();
    let mut connection = pool.get().await.unwrap();
    let id = connection.id();
    let mut rows = connection.rows("SELECT seq FROM seq_1_to_1000").await.unwrap();
    let mut sum = 0;
    while let Some(number) = rows.next::<u32>().await.unwrap() {
        sum += number;
    }
    assert_eq!(sum, 500_500);
    drop(rows);
    drop(connection);
    let mut connection = pool.get().await.unwrap();
    assert_eq!(connection.id(), id, "it was read to the end");
    let mut rows = connection.rows("SELECT seq FROM seq_1_to_100000").await.unwrap();
    assert_eq!(rows.next::<u32>().await.unwrap(), Some(1));
    drop(rows);
    drop(connection);
    assert_ne!(pool.get().await.unwrap().id(), id, "it was not");
}

#[tokio::test]
async fn two_pools_of_two_databases_work_side_by_side() {
    let server = Server::start().await;
    let of = |database: &str, name: &str| {
        let url = server.url("pool_max=3&pool_min=0").replace("/app?", &format!("/{database}?"));
        Config::from_url(&url).unwrap().builder().name(name).build().unwrap()
    };
    let (gps, eliot) = (of("app", "gps"), of("other", "eliot"));
    let ask = "SELECT DATABASE()";
    let (first, second) = (gps.get().await.unwrap(), eliot.get().await.unwrap());
    let both = tokio::join!(gps.query_first::<String>(ask), eliot.query_first::<String>(ask));
    assert_eq!(
        (both.0.unwrap().unwrap(), both.1.unwrap().unwrap()),
        ("app".into(), "other".into())
    );
    drop((first, second));
    assert_eq!((gps.name(), eliot.name()), ("gps", "eliot"));
}

#[tokio::test]
async fn a_wrong_password_refuses_everybody_at_once_and_is_not_shown() {
    let server = Server::start().await;
    let url = server.url("").replace(super::mariadb::PASSWORD, "wrong-secret");
    let pool = mysql::pool(&url).unwrap();
    let error = pool.get().await.unwrap_err();
    assert!(matches!(error, headpond::Error::Rejected { .. }), "{error}");
    let config = Config::from_url(&url).unwrap();
    let shown = format!("{error} {error:?} {pool:?} {:?} {config:?}", pool.manager());
    assert!(!shown.contains("wrong-secret"), "{shown}");
    let url = server.url("").replace("/app?", "/nowhere?");
    let error = mysql::pool(&url).unwrap().get().await.unwrap_err();
    assert!(matches!(error, headpond::Error::Rejected { .. }), "{error}");
}
