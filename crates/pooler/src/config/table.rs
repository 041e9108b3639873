//! The table of settings: one row per key, from which everything else about the key follows.
//!
//! A section's table is written once, with the macros below. They generate the struct that
//! holds the values, their defaults, the reading and showing of each key, and the rows that
//! SHOW CONFIG, the documentation and the search for a misspelt key are made of.
//!
//! Invariant: a key exists in all of these or in none; adding one without saying what a change
//! of it means ([`Effect`]) or whether it is honoured ([`Status`]) does not compile.

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// `[pgbouncer]` of an ini file, `[pooler]` of headpond.toml.
    Pooler,
    /// One entry of `[databases]`.
    Database,
    /// One entry of `[users]`.
    User,
    /// One entry of `[peers]`.
    Peer,
    /// `[http]`.
    Http,
    /// `[alerts]`.
    Alerts,
    /// `[history]`.
    History,
    /// `[otlp]`.
    Otlp,
    /// One entry of `[rules]`.
    Rule,
    /// `[headpond]`.
    Native,
}

impl Section {
    /// Returns every key that may stand in this section.
    pub fn keys(self) -> &'static [Key] {
        match self {
            Section::Pooler => super::global::Global::KEYS,
            Section::Database => super::database::Database::KEYS,
            Section::User => super::user::User::KEYS,
            Section::Peer => super::peer::PeerEntry::KEYS,
            Section::Http => super::observe::Http::KEYS,
            Section::Alerts => super::observe::Alerts::KEYS,
            Section::History => super::observe::History::KEYS,
            Section::Otlp => super::otlp::Otlp::KEYS,
            Section::Rule => super::observe::RuleEntry::KEYS,
            Section::Native => super::native::Native::KEYS,
        }
    }

    /// Returns its name, as it stands in headpond.toml.
    pub fn name(self) -> &'static str {
        match self {
            Section::Pooler => "pooler",
            Section::Database => "databases",
            Section::User => "users",
            Section::Peer => "peers",
            Section::Http => "http",
            Section::Alerts => "alerts",
            Section::History => "history",
            Section::Otlp => "otlp",
            Section::Rule => "rules",
            Section::Native => "headpond",
        }
    }

    /// Returns true if the section consists of entries, each with keys of its own.
    pub fn has_entries(self) -> bool {
        matches!(self, Section::Database | Section::User | Section::Peer | Section::Rule)
    }

    /// Returns the row of `name`, if it is a key of this section.
    pub fn key(self, name: &str) -> Option<&'static Key> {
        self.keys().iter().find(|key| key.name == name)
    }
}

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changeable {
    /// At once, by RELOAD or SET.
    Live,
    /// At the next start only.
    Restart,
}

/// What a changed value means for the servers that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is part of who or what a server is: the open ones must not be used any longer.
    Identity,
    /// It limits or steers; the open ones stay.
    Policy,
}

/// What the program does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// What it says is done.
    Honoured,
    /// It is read, but not acted on yet; a value that is not the default is named in a warning.
    Accepted,
    /// It tunes a mechanism that this program does not have; any value is right.
    Ignored,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name in a configuration file.
    pub name: &'static str,
    /// The default as it would be written; empty for unset.
    pub default: &'static str,
    /// What a value must look like.
    pub expects: &'static str,
    /// When a change takes effect.
    pub changeable: Changeable,
    /// What a change means for open servers.
    pub effect: Effect,
    /// What the program does with it.
    pub status: Status,
    /// What it is, as a sentence without its full stop.
    pub means: &'static str,
    /// Why the default is what it is, as the end of "because ...".
    pub because: &'static str,
    /// True if the value is a path.
    pub is_path: bool,
    /// True if the value must never be printed.
    pub is_secret: bool,
}

/// The file name of a key: its field's name, unless another is given.
macro_rules! key_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// The rows that both kinds of table have.
macro_rules! key_rows {
    ($( ($name:expr, $kind:ty, $default:expr, $change:ident, $effect:ident, $status:ident,
        $means:expr, $because:expr) )+) => {
        &[ $( $crate::config::table::Key {
            name: $name,
            default: $default,
            expects: <$kind as $crate::config::kind::Kind>::EXPECTS,
            changeable: $crate::config::table::Changeable::$change,
            effect: $crate::config::table::Effect::$effect,
            status: $crate::config::table::Status::$status,
            means: $means,
            because: $because,
            is_path: <$kind as $crate::config::kind::Kind>::IS_PATH,
            is_secret: <$kind as $crate::config::kind::Kind>::IS_SECRET,
        }, )+ ]
    };
}

