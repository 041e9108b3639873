//! headpond.toml: the same keys with the same meanings, typed.
//!
//! ```toml
//! database = "postgres://app@db.example/main"    # one entry, named after the database
//! [pooler]                                       # what is [pgbouncer] in an ini file
//! pool_mode = "transaction"
//! [databases.reports]
//! host = ["db1", "db2"]
//! query_wait_timeout = "500ms"
//! ```
//!
//! Invariant: nothing is read that is not a key of the table; each error has line and column.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ReadFile;
use super::assemble::Assembly;
use super::error::{Place, Problem, Shown};
use super::kind::{Flag, Kind};
use super::nearest::nearest;
use super::table::Section;

const SECTIONS: [(&str, Section); 10] = [
    ("pooler", Section::Pooler),
    ("databases", Section::Database),
    ("users", Section::User),
    ("peers", Section::Peer),
    ("http", Section::Http),
    ("alerts", Section::Alerts),
    ("history", Section::History),
    ("otlp", Section::Otlp),
    ("rules", Section::Rule),
    ("headpond", Section::Native),
];

/// The key at the top that names one database by its URL.
const DATABASE: &str = "database";

/// Reads a file.
pub(super) fn read(path: &Path, read: ReadFile<'_>, assembly: &mut Assembly) {
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let path = path.display().to_string();
            let problem = Problem::Unreadable { path, kind: error.kind() };
            assembly.error(Place::Start, problem, None);
            return;
        }
    };
    let path = Arc::new(path.to_path_buf());
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let text = String::from_utf8_lossy(valid);
            let place = place_in(&text, &path, text.len());
            assembly.error(place, Problem::Encoding, None);
            return;
        }
    };
    let mut reader = Reader { text, path, assembly };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = reader.place(error.span().unwrap_or(0..0));
        let message = error.message().replace('\n', ", ");
        reader.assembly.error(place, Problem::Toml(message), None);
    }
    reader.top(table.get_ref());
}

struct Reader<'a> {
    text: &'a str,
    path: Arc<std::path::PathBuf>,
    assembly: &'a mut Assembly,
}

/// A value with where it stands.
type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        place_in(self.text, &self.path, span.start)
    }

    fn top(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if name == DATABASE {
                self.database_url(value);
                continue;
            }
            let Some((_, section)) = SECTIONS.iter().find(|(known, _)| *known == name) else {
                let meant = match Section::Pooler.key(name) {
                    Some(_) => Some(format!("pooler.{name}")),
                    None if name == "pgbouncer" => Some("pooler".to_owned()),
                    None => {
                        let known = SECTIONS.iter().map(|(known, _)| *known).chain([DATABASE]);
                        nearest(name, known).map(str::to_owned)
                    }
                };
                let problem = Problem::UnknownSection(Shown::new(name));
                self.assembly.error(self.place(key.span()), problem, meant);
                continue;
            };
            let Some(content) = self.table(name, value) else {
                continue;
            };
            if section.has_entries() {
                self.entries(*section, content);
            } else {
                self.keys(*section, "", content);
            }
        }
    }

    fn database_url(&mut self, value: &Value<'_>) {
        let place = self.place(value.span());
        match value.get_ref().as_str() {
            Some(text) => super::url::named_after_itself(text, &place, self.assembly),
            None => self.wrong_type(DATABASE, "a database url", value),
        }
    }

    fn table<'v>(&mut self, name: &str, value: &'v Value<'_>) -> Option<&'v DeTable<'v>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(name, "a table", value);
        }
        table
    }

    fn entries(&mut self, section: Section, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let place = self.place(key.span());
            match value.get_ref() {
                // A url, or the connection string of an ini file.
                DeValue::String(text) => {
                    super::ini::entry(section, name, text, &place, self.assembly);
                }
                DeValue::Table(content) => {
                    self.assembly.begin(section, name, &place);
                    self.keys(section, name, content);
                }
                _ => self.wrong_type(name, "a table or a url", value),
            }
        }
    }

    fn keys(&mut self, section: Section, name: &str, table: &DeTable<'_>) {
        // The url first, whatever the order of writing: the other keys refine it.
        if let Some(url) = table.get(URL).filter(|_| section == Section::Database) {
            let place = self.place(url.span());
            match url.get_ref().as_str() {
                Some(text) => super::url::entry(name, text, &place, self.assembly),
                None => self.wrong_type(URL, "a database url", url),
            }
        }
        for (key, value) in table {
            let key_name = key.get_ref().as_ref();
            if key_name == URL && section == Section::Database {
                continue;
            }
            let row = section.key(key_name);
            let takes_flag = row.is_none_or(|row| row.expects == Flag::EXPECTS);
            let takes_list = row.is_none_or(|row| row.expects.contains("comma list"));
            match text(value.get_ref(), takes_flag, takes_list) {
                // A misspelt key is reported where the key stands, a wrong value where it stands.
                Some(text) => {
                    let span = if row.is_some() { value.span() } else { key.span() };
                    let place = self.place(span);
                    self.assembly.set(section, name, key_name, &text, place);
                }
                None => {
                    let expected = row.map_or("a text or a number", |row| row.expects);
                    self.wrong_type(key_name, expected, value);
                }
            }
        }
    }

    fn wrong_type(&mut self, key: &str, expected: &'static str, value: &Value<'_>) {
        let found = value.get_ref().type_str();
        let place = self.place(value.span());
        let problem = Problem::TomlType { key: Shown::new(key), expected, found };
        self.assembly.error(place, problem, None);
    }
}

/// The key of a database entry that holds a whole url.
const URL: &str = "url";

/// Returns a value as the text an ini file would have; `None` if it cannot be one.
fn text(value: &DeValue<'_>, takes_flag: bool, takes_list: bool) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            if number.radix() == 10 {
                return Some(digits.trim_start_matches('+').to_owned());
            }
            let digits = digits.trim_start_matches(['0', 'x', 'o', 'b']).to_owned();
            let digits = if digits.is_empty() { "0" } else { &digits };
            Some(u64::from_str_radix(digits, number.radix()).ok()?.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().replace('_', "")),
        DeValue::Boolean(flag) if takes_flag => Some(u8::from(*flag).to_string()),
        DeValue::Array(values) if takes_list => {
            let texts = values.iter().map(|value| text(value.get_ref(), false, false));
            Some(texts.collect::<Option<Vec<String>>>()?.join(","))
        }
        DeValue::Boolean(_) | DeValue::Array(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn place_in(text: &str, path: &Arc<std::path::PathBuf>, offset: usize) -> Place {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Place::File { path: path.clone(), line: count(line), column: Some(count(column)) }
}
