//! The values of the run-time parameters that follow a client from server to server.
//!
//! Invariant: a set of values never changes; clients and servers with the same values share one.
//! Not here: how values are applied (`settle.rs`).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The parameters that are always followed.
const STANDARD: [&str; 5] =
    ["client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings", "application_name"];

/// Parameters whose value is a list of identifiers.
const LISTS: [&str; 2] = ["search_path", "temp_tablespaces"];

/// A parameter name that cannot stand in a SET command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid parameter name {:?}", alloc::string::String::from_utf8_lossy(.0))]
pub struct BadName(pub Vec<u8>);

/// Which parameters are followed.
#[derive(Debug, PartialEq, Eq)]
pub struct Tracked {
    names: Box<[Box<[u8]>]>,
}

impl Tracked {
    /// Takes the standard parameters and some more.
    ///
    /// # Errors
    /// A name is not an identifier, or several with dots between them.
    pub fn new<N: AsRef<[u8]>>(extra: impl IntoIterator<Item = N>) -> Result<Arc<Self>, BadName> {
        let mut names: Vec<Box<[u8]>> =
            STANDARD.iter().map(|name| name.as_bytes().into()).collect();
        for name in extra {
            let name = name.as_ref();
            if !is_identifier(name) {
                return Err(BadName(name.to_vec()));
            }
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name.into());
            }
        }
        Ok(Arc::new(Self { names: names.into_boxed_slice() }))
    }

    /// Takes the standard parameters only.
    #[must_use]
    pub fn standard() -> Arc<Self> {
        let names = STANDARD.iter().map(|name| name.as_bytes().into()).collect();
        Arc::new(Self { names })
    }

    /// Returns the names, as they are to be written.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// Tells whether a parameter is followed.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.position(name).is_some()
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.names.iter().position(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Tells whether the value of a parameter is a list of identifiers.
pub(super) fn is_list(name: &[u8]) -> bool {
    LISTS.iter().any(|list| list.as_bytes().eq_ignore_ascii_case(name))
}

fn is_identifier(name: &[u8]) -> bool {
    !name.is_empty()
        && name.split(|byte| *byte == b'.').all(|part| {
            part.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
                && part.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        })
}

/// One value for each tracked parameter, where it is known. Cloning shares.
#[derive(Debug, Clone)]
pub struct Parameters(Arc<Values>);

#[derive(Debug)]
struct Values {
    tracked: Arc<Tracked>,
    values: Box<[Value]>,
}

/// The value of one parameter, if it is known.
type Value = Option<Box<[u8]>>;

impl Parameters {
    /// Takes the values of tracked parameters out of a list; the last one of a name counts.
    pub fn new<'a>(
        tracked: &Arc<Tracked>,
        pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Self {
        let none = (0..tracked.names.len()).map(|_| None).collect();
        Self(Arc::new(Values { tracked: Arc::clone(tracked), values: none })).with_all(pairs)
    }

    /// Returns the value of a parameter, if it is tracked and known.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let position = self.0.tracked.position(name)?;
        self.0.values.get(position)?.as_deref()
    }

    /// Returns the same values with some replaced; the same set if none differs.
    #[must_use]
    pub fn with_all<'a>(&self, pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut changed: Option<Box<[Value]>> = None;
        for (name, value) in pairs {
            let Some(position) = self.0.tracked.position(name) else { continue };
            let now = changed.as_ref().unwrap_or(&self.0.values).get(position);
            if now.is_some_and(|now| now.as_deref() == Some(value)) {
                continue;
            }
            let values = changed.get_or_insert_with(|| self.0.values.clone());
            if let Some(slot) = values.get_mut(position) {
                *slot = Some(value.into());
            }
        }
        match changed {
            None => self.clone(),
            Some(values) => Self(Arc::new(Values { tracked: Arc::clone(&self.0.tracked), values })),
        }
    }

    /// Returns the same values with one replaced.
    #[must_use]
    pub fn with(&self, name: &[u8], value: &[u8]) -> Self {
        self.with_all([(name, value)])
    }

    /// Returns the known names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let pairs = self.0.tracked.names().zip(self.0.values.iter());
        pairs.filter_map(|(name, value)| value.as_deref().map(|value| (name, value)))
    }

    /// Returns the parameters that are followed.
    #[must_use]
    pub fn tracked(&self) -> &Arc<Tracked> {
        &self.0.tracked
    }

    /// Tells whether both are one and the same set, which is quick to see.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Makes two sets with the same values one, and tells whether they have. Of two the one that
    /// lies lower in memory stays: so all clients and servers with these values end up with one.
    pub(super) fn unite(&mut self, other: &mut Self) -> bool {
        if self.is(other) {
            return true;
        }
        let same =
            Arc::ptr_eq(&self.0.tracked, &other.0.tracked) && self.0.values == other.0.values;
        if same {
            if Arc::as_ptr(&self.0) < Arc::as_ptr(&other.0) {
                *other = self.clone();
            } else {
                *self = other.clone();
            }
        }
        same
    }

    /// Returns the values wanted here that differ in `present`, where `present` knows a value.
    pub(super) fn differing<'a>(
        &'a self,
        present: &'a Self,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let same_names = Arc::ptr_eq(&self.0.tracked, &present.0.tracked);
        let pairs = self.0.tracked.names().zip(self.0.values.iter()).enumerate();
        pairs.filter_map(move |(position, (name, wanted))| {
            let wanted = wanted.as_deref()?;
            let now = if same_names {
                present.0.values.get(position)?.as_deref()?
            } else {
                present.get(name)?
            };
            (now != wanted).then_some((name, wanted))
        })
    }

    /// Takes over how a server spells the values wanted here.
    pub(super) fn adopt(&mut self, present: &Self) {
        let complete = Arc::ptr_eq(&self.0.tracked, &present.0.tracked)
            && self.0.values.iter().all(Option::is_some);
        if complete {
            *self = present.clone();
            return;
        }
        let adopted =
            self.with_all(self.iter().filter_map(|(name, _)| Some((name, present.get(name)?))));
        *self = adopted;
    }

    /// Takes over how a server spells the values wanted here that it did not have before, and
    /// none that it has changed by itself since.
    pub(super) fn settle(&mut self, before: &Self, present: &Self) {
        let was_asked = |name: &[u8]| before.get(name) != self.get(name);
        let is_same = |name: &[u8]| present.get(name) == before.get(name);
        if self.iter().all(|(name, _)| was_asked(name) || is_same(name)) {
            self.adopt(present);
            return;
        }
        let asked = self.iter().filter(|(name, _)| was_asked(name));
        let settled = self.with_all(asked.filter_map(|(name, _)| Some((name, present.get(name)?))));
        *self = settled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Parameters {
        let tracked = Tracked::new(["search_path"]).unwrap();
        Parameters::new(&tracked, pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    /// Other values under the names of `like`.
    fn same_names(like: &Parameters, pairs: &[(&str, &str)]) -> Parameters {
        let pairs = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        Parameters::new(&like.0.tracked, pairs)
    }

    #[test]
    fn names_are_found_in_any_case_and_others_are_left_out() {
        let set = set(&[("datestyle", "ISO"), ("server_version", "16"), ("TIMEZONE", "UTC")]);
        assert_eq!(set.get(b"DateStyle"), Some(&b"ISO"[..]));
        assert_eq!(set.get(b"TimeZone"), Some(&b"UTC"[..]));
        assert_eq!(set.get(b"server_version"), None);
        assert_eq!(set.iter().count(), 2);
    }

    #[test]
    fn a_set_without_change_is_the_same_set() {
        let set = set(&[("TimeZone", "UTC")]);
        assert!(set.is(&set.with(b"timezone", b"UTC")));
        assert!(set.is(&set.with(b"untracked", b"x")));
        assert!(!set.is(&set.with(b"TimeZone", b"GMT")));
    }

    #[test]
    fn only_values_that_both_know_can_differ() {
        let wanted = set(&[("TimeZone", "UTC"), ("search_path", "a"), ("DateStyle", "ISO")]);
        let present = set(&[("TimeZone", "GMT"), ("DateStyle", "ISO"), ("client_encoding", "x")]);
        let differing: Vec<_> = wanted.differing(&present).collect();
        assert_eq!(differing, [(&b"TimeZone"[..], &b"UTC"[..])]);
    }

    #[test]
    fn adopting_takes_the_spelling_but_no_value_that_was_not_wanted() {
        let mut wanted = set(&[("DateStyle", "iso")]);
        wanted.adopt(&set(&[("DateStyle", "ISO, MDY"), ("application_name", "other")]));
        assert_eq!(wanted.get(b"DateStyle"), Some(&b"ISO, MDY"[..]));
        assert_eq!(wanted.get(b"application_name"), None);
    }

    #[test]
    fn what_a_server_changed_by_itself_meanwhile_is_not_wanted() {
        let before = set(&[("DateStyle", "German"), ("TimeZone", "UTC")]);
        let mut wanted = set(&[("DateStyle", "iso"), ("TimeZone", "UTC")]);
        wanted.settle(&before, &set(&[("DateStyle", "ISO, MDY"), ("TimeZone", "GMT")]));
        assert_eq!(wanted.get(b"DateStyle"), Some(&b"ISO, MDY"[..]));
        assert_eq!(wanted.get(b"TimeZone"), Some(&b"UTC"[..]));
    }

    #[test]
    fn a_client_that_wants_all_values_shares_the_set_of_its_server() {
        let tracked = Tracked::standard();
        let all = || STANDARD.iter().map(|name| (name.as_bytes(), &b"x"[..]));
        let present = Parameters::new(&tracked, all());
        let mut wanted = Parameters::new(&tracked, all());
        wanted.adopt(&present);
        assert!(wanted.is(&present));
    }

    #[test]
    fn sets_with_the_same_values_end_up_as_one() {
        let tracked = Tracked::new(["search_path"]).unwrap();
        let new = |path: &[u8]| {
            Parameters::new(&tracked, [(&b"TimeZone"[..], &b"UTC"[..]), (b"search_path", path)])
        };
        let (mut clients, mut servers) = (Vec::from([new(b"a")]), Vec::new());
        clients.extend((0..3).map(|_| new(b"a")));
        servers.extend((0..3).map(|_| new(b"a")));
        for _ in 0..2 {
            for server in &mut servers {
                for client in &mut clients {
                    assert!(client.unite(server));
                    assert!(client.is(server));
                }
            }
        }
        assert!(clients.iter().chain(&servers).all(|set| set.is(&servers[0])));
    }

    #[test]
    fn sets_that_differ_in_a_value_or_in_knowing_it_stay_two() {
        let one = set(&[("TimeZone", "UTC"), ("search_path", "a")]);
        for other in [&[("TimeZone", "UTC"), ("search_path", "b")][..], &[("TimeZone", "UTC")]] {
            let (mut one, mut other) = (one.clone(), same_names(&one, other));
            assert!(!one.unite(&mut other) && !one.is(&other));
        }
    }

    #[test]
    fn a_name_that_could_carry_a_command_is_refused() {
        for bad in ["", "a b", "a;b", "a'", "a.", ".a", "1a", "a=b", "\u{e4}"] {
            assert!(Tracked::new([bad]).is_err(), "{bad}");
        }
        assert!(Tracked::new(["IntervalStyle", "app.user_1"]).is_ok());
    }
}
