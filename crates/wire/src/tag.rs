//! The type byte of a message, one closed enum for each direction.
//!
//! Invariant: a byte that is not in the protocol has no tag, so it can never be forwarded.
//! Not here: the first packet of a connection, which has no type byte (`startup.rs`).

/// The most a small message may hold after its length field, as in PostgreSQL.
pub const SMALL_BODY_MAX: u32 = 10_000;
/// The most a large message may hold after its length field, as in PostgreSQL: 1 GiB - 2.
pub const LARGE_BODY_MAX: u32 = 0x3fff_fffe;

macro_rules! tags {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $byte:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every tag of this direction.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the tag that a byte stands for, if any.
            #[must_use]
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Returns the byte that goes on the wire.
            #[must_use]
            pub const fn byte(self) -> u8 {
                match self {
                    $(Self::$variant => $byte,)*
                }
            }

            /// Returns the name of the message, as in the protocol's documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }
        }
    };
}

tags! {
    /// What a client sends after its startup packet.
    FrontendTag {
        /// Bind parameters to a prepared statement.
        Bind = b'B',
        /// Close a statement or portal.
        Close = b'C',
        /// A piece of COPY data.
        CopyData = b'd',
        /// The end of COPY data.
        CopyDone = b'c',
        /// The client gives up a COPY.
        CopyFail = b'f',
        /// Describe a statement or portal.
        Describe = b'D',
        /// Run a portal.
        Execute = b'E',
        /// Send what is buffered.
        Flush = b'H',
        /// Call a function (obsolete, still legal).
        FunctionCall = b'F',
        /// Prepare a statement.
        Parse = b'P',
        /// A password, a SASL message or a GSS token: the login says which.
        Password = b'p',
        /// A simple query.
        Query = b'Q',
        /// The end of an extended-query batch.
        Sync = b'S',
        /// Goodbye.
        Terminate = b'X',
    }
}

tags! {
    /// What a server sends.
    BackendTag {
        /// A login request or its success.
        Authentication = b'R',
        /// The key for cancel requests.
        BackendKeyData = b'K',
        /// Bind succeeded.
        BindComplete = b'2',
        /// Close succeeded.
        CloseComplete = b'3',
        /// A statement finished.
        CommandComplete = b'C',
        /// COPY in both directions begins (replication).
        CopyBothResponse = b'W',
        /// A piece of COPY data.
        CopyData = b'd',
        /// The end of COPY data.
        CopyDone = b'c',
        /// COPY from the client begins.
        CopyInResponse = b'G',
        /// COPY to the client begins.
        CopyOutResponse = b'H',
        /// One row.
        DataRow = b'D',
        /// The query string was empty.
        EmptyQueryResponse = b'I',
        /// An error.
        ErrorResponse = b'E',
        /// The result of a function call.
        FunctionCallResponse = b'V',
        /// The server speaks an older minor version than asked for.
        NegotiateProtocolVersion = b'v',
        /// There is no row description.
        NoData = b'n',
        /// A warning or remark.
        NoticeResponse = b'N',
        /// A NOTIFY of some session.
        NotificationResponse = b'A',
        /// The parameter types of a statement.
        ParameterDescription = b't',
        /// The value of a run-time parameter.
        ParameterStatus = b'S',
        /// Parse succeeded.
        ParseComplete = b'1',
        /// Execute stopped at its row limit.
        PortalSuspended = b's',
        /// The server is ready for the next query.
        ReadyForQuery = b'Z',
        /// The columns of the rows that follow.
        RowDescription = b'T',
    }
}

impl FrontendTag {
    /// Returns the most that a body of this message may hold, as in PostgreSQL.
    #[must_use]
    pub const fn body_max(self) -> u32 {
        match self {
            Self::Bind | Self::CopyData | Self::FunctionCall | Self::Parse | Self::Query => {
                LARGE_BODY_MAX
            }
            Self::Password => 65_535,
            Self::Close
            | Self::CopyDone
            | Self::CopyFail
            | Self::Describe
            | Self::Execute
            | Self::Flush
            | Self::Sync
            | Self::Terminate => SMALL_BODY_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_survives_the_way_to_a_byte_and_back() {
        for tag in FrontendTag::ALL {
            assert_eq!(FrontendTag::from_byte(tag.byte()), Some(*tag));
        }
        for tag in BackendTag::ALL {
            assert_eq!(BackendTag::from_byte(tag.byte()), Some(*tag));
        }
    }

    #[test]
    fn all_other_bytes_have_no_tag() {
        let known = |byte| FrontendTag::from_byte(byte).is_some();
        assert_eq!((0..=255).filter(|b| known(*b)).count(), FrontendTag::ALL.len());
        let known = |byte| BackendTag::from_byte(byte).is_some();
        assert_eq!((0..=255).filter(|b| known(*b)).count(), BackendTag::ALL.len());
    }
}
