//! Finds words in SQL that leave something in the session which no tag tells of.
//!
//! Invariant: works on pieces of any length; finds too much rather than too little.
//! Left out: what functions of the user's own do inside; that cannot be seen, and is what
//! `Recycling::Always` is for.

use super::dirt::Dirt;

/// A reader of SQL text, one word at a time.
#[derive(Debug, Default)]
pub(super) struct Words {
    word: Word,
    before: Before,
    /// There is a comment, which may stand between two words that belong together.
    commented: bool,
    /// The last byte was a `/` or a `-`.
    opening: Option<u8>,
    /// CREATE or INTO came at some time.
    makes: bool,
    /// WITH came at some time.
    with: bool,
}

/// The longest word that is looked for, and one more.
const WORD_MAX: usize = 24;

#[derive(Debug, Default)]
struct Word {
    bytes: [u8; WORD_MAX],
    /// Longer words are cut: none of ours is so long.
    len: usize,
}

/// The word before, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Before {
    #[default]
    Other,
    /// CREATE, INTO, or what may come between CREATE and TEMP.
    Makes,
    With,
}

impl Words {
    pub(super) fn begin(&mut self) {
        *self = Self::default();
    }

    /// Reads on, and returns what the words that ended stand for.
    pub(super) fn read(&mut self, text: &[u8]) -> Dirt {
        let mut dirt = Dirt::NONE;
        for byte in text {
            if byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80 {
                self.opening = None;
                self.word.push(byte.to_ascii_lowercase());
                continue;
            }
            dirt = dirt.with(self.end_word());
            if matches!((self.opening, byte), (Some(b'/'), b'*') | (Some(b'-'), b'-')) {
                self.commented = true;
            }
            self.opening = matches!(byte, b'/' | b'-').then_some(*byte);
        }
        dirt
    }

    /// Returns what the word that was read stands for.
    pub(super) fn end_word(&mut self) -> Dirt {
        if self.word.len == 0 {
            return Dirt::NONE;
        }
        let word = self.word.bytes.get(..self.word.len).unwrap_or_default();
        let mut before = Before::Other;
        let dirt = match word {
            b"create" | b"replace" | b"global" | b"local" | b"into" | b"or" => {
                before = Before::Makes;
                self.makes = true;
                Dirt::NONE
            }
            b"with" => {
                before = Before::With;
                self.with = true;
                Dirt::NONE
            }
            b"temp" | b"temporary" if self.before == Before::Makes => Dirt::TEMPORARY,
            b"temp" | b"temporary" if self.commented && self.makes => Dirt::TEMPORARY,
            b"hold" if self.before == Before::With => Dirt::CURSOR,
            b"hold" if self.commented && self.with => Dirt::CURSOR,
            b"set_config" => Dirt::SETTINGS,
            b"listen" => Dirt::LISTEN,
            _ if word.starts_with(b"pg_temp") => Dirt::TEMPORARY,
            _ if word.starts_with(b"pg_advisory_lock") => Dirt::LOCK,
            _ if word.starts_with(b"pg_try_advisory_lock") => Dirt::LOCK,
            _ => Dirt::NONE,
        };
        self.before = before;
        self.word.len = 0;
        dirt
    }
}

impl Word {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirt(sql: &str) -> Dirt {
        let all = |cut: usize| {
            let mut words = Words::default();
            let (a, b) = sql.as_bytes().split_at(cut);
            words.read(a).with(words.read(b)).with(words.end_word())
        };
        let whole = all(0);
        for cut in 0..sql.len() {
            assert_eq!(all(cut), whole, "cut at {cut}: {sql}");
        }
        whole
    }

    #[test]
    fn what_lasts_is_found_however_it_is_written_and_cut() {
        for (sql, expected) in [
            ("select pg_advisory_lock(1)", Dirt::LOCK),
            ("SELECT PG_TRY_ADVISORY_LOCK_SHARED($1)", Dirt::LOCK),
            ("select\"pg_advisory_lock\"(1)", Dirt::LOCK),
            ("select set_config('a.b', 'c', false)", Dirt::SETTINGS),
            ("create temp table t ()", Dirt::TEMPORARY),
            ("CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1", Dirt::TEMPORARY),
            ("create/**/temp table t ()", Dirt::TEMPORARY),
            ("create -- what\n temp table t ()", Dirt::TEMPORARY),
            ("select 1 into temp t", Dirt::TEMPORARY),
            ("create table pg_temp.t ()", Dirt::TEMPORARY),
            ("declare c cursor with hold for select 1", Dirt::CURSOR),
            ("select f('listen x')", Dirt::LISTEN),
        ] {
            assert_eq!(dirt(sql), expected, "{sql}");
        }
    }

    #[test]
    fn what_ends_with_its_transaction_is_no_dirt() {
        for sql in [
            "select pg_advisory_xact_lock(1)",
            "select temp from readings",
            "insert into readings (temp, temperature) values (1, 2)",
            "create table template ()",
            "declare c cursor for select 1",
            "select 1 -- temp",
            "with held as (select 1) select hold from held",
        ] {
            assert_eq!(dirt(sql), Dirt::NONE, "{sql}");
        }
    }
}
