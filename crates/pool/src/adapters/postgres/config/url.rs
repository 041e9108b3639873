//! Takes URLs and keyword DSNs apart, as libpq does.
//!
//! `postgresql://[user[:password]@][host[:port]][,…][/dbname][?name=value[&…]]`, every part
//! percent-encoded, or `name=value name='quoted value' …`.
//!
//! Invariant: each value keeps the place where it stood.
//! Left out: which names there are (`keys.rs`).

use super::error::{ConfigError, Origin};

/// A name and its value, as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) origin: Origin,
}

const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// Takes a connection string apart.
pub(super) fn parse(text: &str) -> Result<Vec<Pair>, ConfigError> {
    for scheme in SCHEMES {
        if let Some(rest) = text.strip_prefix(scheme) {
            return Url { text, at: text.len() - rest.len(), pairs: Vec::new() }.parse();
        }
    }
    if let Some(at) = text.find("://") {
        let end = text.find(['=', ' ', '\'']).unwrap_or(usize::MAX);
        if at < end {
            let problem = "the scheme must be postgresql:// or postgres://";
            return Err(ConfigError::Syntax { at: 0, problem });
        }
    }
    keywords(text)
}

struct Url<'a> {
    text: &'a str,
    at: usize,
    pairs: Vec<Pair>,
}

impl<'a> Url<'a> {
    fn parse(mut self) -> Result<Vec<Pair>, ConfigError> {
        self.userinfo()?;
        self.hosts()?;
        if self.rest().starts_with('/') {
            self.at += 1;
            let (at, name) = self.take_until(&['?']);
            if !name.is_empty() {
                self.push("dbname", name, at)?;
            }
        }
        if self.rest().starts_with('?') {
            self.at += 1;
            self.query()?;
        }
        if self.rest().is_empty() { Ok(self.pairs) } else { Err(self.wrong("unexpected text")) }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn wrong(&self, problem: &'static str) -> ConfigError {
        ConfigError::Syntax { at: self.at, problem }
    }

    fn take_until(&mut self, ends: &[char]) -> (usize, &'a str) {
        let (at, rest) = (self.at, self.rest());
        let part = rest.get(..rest.find(ends).unwrap_or(rest.len())).unwrap_or(rest);
        self.at += part.len();
        (at, part)
    }

    fn push(&mut self, key: &str, encoded: &str, at: usize) -> Result<(), ConfigError> {
        let value = decode(encoded, at)?;
        self.pairs.push(Pair { key: key.to_owned(), value, origin: Origin::Text { at } });
        Ok(())
    }

    fn userinfo(&mut self) -> Result<(), ConfigError> {
        let rest = self.rest();
        let authority = rest.get(..rest.find(['/', '?']).unwrap_or(rest.len())).unwrap_or(rest);
        // The last @, so that a password with an unescaped @ still works.
        let Some(end) = authority.rfind('@') else { return Ok(()) };
        let info = authority.get(..end).unwrap_or_default();
        let (user, password) = info.split_once(':').map_or((info, None), |(u, p)| (u, Some(p)));
        if !user.is_empty() {
            self.push("user", user, self.at)?;
        }
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            self.push("password", password, self.at + user.len() + 1)?;
        }
        self.at += end + 1;
        Ok(())
    }

    fn hosts(&mut self) -> Result<(), ConfigError> {
        let began = self.at;
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        loop {
            let host = if self.rest().starts_with('[') {
                self.at += 1;
                let (at, address) = self.take_until(&[']', '/', '?']);
                if !self.rest().starts_with(']') {
                    return Err(self.wrong("an IPv6 address in [ ] has no end"));
                }
                if address.is_empty() {
                    return Err(self.wrong("an IPv6 address in [ ] is empty"));
                }
                self.at += 1;
                if !matches!(self.rest().chars().next(), None | Some(':' | ',' | '/' | '?')) {
                    return Err(self.wrong("only a port, a path or parameters may follow ]"));
                }
                decode(address, at)?
            } else {
                let (at, host) = self.take_until(&[':', ',', '/', '?']);
                decode(host, at)?
            };
            hosts.push(host);
            let mut port = String::new();
            if self.rest().starts_with(':') {
                self.at += 1;
                let (at, digits) = self.take_until(&[',', '/', '?']);
                port = decode(digits, at)?;
            }
            ports.push(port);
            if !self.rest().starts_with(',') {
                break;
            }
            self.at += 1;
        }
        let origin = Origin::Text { at: began };
        for (key, values) in [("host", hosts), ("port", ports)] {
            if values.iter().any(|value| !value.is_empty()) {
                let (key, value) = (key.to_owned(), values.join(","));
                self.pairs.push(Pair { key, value, origin: origin.clone() });
            }
        }
        Ok(())
    }

