//! What is asked, and the one answer to it that is right.
//!
//! Every request carries a tag no other one has; every row of an answer carries the tag of its
//! request, the process that made it, the client's own name and the transaction it is in.

use crate::support::message::Messages;

/// Messages that leave in one write, and the rounds they are answered by.
#[derive(Debug, Default)]
pub struct Ask {
    pub messages: Messages,
    pub rounds: Vec<Round>,
}

/// Everything up to one ReadyForQuery.
#[derive(Debug)]
pub struct Round {
    /// One letter per message: `D` row, `C` complete, `E` error, `d` copied line; others by tag.
    pub sequence: &'static str,
    /// The tags of the rows, or the copied lines, in order.
    pub tags: Vec<String>,
    /// Code and message of the error, if `E` is in the sequence.
    pub error: Option<(&'static str, String)>,
    /// The status in the ReadyForQuery.
    pub status: char,
}

impl Round {
    pub fn new(sequence: &'static str, status: char) -> Self {
        Self { sequence, tags: Vec::new(), error: None, status }
    }

    pub fn tags<const N: usize>(mut self, tags: [&str; N]) -> Self {
        self.tags = tags.map(str::to_owned).into();
        self
    }

    pub fn raised(mut self, tag: &str) -> Self {
        self.error = Some(("P0001", tag.to_owned()));
        self
    }

    pub fn error(mut self, code: &'static str, message: &str) -> Self {
        self.error = Some((code, message.to_owned()));
        self
    }
}

impl Ask {
    /// Asks with `messages` and expects the rounds in this order.
    pub fn new(messages: Messages, rounds: impl Into<Vec<Round>>) -> Self {
        Self { messages, rounds: rounds.into() }
    }

    /// Adds another request to the same write.
    pub fn then(mut self, other: Self) -> Self {
        self.messages = self.messages.then(&other.messages);
        self.rounds.extend(other.rounds);
        self
    }

    pub fn simple(tag: &str, status: char) -> Self {
        let messages = Messages::new().query(&select(&format!("'{tag}'")));
        Self::new(messages, [Round::new("TDC", status).tags([tag])])
    }

    /// The tag travels as parameter, not in the text.
    pub fn extended(tag: &str, status: char) -> Self {
        let messages = Messages::new().parse("", &select("$1::text")).bind("", &[tag]);
        let messages = messages.describe_portal().execute().sync();
        Self::new(messages, [Round::new("12TDC", status).tags([tag])])
    }

    /// Only answered; nothing is told.
    pub fn command(sql: &str, status: char) -> Self {
        Self::new(Messages::new().query(sql), [Round::new("C", status)])
    }

    /// Fails with the tag as message.
    pub fn raise(tag: &str, status: char) -> Self {
        Self::new(Messages::new().query(&raising(tag)), [Round::new("E", status).raised(tag)])
    }

    /// Three requests under one Sync; the last fails if `fails`.
    pub fn batch(tags: [&str; 3], fails: bool) -> Self {
        let [a, b, c] = tags;
        let unit = |tag| Messages::new().parse("", &select("$1::text")).bind("", &[tag]).execute();
        let both = unit(a).then(&unit(b));
        if fails {
            let third = Messages::new().parse("", &raising(c)).bind("", &[]).execute();
            // Skipped up to the Sync, so it must never be answered.
            let messages = both.then(&third).then(&unit("never")).sync();
            return Self::new(messages, [Round::new("12DC12DC12E", 'I').tags([a, b]).raised(c)]);
        }
        let messages = both.then(&unit(c)).sync();
        Self::new(messages, [Round::new("12DC12DC12DC", 'I').tags([a, b, c])])
    }

    pub fn copy_out(tag: &str) -> Self {
        let sql = format!("COPY (SELECT '{tag}' FROM generate_series(1, 3)) TO STDOUT");
        let round = Round::new("HdddcC", 'I').tags([tag, tag, tag]);
        Self::new(Messages::new().query(&sql), [round])
    }

    /// Copies one line into the ledger; the data does not wait for the server to ask.
    pub fn copy_in(tag: &str) -> Self {
        let messages = Messages::new().query("COPY ledger (tag) FROM STDIN");
        let messages = messages.copy_data(format!("{tag}\n").as_bytes()).copy_done();
        Self::new(messages, [Round::new("GC", 'I')])
    }

    pub fn copy_fail(tag: &str) -> Self {
        let messages = Messages::new().query("COPY ledger (tag) FROM STDIN");
        let messages = messages.copy_data(format!("{tag}\n").as_bytes()).copy_fail(tag);
        let error = format!("COPY from stdin failed: {tag}");
        Self::new(messages, [Round::new("GE", 'I').error("57014", &error)])
    }
}

/// Returns a query of one row whose first column is the tag.
pub fn select(tag: &str) -> String {
    format!(
        "SELECT {tag}, pg_backend_pid()::text, current_setting('application_name'), \
         txid_current_if_assigned()::text"
    )
}

/// Returns a statement that fails with the tag as message.
pub fn raising(tag: &str) -> String {
    format!("DO $$BEGIN RAISE EXCEPTION '{tag}'; END$$")
}

pub fn insert(tag: &str) -> String {
    format!("INSERT INTO ledger (tag) VALUES ('{tag}')")
}
