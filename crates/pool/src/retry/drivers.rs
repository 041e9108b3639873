//! Which errors of servers and drivers are worth another attempt.
//!
//! Invariant: told by type and code, never by what a message says; what broke while it was under
//! way may have been carried out.
//! Left out: errors of pools (`classify.rs`) and of transactions (`transactions.rs`).

/// Returns what an error means that came before anything was sent.
#[cfg(any(feature = "postgres", feature = "redis"))]
const fn unsent(found: super::Retryable) -> super::Retryable {
    use super::Retryable;
    match found {
        Retryable::Lost(fault) => Retryable::Connection(fault),
        other => other,
    }
}

/// Returns what an error of the operating system means that came while connecting.
#[cfg(any(feature = "postgres", feature = "redis"))]
fn connecting(error: &std::io::Error) -> super::Retryable {
    use super::Classify;
    unsent(error.retryable())
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::error::Error as _;
    use std::io;

    use super::super::{Classify, Fault, Retryable};
    use super::{connecting, unsent};
    use crate::postgres::{Error, tokio_postgres};

    impl Classify for tokio_postgres::Error {
        fn retryable(&self) -> Retryable {
            if let Some(code) = self.code() {
                return Retryable::of_sqlstate(code.code());
            }
            match self.source().and_then(|source| source.downcast_ref::<io::Error>()) {
                Some(error) => error.retryable(),
                None if self.is_closed() => Retryable::Lost(Fault::Connection),
                None => Retryable::No,
            }
        }
    }

    impl Classify for Error {
        fn retryable(&self) -> Retryable {
            match self {
                Self::Driver(error) => error.retryable(),
                Self::Resolve { source, .. }
                | Self::Socket { source, .. }
                | Self::Handshake { source, .. } => connecting(source),
                Self::Timeout { .. } => Retryable::Connection(Fault::TimedOut),
                // Another server may have the role by then.
                Self::Role { .. } => Retryable::Connection(Fault::Connection),
                Self::Hosts(errors) => {
                    let each = errors.iter().map(|error| unsent(error.retryable()));
                    each.into_iter().find(|one| *one != Retryable::No).unwrap_or(Retryable::No)
                }
                Self::Ended => Retryable::Lost(Fault::UnexpectedEof),
                Self::NoTls { .. }
                | Self::Tls(_)
                | Self::Injected { .. }
                | Self::Abandoned
                | Self::RolledBack => Retryable::No,
            }
        }
    }
}

#[cfg(feature = "mysql")]
mod mysql {
    use std::time::Duration;

    use super::super::{Classify, Fault, Retryable};
    use crate::mysql::Error;
    use crate::mysql::driver::{DriverError, Error as Driver, IoError};

    impl Classify for Error {
        fn retryable(&self) -> Retryable {
            match self {
                Self::Acquire(error) => error.retryable(),
                Self::RolledBack => Retryable::Transaction,
                Self::Driver(Driver::Io(IoError::Io(error))) => error.retryable(),
                Self::Driver(Driver::Driver(DriverError::ConnectionClosed)) => {
                    Retryable::Lost(Fault::Connection)
                }
                Self::Driver(Driver::Server(error)) => of_code(error.code),
                _ => Retryable::No,
            }
        }

        fn retry_after(&self) -> Option<Duration> {
            match self {
                Self::Acquire(error) => Classify::retry_after(error.as_ref()),
                _ => None,
            }
        }
    }

    /// Returns what a server's number says. A wait for a lock that was too long (1205) undoes one
    /// statement only, so it is not among them.
    const fn of_code(code: u16) -> Retryable {
        match code {
            // A deadlock: the whole transaction was undone.
            1213 => Retryable::Transaction,
            // No room, for all or for this user; the login was turned away.
            1040 | 1203 | 1226 => Retryable::Connection(Fault::TooMany),
            // Not up yet.
            3168 => Retryable::Connection(Fault::StartingUp),
            // Going down, or the session was ended: for being idle, or by somebody.
            1053 | 1079 | 1927 | 4031 => Retryable::Lost(Fault::Terminated),
            // Packets got lost.
            1158..=1161 => Retryable::Lost(Fault::Connection),
            _ => Retryable::No,
        }
    }
}

#[cfg(feature = "redis")]
mod redis {
    use std::io;
    use std::time::Duration;

    use super::super::{Classify, Fault, Retryable};
    use super::{connecting, unsent};
    use crate::redis::Error;
    use crate::redis::driver::{ErrorKind, RedisError, ServerErrorKind};

