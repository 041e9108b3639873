//! userlist.txt: which users there are, and the secret each is known by.
//!
//! Invariant: reading stops at the first text that is not a user line, as in PgBouncer; what
//! follows a misplaced quote cannot be trusted. No secret is ever printed, and a secret in a
//! broken form lets nobody in.
//! Not here: proving anything (`wire::auth`), secrets found by auth_query (`lookup.rs`).

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::Secret;

/// The longest user name, in bytes.
pub const USER_MAX: usize = 127;

/// The longest secret, in bytes.
pub const SECRET_MAX: usize = 65_531;

/// The form in which a user's secret is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Nothing that a password could be compared with.
    Nothing,
    /// The password itself.
    Plain(Secret),
    /// `md5` and 32 hexadecimal digits.
    Md5(Secret),
    /// `SCRAM-SHA-256$iterations:salt$stored_key:server_key`.
    Scram(Secret),
}

impl Stored {
    /// Tells the form of a secret from its text.
    ///
    /// A text that begins as a SCRAM secret and is none is [`Stored::Nothing`]: taken for a
    /// plain password, it would be one that everybody who reads the file knows.
    pub fn from_text(text: &str) -> Stored {
        if text.is_empty() {
            return Stored::Nothing;
        }
        if let Some(rest) = text.strip_prefix("SCRAM-SHA-256$") {
            if is_scram(rest) {
                return Stored::Scram(Secret::from(text));
            }
            return Stored::Nothing;
        }
        if let Some(digits) = text.strip_prefix("md5")
            && digits.len() == 32
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Stored::Md5(Secret::from(text));
        }
        Stored::Plain(Secret::from(text))
    }
}

/// Checks `iterations:salt$stored_key:server_key`; the keys are 32 bytes each, in base64.
fn is_scram(text: &str) -> bool {
    let Some((parameters, keys)) = text.split_once('$') else {
        return false;
    };
    let Some((iterations, salt)) = parameters.split_once(':') else {
        return false;
    };
    let Some((stored_key, server_key)) = keys.split_once(':') else {
        return false;
    };
    let is_key = |key: &str| key.len() == 44 && key.ends_with('=') && is_base64(key);
    iterations.bytes().all(|byte| byte.is_ascii_digit())
        && iterations.parse::<u32>().is_ok_and(|iterations| iterations > 0)
        && !salt.is_empty()
        && is_base64(salt)
        && is_key(stored_key)
        && is_key(server_key)
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - digits.len() <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
}

/// The users of an auth_file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Userlist {
    users: BTreeMap<String, Stored>,
}

/// What a text gave: the users up to the first thing that is wrong, and that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The users.
    pub users: Userlist,
    /// Why reading stopped early.
    pub broken: Option<Broken>,
    /// Users whose secret is in a broken form, with their lines; they cannot log in.
    pub unusable: Vec<(u32, String)>,
}

/// Why the rest of an auth_file was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken auth file: line {line}: {flaw}")]
pub struct Broken {
    /// The line, counted from 1.
    pub line: u32,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What can be wrong with a line of an auth_file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Neither a user nor a comment.
    #[error("expected \"user\" \"secret\"")]
    Form,
    /// A quote without its end.
    #[error("a quote is not closed on its line")]
    Quote,
    /// Not UTF-8.
    #[error("not valid UTF-8")]
    Encoding,
    /// A NUL byte, which no user name on the wire can hold.
    #[error("contains a NUL byte")]
    Nul,
    /// Longer than [`USER_MAX`].
    #[error("username too long in auth file")]
    LongUser,
    /// Longer than [`SECRET_MAX`].
    #[error("password too long in auth file")]
    LongSecret,
}

impl Userlist {
    /// Returns a user's secret.
    pub fn get(&self, user: &str) -> Option<&Stored> {
        self.users.get(user)
    }

    /// Returns the users in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Stored)> {
        self.users.iter().map(|(user, stored)| (user.as_str(), stored))
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read. A file that is read and broken is no error but a
    /// [`Parsed::broken`].
    pub fn read(path: &Path) -> std::io::Result<Parsed> {
        let bytes = zeroize::Zeroizing::new(std::fs::read(path)?);
        Ok(Self::parse(&bytes))
    }

    /// Reads a text; of two lines for one user the later wins.
    pub fn parse(bytes: &[u8]) -> Parsed {
        let mut parsed = Parsed { users: Userlist::default(), broken: None, unusable: Vec::new() };
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
            match user_line(line.trim_ascii()) {
                Ok(None) => {}
                Ok(Some((user, secret))) => {
                    let stored = Stored::from_text(secret.reveal());
                    if stored == Stored::Nothing && !secret.reveal().is_empty() {
                        parsed.unusable.push((number, user.clone()));
                    }
                    parsed.users.users.insert(user, stored);
                }
                Err(flaw) => {
                    parsed.broken = Some(Broken { line: number, flaw });
                    break;
                }
            }
        }
        parsed
    }
}

/// Reads `"user" "secret" ...`; `None` for a line without a user.
fn user_line(line: &[u8]) -> Result<Option<(String, Secret)>, Flaw> {
    if line.is_empty() || line.starts_with(b";") {
        return Ok(None);
    }
    let line = std::str::from_utf8(line).map_err(|_| Flaw::Encoding)?;
    if line.contains('\0') {
        return Err(Flaw::Nul);
    }
    let (user, rest) = quoted(line)?;
    let (secret, _) = quoted(rest.trim_start())?;
    if user.len() > USER_MAX {
        return Err(Flaw::LongUser);
    }
    if secret.len() > SECRET_MAX {
        return Err(Flaw::LongSecret);
    }
    Ok(Some((user, Secret::from(secret))))
}

