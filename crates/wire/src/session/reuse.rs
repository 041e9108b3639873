//! The one predicate that says whether a server may go to another client.
//!
//! Invariant: every condition alone forbids it; in doubt it is no.
//! Not here: gathering the evidence (`ServerState::evidence`, the worker), and closing.

use super::mutant::{self, Mutant};

/// What is known about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// The last ReadyForQuery said that no transaction is open.
    pub status_idle: bool,
    /// No reply is owed, not even perhaps.
    pub owed_empty: bool,
    /// Every message begun towards the server is complete.
    pub write_boundary: bool,
    /// Bytes for the server are not sent yet.
    pub unsent_bytes: bool,
    /// Every message begun by the server is complete.
    pub read_boundary: bool,
    /// Bytes of the server are not looked at yet.
    pub unread_bytes: bool,
    /// A COPY is under way.
    pub copying: bool,
    /// Extended-query messages were sent that no Sync closed, or the server skips to one.
    pub batch_open: bool,
    /// A query of our own runs.
    pub internal_running: bool,
    /// A cancel request is on its way to it.
    pub cancel_lease: bool,
    /// The values of its tracked parameters are known.
    pub parameters_known: bool,
    /// It is marked for closing, expired or pinned.
    pub close_needed: bool,
    /// It broke the protocol, or said that it ends.
    pub violation_seen: bool,
}

impl Evidence {
    /// Returns the evidence of a server of which nothing is known: it forbids reuse.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            status_idle: false,
            owed_empty: false,
            write_boundary: false,
            unsent_bytes: true,
            read_boundary: false,
            unread_bytes: true,
            copying: true,
            batch_open: true,
            internal_running: true,
            cancel_lease: true,
            parameters_known: false,
            close_needed: true,
            violation_seen: true,
        }
    }
}

/// Why a server may not go to another client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotReusable {
    /// It broke the protocol, or said that it ends.
    #[error("protocol violation seen")]
    Violation,
    /// A COPY is under way.
    #[error("copy under way")]
    Copying,
    /// A query of our own runs.
    #[error("internal query running")]
    Internal,
    /// Replies are owed.
    #[error("replies outstanding")]
    Owed,
    /// Extended-query messages were sent without a Sync.
    #[error("batch without sync")]
    BatchOpen,
    /// A transaction is open or failed.
    #[error("unclean server")]
    NotIdle,
    /// A message towards the server is not complete.
    #[error("message to server incomplete")]
    WriteBoundary,
    /// Bytes for the server are not sent yet.
    #[error("bytes to server unsent")]
    Unsent,
    /// A message of the server is not complete.
    #[error("message from server incomplete")]
    ReadBoundary,
    /// Bytes of the server are not looked at yet.
    #[error("bytes from server unread")]
    Unread,
    /// The values of its tracked parameters are not known.
    #[error("parameters unknown")]
    Parameters,
    /// It is marked for closing.
    #[error("close needed")]
    CloseNeeded,
    /// Only a cancel request on its way forbids it: when that has ended it may be asked again.
    #[error("cancel request under way")]
    CancelLease,
}

impl NotReusable {
    /// Returns the reason as the text of a log line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Violation => "protocol violation seen",
            Self::Copying => "copy under way",
            Self::Internal => "internal query running",
            Self::Owed => "replies outstanding",
            Self::BatchOpen => "batch without sync",
            Self::NotIdle => "unclean server",
            Self::WriteBoundary => "message to server incomplete",
            Self::Unsent => "bytes to server unsent",
            Self::ReadBoundary => "message from server incomplete",
            Self::Unread => "bytes from server unread",
            Self::Parameters => "parameters unknown",
            Self::CloseNeeded => "close needed",
            Self::CancelLease => "cancel request under way",
        }
    }
}

