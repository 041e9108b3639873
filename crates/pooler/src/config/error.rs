//! What can be wrong with a configuration, and where.
//!
//! Invariant: every error names its place, and none ever holds the value of a secret.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::kind::Invalid;
use super::table::Section;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file; lines and columns count from 1.
    File {
        /// The file as it was named.
        path: Arc<PathBuf>,
        /// The line.
        line: u32,
        /// The column, where the format gives one.
        column: Option<u32>,
    },
    /// In an environment variable.
    Environment(String),
    /// In the URL on the command line.
    Url,
    /// Nowhere: it follows from how the program was started.
    Start,
    /// On the console, by SET.
    Console,
    /// Nowhere: it is the default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line: 0, .. } => write!(f, "{}", path.display()),
            Place::File { path, line, column: None } => write!(f, "{}:{line}", path.display()),
            Place::File { path, line, column: Some(column) } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Place::Environment(name) => write!(f, "environment {name}"),
            Place::Url => f.write_str("url"),
            Place::Start => f.write_str("start"),
            Place::Console => f.write_str("console"),
            Place::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub problem: Problem,
    /// The valid name that was probably meant.
    pub nearest: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)?;
        match &self.nearest {
            Some(name) => write!(f, " (did you mean '{name}'?)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A file cannot be read.
    #[error("cannot read '{path}': {kind}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        kind: std::io::ErrorKind,
    },
    /// Files include each other too deeply, most likely in a circle.
    #[error("%include nested more than {0} deep")]
    IncludeDepth(usize),
    /// Files include too many others.
    #[error("more than {0} files")]
    IncludeCount(usize),
    /// Not a line of the ini grammar.
    #[error("syntax error: expected '[section]', 'key = value' or a comment")]
    Line,
    /// A section header without its end.
    #[error("syntax error: section name without ']'")]
    SectionEnd,
    /// A quoted name without its end.
    #[error("syntax error: quoted name without its closing quote")]
    NameQuote,
    /// A key before any section.
    #[error("key '{0}' stands before any section")]
    OutsideSection(Shown),
    /// Not a section.
    #[error("unknown section '{0}'")]
    UnknownSection(Shown),
    /// Bytes that are not UTF-8.
    #[error("not valid UTF-8")]
    Encoding,
    /// Not a list of `key=value`.
    #[error("syntax error in connection string: {0}")]
    ConnectionString(ConnectionStringError),
    /// Not a URL that names a database.
    #[error("invalid database url: {0}")]
    Url(super::url::UrlError),
    /// Not TOML.
    #[error("syntax error: {0}")]
    Toml(String),
    /// The right key with a value of the wrong TOML type.
    #[error("'{key}' must be {expected}, not {found}")]
    TomlType {
        /// The key.
        key: Shown,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// Not a key of its section.
    #[error("{}", unknown_key(*.section, .key))]
    UnknownKey {
        /// The section.
        section: Section,
        /// What was written.
        key: Shown,
    },
    /// Not an environment variable of ours.
    #[error("unknown setting")]
    UnknownVariable,
    /// Both a variable and its `_FILE` form are set.
    #[error("{0} is set as well; set one of the two")]
    VariableTwice(String),
    /// A value that is not of its key's kind.
    #[error("{}", bad_value(.key, .value.as_ref(), *.invalid))]
    Value {
        /// The key.
        key: &'static str,
        /// What was written, unless it is a secret.
        value: Option<Shown>,
        /// Why it is wrong.
        invalid: Invalid,
    },
    /// The console's own name.
    #[error("database name \"pgbouncer\" is reserved")]
    ReservedDatabase,
    /// A peer whose name is not a number in range.
    #[error("peer id '{0}' is not a number from 1 to 65535")]
    PeerId(Shown),
    /// A peer without a host.
    #[error("host was not provided for peer {0}")]
    PeerHost(u16),
    /// A rule that does not say what is watched for.
    #[error("rule '{0}' needs a metric, and either above or below")]
    RuleIncomplete(Shown),
    /// An empty name.
    #[error("a name must not be empty")]
    EmptyName,
    /// Each value is right, but not all of them together.
    #[error("{0}")]
    Combination(Combination),
}

/// Values that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Combination {
    /// There would be no way in.
    #[error("nowhere to listen on: listen_addr and unix_socket_dir are both empty")]
    NowhereToListen,
    /// TLS towards clients cannot work.
    #[error(
        "to allow TLS connections from clients, client_tls_key_file and client_tls_cert_file \
         must be set"
    )]
    ClientTlsFiles,
    /// Clients would not be verified against anything.
    #[error("client_tls_sslmode {0} needs client_tls_ca_file")]
    ClientTlsAuthorities(super::tls::SslMode),
    /// Certificates would never be asked for.
    #[error("auth_type cert needs client_tls_sslmode verify-ca or verify-full")]
    CertWithoutTls,
    /// An open door to the database.
    #[error(
        "listening beyond this machine without authentication: set auth_type and auth_file, or \
         listen on 127.0.0.1 only"
    )]
    OpenToAll,
    /// An open door to the numbers.
    #[error(
        "http.listen beyond this machine needs http.tls_cert_file, http.tls_key_file, and \
         http.token or http.read_token"
    )]
    HttpOpenToAll,
}

