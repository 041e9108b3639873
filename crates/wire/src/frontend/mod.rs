//! The messages a client sends: builders that append, and checked borrowed views that read.
//!
//! Invariant: what a builder writes, the view of the same message reads back.
//! Not here: the order in which messages are legal (`login`, `session`).

mod bind;
mod copy;
mod first;
mod function_call;
mod parse;
mod password;
mod portal;
mod query;
mod simple;

pub use bind::{Bind, bind, bind_text};
pub use copy::{CopyFail, copy_data, copy_done, copy_fail};
pub(crate) use first::{CANCEL_CODE, GSS_CODE, SSL_CODE};
pub use first::{PROTOCOL_3_0, cancel_request, gss_request, ssl_request, startup, startup_version};
pub use function_call::{FunctionCall, function_call};
pub use parse::{Parse, parse};
pub use password::{Password, SaslInitial, password, sasl_initial, sasl_response};
pub use portal::{Close, Describe, Execute, Target, close, describe, execute};
pub use query::{Query, query};
pub use simple::{flush, sync, terminate};

use crate::cursor::Cursor;
use crate::error::ProtocolError;
use crate::tag::FrontendTag;

/// Any message of a client after its startup packet.
#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    /// Bind.
    Bind(Bind<'a>),
    /// Close.
    Close(Close<'a>),
    /// CopyData and its bytes.
    CopyData(&'a [u8]),
    /// CopyDone.
    CopyDone,
    /// CopyFail.
    CopyFail(CopyFail<'a>),
    /// Describe.
    Describe(Describe<'a>),
    /// Execute.
    Execute(Execute<'a>),
    /// Flush.
    Flush,
    /// FunctionCall.
    FunctionCall(FunctionCall<'a>),
    /// Parse.
    Parse(Parse<'a>),
    /// Any message with the tag `p`: the login knows which one it asked for.
    Password(&'a [u8]),
    /// Query.
    Query(Query<'a>),
    /// Sync.
    Sync,
    /// Terminate.
    Terminate,
}

impl<'a> Message<'a> {
    /// Reads the body of one message.
    ///
    /// # Errors
    /// The tag is unknown or the body is not that of the message.
    pub fn decode(tag: u8, body: &'a [u8]) -> Result<Self, ProtocolError> {
        let tag = FrontendTag::from_byte(tag).ok_or(ProtocolError::UnknownFrontend { tag })?;
        let empty = |message| Cursor::new(body).finish().map(|()| message);
        Ok(match tag {
            FrontendTag::Bind => Self::Bind(Bind::read(body)?),
            FrontendTag::Close => Self::Close(Close::read(body)?),
            FrontendTag::CopyData => Self::CopyData(body),
            FrontendTag::CopyDone => empty(Self::CopyDone)?,
            FrontendTag::CopyFail => Self::CopyFail(CopyFail::read(body)?),
            FrontendTag::Describe => Self::Describe(Describe::read(body)?),
            FrontendTag::Execute => Self::Execute(Execute::read(body)?),
            FrontendTag::Flush => empty(Self::Flush)?,
            FrontendTag::FunctionCall => Self::FunctionCall(FunctionCall::read(body)?),
            FrontendTag::Parse => Self::Parse(Parse::read(body)?),
            FrontendTag::Password => Self::Password(body),
            FrontendTag::Query => Self::Query(Query::read(body)?),
            FrontendTag::Sync => empty(Self::Sync)?,
            FrontendTag::Terminate => empty(Self::Terminate)?,
        })
    }
}
