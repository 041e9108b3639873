//! Whether the text of a statement leaves a session as it was.
//!
//! Invariant: what is not certainly a plain read or write counts as a change.
//! Left out: what functions and triggers do to user variables: no text shows it.

/// What was done with a connection since it was clean, the worst of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) enum Touch {
    /// Nothing was sent.
    #[default]
    Nothing,
    /// Plain reads and writes.
    Plain,
    /// Something that may have changed the session.
    Session,
    /// And perhaps its database.
    Database,
    /// The driver itself was given out: anything.
    Raw,
}

/// Returns the worst that a statement may do.
pub(super) fn touch(sql: &[u8]) -> Touch {
    let mut words = words(sql);
    let first = words.next().unwrap_or_default();
    let mut touch = match first {
        w if is(w, b"SELECT") || is(w, b"INSERT") || is(w, b"UPDATE") || is(w, b"DELETE") => {
            Touch::Plain
        }
        w if is(w, b"REPLACE") || is(w, b"SHOW") || is(w, b"EXPLAIN") => Touch::Plain,
        _ => Touch::Session,
    };
    // A variable, or a second statement.
    if sql.iter().any(|byte| matches!(byte, b'@' | b';')) {
        touch = touch.max(Touch::Session);
    }
    for word in std::iter::once(first).chain(words) {
        // The lock functions, what LAST_INSERT_ID and FOUND_ROWS answer afterwards, and SELECT INTO.
        const CHANGES: [&[u8]; 6] = [
            b"GET_LOCK",
            b"RELEASE_LOCK",
            b"LAST_INSERT_ID",
            b"SQL_CALC_FOUND_ROWS",
            b"SETVAL",
            b"NEXTVAL",
        ];
        if is(word, b"USE") || is(word, b"DATABASE") || is(word, b"SCHEMA") {
            return Touch::Database;
        }
        if CHANGES.iter().any(|change| is(word, change)) {
            touch = touch.max(Touch::Session);
        }
    }
    touch
}

fn is(word: &[u8], keyword: &[u8]) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

fn words(sql: &[u8]) -> impl Iterator<Item = &[u8]> {
    sql.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{Touch, touch};

    #[test]
    fn only_plain_reads_and_writes_leave_a_session_as_it_was() {
        let cases: [(&str, Touch); 16] = [
            ("", Touch::Session),
            ("SELECT a FROM t WHERE b = ?", Touch::Plain),
            ("  insert into t values (1)", Touch::Plain),
            ("SELECT @x := 1", Touch::Session),
            ("SELECT 1; SET x = 1", Touch::Session),
            ("SELECT GET_LOCK('a', 1)", Touch::Session),
            ("SELECT get_lock ('a', 1)", Touch::Session),
            ("SET NAMES latin1", Touch::Session),
            ("CREATE TEMPORARY TABLE t (a INT)", Touch::Session),
            ("LOCK TABLES t WRITE", Touch::Session),
            ("BEGIN", Touch::Session),
            ("CALL p()", Touch::Session),
            ("/* hint */ SELECT 1", Touch::Session),
            ("USE other", Touch::Database),
            ("DROP DATABASE x", Touch::Database),
            ("SELECT 1;use other", Touch::Database),
        ];
        for (sql, expected) in cases {
            assert_eq!(touch(sql.as_bytes()), expected, "{sql}");
        }
    }
}
