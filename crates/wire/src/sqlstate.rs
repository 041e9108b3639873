//! SQLSTATE codes: five bytes that say what kind of thing went wrong.
//!
//! Invariant: a `SqlState` is five bytes of `A-Z0-9`.
//! Not here: the hundreds of codes that a pooler never sends itself nor reacts to.

use core::fmt;

/// A SQLSTATE: five upper-case letters or digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// 00000, successful completion.
    pub const SUCCESS: Self = Self(*b"00000");
    /// 08000, connection exception.
    pub const CONNECTION_EXCEPTION: Self = Self(*b"08000");
    /// 08006, connection failure.
    pub const CONNECTION_FAILURE: Self = Self(*b"08006");
    /// 08P01, protocol violation: the code of most errors a pooler makes itself.
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    /// 0A000, feature not supported.
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    /// 22023, invalid parameter value.
    pub const INVALID_PARAMETER_VALUE: Self = Self(*b"22023");
    /// 26000, invalid SQL statement name.
    pub const INVALID_STATEMENT_NAME: Self = Self(*b"26000");
    /// 28000, invalid authorization specification.
    pub const INVALID_AUTHORIZATION: Self = Self(*b"28000");
    /// 28P01, invalid password.
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    /// 3D000, no such database.
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");
    /// 42P05, duplicate prepared statement.
    pub const DUPLICATE_STATEMENT: Self = Self(*b"42P05");
    /// 53300, too many connections.
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    /// 54000, program limit exceeded.
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self(*b"54000");
    /// 57014, query cancelled.
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// 57P01, admin shutdown.
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    /// 57P03, cannot connect now: the server is starting up or shutting down.
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    /// F0000, configuration file error.
    pub const CONFIG_FILE_ERROR: Self = Self(*b"F0000");
    /// XX000, internal error: also what an error without a code is taken for.
    pub const INTERNAL_ERROR: Self = Self(*b"XX000");

    /// Takes five bytes of `A-Z0-9`; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let code: [u8; 5] = bytes.try_into().ok()?;
        code.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).then_some(Self(code))
    }

    /// Returns the five bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 5] {
        self.0
    }

    /// Returns the code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Five ASCII bytes by construction, so the fallback is never taken.
        core::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlState({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn only_five_upper_case_letters_or_digits_are_a_code() {
        assert_eq!(SqlState::from_bytes(b"08P01"), Some(SqlState::PROTOCOL_VIOLATION));
        for bad in [&b""[..], b"08P0", b"08P011", b"08p01", b"08 01", b"\xff8P01"] {
            assert_eq!(SqlState::from_bytes(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_code_prints_as_its_five_characters() {
        assert_eq!(SqlState::INTERNAL_ERROR.to_string(), "XX000");
    }
}
