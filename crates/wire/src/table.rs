//! The answer to one simple query, as a table of texts.
//!
//! Invariant: what is kept is bounded by `bytes_max`, one message by [`MESSAGE_MAX`], and a row has
//! as many values as there are columns; whatever else comes is an error.
//! Not here: sending the query, sockets, what the columns mean.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::backend::{DataRow, ErrorFields, RowDescription, Status};
use crate::error::{ProtocolError, Severity};
use crate::frame;
use crate::tag::BackendTag;

/// The longest body of one message: who asks for figures gets rows of a few hundred bytes.
pub const MESSAGE_MAX: u32 = 64 * 1024;

/// Rows of texts under named columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with a value for every column; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// What came of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Its last result; without columns if it has none.
    Table(Table),
    /// The server says no.
    Refused(Box<ErrorFields>),
}

/// Reads the answer to one query.
#[derive(Debug)]
pub struct Reading {
    table: Table,
    refused: Option<Box<ErrorFields>>,
    /// How many more bytes may come.
    left: usize,
    bytes_max: usize,
}

impl Reading {
    /// Begins with a query that was just sent; its answer may have so many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { table: Table::default(), refused: None, left: bytes_max, bytes_max }
    }

    /// Takes what the server sent; returns how many bytes are done with, and the answer once it is
    /// whole. Bytes not done with are given again, with more behind them.
    ///
    /// # Errors
    /// The server broke the protocol or sent too much: the connection must be closed.
    pub fn receive(&mut self, input: &[u8]) -> Result<(usize, Option<Answer>), ProtocolError> {
        let mut done = 0usize;
        loop {
            let rest = input.get(done..).unwrap_or_default();
            let Some(frame) = frame::whole(rest, MESSAGE_MAX)? else { return Ok((done, None)) };
            self.left = self.left.checked_sub(frame.total).ok_or_else(|| self.too_long())?;
            done = done.saturating_add(frame.total);
            if let Some(answer) = self.step(frame.tag, frame.body)? {
                return Ok((done, Some(answer)));
            }
        }
    }

    fn too_long(&self) -> ProtocolError {
        let max = u32::try_from(self.bytes_max).unwrap_or(u32::MAX);
        ProtocolError::FrameTooLong { len: max.saturating_add(1), max }
    }

    fn step(&mut self, tag: u8, body: &[u8]) -> Result<Option<Answer>, ProtocolError> {
        match BackendTag::from_byte(tag) {
            Some(BackendTag::RowDescription) => {
                let columns = RowDescription::read(body)?;
                let columns = columns.iter().map(|column| text(column.name)).collect();
                self.table = Table { columns, rows: Vec::new() };
            }
            Some(BackendTag::DataRow) => {
                let values = DataRow::read(body)?.values;
                if values.len() != self.table.columns.len() {
                    return Err(ProtocolError::BadLength);
                }
                self.table.rows.push(values.iter().map(|value| value.map(text)).collect());
            }
            Some(BackendTag::ErrorResponse) => {
                let fields = Box::new(ErrorFields::parse(body));
                if matches!(fields.severity, Severity::Fatal | Severity::Panic) {
                    // Nothing comes after it.
                    return Ok(Some(Answer::Refused(fields)));
                }
                self.refused = Some(fields);
            }
            Some(BackendTag::ReadyForQuery) => {
                Status::read(body)?;
                let table = core::mem::take(&mut self.table);
                let refused = self.refused.take().map(Answer::Refused);
                return Ok(Some(refused.unwrap_or(Answer::Table(table))));
            }
            Some(
                BackendTag::CommandComplete
                | BackendTag::EmptyQueryResponse
                | BackendTag::NoticeResponse
                | BackendTag::NotificationResponse
                | BackendTag::ParameterStatus,
            ) => {}
            Some(_) => return Err(ProtocolError::UnexpectedBackend { tag }),
            None => return Err(ProtocolError::UnknownBackend { tag }),
        }
        Ok(None)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{self, Column, Notice};
    use crate::sqlstate::SqlState;

    fn answer(parts: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        parts(&mut out);
        out
    }

    fn pools(out: &mut Vec<u8>) {
        backend::row_description(out, &[Column::text(b"database"), Column::int4(b"cl_active")]);
        backend::data_row(out, &[Some(b"shop"), Some(b"3")]);
        backend::data_row(out, &[Some(b"b\xff"), None]);
        backend::command_complete(out, b"SHOW");
        backend::ready_for_query(out, Status::Idle);
    }

    fn read(bytes: &[u8]) -> Result<Option<Answer>, ProtocolError> {
        Reading::new(1 << 20).receive(bytes).map(|(_, answer)| answer)
    }

    #[test]
    fn a_table_is_read_in_any_split() {
        let bytes = answer(pools);
        let row = |values: [Option<&str>; 2]| values.map(|value| value.map(Into::into)).to_vec();
        let expected = Table {
            columns: ["database", "cl_active"].map(Into::into).to_vec(),
            rows: [row([Some("shop"), Some("3")]), row([Some("b\u{fffd}"), None])].to_vec(),
        };
        for step in 1..bytes.len() {
            let (mut reading, mut input, mut told) = (Reading::new(1 << 20), Vec::new(), None);
            for piece in bytes.chunks(step) {
                input.extend_from_slice(piece);
                let (done, answer) = reading.receive(&input).unwrap();
                input.drain(..done);
                told = answer.or(told);
            }
            assert_eq!((told, input.len()), (Some(Answer::Table(expected.clone())), 0), "{step}");
        }
    }

    #[test]
    fn a_refusal_is_the_answer_and_a_fatal_one_ends_it() {
        let refuse = |notice: Notice<'_>, ready: bool| {
            let bytes = answer(|out| {
                backend::error_response(out, &notice);
                if ready {
                    backend::ready_for_query(out, Status::Idle);
                }
            });
            match read(&bytes).unwrap() {
                Some(Answer::Refused(fields)) => Some(fields.message),
                _ => None,
            }
        };
        let error = Notice::error(SqlState::INTERNAL_ERROR, "no");
        assert_eq!(refuse(error, false), None);
        assert_eq!(refuse(error, true).as_deref(), Some(&b"no"[..]));
        let fatal = Notice::fatal(SqlState::INTERNAL_ERROR, "never");
        assert_eq!(refuse(fatal, false).as_deref(), Some(&b"never"[..]));
    }

    #[test]
    fn too_much_is_refused_and_so_are_rows_that_fit_no_column() {
        let bytes = answer(pools);
        assert!(Reading::new(bytes.len()).receive(&bytes).is_ok());
        let short = Reading::new(bytes.len() - 1).receive(&bytes);
        assert!(matches!(short, Err(ProtocolError::FrameTooLong { .. })), "{short:?}");
        let early = answer(|out| backend::data_row(out, &[Some(b"x")]));
        assert_eq!(read(&early), Err(ProtocolError::BadLength));
        assert!(read(b"D\x7f\xff\xff\xff").is_err(), "found from the header alone");
        assert_eq!(
            read(b"R\0\0\0\x08\0\0\0\0"),
            Err(ProtocolError::UnexpectedBackend { tag: b'R' })
        );
        assert_eq!(read(b"x\0\0\0\x04"), Err(ProtocolError::UnknownBackend { tag: b'x' }));
    }

    #[test]
    fn no_change_of_a_byte_is_a_panic() {
        let bytes = answer(pools);
        for place in 0..bytes.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff, b'D', b'T', b'Z'] {
                let mut changed = bytes.clone();
                changed[place] = byte;
                // Whatever it is: a value.
                let _ = read(&changed);
            }
        }
    }
}
