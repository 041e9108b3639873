//! The judge of what a client is sent.
//!
//! Invariant: the reference is asked for an answer only when the real one is there, so that it
//! knows what the backends did.

use headpond_wire::backend::{ErrorFields, Message, Status};
use headpond_wire::{Severity, frame};

use super::{Around, Client, Phase};
use crate::ledger::Ledger;
use crate::plan::Mode;
use crate::session::{Fate, Host, Run, Session, TRACKED};
use crate::tag::Tag;

/// The host of a reference: what the backends did is what happens.
struct Told<'a>(&'a Ledger);

impl Host for Told<'_> {
    fn fate(&mut self, run: Run) -> Fate {
        if self.0.was_cancelled(run) { Fate::Cancelled } else { Fate::Run }
    }
    fn ran(&mut self, _: Run, _: Status, _: Status) {}
    fn copied(&mut self, _: Option<Tag>, _: &[u8]) {}
    fn broken(&mut self, text: String) {
        panic!("the script is wrong: {text}");
    }
}

impl Client {
    /// Compares one message with what has to come.
    pub(super) fn judge(&mut self, tag: u8, body: &[u8], around: &mut Around<'_>) {
        let id = self.id;
        if self.fatal.is_some() {
            around.ledger.violation(format!("client {id} got {:?} after the end", char::from(tag)));
            return;
        }
        match Message::decode(tag, body) {
            Err(error) => {
                around.ledger.violation(format!("client {id} got a broken message: {error}"));
                return;
            }
            Ok(Message::ParameterStatus(found)) => return self.reported(found.name, found.value),
            Ok(Message::NoticeResponse(_)) => {
                let text = ErrorFields::parse(body).text().into_owned();
                around.ledger.check_owner("a notice", Tag::inside(&text), id);
                return;
            }
            Ok(Message::ErrorResponse(_)) => {
                let fields = ErrorFields::parse(body);
                if self.is_from_pooler(&fields, around) {
                    return;
                }
            }
            Ok(_) => {}
        }
        self.predict(around.ledger);
        let Some((wanted, right)) = self.expected.pop_front() else {
            let text = shorten(body);
            let what = char::from(tag);
            around.ledger.violation(format!("client {id} asked nothing and got {what:?} {text:?}"));
            return;
        };
        if tag == b'Z' {
            around.ledger.tally.answers += 1;
        }
        let same = match (tag, wanted) {
            (b'E', b'E') => is_same_error(body, &right),
            _ => tag == wanted && body == right,
        };
        if !same {
            around.ledger.violation(format!(
                "client {id} got {:?} {:?} instead of {:?} {:?}",
                char::from(tag),
                shorten(body),
                char::from(wanted),
                shorten(&right),
            ));
        }
        if wanted == b'E' && ErrorFields::parse(&right).severity == Severity::Fatal {
            self.fatal = Some(ErrorFields::parse(&right));
            self.phase = Phase::Leaving;
        }
    }

