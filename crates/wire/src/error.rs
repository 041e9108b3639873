//! What a peer can do wrong on the wire, with the SQLSTATE and the words a client hears.
//!
//! Invariant: closed; every case has a SQLSTATE. Texts are those of the established pooler where
//! it has one, so that scripts and drivers that match them keep working.
//! Not here: whose connection is closed and what is logged (that is the pooler's fault table).

use crate::sqlstate::SqlState;
use crate::tag::FrontendTag;

/// How bad a reported condition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Chatter for developers.
    Debug,
    /// Asked-for information.
    Info,
    /// For the server's log.
    Log,
    /// A remark.
    Notice,
    /// Something to look at.
    Warning,
    /// The statement failed; the session goes on.
    Error,
    /// The session ends.
    Fatal,
    /// The whole server ends.
    Panic,
}

impl Severity {
    /// Returns the word that goes on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Log => "LOG",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Panic => "PANIC",
        }
    }

    /// Returns the severity that a word of the wire stands for; `None` for a translated one.
    #[must_use]
    pub fn from_bytes(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"INFO" => Self::Info,
            b"LOG" => Self::Log,
            b"NOTICE" => Self::Notice,
            b"WARNING" => Self::Warning,
            b"ERROR" => Self::Error,
            b"FATAL" => Self::Fatal,
            b"PANIC" => Self::Panic,
            word if word.starts_with(b"DEBUG") => Self::Debug,
            _ => return None,
        })
    }
}