/// Defines a section in which each key has a value.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        $struct:ident;
        $( $field:ident $(as $key:literal)? : $kind:ty = $default:literal,
           $change:ident $effect:ident $status:ident, $means:literal, $because:literal; )+
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $struct {
            $(
                #[doc = concat!($means, ". Default: `", $default, "`, because ", $because, ".")]
                pub $field: <$kind as $crate::config::kind::Kind>::Value,
            )+
        }

        impl Default for $struct {
            fn default() -> Self {
                Self {
                    $( $field: <$kind as $crate::config::kind::Kind>::parse($default)
                        .expect("a default is valid: every one is read by a test"), )+
                }
            }
        }

        impl $struct {
            /// The keys, in the order of the documentation.
            pub const KEYS: &'static [$crate::config::table::Key] =
                $crate::config::table::key_rows!($(
                    ($crate::config::table::key_name!($field $($key)?), $kind, $default,
                     $change, $effect, $status, $means, $because)
                )+);

            /// Sets one key from its text; `None` if there is no such key.
            pub(in crate::config) fn assign(
                &mut self,
                key: &str,
                text: &str,
            ) -> Option<Result<(), $crate::config::kind::Invalid>> {
                $( if key == $crate::config::table::key_name!($field $($key)?) {
                    let value = <$kind as $crate::config::kind::Kind>::parse(text);
                    return Some(value.map(|value| self.$field = value));
                } )+
                None
            }

            /// Returns the text of one key; the outer `None` if there is no such key.
            pub(in crate::config) fn shown(&self, key: &str) -> Option<Option<String>> {
                $( if key == $crate::config::table::key_name!($field $($key)?) {
                    return Some(<$kind as $crate::config::kind::Kind>::show(&self.$field));
                } )+
                None
            }

            /// Returns the keys whose values differ.
            pub fn differing(
                &self,
                other: &Self,
            ) -> Vec<&'static $crate::config::table::Key> {
                // Names every field, so that none can be forgotten.
                let $struct { $( $field, )+ } = self;
                let differs = [ $( *$field != other.$field, )+ ];
                Self::KEYS.iter().zip(differs).filter_map(|(key, is)| is.then_some(key)).collect()
            }
        }
    };
}

/// Defines a section in which a key may be absent, so that something wider applies.
macro_rules! overrides {
    (
        $(#[$meta:meta])*
        $struct:ident;
        $( $field:ident : $kind:ty, $effect:ident $status:ident, $means:literal,
           $because:literal; )+
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $struct {
            /// The name of the entry.
            pub name: String,
            $(
                #[doc = concat!($means, ". Default: unset, because ", $because, ".")]
                pub $field: Option<<$kind as $crate::config::kind::Kind>::Value>,
            )+
        }

        impl $struct {
            /// The keys, in the order of the documentation.
            pub const KEYS: &'static [$crate::config::table::Key] =
                $crate::config::table::key_rows!($(
                    (stringify!($field), $kind, "", Live, $effect, $status, $means, $because)
                )+);

            /// Sets one key from its text; `None` if there is no such key.
            pub(in crate::config) fn assign(
                &mut self,
                key: &str,
                text: &str,
            ) -> Option<Result<(), $crate::config::kind::Invalid>> {
                $( if key == stringify!($field) {
                    if text.is_empty() {
                        return Some(Err($crate::config::kind::Invalid::Empty));
                    }
                    let value = <$kind as $crate::config::kind::Kind>::parse(text);
                    return Some(value.map(|value| self.$field = Some(value)));
                } )+
                None
            }

            /// Returns the text of one key, `None` if it is unset or unknown.
            pub fn shown(&self, key: &str) -> Option<String> {
                $( if key == stringify!($field) {
                    let value = self.$field.as_ref();
                    return value.and_then(<$kind as $crate::config::kind::Kind>::show);
                } )+
                None
            }

            /// Returns the keys whose values differ.
            pub fn differing(
                &self,
                other: &Self,
            ) -> Vec<&'static $crate::config::table::Key> {
                // Names every field, so that none can be forgotten.
                let $struct { name: _, $( $field, )+ } = self;
                let differs = [ $( *$field != other.$field, )+ ];
                Self::KEYS.iter().zip(differs).filter_map(|(key, is)| is.then_some(key)).collect()
            }
        }
    };
}

pub(super) use {key_name, key_rows, overrides, settings};
