//! One line of an HBA file.
//!
//! Invariant: a line is read to its end; anything left over makes it wrong, because a word
//! that was not understood may have been the one that restricts.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::ident::IdentMaps;
use super::matching::{Keyword, Names, Range};
use super::{Connection, Method, ReadNames, Rule, Transport};
use crate::config::Secret;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFlaw {
    /// Not UTF-8.
    #[error("not valid UTF-8")]
    Encoding,
    /// A quote without its end.
    #[error("a quote is not closed")]
    Quote,
    /// Not local, host, hostssl or hostnossl.
    #[error("unknown type")]
    Connection,
    /// No names where databases or users should stand.
    #[error("expected {0}")]
    Names(&'static str),
    /// A name of a kind that is not supported.
    #[error("{0} is not supported")]
    NameKind(&'static str),
    /// A file of names that cannot be read.
    #[error("cannot read the file of names '{0}'")]
    NamesFile(String),
    /// No address where one should stand.
    #[error("did not find address")]
    NoAddress,
    /// Not an address.
    #[error("failed to parse address")]
    Address,
    /// An address without its mask.
    #[error("did not find mask")]
    NoMask,
    /// Not a mask, or one of the other family.
    #[error("invalid mask")]
    Mask,
    /// The rule is kept, and matches nobody unless it rejects.
    #[error("address does not match mask")]
    HostBits,
    /// Not a method, or one that is not supported.
    #[error("unsupported method")]
    Method,
    /// Words after the method that are not understood.
    #[error("unsupported parameters")]
    Parameters,
    /// A map that the ident file does not have.
    #[error("unknown ident map '{0}'")]
    Map(String),
}

/// How deep files of names may refer to each other.
const NAMES_DEPTH_MAX: usize = 5;

/// How many files of names one line may lead to.
const NAMES_FILES_MAX: usize = 100;

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Comma,
    Word(String),
    /// In quotes a keyword is a name like any other.
    Quoted(String),
}

/// Splits a line into its pieces; a `#` outside quotes ends it.
pub(super) fn tokens(line: &str) -> Result<Vec<Token>, LineFlaw> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next().filter(|first| *first != '#') {
        if first == ',' {
            tokens.push(Token::Comma);
            rest = rest.strip_prefix(',').unwrap_or(rest);
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = unquote(quoted)?;
            tokens.push(Token::Quoted(text));
            rest = after;
        } else {
            let is_end = |c: char| c.is_whitespace() || matches!(c, ',' | '#' | '"');
            let (word, after) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
            tokens.push(Token::Word(word.to_owned()));
            rest = after;
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

fn unquote(text: &str) -> Result<(String, &str), LineFlaw> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"').ok_or(LineFlaw::Quote)?;
        value.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                value.push('"');
                rest = after;
            }
            None => return Ok((value, after)),
        }
    }
}

/// Whose names a list has: some words mean something for databases only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Databases,
    Users,
}

pub(super) struct LineReader<'a> {
    line: &'a str,
    path: &'a Path,
    maps: &'a IdentMaps,
    read: ReadNames<'a>,
    tokens: std::vec::IntoIter<Token>,
    files: usize,
}

impl<'a> LineReader<'a> {
    pub(super) fn new(
        line: &'a str,
        path: &'a Path,
        maps: &'a IdentMaps,
        read: ReadNames<'a>,
    ) -> Self {
        Self { line, path, maps, read, tokens: Vec::new().into_iter(), files: 0 }
    }

    /// Reads the rule; `None` for a line without one.
    pub(super) fn rule(&mut self, number: u32) -> Result<Option<Rule>, LineFlaw> {
        self.tokens = tokens(self.line)?.into_iter();
        let transport = match self.tokens.next() {
            None => return Ok(None),
            Some(Token::Word(word)) => match word.as_str() {
                "local" => None,
                "host" => Some(None),
                "hostssl" => Some(Some(Transport::Tls)),
                "hostnossl" => Some(Some(Transport::Plain)),
                _ => return Err(LineFlaw::Connection),
            },
            Some(_) => return Err(LineFlaw::Connection),
        };
        let databases = self.names(Whose::Databases)?;
        let users = self.names(Whose::Users)?;
        let connection = match transport {
            None => Connection::Local,
            Some(transport) => Connection::Host(transport, self.range()?),
        };
        let (method, map) = self.method()?;
        let map = match map {
            None => None,
            Some(name) => {
                let map = self.maps.get(&name).cloned();
                Some(map.ok_or(LineFlaw::Map(name))?)
            }
        };
        Ok(Some(Rule { line: number, connection, databases, users, method, map }))
    }

    fn names(&mut self, whose: Whose) -> Result<Names, LineFlaw> {
        let mut names = Names::default();
        loop {
            let token = self.tokens.next();
            let token = token.filter(|token| *token != Token::Comma).ok_or({
                LineFlaw::Names(match whose {
                    Whose::Databases => "databases",
                    Whose::Users => "users",
                })
            })?;
            self.name(token, whose, self.path, 0, &mut names)?;
            if self.tokens.as_slice().first() != Some(&Token::Comma) {
                return Ok(names);
            }
            self.tokens.next();
        }
    }

