//! The kinds of databases, by the scheme of their URL.

use std::fmt;

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    Mysql,
    /// Redis or Valkey.
    Redis,
    /// SQLite.
    Sqlite,
    /// An HTTP server.
    Http,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Postgres, Self::Mysql, Self::Redis, Self::Sqlite, Self::Http];

    /// Returns the kind that a URL's scheme names.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let (scheme, _) = url.split_once(':')?;
        Some(match scheme.to_ascii_lowercase().as_str() {
            "postgresql" | "postgres" => Self::Postgres,
            "mysql" | "mariadb" => Self::Mysql,
            "redis" | "rediss" | "valkey" | "valkeys" | "redis+unix" | "unix"
            | "redis-sentinel" | "rediss-sentinel" | "redis+sentinel" | "redis+cluster"
            | "rediss+cluster" | "redis-cluster" => Self::Redis,
            "sqlite" | "file" => Self::Sqlite,
            "http" | "https" => Self::Http,
            _ => return None,
        })
    }

    /// Returns the name in metrics and JSON: OpenTelemetry's `db.system.name`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Sqlite => "sqlite",
            Self::Http => "http",
        }
    }

    /// Returns whether it speaks SQL.
    #[must_use]
    pub const fn is_sql(self) -> bool {
        matches!(self, Self::Postgres | Self::Mysql | Self::Sqlite)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
