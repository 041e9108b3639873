//! A thousand callers at once, and then for as long as one likes, through twenty sessions.

use std::time::Duration;

use super::steady::{MAX, alone, load};
use super::support::{Server, pool, run_for, until};

#[test]
fn under_load_nothing_fails_nothing_leaks_and_the_maximum_holds() {
    alone("load::the_load");
}

/// Run in a process of its own by the test above.
#[test]
#[ignore = "run by the test above"]
fn the_load() {
    let server = Server::start();
    // As long as it is asked to be, and what starting and ending takes.
    run_for(Duration::from_secs(24 * 3600), async {
        let pool = pool(&server, MAX);
        let observer = server.connect("postgres").await;
        let count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
        let sessions = async || {
            let count: i64 = observer.query_one(count, &[]).await.unwrap().get(0);
            u32::try_from(count).unwrap()
        };
        let lent = pool.clone();
        let request = move |number: u64| {
            let pool = lent.clone();
            async move {
                let asked = i64::try_from(number).unwrap();
                let connection = pool.get().await.map_err(|error| error.to_string())?;
                let rows = connection.query("SELECT $1::int8", &[&asked]).await;
                let reply: i64 = rows.map_err(|error| error.to_string())?[0].get(0);
                if reply == asked { Ok(()) } else { Err(format!("somebody else's reply: {reply}")) }
            }
        };
        load(&pool, request, sessions).await;
        pool.close(Duration::from_secs(60)).await.expect("nothing is lent");
        until("the server has none left", async || sessions().await == 0).await;
    });
}
