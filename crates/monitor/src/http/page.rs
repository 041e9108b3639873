//! The live page: a shell and its assets, all of them embedded.
//!
//! Invariant: nothing is fetched from anywhere else, and no text that somebody else chose is in
//! the shell: the page asks for it and sets it as text.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use super::answer;

const SHELL: &str = include_str!("../dashboard/index.html");
const STYLE: &str = include_str!("../dashboard/style.css");
const SCRIPTS: [(&str, &str); 4] = [
    ("/assets/page.js", include_str!("../dashboard/page.js")),
    ("/assets/chart.js", include_str!("../dashboard/chart.js")),
    ("/assets/dom.js", include_str!("../dashboard/dom.js")),
    ("/assets/table.js", include_str!("../dashboard/table.js")),
];
const ICON: &str = include_str!("../dashboard/icon.svg");

pub(super) fn router() -> Router {
    let asset =
        |sort: &'static str, text: &'static str| get(move || async move { asset(sort, text) });
    let mut router = Router::new()
        .route("/", asset("text/html; charset=utf-8", SHELL))
        .route("/assets/style.css", asset("text/css; charset=utf-8", STYLE))
        .route("/assets/icon.svg", asset("image/svg+xml", ICON));
    for (path, text) in SCRIPTS {
        router = router.route(path, asset("text/javascript; charset=utf-8", text));
    }
    router
}

fn asset(sort: &'static str, text: &'static str) -> Response {
    answer(StatusCode::OK, sort, text.to_owned())
}
