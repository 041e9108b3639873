//! `headpond.toml`.
//!
//! Invariant: nothing is read that is no key of the tables; each error has line and column.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problem;
use super::merge::Heard;
use super::origin::{Layer, Origin};
use super::secret::Secret;

struct Reader<'a> {
    text: &'a str,
    path: Arc<PathBuf>,
    heard: &'a mut Heard,
}

pub(super) fn read(path: &Path, text: &str, heard: &mut Heard) {
    let mut reader = Reader { text, path: Arc::new(path.to_path_buf()), heard };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = reader.place(error.span().unwrap_or(0..0));
        let message = error.message().replace('\n', ", ");
        reader.heard.error(place, Problem::Syntax(message), None);
    }
    reader.table("", table.get_ref());
}

impl Reader<'_> {
    fn table(&mut self, path: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            // A dot inside a name would look like a further level.
            let name = name.replace('.', "\u{b7}");
            let path = if path.is_empty() { name } else { format!("{path}.{name}") };
            self.value(&path, key.span(), value);
        }
    }

    fn value(&mut self, path: &str, key: Range<usize>, value: &Spanned<DeValue<'_>>) {
        let text = match value.get_ref() {
            DeValue::Table(table) => {
                self.table(path, table);
                return;
            }
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().replace('_', ""),
            DeValue::Float(number) => number.as_str().replace('_', ""),
            DeValue::Boolean(flag) => flag.to_string(),
            other => {
                let (expected, found) = ("a text or a number", other.type_str());
                let problem = Problem::Type { key: "a key", expected, found };
                let place = self.place(value.span());
                self.heard.error(place, problem, None);
                return;
            }
        };
        // A database that is nothing but its URL.
        let whole = path.strip_prefix("databases.").is_some_and(|name| !name.contains('.'));
        let path = if whole { format!("{path}.url") } else { path.to_owned() };
        let errors = self.heard.errors.len();
        let place = self.place(value.span());
        self.heard.say(&path, Secret::from(text), Layer::File, place);
        // A misspelt key is reported where the key stands, a wrong value where it stands.
        if self.heard.errors.len() > errors {
            let place = self.place(key);
            if let Some(error) = self.heard.errors.last_mut() {
                error.place = place;
            }
        }
    }

    fn place(&self, span: Range<usize>) -> Origin {
        let before = self.text.get(..span.start.min(self.text.len())).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Origin::File { path: Arc::clone(&self.path), line: count(line), column: count(column) }
    }
}