    fn query(&mut self) -> Result<(), ConfigError> {
        while !self.rest().is_empty() {
            let (at, pair) = self.take_until(&['&']);
            self.at += usize::from(self.rest().starts_with('&'));
            if pair.is_empty() {
                continue;
            }
            let Some((key, value)) = pair.split_once('=') else {
                return Err(ConfigError::Syntax { at, problem: "a parameter needs name=value" });
            };
            if value.contains('=') {
                let problem = "a second = in a parameter must be written %3D";
                return Err(ConfigError::Syntax { at, problem });
            }
            let name = decode(key, at)?;
            self.push(&name, value, at)?;
            // The place of the name: that is what people look for.
        }
        Ok(())
    }
}

/// Decodes %xx.
fn decode(text: &str, at: usize) -> Result<String, ConfigError> {
    let wrong = |offset: usize, problem| ConfigError::Syntax { at: at + offset, problem };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes().enumerate();
    while let Some((offset, byte)) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|(_, digit)| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(wrong(offset, "% must be followed by two hexadecimal digits"));
        };
        match u8::try_from(high * 16 + low) {
            Ok(0) | Err(_) => return Err(wrong(offset, "%00 cannot stand in a value")),
            Ok(decoded) => bytes.push(decoded),
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong(0, "the decoded value is not UTF-8"))
}

/// Takes `name=value name='quoted \' value'` apart.
fn keywords(text: &str) -> Result<Vec<Pair>, ConfigError> {
    let mut pairs = Vec::new();
    let mut chars = text.char_indices().peekable();
    loop {
        while chars.next_if(|(_, c)| c.is_ascii_whitespace()).is_some() {}
        let Some(&(at, _)) = chars.peek() else { return Ok(pairs) };
        let mut key = String::new();
        while let Some((_, c)) = chars.next_if(|(_, c)| *c != '=' && !c.is_ascii_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|(_, c)| c.is_ascii_whitespace()).is_some() {}
        if chars.next_if(|(_, c)| *c == '=').is_none() {
            return Err(ConfigError::Syntax { at, problem: "a name must be followed by =" });
        }
        while chars.next_if(|(_, c)| c.is_ascii_whitespace()).is_some() {}
        let value = match chars.next_if(|(_, c)| *c == '\'') {
            Some((quote, _)) => quoted(&mut chars, quote)?,
            None => bare(&mut chars),
        };
        pairs.push(Pair { key, value, origin: Origin::Text { at } });
    }
}

type Chars<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

fn quoted(chars: &mut Chars<'_>, quote: usize) -> Result<String, ConfigError> {
    let mut value = String::new();
    loop {
        match chars.next() {
            Some((_, '\'')) => return Ok(value),
            Some((_, '\\')) => value.extend(chars.next().map(|(_, c)| c)),
            Some((_, c)) => value.push(c),
            None => return Err(ConfigError::Syntax { at: quote, problem: "the quote has no end" }),
        }
    }
}

fn bare(chars: &mut Chars<'_>) -> String {
    let mut value = String::new();
    while let Some((_, c)) = chars.next_if(|(_, c)| !c.is_ascii_whitespace()) {
        if c == '\\' {
            value.extend(chars.next().map(|(_, c)| c));
        } else {
            value.push(c);
        }
    }
    value
}
