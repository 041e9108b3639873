//! Where a COPY stands on a server.
//!
//! Invariant: it is In from CopyInResponse to the reply that ends it, whatever the client sends.
//! Not here: the Syncs that PostgreSQL ignores meanwhile (`reply.rs` takes them out of the queue).

/// A COPY under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copy {
    /// None.
    No,
    /// From the client.
    In {
        /// CopyDone or CopyFail is on its way to the server.
        ended: bool,
        /// Syncs sent before that, which the server ignores unless the COPY fails first.
        ignored: u32,
    },
    /// To the client.
    Out,
    /// Both ways: replication.
    Both {
        /// The client has sent its CopyDone.
        ended: bool,
    },
}

impl Copy {
    /// Tells whether the server waits for copy data of the client.
    pub(super) const fn awaits_client(self) -> bool {
        matches!(self, Self::In { ended: false, .. } | Self::Both { ended: false })
    }

    /// Notes that the client ended its data.
    pub(super) const fn end(&mut self) {
        match self {
            Self::In { ended, .. } | Self::Both { ended } => *ended = true,
            Self::No | Self::Out => {}
        }
    }
}
