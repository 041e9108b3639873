//! Every name that may stand in a URL, a DSN or a service file, and its environment variable.
//!
//! Invariant: a name is here once. What libpq has and we have not is refused or, where it changes
//! nothing, ignored; it is never taken for a typing error.
//! Left out: what the values mean (`read.rs`), and the options of the pool (`crate::options`).

use crate::options::OPTIONS;
use crate::options::nearest::nearest;

/// What is done with a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It is honoured.
    Honoured,
    /// It is, and its value is never shown.
    Secret,
    /// It changes nothing here, whatever it says.
    Ignored,
    /// It asks for something that is not there; the values under which it asks for nothing.
    Refused(&'static [&'static str]),
}

/// A name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) variable: Option<&'static str>,
    pub(super) kind: Kind,
}

const fn key(name: &'static str, variable: &'static str, kind: Kind) -> Key {
    Key { name, variable: Some(variable), kind }
}

const fn bare(name: &'static str, kind: Kind) -> Key {
    Key { name, variable: None, kind }
}

use Kind::{Honoured, Ignored, Refused, Secret};

/// All names.
pub(super) const KEYS: &[Key] = &[
    key("host", "PGHOST", Honoured),
    key("hostaddr", "PGHOSTADDR", Honoured),
    key("port", "PGPORT", Honoured),
    key("dbname", "PGDATABASE", Honoured),
    key("user", "PGUSER", Honoured),
    key("password", "PGPASSWORD", Secret),
    key("passfile", "PGPASSFILE", Honoured),
    key("service", "PGSERVICE", Honoured),
    key("servicefile", "PGSERVICEFILE", Honoured),
    key("options", "PGOPTIONS", Honoured),
    key("application_name", "PGAPPNAME", Honoured),
    bare("fallback_application_name", Honoured),
    key("client_encoding", "PGCLIENTENCODING", Refused(&["UTF8", "utf8", "UTF-8", "utf-8"])),
    key("connect_timeout", "PGCONNECT_TIMEOUT", Honoured),
    key("sslmode", "PGSSLMODE", Honoured),
    bare("ssl", Honoured),
    key("requiressl", "PGREQUIRESSL", Honoured),
    key("sslnegotiation", "PGSSLNEGOTIATION", Honoured),
    key("sslcompression", "PGSSLCOMPRESSION", Ignored),
    key("sslcert", "PGSSLCERT", Honoured),
    key("sslkey", "PGSSLKEY", Honoured),
    bare("sslpassword", Secret),
    key("sslcertmode", "PGSSLCERTMODE", Honoured),
    key("sslrootcert", "PGSSLROOTCERT", Honoured),
    key("sslcrl", "PGSSLCRL", Honoured),
    key("sslcrldir", "PGSSLCRLDIR", Refused(&[""])),
    key("sslsni", "PGSSLSNI", Honoured),
    key("requirepeer", "PGREQUIREPEER", Refused(&[""])),
    key("require_auth", "PGREQUIREAUTH", Refused(&[""])),
    key("channel_binding", "PGCHANNELBINDING", Honoured),
    key("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Honoured),
    key("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Honoured),
    key("min_protocol_version", "PGMINPROTOCOLVERSION", Refused(&["3.0"])),
    key("max_protocol_version", "PGMAXPROTOCOLVERSION", Ignored),
    key("gssencmode", "PGGSSENCMODE", Refused(&["disable", "prefer"])),
    key("krbsrvname", "PGKRBSRVNAME", Ignored),
    key("gsslib", "PGGSSLIB", Ignored),
    key("gssdelegation", "PGGSSDELEGATION", Refused(&["0"])),
    key("target_session_attrs", "PGTARGETSESSIONATTRS", Honoured),
    key("load_balance_hosts", "PGLOADBALANCEHOSTS", Honoured),
    bare("keepalives", Honoured),
    bare("keepalives_idle", Honoured),
    bare("keepalives_interval", Honoured),
    bare("keepalives_count", Honoured),
    bare("tcp_user_timeout", Honoured),
    bare("replication", Refused(&["", "false", "off", "no", "0"])),
    bare("sslkeylogfile", Refused(&[""])),
    bare("scram_client_key", Refused(&[""])),
    bare("scram_server_key", Refused(&[""])),
    bare("oauth_issuer", Refused(&[""])),
    bare("oauth_client_id", Refused(&[""])),
    bare("oauth_client_secret", Refused(&[""])),
    bare("oauth_scope", Refused(&[""])),
    key("datestyle", "PGDATESTYLE", Honoured),
    key("timezone", "PGTZ", Honoured),
    key("geqo", "PGGEQO", Honoured),
    bare("statement_timeout", Honoured),
    bare("lock_timeout", Honoured),
    bare("idle_in_transaction_session_timeout", Honoured),
    bare("pgbouncer", Honoured),
    bare("statement_cache_size", Honoured),
];

/// Returns what is known of a name.
pub(super) fn find(name: &str) -> Option<Key> {
    KEYS.iter().find(|key| key.name == name).copied()
}

/// Returns the name that was probably meant, those of the pool included.
pub(super) fn nearest_key(name: &str) -> Option<&'static str> {
    let names = KEYS.iter().map(|key| key.name);
    nearest(name, names.chain(OPTIONS.iter().map(|option| option.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_nothing_far_away() {
        for (word, expected) in [
            ("pool_max_con", Some("pool_max_conns")),
            ("sslmod", Some("sslmode")),
            ("aplication_name", Some("application_name")),
            ("xyzzy", None),
        ] {
            assert_eq!(nearest_key(word), expected, "{word}");
        }
    }

    #[test]
    fn no_name_and_no_variable_is_there_twice() {
        for (i, key) in KEYS.iter().enumerate() {
            let again = |other: &Key| {
                other.name == key.name || key.variable.is_some() && other.variable == key.variable
            };
            assert!(!KEYS[i + 1..].iter().any(again), "{}", key.name);
        }
    }
}
