//! pgbouncer.ini, read as PgBouncer reads it.
//!
//! Invariant: a line is a comment, an include, a section or a key, and anything else is an
//! error with its line; the lines after an error are still read, so that all errors are told.
//! The sections `[http]`, `[alerts]`, `[history]`, `[otlp]`, `[rules]` and `[headpond]` are ours;
//! PgBouncer refuses a file that has them.

use std::path::Path;
use std::sync::Arc;

use super::ReadFile;
use super::assemble::Assembly;
use super::error::{ConnectionStringError, Place, Problem, Shown};
use super::nearest::nearest;
use super::table::Section;

/// How deep files may include each other.
const INCLUDE_DEPTH_MAX: usize = 10;

const SECTIONS: [(&str, Section); 10] = [
    ("pgbouncer", Section::Pooler),
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

/// Reads a file and what it includes.
pub(super) fn read(path: &Path, read: ReadFile<'_>, assembly: &mut Assembly) {
    let mut reader = Reader { read, assembly, section: Current::None, files: 0 };
    reader.file(path, Place::Start, 0);
}

struct Reader<'a> {
    read: ReadFile<'a>,
    assembly: &'a mut Assembly,
    section: Current,
    /// How many files were read: two includes per file would otherwise double at each depth.
    files: usize,
}

/// The most files one configuration may consist of.
const FILES_MAX: usize = 1_000;

/// The section the next key belongs to; an included file goes on in its includer's.
#[derive(Clone, Copy)]
enum Current {
    None,
    Known(Section),
    /// Its name was an error already; its keys are not another one each.
    Unknown,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, from: Place, depth: usize) {
        self.files += 1;
        if self.files > FILES_MAX {
            if self.files == FILES_MAX + 1 {
                self.assembly.error(from, Problem::IncludeCount(FILES_MAX), None);
            }
            return;
        }
        let bytes = match (self.read)(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let path = path.display().to_string();
                let problem = Problem::Unreadable { path, kind: error.kind() };
                self.assembly.error(from, problem, None);
                return;
            }
        };
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let path = Arc::new(path.to_path_buf());
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line_number = u32::try_from(number + 1).unwrap_or(u32::MAX);
            let place = Place::File { path: path.clone(), line: line_number, column: None };
            self.line(line.trim_ascii(), &place, depth);
        }
    }

    fn line(&mut self, mut line: &[u8], place: &Place, depth: usize) {
        // After a section's name the same line may go on with a key.
        while let Some(rest) = line.strip_prefix(b"[") {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else {
                self.assembly.error(place.clone(), Problem::SectionEnd, None);
                self.section = Current::Unknown;
                return;
            };
            let (name, rest) = rest.split_at(end);
            self.section(&String::from_utf8_lossy(name), place);
            line = rest.strip_prefix(b"]").unwrap_or(rest).trim_ascii();
        }
        // Comments need not be UTF-8: old files have Latin-1 in them.
        if line.is_empty() || line.starts_with(b"#") || line.starts_with(b";") {
            return;
        }
        let Ok(line) = std::str::from_utf8(line) else {
            self.assembly.error(place.clone(), Problem::Encoding, None);
            return;
        };
        if let Some(rest) = line.strip_prefix("%include")
            && rest.starts_with([' ', '\t'])
        {
            self.include(Path::new(rest.trim()), place, depth);
            return;
        }
        match key_and_value(line) {
            Ok((key, value)) => self.key(&key, value, place),
            Err(problem) => self.assembly.error(place.clone(), problem, None),
        }
    }

    fn include(&mut self, path: &Path, place: &Place, depth: usize) {
        if depth >= INCLUDE_DEPTH_MAX {
            let problem = Problem::IncludeDepth(INCLUDE_DEPTH_MAX);
            self.assembly.error(place.clone(), problem, None);
            return;
        }
        self.file(path, place.clone(), depth + 1);
    }

    fn section(&mut self, name: &str, place: &Place) {
        if let Some((_, section)) = SECTIONS.iter().find(|(known, _)| *known == name) {
            self.section = Current::Known(*section);
            return;
        }
        self.section = Current::Unknown;
        let nearest = nearest(name, SECTIONS.iter().map(|(known, _)| *known));
        let problem = Problem::UnknownSection(Shown::new(name));
        self.assembly.error(place.clone(), problem, nearest.map(str::to_owned));
    }

    fn key(&mut self, key: &str, value: &str, place: &Place) {
        let section = match self.section {
            Current::Known(section) => section,
            Current::Unknown => return,
            Current::None => {
                let problem = Problem::OutsideSection(Shown::new(key));
                self.assembly.error(place.clone(), problem, None);
                return;
            }
        };
        if section.has_entries() {
            entry(section, key, value, place, self.assembly);
        } else {
            self.assembly.set(section, "", key, value, place.clone());
        }
    }
}

