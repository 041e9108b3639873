//! Everything beside the connection string that may hold a value: service file, environment,
//! password file.
//!
//! Invariant: what is explicit wins, then the service file, then the environment, then the
//! password file (for the password only), then the default.
//! Left out: parsing values (`read.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{ConfigError, Origin};
use super::keys::{self, KEYS, Kind};
use super::url::Pair;
use crate::options::option;

/// What the process knows beside the connection string.
#[derive(Clone)]
pub struct Environment {
    variables: Arc<Variables>,
}

type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

impl Environment {
    /// Takes the variables of this process.
    #[must_use]
    pub fn process() -> Self {
        Self { variables: Arc::new(|name| std::env::var(name).ok()) }
    }

    /// Takes only these variables.
    #[must_use]
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let variables: BTreeMap<String, String> = variables.into_iter().map(own).collect();
        Self { variables: Arc::new(move |name| variables.get(name).cloned()) }
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.variables)(name)
    }

    pub(super) fn home(&self) -> Option<PathBuf> {
        self.variable("HOME").map(PathBuf::from)
    }

    /// Returns the name of the account under which the process runs.
    pub(super) fn user(&self) -> Option<String> {
        self.variable("USER").or_else(|| self.variable("LOGNAME")).or_else(account)
    }
}

#[cfg(unix)]
fn account() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let uid = fs::metadata("/proc/self").ok()?.uid().to_string();
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let mut entries = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let entry = entries.find(|entry| entry.get(2) == Some(&uid.as_str()))?;
    entry.first().map(|name| (*name).to_owned())
}

#[cfg(not(unix))]
fn account() -> Option<String> {
    None
}

/// A value and where it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// All values by name.
pub(super) type Values = BTreeMap<&'static str, Value>;

/// Puts all sources together but the password file.
pub(super) fn gather(
    explicit: Vec<Pair>,
    environment: &Environment,
) -> Result<Values, ConfigError> {
    let mut values = Values::new();
    for pair in explicit {
        add(&mut values, pair, Later::Wins)?;
    }
    let asked = values.get("service").cloned().or_else(|| {
        let text = environment.variable("PGSERVICE")?;
        Some(Value { text, origin: Origin::Environment("PGSERVICE") })
    });
    if let Some(service) = asked {
        let file = values.get("servicefile").map(|file| PathBuf::from(&file.text));
        for pair in service_file(&service, file, environment)? {
            add(&mut values, pair, Later::Loses)?;
        }
    }
    for key in KEYS {
        let Some(variable) = key.variable else { continue };
        let Some(text) = environment.variable(variable) else { continue };
        if text.is_empty() && key.name != "options" {
            continue;
        }
        let origin = Origin::Environment(variable);
        add(&mut values, Pair { key: key.name.to_owned(), value: text, origin }, Later::Loses)?;
    }
    Ok(values)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Later {
    Wins,
    Loses,
}

fn add(values: &mut Values, pair: Pair, later: Later) -> Result<(), ConfigError> {
    let Pair { key, value: text, origin } = pair;
    let Some(known) = keys::find(&key) else {
        match option(&key) {
            Some((name, Some(_), _)) => put(values, name, Value { text, origin }, later),
            // Accepted for those who switch.
            Some((_, None, _)) => {}
            None => {
                let nearest = keys::nearest_key(&key);
                return Err(ConfigError::UnknownKey { key, origin, nearest });
            }
        }
        return Ok(());
    };
    match known.kind {
        Kind::Ignored => return Ok(()),
        Kind::Refused(harmless) => {
            return if harmless.contains(&text.as_str()) {
                Ok(())
            } else {
                Err(ConfigError::Unsupported { key: known.name, origin })
            };
        }
        Kind::Honoured | Kind::Secret => {}
    }
    put(values, known.name, Value { text, origin }, later);
    Ok(())
}

fn put(values: &mut Values, name: &'static str, value: Value, later: Later) {
    if later == Later::Wins || !values.contains_key(name) {
        values.insert(name, value);
    }
}

fn service_file(
    service: &Value,
    file: Option<PathBuf>,
    environment: &Environment,
) -> Result<Vec<Pair>, ConfigError> {
    let named = file.or_else(|| environment.variable("PGSERVICEFILE").map(PathBuf::from));
    let mut paths: Vec<PathBuf> = Vec::new();
    match named {
        Some(path) => paths.push(path),
        None => paths.extend(environment.home().map(|home| home.join(".pg_service.conf"))),
    }
    let system = environment.variable("PGSYSCONFDIR").map(PathBuf::from);
    paths.extend(system.map(|folder| folder.join("pg_service.conf")));
    let mut looked = Vec::new();
    for path in paths {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(ConfigError::File { path, source }),
        };
        if let Some(pairs) = section(&text, &service.text, &path)? {
            return Ok(pairs);
        }
        looked.push(path);
    }
    let (service, origin) = (service.text.clone(), service.origin.clone());
    Err(ConfigError::NoService { service, origin, looked })
}

