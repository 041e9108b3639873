//! Where everything that was said meets.
//!
//! Invariant: values are applied in the order of their layers, so the last one wins; every error is
//! kept, and any error means no configuration.

use std::collections::BTreeMap;

use super::error::{ConfigError, ConfigErrors, Problem};
use super::kind::Kind;
use super::options;
use super::origin::{Layer, Origin};
use super::profile::Profile;
use super::secret::{Secret, Url};
use super::table::{DATABASE, GENERAL};
use super::{Config, DatabaseConfig, General, Note, Sources, environment, file};
use crate::options::{Bare, Invalid, Key, Pooled};
use crate::settings::default_min;

/// Something that was said about a key.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) about: About,
    pub(super) key: Keyed,
    pub(super) text: Secret,
    pub(super) bare: Bare,
    pub(super) layer: Layer,
    pub(super) place: Origin,
}

/// About which databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    All,
    Sql,
    Kind(Kind),
    Named(String),
    /// The named one, if it is of this kind and exists: whoever said it may have meant another.
    Maybe(String, Kind),
}

/// About which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyed {
    Url,
    Key(&'static str),
    General(&'static str),
    Profile,
    Pgbouncer,
    PgbouncerAdmin,
}

/// Everything that was read.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) said: Vec<Said>,
    pub(super) notes: Vec<Note>,
    pub(super) errors: Vec<ConfigError>,
}

impl Heard {
    pub(super) fn error(&mut self, place: Origin, problem: Problem, nearest: Option<String>) {
        self.errors.push(ConfigError { place, problem, nearest });
    }

    fn invalid(&mut self, place: &Origin, key: &'static str, invalid: Invalid) {
        self.error(place.clone(), Problem::Value { key, invalid }, None);
    }

    /// Notes a value by the path of its key, as it stands in the file.
    pub(super) fn say(&mut self, path: &str, text: Secret, layer: Layer, place: Origin) {
        let found = match path.strip_prefix("databases.").and_then(|path| path.split_once('.')) {
            Some((name, _)) if !is_name(name) => {
                self.error(place, Problem::Name, None);
                return;
            }
            Some((name, "url")) => Ok((About::Named(name.to_owned()), Keyed::Url)),
            Some((name, key)) => match find(DATABASE, key) {
                Some(row) => Ok((About::Named(name.to_owned()), Keyed::Key(row.name))),
                None => Err(nearest_in(key, DATABASE, &["url"])),
            },
            None if path == "profile" => Ok((About::All, Keyed::Profile)),
            None => match find(GENERAL, path) {
                Some(row) => Ok((About::All, Keyed::General(row.name))),
                None => Err(nearest_in(path, GENERAL, &["profile", "databases"])),
            },
        };
        match found {
            Ok((about, key)) => {
                self.said.push(Said { about, key, text, bare: Bare::Refused, layer, place });
            }
            Err(nearest) => {
                let name = super::error::shown(path);
                self.error(place, Problem::Unknown { name }, nearest);
            }
        }
    }
}

pub(super) fn find<T>(table: &'static [Key<T>], name: &str) -> Option<&'static Key<T>> {
    table.iter().find(|row| row.name == name)
}

/// Returns the key nearest to a name; the last part alone may be what was misspelt or misplaced.
fn nearest_in<T>(name: &str, table: &'static [Key<T>], more: &[&'static str]) -> Option<String> {
    let names = || table.iter().map(|row| row.name).chain(more.iter().copied());
    let nearest = crate::options::nearest::nearest(name, names());
    nearest.map(str::to_owned).or_else(|| {
        let last = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
        let own = name.rsplit('.').next().unwrap_or(name);
        let meant = crate::options::nearest::nearest(own, names().map(last))?;
        names().find(|path| last(path) == meant).map(str::to_owned)
    })
}

/// Returns whether a text can be a database's name.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain) && !name.contains("__")
}

pub(super) fn load(sources: &Sources) -> Result<Config, ConfigErrors> {
    let mut heard = Heard::default();
    if let Some((path, text)) = &sources.file {
        file::read(path, text.reveal(), &mut heard);
    }
    environment::read(&sources.vars, &sources.read, &mut heard);
    for (path, text) in &sources.explicit {
        heard.say(path, text.clone(), Layer::Explicit, Origin::Explicit);
    }
    // Stable: within a layer the order of saying counts.
    heard.said.sort_by_key(|said| said.layer);
    let profile = profile(sources, &mut heard);
    let general = general(&mut heard);
    let mut databases = databases(&mut heard, profile);
    fit_budget(&mut heard, &general, &mut databases);
    if heard.errors.is_empty() {
        Ok(Config { profile, databases, general, notes: heard.notes })
    } else {
        Err(ConfigErrors(heard.errors))
    }
}

