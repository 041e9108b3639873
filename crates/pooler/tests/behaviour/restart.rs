//! The database ends and comes back under load.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_postgres::Config;

use crate::bench::{Bench, Setup, config, run, try_value, until};
use crate::support::postgres::{APP, connect};

/// How many clients there are.
const CLIENTS: usize = 20;

/// Works until told to stop, coming back whenever it was thrown out.
async fn work(settings: Config, done: Arc<Mutex<Vec<Instant>>>, stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let Ok(one) = connect(&settings).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while !*stop.borrow() && try_value(&one, "SELECT 1").await.is_ok() {
            done.lock().expect("no panic").push(Instant::now());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[test]
fn service_is_back_a_second_after_the_database() {
    let mut bench = Bench::start(&Setup { entry: "pool_size=5", ..Setup::default() });
    let settings = config(&bench.pooler, APP, APP);
    let done = Arc::new(Mutex::new(Vec::new()));
    let (stop, stopped) = watch::channel(false);
    let load = std::thread::spawn({
        let done = Arc::clone(&done);
        move || {
            run(async move {
                let mut tasks = Vec::new();
                for _ in 0..CLIENTS {
                    let (done, stopped) = (Arc::clone(&done), stopped.clone());
                    tasks.push(tokio::spawn(work(settings.clone(), done, stopped)));
                }
                for task in tasks {
                    task.await.expect("no panic");
                }
            });
        }
    });
    let count = || done.lock().expect("no panic").len();
    run(until("the load is on", async || count() > 200));
    let before = Instant::now();
    bench.postgres.restart();
    let back = Instant::now();
    let late = || {
        let done = done.lock().expect("no panic");
        done.iter().find(|at| **at > back).map(|at| at.duration_since(back))
    };
    run(until("the first success", async || late().is_some()));
    let late = late().expect("seen above");
    println!("down for {:?}, then served after {late:?}", back.duration_since(before));
    let from = count();
    run(until("the load is on again", async || count() > from + 200));
    stop.send(true).expect("the load runs");
    load.join().expect("no panic");
    assert!(late <= Duration::from_secs(1), "{late:?}");
}
