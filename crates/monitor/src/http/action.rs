//! Actions, asked for over HTTP.
//!
//! Invariant: who gets here has shown a token and could not have been led here by a foreign page
//! (`access.rs`). Each action is noted with who asked and what came of it, whatever came of it.
//! Not here: carrying it out (whoever is watched does that).

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer;
use super::serve::Peer;
use crate::alert::SilenceError;
use crate::model::Action;
use crate::watch::Monitor;

const BODY_BYTES_MAX: usize = 64 * 1024;
/// The longest text that is kept of somebody who asks.
const TEXT_BYTES_MAX: usize = 200;

/// Every word that can stand behind `/api/v1/actions/`.
#[cfg(test)]
pub(super) const WORDS: [&str; 10] = [
    "pause",
    "resume",
    "reload",
    "reconnect",
    "kill",
    "resize",
    "drain",
    "silence",
    "unsilence",
    "test-alert",
];

fn told(status: StatusCode, body: &Value) -> Response {
    answer(status, "application/json", body.to_string())
}

fn wrong(why: &str) -> Response {
    told(StatusCode::BAD_REQUEST, &json!({ "error": why }))
}

/// `POST /api/v1/actions/{word}`.
pub(super) async fn act(
    State(monitor): State<Arc<Monitor>>,
    Path(word): Path<String>,
    request: Request,
) -> Response {
    let actor = request.extensions().get::<Peer>().map_or("?".to_owned(), |p| p.0.to_string());
    let Ok(bytes) = to_bytes(request.into_body(), BODY_BYTES_MAX).await else {
        return wrong("the body is too long or incomplete");
    };
    let body = if bytes.is_empty() { Ok(json!({})) } else { serde_json::from_slice(&bytes) };
    let Ok(Value::Object(_)) = &body else { return wrong("the body is no JSON object") };
    let body = body.unwrap_or_default();
    match word.as_str() {
        "silence" => silence(&monitor, &body, &actor),
        "unsilence" => unsilence(&monitor, &body),
        "test-alert" => {
            monitor.test_alert();
            monitor.note_action(String::new(), format!("test alert by {actor}"));
            told(StatusCode::ACCEPTED, &json!({ "result": "sent along every route" }))
        }
        word => match action(word, &body) {
            Ok(action) => carry_out(&monitor, action, actor).await,
            Err(why) => wrong(why),
        },
    }
}

/// Reads an action from its word and its body.
fn action(word: &str, body: &Value) -> Result<Action, &'static str> {
    let database = || match &body["database"] {
        Value::Null => Ok(None),
        Value::String(name) if !name.is_empty() => Ok(Some(name.clone())),
        _ => Err("database must be a name"),
    };
    Ok(match word {
        "pause" => Action::Pause(database()?),
        "resume" => Action::Resume(database()?),
        "reload" => Action::Reload,
        "reconnect" => Action::Reconnect(database()?),
        "kill" => Action::Kill(body["client"].as_u64().ok_or("client must be a number")?),
        "resize" => {
            let size = body["size"].as_u64().and_then(|size| u32::try_from(size).ok());
            let database = database()?.ok_or("database must be a name")?;
            Action::Resize { database, size: size.ok_or("size must be a number")? }
        }
        "drain" => Action::Drain,
        _ => return Err("there is no such action"),
    })
}

async fn carry_out(monitor: &Monitor, action: Action, actor: String) -> Response {
    let Some(actions) = &monitor.actions else {
        return told(StatusCode::NOT_IMPLEMENTED, &json!({ "error": "nothing can be done here" }));
    };
    let word = action.word();
    let outcome = actions.act(action, actor.clone()).await;
    let text = match &outcome {
        Ok(text) => format!("{word} by {actor}: {text}"),
        Err(text) => format!("{word} by {actor} refused: {text}"),
    };
    monitor.note_action(String::new(), text);
    // Whoever asked looks next, and should see what came of it.
    monitor.look_now();
    match outcome {
        Ok(text) => told(StatusCode::OK, &json!({ "result": text })),
        Err(text) => told(StatusCode::CONFLICT, &json!({ "error": text })),
    }
}

fn silence(monitor: &Monitor, body: &Value, actor: &str) -> Response {
    let text = |key: &str| {
        let text = body[key].as_str().unwrap_or_default();
        let end = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        let end = end.take_while(|at| *at <= TEXT_BYTES_MAX).last().unwrap_or(0);
        text[..end].to_owned()
    };
    let Some(seconds) = body["seconds"].as_f64() else { return wrong("seconds must be a number") };
    let comment = format!("{} ({actor})", text("comment"));
    let now = monitor.now();
    let made = monitor.state().alerts.silence(now, text("rule"), text("subject"), seconds, comment);
    match made {
        Ok(id) => {
            let text = format!("silence {id} by {actor}: {} {}", text("rule"), text("subject"));
            monitor.note_action(String::new(), text);
            told(StatusCode::OK, &json!({ "id": id }))
        }
        Err(SilenceError::Duration) => wrong("seconds must be more than 0 and at most a week"),
        Err(SilenceError::TooMany) => {
            told(StatusCode::CONFLICT, &json!({ "error": "there are too many silences" }))
        }
    }
}

fn unsilence(monitor: &Monitor, body: &Value) -> Response {
    let Some(id) = body["id"].as_u64() else { return wrong("id must be a number") };
    if monitor.state().alerts.unsilence(id) {
        return told(StatusCode::OK, &json!({ "result": "ended" }));
    }
    told(StatusCode::NOT_FOUND, &json!({ "error": "there is no such silence" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_from_their_word_and_body() {
        let table = [
            ("pause", json!({}), Ok(Action::Pause(None))),
            ("pause", json!({ "database": "a" }), Ok(Action::Pause(Some("a".into())))),
            ("pause", json!({ "database": "" }), Err("database must be a name")),
            ("kill", json!({ "client": 7 }), Ok(Action::Kill(7))),
            ("kill", json!({ "client": "7" }), Err("client must be a number")),
            (
                "resize",
                json!({ "database": "a", "size": 9 }),
                Ok(Action::Resize { database: "a".into(), size: 9 }),
            ),
            ("resize", json!({ "database": "a", "size": -1 }), Err("size must be a number")),
            ("resize", json!({ "size": 1 }), Err("database must be a name")),
            ("drop", json!({}), Err("there is no such action")),
        ];
        for (word, body, expected) in table {
            assert_eq!(action(word, &body), expected, "{word} {body}");
        }
    }
}
