//! The threads that ask: one looks, one acts, so that a look that hangs keeps no order back and
//! neither keeps a key back.
//!
//! Invariant: one question at a time; each gets exactly one answer, also where there is none.
//! Not here: when to ask (`state.rs`).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use serde_json::Value;

use super::sheet::RANGE_SECONDS;
use super::state::{Look, Order, Question, Told, View};
use crate::Failure;
use crate::ask::http::Endpoint;

/// Both threads; they end when this is dropped and what they wait for is answered.
pub struct Asker {
    questions: Sender<Question>,
    orders: Sender<Order>,
}

impl Asker {
    /// Starts them; `tell` gets every answer.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start(
        endpoint: Arc<Endpoint>,
        tell: impl Fn(Told) + Clone + Send + 'static,
    ) -> Result<Self, Failure> {
        let (questions, asked) = channel::<Question>();
        let (orders, ordered) = channel::<Order>();
        let (looking, acting) = (Arc::clone(&endpoint), endpoint);
        let (tell_look, tell_done) = (tell.clone(), tell);
        begin("look", asked, move |question| {
            let look = look(&looking, question);
            tell_look(Told::Look(look.map_err(|failure| failure.text().to_owned())));
        })?;
        begin("act", ordered, move |order| {
            let done = acting
                .act(order.word, &order.body)
                .map(|answer| answer["result"].as_str().unwrap_or("it is done").to_owned());
            tell_done(Told::Done(done.map_err(|failure| failure.text().to_owned())));
        })?;
        Ok(Self { questions, orders })
    }

    /// Asks.
    pub fn ask(&self, question: Question) {
        self.questions.send(question).expect("the thread ends after its sender");
    }

    /// Orders.
    pub fn order(&self, order: Order) {
        self.orders.send(order).expect("the thread ends after its sender");
    }
}

fn begin<T: Send + 'static>(
    name: &str,
    inbox: Receiver<T>,
    work: impl Fn(T) + Send + 'static,
) -> Result<(), Failure> {
    let thread = thread::Builder::new().name(name.to_owned());
    let started = thread.spawn(move || inbox.into_iter().for_each(work));
    started.map(drop).map_err(|error| Failure::new(format!("a thread: {error}")))
}

/// Looks once.
///
/// # Errors
/// There is no answer.
pub fn look(endpoint: &Endpoint, question: Question) -> Result<Look, Failure> {
    let status = endpoint.get("/api/v1/status")?;
    if !status.is_object() {
        return Err(Failure::new("what answers is no pooler"));
    }
    let mut path = format!("/api/v1/{}", question.view.word());
    if !question.words.is_empty() {
        path.push_str("?q=");
        path.push_str(&escape(&question.words));
    }
    let mut rows = endpoint.get(&path)?;
    if question.view == View::Alerts {
        let mut advice = endpoint.get("/api/v1/advice")?;
        if let (Value::Object(rows), Some(advice)) = (&mut rows, advice.get_mut("advice")) {
            rows.insert("advice".to_owned(), advice.take());
        }
    }
    // A pool without a history is shown without one.
    let history = question.pool.as_ref().map(|pool| {
        let path = format!("/api/v1/history?pool={}&range={RANGE_SECONDS}", escape(pool));
        endpoint.get(&path).map_err(|failure| failure.text().to_owned())
    });
    Ok(Look { question, status, rows, history })
}

/// Writes a text so that it can stand behind a question mark.
fn escape(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_question_mark_ends_no_line_and_no_value() {
        assert_eq!(escape("a/b c&d=é\r\n~"), "a%2Fb%20c%26d%3D%C3%A9%0D%0A~");
    }
}