fn profile(sources: &Sources, heard: &mut Heard) -> Option<Profile> {
    let said = heard.said.iter().rfind(|said| said.key == Keyed::Profile).cloned();
    let environment = match Profile::of_vars(&sources.vars) {
        Ok(profile) => profile,
        Err(error) => {
            heard.errors.push(error);
            None
        }
    };
    let Some(said) = said.filter(|said| said.layer == Layer::Explicit || environment.is_none())
    else {
        return environment;
    };
    let profile = Profile::of_name(said.text.reveal());
    if profile.is_none() {
        let names = Profile::ALL.iter().map(|profile| profile.as_str());
        let nearest =
            crate::options::nearest::nearest(said.text.reveal(), names).map(str::to_owned);
        let problem = Problem::Value { key: "profile", invalid: Invalid::Word(Profile::WORDS) };
        heard.error(said.place, problem, nearest);
    }
    profile
}

fn general(heard: &mut Heard) -> General {
    let mut general = General::default();
    let said: Vec<Said> = heard.said.clone();
    for said in said {
        match said.key {
            Keyed::General(name) => {
                let row = find(GENERAL, name).expect("found in the table before");
                match (row.set)(&mut general, said.text.reveal(), said.bare) {
                    Ok(()) => drop(general.origins.insert(name, said.place)),
                    Err(invalid) => heard.invalid(&said.place, name, invalid),
                }
            }
            Keyed::Pgbouncer => general.pgbouncer = Some(Url::from(said.text.reveal())),
            Keyed::PgbouncerAdmin => {
                general.pgbouncer_admin = Some(Url::from(said.text.reveal()));
            }
            Keyed::Url | Keyed::Key(_) | Keyed::Profile => {}
        }
    }
    general
}

fn databases(heard: &mut Heard, profile: Option<Profile>) -> BTreeMap<String, DatabaseConfig> {
    let mut urls: BTreeMap<String, Said> = BTreeMap::new();
    let mut named: BTreeMap<String, Origin> = BTreeMap::new();
    for said in &heard.said {
        let About::Named(name) = &said.about else { continue };
        match said.key {
            // The last one wins.
            Keyed::Url => drop(urls.insert(name.clone(), said.clone())),
            _ => drop(named.entry(name.clone()).or_insert_with(|| said.place.clone())),
        }
    }
    for (name, place) in named {
        if !urls.contains_key(&name) {
            heard.error(place, Problem::NoUrl { database: name }, None);
        }
    }
    note_strays(heard, &urls);
    let built = urls.into_iter().filter_map(|(name, url)| {
        let config = database(heard, &name, &url, profile)?;
        Some((name, config))
    });
    built.collect()
}

/// Sees to it that the budget has room for what the pools are to keep: minima that nobody asked
/// for give way, others are an error.
fn fit_budget(
    heard: &mut Heard,
    general: &General,
    databases: &mut BTreeMap<String, DatabaseConfig>,
) {
    let Some(budget) = general.budget.filter(|budget| *budget > 0) else { return };
    let kept = |databases: &BTreeMap<String, DatabaseConfig>| {
        databases.values().map(|config| u64::from(config.pool.min)).sum::<u64>()
    };
    if kept(databases) > u64::from(budget) {
        let share = budget / u32::try_from(databases.len()).unwrap_or(u32::MAX);
        for config in databases.values_mut() {
            if matches!(config.origin("pool.min"), Origin::Default | Origin::Profile(_)) {
                config.pool.min = config.pool.min.min(share);
            }
        }
    }
    let kept = kept(databases);
    if kept > u64::from(budget) {
        heard.error(general.origin("budget"), Problem::Budget { budget, kept }, None);
    }
}

/// Notes what was said of databases that there are not.
fn note_strays(heard: &mut Heard, urls: &BTreeMap<String, Said>) {
    let said = heard.said.iter();
    let stray = said
        .filter(|said| matches!(&said.about, About::Maybe(name, _) if !urls.contains_key(name)));
    let why = "there is no database of this name";
    let notes: Vec<Note> = stray.map(|said| Note { place: said.place.clone(), why }).collect();
    heard.notes.extend(notes);
}

