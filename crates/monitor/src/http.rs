//! The HTTP endpoint: probes, metrics, health, the interface for programs, and the page.
//!
//! Invariant: every GET only reads. Every answer, errors included, carries the headers that
//! keep a browser from framing, sniffing, storing or sharing it; none tells the version.
//! Not here: who may connect and for how long (`http/serve.rs`), which hosts may be named
//! (`http/guard.rs`), who may act (`http/access.rs`).

mod access;
mod action;
mod api;
mod bouncer;
mod guard;
mod health;
mod page;
mod past;
mod query;
mod serve;
mod stream;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use headpond_stats::Snapshot;
use serde_json::{Map, Value, json};

use crate::exporter;
use crate::probe::{Check, Probe};
use crate::watch::Monitor;

pub use access::{Access, Token};
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

/// A path that is read, and what answers it.
type Read = (&'static str, fn() -> axum::routing::MethodRouter<Arc<Monitor>>);

/// Everything that can be read of a monitor.
const READS: [Read; 23] = [
    ("/metrics", || get(all_metrics)),
    ("/health", || get(health::whole)),
    ("/health/quick", || get(health::quick)),
    ("/health/connections", || get(health::connections)),
    ("/health/database", || get(health::database)),
    ("/api/health", || get(health::simple)),
    ("/api/health/detailed", || get(health::detailed)),
    ("/api/health/database", || get(health::database)),
    ("/api/health/ready", || get(health::ready)),
    ("/api/health/live", || get(health::live)),
    ("/api/v1/status", || get(api::status)),
    ("/api/v1/pools", || get(api::pools)),
    ("/api/v1/databases", || get(api::databases)),
    ("/api/v1/bouncers", || get(api::bouncers)),
    ("/api/v1/clients", || get(api::clients)),
    ("/api/v1/servers", || get(api::servers)),
    ("/api/v1/holders", || get(api::holders)),
    ("/api/v1/waits", || get(api::waits)),
    ("/api/v1/history", || get(api::history)),
    ("/api/v1/alerts", || get(api::alerts)),
    ("/api/v1/events", || get(api::events)),
    ("/api/v1/advice", || get(api::advice)),
    ("/api/v1/config", || get(api::config)),
];

impl Monitor {
    /// Returns every route, with the check of who may use it; [`serve`] puts the other guards
    /// around it.
    pub fn router(self: &Arc<Self>) -> Router {
        let probes: Arc<dyn Probe> = Arc::new(OfSource(Arc::clone(self)));
        let probes = Router::new()
            .route("/livez", get(live))
            .route("/readyz", get(ready))
            .route("/startupz", get(started))
            .with_state(probes);
        let mut reads = Router::new();
        for (path, route) in READS {
            reads = reads.route(path, route());
        }
        let actions = format!("{}{{word}}", access::ACTIONS);
        let reads = reads
            .route("/api/v1/openapi.json", get(api::openapi))
            .route(&actions, post(action::act))
            .with_state(Arc::clone(self));
        let stream = Router::new()
            .route("/api/v1/stream", get(stream::stream))
            .with_state(stream::Streams::new(Arc::clone(self)));
        let door = Arc::new(access::Door::new(Arc::clone(self)));
        probes
            .merge(reads)
            .merge(stream)
            .merge(page::router())
            .layer(from_fn_with_state(door, access::check))
    }
}

/// The probes of a monitor's source.
struct OfSource(Arc<Monitor>);

impl Probe for OfSource {
    fn live(&self) -> Check {
        self.0.source.live()
    }

    fn ready(&self) -> Check {
        self.0.source.ready()
    }

    fn started(&self) -> Check {
        self.0.source.started()
    }

    fn collect(&self, into: &mut Snapshot) {
        self.0.collect(into);
    }
}

async fn all_metrics(State(monitor): State<Arc<Monitor>>, headers: HeaderMap) -> Response {
    let mut snapshot = Snapshot::new();
    monitor.collect(&mut snapshot);
    tell(&snapshot, &headers)
}

async fn live(State(probe): State<Shared>, uri: Uri) -> Response {
    findings(&probe.live(), is_verbose(&uri))
}

async fn ready(State(probe): State<Shared>, uri: Uri) -> Response {
    findings(&probe.ready(), is_verbose(&uri))
}

async fn started(State(probe): State<Shared>, uri: Uri) -> Response {
    findings(&probe.started(), is_verbose(&uri))
}

async fn metrics(State(probe): State<Shared>, headers: HeaderMap) -> Response {
    let mut snapshot = Snapshot::new();
    probe.collect(&mut snapshot);
    tell(&snapshot, &headers)
}

fn tell(snapshot: &Snapshot, headers: &HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let told = exporter::encode(snapshot, accept);
    answer(StatusCode::OK, told.content_type, told.body)
}

/// Words a check as `application/health+json`: the status alone, or with all findings.
fn findings(check: &Check, verbose: bool) -> Response {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_route_and_no_other() {
        let document: Value = serde_json::from_str(api::OPENAPI).expect("it is JSON");
        let paths = document["paths"].as_object().expect("paths");
        let mut told: Vec<&str> = paths.keys().map(String::as_str).collect();
        let actions: Vec<String> =
            action::WORDS.iter().map(|word| format!("{}{word}", access::ACTIONS)).collect();
        let mut known: Vec<&str> = READS.iter().map(|(path, _)| *path).collect();
        known.extend(["/livez", "/readyz", "/startupz"]);
        known.extend(["/api/v1/openapi.json", "/api/v1/stream"]);
        known.extend(actions.iter().map(String::as_str));
        told.sort_unstable();
        known.sort_unstable();
        assert_eq!(told, known);
        for (path, methods) in paths {
            let method = if path.starts_with(access::ACTIONS) { "post" } else { "get" };
            let methods: Vec<&String> = methods.as_object().expect("methods").keys().collect();
            assert_eq!(methods, [method], "{path}");
        }
    }
}
