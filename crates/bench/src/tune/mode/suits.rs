//! Which statements a pool mode cannot serve.
//!
//! Invariant: a word in quotes, in a comment or in the middle of a statement is no command.
//! Left out: what only the server can know, as what a function does; a measurement shows it if it
//! fails.

use super::Mode;
use crate::workload::{Statement, Workload};

/// Begins or ends a transaction of several statements.
const TRANSACTION: [&str; 7] =
    ["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT"];
/// Leaves something on the connection that later statements rely on.
const SESSION: [&str; 6] = ["LISTEN", "UNLISTEN", "PREPARE", "EXECUTE", "DEALLOCATE", "LOAD"];

/// Returns why a workload cannot be served in a mode, if it cannot.
pub fn refusal(workload: &Workload, mode: Mode) -> Option<String> {
    workload.statements.iter().find_map(|statement| of_statement(statement, mode))
}

fn of_statement(statement: &Statement, mode: Mode) -> Option<String> {
    if mode == Mode::Session {
        return None;
    }
    let text = words(&statement.text);
    let refused =
        |what: &str, why: &str| Some(format!("statement {:?}: {what} {why}", statement.name));
    for part in text.split(';') {
        let words: Vec<&str> = part.split_whitespace().collect();
        let Some(first) = words.first().copied() else { continue };
        let has = |word: &str| words.contains(&word);
        if mode == Mode::Statement && TRANSACTION.contains(&first) {
            return refused(first, "makes a transaction of several statements");
        }
        let own =
            words.get(1).is_some_and(|word| ["LOCAL", "TRANSACTION", "CONSTRAINTS"].contains(word));
        let keeps = SESSION.contains(&first)
            || (first == "SET" && !own)
            || (first == "CREATE" && (has("TEMP") || has("TEMPORARY")))
            || (first == "DECLARE" && has("HOLD") && has("WITH"));
        if keeps {
            return refused(first, "keeps something on the connection after its transaction");
        }
    }
    // Of functions the name alone says it; those with "xact" end with the transaction.
    let locks = ["PG_ADVISORY_LOCK", "PG_TRY_ADVISORY_LOCK"];
    let lock = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    lock.into_iter()
        .find(|word| locks.iter().any(|lock| word.starts_with(lock)))
        .and_then(|lock| refused(lock, "keeps a lock after its transaction"))
}

/// Returns a text in capitals, without what stands in quotes and comments.
fn words(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(first) = rest.chars().next() {
        let after = rest.get(first.len_utf8()..).unwrap_or_default();
        let skipped = match first {
            '\'' | '"' => Some(past(after, &first.to_string())),
            '$' => {
                quote(rest).map(|quote| past(rest.get(quote.len()..).unwrap_or_default(), quote))
            }
            '-' if after.starts_with('-') => Some(past(after, "\n")),
            '/' if after.starts_with('*') => Some(past(after, "*/")),
            _ => None,
        };
        match skipped {
            Some(left) => {
                out.push(' ');
                rest = left;
            }
            None => {
                out.extend(first.to_uppercase());
                rest = after;
            }
        }
    }
    out
}

fn past<'a>(text: &'a str, end: &str) -> &'a str {
    text.split_once(end).map_or("", |(_, rest)| rest)
}

/// Returns the `$tag$` that a text begins with; `$1` is a parameter.
fn quote(text: &str) -> Option<&str> {
    let inside = text.get(1..)?;
    let end = inside.find('$')?;
    let tag = inside.get(..end)?;
    let is_tag = tag.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !tag.starts_with(|c: char| c.is_ascii_digit());
    is_tag.then(|| text.get(..end + 2)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Access;

    fn refused(text: &str) -> [bool; 3] {
        let statement = Statement {
            name: "a".to_owned(),
            access: Access::Write,
            weight: 1.0,
            text: text.to_owned(),
            body: None,
            parameters: Vec::new(),
        };
        Mode::ALL.map(|mode| of_statement(&statement, mode).is_some())
    }

    #[test]
    fn transactions_of_several_statements_are_not_for_statement_mode() {
        for text in ["BEGIN; UPDATE a SET b = 1; COMMIT", "start transaction", " ;savepoint x"] {
            assert_eq!(refused(text), [false, false, true], "{text}");
        }
    }

    #[test]
    fn what_stays_on_a_connection_is_for_session_mode_alone() {
        for text in [
            "SET search_path = x",
            "listen news",
            "CREATE TEMP TABLE x (a int)",
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "SELECT pg_advisory_lock($1)",
            "/* why */ LISTEN x",
        ] {
            assert_eq!(refused(text), [false, true, true], "{text}");
        }
    }

    #[test]
    fn words_elsewhere_mean_nothing() {
        for text in [
            "SELECT 'x; BEGIN; LISTEN y'",
            "SELECT $a$ ; LISTEN x $a$, $1, $2",
            "UPDATE a SET b = 1 -- ; LISTEN x",
            "SELECT \"; SET\" FROM a",
            "SELECT pg_advisory_xact_lock($1)",
            "INSERT INTO a VALUES ($1) RETURNING b",
        ] {
            assert_eq!(refused(text), [false; 3], "{text}");
        }
        assert_eq!(refused("BEGIN; SET LOCAL a = 1; COMMIT"), [false, false, true]);
    }
}