fn database(
    heard: &mut Heard,
    name: &str,
    url: &Said,
    profile: Option<Profile>,
) -> Option<DatabaseConfig> {
    let split = options::split(url.text.reveal());
    let Some(kind) = Kind::of_url(&split.url) else {
        heard.invalid(&url.place, "url", Invalid::Scheme);
        return None;
    };
    let mut config = DatabaseConfig::new(name, kind, Url::from(split.url));
    config.origins.insert("url", url.place.clone());
    for (problem, nearest) in split.problems {
        heard.error(url.place.clone(), problem, nearest);
    }
    let option = |name| Origin::UrlOption { name, of: Box::new(url.place.clone()) };
    let why = "accepted for those who switch: the pool needs no telling";
    heard.notes.extend(split.idle.iter().map(|name| Note { place: option(name), why }));

    let mut layers = Layers::default();
    for (key, _) in super::kind_defaults(kind) {
        layers.note(key, Layer::Kind);
    }
    for (key, text) in profile.map(|profile| profile.values(kind)).unwrap_or_default() {
        let place = Origin::Profile(profile.expect("it gave the values"));
        layers.apply(&mut config, heard, (key, text, Bare::Refused), (Layer::Profile, place));
    }
    let about: Vec<Said> =
        heard.said.iter().filter(|said| concerns(said, name, kind)).cloned().collect();
    let of_url = match url.layer {
        Layer::File => Layer::FileUrl,
        Layer::Explicit => Layer::ExplicitUrl,
        _ => Layer::VariableUrl,
    };
    let (before, after) = about.split_at(about.partition_point(|said| said.layer < of_url));
    layers.apply_all(&mut config, heard, before);
    for (name, key, text, bare) in &split.found {
        layers.apply(&mut config, heard, (key, text, *bare), (of_url, option(name)));
    }
    layers.apply_all(&mut config, heard, after);
    layers.settle(&mut config);
    let key = |key: &&str| key.starts_with("pool.breaker.");
    if !config.breaks
        && let Some((_, place)) = config.origins.iter().find(|(name, _)| key(name))
    {
        let why = "the breaker is not enabled: pool.breaker.enabled is false";
        heard.notes.push(Note { place: place.clone(), why });
    }
    if let Err(error) = config.pool.check() {
        let problem = Problem::Settings { database: name.to_owned(), error };
        heard.error(config.origin("pool.max"), problem, None);
    }
    Some(config)
}

fn concerns(said: &Said, name: &str, kind: Kind) -> bool {
    match &said.about {
        About::All => false,
        About::Sql => kind.is_sql(),
        About::Kind(of) => *of == kind,
        About::Named(named) => named == name,
        About::Maybe(named, of) => named == name && *of == kind,
    }
}

/// Which layer each key of a database was last set by.
#[derive(Default)]
struct Layers(BTreeMap<&'static str, Layer>);

impl Layers {
    fn note(&mut self, key: &'static str, layer: Layer) {
        self.0.insert(key, layer);
    }

    fn of(&self, key: &str) -> Layer {
        self.0.get(key).copied().unwrap_or_default()
    }

    fn apply(
        &mut self,
        config: &mut DatabaseConfig,
        heard: &mut Heard,
        (key, text, bare): (&'static str, &str, Bare),
        (layer, place): (Layer, Origin),
    ) {
        let row = find(DATABASE, key).expect("keys that were found in the table before");
        match (row.set)(config, text, bare) {
            Ok(()) => {
                self.note(key, layer);
                config.origins.insert(key, place);
            }
            Err(invalid) => heard.invalid(&place, key, invalid),
        }
    }

    fn apply_all(&mut self, config: &mut DatabaseConfig, heard: &mut Heard, said: &[Said]) {
        for said in said {
            if let Keyed::Key(key) = said.key {
                let value = (key, said.text.reveal(), said.bare);
                self.apply(config, heard, value, (said.layer, said.place.clone()));
            }
        }
    }

    /// Settles what follows from other values.
    fn settle(&self, config: &mut DatabaseConfig) {
        let (max, min) = (self.of("pool.max"), self.of("pool.min"));
        if min == Layer::Default {
            config.pool.min = default_min(config.pool.max);
        } else if min < max {
            // Whoever lowered the maximum knew less of the minimum than of what is possible.
            config.pool.min = config.pool.min.min(config.pool.max);
        }
        config.parts_mut().settle();
    }
}
