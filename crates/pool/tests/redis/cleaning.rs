//! Nobody sees what another left in a session.

use headpond::Manager as _;
use headpond::redis::{self, AsyncCommands, Cmd, Config, Connection, Manager};

use super::server::Server;

/// What leaves a trace in a session.
fn traces() -> Vec<Cmd> {
    let lines = ["WATCH w", "MULTI", "SELECT 3", "CLIENT SETNAME leak", "HELLO 2"];
    lines
        .iter()
        .map(|line| {
            let mut words = line.split(' ');
            let mut cmd = redis::cmd(words.next().unwrap());
            for word in words {
                cmd.arg(word);
            }
            cmd
        })
        .collect()
}

/// Returns what the server knows of a connection, without what differs by nature.
pub async fn state(connection: &mut Connection) -> String {
    let info: Result<String, _> = connection.query(redis::cmd("CLIENT").arg("INFO")).await;
    let Ok(info) = info else { return "in a transaction".into() };
    let kept = ["name=", "db=", "sub=", "psub=", "multi=", "watch=", "flags=", "resp=", "user="];
    let found = info.split(' ').filter(|word| kept.iter().any(|key| word.starts_with(key)));
    found.collect::<Vec<_>>().join(" ")
}

/// Returns whether a transaction fails because somebody changed `w`: no state shows that.
pub async fn watches(connection: &mut Connection, server: &Server) -> bool {
    let mut root = server.root().await;
    let () = redis::cmd("SELECT").arg(1).query_async(&mut root).await.unwrap();
    let () = root.set("w", 1).await.unwrap();
    let mut pipe = redis::pipe();
    pipe.atomic().ping();
    pipe.query_async::<Option<(String,)>>(connection).await.unwrap().is_none()
}

async fn id(connection: &mut Connection) -> u64 {
    connection.query(redis::cmd("CLIENT").arg("ID")).await.unwrap()
}

#[tokio::test]
async fn a_connection_is_lent_without_a_trace_of_its_last_user() {
    let server = Server::start();
    let pool = redis::pool(&server.url("/1?pool_max=1")).unwrap();
    let mut connection = pool.get().await.unwrap();
    let (clean, first) = (state(&mut connection).await, id(&mut connection).await);
    drop(connection);
    for trace in traces() {
        let mut connection = pool.get().await.unwrap();
        let _: redis::driver::Value = connection.query(&trace).await.unwrap();
        drop(connection);
        let mut connection = pool.get().await.unwrap();
        assert_eq!(state(&mut connection).await, clean, "{trace:?}");
        assert!(!watches(&mut connection, &server).await, "{trace:?}");
        assert_eq!(id(&mut connection).await, first, "cleaned, not replaced: {trace:?}");
    }
    let mut connection = pool.get().await.unwrap();
    connection.subscribe("c").await.unwrap();
    connection.psubscribe("p*").await.unwrap();
    drop(connection);
    assert_eq!(state(&mut pool.get().await.unwrap()).await, clean);
    // What was cleaned by its user needs no reset.
    let resets = pool.status().totals.resets;
    for end in ["EXEC", "DISCARD"] {
        let mut connection = pool.get().await.unwrap();
        let _: redis::driver::Value = connection.query(redis::cmd("WATCH").arg("w")).await.unwrap();
        let _: redis::driver::Value = connection.query(&redis::cmd("MULTI")).await.unwrap();
        let _: redis::driver::Value = connection.query(&redis::cmd(end)).await.unwrap();
    }
    assert_eq!(pool.status().totals.resets, resets);
    assert_eq!(state(&mut pool.get().await.unwrap()).await, clean);
}

#[tokio::test]
async fn a_connection_that_is_ruined_is_closed() {
    let server = Server::start();
    let pool = redis::pool(&server.url("?pool_max=1")).unwrap();
    let mut connection = pool.get().await.unwrap();
    let first = id(&mut connection).await;
    let _: redis::driver::Value = connection.query(&redis::cmd("MONITOR")).await.unwrap();
    drop(connection);
    let mut connection = pool.get().await.unwrap();
    let second = id(&mut connection).await;
    assert_ne!(second, first);
    // A reset would not undo it.
    let () = connection.query(redis::cmd("CLIENT").arg("NO-EVICT").arg("on")).await.unwrap();
    drop(connection);
    assert_ne!(id(&mut pool.get().await.unwrap()).await, second);
}

#[tokio::test]
async fn an_old_server_that_cannot_reset_costs_the_connection() {
    let server = Server::start_with(&["--rename-command", "RESET", ""]);
    let pool = redis::pool(&server.url("?pool_max=1")).unwrap();
    let mut connection = pool.get().await.unwrap();
    let first = id(&mut connection).await;
    let () = connection.query(redis::cmd("SELECT").arg(3)).await.unwrap();
    drop(connection);
    let mut connection = pool.get().await.unwrap();
    assert_ne!(id(&mut connection).await, first);
    assert!(state(&mut connection).await.contains("db=0"));
}

#[tokio::test]
async fn the_traces_are_found_where_nothing_is_cleaned() {
    // The positive control of this file: the same questions on a session that was not cleaned.
    let server = Server::start();
    let manager = Manager::new(&Config::from_url(&server.url("/1")).unwrap());
    let clean = state(&mut manager.connect().await.unwrap()).await;
    for trace in traces() {
        let mut connection = manager.connect().await.unwrap();
        let _: redis::driver::Value = connection.query(&trace).await.unwrap();
        if trace.args_iter().len() == 2 && watches(&mut connection, &server).await {
            continue;
        }
        assert_ne!(state(&mut connection).await, clean, "{trace:?}");
    }
}
