//! The settings that are one word out of a few.
//!
//! Invariant: each choice is read whatever the case of its letters and shown as it is listed
//! here, which is how PgBouncer writes it.

/// Defines an enum whose variants are the words a setting may be.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $name:ident, $expects:literal;
        $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )+
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
        }

        impl $name {
            /// Returns the word as it is written in a configuration file.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )+
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::config::kind::Kind for $name {
            type Value = $name;
            const EXPECTS: &'static str = $expects;

            fn parse(text: &str) -> Result<$name, $crate::config::kind::Invalid> {
                $( if text.eq_ignore_ascii_case($word) {
                    return Ok(Self::$variant);
                } )+
                Err($crate::config::kind::Invalid::Expected(Self::EXPECTS))
            }

            fn show(value: &$name) -> Option<String> {
                Some(value.as_str().to_owned())
            }
        }
    };
}

pub(super) use choice;

choice! {
    /// When a server goes back to the pool.
    PoolMode, "session, transaction or statement";
    /// When the client disconnects.
    Session = "session",
    /// When the transaction ends.
    Transaction = "transaction",
    /// After each query; transactions of several statements are refused.
    Statement = "statement",
}

choice! {
    /// How a client proves who it is.
    AuthType, "any, trust, plain, md5, scram-sha-256, cert, hba, ldap or pam";
    /// Nobody is asked anything; the entry's forced user is used.
    Any = "any",
    /// The user must be known; no password is asked.
    Trust = "trust",
    /// The password is sent in clear text.
    Plain = "plain",
    /// MD5 challenge, or SCRAM if the stored secret is a SCRAM one.
    Md5 = "md5",
    /// SCRAM-SHA-256.
    ScramSha256 = "scram-sha-256",
    /// A client certificate whose name is the user.
    Cert = "cert",
    /// Decided line by line by the HBA file.
    Hba = "hba",
    /// Asked of an LDAP server.
    Ldap = "ldap",
    /// Asked of the system's PAM.
    Pam = "pam",
}

choice! {
    /// What to do with a list of hosts.
    LoadBalance, "round-robin or disable";
    /// A new connection goes to the next host.
    RoundRobin = "round-robin",
    /// A new connection goes to the first host that answers.
    Disable = "disable",
}

choice! {
    /// How the workers talk to the operating system.
    Engine, "auto, epoll or io_uring";
    /// io_uring where it is allowed, else epoll.
    Auto = "auto",
    /// epoll, which works everywhere.
    Epoll = "epoll",
    /// io_uring; the start fails where it is forbidden.
    IoUring = "io_uring",
}

choice! {
    /// How log lines look.
    LogFormat, "pgbouncer, text or json";
    /// As PgBouncer writes them, for pgBadger and fail2ban.
    Pgbouncer = "pgbouncer",
    /// For people.
    Text = "text",
    /// One JSON object per line.
    Json = "json",
}

choice! {
    /// What clients hear while no server of their pool can be reached.
    OnFailing, "fail or hold";
    /// An error at once.
    Fail = "fail",
    /// Nothing: they wait, at most `query_wait_timeout`.
    Hold = "hold",
}
choice! {
    /// How bad an alert is.
    Urgency, "info, warning or critical";
    /// Worth knowing.
    Info = "info",
    /// Somebody should look today.
    Warning = "warning",
    /// Somebody should look now.
    Critical = "critical",
}
