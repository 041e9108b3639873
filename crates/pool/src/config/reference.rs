//! The reference of all keys, options and variables, as it stands in the documentation.
//!
//! Invariant: made from the tables that the code itself uses, so that it cannot say anything else.

use std::fmt::Write;

use super::kind::Kind;
use super::profile::{Profile, VARIABLES as PROFILE_VARIABLES, kind_defaults};
use super::secret::Url;
use super::table::{DATABASE, GENERAL};
use super::variables::{Part, To, VARIABLES, Variable, Whose};
use super::{DatabaseConfig, General};
use crate::options::{Bare, OPTIONS};

/// Returns the reference in Markdown: what `docs/configuration.md` contains.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    let written = keys(&mut text)
        .and_then(|()| options(&mut text))
        .and_then(|()| variables(&mut text))
        .and_then(|()| profiles(&mut text));
    written.expect("writing to a string cannot fail");
    text
}

fn keys(text: &mut String) -> std::fmt::Result {
    let mut config = DatabaseConfig::new("main", Kind::Http, Url::default());
    config.pool = crate::Settings::default();
    let general = General::default();
    writeln!(text, "## Keys of a database\n")?;
    writeln!(text, "Below `[databases.NAME]`, beside `url`.\n")?;
    writeln!(text, "| key | takes | default | because |\n|---|---|---|---|")?;
    for key in DATABASE {
        let default = match key.name {
            "pool.max" => "cores × 2 + 4, at most 100".to_owned(),
            "pool.min" => "a quarter of max, at least 5".to_owned(),
            _ => (key.show)(&config),
        };
        let (name, takes, because) = (key.name, key.takes, key.because);
        writeln!(text, "| `{name}` | {takes} | {default} | {because} |")?;
    }
    writeln!(text, "\nKinds that differ:\n\n| kind | key | default |\n|---|---|---|")?;
    for kind in Kind::ALL {
        for (key, value) in kind_defaults(kind) {
            writeln!(text, "| {kind} | `{key}` | {value} |")?;
        }
    }
    writeln!(text, "\n## Keys of all together\n")?;
    writeln!(text, "At the top of the file, beside `profile`.\n")?;
    writeln!(text, "| key | takes | default | because |\n|---|---|---|---|")?;
    for key in GENERAL {
        let (name, takes, because) = (key.name, key.takes, key.because);
        writeln!(text, "| `{name}` | {takes} | {} | {because} |", (key.show)(&general))?;
    }
    Ok(())
}

const fn bare(bare: Bare) -> &'static str {
    match bare {
        Bare::Refused => "",
        Bare::Seconds => "s",
        Bare::Milliseconds => "ms",
    }
}

fn options(text: &mut String) -> std::fmt::Result {
    writeln!(text, "\n## Options of a URL\n")?;
    writeln!(text, "Besides, every key of a pool may be written `pool_KEY`.\n")?;
    writeln!(text, "| option | spelling of | sets | bare number |\n|---|---|---|---|")?;
    for option in OPTIONS {
        let sets = match option.key {
            Some("statement_cache") => "`statement_cache` = 0, if true".to_owned(),
            Some(key) => format!("`{key}`"),
            None => "nothing; accepted".to_owned(),
        };
        let (name, family) = (option.name, option.family);
        writeln!(text, "| `{name}` | {family} | {sets} | {} |", bare(option.bare))?;
    }
    Ok(())
}

fn variables(text: &mut String) -> std::fmt::Result {
    writeln!(text, "\n## Environment variables\n")?;
    writeln!(text, "| variable | concerns | sets | bare number |\n|---|---|---|---|")?;
    for row in VARIABLES {
        let (concerns, sets) = (concerns(row), sets(row));
        writeln!(text, "| `{}` | {concerns} | {sets} | {} |", row.name, bare(row.bare))?;
    }
    let names = PROFILE_VARIABLES.map(|name| format!("`{name}`")).join(", ");
    writeln!(text, "| {names} | all | the profile; the first that is set counts | |")
}

fn concerns(row: &Variable) -> String {
    match row.whose {
        Whose::General => "all".to_owned(),
        Whose::Sql => "every SQL database".to_owned(),
        Whose::Kind(kind) => match row.to {
            To::Url | To::Part(_) => format!("the database `{kind}`"),
            _ => format!("every {kind} database"),
        },
        Whose::Named(kind) => format!("the {kind} database of the name"),
        Whose::Any => "the database of the name".to_owned(),
        Whose::Main => "the database `main`".to_owned(),
    }
}

fn sets(row: &Variable) -> String {
    match row.to {
        To::Key(key) | To::General(key) => format!("`{key}`"),
        To::Url => "its URL; also with `_FILE`".to_owned(),
        To::Part(part) => {
            let part = match part {
                Part::Host => "host",
                Part::Port => "port",
                Part::User => "user",
                Part::Password => "password",
                Part::Database => "database",
            };
            format!("the {part} in its URL; also with `_FILE`")
        }
        To::UsePgbouncer => "whether `PGBOUNCER_URL` is used".to_owned(),
        To::PgbouncerUrl => "its URL, with `statement_cache` = 0".to_owned(),
        To::PgbouncerAdminUrl => {
            "who asks the console of that PgBouncer, and where; also with `_FILE`".to_owned()
        }
        To::Nothing(why) => format!("nothing: {why}"),
    }
}

fn profiles(text: &mut String) -> std::fmt::Result {
    writeln!(text, "\n## Profiles\n")?;
    writeln!(text, "| profile | kind | values |\n|---|---|---|")?;
    for profile in Profile::ALL {
        for kind in Kind::ALL {
            let values = profile.values(kind);
            let values = values.iter().map(|(key, value)| format!("`{key}` {value}"));
            let values = values.collect::<Vec<_>>().join(", ");
            writeln!(text, "| {profile} | {kind} | {values} |")?;
        }
    }
    Ok(())
}
