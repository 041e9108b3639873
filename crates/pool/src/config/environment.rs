//! What the environment says: the variables of the table, and `HEADPOND_…`.
//!
//! ```text
//! HEADPOND_DATABASES__MAIN                  the URL of a database
//! HEADPOND_DATABASES__MAIN__POOL__MAX       a key of a database
//! HEADPOND_DATABASES__MAIN__URL_FILE        a secret, read from this file
//! HEADPOND_MONITORING__ENABLED              a key of all together
//! ```
//!
//! Invariant: `HEADPOND_` with two levels means something, or is an error; of the poolers' own
//! sections nothing is read.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::Path;

use super::Note;
use super::error::Problem;
use super::kind::Kind;
use super::merge::{About, Heard, Keyed, Said, find, is_name};
use super::origin::{Layer, Origin};
use super::secret::Secret;
use super::table::GENERAL;
use super::variables::{NAME, Part, To, VARIABLES, Variable, Whose, capital, name_in};
use super::vars::Vars;
use crate::options::nearest::nearest;
use crate::options::{Bare, Invalid, flag};

const PREFIX: &str = "HEADPOND_";
const LEVEL: &str = "__";
const FILE: &str = "_FILE";
const MAIN: &str = "main";

/// Levels that mean something to the pooler only.
const FOREIGN: [&str; 5] = ["HTTP", "POOLER", "USERS", "PEERS", "HEADPOND"];

type Read<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

struct Reader<'a> {
    vars: &'a Vars,
    read: Read<'a>,
    heard: &'a mut Heard,
    /// Names of databases that the file has, by how they stand in variables.
    known: BTreeMap<String, String>,
    parts: BTreeMap<(Kind, String), Parts>,
}

/// A URL in parts.
#[derive(Default)]
struct Parts {
    host: Option<(Secret, Origin)>,
    port: Option<Secret>,
    user: Option<Secret>,
    password: Option<Secret>,
    database: Option<Secret>,
}

pub(super) fn read(vars: &Vars, read: Read<'_>, heard: &mut Heard) {
    let named = heard.said.iter().filter_map(|said| match &said.about {
        About::Named(name) => Some((capital(name), name.clone())),
        _ => None,
    });
    let known = named.collect();
    let mut reader = Reader { vars, read, heard, known, parts: BTreeMap::new() };
    for row in VARIABLES {
        if row.name.contains(NAME) {
            reader.pattern(row);
        } else {
            reader.plain(row);
        }
    }
    reader.join_parts();
    reader.pgbouncer();
    reader.pgbouncer_admin();
    reader.own();
}

