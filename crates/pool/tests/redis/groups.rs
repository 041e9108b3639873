//! Sentinels that change the master, and clusters that move keys.

use headpond::redis::driver::aio::MultiplexedConnection;
use headpond::redis::{self, AsyncCommands, cmd};

use super::process::{Process, free_port};
use super::server::{Server, launch, program};
use super::until;

/// Starts a sentinel that watches a master.
fn sentinel(folder: &std::path::Path, master: u16) -> (Process, u16) {
    for _ in 0..5 {
        let port = free_port();
        let file = folder.join(format!("sentinel-{port}.conf"));
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor main 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 3000\n",
            folder.display()
        );
        std::fs::write(&file, text).unwrap();
        let arguments = [file.display().to_string(), "--sentinel".into()];
        let (process, ready) = launch(&program("redis-server"), &arguments);
        if ready {
            return (process, port);
        }
    }
    panic!("no port stayed free");
}

#[tokio::test]
async fn after_a_failover_the_new_master_is_used() {
    let mut master = Server::start();
    let port = master.port().to_string();
    let replica =
        Server::start_with(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]);
    let mut root = master.root().await;
    until("the replica follows", async || {
        let info: String = cmd("INFO").arg("replication").query_async(&mut root).await.unwrap();
        info.contains("state=online")
    })
    .await;
    let folder = tempfile::Builder::new().prefix("hp-sentinel").tempdir().unwrap();
    let (_process, port) = sentinel(folder.path(), master.port());
    let client = redis::driver::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let mut watcher = client.get_multiplexed_async_connection().await.unwrap();
    until("the sentinel knows the replica", async || {
        let known: Vec<redis::driver::Value> =
            cmd("SENTINEL").arg("replicas").arg("main").query_async(&mut watcher).await.unwrap();
        !known.is_empty()
    })
    .await;

    // The first of the two sentinels is not there.
    let url =
        format!("redis-sentinel://127.0.0.1:{},127.0.0.1:{port}/main/0?pool_max=2", free_port());
    let (shared, pool) = (redis::shared(&url).unwrap(), redis::pool(&url).unwrap());
    shared.set("k", 1).await.unwrap();
    let mut connection = pool.get().await.unwrap();
    let () = connection.set("l", 2).await.unwrap();
    drop(connection);
    let mut replica_root = replica.root().await;
    until("the replica has it", async || {
        replica_root.get::<_, Option<u32>>("l").await.unwrap() == Some(2)
    })
    .await;
    master.kill();
    until("somebody else is master", async || shared.set("k", 3).await.is_ok()).await;
    until("and the pool knows it", async || {
        pool.query::<()>(cmd("SET").arg("l").arg(4)).await.is_ok()
    })
    .await;
    // Sentinels disconnect everybody from a server whose role changes.
    let mut replica_root = replica.root().await;
    assert_eq!(replica_root.get::<_, u32>("k").await.unwrap(), 3);
    assert_eq!(replica_root.get::<_, u32>("l").await.unwrap(), 4);
}

/// Starts three nodes with a third of the slots each.
async fn cluster() -> Vec<(Server, MultiplexedConnection)> {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        // By default the bus has a port that may not exist.
        let bus = free_port().to_string();
        let options =
            ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "3000"];
        let server = Server::start_with(&options);
        let root = server.root().await;
        nodes.push((server, root, bus));
    }
    let ports: Vec<_> = nodes.iter().map(|(server, _, bus)| (server.port(), bus.clone())).collect();
    for (number, (_, root, _)) in nodes.iter_mut().enumerate() {
        let (first, last) = [(0, 5460), (5461, 10922), (10923, 16383)][number];
        let mut slots = cmd("CLUSTER");
        slots.arg("ADDSLOTSRANGE").arg(first).arg(last);
        let () = slots.query_async(root).await.unwrap();
        for (port, bus) in &ports {
            let mut meet = cmd("CLUSTER");
            meet.arg("MEET").arg("127.0.0.1").arg(*port).arg(bus);
            let () = meet.query_async(root).await.unwrap();
        }
    }
    for (_, root, _) in &mut nodes {
        until("the cluster is whole", async || {
            let info: String = cmd("CLUSTER").arg("INFO").query_async(root).await.unwrap();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        })
        .await;
    }
    nodes.into_iter().map(|(server, root, _)| (server, root)).collect()
}

#[tokio::test]
async fn a_cluster_is_used_by_key_and_followed_when_a_slot_moves() {
    let mut nodes = cluster().await;
    let url = format!("redis+cluster://127.0.0.1:{}", nodes[0].0.port());
    let shared = redis::shared(&url).unwrap();
    for number in 0..60 {
        shared.set(format!("k{number}"), number).await.unwrap();
    }
    for (_, root) in &mut nodes {
        let held: u32 = cmd("DBSIZE").query_async(root).await.unwrap();
        assert!(held > 5, "every node has some");
    }
    // The slot of a key moves from the node that has it to the next.
    let slot: u32 =
        cmd("CLUSTER").arg("KEYSLOT").arg("k7").query_async(&mut nodes[0].1).await.unwrap();
    let from = usize::from(slot > 5460) + usize::from(slot > 10922);
    let to = (from + 1) % 3;
    let mut ids = Vec::new();
    for (_, root) in &mut nodes {
        ids.push(cmd("CLUSTER").arg("MYID").query_async::<String>(root).await.unwrap());
    }
    let set = |state: &str, id: &str| {
        let mut set = cmd("CLUSTER");
        set.arg("SETSLOT").arg(slot).arg(state).arg(id);
        set
    };
    let () = set("IMPORTING", &ids[from]).query_async(&mut nodes[to].1).await.unwrap();
    let () = set("MIGRATING", &ids[to]).query_async(&mut nodes[from].1).await.unwrap();
    let port = nodes[to].0.port();
    let mut migrate = cmd("MIGRATE");
    migrate.arg("127.0.0.1").arg(port).arg("k7").arg(0).arg(5000);
    let _: String = migrate.query_async(&mut nodes[from].1).await.unwrap();
    // Half way the old node says ASK.
    assert_eq!(shared.get::<u32>("k7").await.unwrap(), 7);
    let () = set("NODE", &ids[to]).query_async(&mut nodes[to].1).await.unwrap();
    let () = set("NODE", &ids[to]).query_async(&mut nodes[from].1).await.unwrap();
    // And then MOVED.
    assert_eq!(shared.get::<u32>("k7").await.unwrap(), 7);
    for number in 0..60 {
        assert_eq!(shared.get::<u32>(format!("k{number}")).await.unwrap(), number);
    }
    let wrong = redis::pool(&url).unwrap_err();
    assert!(wrong.to_string().contains("cluster"), "{wrong}");
}