/// A breach of the protocol. The connection it came from is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    // --- framing, both directions ---
    /// A length field that no message can have.
    #[error("bad packet header: '{tag:02x}{len:08x}'")]
    BadHeader {
        /// The type byte.
        tag: u8,
        /// The length field as sent.
        len: u32,
    },
    /// A body over the limit of its phase or of the configuration.
    #[error("frame of {len} bytes exceeds the limit of {max}")]
    FrameTooLong {
        /// Bytes of the body.
        len: u32,
        /// Bytes allowed.
        max: u32,
    },
    /// The body ends inside a field.
    #[error("failed to parse packet")]
    Truncated,
    /// The body goes on after its last field.
    #[error("failed to parse packet")]
    TrailingBytes,
    /// A string without its zero byte.
    #[error("failed to parse packet")]
    MissingTerminator,
    /// A negative or impossible length or count inside a body.
    #[error("failed to parse packet")]
    BadLength,
    /// A field with a value that the protocol does not know.
    #[error("failed to parse packet")]
    BadValue,

    // --- messages of a client ---
    /// A type byte that is in no protocol.
    #[error("unknown pkt")]
    UnknownFrontend {
        /// The type byte.
        tag: u8,
    },
    /// A known message at a moment when it is not allowed.
    #[error("unexpected packet '{}' from client", FrontendTag::name(*.0))]
    UnexpectedFrontend(FrontendTag),
    /// A known message whose body cannot be read.
    #[error("broken {} packet", FrontendTag::name(*.0))]
    Broken(FrontendTag),
    /// Simple queries are switched off.
    #[error("PQexec disallowed")]
    SimpleQueryDisallowed,
    /// Bind, Describe or Close of a statement that this client never prepared.
    #[error("prepared statement did not exist")]
    StatementUnknown,
    /// Parse under a name that is taken.
    #[error("prepared statement name is already in use")]
    StatementExists,
    /// A prepared statement over the configured size.
    #[error("prepared statement of {len} bytes exceeds the limit of {max}")]
    StatementTooLong {
        /// Bytes of the statement.
        len: u32,
        /// Bytes allowed.
        max: u32,
    },

    // --- the first packet and the login of a client ---
    /// A startup packet with an impossible length: closed without a reply, as by PostgreSQL.
    #[error("invalid length of startup packet: {len}")]
    StartupLength {
        /// The length field as sent.
        len: u32,
    },
    /// A cancel request with an impossible length: closed without a reply.
    #[error("bad cancel request")]
    CancelLength {
        /// The length field as sent.
        len: u32,
    },
    /// Protocol 2, gone since PostgreSQL 14.
    #[error("old V2 protocol not supported")]
    OldProtocol,
    /// A version that is neither ours nor negotiable.
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")]
    UnsupportedProtocol {
        /// Upper half of the version field.
        major: u16,
        /// Lower half of the version field.
        minor: u16,
    },
    /// Names and values that do not end in the empty name.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    StartupLayout,
    /// No user, or an empty one.
    #[error("no username supplied")]
    NoUser,
    /// A user name over 127 bytes.
    #[error("username too long")]
    UserTooLong,
    /// A value of `replication` that is neither a boolean nor `database`.
    #[error("invalid value for parameter \"replication\"")]
    BadReplication,
    /// An `options` text beyond `-c name=value` and `--name=value`.
    #[error(
        "unsupported options startup parameter: \
         only '-c config=val' and '--config=val' are allowed"
    )]
    BadOptions,
    /// Bytes behind an SSLRequest that were not encrypted.
    #[error("received unencrypted data after SSL request")]
    DataAfterSslRequest,
    /// Bytes behind a GSSENCRequest that were not encrypted.
    #[error("received unencrypted data after GSSAPI encryption request")]
    DataAfterGssRequest,
    /// SSLRequest inside TLS.
    #[error("SSL req inside SSL")]
    SslInsideSsl,
    /// GSSENCRequest inside TLS.
    #[error("GSSAPI encryption request inside SSL")]
    GssInsideSsl,
    /// A second startup packet, or any first packet after it.
    #[error("client re-sent startup pkt")]
    StartupAgain,
    /// A password before the startup packet.
    #[error("client password pkt before startup packet")]
    PasswordBeforeStartup,
    /// An empty password.
    #[error("empty password returned by client")]
    EmptyPassword,
    /// A SASL mechanism that was not offered.
    #[error("client selected an invalid SASL authentication mechanism")]
    BadMechanism,
    /// A SASL exchange that breaks its rules; the peer hears no more than that.
    #[error("SASL authentication failed")]
    Sasl(#[source] SaslFault),

    // --- messages of a server ---
    /// A type byte that is in no protocol.
    #[error("unknown message type {tag:#04x} from server")]
    UnknownBackend {
        /// The type byte.
        tag: u8,
    },
    /// A known message at a moment when it is not allowed.
    #[error("unexpected message {:?} from server", char::from(*.tag))]
    UnexpectedBackend {
        /// The type byte.
        tag: u8,
    },
    /// ReadyForQuery with a status that is none of `I`, `T`, `E`.
    #[error("unknown transaction status {status:#04x} from server")]
    BadStatus {
        /// The status byte.
        status: u8,
    },
    /// The server has a parameter set too large to keep.
    #[error("too many parameters from server")]
    TooManyParameters,
    /// A reply to SSLRequest that is neither `S` nor `N`. Its text, if any, was not protected by
    /// anything and is not shown.
    #[error("server refused TLS")]
    TlsRefused,
    /// Bytes behind the reply to SSLRequest that were not encrypted.
    #[error("received unencrypted data after SSL response")]
    DataAfterSslResponse,
    /// A login request that needs something that was not configured.
    #[error("server asks for an authentication method that has no credential here")]
    NoCredential,
    /// A login method that is not supported.
    #[error("server asks for unsupported authentication method {code}")]
    UnsupportedAuthentication {
        /// The code in the Authentication message.
        code: u32,
    },
}

