//! The environment: `HEADPOND_` and the path of a key, with `__` between the levels.
//!
//! ```text
//! HEADPOND_POOL_MODE                        a key of [pooler], or of [headpond]
//! HEADPOND_POOLER__POOL_MODE                the same, spelt out
//! HEADPOND_HTTP__LISTEN                     a key of [http]
//! HEADPOND_DATABASES__MAIN                  a whole entry: a url or a connection string
//! HEADPOND_DATABASES__MAIN__HOST            one key of an entry
//! HEADPOND_DATABASES__MAIN__PASSWORD_FILE   a secret, read from this file
//! HEADPOND_DATABASE                         the url of an entry named after its database
//! OTEL_EXPORTER_OTLP_ENDPOINT               OpenTelemetry's own: a key of [otlp]
//! ```
//!
//! Invariant: what stands here wins over the file; a name that starts so and means nothing is
//! an error, because it was meant to mean something. The variables of others are the other way
//! round: the file wins over them, and what makes no sense is named and left alone.

use std::collections::BTreeMap;
use std::path::Path;

use headpond_monitor::otlp;

use super::ReadFile;
use super::assemble::Assembly;
use super::error::{Place, Problem};
use super::nearest::nearest;
use super::table::Section;

const PREFIX: &str = "HEADPOND_";
const LEVEL: &str = "__";
const FILE: &str = "_FILE";

/// Names that others read: the command line, the tests and the measurements.
const FOREIGN: [&str; 5] = [
    "HEADPOND_CONFIG",
    "HEADPOND_URL",
    "HEADPOND_CONSOLE",
    "HEADPOND_HTTP_URL",
    "HEADPOND_TOKEN_FILE",
];
const FOREIGN_PREFIXES: [&str; 4] =
    ["HEADPOND_TEST_", "HEADPOND_SIM_", "HEADPOND_FUZZ_", "HEADPOND_BENCH_"];

/// Variables of others that mean something to us.
const AMBIENT: [&str; 4] = ["HOME", "USER", "PGUSER", "PGPASSWORD"];

/// The variables that concern us, taken once at the start.
#[derive(Clone, Default)]
pub struct Env {
    ours: BTreeMap<String, String>,
    ambient: BTreeMap<String, String>,
    undecodable: Vec<String>,
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be passwords.
        f.debug_list().entries(self.ours.keys()).finish()
    }
}

impl Env {
    /// Returns an environment without variables.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Takes the variables of this process.
    pub fn from_process() -> Self {
        let mut env = Self::default();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => env.insert(name, value),
                Err(_) if name.starts_with(PREFIX) => env.undecodable.push(name),
                Err(_) => {}
            }
        }
        env
    }

    /// Takes these variables.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut env = Self::default();
        for (name, value) in pairs {
            env.insert(name.to_owned(), value.to_owned());
        }
        env
    }

    fn insert(&mut self, name: String, value: String) {
        let name_text = name.as_str();
        if AMBIENT.contains(&name_text) || otlp::VARIABLES.contains(&name_text) {
            self.ambient.insert(name, value);
        } else if name.starts_with(PREFIX)
            && !FOREIGN.contains(&name.as_str())
            && !FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        {
            self.ours.insert(name, value);
        }
    }

    #[cfg(test)]
    pub(super) fn pairs_for_tests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ours.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn home(&self) -> Option<&str> {
        self.ambient("HOME")
    }

    pub(super) fn ambient(&self, name: &str) -> Option<&str> {
        self.ambient.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Sets what the variables say.
    pub(super) fn apply(&self, read: ReadFile<'_>, assembly: &mut Assembly) {
        for said in otlp::standard(|name| self.ambient(name).map(str::to_owned)) {
            assembly.set_unless_written(Section::Otlp, said.key, &said.text, said.variable);
        }
        for name in &self.undecodable {
            assembly.error(Place::Environment(name.clone()), Problem::Encoding, None);
        }
        for (name, value) in &self.ours {
            self.variable(name, value, read, assembly);
        }
    }

    fn variable(&self, name: &str, value: &str, read: ReadFile<'_>, assembly: &mut Assembly) {
        let place = Place::Environment(name.to_owned());
        let path = name.strip_prefix(PREFIX).unwrap_or(name);
        if let Some(target) = Target::find(path) {
            target.set(value, place, assembly);
            return;
        }
        let secret = path.strip_suffix(FILE).and_then(|path| Some((path, Target::find(path)?)));
        let Some((path, target)) = secret.filter(|(_, target)| target.may_be_secret()) else {
            let meant = Target::nearest(path).map(|path| format!("{PREFIX}{path}"));
            assembly.error(place, Problem::UnknownVariable, meant);
            return;
        };
        let plain = format!("{PREFIX}{path}");
        if self.ours.contains_key(&plain) {
            assembly.error(place, Problem::VariableTwice(plain), None);
            return;
        }
        match read_secret(Path::new(value), read) {
            Ok(secret) => target.set(&secret, place, assembly),
            Err(problem) => assembly.error(place, problem, None),
        }
    }
}

