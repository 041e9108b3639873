//! One version of the configuration with everything that was read from files for it.
//!
//! Invariant: never changed, only replaced; if any part cannot be read the old one stays.
//! Not here: parsing (`config/`, `auth/`, `tls/`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use headpond_wire::session::Tracked;
use rustls::ClientConfig;

use crate::auth::hba::{IdentMaps, Rules};
use crate::auth::secrets::Userlist;
use crate::config::tls::SslMode;
use crate::config::{Config, Database};
use crate::engine::SocketOptions;
use crate::tls::{self, Ciphers, ServerConfig, TlsFiles};

/// Parameters of the startup packet itself.
const STARTUP: [&str; 5] = ["user", "database", "replication", "options", "extra_float_digits"];

/// What the names of protocol options start with.
const PROTOCOL_OPTION: &[u8] = b"_pq_.";

/// One version of the configuration.
pub struct View {
    /// The settings.
    pub config: Config,
    /// auth_file.
    pub secrets: Userlist,
    /// auth_hba_file.
    pub hba: Option<Rules>,
    /// TLS towards clients.
    pub client_tls: Option<Arc<ServerConfig>>,
    server_tls: BTreeMap<String, Arc<ClientConfig>>,
    /// Options of sockets to servers and clients.
    pub socket_options: SocketOptions,
    /// Key of the secrets invented for unknown users; the same for the life of the process.
    pub mock_key: [u8; 32],
    /// The unix user of this process.
    pub own_uid: u32,
    /// The parameters that follow clients; fixed for the life of the process.
    pub tracked: Arc<Tracked>,
    unix_users: BTreeMap<u32, String>,
}

/// What of a view outlives a reload.
#[derive(Clone)]
pub struct Lasting {
    /// See [`View::mock_key`].
    pub mock_key: [u8; 32],
    /// See [`View::own_uid`].
    pub own_uid: u32,
    /// See [`View::tracked`].
    pub tracked: Arc<Tracked>,
}

impl Lasting {
    /// Makes what the first version needs.
    ///
    /// # Errors
    /// The configuration tracks what is no parameter, or the system has no random bytes.
    pub fn new(config: &Config) -> Result<Self, String> {
        let mut mock_key = [0; 32];
        getrandom::fill(&mut mock_key).map_err(|error| format!("random bytes: {error}"))?;
        let own = std::fs::metadata("/proc/self").map_err(|error| format!("own user: {error}"))?;
        let extra = config.global.track_extra_parameters.iter();
        let tracked =
            Tracked::new(extra).map_err(|error| format!("track_extra_parameters: {error}"))?;
        let own_uid = std::os::unix::fs::MetadataExt::uid(&own);
        Ok(Self { mock_key, own_uid, tracked })
    }
}

impl View {
    /// Reads everything that a configuration names.
    ///
    /// # Errors
    /// A sentence about the first file that cannot be used.
    pub fn read(
        config: Config,
        lasting: &Lasting,
        warn: &mut dyn FnMut(String),
    ) -> Result<Self, String> {
        let secrets = match &config.global.auth_file {
            Some(path) => userlist(path, warn)?,
            None => Userlist::default(),
        };
        let hba = match &config.global.auth_hba_file {
            Some(path) => Some(hba_rules(path, &config, warn)?),
            None => None,
        };
        let client_tls = client_side(&config, warn).map_err(|e| e.to_string())?;
        let mut server_tls = BTreeMap::new();
        let console = config.http.pgbouncer_url.as_ref();
        let specs = config.databases.values().chain(config.fallback.as_ref()).chain(console);
        for spec in specs {
            if let Some(tls) = server_side(&config, spec, warn).map_err(|e| e.to_string())? {
                server_tls.insert(spec.name.clone(), tls);
            }
        }
        let global = &config.global;
        let socket_options = SocketOptions {
            nodelay: true,
            keepalive: global.tcp_keepalive,
            keepcnt: global.tcp_keepcnt,
            keepidle: global.tcp_keepidle,
            keepintvl: global.tcp_keepintvl,
            user_timeout_ms: u32::try_from(global.tcp_user_timeout.as_millis()).unwrap_or(0),
            buffer: global.tcp_socket_buffer,
        };
        Ok(Self {
            secrets,
            hba,
            client_tls,
            server_tls,
            socket_options,
            mock_key: lasting.mock_key,
            own_uid: lasting.own_uid,
            tracked: Arc::clone(&lasting.tracked),
            unix_users: unix_users(),
            config,
        })
    }

    /// What stays over a reload.
    #[must_use]
    pub fn lasting(&self) -> Lasting {
        Lasting {
            mock_key: self.mock_key,
            own_uid: self.own_uid,
            tracked: Arc::clone(&self.tracked),
        }
    }

    /// TLS towards the servers of an entry.
    #[must_use]
    pub fn server_tls(&self, entry: &str) -> Option<Arc<ClientConfig>> {
        self.server_tls.get(entry).cloned()
    }

