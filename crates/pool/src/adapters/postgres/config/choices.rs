//! The values of parameters that have a few, by libpq's names.
//!
//! Invariant: the list in an error message is the list that is accepted.

/// Returns what a word for true or false means.
pub(super) fn truth(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" | "t" | "y" => Some(true),
        "false" | "off" | "no" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}

/// A parameter with a few values.
pub(super) trait Choice: Sized + Copy + 'static {
    const ALL: &'static [(&'static str, Self)];
    /// All names, as they stand in an error.
    const NAMES: &'static str;
}

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident default $default:ident {
        $($(#[$variant_doc:meta])* $word:literal => $variant:ident,)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
            pub enum $name {
                $($(#[$variant_doc])* $variant,)*
            }

            impl Default for $name {
                fn default() -> Self {
                    Self::$default
                }
            }

            impl $name {
                /// Returns the word that stands in a URL.
                #[must_use]
                pub const fn as_str(self) -> &'static str {
                    match self {
                        $(Self::$variant => $word,)*
                    }
                }
            }

            impl Choice for $name {
                const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)*];
                const NAMES: &'static str = concat!("one of" $(, " ", $word)*);
            }
        )*
    };
}

choices! {
    /// How much TLS there must be; they get stricter in this order.
    /// Default: prefer, because libpq's is.
    SslMode default Prefer {
        /// None.
        "disable" => Disable,
        /// Only if the server insists.
        "allow" => Allow,
        /// If the server has it.
        "prefer" => Prefer,
        /// In any case; who the server is is checked only if there is a root certificate.
        "require" => Require,
        /// And the certificate is signed by somebody we trust.
        "verify-ca" => VerifyCa,
        /// And it is the server's own.
        "verify-full" => VerifyFull,
    }
    /// How TLS begins.
    /// Default: postgres, because servers before 17 know nothing else.
    Negotiation default Postgres {
        /// After asking for it.
        "postgres" => Postgres,
        /// At once.
        "direct" => Direct,
    }
    /// Whether our certificate is shown.
    /// Default: allow, because libpq's is.
    CertMode default Allow {
        /// Never.
        "disable" => Disable,
        /// If the server asks and there is one.
        "allow" => Allow,
        /// There must be one.
        "require" => Require,
    }
    /// Whether logging in must be bound to the TLS session.
    /// Default: prefer, because libpq's is.
    ChannelBinding default Prefer {
        /// Never.
        "disable" => Disable,
        /// If server and certificate allow it.
        "prefer" => Prefer,
        /// In any case.
        "require" => Require,
    }
    /// Which server is wanted among several.
    /// Default: any, because libpq's is.
    TargetSession default Any {
        /// The first that answers.
        "any" => Any,
        /// One on which transactions may write.
        "read-write" => ReadWrite,
        /// One on which they may not.
        "read-only" => ReadOnly,
        /// One that is not in recovery.
        "primary" => Primary,
        /// One that is.
        "standby" => Standby,
        /// One that is, or else any.
        "prefer-standby" => PreferStandby,
    }
    /// In which order several servers are tried.
    /// Default: disable, because the first may be meant to be the first.
    LoadBalance default Disable {
        /// As they stand.
        "disable" => Disable,
        /// In any order, drawn anew for each connection.
        "random" => Random,
    }
    /// A version of TLS.
    Protocol default Tls12 {
        /// 1.2.
        "TLSv1.2" => Tls12,
        /// 1.3.
        "TLSv1.3" => Tls13,
    }
    /// When a session is cleaned before others get it.
    /// Default: clean, because a round trip for every loan costs more than it finds.
    Recycling default Clean {
        /// If something was left in it, as far as that can be seen in what was sent and answered.
        /// Hidden from sight is what the user's own functions do inside.
        "clean" => Clean,
        /// Always, and thoroughly (DISCARD ALL): prepared statements go too.
        "always" => Always,
        /// Never; only transactions are ended.
        "fast" => Fast,
    }
    /// What lies between here and the server.
    Route default Direct {
        /// Nothing.
        "direct" => Direct,
        /// PgBouncer, Headpond or the like in transaction mode: no session settings are sent, no
        /// reset is run, and statements are not kept.
        "pooler" => Pooler,
    }
}

/// Whom to trust.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RootCert {
    /// The certificates in this file.
    File(std::path::PathBuf),
    /// Those that the operating system trusts.
    System,
}
