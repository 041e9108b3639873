//! The messages a server sends: builders that append, and checked borrowed views that read.
//!
//! Invariant: what a builder writes, the view of the same message reads back.
//! Not here: the order in which messages are legal (`login`, `session`).

mod authentication;
mod complete;
mod copy;
mod key;
mod negotiate;
mod notice;
mod notification;
mod parameter;
mod ready;
mod row;

pub use authentication::{
    Authentication, Mechanisms, authentication_cleartext, authentication_md5, authentication_ok,
    authentication_sasl, authentication_sasl_continue, authentication_sasl_final,
};
pub use complete::{
    CommandComplete, bind_complete, close_complete, command_complete, empty_query_response,
    function_call_response, no_data, parse_complete, portal_suspended,
};
pub use copy::{
    CopyResponse, copy_both_response, copy_data, copy_done, copy_in_response, copy_out_response,
};
pub use key::{BackendKeyData, KEY_MAX, KEY_MIN, backend_key_data};
pub use negotiate::{NegotiateProtocolVersion, negotiate_protocol_version};
pub use notice::{ErrorFields, Notice, error_response, notice_response};
pub use notification::{NotificationResponse, notification_response};
pub use parameter::{ParameterStatus, parameter_description, parameter_status};
pub use ready::{Status, ready_for_query};
pub use row::{Column, DataRow, RowDescription, data_row, row_description};

use crate::cursor::Cursor;
use crate::error::ProtocolError;
use crate::list::Oids;
use crate::tag::BackendTag;

/// Any message of a server.
#[derive(Debug, Clone)]
pub enum Message<'a> {
    /// Authentication.
    Authentication(Authentication<'a>),
    /// BackendKeyData.
    BackendKeyData(BackendKeyData<'a>),
    /// BindComplete.
    BindComplete,
    /// CloseComplete.
    CloseComplete,
    /// CommandComplete.
    CommandComplete(CommandComplete<'a>),
    /// CopyBothResponse.
    CopyBothResponse(CopyResponse<'a>),
    /// CopyData and its bytes.
    CopyData(&'a [u8]),
    /// CopyDone.
    CopyDone,
    /// CopyInResponse.
    CopyInResponse(CopyResponse<'a>),
    /// CopyOutResponse.
    CopyOutResponse(CopyResponse<'a>),
    /// DataRow.
    DataRow(DataRow<'a>),
    /// EmptyQueryResponse.
    EmptyQueryResponse,
    /// ErrorResponse.
    ErrorResponse(ErrorFields),
    /// FunctionCallResponse and its value.
    FunctionCallResponse(Option<&'a [u8]>),
    /// NegotiateProtocolVersion.
    NegotiateProtocolVersion(NegotiateProtocolVersion<'a>),
    /// NoData.
    NoData,
    /// NoticeResponse.
    NoticeResponse(ErrorFields),
    /// NotificationResponse.
    NotificationResponse(NotificationResponse<'a>),
    /// ParameterDescription and its types.
    ParameterDescription(Oids<'a>),
    /// ParameterStatus.
    ParameterStatus(ParameterStatus<'a>),
    /// ParseComplete.
    ParseComplete,
    /// PortalSuspended.
    PortalSuspended,
    /// ReadyForQuery.
    ReadyForQuery(Status),
    /// RowDescription.
    RowDescription(RowDescription<'a>),
}

impl<'a> Message<'a> {
    /// Reads the body of one message.
    ///
    /// # Errors
    /// The tag is unknown or the body is not that of the message.
    pub fn decode(tag: u8, body: &'a [u8]) -> Result<Self, ProtocolError> {
        let tag = BackendTag::from_byte(tag).ok_or(ProtocolError::UnknownBackend { tag })?;
        let empty = |message| Cursor::new(body).finish().map(|()| message);
        Ok(match tag {
            BackendTag::Authentication => Self::Authentication(Authentication::read(body)?),
            BackendTag::BackendKeyData => Self::BackendKeyData(BackendKeyData::read(body)?),
            BackendTag::BindComplete => empty(Self::BindComplete)?,
            BackendTag::CloseComplete => empty(Self::CloseComplete)?,
            BackendTag::CommandComplete => Self::CommandComplete(CommandComplete::read(body)?),
            BackendTag::CopyBothResponse => Self::CopyBothResponse(CopyResponse::read(body)?),
            BackendTag::CopyData => Self::CopyData(body),
            BackendTag::CopyDone => empty(Self::CopyDone)?,
            BackendTag::CopyInResponse => Self::CopyInResponse(CopyResponse::read(body)?),
            BackendTag::CopyOutResponse => Self::CopyOutResponse(CopyResponse::read(body)?),
            BackendTag::DataRow => Self::DataRow(DataRow::read(body)?),
            BackendTag::EmptyQueryResponse => empty(Self::EmptyQueryResponse)?,
            BackendTag::ErrorResponse => Self::ErrorResponse(ErrorFields::parse(body)),
            BackendTag::FunctionCallResponse => {
                let mut cursor = Cursor::new(body);
                let value = cursor.value()?;
                cursor.finish()?;
                Self::FunctionCallResponse(value)
            }
            BackendTag::NegotiateProtocolVersion => {
                Self::NegotiateProtocolVersion(NegotiateProtocolVersion::read(body)?)
            }
            BackendTag::NoData => empty(Self::NoData)?,
            BackendTag::NoticeResponse => Self::NoticeResponse(ErrorFields::parse(body)),
            BackendTag::NotificationResponse => {
                Self::NotificationResponse(NotificationResponse::read(body)?)
            }
            BackendTag::ParameterDescription => {
                let mut cursor = Cursor::new(body);
                let oids = Oids::read(&mut cursor)?;
                cursor.finish()?;
                Self::ParameterDescription(oids)
            }
            BackendTag::ParameterStatus => Self::ParameterStatus(ParameterStatus::read(body)?),
            BackendTag::ParseComplete => empty(Self::ParseComplete)?,
            BackendTag::PortalSuspended => empty(Self::PortalSuspended)?,
            BackendTag::ReadyForQuery => Self::ReadyForQuery(Status::read(body)?),
            BackendTag::RowDescription => Self::RowDescription(RowDescription::read(body)?),
        })
    }
}