impl ProtocolError {
    /// Returns the SQLSTATE that describes this error.
    #[must_use]
    pub const fn sqlstate(&self) -> SqlState {
        match self {
            Self::OldProtocol | Self::UnsupportedProtocol { .. } => SqlState::FEATURE_NOT_SUPPORTED,
            Self::NoUser
            | Self::UserTooLong
            | Self::NoCredential
            | Self::UnsupportedAuthentication { .. } => SqlState::INVALID_AUTHORIZATION,
            Self::BadReplication => SqlState::INVALID_PARAMETER_VALUE,
            Self::EmptyPassword => SqlState::INVALID_PASSWORD,
            Self::Sasl(SaslFault::WrongSignature) => SqlState::INVALID_PASSWORD,
            Self::Sasl(SaslFault::Downgrade) => SqlState::INVALID_AUTHORIZATION,
            Self::StatementUnknown => SqlState::INVALID_STATEMENT_NAME,
            Self::StatementExists => SqlState::DUPLICATE_STATEMENT,
            Self::StatementTooLong { .. } => SqlState::PROGRAM_LIMIT_EXCEEDED,
            _ => SqlState::PROTOCOL_VIOLATION,
        }
    }

    /// Returns how bad it is: the session always ends.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        Severity::Fatal
    }

    /// Tells whether the connection is closed without a word, because whoever is there does not
    /// speak the protocol.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        matches!(self, Self::StartupLength { .. } | Self::CancelLength { .. })
    }
}

/// What exactly is wrong in a SASL exchange. For the log: the peer is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaslFault {
    /// The message does not follow the grammar.
    #[error("malformed message")]
    Malformed,
    /// An attribute is missing, out of order, empty or there twice.
    #[error("attribute '{0}' missing, empty, repeated or out of order")]
    Attribute(char),
    /// The client names an authorization identity.
    #[error("authorization identity is not supported")]
    AuthorizationIdentity,
    /// A mandatory extension.
    #[error("mandatory extension is not supported")]
    MandatoryExtension,
    /// The client sent no initial response.
    #[error("no initial response")]
    NoInitialResponse,
    /// Channel binding flag and mechanism contradict each other.
    #[error("channel binding negotiation was tampered with")]
    Downgrade,
    /// A channel binding type that is not `tls-server-end-point`.
    #[error("unsupported channel binding type")]
    BindingType,
    /// Channel binding data of another connection.
    #[error("channel binding does not match")]
    BindingMismatch,
    /// The nonce is not the one of this exchange.
    #[error("nonce does not match")]
    NonceMismatch,
    /// The nonce is too long.
    #[error("nonce of {len} bytes is too long")]
    NonceTooLong {
        /// Bytes of the nonce.
        len: usize,
    },
    /// The server asks for more hashing than one connection may cost, or for none.
    #[error("iteration count is not in 1..=1000000")]
    Iterations,
    /// The server offers no mechanism that can be used.
    #[error("no usable mechanism offered")]
    NoMechanism,
    /// The server reports an error instead of its signature.
    #[error("server reported an error")]
    ServerError,
    /// The server does not know the secret either.
    #[error("server signature is wrong")]
    WrongSignature,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn texts_are_those_that_existing_scripts_match() {
        let check = |error: ProtocolError, text: &str| assert_eq!(error.to_string(), text);
        check(ProtocolError::BadHeader { tag: b'Q', len: 3 }, "bad packet header: '5100000003'");
        check(ProtocolError::Broken(FrontendTag::Parse), "broken Parse packet");
        check(ProtocolError::OldProtocol, "old V2 protocol not supported");
        check(
            ProtocolError::BadOptions,
            "unsupported options startup parameter: \
             only '-c config=val' and '--config=val' are allowed",
        );
        check(ProtocolError::Sasl(SaslFault::Malformed), "SASL authentication failed");
    }

    #[test]
    fn a_severity_survives_the_way_to_a_word_and_back() {
        for word in ["DEBUG", "INFO", "LOG", "NOTICE", "WARNING", "ERROR", "FATAL", "PANIC"] {
            assert_eq!(Severity::from_bytes(word.as_bytes()).unwrap().as_str(), word);
        }
        assert_eq!(Severity::from_bytes(b"DEBUG5"), Some(Severity::Debug));
        assert_eq!(Severity::from_bytes("FEHLER".as_bytes()), None);
    }
}