    impl Classify for RedisError {
        fn retryable(&self) -> Retryable {
            match self.kind() {
                ErrorKind::Io if self.is_connection_refusal() => {
                    Retryable::Connection(Fault::Refused)
                }
                ErrorKind::Io => Retryable::Lost(fault(self)),
                // It says so instead of doing anything.
                ErrorKind::Server(
                    ServerErrorKind::BusyLoading
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::TryAgain,
                ) => Retryable::Connection(Fault::StartingUp),
                ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::ClusterConnectionNotFound => {
                    Retryable::Connection(Fault::Connection)
                }
                _ => Retryable::No,
            }
        }
    }

    fn fault(error: &RedisError) -> Fault {
        if error.is_timeout() {
            return Fault::TimedOut;
        }
        // The driver keeps no cause that could be asked for more.
        Fault::among_causes(error).unwrap_or(Fault::Connection)
    }

    impl Classify for Error {
        fn retryable(&self) -> Retryable {
            match self {
                Self::Driver(error) => error.retryable(),
                Self::Acquire(error) => error.retryable(),
                Self::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound => {
                    // The socket of a server that does not run.
                    Retryable::Connection(Fault::Refused)
                }
                Self::Io { cause, .. } => connecting(cause),
                Self::Connect(error) => unsent(error.retryable()),
                Self::ConnectTimeout(_) => Retryable::Connection(Fault::TimedOut),
                Self::NoMaster { .. } => Retryable::Connection(Fault::Connection),
                Self::Unknown { cause, .. } => Retryable::Lost(fault(cause)),
                // Nothing was done as often as it was tried.
                Self::Conflict(_) => Retryable::Transaction,
                _ => Retryable::No,
            }
        }

        fn retry_after(&self) -> Option<Duration> {
            match self {
                Self::Acquire(error) => Classify::retry_after(error.as_ref()),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "mysql")]
    #[test]
    fn what_a_mysql_server_says_is_told_by_its_code() {
        use super::super::{Classify, Fault, Retryable};
        use crate::mysql::driver::{Error as Driver, ServerError};
        for (code, expected) in [
            (1213, Retryable::Transaction),
            (1040, Retryable::Connection(Fault::TooMany)),
            (1053, Retryable::Lost(Fault::Terminated)),
            (1160, Retryable::Lost(Fault::Connection)),
            (1205, Retryable::No),
            (1062, Retryable::No),
        ] {
            let (message, state) = (String::new(), String::new());
            let error = Driver::Server(ServerError { code, message, state });
            assert_eq!(crate::mysql::Error::Driver(error).retryable(), expected, "{code}");
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_postgres_that_could_not_be_reached_has_done_nothing() {
        use super::super::{Classify, Fault, Retryable};
        use crate::postgres::Error;
        let host = || "db:5432".to_owned();
        let reset = || std::io::ErrorKind::ConnectionReset.into();
        for (error, expected) in [
            (Error::Socket { host: host(), source: reset() }, Retryable::Connection(Fault::Reset)),
            (Error::NoTls { host: host() }, Retryable::No),
            (Error::Ended, Retryable::Lost(Fault::UnexpectedEof)),
            (Error::RolledBack, Retryable::No),
            (
                Error::Hosts(vec![Error::NoTls { host: host() }, Error::Ended]),
                Retryable::Connection(Fault::UnexpectedEof),
            ),
        ] {
            assert_eq!(error.retryable(), expected, "{error:?}");
        }
    }

    #[cfg(feature = "redis")]
    #[test]
    fn a_redis_command_that_may_have_run_is_lost_and_one_that_did_not_is_not() {
        use std::io::{Error as Io, ErrorKind as Kind};

        use super::super::{Classify, Fault, Retryable};
        use crate::redis::{Error, driver::RedisError};
        let driver = |kind: Kind| RedisError::from(Io::from(kind));
        let unknown = |kind| Error::Unknown { command: "SET".to_owned(), cause: driver(kind) };
        for (error, expected) in [
            (unknown(Kind::BrokenPipe), Retryable::Lost(Fault::Connection)),
            (unknown(Kind::ConnectionRefused), Retryable::Lost(Fault::Connection)),
            (Error::Driver(driver(Kind::ConnectionRefused)), Retryable::Connection(Fault::Refused)),
            (Error::Driver(driver(Kind::TimedOut)), Retryable::Lost(Fault::TimedOut)),
            (Error::NeedsExclusive("BLPOP".to_owned()), Retryable::No),
        ] {
            assert_eq!(error.retryable(), expected, "{error:?}");
        }
    }
}