/// Reads one quoted text, a doubled quote standing for itself; returns what follows it.
fn quoted(text: &str) -> Result<(String, &str), Flaw> {
    let mut rest = text.strip_prefix('"').ok_or(Flaw::Form)?;
    let mut value = String::new();
    loop {
        let (before, after) = rest.split_once('"').ok_or(Flaw::Quote)?;
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

/// Entry point for the fuzzers: any bytes are a list of users.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let parsed = Userlist::parse(bytes);
    for (user, stored) in parsed.users.iter() {
        assert!(user.len() <= USER_MAX);
        let shown = format!("{stored:?}");
        assert!(["Nothing", "Plain(***)", "Md5(***)", "Scram(***)"].contains(&shown.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MD5: &str = "md5d41d8cd98f00b204e9800998ecf8427e";
    const SCRAM: &str = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0MTIzNA==$\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    #[test]
    fn the_form_of_a_secret_is_told_from_its_text() {
        let secret = |text: &str| Secret::from(text);
        for (text, stored) in [
            ("", Stored::Nothing),
            ("pw", Stored::Plain(secret("pw"))),
            ("md5", Stored::Plain(secret("md5"))),
            ("md5xyz1d8cd98f00b204e9800998ecf84zz", {
                Stored::Plain(secret("md5xyz1d8cd98f00b204e9800998ecf84zz"))
            }),
            (MD5, Stored::Md5(secret(MD5))),
            (SCRAM, Stored::Scram(secret(SCRAM))),
            ("SCRAM-SHA-256$4096:c2FsdA==$short:short", Stored::Nothing),
            ("SCRAM-SHA-256$", Stored::Nothing),
        ] {
            assert_eq!(Stored::from_text(text), stored, "{text}");
        }
    }

    #[test]
    fn users_are_read_line_by_line_and_the_later_wins() {
        let text = "; a comment\n\n\"a\" \"1\"\r\n  \"b\"\"c\" \"x\"\"y\" more\n\
            \"a\" \"2\"\n\"d\"\"\"\"\"\n";
        let parsed = Userlist::parse(text.as_bytes());
        assert_eq!(parsed.broken, Some(Broken { line: 6, flaw: Flaw::Form }));
        let users: Vec<(&str, &str)> = parsed
            .users
            .iter()
            .map(|(user, stored)| match stored {
                Stored::Plain(secret) => (user, secret.reveal()),
                _ => (user, ""),
            })
            .collect();
        assert_eq!(users, [("a", "2"), ("b\"c", "x\"y")]);
    }

    #[test]
    fn reading_stops_at_the_first_line_that_is_none() {
        for (text, flaw) in [
            ("bob secret", Flaw::Form),
            ("# comment", Flaw::Form),
            ("\"bob\"", Flaw::Form),
            ("\"bob\" secret", Flaw::Form),
            ("\"bob\" \"secret", Flaw::Quote),
            ("\"bob", Flaw::Quote),
            ("\"b\0b\" \"x\"", Flaw::Nul),
        ] {
            let text = format!("\"a\" \"1\"\n{text}\n\"z\" \"1\"");
            let parsed = Userlist::parse(text.as_bytes());
            assert_eq!(parsed.broken, Some(Broken { line: 2, flaw }), "{text}");
            assert!(parsed.users.get("a").is_some() && parsed.users.get("z").is_none());
        }
        let long = format!("\"{}\" \"x\"", "u".repeat(128));
        let broken = Userlist::parse(long.as_bytes()).broken.expect("the name is too long");
        assert_eq!(broken.to_string(), "broken auth file: line 1: username too long in auth file");
        let long = format!("\"u\" \"{}\"", "p".repeat(SECRET_MAX + 1));
        let broken = Userlist::parse(long.as_bytes()).broken.expect("the secret is too long");
        assert_eq!(broken.flaw, Flaw::LongSecret);
        assert_eq!(Userlist::parse(b"\xff").broken.map(|b| b.flaw), Some(Flaw::Encoding));
    }

    #[test]
    fn a_broken_scram_secret_is_named_and_lets_nobody_in() {
        let parsed = Userlist::parse(b"\"a\" \"SCRAM-SHA-256$oops\"");
        assert_eq!(parsed.users.get("a"), Some(&Stored::Nothing));
        assert_eq!(parsed.unusable, [(1, "a".to_owned())]);
    }

    #[test]
    fn no_secret_shows_itself() {
        let text = "\"a\" \"canary-4711\"";
        let parsed = Userlist::parse(text.as_bytes());
        assert!(!format!("{parsed:?}").contains("canary"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            fuzz(&bytes);
        }

        #[test]
        fn any_text_of_the_right_letters_is_read(text in "[\"; a\n\r\0é]{0,40}") {
            fuzz(text.as_bytes());
        }

        #[test]
        fn a_user_written_is_a_user_read(
            user in "[^\\n\\r\0]{1,20}",
            secret in "[^\\n\\r\0]{1,20}",
        ) {
            let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            let line = format!("{} {}", quote(&user), quote(&secret));
            let parsed = Userlist::parse(line.as_bytes());
            prop_assert_eq!(parsed.broken, None);
            prop_assert_eq!(parsed.users.get(&user), Some(&Stored::from_text(&secret)));
        }
    }
}
