//! A thousand callers at once, and then for as long as one likes, through twenty sessions.

use std::time::Duration;

use headpond::mysql;

use super::mariadb::{Server, sessions};
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
    let server = Server::start().await;
    let pool = mysql::pool(&server.url(&format!("pool_max={MAX}&pool_min=0"))).unwrap();
    let mut root = server.root().await;
    let lent = pool.clone();
    let request = move |number: u64| {
        let pool = lent.clone();
        async move {
            let reply = pool.exec_first::<u64>("SELECT ?", (number,)).await;
            match reply.map_err(|error| error.to_string())? {
                Some(reply) if reply == number => Ok(()),
                reply => Err(format!("somebody else's reply: {reply:?}")),
            }
        }
    };
    load(&pool, request, async || sessions(&mut root).await).await;
    pool.close(Duration::from_secs(60)).await.expect("nothing is lent");
    until("the server has none left", async || sessions(&mut root).await == 0).await;
}