impl Reader<'_> {
    /// Returns the value of a variable, or of the file that it names with `_FILE`.
    fn value(&mut self, name: &str) -> Option<(Secret, Origin)> {
        let filed = format!("{name}{FILE}");
        let path = self.vars.get(&filed);
        match (self.vars.get(name), path) {
            (Some(_), Some(_)) => {
                let problem = Problem::Both { variable: name.to_owned() };
                self.heard.error(Origin::variable(&filed), problem, None);
                None
            }
            (Some(value), None) => Some((Secret::from(value), Origin::variable(name))),
            (None, Some(path)) => {
                let place = Origin::variable(&filed);
                match (self.read)(Path::new(path)) {
                    Ok(text) => Some((Secret::from(text.trim_end_matches(['\r', '\n'])), place)),
                    Err(error) => {
                        let (path, kind) = (path.to_owned(), error.kind());
                        self.heard.error(place, Problem::Unreadable { path, kind }, None);
                        None
                    }
                }
            }
            (None, None) => None,
        }
    }

    fn plain(&mut self, row: &Variable) {
        let Some((text, place)) = self.value(row.name) else { return };
        let about = match row.whose {
            Whose::General => About::All,
            Whose::Sql => About::Sql,
            Whose::Kind(kind) => About::Kind(kind),
            Whose::Main | Whose::Any | Whose::Named(_) => About::Named(MAIN.to_owned()),
        };
        let layer = match row.whose {
            Whose::Kind(_) => Layer::VariableKind,
            _ => Layer::VariableSql,
        };
        let name = match row.whose {
            Whose::Kind(kind) => kind.as_str(),
            _ => MAIN,
        };
        self.say(row, (about, layer), (text, place), name);
    }

    fn pattern(&mut self, row: &Variable) {
        let vars = self.vars;
        for variable in vars.names() {
            if variable.starts_with(PREFIX) {
                continue;
            }
            let secret = matches!(row.to, To::Url | To::Part(_));
            let bare = variable.strip_suffix(FILE).filter(|_| secret).unwrap_or(variable);
            let Some(name) = name_in(row.name, bare) else { continue };
            // `MYSQL_DATABASE_URL` is the URL of a database, not of one that is called so.
            if matches!(name, "DATABASE" | "POOL") {
                continue;
            }
            let Some((text, place)) = self.value(bare) else { continue };
            let name = self.name(name);
            let about = match row.whose {
                Whose::Named(kind) => About::Maybe(name.clone(), kind),
                _ => About::Named(name.clone()),
            };
            self.say(row, (about, Layer::VariableNamed), (text, place), &name);
        }
    }

    fn say(
        &mut self,
        row: &Variable,
        (about, layer): (About, Layer),
        (text, place): (Secret, Origin),
        name: &str,
    ) {
        let bare = row.bare;
        let mut push = |about, key, layer| {
            let (text, place) = (text.clone(), place.clone());
            self.heard.said.push(Said { about, key, text, bare, layer, place });
        };
        match row.to {
            To::Key(key) => push(about, Keyed::Key(key), layer),
            To::General(key) => push(About::All, Keyed::General(key), layer),
            To::Url => push(About::Named(name.to_owned()), Keyed::Url, layer),
            To::Part(part) => {
                let kind = match row.whose {
                    Whose::Kind(kind) | Whose::Named(kind) => kind,
                    _ => return,
                };
                let parts = self.parts.entry((kind, name.to_owned())).or_default();
                match part {
                    Part::Host => parts.host = Some((text, place)),
                    Part::Port => parts.port = Some(text),
                    Part::User => parts.user = Some(text),
                    Part::Password => parts.password = Some(text),
                    Part::Database => parts.database = Some(text),
                }
            }
            To::Nothing(why) => self.heard.notes.push(Note { place, why }),
            // Those are looked at together.
            To::UsePgbouncer | To::PgbouncerUrl | To::PgbouncerAdminUrl => {}
        }
    }

    /// Returns a database's name by how it stands in a variable.
    fn name(&self, capital: &str) -> String {
        self.known.get(capital).cloned().unwrap_or_else(|| capital.to_ascii_lowercase())
    }

    /// Makes URLs of hosts, users and passwords that stand in variables of their own.
    fn join_parts(&mut self) {
        for ((kind, name), parts) in std::mem::take(&mut self.parts) {
            // Without a host these are somebody else's: MYSQL_ROOT_PASSWORD is the server's.
            let Some((host, place)) = &parts.host else { continue };
            let url = Secret::from(joined(kind, host.reveal(), &parts));
            let about = About::Named(name);
            // A URL says more than its parts.
            let layer = Layer::VariableUrl;
            let (text, place, bare) = (url, place.clone(), Bare::Refused);
            self.heard.said.push(Said { about, key: Keyed::Url, text, bare, layer, place });
        }
    }

    fn pgbouncer(&mut self) {
        let Some((wanted, place)) = self.value("USE_PGBOUNCER") else { return };
        let wanted = match flag(wanted.reveal()) {
            Ok(wanted) => wanted,
            Err(invalid) => {
                self.heard.error(place, Problem::Value { key: "USE_PGBOUNCER", invalid }, None);
                return;
            }
        };
        if !wanted {
            return;
        }
        let Some((url, place)) = self.value("PGBOUNCER_URL") else {
            let problem = Problem::Value { key: "PGBOUNCER_URL", invalid: Invalid::Scheme };
            self.heard.error(place, problem, None);
            return;
        };
        // As Prisma says it: the adapter of PostgreSQL wants to know what it talks to.
        let mut url = url.reveal().to_owned();
        if !url.contains("pgbouncer=") {
            url.push_str(if url.contains('?') { "&" } else { "?" });
            url.push_str("pgbouncer=true");
        }
        let url = Secret::from(url);
        let main = || About::Named(MAIN.to_owned());
        let none = Secret::from("0");
        for (about, key, text) in [
            (main(), Keyed::Url, url.clone()),
            (main(), Keyed::Key("statement_cache"), none),
            (About::All, Keyed::Pgbouncer, url),
        ] {
            let (bare, layer, place) = (Bare::Refused, Layer::VariableNamed, place.clone());
            self.heard.said.push(Said { about, key, text, bare, layer, place });
        }
    }

    fn pgbouncer_admin(&mut self) {
        let key = "PGBOUNCER_ADMIN_URL";
        let Some((text, place)) = self.value(key) else { return };
        let is_postgres = Kind::of_url(text.reveal()) == Some(Kind::Postgres);
        if !is_postgres {
            let problem = Problem::Value { key, invalid: Invalid::Scheme };
            self.heard.error(place, problem, None);
            return;
        }
        let (about, key, bare) = (About::All, Keyed::PgbouncerAdmin, Bare::Refused);
        self.heard.said.push(Said { about, key, text, bare, layer: Layer::VariableNamed, place });
    }

    /// Reads `HEADPOND_…`.
    fn own(&mut self) {
        let vars = self.vars;
        for variable in vars.names() {
            let Some(path) = variable.strip_prefix(PREFIX) else { continue };
            let base = path.strip_suffix(FILE).unwrap_or(path);
            let levels: Vec<&str> = base.split(LEVEL).collect();
            match levels.as_slice() {
                ["DATABASES", name, rest @ ..] if !name.is_empty() => {
                    let key = rest.join(".").to_ascii_lowercase();
                    let key = if key.is_empty() { "url" } else { &key };
                    let name = self.name(name);
                    let place = Origin::variable(variable);
                    if !is_name(&name) {
                        self.heard.error(place, Problem::Name, None);
                        continue;
                    }
                    let Some((text, place)) = self.value(&format!("{PREFIX}{base}")) else {
                        continue;
                    };
                    let path = format!("databases.{name}.{key}");
                    self.heard.say(&path, text, Layer::VariableOwn, place);
                }
                [one] => self.general(variable, one),
                [first, ..] if FOREIGN.contains(first) => {}
                _ => self.general(variable, path),
            }
        }
    }

    fn general(&mut self, variable: &str, path: &str) {
        let key = path.replace(LEVEL, ".").to_ascii_lowercase();
        if let Some(row) = find(GENERAL, &key) {
            if let Some((text, place)) = self.value(variable) {
                self.heard.say(row.name, text, Layer::VariableOwn, place);
            }
            return;
        }
        let spelt = |name: &str| format!("{PREFIX}{}", name.replace('.', LEVEL).to_uppercase());
        let nearest = nearest(&key, GENERAL.iter().map(|row| row.name)).map(spelt);
        let nearest = nearest.or_else(|| {
            let first = path.split(LEVEL).next()?.to_ascii_lowercase();
            crate::options::nearest::nearest(&first, ["databases"].into_iter())?;
            let rest = path.split_once(LEVEL)?.1;
            Some(format!("{PREFIX}DATABASES{LEVEL}{rest}"))
        });
        // A single word that is like none of ours is somebody else's.
        let foreign = ["profile", "config", "url", "console", "database"].contains(&key.as_str());
        if !foreign && (nearest.is_some() || path.contains(LEVEL)) {
            let name = super::error::shown(variable);
            self.heard.error(Origin::variable(variable), Problem::Unknown { name }, nearest);
        }
    }
}

fn joined(kind: Kind, host: &str, parts: &Parts) -> String {
    let scheme = match kind {
        Kind::Redis => "redis",
        Kind::Mysql => "mysql",
        other => other.as_str(),
    };
    let part = |part: &Option<Secret>| part.as_ref().map(|part| encoded(part.reveal()));
    let mut url = format!("{scheme}://");
    let (user, password) = (part(&parts.user), part(&parts.password));
    if user.is_some() || password.is_some() {
        url.push_str(&user.unwrap_or_default());
        if let Some(password) = password {
            let _ = write!(url, ":{password}");
        }
        url.push('@');
    }
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    let host = if bare_ipv6 { format!("[{host}]") } else { host.to_owned() };
    url.push_str(&host);
    if let Some(port) = part(&parts.port) {
        let _ = write!(url, ":{port}");
    }
    if let Some(database) = part(&parts.database) {
        let _ = write!(url, "/{database}");
    }
    url
}

/// Percent-encodes everything that has a meaning in URLs.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