fn section(text: &str, wanted: &str, path: &Path) -> Result<Option<Vec<Pair>>, ConfigError> {
    let mut found: Option<Vec<Pair>> = None;
    let mut inside = false;
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        let wrong = |problem| ConfigError::Line { path: path.to_owned(), line, problem };
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if let Some(name) = content.strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or_else(|| wrong("a section has no ]"))?;
            if found.is_some() {
                break;
            }
            inside = name == wanted;
            if inside {
                found = Some(Vec::new());
            }
            continue;
        }
        if !inside {
            continue;
        }
        let (key, value) =
            content.split_once('=').ok_or_else(|| wrong("a line must be name=value"))?;
        if key == "service" {
            return Err(wrong("a service cannot refer to another"));
        }
        let origin = Origin::Service { path: path.to_owned(), line };
        let pair = Pair { key: key.to_owned(), value: value.to_owned(), origin };
        found.get_or_insert_with(Vec::new).push(pair);
    }
    Ok(found)
}

/// Whose password is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Login<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// A password file that was read.
#[derive(Clone, Default)]
pub(super) struct PasswordFile(String);

impl PasswordFile {
    /// Reads the file; others than its owner must not be able to, or it is left alone.
    pub(super) fn read(named: Option<&str>, environment: &Environment) -> Self {
        let home = || environment.home().map(|home| home.join(".pgpass"));
        let Some(path) = named.map(PathBuf::from).or_else(home) else { return Self::default() };
        let Ok(metadata) = fs::metadata(&path) else { return Self::default() };
        if !is_private(&metadata) {
            tracing::warn!(path = %path.display(), "password file ignored: it must have mode 0600");
            return Self::default();
        }
        Self(fs::read_to_string(&path).unwrap_or_default())
    }

    /// Returns the first password that fits.
    pub(super) fn find(&self, login: Login<'_>) -> Option<String> {
        let port = login.port.to_string();
        let wanted = [login.host, &port, login.database, login.user];
        self.0.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
            let fields = fields(line);
            let (password, names) = fields.split_last().filter(|(_, names)| names.len() == 4)?;
            let fits = |(name, wanted): (&String, &str)| name == "*" || name == wanted;
            names.iter().zip(wanted).all(fits).then(|| password.clone())
        })
    }
}

#[cfg(unix)]
fn is_private(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.is_file() && metadata.permissions().mode() & 0o077 == 0
}

#[cfg(not(unix))]
fn is_private(metadata: &fs::Metadata) -> bool {
    metadata.is_file()
}

/// Splits `host:port:database:user:password`, where `\` escapes.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            // Further colons belong to the password.
            ':' if last < 4 => fields.push(String::new()),
            '\\' => fields[last].extend(chars.next()),
            c => fields[last].push(c),
        }
    }
    fields
}
