//! Reading `mysql://` and `mariadb://` URLs.
//!
//! Invariant: pool options and the command line's `ssl-*` are taken out before the driver sees the
//! URL.
//! Left out: pool options themselves (`keys.rs`).

use std::path::PathBuf;

use mysql_async::{ClientIdentity, Opts, OptsBuilder, SslOpts};

use super::error::UrlError;
use crate::options::{PoolOptions, pairs};

/// How the way to the server is protected; the names are those of the `mysql` command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum SslMode {
    /// Not at all.
    Disabled,
    /// Encrypted if the server can, without looking at its certificate.
    #[default]
    Preferred,
    /// Encrypted or not at all, without looking at its certificate.
    Required,
    /// The certificate must be signed by an authority that is trusted.
    VerifyCa,
    /// And it must be for the host that was asked for.
    VerifyIdentity,
}

/// What a URL says.
pub(super) struct Parsed {
    pub(super) opts: OptsBuilder,
    pub(super) tls: Tls,
    pub(super) keys: PoolOptions,
}

/// How to encrypt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tls {
    /// Said in so many words; otherwise the driver's own keys count.
    pub(super) mode: Option<SslMode>,
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

pub(super) fn parse(url: &str) -> Result<Parsed, UrlError> {
    let rest = url.strip_prefix("mysql://").or_else(|| url.strip_prefix("mariadb://"));
    let rest = rest.ok_or(UrlError::Scheme)?;
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut keys, mut tls) = (PoolOptions::default(), Tls::default());
    let mut kept = Vec::new();
    let mut says_socket = false;
    for (raw, (key, value)) in query.split('&').filter(|raw| !raw.is_empty()).zip(pairs(query)) {
        match key.to_ascii_lowercase().replace('_', "-").as_str() {
            "ssl-mode" | "sslmode" => tls.mode = Some(ssl_mode(&value)?),
            "ssl-ca" | "sslca" => tls.ca = Some(value.into()),
            "ssl-cert" | "sslcert" => tls.cert = Some(value.into()),
            "ssl-key" | "sslkey" => tls.key = Some(value.into()),
            _ if keys.take(&key, &value)? => {}
            _ => {
                says_socket |= key == "prefer_socket";
                kept.push(raw);
            }
        }
    }
    let url = format!("mysql://{place}?{}", kept.join("&"));
    let mut opts = OptsBuilder::from_opts(Opts::from_url(url.trim_end_matches('?'))?);
    if !says_socket {
        // By default the driver logs in twice on the own host, to change to the unix socket: the
        // server would see more connections than the pool may have.
        opts = opts.prefer_socket(false);
    }
    Ok(Parsed { opts, tls, keys })
}

fn ssl_mode(text: &str) -> Result<SslMode, UrlError> {
    match text.to_ascii_uppercase().replace('-', "_").as_str() {
        "DISABLED" => Ok(SslMode::Disabled),
        "PREFERRED" => Ok(SslMode::Preferred),
        "REQUIRED" => Ok(SslMode::Required),
        "VERIFY_CA" => Ok(SslMode::VerifyCa),
        "VERIFY_IDENTITY" => Ok(SslMode::VerifyIdentity),
        _ => Err(UrlError::SslMode(text.to_owned())),
    }
}

impl Tls {
    /// Returns what the driver is told; nothing means no encryption.
    pub(super) fn options(&self, mode: SslMode) -> Option<SslOpts> {
        let mut ssl = SslOpts::default();
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            let identity = ClientIdentity::new(cert.clone().into(), key.clone().into());
            ssl = ssl.with_client_identity(Some(identity));
        }
        if let Some(ca) = &self.ca {
            ssl = ssl.with_root_certs(vec![ca.clone().into()]).with_disable_built_in_roots(true);
        }
        match mode {
            SslMode::Disabled => None,
            SslMode::Preferred | SslMode::Required => Some(
                ssl.with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true),
            ),
            SslMode::VerifyCa => Some(ssl.with_danger_skip_domain_validation(true)),
            SslMode::VerifyIdentity => Some(ssl),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SslMode, parse};
    use mysql_async::Opts;

    #[test]
    fn pool_options_and_ssl_mode_are_taken_out() {
        let url = "mariadb://me:p%40ss@h:3307/db?pool_max=7&ssl-mode=VERIFY_CA&tcp_nodelay=true";
        let parsed = parse(url).unwrap();
        assert_eq!(parsed.tls.mode, Some(SslMode::VerifyCa));
        let opts = Opts::from(parsed.opts);
        assert_eq!(
            (opts.user(), opts.pass(), opts.db_name()),
            (Some("me"), Some("p@ss"), Some("db"))
        );
        assert_eq!((opts.ip_or_hostname(), opts.tcp_port()), ("h", 3307));
        assert!(!opts.prefer_socket());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let wrong = [
            "postgres://u:secret@h/d",
            "mysql://u:secret@h/d?ssl-mode=SOME",
            "mysql://u:secret@h/d?pool_maxx=3",
            "mysql://u:secret@h/d?nonsense=3",
            "mysql://u:secret@h:port/d",
        ];
        for url in wrong {
            let error = parse(url).err().expect(url);
            let text = format!("{error} {error:?}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