/// Says whether a server may go to another client.
///
/// # Errors
/// The first reason against it. [`NotReusable::CancelLease`] comes last: it stands alone, and
/// passes.
pub fn reusable(evidence: &Evidence) -> Result<(), NotReusable> {
    if evidence.violation_seen {
        return Err(NotReusable::Violation);
    }
    if evidence.copying {
        return Err(NotReusable::Copying);
    }
    if evidence.internal_running {
        return Err(NotReusable::Internal);
    }
    if !evidence.owed_empty {
        return Err(NotReusable::Owed);
    }
    if evidence.batch_open {
        return Err(NotReusable::BatchOpen);
    }
    if !evidence.status_idle {
        return Err(NotReusable::NotIdle);
    }
    if !evidence.write_boundary {
        return Err(NotReusable::WriteBoundary);
    }
    if evidence.unsent_bytes {
        return Err(NotReusable::Unsent);
    }
    if !evidence.read_boundary {
        return Err(NotReusable::ReadBoundary);
    }
    if evidence.unread_bytes {
        return Err(NotReusable::Unread);
    }
    if !evidence.parameters_known {
        return Err(NotReusable::Parameters);
    }
    if evidence.close_needed {
        return Err(NotReusable::CloseNeeded);
    }
    if evidence.cancel_lease && !mutant::is_made(Mutant::NoLease) {
        return Err(NotReusable::CancelLease);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::string::ToString;

    const CLEAN: Evidence = Evidence {
        status_idle: true,
        owed_empty: true,
        write_boundary: true,
        unsent_bytes: false,
        read_boundary: true,
        unread_bytes: false,
        copying: false,
        batch_open: false,
        internal_running: false,
        cancel_lease: false,
        parameters_known: true,
        close_needed: false,
        violation_seen: false,
    };

    #[test]
    fn each_condition_alone_forbids_reuse() {
        assert_eq!(reusable(&CLEAN), Ok(()));
        let table = [
            (Evidence { status_idle: false, ..CLEAN }, NotReusable::NotIdle),
            (Evidence { owed_empty: false, ..CLEAN }, NotReusable::Owed),
            (Evidence { write_boundary: false, ..CLEAN }, NotReusable::WriteBoundary),
            (Evidence { unsent_bytes: true, ..CLEAN }, NotReusable::Unsent),
            (Evidence { read_boundary: false, ..CLEAN }, NotReusable::ReadBoundary),
            (Evidence { unread_bytes: true, ..CLEAN }, NotReusable::Unread),
            (Evidence { copying: true, ..CLEAN }, NotReusable::Copying),
            (Evidence { batch_open: true, ..CLEAN }, NotReusable::BatchOpen),
            (Evidence { internal_running: true, ..CLEAN }, NotReusable::Internal),
            (Evidence { cancel_lease: true, ..CLEAN }, NotReusable::CancelLease),
            (Evidence { parameters_known: false, ..CLEAN }, NotReusable::Parameters),
            (Evidence { close_needed: true, ..CLEAN }, NotReusable::CloseNeeded),
            (Evidence { violation_seen: true, ..CLEAN }, NotReusable::Violation),
        ];
        for (evidence, reason) in table {
            assert_eq!(reusable(&evidence), Err(reason));
            assert_eq!(reason.as_str(), reason.to_string());
        }
        let reasons: HashSet<_> = table.iter().map(|(_, reason)| reason).collect();
        assert_eq!(reasons.len(), table.len());
    }

    #[test]
    fn no_combination_but_the_clean_one_is_reusable() {
        let pick = |bits: u32, bit: u32| bits & (1 << bit) != 0;
        let allowed = (0..1u32 << 13)
            .filter(|bits| {
                let evidence = Evidence {
                    status_idle: pick(*bits, 0),
                    owed_empty: pick(*bits, 1),
                    write_boundary: pick(*bits, 2),
                    unsent_bytes: pick(*bits, 3),
                    read_boundary: pick(*bits, 4),
                    unread_bytes: pick(*bits, 5),
                    copying: pick(*bits, 6),
                    batch_open: pick(*bits, 7),
                    internal_running: pick(*bits, 8),
                    cancel_lease: pick(*bits, 9),
                    parameters_known: pick(*bits, 10),
                    close_needed: pick(*bits, 11),
                    violation_seen: pick(*bits, 12),
                };
                reusable(&evidence).is_ok()
            })
            .count();
        assert_eq!(allowed, 1);
    }

    #[test]
    fn a_server_of_which_nothing_is_known_is_not_reusable() {
        assert!(reusable(&Evidence::unknown()).is_err());
    }

    #[test]
    fn a_cancel_lease_is_named_only_when_nothing_else_forbids_reuse() {
        let both = Evidence { cancel_lease: true, close_needed: true, ..CLEAN };
        assert_eq!(reusable(&both), Err(NotReusable::CloseNeeded));
    }
}
