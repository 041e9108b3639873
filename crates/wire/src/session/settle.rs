//! The SET commands that give a server the parameter values of its next client.
//!
//! Invariant: whatever a value contains, it stays inside its quotes. Values come from the wire.
//! Not here: which values differ (`parameter.rs`).
//!
//! Only quotes are doubled, because backslashes mean nothing while `standard_conforming_strings`
//! is on; where it is off, a first query turns it on. Escaping backslashes instead would not be
//! safe: in some client encodings a backslash is the second byte of a character. A single quote
//! is that in none. A value with bytes beyond ASCII is written in the encoding of the client it
//! belongs to, so that encoding is set by the first query, too.
//!
//! A list (`search_path`) is reported as text with identifiers, some of them in double quotes. As
//! one literal it would be one strange schema name, so each element becomes a literal of its own.

use alloc::vec::Vec;

use super::parameter::{Parameters, is_list};

const ENCODING: &[u8] = b"client_encoding";
const STRINGS: &[u8] = b"standard_conforming_strings";

/// The queries to send, one after the other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// What must hold before the values can be written; empty if nothing.
    pub(super) first: Vec<u8>,
    /// The values; empty if nothing differs.
    pub(super) then: Vec<u8>,
}

impl Plan {
    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_empty() && self.then.is_empty()
    }
}

/// Returns what makes the values of `present` those that are `wanted`.
pub(super) fn plan(wanted: &Parameters, present: &Parameters) -> Plan {
    let mut plan = Plan::default();
    let strings_on = present.get(STRINGS) == Some(b"on");
    let escapes = !strings_on && wanted.differing(present).any(|(_, v)| v.contains(&b'\\'));
    let foreign = wanted.differing(present).any(|(_, value)| !value.is_ascii());
    if escapes {
        set(&mut plan.first, STRINGS, b"on");
    }
    for (name, value) in wanted.differing(present) {
        let early = foreign && name.eq_ignore_ascii_case(ENCODING);
        // What the first query turned on is put right at the end.
        if escapes && name.eq_ignore_ascii_case(STRINGS) {
            continue;
        }
        set(if early { &mut plan.first } else { &mut plan.then }, name, value);
    }
    if escapes {
        let after = wanted.get(STRINGS).or(present.get(STRINGS)).unwrap_or(b"on");
        set(&mut plan.then, STRINGS, after);
    }
    plan
}

fn set(sql: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if !sql.is_empty() {
        sql.push(b';');
    }
    sql.extend_from_slice(b"SET ");
    sql.extend_from_slice(name);
    sql.push(b'=');
    match elements(value) {
        Some(elements) if is_list(name) => {
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    sql.push(b',');
                }
                literal(sql, element);
            }
        }
        _ => literal(sql, value),
    }
}

fn literal(sql: &mut Vec<u8>, value: &[u8]) {
    sql.push(b'\'');
    for byte in value.iter().filter(|byte| **byte != 0) {
        if *byte == b'\'' {
            sql.push(b'\'');
        }
        sql.push(*byte);
    }
    sql.push(b'\'');
}

/// Takes a list of identifiers apart; `None` if it is not one.
fn elements(list: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = list.trim_ascii();
    let mut found = Vec::new();
    if rest.is_empty() {
        return Some(Vec::from([Vec::new()]));
    }
    loop {
        let element = if let Some(quoted) = rest.strip_prefix(b"\"") {
            let (element, tail) = unquote(quoted)?;
            rest = tail.trim_ascii_start();
            element
        } else {
            let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
            let (element, tail) = rest.split_at_checked(end)?;
            rest = tail;
            let element = element.trim_ascii();
            if element.is_empty() || element.iter().any(|b| b.is_ascii_whitespace() || *b == b'"') {
                return None;
            }
            element.to_ascii_lowercase()
        };
        found.push(element);
        if rest.is_empty() {
            return Some(found);
        }
        rest = rest.strip_prefix(b",")?.trim_ascii_start();
    }
}

