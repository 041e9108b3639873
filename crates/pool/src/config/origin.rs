//! Where a value comes from.
//!
//! Invariant: of two origins the greater [`Layer`] wins; within a layer the later one.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::profile::Profile;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Origin {
    /// The code, or a flag of the command line.
    Explicit,
    /// An environment variable, or the file that one names.
    Variable {
        /// Its name.
        name: Arc<str>,
    },
    /// A place in a file.
    File {
        /// Which file.
        path: Arc<PathBuf>,
        /// The line, from 1.
        line: u32,
        /// The column, from 1.
        column: u32,
    },
    /// An option of a URL, which comes from somewhere itself.
    UrlOption {
        /// The option's name as written.
        name: &'static str,
        /// Where the URL comes from.
        of: Box<Origin>,
    },
    /// The profile.
    Profile(Profile),
    /// Nobody said anything.
    #[default]
    Default,
}

/// How much an origin counts for: the greater one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Layer {
    #[default]
    Default,
    /// The default of a kind of database.
    Kind,
    Profile,
    FileUrl,
    File,
    VariableUrl,
    /// A variable for all SQL databases.
    VariableSql,
    /// A variable for all databases of a kind.
    VariableKind,
    /// A variable for one database.
    VariableNamed,
    /// `HEADPOND_…`, which means us and nobody else.
    VariableOwn,
    ExplicitUrl,
    Explicit,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Explicit => f.write_str("set in code"),
            Self::Variable { name } => write!(f, "environment variable {name}"),
            Self::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Self::UrlOption { name, of } => write!(f, "option {name} of the url in {of}"),
            Self::Profile(profile) => write!(f, "profile {profile}"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Origin {
    pub(super) fn variable(name: &str) -> Self {
        Self::Variable { name: Arc::from(name) }
    }
}
