//! The HTTP endpoint: `/livez`, `/readyz`, `/startupz` and `/metrics`.
//!
//! Invariant: every route only reads. Every answer, errors included, carries the headers that
//! keep a browser from framing, sniffing, storing or sharing it; none tells the version.
//! Not here: who may connect and for how long (`http/serve.rs`), which hosts may be named
//! (`http/guard.rs`), tokens and TLS.

mod guard;
mod serve;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::get;
use headpond_stats::Snapshot;
use serde_json::{Map, Value, json};

use crate::exporter;
use crate::probe::{Check, Probe};

pub use serve::{Options, serve, serve_with};

type Shared = Arc<dyn Probe>;

/// Returns the routes, without the guards: [`serve`] puts those around whatever it serves.
pub fn router(state: Arc<dyn Probe>) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/startupz", get(started))
        .route("/metrics", get(metrics))
        .with_state(state)
}

async fn live(State(probe): State<Shared>, uri: Uri) -> Response {
    health(&probe.live(), is_verbose(&uri))
}

async fn ready(State(probe): State<Shared>, uri: Uri) -> Response {
    health(&probe.ready(), is_verbose(&uri))
}

async fn started(State(probe): State<Shared>, uri: Uri) -> Response {
    health(&probe.started(), is_verbose(&uri))
}

async fn metrics(State(probe): State<Shared>, headers: HeaderMap) -> Response {
    let mut snapshot = Snapshot::new();
    probe.collect(&mut snapshot);
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let told = exporter::encode(&snapshot, accept);
    answer(StatusCode::OK, told.content_type, told.body)
}

/// Words a check as `application/health+json`: the status alone, or with all findings.
fn health(check: &Check, verbose: bool) -> Response {
    let status = if check.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = json!({ "status": word(check.ok) });
    if verbose {
        let mut findings: Map<String, Value> = Map::new();
        for (name, ok, output) in &check.checks {
            let finding = json!({ "status": word(*ok), "output": output });
            match findings.get_mut(name).and_then(Value::as_array_mut) {
                Some(list) => list.push(finding),
                None => drop(findings.insert(name.clone(), json!([finding]))),
            }
        }
        body["checks"] = Value::Object(findings);
    }
    answer(status, "application/health+json", body.to_string())
}

fn word(ok: bool) -> &'static str {
    if ok { "pass" } else { "fail" }
}

fn is_verbose(uri: &Uri) -> bool {
    let asks = |part: &str| matches!(part, "verbose" | "verbose=" | "verbose=1" | "verbose=true");
    uri.query().is_some_and(|query| query.split('&').any(asks))
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .body(Body::from(body))
        .expect("a known status and a constant header make a response")
}
