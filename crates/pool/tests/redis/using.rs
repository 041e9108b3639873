//! Commands, transactions and messages.

use headpond::redis::{self, AsyncCommands, Config, Error, Heard};

use super::server::Server;
use super::until;

#[tokio::test]
async fn everybody_shares_one_connection() {
    let server = Server::start();
    let redis = redis::shared(&server.url("")).unwrap();
    assert_eq!(redis.status().open, 0, "nothing is connected before the first command");
    let work = (0..100).map(|number: u32| {
        let redis = redis.clone();
        tokio::spawn(async move {
            redis.set(format!("k{number}"), number).await.unwrap();
            assert_eq!(redis.get::<u32>(format!("k{number}")).await.unwrap(), number);
        })
    });
    for task in work.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!((redis.status().open, redis.status().opened), (1, 1));
    assert_eq!(super::server::clients(&mut server.root().await).await, 1);
    redis.ping().await.unwrap();
    let mut handle = redis.clone();
    let both: (u32, u32) = handle.mget(&["k1", "k2"]).await.unwrap();
    assert_eq!(both, (1, 2));
    let mut pipe = redis::pipe();
    pipe.atomic().incr("n", 1).incr("n", 1).ignore().get("n");
    assert_eq!(redis.pipeline::<(u32, u32)>(&pipe).await.unwrap(), (1, 2));
    assert_eq!(redis.del(&["k1", "k2", "k-none"]).await.unwrap(), 2);
    let seen: u32 = redis.with_redis(async |redis| redis.get("k3").await).await.unwrap();
    assert_eq!(seen, 3);
    let none: Option<u32> = redis.get("k1").await.unwrap();
    assert_eq!(none, None);
}

#[tokio::test]
async fn what_would_hit_others_is_refused_on_a_shared_connection() {
    let server = Server::start();
    let redis = redis::shared(&server.url("")).unwrap();
    for command in ["SELECT", "MULTI", "WATCH", "SUBSCRIBE", "MONITOR", "BLPOP", "QUIT"] {
        let refused = redis.query::<()>(redis::cmd(command).arg("1").arg("1")).await;
        assert!(matches!(refused, Err(Error::NeedsExclusive(_))), "{command}");
    }
    redis.clone().blpop::<_, ()>("k", 0.0).await.unwrap_err();
}

#[tokio::test]
async fn a_connection_of_ones_own_blocks_nobody() {
    let server = Server::start();
    let pool = redis::pool(&server.url("?pool_max=2")).unwrap();
    let shared = redis::shared(&server.url("")).unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.query::<(String, u32)>(redis::cmd("BLPOP").arg("jobs").arg(20)).await }
    });
    until("somebody waits", async || pool.status().in_use == 1).await;
    let mut connection = pool.get().await.unwrap();
    let () = connection.rpush("jobs", 7).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), ("jobs".into(), 7));
    drop(connection);
    let seen: Option<u32> =
        pool.with_redis(async |redis| Ok::<_, Error>(redis.get("none").await?)).await.unwrap();
    assert_eq!(seen, None);
    shared.ping().await.unwrap();
}

#[tokio::test]
async fn a_transaction_is_tried_again_when_its_keys_change() {
    let server = Server::start();
    let pool = redis::pool(&server.url("?pool_max=8")).unwrap();
    let work = (0..40).map(|_| {
        let pool = pool.clone();
        async move {
            pool.transaction::<(u32,)>(&["n"], async |redis| {
                let n: Option<u32> = redis.get("n").await?;
                let mut add = redis::pipe();
                add.set("n", n.unwrap_or(0) + 1).ignore().get("n");
                Ok(add)
            })
            .await
            .unwrap()
        }
    });
    // Four at a time: each time one of them wins, the others begin again.
    let mut work = work.peekable();
    while work.peek().is_some() {
        let four: Vec<_> = work.by_ref().take(4).collect();
        let mut set = Vec::new();
        for future in four {
            set.push(Box::pin(future));
        }
        for future in set {
            future.await;
        }
    }
    let shared = redis::shared(&server.url("")).unwrap();
    assert_eq!(shared.get::<u32>("n").await.unwrap(), 40);
    // Somebody else is always faster.
    let meddling = pool
        .transaction::<()>(&["n"], async |redis| {
            shared.set("n", 0).await?;
            let _: u32 = redis.get("n").await?;
            Ok(redis::pipe().set("n", 1).ignore().clone())
        })
        .await;
    assert!(matches!(meddling, Err(Error::Conflict(16))), "{meddling:?}");
    assert_eq!(pool.status().in_use, 0);
}