    /// Returns true if clients over TCP must use TLS.
    #[must_use]
    pub fn requires_client_tls(&self) -> bool {
        self.config.global.client_tls_sslmode >= SslMode::Require
    }

    /// Returns true if this startup parameter may come.
    #[must_use]
    pub fn accepts_startup_param(&self, name: &str) -> bool {
        let ignored = &self.config.global.ignore_startup_parameters;
        let head = name.as_bytes().get(..PROTOCOL_OPTION.len());
        STARTUP.iter().any(|known| known.eq_ignore_ascii_case(name))
            || self.tracked.contains(name.as_bytes())
            || head.is_some_and(|head| head.eq_ignore_ascii_case(PROTOCOL_OPTION))
            || ignored.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Returns true if whatever stands in `options` is to be dropped.
    #[must_use]
    pub fn ignores_options(&self) -> bool {
        let ignored = &self.config.global.ignore_startup_parameters;
        ignored.iter().any(|known| known.eq_ignore_ascii_case("options"))
    }

    /// The name of a unix user.
    #[must_use]
    pub fn unix_user(&self, uid: u32) -> Option<String> {
        self.unix_users.get(&uid).cloned()
    }
}

fn userlist(path: &Path, warn: &mut dyn FnMut(String)) -> Result<Userlist, String> {
    let parsed = Userlist::read(path).map_err(|e| format!("auth_file {}: {e}", path.display()))?;
    if let Some(broken) = parsed.broken {
        warn(format!("{}: {broken}", path.display()));
    }
    for (line, user) in parsed.unusable {
        warn(format!("{}: line {line}: the secret of {user} cannot be used", path.display()));
    }
    Ok(parsed.users)
}

fn hba_rules(path: &Path, config: &Config, warn: &mut dyn FnMut(String)) -> Result<Rules, String> {
    let maps = match &config.global.auth_ident_file {
        Some(file) => {
            let bytes = std::fs::read(file)
                .map_err(|e| format!("auth_ident_file {}: {e}", file.display()))?;
            let (maps, doubts) = IdentMaps::parse(&bytes);
            doubts.iter().for_each(|doubt| warn(format!("{}: {doubt}", file.display())));
            maps
        }
        None => IdentMaps::default(),
    };
    let parsed =
        Rules::read(path, &maps).map_err(|e| format!("auth_hba_file {}: {e}", path.display()))?;
    parsed.warnings.iter().for_each(|doubt| warn(format!("{}: {doubt}", path.display())));
    Ok(parsed.rules)
}

fn client_side(
    config: &Config,
    warn: &mut dyn FnMut(String),
) -> Result<Option<Arc<ServerConfig>>, tls::TlsError> {
    let global = &config.global;
    let mut files = TlsFiles::new(global.client_tls_sslmode);
    files.key.clone_from(&global.client_tls_key_file);
    files.cert.clone_from(&global.client_tls_cert_file);
    files.ca.clone_from(&global.client_tls_ca_file);
    files.protocols = global.client_tls_protocols.clone();
    files.ciphers = ciphers(&global.client_tls_ciphers, &global.client_tls13_ciphers, warn)?;
    if files.protocols.names_outdated() {
        warn("TLS 1.0 and 1.1 are not spoken; 1.2 and 1.3 are".into());
    }
    tls::server_config(&files)
}

fn server_side(
    config: &Config,
    spec: &Database,
    warn: &mut dyn FnMut(String),
) -> Result<Option<Arc<ClientConfig>>, tls::TlsError> {
    let own = |path: Option<&std::path::Path>| path.map(std::path::Path::to_path_buf);
    let mut files = TlsFiles::new(config.server_sslmode(spec));
    files.key = own(config.server_key_file(spec));
    files.cert = own(config.server_cert_file(spec));
    files.ca = own(config.server_ca_file(spec));
    files.protocols = config.global.server_tls_protocols.clone();
    let global = &config.global;
    files.ciphers = ciphers(&global.server_tls_ciphers, &global.server_tls13_ciphers, warn)?;
    tls::client_config(&files)
}

/// The ciphers of two settings; names that nothing here stands for are reported.
fn ciphers(
    tls12: &str,
    tls13: &Option<String>,
    warn: &mut dyn FnMut(String),
) -> Result<Ciphers, tls::TlsError> {
    let ciphers = Ciphers { tls12: tls12.to_owned(), tls13: tls13.clone().unwrap_or_default() };
    for unknown in ciphers.select()?.1 {
        warn(unknown.to_string());
    }
    Ok(ciphers)
}

/// Names of unix users by number, for `peer`. An unreadable file means that nobody is known.
fn unix_users() -> BTreeMap<u32, String> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = fields.nth(1)?.parse().ok()?;
            Some((uid, name.to_owned()))
        })
        .collect()
}