/// Why a connection string cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionStringError {
    /// A word without `=`.
    #[error("expected key=value")]
    KeyValue,
    /// A value without its closing quote.
    #[error("quoted value without its closing quote")]
    Quote,
    /// A value of nothing.
    #[error("empty value")]
    EmptyValue,
    /// Something right after a closing quote.
    #[error("expected a space after the closing quote")]
    AfterQuote,
}

/// A text from a configuration as messages show it: short and on one line.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// The most characters that are shown.
    const LENGTH_MAX: usize = 80;

    /// Takes the text over.
    pub fn new(text: &str) -> Self {
        let mut shown: String =
            text.chars().take(Self::LENGTH_MAX).flat_map(char::escape_debug).collect();
        if text.chars().nth(Self::LENGTH_MAX).is_some() {
            shown.push_str("...");
        }
        Self(shown)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

fn unknown_key(section: Section, key: &Shown) -> String {
    match section {
        Section::Pooler => format!("unknown parameter: pgbouncer/{key}"),
        Section::Database | Section::Peer => format!("unrecognized connection parameter: {key}"),
        Section::User => format!("unrecognized user parameter: {key}"),
        Section::Http => format!("unknown parameter: http/{key}"),
        Section::Alerts => format!("unknown parameter: alerts/{key}"),
        Section::History => format!("unknown parameter: history/{key}"),
        Section::Otlp => format!("unknown parameter: otlp/{key}"),
        Section::Rule => format!("unrecognized rule parameter: {key}"),
        Section::Native => format!("unknown parameter: headpond/{key}"),
    }
}

/// The first words are PgBouncer's where it has some; scripts look for them.
fn bad_value(key: &str, value: Option<&Shown>, invalid: Invalid) -> String {
    let Some(value) = value else {
        return format!("invalid value for {key}: {invalid}");
    };
    match key {
        "port" => format!("invalid port: {value} ({invalid})"),
        "pool_mode" => format!("invalid pool mode: {value} ({invalid})"),
        "load_balance_hosts" => format!("invalid load_balance_hosts: {value} ({invalid})"),
        _ => format!("invalid value \"{value}\" for {key}: {invalid}"),
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Takes the errors over, those of one file in the order of its lines.
    pub(super) fn in_order(mut errors: Vec<ConfigError>) -> Self {
        let mut paths: Vec<Arc<PathBuf>> = Vec::new();
        for error in &errors {
            if let Place::File { path, .. } = &error.place
                && !paths.contains(path)
            {
                paths.push(path.clone());
            }
        }
        errors.sort_by_key(|error| match &error.place {
            Place::File { path, line, column } => {
                let file = paths.iter().position(|known| known == path);
                (file.unwrap_or(paths.len()), *line, column.unwrap_or(0))
            }
            _ => (paths.len(), 0, 0),
        });
        Self(errors)
    }

    /// Returns the errors, those of one file in the order of its lines.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Something that is allowed but probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub doubt: Doubt,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.doubt)
    }
}

/// What is doubtful.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// A key that is read and not acted on.
    #[error("{0} is recognised but not honoured yet")]
    NotHonoured(&'static str),
    /// A TLS version that is never offered.
    #[error("{0} lists a version older than TLS 1.2, which is never offered")]
    OutdatedTls(&'static str),
    /// Nobody could get in.
    #[error("auth_type is hba and auth_hba_file is empty: every client is refused")]
    NoHbaFile,
    /// The entry has no host and there is no directory to look in.
    #[error("database '{0}' has no host and unix_socket_dir is empty: it cannot be reached")]
    NoHost(String),
    /// More servers are to be kept open than may be.
    #[error("database '{name}' keeps {min} servers open but may have {max}")]
    MinAboveMax {
        /// The entry.
        name: String,
        /// What is kept open.
        min: u32,
        /// What may be.
        max: u32,
    },
    /// A variable of others that cannot be read as what it is; nothing follows from it.
    #[error("ignored: {0}")]
    Ignored(Invalid),
    /// A name both reload and start know, changed where only the start can apply it.
    #[error("{0} changed, which takes effect at the next start")]
    NeedsRestart(&'static str),
}