/// Reads up to the closing quote; a doubled one is a part of the name.
fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut element = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let (part, tail) = rest.split_at_checked(end)?;
        element.extend_from_slice(part);
        rest = tail.strip_prefix(b"\"")?;
        match rest.strip_prefix(b"\"") {
            Some(more) => {
                element.push(b'"');
                rest = more;
            }
            None => return Some((element, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parameter::Tracked;
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn check(wanted: &[(&str, &str)], present: &[(&str, &str)], first: &str, then: &str) {
        let tracked = Tracked::new(["search_path", "IntervalStyle"]).unwrap();
        let set = |pairs: &[(&str, &str)]| {
            Parameters::new(&tracked, pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
        };
        let plan = plan(&set(wanted), &set(present));
        let text = |sql: &[u8]| String::from_utf8(sql.to_vec()).unwrap();
        assert_eq!((text(&plan.first).as_str(), text(&plan.then).as_str()), (first, then));
    }

    const ON: (&str, &str) = ("standard_conforming_strings", "on");
    const OFF: (&str, &str) = ("standard_conforming_strings", "off");

    #[test]
    fn equal_values_need_no_command() {
        check(&[("TimeZone", "UTC"), ON], &[("TimeZone", "UTC"), ON], "", "");
    }

    #[test]
    fn differing_values_are_set_in_one_query() {
        check(
            &[("TimeZone", "UTC"), ("DateStyle", "ISO, DMY"), ON],
            &[("TimeZone", "GMT"), ("DateStyle", "ISO, MDY"), ON],
            "",
            "SET DateStyle='ISO, DMY';SET TimeZone='UTC'",
        );
    }

    #[test]
    fn quotes_newlines_and_backslashes_stay_inside_the_literal() {
        check(
            &[("application_name", "a'b\n\\'; DROP TABLE t; --"), ON],
            &[("application_name", ""), ON],
            "",
            "SET application_name='a''b\n\\''; DROP TABLE t; --'",
        );
    }

    #[test]
    fn backslashes_are_sent_only_where_they_mean_nothing() {
        check(
            &[("application_name", "a\\"), OFF],
            &[("application_name", ""), OFF],
            "SET standard_conforming_strings='on'",
            "SET application_name='a\\';SET standard_conforming_strings='off'",
        );
        check(
            &[("application_name", "a\\"), ON],
            &[("application_name", ""), OFF],
            "SET standard_conforming_strings='on'",
            "SET application_name='a\\';SET standard_conforming_strings='on'",
        );
    }

    #[test]
    fn text_beyond_ascii_is_sent_in_the_encoding_it_was_written_in() {
        check(
            &[("application_name", "\u{e4}"), ("client_encoding", "UTF8"), ON],
            &[("application_name", ""), ("client_encoding", "SJIS"), ON],
            "SET client_encoding='UTF8'",
            "SET application_name='\u{e4}'",
        );
    }

    #[test]
    fn a_list_is_set_element_by_element() {
        let check = |value, sql: &str| {
            check(&[("search_path", value), ON], &[("search_path", "x"), ON], "", sql);
        };
        check("\"$user\", public", "SET search_path='$user','public'");
        check("\"a\"\"b,c'd\" , E", "SET search_path='a\"b,c''d','e'");
        check("", "SET search_path=''");
        check("\"\"", "SET search_path=''");
        check("a b; DROP TABLE t", "SET search_path='a b; DROP TABLE t'");
        check("\"open", "SET search_path='\"open'");
        check("a,", "SET search_path='a,'");
    }

    proptest! {
        #[test]
        fn no_value_ends_its_literal(value in proptest::collection::vec(1u8.., 0..40)) {
            for name in [&b"application_name"[..], b"search_path"] {
                let mut sql = Vec::new();
                set(&mut sql, name, &value);
                // Outside of literals only the command itself and commas are left.
                let text = &sql[b"SET =".len() + name.len()..];
                let outside: Vec<u8> = text
                    .split(|byte| *byte == b'\'')
                    .step_by(2)
                    .flatten()
                    .copied()
                    .collect();
                prop_assert!(outside.iter().all(|byte| *byte == b','), "{:?}", sql);
                prop_assert_eq!(text.iter().filter(|byte| **byte == b'\'').count() % 2, 0);
            }
        }
    }
}