/// Reads a file that holds one secret; a line's end after it is not part of it.
fn read_secret(path: &Path, read: ReadFile<'_>) -> Result<String, Problem> {
    let bytes = read(path).map_err(|error| Problem::Unreadable {
        path: path.display().to_string(),
        kind: error.kind(),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| Problem::Encoding)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// What a variable sets.
enum Target {
    /// A key of a section without entries.
    Key(Section, &'static str),
    /// A key of an entry, which is named as the variable spells it.
    EntryKey(Section, String, &'static str),
    /// A whole entry.
    Entry(Section, String),
    /// A database under its own name.
    Database,
}

impl Target {
    /// Finds what the part of a name after the prefix means.
    fn find(path: &str) -> Option<Target> {
        let lower = path.to_ascii_lowercase();
        let Some((head, rest)) = path.split_once(LEVEL) else {
            if lower == "database" {
                return Some(Target::Database);
            }
            return [Section::Pooler, Section::Native]
                .into_iter()
                .find_map(|section| Some(Target::Key(section, section.key(&lower)?.name)));
        };
        let section = section_named(head)?;
        if !section.has_entries() {
            return Some(Target::Key(section, section.key(&rest.to_ascii_lowercase())?.name));
        }
        match rest.rsplit_once(LEVEL) {
            None if rest.is_empty() => None,
            None => Some(Target::Entry(section, rest.to_owned())),
            Some((name, key)) => {
                let key = key.to_ascii_lowercase();
                if section == Section::Database && key == "url" {
                    return Some(Target::Entry(section, name.to_owned()));
                }
                let key = section.key(&key)?.name;
                Some(Target::EntryKey(section, name.to_owned(), key))
            }
        }
    }

    /// Returns the path that was probably meant.
    fn nearest(path: &str) -> Option<String> {
        let meant = match path.split_once(LEVEL) {
            None => {
                let keys = Section::Pooler.keys().iter().chain(Section::Native.keys());
                nearest(path, keys.map(|key| key.name))?.to_owned()
            }
            Some((head, rest)) => {
                let heads = [
                    "pooler",
                    "http",
                    "alerts",
                    "history",
                    "otlp",
                    "rules",
                    "headpond",
                    "databases",
                    "users",
                    "peers",
                ];
                let head = nearest(head, heads.into_iter())?;
                let section = section_named(head)?;
                let (entry, key) = match rest.rsplit_once(LEVEL) {
                    Some((entry, key)) => (format!("{entry}{LEVEL}"), key),
                    None if rest.is_empty() => return None,
                    None if section.has_entries() => (rest.to_owned(), ""),
                    None => (String::new(), rest),
                };
                let key = match key {
                    "" => "",
                    key => nearest(key, section.keys().iter().map(|key| key.name))?,
                };
                format!("{head}{LEVEL}{entry}{key}")
            }
        };
        Some(meant.to_ascii_uppercase())
    }

    fn may_be_secret(&self) -> bool {
        match self {
            Target::Key(section, key) | Target::EntryKey(section, _, key) => {
                section.key(key).is_some_and(|row| row.is_secret)
            }
            Target::Entry(section, _) => *section == Section::Database,
            Target::Database => true,
        }
    }

    fn set(&self, value: &str, place: Place, assembly: &mut Assembly) {
        match self {
            Target::Key(section, key) => assembly.set(*section, "", key, value, place),
            Target::EntryKey(section, name, key) => {
                let name = entry_name(*section, name, assembly);
                assembly.set(*section, &name, key, value, place);
            }
            Target::Entry(section, name) => {
                let name = entry_name(*section, name, assembly);
                super::ini::entry(*section, &name, value, &place, assembly);
            }
            Target::Database => super::url::named_after_itself(value, &place, assembly),
        }
    }
}

/// Variables are written in capitals: an entry is the one that exists under any spelling, else
/// its name is all small letters.
fn entry_name(section: Section, name: &str, assembly: &Assembly) -> String {
    assembly.entry_named(section, name).unwrap_or_else(|| name.to_ascii_lowercase())
}

fn section_named(head: &str) -> Option<Section> {
    Some(match head.to_ascii_lowercase().as_str() {
        "pooler" | "pgbouncer" => Section::Pooler,
        "http" => Section::Http,
        "alerts" => Section::Alerts,
        "history" => Section::History,
        "otlp" => Section::Otlp,
        "rules" => Section::Rule,
        "headpond" => Section::Native,
        "databases" => Section::Database,
        "users" => Section::User,
        "peers" => Section::Peer,
        _ => return None,
    })
}
