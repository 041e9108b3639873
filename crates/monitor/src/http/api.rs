//! `/api/v1`: what is known, for programs and for the page.
//!
//! Invariant: every GET only reads. The document at `/api/v1/openapi.json` names every route that
//! exists and no other; a test compares them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};

use super::{answer, bouncer, past, query, view};
use crate::model::Connections;
use crate::time::wall;
use crate::watch::Monitor;

type Shared = State<Arc<Monitor>>;

/// The description of the whole interface.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

fn told(value: &Value) -> Response {
    answer(StatusCode::OK, "application/json", value.to_string())
}

pub(super) async fn status(State(monitor): Shared) -> Response {
    told(&view::status(&monitor))
}

pub(super) async fn pools(State(monitor): Shared) -> Response {
    told(&view::pools(&monitor))
}

pub(super) async fn databases(State(monitor): Shared) -> Response {
    told(&view::databases(&monitor))
}

pub(super) async fn bouncers(State(monitor): Shared) -> Response {
    told(&bouncer::rows(&monitor))
}

/// Rows of who is connected, searched by `?q=`.
async fn rows(
    monitor: &Monitor,
    uri: &Uri,
    name: &'static str,
    pick: impl Fn(Connections) -> Value,
) -> Response {
    let rows = pick(monitor.source.connections().await);
    let words = query::value(uri.query(), "q").unwrap_or_default();
    let (found, rows) = view::search(rows, &words);
    told(&json!({ "found": found, name: rows }))
}

pub(super) async fn clients(State(monitor): Shared, uri: Uri) -> Response {
    rows(&monitor, &uri, "clients", |all| json!(all.clients)).await
}

pub(super) async fn servers(State(monitor): Shared, uri: Uri) -> Response {
    rows(&monitor, &uri, "servers", |all| json!(all.servers)).await
}

pub(super) async fn holders(State(monitor): Shared, uri: Uri) -> Response {
    rows(&monitor, &uri, "holders", |all| json!(all.holders)).await
}

pub(super) async fn waits(State(monitor): Shared, uri: Uri) -> Response {
    rows(&monitor, &uri, "waits", |all| json!(all.waits)).await
}

pub(super) async fn history(State(monitor): Shared, uri: Uri) -> Response {
    let refuse = |status, error: String| {
        answer(status, "application/json", json!({ "error": error }).to_string())
    };
    let asked = match past::Asked::read(uri.query(), wall()) {
        Ok(asked) => asked,
        Err(what) => return refuse(StatusCode::BAD_REQUEST, what.to_owned()),
    };
    match past::history(&monitor, &asked).await {
        Ok(Some(value)) => told(&value),
        Ok(None) => refuse(StatusCode::NOT_FOUND, "there is no such pool".to_owned()),
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

pub(super) async fn alerts(State(monitor): Shared) -> Response {
    told(&view::alerts(&monitor))
}

pub(super) async fn events(State(monitor): Shared) -> Response {
    told(&view::events(&monitor))
}

pub(super) async fn advice(State(monitor): Shared) -> Response {
    told(&json!({ "advice": monitor.advice() }))
}

pub(super) async fn config(State(monitor): Shared) -> Response {
    told(&json!({ "settings": monitor.source.settings() }))
}

pub(super) async fn openapi() -> Response {
    answer(StatusCode::OK, "application/json", OPENAPI.to_owned())
}
