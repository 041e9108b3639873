//! Where the console of a real PgBouncer is, and who asks it: a URL.
//!
//! Invariant: a URL that is read names a host and a user, and is never printed; what it says is
//! what an entry of `[databases]` could say.
//! Not here: asking it (`service/bouncer.rs`).

use super::database::{Database, RESERVED};
use super::kind::{Invalid, Kind};
use super::url;

/// The port of a URL that names none: PgBouncer's own.
pub const DEFAULT_PORT: u16 = 6432;

/// The URL of a console; empty for none.
pub enum ConsoleUrl {}

impl Kind for ConsoleUrl {
    type Value = Option<Database>;
    const EXPECTS: &'static str = "postgres://user:password@host:6432/pgbouncer, or nothing";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Result<Option<Database>, Invalid> {
        const EXPECTED: Invalid = Invalid::Expected(ConsoleUrl::EXPECTS);
        if text.is_empty() {
            return Ok(None);
        }
        let pairs = url::parse(text).map_err(|_| EXPECTED)?;
        let mut console = Database { name: RESERVED.to_owned(), ..Database::default() };
        for (key, value) in pairs {
            console.assign(key, &value).unwrap_or(Err(EXPECTED))?;
        }
        if console.host.is_none() || console.user.is_none() {
            return Err(EXPECTED);
        }
        console.port = console.port.or(Some(DEFAULT_PORT));
        Ok(Some(console))
    }

    fn show(value: &Option<Database>) -> Option<String> {
        value.as_ref().map(|_| "***".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_read_from_its_url() {
        let url = "postgres://stats:s%40x@bouncer/pgbouncer?sslmode=require";
        let console = ConsoleUrl::parse(url).expect("valid").expect("one");
        assert_eq!((console.name.as_str(), console.server_port()), ("pgbouncer", 6432));
        assert_eq!(console.user.as_deref(), Some("stats"));
        assert_eq!(console.password.as_ref().map(|secret| secret.reveal()), Some("s@x"));
        assert!(!format!("{console:?}").contains("s@x"));
        assert_eq!(ConsoleUrl::show(&Some(console)).as_deref(), Some("***"));
        assert_eq!(ConsoleUrl::parse(""), Ok(None));
        let socket = ConsoleUrl::parse("postgres://stats@%2Frun%2Fpgbouncer:7432").expect("valid");
        assert_eq!(socket.expect("one").server_port(), 7432);
    }

    #[test]
    fn what_names_no_console_is_refused() {
        for text in [
            "bouncer:6432",
            "mysql://a@h/d",
            "postgres://bouncer:6432",
            "postgres://a@/p",
            "postgres://a@h:x/p",
            "postgres://a@h/p?nonsense=1",
        ] {
            assert!(ConsoleUrl::parse(text).is_err(), "{text}");
        }
    }
}