/// Reads an entry of `[databases]`, `[users]` or `[peers]` from its connection string.
pub(super) fn entry(
    section: Section,
    name: &str,
    value: &str,
    place: &Place,
    assembly: &mut Assembly,
) {
    assembly.begin(section, name, place);
    if section == Section::Database && super::url::is_url(value) {
        super::url::entry(name, value, place, assembly);
        return;
    }
    let mut rest = value.trim_start();
    while !rest.is_empty() {
        match pair(rest) {
            Ok((key, value, after)) => {
                assembly.set(section, name, key, &value, place.clone());
                rest = after.trim_start();
            }
            Err(error) => {
                assembly.error(place.clone(), Problem::ConnectionString(error), None);
                return;
            }
        }
    }
}

/// Takes one `key=value` off the front of a connection string.
fn pair(text: &str) -> Result<(&str, String, &str), ConnectionStringError> {
    let key_end = text.find(['=', ' ', '\t']).ok_or(ConnectionStringError::KeyValue)?;
    let (key, rest) = text.split_at(key_end);
    let rest = rest.trim_start().strip_prefix('=').ok_or(ConnectionStringError::KeyValue)?;
    if key.is_empty() {
        return Err(ConnectionStringError::KeyValue);
    }
    let rest = rest.trim_start();
    let (value, rest) = match rest.strip_prefix('\'') {
        Some(quoted) => {
            let (value, rest) = unquote(quoted, '\'').ok_or(ConnectionStringError::Quote)?;
            if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
                return Err(ConnectionStringError::AfterQuote);
            }
            (value, rest)
        }
        None => {
            let (value, rest) = rest.split_at(rest.find([' ', '\t']).unwrap_or(rest.len()));
            (value.to_owned(), rest)
        }
    };
    if value.is_empty() {
        return Err(ConnectionStringError::EmptyValue);
    }
    Ok((key, value, rest))
}

/// Reads up to the closing quote, a doubled one standing for itself; returns what follows it.
fn unquote(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once(quote)?;
        value.push_str(before);
        match after.strip_prefix(quote) {
            Some(after) => {
                value.push(quote);
                rest = after;
            }
            None => return Some((value, after)),
        }
    }
}

/// Splits a line at its `=`; the name may be quoted.
fn key_and_value(line: &str) -> Result<(String, &str), Problem> {
    let (key, rest) = match line.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let quoted = line.get(1..).ok_or(Problem::NameQuote)?;
            unquote(quoted, quote).ok_or(Problem::NameQuote)?
        }
        _ => {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-*".contains(c);
            let end = line.find(|c| !is_name(c)).unwrap_or(line.len());
            let (key, rest) = line.split_at(end);
            (key.to_owned(), rest)
        }
    };
    if key.is_empty() {
        return Err(Problem::Line);
    }
    let rest = rest.trim_start_matches([' ', '\t']).strip_prefix('=').ok_or(Problem::Line)?;
    Ok((key, rest.trim_start_matches([' ', '\t'])))
}
