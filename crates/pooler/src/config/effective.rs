//! The value that applies to one database and one user.
//!
//! Invariant: user wins over database, database over global, wherever a key exists on more than
//! one of them; nothing else in the program compares the three.
//! The user is the one the limit is about: for pools the user on the server, for timeouts of a
//! client the user that logged in.

use std::time::Duration;

use super::choice::PoolMode;
use super::database::Database;
use super::error::Place;
use super::host::Host;
use super::table::Section;
use super::tls::SslMode;
use super::user::User;
use super::{Config, Key};

const CONNECT_QUERY: &str = "connect_query";

/// A setting in force, and where it comes from.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Its section.
    pub section: Section,
    /// Its entry; empty for sections without entries.
    pub entry: String,
    /// Its row in the table.
    pub key: &'static Key,
    /// Its value; `***` for a secret, `None` for what is unset.
    pub value: Option<String>,
    /// Its default; `None` for what is unset.
    pub default: Option<String>,
    /// Where it was written.
    pub origin: String,
}

impl Config {
    /// Returns the entry for a database: its own, or the entry `*`.
    pub fn database(&self, name: &str) -> Option<&Database> {
        self.databases.get(name).or(self.fallback.as_ref())
    }

    /// Returns the entry of a user, if there is one.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// Returns when a server goes back to its pool.
    pub fn pool_mode(&self, database: &Database, user: &str) -> PoolMode {
        let of_user = self.user(user).and_then(|user| user.pool_mode);
        of_user.or(database.pool_mode).unwrap_or(self.global.pool_mode)
    }

    /// Returns how many servers a pool may have; 0 is unlimited.
    pub fn pool_size(&self, database: &Database, user: &str) -> u32 {
        let of_user = self.user(user).and_then(|user| user.pool_size);
        of_user.or(database.pool_size).unwrap_or(self.global.default_pool_size)
    }

    /// Returns how many servers a pool keeps open.
    pub fn min_pool_size(&self, database: &Database) -> u32 {
        database.min_pool_size.unwrap_or(self.global.min_pool_size)
    }

    /// Returns how many servers a pool may have beyond its size.
    pub fn reserve_pool_size(&self, database: &Database, user: &str) -> u32 {
        let of_user = self.user(user).and_then(|user| user.reserve_pool_size);
        of_user.or(database.reserve_pool_size).unwrap_or(self.global.reserve_pool_size)
    }

    /// Returns how old a server may get; zero means a single use.
    pub fn server_lifetime(&self, database: &Database) -> Duration {
        database.server_lifetime.unwrap_or(self.global.server_lifetime)
    }

    /// Returns the cap of servers of a database over all users; 0 is none.
    pub fn max_db_connections(&self, database: &Database) -> u32 {
        database.max_db_connections.unwrap_or(self.global.max_db_connections)
    }

    /// Returns the cap of clients of a database over all users; 0 is none.
    pub fn max_db_client_connections(&self, database: &Database) -> u32 {
        database.max_db_client_connections.unwrap_or(self.global.max_db_client_connections)
    }

    /// Returns the cap of servers of a user over all databases; 0 is none.
    pub fn max_user_connections(&self, user: &str) -> u32 {
        let of_user = self.user(user).and_then(|user| user.max_user_connections);
        of_user.unwrap_or(self.global.max_user_connections)
    }

    /// Returns the cap of clients of a user over all databases; 0 is none.
    pub fn max_user_client_connections(&self, user: &str) -> u32 {
        let of_user = self.user(user).and_then(|user| user.max_user_client_connections);
        of_user.unwrap_or(self.global.max_user_client_connections)
    }

    /// Returns how long a client may wait for a server; zero is for ever.
    pub fn query_wait_timeout(&self, database: &Database, user: &str) -> Duration {
        let of_user = self.user(user).and_then(|user| user.query_wait_timeout);
        of_user.or(database.query_wait_timeout).unwrap_or(self.global.query_wait_timeout)
    }

    /// Returns how long a query may run; zero is for ever.
    pub fn query_timeout(&self, user: &str) -> Duration {
        let of_user = self.user(user).and_then(|user| user.query_timeout);
        of_user.unwrap_or(self.global.query_timeout)
    }

    /// Returns how long a transaction may be idle; zero is for ever.
    pub fn idle_transaction_timeout(&self, user: &str) -> Duration {
        let of_user = self.user(user).and_then(|user| user.idle_transaction_timeout);
        of_user.unwrap_or(self.global.idle_transaction_timeout)
    }

    /// Returns how long a transaction may last; zero is for ever.
    pub fn transaction_timeout(&self, user: &str) -> Duration {
        let of_user = self.user(user).and_then(|user| user.transaction_timeout);
        of_user.unwrap_or(self.global.transaction_timeout)
    }

    /// Returns how long a client may do nothing; zero is for ever.
    pub fn client_idle_timeout(&self, user: &str) -> Duration {
        let of_user = self.user(user).and_then(|user| user.client_idle_timeout);
        of_user.unwrap_or(self.global.client_idle_timeout)
    }

