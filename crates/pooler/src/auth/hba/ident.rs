//! The ident file: which system user may be which database user.
//!
//! Invariant: a map allows what one of its lines says and nothing else; a line that cannot be
//! read allows nothing.

use std::collections::BTreeMap;
use std::path::Path;

use super::HbaWarning;
use super::line::{LineFlaw, Token, tokens};

/// One map: pairs of a system user and the database user it may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentMap {
    pairs: Vec<(String, Allowed)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    Anyone,
    User(String),
}

impl IdentMap {
    /// Returns true if the system user may log in as this database user.
    pub fn allows(&self, system: &str, user: &str) -> bool {
        self.pairs.iter().any(|(listed, allowed)| {
            listed == system
                && match allowed {
                    Allowed::Anyone => true,
                    Allowed::User(name) => name == user,
                }
        })
    }
}

/// The maps of one ident file, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentMaps {
    maps: BTreeMap<String, IdentMap>,
}

impl IdentMaps {
    /// Returns a map.
    pub fn get(&self, name: &str) -> Option<&IdentMap> {
        self.maps.get(name)
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path) -> std::io::Result<(IdentMaps, Vec<HbaWarning>)> {
        Ok(Self::parse(&std::fs::read(path)?))
    }

    /// Reads lines of `map system-user database-user`, and tells which are none.
    pub fn parse(bytes: &[u8]) -> (IdentMaps, Vec<HbaWarning>) {
        let mut maps = IdentMaps::default();
        let mut warnings = Vec::new();
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
            match ident_line(line) {
                Ok(None) => {}
                Ok(Some((map, system, allowed))) => {
                    maps.maps.entry(map).or_default().pairs.push((system, allowed));
                }
                Err(flaw) => warnings.push(HbaWarning { line: number, flaw }),
            }
        }
        (maps, warnings)
    }
}

fn ident_line(line: &[u8]) -> Result<Option<(String, String, Allowed)>, LineFlaw> {
    if line.trim_ascii_start().starts_with(b"#") {
        return Ok(None);
    }
    let line = std::str::from_utf8(line).map_err(|_| LineFlaw::Encoding)?;
    let mut tokens = tokens(line)?.into_iter();
    let Some(map) = tokens.next() else {
        return Ok(None);
    };
    let name = |token| match token {
        // A pattern, which would have to be understood before it may allow anything.
        Some(Token::Word(word)) if word.starts_with('/') => Err(LineFlaw::NameKind("a pattern")),
        Some(Token::Word(word) | Token::Quoted(word)) => Ok(word),
        Some(Token::Comma) | None => Err(LineFlaw::Names("map, system user and database user")),
    };
    let map = name(Some(map))?;
    let system = name(tokens.next())?;
    let allowed = match tokens.next() {
        Some(Token::Word(word)) if word == "all" => Allowed::Anyone,
        token => Allowed::User(name(token)?),
    };
    if tokens.next().is_some() {
        return Err(LineFlaw::Parameters);
    }
    Ok(Some((map, system, allowed)))
}
