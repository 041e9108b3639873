//! A program with a page about its pools: `/orders` asks the database, everything else is the
//! monitor's (`/health`, `/metrics`, `/livez`, `/readyz`, and the page at `/`).
//!
//! `DATABASE_URL=postgresql://app:secret@localhost/app cargo run -p headpond --features
//! monitor,postgres --example monitored`; `LISTEN=127.0.0.1:8080` says where, else any free port.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Router, routing::get};
use headpond::postgres::Postgres;
use headpond::registry::Databases;
use headpond::{Pool, monitor};

type Main = Pool<Postgres>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let databases = Databases::from_env().await?;
    let token = std::env::var("TOKEN").ok().map(|text| monitor::Token::new(&text));
    let settings = monitor::Settings {
        // Whoever has it may pause, resume, reconnect and resize.
        access: monitor::Access { action_token: token, ..monitor::Access::default() },
        ..monitor::Settings::default()
    };
    let (monitor, watching) = databases.monitor("monitored", settings);
    tokio::spawn(watching);

    let own = Router::new().route("/orders", get(orders)).with_state(databases.clone());
    let listen = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:0".to_owned());
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("http://{}", listener.local_addr()?);
    monitor::serve(listener, own.merge(monitor.router()), stop()).await?;
    let report = databases.shutdown().await;
    println!("everything came back: {}", report.is_complete());
    Ok(())
}

/// Borrows a connection as long as the question takes.
async fn orders(State(databases): State<Databases>) -> Result<String, (StatusCode, String)> {
    let failed = |error: &dyn std::error::Error| {
        (StatusCode::SERVICE_UNAVAILABLE, format!("no orders at present: {error}\n"))
    };
    let pool: &Main = databases.get("main").map_err(|error| failed(&error))?;
    let connection = pool.get().await.map_err(|error| failed(&error))?;
    let rows = connection.query("SELECT 42::int4", &[]).await.map_err(|error| failed(&error))?;
    Ok(format!("{} orders\n", rows[0].get::<_, i32>(0)))
}

async fn stop() {
    // Without a signal there is nothing that could end it.
    let Ok(()) = tokio::signal::ctrl_c().await else { return std::future::pending().await };
}
