//! What is wrong with a URL, a DSN, a file or a variable.
//!
//! Invariant: an error names the place, the cause and, where one is near, the right choice; it
//! never shows a secret.
//! Left out: errors of connecting (`../error.rs`).

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Origin {
    /// In the URL or DSN, at so many bytes from its beginning.
    Text {
        /// The byte at which the name begins.
        at: usize,
    },
    /// In the service file.
    Service {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// In an environment variable.
    Environment(&'static str),
    /// In the program.
    Program,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { at } => write!(f, "connection string at byte {at}"),
            Self::Service { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Program => f.write_str("program"),
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is no URL and no DSN.
    #[error("connection string at byte {at}: {problem}")]
    Syntax {
        /// The byte at which it goes wrong.
        at: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// Nobody knows this name.
    #[error("{origin}: unknown parameter {key:?}{}", Meant(*.nearest))]
    UnknownKey {
        /// The name.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// The name that was probably meant.
        nearest: Option<&'static str>,
    },
    /// The value cannot be.
    #[error("{origin}: {key} cannot be {value:?}, only {expected}{}", Meant(*.nearest))]
    BadValue {
        /// The name.
        key: &'static str,
        /// The value, or stars if it is a secret.
        value: String,
        /// Where it stands.
        origin: Origin,
        /// What could stand there.
        expected: &'static str,
        /// The value that was probably meant.
        nearest: Option<&'static str>,
    },
    /// It asks for something that is not there.
    #[error("{origin}: {key} asks for something that is not supported")]
    Unsupported {
        /// The name.
        key: &'static str,
        /// Where it stands.
        origin: Origin,
    },
    /// Two values contradict each other.
    #[error("{0}")]
    Conflict(&'static str),
    /// The service is in no service file.
    #[error("{origin}: service {service:?} is not in {}", Paths(.looked))]
    NoService {
        /// The service.
        service: String,
        /// Where it was asked for.
        origin: Origin,
        /// The files that were read.
        looked: Vec<PathBuf>,
    },
    /// A file that was named cannot be read.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of a service file makes no sense.
    #[error("{path} line {line}: {problem}", path = .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// No variable says where the database is.
    #[error("neither DATABASE_URL nor PGHOST, PGSERVICE or PGDATABASE is set")]
    Nothing,
}

struct Meant(Option<&'static str>);

impl fmt::Display for Meant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, "; did you mean {nearest:?}?"),
            None => Ok(()),
        }
    }
}

struct Paths<'a>(&'a [PathBuf]);

impl fmt::Display for Paths<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("any service file: there is none");
        }
        for (i, path) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{}", path.display())?;
        }
        Ok(())
    }
}
