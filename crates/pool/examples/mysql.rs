//! Two pools of MySQL or MariaDB side by side.
//!
//! ```sh
//! GPS_DATABASE_URL=mysql://app:secret@localhost/gps \
//! ELIOT_DATABASE_URL=mysql://app:secret@localhost/eliot \
//! cargo run --package headpond --features mysql --example mysql
//! ```

use headpond::mysql::{self, Config};
use headpond::transaction::Options;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gps =
        Config::from_url(&std::env::var("GPS_DATABASE_URL")?)?.builder().name("gps").build()?;
    let eliot = std::env::var("ELIOT_DATABASE_URL");
    let eliot = Config::from_url(&eliot?)?.builder().name("eliot").build()?;

    // One statement: a connection is acquired and given back by itself.
    let ask = "SELECT CONCAT(COALESCE(DATABASE(), 'none'), ' on ', VERSION())";
    let (here, there) =
        tokio::try_join!(gps.query_first::<String>(ask), eliot.query_first::<String>(ask))?;
    println!("{here:?}, {there:?}");

    // Several on one connection, which goes back when it is dropped.
    let mut connection = gps.get().await?;
    connection.query_drop("CREATE TEMPORARY TABLE reading (device TEXT, speed INT)").await?;
    let readings = [("b7", 48), ("c1", 51)];
    connection.exec_batch("INSERT INTO reading VALUES (?, ?)", readings).await?;
    let fastest: Option<(String, u32)> =
        connection.query_first("SELECT device, speed FROM reading ORDER BY speed DESC").await?;
    println!("fastest: {fastest:?}");
    drop(connection);

    // Committed or not at all; again from the beginning after a deadlock.
    let sum = gps.transaction(Options::default(), async |tx| -> Result<_, mysql::Error> {
        tx.exec_first::<u64>("SELECT ? + ?", (1, 2)).await
    });
    println!("sum: {:?}", sum.await?);
    println!("{:?}", gps.status());
    Ok(())
}