    fn reported(&mut self, name: &[u8], value: &[u8]) {
        let known = TRACKED.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(name));
        if let (Some(name), Some(reference)) = (known, &mut self.reference) {
            reference.learn(name, &String::from_utf8_lossy(value));
        }
    }

    /// Errors that no session of its own would give: the pooler's, and those that end a server.
    fn is_from_pooler(&mut self, fields: &ErrorFields, around: &mut Around<'_>) -> bool {
        let (id, text) = (self.id, fields.text().into_owned());
        let tag = Tag::inside(&text);
        around.ledger.check_owner("an error", tag, id);
        if tag.is_some() {
            return false;
        }
        if fields.severity == Severity::Fatal {
            around.ledger.note(|| format!("client {id} hears: {text}"));
            if let Some(why) = self.unreasonable(fields, around) {
                around.ledger.violation(format!("client {id} heard {text:?}, {why}"));
            }
            self.fatal = Some(fields.clone());
            self.phase = Phase::Leaving;
            return true;
        }
        if &fields.code != b"57014" {
            return false;
        }
        around.ledger.tally.cancelled_waiting += 1;
        around.ledger.note(|| format!("client {id} was cancelled while it waited"));
        if !around.ledger.hear_of_wish(id) {
            around.ledger.violation(format!("client {id} was cancelled and had not asked"));
        }
        if !self.expected.is_empty() {
            around.ledger.violation(format!("client {id} was cancelled inside of an answer"));
        }
        self.rejected = true;
        self.skip_rejected();
        true
    }

    /// What was asked up to the end of a rejected batch is not answered.
    pub(super) fn skip_rejected(&mut self) {
        while self.rejected
            && let Some(message) = self.asked.pop_front()
        {
            if matches!(message.first(), Some(b'Q' | b'F' | b'S')) {
                self.rejected = false;
                self.expected.push_back((b'Z', vec![b'I']));
            }
        }
    }

    /// Says why an error that ends the client has no good reason; none if it has.
    fn unreasonable(&self, fields: &ErrorFields, around: &Around<'_>) -> Option<&'static str> {
        let (text, ledger) = (fields.text(), &around.ledger);
        let at_rest = self.reference.as_ref().is_none_or(Session::is_at_rest);
        let is_free = self.asked.is_empty() && self.expected.is_empty() && at_rest;
        if text.starts_with("terminating") && is_free && around.plan.mode != Mode::Session {
            return Some("though it had no server");
        }
        match &fields.code {
            b"XX000" => Some("a defect"),
            b"08P01" if text == "query_wait_timeout" => {
                (!ledger.stormy).then_some("in calm, when everybody may wait")
            }
            b"08P01" if text.contains("timeout") => None,
            b"08P01" => Some("though it spoke well"),
            b"08006" if text.contains("invalid message") => Some("though no server sends such"),
            b"08006" | b"57P01" | b"57P02" if ledger.tally.faults == 0 => {
                Some("though nothing has failed")
            }
            b"22023" => Some("though every setting is right"),
            _ => None,
        }
    }

    /// Makes the reference answer the next message, unless it owes something already.
    fn predict(&mut self, ledger: &Ledger) {
        let Some(reference) = &mut self.reference else { return };
        while self.expected.is_empty()
            && let Some(message) = self.asked.pop_front()
        {
            reference.receive(&message, &mut Told(ledger));
            let out = std::mem::take(&mut reference.out);
            self.expected.extend(without_news(&out));
        }
    }

    /// Whether everything sent is answered.
    pub(super) fn is_answered(&self, ledger: &Ledger) -> bool {
        if !self.expected.is_empty() {
            return false;
        }
        let Some(mut future) = self.reference.clone().filter(|_| !self.asked.is_empty()) else {
            return true;
        };
        for message in &self.asked {
            future.receive(message, &mut Told(ledger));
        }
        without_news(&future.out).next().is_none()
    }
}

/// The messages of a reference but those that come whenever they like.
fn without_news(out: &[u8]) -> impl Iterator<Item = (u8, Vec<u8>)> {
    let mut rest = out;
    std::iter::from_fn(move || {
        let found = frame::whole(rest, u32::MAX >> 2).ok().flatten()?;
        let message = (found.tag, found.body.to_vec());
        rest = &rest[found.total..];
        Some(message)
    })
    .filter(|(tag, _)| !matches!(tag, b'N' | b'S' | b'A'))
}

/// Errors are alike if their code is, and their text as far as it names a request.
fn is_same_error(got: &[u8], right: &[u8]) -> bool {
    let (got, right) = (ErrorFields::parse(got), ErrorFields::parse(right));
    let named = Tag::inside(&right.text()).is_some();
    got.code == right.code
        && got.severity == right.severity
        && (!named || got.message == right.message)
}

/// The beginning of a message.
fn shorten(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned()
}
