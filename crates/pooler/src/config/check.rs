//! What must hold between values that are each valid alone.
//!
//! Invariant: an error here means that starting would fail, or would open a door the operator
//! did not ask for; everything else is a warning.

use super::Config;
use super::choice::AuthType;
use super::error::{Combination, ConfigError, Doubt, Place, Problem, Warning};
use super::kind::Invalid;
use super::table::{Section, Status};
use super::tls::SslMode;

/// Adds what makes the configuration unusable.
pub(super) fn errors(config: &Config, errors: &mut Vec<ConfigError>) {
    let global = &config.global;
    let mut add = |key: &'static str, problem| {
        let place = config.origin(Section::Pooler, "", key).clone();
        errors.push(ConfigError { place, problem, nearest: None });
    };
    if matches!(global.auth_type, AuthType::Ldap | AuthType::Pam) {
        let value = Some(super::error::Shown::new(global.auth_type.as_str()));
        let invalid = Invalid::Unsupported;
        add("auth_type", Problem::Value { key: "auth_type", value, invalid });
    }
    if global.listen_addr.is_empty() && global.unix_socket_dir.is_empty() {
        let by_default = *config.origin(Section::Pooler, "", "listen_addr") == Place::Default;
        let key = if by_default { "unix_socket_dir" } else { "listen_addr" };
        add(key, Problem::Combination(Combination::NowhereToListen));
    }
    let mode = global.client_tls_sslmode;
    if mode != SslMode::Disable
        && (global.client_tls_key_file.is_none() || global.client_tls_cert_file.is_none())
    {
        add("client_tls_sslmode", Problem::Combination(Combination::ClientTlsFiles));
    }
    if mode >= SslMode::VerifyCa && global.client_tls_ca_file.is_none() {
        add("client_tls_sslmode", Problem::Combination(Combination::ClientTlsAuthorities(mode)));
    }
    if global.auth_type == AuthType::Cert && mode < SslMode::VerifyCa {
        add("auth_type", Problem::Combination(Combination::CertWithoutTls));
    }
    let http = &config.http;
    let is_near = http.listen.is_none_or(|address| address.ip().is_loopback());
    let is_guarded = http.tls_cert_file.is_some()
        && http.tls_key_file.is_some()
        && (http.token.is_some() || http.read_token.is_some());
    if !is_near && !is_guarded {
        let place = config.origin(Section::Http, "", "listen").clone();
        let problem = Problem::Combination(Combination::HttpOpenToAll);
        errors.push(ConfigError { place, problem, nearest: None });
    }
    let mut add = |key: &'static str, problem| {
        let place = config.origin(Section::Pooler, "", key).clone();
        errors.push(ConfigError { place, problem, nearest: None });
    };
    if *config.origin(Section::Pooler, "", "auth_type") == Place::Start
        && !global.listen_addr.iter().all(is_loopback)
    {
        add("listen_addr", Problem::Combination(Combination::OpenToAll));
    }
}

fn is_loopback(address: &str) -> bool {
    address == "localhost"
        || address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Adds what is probably not meant.
pub(super) fn warnings(config: &Config, warnings: &mut Vec<Warning>) {
    let global = &config.global;
    let defaults = super::Global::default();
    let mut add = |key: &'static str, doubt| {
        let place = config.origin(Section::Pooler, "", key).clone();
        warnings.push(Warning { place, doubt });
    };
    for key in global.differing(&defaults) {
        if key.status == Status::Accepted {
            add(key.name, Doubt::NotHonoured(key.name));
        }
    }
    for (key, protocols) in [
        ("client_tls_protocols", &global.client_tls_protocols),
        ("server_tls_protocols", &global.server_tls_protocols),
    ] {
        if protocols.names_outdated() {
            add(key, Doubt::OutdatedTls(key));
        }
    }
    if global.auth_type == AuthType::Hba && global.auth_hba_file.is_none() {
        add("auth_type", Doubt::NoHbaFile);
    }
    let native = config.headpond.differing(&super::Native::default());
    let http = config.http.differing(&super::Http::default());
    for (section, keys) in [(Section::Native, native), (Section::Http, http)] {
        for key in keys.iter().filter(|key| key.status == Status::Accepted) {
            let place = config.origin(section, "", key.name).clone();
            warnings.push(Warning { place, doubt: Doubt::NotHonoured(key.name) });
        }
    }
    for database in config.databases.values().chain(config.fallback.as_ref()) {
        database_warnings(config, database, warnings);
    }
}

fn database_warnings(config: &Config, database: &super::Database, warnings: &mut Vec<Warning>) {
    let name = database.name.clone();
    let place_of = |key| config.origin(Section::Database, &database.name, key).clone();
    if database.host.is_none() && config.global.unix_socket_dir.is_empty() {
        let doubt = Doubt::NoHost(name.clone());
        warnings.push(Warning { place: place_of("host"), doubt });
    }
    let min = config.min_pool_size(database);
    let max = database.pool_size.unwrap_or(config.global.default_pool_size);
    if max > 0 && min > max {
        let place = place_of("min_pool_size");
        warnings.push(Warning { place, doubt: Doubt::MinAboveMax { name, min, max } });
    }
    for row in Section::Database.keys().iter().filter(|row| row.status == Status::Accepted) {
        if database.shown(row.name).is_some() {
            let doubt = Doubt::NotHonoured(row.name);
            warnings.push(Warning { place: place_of(row.name), doubt });
        }
    }
}
