//! The environment as a map, taken once.
//!
//! Invariant: reading a configuration looks here and never at the process.

use std::collections::BTreeMap;
use std::fmt;

use super::secret::Secret;

/// Environment variables.
#[derive(Clone, Default)]
pub struct Vars(BTreeMap<String, Secret>);

impl Vars {
    /// Takes the variables of this process; those that are not UTF-8 are left out.
    #[must_use]
    pub fn from_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        std::env::vars_os().filter_map(text).collect()
    }

    /// Returns a variable; one that is empty counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::reveal).filter(|value| !value.is_empty())
    }

    /// Returns the names of all variables.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Vars {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(vars: I) -> Self {
        let secret = |(name, value): (N, V)| (name.into(), Secret::from(value.into()));
        Self(vars.into_iter().map(secret).collect())
    }
}

impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be passwords.
        f.debug_set().entries(self.0.keys()).finish()
    }
}
