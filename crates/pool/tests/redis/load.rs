//! A thousand callers at once, and then for as long as one likes, through twenty connections.

use std::time::Duration;

use headpond::redis;

use super::server::{Server, clients};
use super::steady::{MAX, alone, load};
use super::until;

#[test]
fn under_load_nothing_fails_nothing_leaks_and_the_maximum_holds() {
    alone("load::the_load");
}

/// Run in a process of its own by the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the test above"]
async fn the_load() {
    let server = Server::start();
    let pool = redis::pool(&server.url(&format!("?pool_max={MAX}&pool_min=0"))).unwrap();
    let mut root = server.root().await;
    let lent = pool.clone();
    let request = move |number: u64| {
        let pool = lent.clone();
        async move {
            let asked = redis::cmd("ECHO").arg(number).clone();
            let reply = pool.query::<u64>(&asked).await.map_err(|error| error.to_string())?;
            if reply == number { Ok(()) } else { Err(format!("somebody else's reply: {reply}")) }
        }
    };
    let mut seen = root.clone();
    load(&pool, request, async || u32::try_from(clients(&mut seen).await).unwrap()).await;
    pool.close(Duration::from_secs(60)).await.expect("nothing is lent");
    until("the server has none left", async || clients(&mut root).await == 0).await;
}
