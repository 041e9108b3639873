//! Redis or Valkey in both shapes.
//!
//! ```sh
//! REDIS_URL=redis://localhost cargo run --package headpond --features redis --example redis
//! ```

use std::time::Duration;

use headpond::redis::{self, AsyncCommands, Config};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::from_url(&std::env::var("REDIS_URL")?)?;

    // Shared: everybody writes to one connection.
    let shared = config.shared();
    shared.set_for("headpond:greeting", "hello", Duration::from_secs(60)).await?;
    println!("{}", shared.get::<String>("headpond:greeting").await?);

    // Of one's own: for what blocks.
    let pool = config.builder()?.name("redis").build()?;
    shared.query::<()>(redis::cmd("RPUSH").arg("headpond:jobs").arg("first")).await?;
    let job: Option<(String, String)> = pool
        .with_redis(async |redis| Ok::<_, redis::Error>(redis.blpop("headpond:jobs", 1.0).await?))
        .await?;
    println!("{job:?}");

    // A decision about what was read, and nobody in between.
    let (stock,): (i64,) = pool
        .transaction(&["headpond:stock"], async |redis| {
            let stock: Option<i64> = redis.get("headpond:stock").await?;
            let mut sell = redis::pipe();
            sell.set("headpond:stock", stock.unwrap_or(10) - 1).ignore().get("headpond:stock");
            Ok(sell)
        })
        .await?;
    println!("{stock} left");
    println!("{:?} {:?}", shared.status(), pool.status());
    Ok(())
}