    /// Returns the login that runs auth_query, if there is one.
    pub fn auth_user<'a>(&'a self, database: &'a Database) -> Option<&'a str> {
        database.auth_user.as_deref().or(self.global.auth_user.as_deref())
    }

    /// Returns the entry in which auth_query runs, if it is not the client's own.
    pub fn auth_dbname<'a>(&'a self, database: &'a Database) -> Option<&'a str> {
        database.auth_dbname.as_deref().or(self.global.auth_dbname.as_deref())
    }

    /// Returns the query that finds a user's secret.
    pub fn auth_query<'a>(&'a self, database: &'a Database) -> &'a str {
        database.auth_query.as_deref().unwrap_or(&self.global.auth_query)
    }

    /// Returns where the servers of a database are: its hosts, or the directory of unix
    /// sockets; empty if there is neither.
    pub fn hosts(&self, database: &Database) -> Vec<Host> {
        if let Some(hosts) = &database.host {
            return hosts.clone();
        }
        let directory = &self.global.unix_socket_dir;
        if directory.is_empty() { Vec::new() } else { vec![Host::Unix(directory.clone())] }
    }

    /// Returns how much TLS is asked of the servers of a database.
    pub fn server_sslmode(&self, database: &Database) -> SslMode {
        database.sslmode.unwrap_or(self.global.server_tls_sslmode)
    }

    /// Returns the authorities that servers of a database are checked against.
    pub fn server_ca_file<'a>(&'a self, database: &'a Database) -> Option<&'a std::path::Path> {
        own_or(&database.sslrootcert, &self.global.server_tls_ca_file)
    }

    /// Returns our certificate towards the servers of a database.
    pub fn server_cert_file<'a>(&'a self, database: &'a Database) -> Option<&'a std::path::Path> {
        own_or(&database.sslcert, &self.global.server_tls_cert_file)
    }

    /// Returns our key towards the servers of a database.
    pub fn server_key_file<'a>(&'a self, database: &'a Database) -> Option<&'a std::path::Path> {
        own_or(&database.sslkey, &self.global.server_tls_key_file)
    }

    /// Returns where a value was written. `name` is the entry, empty for sections without.
    pub fn origin(&self, section: Section, name: &str, key: &'static str) -> &Place {
        self.origins.get(&(section, name.to_owned(), key)).unwrap_or(&Place::Default)
    }

    /// Returns every setting as it is in force, with its default and where it was written: all of
    /// the sections without entries, and what is written of the entries. Secrets show as `***`.
    pub fn explained(&self) -> Vec<Explained> {
        let default = Config::default();
        let mut all = Vec::new();
        for (section, _) in super::live::SECTIONS {
            all.extend(section.keys().iter().map(|key| Explained {
                section,
                entry: String::new(),
                key,
                value: self.text(section, key),
                default: default.text(section, key),
                origin: self.origin(section, "", key.name).to_string(),
            }));
        }
        let entries = self.written().filter(|(section, ..)| section.has_entries());
        all.extend(entries.map(|(section, entry, key, value, place)| Explained {
            section,
            entry: entry.to_owned(),
            key,
            // SQL of the operator's own may hold a password: that there is some is enough.
            value: if key.name == CONNECT_QUERY { value.map(|_| "***".into()) } else { value },
            default: None,
            origin: place.to_string(),
        }));
        all
    }

    /// Returns the rules of `[rules]`.
    pub fn alert_rules(&self) -> Vec<headpond_monitor::alert::Rule> {
        // An entry without a rule is an error, and then there is no `Config`.
        self.rules.values().filter_map(super::observe::RuleEntry::rule).collect()
    }

    /// Returns every value that was written somewhere, with its place, for `config show`.
    /// The text is `None` where nothing can be shown; secrets show as `***`.
    pub fn written(
        &self,
    ) -> impl Iterator<Item = (Section, &str, &'static Key, Option<String>, &Place)> {
        self.origins.iter().filter_map(|((section, name, key), place)| {
            let text = match section {
                Section::Pooler => self.global.shown(key)?,
                Section::Http => self.http.shown(key)?,
                Section::Alerts => self.alerts.shown(key)?,
                Section::History => self.history.shown(key)?,
                Section::Otlp => self.otlp.shown(key)?,
                Section::Native => self.headpond.shown(key)?,
                Section::Rule => self.rules.get(name)?.shown(key),
                Section::Database if name == super::database::FALLBACK => {
                    self.fallback.as_ref()?.shown(key)
                }
                Section::Database => self.databases.get(name)?.shown(key),
                Section::User => self.users.get(name)?.shown(key),
                Section::Peer => self.peers.get(&name.parse().ok()?)?.shown(key),
            };
            Some((*section, name.as_str(), section.key(key)?, text, place))
        })
    }
}

fn own_or<'a>(
    own: &'a Option<Option<std::path::PathBuf>>,
    global: &'a Option<std::path::PathBuf>,
) -> Option<&'a std::path::Path> {
    own.as_ref().and_then(Option::as_deref).or(global.as_deref())
}