    fn name(
        &mut self,
        token: Token,
        whose: Whose,
        path: &Path,
        depth: usize,
        names: &mut Names,
    ) -> Result<(), LineFlaw> {
        let word = match token {
            Token::Comma => return Ok(()),
            Token::Quoted(name) => {
                names.add(&name);
                return Ok(());
            }
            Token::Word(word) => word,
        };
        match word.as_str() {
            "all" => names.add_keyword(Keyword::All),
            "sameuser" if whose == Whose::Databases => names.add_keyword(Keyword::SameUser),
            "replication" if whose == Whose::Databases => {
                names.add_keyword(Keyword::Replication);
            }
            "samerole" if whose == Whose::Databases => return Err(LineFlaw::NameKind("samerole")),
            "samegroup" if whose == Whose::Databases => {
                return Err(LineFlaw::NameKind("samegroup"));
            }
            word if word.starts_with('+') => return Err(LineFlaw::NameKind("+group")),
            // In newer PostgreSQL a pattern; as a plain name it would match nobody.
            word if word.starts_with('/') => return Err(LineFlaw::NameKind("a pattern")),
            word => match word.strip_prefix('@') {
                Some(file) => self.names_file(Path::new(file), whose, path, depth, names)?,
                None => names.add(word),
            },
        }
        Ok(())
    }

    /// Adds the names of a file, which are separated by commas or line ends.
    fn names_file(
        &mut self,
        file: &Path,
        whose: Whose,
        parent: &Path,
        depth: usize,
        names: &mut Names,
    ) -> Result<(), LineFlaw> {
        let path: PathBuf = parent.parent().unwrap_or(Path::new("")).join(file);
        let unreadable = || LineFlaw::NamesFile(path.display().to_string());
        self.files += 1;
        if depth >= NAMES_DEPTH_MAX || self.files > NAMES_FILES_MAX {
            return Err(unreadable());
        }
        let bytes = (self.read)(&path).map_err(|_| unreadable())?;
        let text = String::from_utf8(bytes).map_err(|_| LineFlaw::Encoding)?;
        for line in text.lines() {
            for token in tokens(line)? {
                self.name(token, whose, &path, depth + 1, names)?;
            }
        }
        Ok(())
    }

    fn range(&mut self) -> Result<Range, LineFlaw> {
        let Some(Token::Word(word)) = self.tokens.next() else {
            return Err(LineFlaw::NoAddress);
        };
        if word == "all" {
            return Ok(Range::All);
        }
        if let Some((address, bits)) = word.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| LineFlaw::Address)?;
            let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
            let bits = bits.parse().ok().filter(|_| digits).ok_or(LineFlaw::Mask)?;
            return Range::from_prefix(address, bits).ok_or(LineFlaw::Mask);
        }
        let address: IpAddr = word.parse().map_err(|_| LineFlaw::Address)?;
        let Some(Token::Word(mask)) = self.tokens.next() else {
            return Err(LineFlaw::NoMask);
        };
        let mask: IpAddr = mask.parse().map_err(|_| LineFlaw::Mask)?;
        Range::from_mask(address, mask).ok_or(LineFlaw::Mask)
    }

    /// Reads the method and, where it may have one, the name of its map.
    fn method(&mut self) -> Result<(Method, Option<String>), LineFlaw> {
        let Some(Token::Word(word)) = self.tokens.next() else {
            return Err(LineFlaw::Method);
        };
        let method = match word.as_str() {
            "trust" => Method::Trust,
            "reject" => Method::Reject,
            "md5" => Method::Md5,
            "password" => Method::Password,
            "peer" => Method::Peer,
            "cert" => Method::Cert,
            "scram-sha-256" => Method::ScramSha256,
            "ldap" => return Ok((Method::Ldap(self.rest()), None)),
            _ => return Err(LineFlaw::Method),
        };
        let map = match self.tokens.next() {
            None => None,
            Some(Token::Word(option)) if matches!(method, Method::Peer | Method::Cert) => {
                let name = match option.strip_prefix("map=") {
                    // `map="a name"` is two pieces.
                    Some("") => match self.tokens.next() {
                        Some(Token::Quoted(name)) => name,
                        _ => return Err(LineFlaw::Parameters),
                    },
                    Some(name) => name.to_owned(),
                    None => return Err(LineFlaw::Parameters),
                };
                Some(name)
            }
            Some(_) => return Err(LineFlaw::Parameters),
        };
        if self.tokens.next().is_some() {
            return Err(LineFlaw::Parameters);
        }
        Ok((method, map))
    }

    /// Joins what is left of the line: LDAP options may hold a password and are not read here.
    fn rest(&mut self) -> Secret {
        let mut text = String::new();
        for token in self.tokens.by_ref() {
            match token {
                Token::Comma => text.push(','),
                Token::Quoted(word) if text.ends_with('=') => text.push_str(&word),
                Token::Word(word) | Token::Quoted(word) => {
                    if !text.is_empty() && !text.ends_with(',') {
                        text.push(' ');
                    }
                    text.push_str(&word);
                }
            }
        }
        Secret::from(text)
    }
}
