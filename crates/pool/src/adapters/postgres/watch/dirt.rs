//! What a user can leave in a session, and how it shows in the tags of finished statements.
//!
//! Invariant: a tag that may stand for something lasting is dirt; what only lasts as long as its
//! transaction is not.
//! Left out: what tags do not tell (`words.rs`).

/// A set of things that outlast a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Dirt(u32);

impl Dirt {
    pub(crate) const NONE: Self = Self(0);
    /// SET, or `set_config`.
    pub(crate) const SETTINGS: Self = Self(1);
    /// LISTEN.
    pub(crate) const LISTEN: Self = Self(2);
    /// PREPARE in SQL.
    pub(crate) const PREPARED: Self = Self(4);
    /// A cursor WITH HOLD.
    pub(crate) const CURSOR: Self = Self(8);
    /// A temporary table.
    pub(crate) const TEMPORARY: Self = Self(16);
    /// An advisory lock of the session.
    pub(crate) const LOCK: Self = Self(32);
    /// A DO block or a loaded library: anything.
    pub(crate) const ANYTHING: Self = Self(64);

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns what a finished statement may have left.
    pub(crate) fn of_tag(tag: &[u8]) -> Self {
        match tag {
            b"SET" => Self::SETTINGS,
            b"LISTEN" => Self::LISTEN,
            b"PREPARE" => Self::PREPARED,
            b"DO" | b"LOAD" => Self::ANYTHING,
            _ => Self::NONE,
        }
    }
}

/// Returns whether a finished statement took all prepared statements with it.
pub(super) fn drops_statements(tag: &[u8]) -> bool {
    matches!(tag, b"DISCARD ALL" | b"DEALLOCATE ALL" | b"DEALLOCATE")
}
