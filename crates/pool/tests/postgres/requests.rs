//! Requests of a web server that have a transaction: done when they say so, undone otherwise.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::routing::post;
use headpond::Pool;
use headpond::middleware::{Tx, UsePool};
use headpond::postgres::Postgres;
use tower::ServiceExt;

use super::support::{Server, builder, run, text, until};

const TAKE: &str = "UPDATE account SET balance = balance - 10";

async fn commits(tx: Tx<Postgres>) -> Result<&'static str, StatusCode> {
    tx.batch(TAKE).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    tx.commit().await.map_err(|_| StatusCode::CONFLICT)?;
    Ok("committed")
}

async fn undoes(tx: Tx<Postgres>) -> &'static str {
    tx.batch(TAKE).await.expect("the table is there");
    tx.rollback().await.expect("the server is there");
    "undone"
}

async fn forgets(tx: Tx<Postgres>) -> StatusCode {
    tx.batch(TAKE).await.expect("the table is there");
    StatusCode::BAD_REQUEST
}

async fn panics(tx: Tx<Postgres>) -> StatusCode {
    tx.batch(TAKE).await.expect("the table is there");
    panic!("on purpose")
}

/// Hides a failure, after which the server answers COMMIT with ROLLBACK.
async fn hides(tx: Tx<Postgres>) -> Result<&'static str, StatusCode> {
    tx.batch(TAKE).await.expect("the table is there");
    let _ = tx.batch("SELECT 1/0").await;
    tx.commit().await.map_err(|_| StatusCode::CONFLICT)?;
    Ok("committed")
}

async fn hangs(tx: Tx<Postgres>) -> StatusCode {
    tx.batch(TAKE).await.expect("the table is there");
    let _ = tx.batch("SELECT pg_sleep(60)").await;
    StatusCode::OK
}

fn app(pool: &Pool<Postgres>) -> Router {
    Router::new()
        .route("/commits", post(commits))
        .route("/undoes", post(undoes))
        .route("/forgets", post(forgets))
        .route("/panics", post(panics))
        .route("/hides", post(hides))
        .route("/hangs", post(hangs))
        .layer(UsePool::new(pool.clone()))
}

async fn ask(app: Router, path: &'static str) -> (StatusCode, String) {
    let request = Request::builder().method("POST").uri(path).body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let (status, body) = (response.status(), to_bytes(response.into_body(), 1024).await.unwrap());
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn a_request_changes_something_only_if_it_commits() {
    let server = Server::start();
    let table = "CREATE TABLE account (balance int); INSERT INTO account VALUES (100); \
                 ALTER TABLE account OWNER TO app";
    server.psql("app", table);
    run(async {
        let pool = builder(&server, 1).build().unwrap();
        let app = app(&pool);
        let balance = async || {
            let connection = pool.get().await.unwrap();
            // Nobody finds the transaction of another: outside of one these two are the same.
            let alone = "SELECT transaction_timestamp() = statement_timestamp()";
            assert_eq!(text(&connection, alone).await, "t");
            text(&connection, "SELECT balance FROM account").await
        };
        for (path, status, left) in [
            ("/commits", StatusCode::OK, "90"),
            ("/undoes", StatusCode::OK, "90"),
            ("/forgets", StatusCode::BAD_REQUEST, "90"),
            ("/hides", StatusCode::CONFLICT, "90"),
            ("/commits", StatusCode::OK, "80"),
        ] {
            assert_eq!(ask(app.clone(), path).await.0, status, "{path}");
            assert_eq!(balance().await, left, "after {path}");
        }
        let doomed = tokio::spawn(ask(app.clone(), "/panics"));
        assert!(doomed.await.unwrap_err().is_panic());
        assert_eq!(balance().await, "80", "after a panic");
        // A client that goes away.
        let hanging = tokio::spawn(ask(app.clone(), "/hangs"));
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
        until("it hangs", async || server.psql("postgres", asleep).trim() == "1").await;
        hanging.abort();
        assert!(hanging.await.unwrap_err().is_cancelled());
        assert_eq!(balance().await, "80", "after a client that went away");
        // Nobody can begin.
        let held = pool.get().await.unwrap();
        let mut impatient = pool.settings();
        impatient.acquire_timeout = Some(std::time::Duration::from_millis(50));
        pool.update(impatient).unwrap();
        assert_eq!(ask(app, "/commits").await.0, StatusCode::SERVICE_UNAVAILABLE);
        drop(held);
        assert_eq!(balance().await, "80");
    });
}