#[tokio::test]
async fn a_listener_hears_everything_and_is_told_of_gaps() {
    let server = Server::start();
    let pool = redis::pool(&server.url("?pool_max=2")).unwrap();
    let mut root = server.root().await;
    let mut listener = pool.listen(["news"]);
    let hear = async |listener: &mut redis::Listener| match listener.next().await.unwrap() {
        Heard::Message(message) => message.get_payload::<String>().unwrap(),
        _ => "gap".to_owned(),
    };
    let publisher = root.clone();
    let publish = async |text: &str| {
        let mut root = publisher.clone();
        until("somebody listens", async || {
            root.publish::<_, _, u32>("news", text).await.unwrap() == 1
        })
        .await;
    };
    let (heard, ()) = tokio::join!(hear(&mut listener), publish("one"));
    assert_eq!(heard, "one");
    let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").clone();
    let _: u32 = kill.query_async(&mut root).await.unwrap();
    assert_eq!(hear(&mut listener).await, "gap");
    let (heard, ()) = tokio::join!(hear(&mut listener), publish("two"));
    assert_eq!(heard, "two");
    drop(listener);
    // Nobody hears what another subscribed to.
    let mut all = vec![pool.get().await.unwrap(), pool.get().await.unwrap()];
    assert_eq!(root.publish::<_, _, u32>("news", "three").await.unwrap(), 0);
    for connection in &mut all {
        connection.subscribe("other").await.unwrap();
    }
    assert_eq!(root.publish::<_, _, u32>("other", "four").await.unwrap(), 2);
    assert_eq!(all[0].message().await.unwrap().get_payload::<String>().unwrap(), "four");
}

#[tokio::test]
async fn a_unix_socket_a_database_and_a_name_are_taken_from_the_url() {
    let server = Server::start();
    let url = format!("unix://{}?db=3&client_name=me", server.socket().display());
    let shared = redis::shared(&url).unwrap();
    shared.set("k", 1).await.unwrap();
    let pool = redis::pool(&url).unwrap();
    let mut connection = pool.get().await.unwrap();
    assert_eq!(connection.get::<_, u32>("k").await.unwrap(), 1);
    let name: String = connection.query(redis::cmd("CLIENT").arg("GETNAME")).await.unwrap();
    assert_eq!(name, "me");
    assert_eq!(
        redis::shared(&server.url("/0")).unwrap().get::<Option<u32>>("k").await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_wrong_password_refuses_everybody_at_once_and_is_not_shown() {
    let server = Server::start_with(&["--requirepass", "right-secret"]);
    let url = format!("redis://:wrong-secret@127.0.0.1:{}", server.port());
    let pool = redis::pool(&url).unwrap();
    let error = pool.get().await.unwrap_err();
    assert!(matches!(error, headpond::Error::Rejected { .. }), "{error}");
    let shared = redis::shared(&url).unwrap();
    let refused = shared.ping().await.unwrap_err();
    let shown =
        format!("{error} {error:?} {pool:?} {:?} {shared:?} {refused} {refused:?}", pool.manager());
    assert!(!shown.contains("wrong-secret"), "{shown}");
    let url = url.replace("wrong", "right");
    let pool = redis::pool(&url).unwrap();
    // With a reset, which logs out.
    for _ in 0..2 {
        let mut connection = pool.get().await.unwrap();
        let () = connection.query(redis::cmd("SELECT").arg(2)).await.unwrap();
    }
    redis::shared(&url).unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn the_way_to_the_server_is_encrypted_as_the_url_says() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]);
    let made = made.unwrap();
    let folder = tempfile::Builder::new().prefix("hp-redis-tls").tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let port = super::process::free_port().to_string();
    let _server = Server::start_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &cert,
        "--tls-auth-clients",
        "no",
    ]);
    let works = async |url: String| {
        let config = Config::from_url(&url).unwrap().retries(0);
        let shared = config.shared().ping().await.is_ok();
        let got = config.builder().unwrap().build().unwrap();
        let own = got.get_timeout(std::time::Duration::from_millis(500)).await.is_ok();
        assert_eq!(shared, own, "{url}");
        shared
    };
    assert!(works(format!("rediss://127.0.0.1:{port}?tls_ca={cert}")).await);
    assert!(works(format!("rediss://localhost:{port}?tls_ca={cert}")).await);
    assert!(works(format!("rediss://localhost:{port}/#insecure")).await);
    assert!(!works(format!("rediss://localhost:{port}")).await, "nobody trusted signed it");
}
