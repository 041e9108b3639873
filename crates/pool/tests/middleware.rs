//! Laws of requests that borrow connections, with a real router.
#![cfg(feature = "axum")]

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Extension;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware::from_fn};
use headpond::middleware::{Conn, Lend, Lent, Tx, UsePool};
use headpond::testing::{Connect, FakeManager};
use headpond::{ConnectFailure, Pool};
use tokio::sync::Notify;
use tower::ServiceExt;

type Fake = Pool<FakeManager>;

fn pool(name: &str, max: u32) -> (Fake, FakeManager) {
    let manager = FakeManager::default();
    let builder = Pool::builder(manager.clone()).name(name).max(max).min(0).tokio_clock();
    let pool = builder.acquire_timeout(Some(Duration::from_millis(100))).build().unwrap();
    (pool, manager)
}

async fn ask(app: &Router, path: &str) -> Response {
    let method = if path.starts_with("/tx") { "POST" } else { "GET" };
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1024).await.unwrap().to_vec()).unwrap()
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Handlers that use the connection of the layer in every way there is.
fn lending(pool: &Fake, gate: &Arc<Notify>) -> Router {
    async fn number(Extension(lent): Extension<Lent<FakeManager>>) -> String {
        lent.take().expect("nobody took it before").number.to_string()
    }
    async fn untouched() -> &'static str {
        "untouched"
    }
    async fn fails(Extension(lent): Extension<Lent<FakeManager>>) -> Response {
        let _connection = lent.take();
        StatusCode::IM_A_TEAPOT.into_response()
    }
    async fn panics(Extension(lent): Extension<Lent<FakeManager>>) -> &'static str {
        let _connection = lent.take();
        panic!("a pretended panic in a handler")
    }
    async fn kept(Extension(lent): Extension<Lent<FakeManager>>) -> Response {
        // The handle outlives the request; the connection does not.
        let mut response = "kept".into_response();
        response.extensions_mut().insert(lent);
        response
    }
    let gate = Arc::clone(gate);
    let hangs = move |Extension(lent): Extension<Lent<FakeManager>>| async move {
        let _connection = lent.take();
        gate.notify_one();
        std::future::pending::<&'static str>().await
    };
    Router::new()
        .route("/number", get(number))
        .route("/untouched", get(untouched))
        .route("/fails", get(fails))
        .route("/panics", get(panics))
        .route("/kept", get(kept))
        .route("/hangs", get(hangs))
        .layer(Lend::new(pool.clone()))
}

#[tokio::test(start_paused = true)]
async fn a_lent_connection_comes_back_whatever_happens() {
    let (pool, manager) = pool("main", 1);
    let gate = Arc::new(Notify::new());
    let app = lending(&pool, &gate);
    for path in ["/number", "/untouched", "/fails", "/kept", "/nowhere"] {
        let response = ask(&app, path).await;
        settle().await;
        assert_eq!(pool.status().in_use, 0, "after {path}");
        drop(response);
    }
    let doomed = tokio::spawn({
        let app = app.clone();
        async move { ask(&app, "/panics").await }
    });
    assert!(doomed.await.unwrap_err().is_panic());
    settle().await;
    assert_eq!(pool.status().in_use, 0, "after a panic");

    let cancelled = tokio::spawn({
        let app = app.clone();
        async move { ask(&app, "/hangs").await }
    });
    gate.notified().await;
    assert_eq!(pool.status().in_use, 1);
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    settle().await;
    assert_eq!(pool.status().in_use, 0, "after a client that went away");
    assert_eq!(text(ask(&app, "/number").await).await, manager.connects().to_string());
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_connection_is_told_when_to_come_back() {
    let (pool, manager) = pool("main", 1);
    let app = lending(&pool, &Arc::default());
    let held = pool.get().await.unwrap();
    let response = ask(&app, "/number").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(text(response).await, "", "why is nobody's business outside");
    held.discard();
    manager.script(|script| script.connect = Connect::Fails(ConnectFailure::Rejected));
    assert_eq!(ask(&app, "/number").await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

async fn number(connection: Conn<FakeManager>) -> String {
    connection.number.to_string()
}

async fn idle() -> &'static str {
    "idle"
}

#[tokio::test(start_paused = true)]
async fn each_route_has_the_pool_of_its_innermost_layer() {
    let ((main, a), (reports, b)) = (pool("main", 4), pool("reports", 1));
    let app = Router::new()
        .route("/report", get(number).layer(UsePool::new(reports.clone())))
        .route("/main", get(number))
        .route("/idle", get(idle))
        .layer(UsePool::new(main.clone()));
    ask(&app, "/idle").await;
    assert_eq!((a.connects(), b.connects()), (0, 0), "who does not ask gets none");
    ask(&app, "/main").await;
    assert_eq!((a.connects(), b.connects()), (1, 0));
    ask(&app, "/report").await;
    assert_eq!((a.connects(), b.connects()), (1, 1));
    // Reports that have used up their pool leave the others alone.
    let _busy = reports.get().await.unwrap();
    let response = ask(&app, "/report").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(ask(&app, "/main").await.status(), StatusCode::OK);
    assert_eq!(main.status().in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn a_route_without_a_pool_is_our_mistake() {
    let app = Router::new().route("/", get(number));
    assert_eq!(ask(&app, "/").await.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_not_committed_is_undone() {
    async fn commits(tx: Tx<FakeManager>) -> &'static str {
        tx.commit().await.expect("pretended");
        "committed"
    }
    async fn undoes(tx: Tx<FakeManager>) -> &'static str {
        tx.rollback().await.expect("pretended");
        "undone"
    }
    async fn forgets(_tx: Tx<FakeManager>) -> StatusCode {
        StatusCode::BAD_REQUEST
    }
    async fn panics(_tx: Tx<FakeManager>) -> StatusCode {
        panic!("a pretended panic in a transaction")
    }
    let (pool, manager) = pool("main", 1);
    let app = Router::new()
        .route("/tx/commits", post(commits))
        .route("/tx/undoes", post(undoes))
        .route("/tx/forgets", post(forgets))
        .route("/tx/panics", post(panics))
        .layer(from_fn(async |request, next: axum::middleware::Next| next.run(request).await))
        .layer(UsePool::new(pool.clone()));
    for path in ["/tx/commits", "/tx/undoes"] {
        assert_eq!(ask(&app, path).await.status(), StatusCode::OK);
        settle().await;
        assert_eq!(manager.resets(), 0, "{path} leaves nothing to clean up");
    }
    assert_eq!(ask(&app, "/tx/forgets").await.status(), StatusCode::BAD_REQUEST);
    settle().await;
    assert_eq!((manager.resets(), pool.status().in_use), (1, 0));
    let before = manager.live();
    let doomed = tokio::spawn(async move { ask(&app, "/tx/panics").await });
    assert!(doomed.await.unwrap_err().is_panic());
    settle().await;
    assert_eq!((before, manager.live()), (1, 0), "after a panic it is closed");
}
