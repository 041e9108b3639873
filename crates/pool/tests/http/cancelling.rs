//! Callers who go away: nobody gets an answer that was meant for another.

use std::time::Duration;

use headpond::http::{Client, Versions};

use super::server::{Server, Speaks, until};

/// Callers who go away in each of the long tests.
const ROUNDS: u64 = 10_000;

async fn ask(client: Client, url: String, n: u64) -> Option<bool> {
    let text = client.get(&url).await.ok()?.text().await.ok()?;
    Some(text == format!("{n};").repeat(40))
}

async fn nobody_gets_anothers_answer(speaks: Speaks, versions: Versions) {
    let server = Server::start(speaks).await;
    let client = Client::builder().versions(versions).max_per_origin(4).build().unwrap();
    let seed = std::env::var("HEADPOND_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("HEADPOND_TEST_SEED={seed}");
    let mut random = seed | 1;
    let (mut answered, mut left) = (0, 0);
    for n in 0..ROUNDS {
        // xorshift: enough to be at other points each time.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let asking = tokio::spawn(ask(client.clone(), server.url(&format!("/tag/{n}")), n));
        if n % 50 == 49 {
            assert_eq!(asking.await.unwrap(), Some(true), "round {n}");
            answered += 1;
            continue;
        }
        let patience = Duration::from_nanos(random % 500_000);
        let began = std::time::Instant::now();
        while began.elapsed() < patience && !asking.is_finished() {
            tokio::task::yield_now().await;
        }
        asking.abort();
        match asking.await {
            Ok(own) => {
                assert_eq!(own, Some(true), "round {n}");
                answered += 1;
            }
            Err(_) => left += 1,
        }
    }
    println!("{answered} answered, {left} went away, {} connections", server.connections());
    assert!(answered > 0 && left > 0);
    until("everything has ended", || client.origin_status()[0].requests == 0).await;
    let status = client.origin_status()[0].clone();
    assert!(status.connections <= 4 && status.pool.in_use == 0, "{status:?}");
    assert!(server.seen.open_max.load(std::sync::atomic::Ordering::SeqCst) <= 4 + SLACK);
    client.close(Duration::from_secs(10)).await.unwrap();
}

/// The server hears of a closed connection a moment later than of the one that follows it.
const SLACK: u32 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_who_leave_get_no_foreign_answer() {
    nobody_gets_anothers_answer(Speaks::Http1, Versions::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_who_leave_get_no_foreign_answer_over_http2() {
    nobody_gets_anothers_answer(Speaks::Http2, Versions::Http2).await;
}
